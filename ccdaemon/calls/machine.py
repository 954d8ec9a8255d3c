"""The call machine: the only place where a state of a call is born.

Pure. It is given signals with their times and answers with the states to tell. What may follow
what stands in tables; an echo, a late word or a reordering is simply absent from them, so it
tells nothing. Once a final state is told a call is deaf.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ccdaemon.calls import causes, signals
from ccdaemon.calls.call import Call, reached, role_of, seconds, tell, who
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import State, StateTold
from ccdaemon.calls.tables import (
    ANSWERED,
    ASKED,
    CLIENT,
    LADDER,
    OPERATOR,
    ORIGINATE_STATUS,
    SIP_CHANNELS,
    TALK,
    VERDICT,
)


def open_call(call: Call, date: int) -> list[StateTold]:
    """Tell CALL, the first state of every call."""
    return [tell(call, State.CALL, date)]


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
    if leg.channel is not None or (role is CLIENT and not reached(call, State.CLIENT_CALLTO)):
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
    said = CLIENT.value if signal.dial_status == "BUSY" else who(call, signal.source)
    call.hung_up_by = call.hung_up_by or said
    return []


def _hung_up(call: Call, signal: signals.HungUp) -> list[StateTold]:
    role = role_of(call, signal.channel)
    call.hung_up_by = call.hung_up_by or (role.value if role else None)
    return []


def _ended(call: Call, signal: signals.Ended) -> list[StateTold]:
    # The other party's channel may go before or after: the anchor's end decides.
    if signal.channel != call.anchor:
        return []
    if not reached(call, State.OPERATOR_PICKUP):
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
        call.unseen = True
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


def _lift(call: Call, rung: State, date: int) -> list[StateTold]:
    ladder = LADDER[call.direction]
    missing = ladder[ladder.index(call.state) + 1 : ladder.index(rung) + 1]
    return [tell(call, state, date) for state in missing]


def _end(
    call: Call, outcome: Outcome, date: int, *, cause: int | None = None, detail: str | None = None
) -> StateTold:
    state = VERDICT[call.direction, call.state][outcome]
    if state is State.FINISH and not call.unseen:
        detail = "; ".join(filter(None, [_finish_words(call, date), detail]))
    return tell(call, state, date, final=True, cause=cause or None, detail=detail)


def _finish_words(call: Call, date: int) -> str:
    ring, wait, talk = seconds(call, max(date, call.states[-1].date))
    return (
        f"hung up by {call.hung_up_by or 'nobody known'}; "
        f"ring {ring:.1f} s, wait {wait:.1f} s, talk {talk:.1f} s"
    )
