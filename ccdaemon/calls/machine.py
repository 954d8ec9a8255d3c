"""The call machine: the only place where a state of a call is born.

Pure. It is given signals with their times and answers with the states to tell. What may follow
what stands in tables; an echo, a late word or a reordering is simply absent from them, so it
tells nothing. Once a final state is told a call is deaf.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ccdaemon.calls import causes, signals
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import CallView, Direction, Role, State, StateTold

OPERATOR, CLIENT = Role.OPERATOR, Role.CLIENT

#: The rungs a call climbs, lowest first. A signal lifts the call to a rung; rungs that were
#: skipped because nobody heard of them are told on the way.
LADDER: dict[Direction, tuple[State, ...]] = {
    Direction.OUTBOUND: (
        State.CALL,
        State.OPERATOR_CALLTO,
        State.OPERATOR_PICKUP,
        State.CLIENT_CALLTO,
        State.CLIENT_PICKUP,
    ),
}

#: Whose leg a state speaks of.
LEG_OF: dict[State, Role | None] = {
    State.CALL: None,
    State.OPERATOR_CALLTO: OPERATOR,
    State.OPERATOR_PICKUP: OPERATOR,
    State.OPERATOR_NOANSWER: OPERATOR,
    State.OPERATOR_BUSY: OPERATOR,
    State.OPERATOR_OFFLINE: OPERATOR,
    State.CLIENT_CALLTO: CLIENT,
    State.CLIENT_PICKUP: CLIENT,
    State.CLIENT_NOANSWER: CLIENT,
    State.CLIENT_BUSY: CLIENT,
    State.CLIENT_CANCEL: CLIENT,
    State.ERROR: None,
    State.FINISH: None,
}

#: To which rung a signal about a leg lifts the call.
ASKED: dict[tuple[Direction, Role], State] = {
    (Direction.OUTBOUND, OPERATOR): State.OPERATOR_CALLTO,
    (Direction.OUTBOUND, CLIENT): State.CLIENT_CALLTO,
}
ANSWERED: dict[tuple[Direction, Role], State] = {
    (Direction.OUTBOUND, OPERATOR): State.OPERATOR_PICKUP,
    (Direction.OUTBOUND, CLIENT): State.CLIENT_PICKUP,
}

#: The rung on which both talk.
TALK: dict[Direction, State] = {Direction.OUTBOUND: State.CLIENT_PICKUP}

#: Originate's reason for a failure, in Dial's words.
ORIGINATE_STATUS: dict[int, str] = {signals.RANG_OUT: "NOANSWER"}

#: How the names of channels begin whose every answer is known.
SIP_CHANNELS = ("PJSIP/", "SIP/")

#: How a call ends: from the rung it stood on and the outcome of the leg that was being asked.
VERDICT: dict[tuple[Direction, State], dict[Outcome, State]] = {
    **dict.fromkeys(
        [(Direction.OUTBOUND, State.CALL), (Direction.OUTBOUND, State.OPERATOR_CALLTO)],
        {
            Outcome.BUSY: State.OPERATOR_BUSY,
            Outcome.NOANSWER: State.OPERATOR_NOANSWER,
            Outcome.OFFLINE: State.OPERATOR_OFFLINE,
            # Nobody but Asterisk's own side can end a leg normally before it is answered.
            Outcome.CANCELLED: State.OPERATOR_NOANSWER,
            Outcome.FAILED: State.ERROR,
        },
    ),
    (Direction.OUTBOUND, State.OPERATOR_PICKUP): {
        Outcome.BUSY: State.OPERATOR_BUSY,
        Outcome.NOANSWER: State.OPERATOR_BUSY,
        Outcome.OFFLINE: State.ERROR,
        Outcome.CANCELLED: State.OPERATOR_BUSY,
        Outcome.FAILED: State.ERROR,
    },
    (Direction.OUTBOUND, State.CLIENT_CALLTO): {
        Outcome.BUSY: State.CLIENT_BUSY,
        Outcome.NOANSWER: State.CLIENT_NOANSWER,
        Outcome.OFFLINE: State.ERROR,
        Outcome.CANCELLED: State.OPERATOR_BUSY,
        Outcome.FAILED: State.ERROR,
    },
    (Direction.OUTBOUND, State.CLIENT_PICKUP): dict.fromkeys(Outcome, State.FINISH),
}


@dataclass(slots=True)
class Leg:
    """One phone of a call: its channels' ids and names, and what is known of its end."""

    name: str
    channel: str | None = None
    channel_name: str = ""
    outcome: signals.Outcome | None = None


@dataclass(slots=True)
class Call:
    """A live call: who, the states told so far, and what its channels have shown.

    ``anchor`` is the uniqueid of the channel that the call hangs on: its end is the call's end.
    ``originate_reason`` is Asterisk's reason for a failed Originate; ``unexplained`` the end of an
    anchor that waits for it.
    """

    call_id: int
    order_id: str | None
    external_key: str | None
    direction: Direction
    sip: str | None
    phone: str
    anchor: str
    states: list[StateTold] = field(default_factory=list)
    legs: dict[Role, Leg] = field(
        default_factory=lambda: {OPERATOR: Leg("operator-1"), CLIENT: Leg("client")}
    )
    hung_up_by: str | None = None
    originate_reason: int | None = None
    unexplained: signals.Ended | None = None

    @property
    def final(self) -> bool:
        """Whether nothing can follow any more."""
        return bool(self.states) and self.states[-1].final

    @property
    def state(self) -> State:
        """The last state told; a call that has told none stands before its CALL."""
        return self.states[-1].state

    def date_of(self, state: State) -> int | None:
        """When ``state`` was told, in milliseconds, or None."""
        return next((told.date for told in self.states if told.state is state), None)


def open_call(call: Call, date: int) -> list[StateTold]:
    """Tell CALL, the first state of every call."""
    return [_tell(call, State.CALL, date)]


def refuse(call: Call, outcome: Outcome, detail: str, date: int) -> list[StateTold]:
    """End a call for which nobody's phone is rung at all: the operator is offline or busy."""
    return [_end(call, outcome, date, detail=detail)]


def advance(call: Call, signal: signals.Signal) -> list[StateTold]:
    """What ``signal`` adds to the chain of ``call``; nothing for echoes and late words."""
    if call.final:
        return []
    return _STEPS[type(signal)](call, signal)


def restore(call: Call, states: list[StateTold]) -> None:
    """Put a chain that was told earlier back into a call, as after a restart."""
    call.states.extend(states)


def _started(call: Call, signal: signals.Started) -> list[StateTold]:
    role = OPERATOR if signal.channel == call.anchor else CLIENT
    leg = call.legs[role]
    # A Local channel in the way brings further channels: the first one is the leg. A channel
    # beside the anchor is the client only after the dialplan said that it asks him.
    if leg.channel is not None or (role is CLIENT and not _reached(call, State.CLIENT_CALLTO)):
        return []
    leg.channel, leg.channel_name = signal.channel, signal.name
    return _lift(call, ASKED[call.direction, role], signal.date)


def _answered(call: Call, signal: signals.Answered) -> list[StateTold]:
    role = role_of(call, signal.channel)
    return _lift(call, ANSWERED[call.direction, role], signal.date) if role else []


def _asked(call: Call, signal: signals.Asked) -> list[StateTold]:
    return _lift(call, ASKED[call.direction, signal.role], signal.date)


def _outcome(call: Call, signal: signals.Outcome) -> list[StateTold]:
    call.legs[CLIENT].outcome = signal
    # Busy is what his phone said, whoever ended the leg then.
    who = CLIENT.value if signal.dial_status == "BUSY" else _who(call, signal.source)
    call.hung_up_by = call.hung_up_by or who
    return []


def _hung_up(call: Call, signal: signals.HungUp) -> list[StateTold]:
    role = role_of(call, signal.channel)
    call.hung_up_by = call.hung_up_by or (role.value if role else None)
    return []


def _ended(call: Call, signal: signals.Ended) -> list[StateTold]:
    # The other party's channel may go before or after: the anchor's end decides.
    if signal.channel != call.anchor:
        return []
    if not _reached(call, State.OPERATOR_PICKUP):
        return _ended_unanswered(call, signal)
    tech, dial_status = "", ""
    if call.state is State.CLIENT_CALLTO and (told := call.legs[CLIENT].outcome):
        # From here on the anchor's own SIP answer is one that Asterisk made up from the cause.
        tech, dial_status = told.tech, told.dial_status
        if causes.sip_code(tech) is not None and call.hung_up_by != OPERATOR:
            # chan_sip takes most refusals for Dial's own doing.
            call.hung_up_by = CLIENT.value
        if _is_silent(call, told):
            cause = causes.own(signal.cause, dial_status)
            detail = ", ".join(filter(None, [causes.words(cause, ""), "no SIP answer at all"]))
            return [_end(call, Outcome.FAILED, signal.date, cause=cause, detail=detail)]
    if call.state is not TALK[call.direction] and call.hung_up_by == OPERATOR:
        # Also where he was too quick for Dial to say so.
        dial_status = dial_status or "CANCEL"
    return [_end_with(call, signal, tech, dial_status)]


def _is_silent(call: Call, told: signals.Outcome) -> bool:
    """Not one word came back: there is nothing that could ring. A 408 is Asterisk's own then."""
    over_sip = call.legs[CLIENT].channel_name.startswith(SIP_CHANNELS)
    return over_sip and not told.tech and told.dial_status not in ("BUSY", "CANCEL", "")


def _ended_unanswered(call: Call, signal: signals.Ended) -> list[StateTold]:
    """The operator's phone was asked and did not answer."""
    dial_status = "NOANSWER"
    if not signal.cause or (signal.cause == causes.NORMAL and not call.hung_up_by):
        # One that rang out (Asterisk 16) or one that forwards (22, if it is quick; chan_sip): only
        # what Originate is answered can tell, and it may come later.
        if call.originate_reason is None:
            call.unexplained = signal
            return []
        dial_status = ORIGINATE_STATUS.get(call.originate_reason, "BUSY")
    # Where the phone itself did not end it, the SIP answer is one that Asterisk made up.
    tech = signal.tech if call.hung_up_by else ""
    if call.hung_up_by is None:
        outcome = causes.outcome(tech=tech, cause=signal.cause, dial_status=dial_status)
        given_up = outcome is Outcome.NOANSWER and signal.cause in causes.RANG_OUT
        call.hung_up_by = "asterisk" if given_up else OPERATOR.value
    return [_end_with(call, signal, tech, dial_status)]


def _end_with(call: Call, signal: signals.Ended, tech: str, dial_status: str) -> StateTold:
    outcome = causes.outcome(tech=tech, cause=signal.cause, dial_status=dial_status)
    cause = causes.own(signal.cause, dial_status)
    detail = causes.words(cause, tech, dial_status)
    return _end(call, outcome, signal.date, cause=cause, detail=detail)


def _originate_failed(call: Call, signal: signals.OriginateFailed) -> list[StateTold]:
    # The birth of a channel may be told after this: that there is none only time can tell.
    call.originate_reason = signal.reason
    return _ended_unanswered(call, call.unexplained) if call.unexplained else []


def _lost(call: Call, signal: signals.Lost) -> list[StateTold]:
    if call.originate_reason is None or call.state is not State.CALL:
        return _refused(call, signal)
    reason = f"Asterisk could not reach the operator (reason {call.originate_reason})"
    return [_end(call, Outcome.OFFLINE, signal.date, detail=f"no phone was asked: {reason}")]


def _refused(call: Call, signal: signals.Refused | signals.Lost) -> list[StateTold]:
    return [_end(call, Outcome.FAILED, signal.date, detail=signal.words)]


_STEPS: dict[type[signals.Signal], Callable[[Call, Any], list[StateTold]]] = {
    signals.Started: _started,
    signals.Answered: _answered,
    signals.Asked: _asked,
    signals.Outcome: _outcome,
    signals.HungUp: _hung_up,
    signals.Ended: _ended,
    signals.OriginateFailed: _originate_failed,
    signals.Refused: _refused,
    signals.Lost: _lost,
}


def role_of(call: Call, channel: str) -> Role | None:
    """Whose leg ``channel`` is; the anchor is the operator's even before it was seen."""
    if channel == call.anchor:
        return OPERATOR
    return CLIENT if channel == call.legs[CLIENT].channel else None


def _who(call: Call, source: str) -> str | None:
    """The party whose channel is named ``source``; Asterisk, where it is nobody's."""
    if not source:
        return None
    for role, leg in call.legs.items():
        if leg.channel_name == source:
            return role.value
    return "asterisk"


def _reached(call: Call, rung: State) -> bool:
    ladder = LADDER[call.direction]
    return ladder.index(call.state) >= ladder.index(rung)


def _lift(call: Call, rung: State, date: int) -> list[StateTold]:
    ladder = LADDER[call.direction]
    missing = ladder[ladder.index(call.state) + 1 : ladder.index(rung) + 1]
    return [_tell(call, state, date) for state in missing]


def _end(
    call: Call, outcome: Outcome, date: int, *, cause: int | None = None, detail: str | None = None
) -> StateTold:
    state = VERDICT[call.direction, call.state][outcome]
    if state is State.FINISH:
        detail = "; ".join(filter(None, [_finish_words(call, date), detail]))
    return _tell(call, state, date, final=True, cause=cause or None, detail=detail)


def _finish_words(call: Call, date: int) -> str:
    ring, wait, talk = _seconds(call, max(date, call.states[-1].date))
    return (
        f"hung up by {call.hung_up_by or 'nobody known'}; "
        f"ring {ring:.1f} s, wait {wait:.1f} s, talk {talk:.1f} s"
    )


def _tell(
    call: Call,
    state: State,
    date: int,
    *,
    final: bool = False,
    cause: int | None = None,
    detail: str | None = None,
) -> StateTold:
    role = LEG_OF[state]
    told = StateTold(
        call_id=call.call_id,
        seq=len(call.states) + 1,
        state=state,
        final=final,
        leg=call.legs[role].name if role else None,
        sip=call.sip,
        # Clocks and threads may disagree; within a call time never runs backwards.
        date=max(date, call.states[-1].date) if call.states else date,
        cause=cause,
        detail=detail,
    )
    call.states.append(told)
    return told


def _seconds(call: Call, ended: int | None) -> tuple[float | None, float | None, float | None]:
    """Ring, wait and talk seconds, each up to ``ended`` if it had begun and not ended before."""

    def span(begin: State, end: State | None) -> float | None:
        begun = call.date_of(begin)
        over = call.date_of(end) if end else None
        over = ended if over is None else over
        return None if begun is None or over is None else (over - begun) / 1000

    return (
        span(State.OPERATOR_CALLTO, State.OPERATOR_PICKUP),
        span(State.OPERATOR_PICKUP, State.CLIENT_PICKUP),
        span(TALK[call.direction], None),
    )


def view(call: Call) -> CallView:
    """The call as it stands now, after the last state told."""
    last = call.states[-1]
    ended = last.date if last.final else None
    ring, wait, talk = _seconds(call, ended)
    return CallView(
        call_id=call.call_id,
        order_id=call.order_id,
        external_key=call.external_key,
        direction=call.direction,
        sip=call.sip,
        phone=call.phone,
        state=last.state,
        final=last.final,
        date=call.states[0].date,
        answered=call.date_of(TALK[call.direction]),
        ended=ended,
        ring_seconds=ring,
        wait_seconds=wait,
        talk_seconds=talk,
        hung_up_by=call.hung_up_by if last.final else None,
        cause=last.cause,
        detail=last.detail,
    )
