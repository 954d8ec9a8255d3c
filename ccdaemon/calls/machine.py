"""The call machine: the only place where a state of a call is born.

Pure. It is given signals with their times and answers with the states to tell. What may follow
what stands in tables; an echo, a late word or a reordering is simply absent from them, so it
tells nothing. Once a final state is told a call is deaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ccdaemon.calls import asking, ends, signals
from ccdaemon.calls.call import Call, blame, follow, keep, reached, rung, tell, who
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.leg import Leg, Span
from ccdaemon.calls.model import Direction, LegView, State, StateTold
from ccdaemon.calls.tables import (
    ANSWERED,
    ASKED,
    CLIENT,
    HALVES,
    LADDER,
    LEG_LADDER,
    LEG_OF,
    NO_PHONE,
    OPERATOR,
)

#: As many notes wait for a state that can carry them.
MOST_NOTES = 20
#: As many recordings of a call are known.
MOST_RECORDINGS = 50


def open_call(call: Call, date: int) -> list[StateTold]:
    """Tell CALL, the first state of every call."""
    return [tell(call, State.CALL, date)]


def open_by_hand(call: Call, name: str, date: int) -> list[StateTold]:
    """Tell a call that an operator dials himself on the channel ``name``: he is there already."""
    call.legs[0].channel_name = name
    return [*open_call(call, date), *_lift(call, State.OPERATOR_PICKUP, date)]


def refuse(call: Call, outcome: Outcome, detail: str, date: int) -> list[StateTold]:
    """End a call for which nobody's phone is rung at all: the operator is offline or busy."""
    return [ends.conclude(call, outcome, date, detail=detail)]


def advance(call: Call, signal: signals.Signal) -> list[StateTold]:
    """What ``signal`` adds to the chain of ``call``; nothing for echoes and late words."""
    if call.final:
        return []
    return _STEPS[type(signal)](call, signal)


def restore(call: Call, states: Sequence[StateTold], legs: Sequence[LegView] = ()) -> None:
    """Put a chain that was told earlier back into a call, as after a restart."""
    for seen in legs:
        _restore_leg(call, seen)
    by_name = {leg.name: leg for leg in call.legs}
    for told in states:
        keep(call, told, by_name.get(told.leg or ""))
    for leg in call.operators:
        leg.judged = not leg.told <= {*LEG_LADDER}


def _restore_leg(call: Call, seen: LegView) -> None:
    leg = next((leg for leg in call.legs if leg.name == seen.name), None)
    if leg is None:
        leg = Leg(seen.name, OPERATOR, seen.sip, seen.phone, turn=_turn(call, seen))
        call.legs.append(leg)
        call.widened = True
        call.turn = leg.turn
    leg.sip, leg.phone, leg.channel = seen.sip, seen.phone, seen.channel
    leg.sent = seen.sent
    leg.ended, leg.up = seen.ended, seen.answered
    leg.spans = [Span(start, end) for start, end in seen.spans]
    # Of a leg that was never born everything was told at once.
    leg.over = seen.ended is not None
    if leg.channel is not None:
        call.known.add(leg.channel)
        (call.channels.discard if leg.over else call.channels.add)(leg.channel)


def _turn(call: Call, seen: LegView) -> int:
    """The turn of a leg that is put back: a new one if the last was over when it was called."""
    last = [leg for leg in call.operators if leg.turn == call.turn]
    known = (leg.ended if leg.up is None else leg.up for leg in last)
    return call.turn + any(end is not None and end <= (seen.called or 0) for end in known)


# What happens to a channel


def _started(call: Call, signal: signals.Started) -> list[StateTold]:
    leg = call.leg_of(signal.channel)
    if leg is not None:
        leg.channel_name = leg.channel_name or signal.name
        asked = ASKED.get((call.direction, leg.role)) if leg is call.legs[0] else None
        return _lift(call, asked, signal.date) if asked and not leg.over else []
    if signal.channel in call.known:
        return []
    call.known.add(signal.channel)
    call.channels.add(signal.channel)
    if signal.name.startswith(HALVES):
        call.local_turn = call.turn
    is_outbound = call.direction is Direction.OUTBOUND
    if is_outbound and (call.client.channel is None or _is_client_asked(call)):
        _may_be_client(call, signal)
        return []
    if signal.name.startswith(NO_PHONE):
        return []
    # A Local channel before the client's brings further channels, which are no leg either.
    asked_for = call.widened or not is_outbound or (call.bridges and call.talked)
    return asking.started(call, signal) if asked_for else []


def _is_client_asked(call: Call) -> bool:
    """Whether the client of an outbound call is asked just now, and which phone it is is open."""
    return call.bridges and not call.talked and not call.widened


def _may_be_client(call: Call, signal: signals.Started) -> None:
    # A channel beside the anchor is the client only after the dialplan said that it asks him.
    if not reached(call, State.CLIENT_CALLTO):
        return
    if call.bridges and signal.name.startswith(NO_PHONE):
        call.by_local = call.by_local or signal.name.startswith(HALVES)
        return
    if call.bridges:
        call.candidates.append(signal.channel)
        call.candidate_names[signal.channel] = signal.name
    if call.client.channel is None or call.client.over:
        _be_client(call, signal.channel, signal.name)


def _be_client(call: Call, channel: str, name: str) -> None:
    """The client is the phone behind this channel, and none that was tried before it."""
    client = call.client
    client.channel, client.channel_name = channel, name
    client.over, client.ended, client.end, client.hung_up = False, None, None, False


def _answered(call: Call, signal: signals.Answered) -> list[StateTold]:
    leg = call.leg_of(signal.channel)
    if leg is None and signal.channel in call.candidates and not call.by_local:
        _be_client(call, signal.channel, call.candidate_names[signal.channel])
        leg = call.client
    if leg is None or leg.over:
        return []
    if leg is call.client and call.by_local:
        # Whoever dialled it may answer by himself, to say that there is no such number.
        return []
    if leg is call.client or leg is call.legs[0]:
        wanted = ANSWERED.get((call.direction, leg.role))
        return _lift(call, wanted, signal.date) if wanted else []
    return asking.answered(call, leg, signal.date)


def _joined(call: Call, signal: signals.Joined) -> list[StateTold]:
    first = call.legs[0]
    if call.direction is Direction.INBOUND or signal.channel != first.channel:
        # Before the client is there somebody else may speak with the operator alone.
        return asking.joined(call, signal) if _has_client(call) else []
    if not call.talked and signal.linkedid in {*call.candidates} - {call.client.channel}:
        _be_client(call, signal.linkedid, call.candidate_names[signal.linkedid])
    first.join(signal.date)
    follow(call)
    return _lift(call, State.CLIENT_PICKUP, signal.date)


def _has_client(call: Call) -> bool:
    return call.direction is Direction.INBOUND or call.talked


def _parted(call: Call, signal: signals.Parted) -> list[StateTold]:
    leg = call.leg_of(signal.channel)
    if leg is not None:
        leg.part(signal.date)
        follow(call)
    return []


def _gone(call: Call, signal: signals.Gone) -> list[StateTold]:
    if not is_left(call):
        return []
    ended = call.client.ended or signal.date
    for leg in call.operators:
        if not leg.over:
            leg.over, leg.ended = True, max(filter(None, (ended, leg.called, leg.answered)))
    call.channels.clear()
    return ends.over(call, ended)


def is_left(call: Call) -> bool:
    """Whether the client has gone, and nothing can come any more but the end."""
    # Of one that was lost it is not known when; then the look that missed it ends the others, too.
    return not call.final and call.client.ended is not None and _has_client(call)


def _asked(call: Call, signal: signals.Asked) -> list[StateTold]:
    wanted = ASKED.get((call.direction, signal.role))
    return _lift(call, wanted, signal.date) if wanted else []


def _outcome(call: Call, signal: signals.Outcome) -> list[StateTold]:
    call.client.outcome = signal
    # Busy is what his phone said, whoever ended the leg then.
    said = CLIENT.value if signal.dial_status == "BUSY" else who(call, signal.source)
    blame(call, said, signal.date)
    return []


def _hung_up(call: Call, signal: signals.HungUp) -> list[StateTold]:
    leg = call.leg_of(signal.channel)
    if leg is None or leg.over:
        return []
    leg.hung_up = True
    # An operator who declines does not end the call of a client who waits for the next one.
    if leg is call.client or leg is call.legs[0] or leg.answered is not None:
        blame(call, leg.role.value, signal.date)
    return []


def _ended(call: Call, signal: signals.Ended) -> list[StateTold]:
    call.known.add(signal.channel)
    is_ours = signal.channel in call.channels
    call.channels.discard(signal.channel)
    leg = call.leg_of(signal.channel)
    told: list[StateTold] = []
    # One that has joined from elsewhere is none of the call's own, and ends all the same.
    if leg is not None and not leg.over and (is_ours or leg.answered is not None):
        leg.over, leg.end = True, signal
        leg.ended = max(filter(None, (signal.date, leg.called, leg.answered)))
        for one in call.operators if leg is call.client else [leg]:
            one.part(leg.ended)
        told = _let_go(call, leg)
    _ask_next_candidate(call, signal.channel)
    return told if call.channels or not is_ours else [*told, *ends.over(call, signal.date)]


def _ask_next_candidate(call: Call, ended: str) -> None:
    """Another phone may be the client's, if the one that was taken for it has gone."""
    if ended in call.candidates:
        call.candidates.remove(ended)
        if ended == call.client.channel and call.candidates and not call.talked:
            _be_client(call, call.candidates[-1], call.candidate_names[call.candidates[-1]])


def _let_go(call: Call, leg: Leg) -> list[StateTold]:
    follow(call)
    is_asked = leg.role is OPERATOR and leg is not call.legs[0]
    return asking.ended(call, leg) if is_asked else []


def _originate_failed(call: Call, signal: signals.OriginateFailed) -> list[StateTold]:
    if call.direction is Direction.INBOUND:
        return []
    # The birth of a channel may be told after this: that there is none only time can tell.
    call.originate_reason = signal.reason
    end = call.unexplained
    return ends.operator_unanswered(call, end, end.date) if end else []


def _lost(call: Call, signal: signals.Lost) -> list[StateTold]:
    if signal.channel not in call.looked_for:
        return []
    if call.originate_reason is not None and call.state is State.CALL:
        reason = f"Asterisk could not reach the operator (reason {call.originate_reason})"
        return refuse(call, Outcome.OFFLINE, f"no phone was asked: {reason}", signal.date)
    is_ours = signal.channel in call.channels or not call.channels
    call.channels.discard(signal.channel)
    leg = call.leg_of(signal.channel)
    told: list[StateTold] = []
    if leg is not None:
        leg.over = True
        told = _let_go(call, leg) if leg.answered is not None else []
    if call.channels or not is_ours:
        return told
    call.lost = signal.words
    return [*told, *ends.over(call, signal.date)]


# What we ourselves know


def _refused(call: Call, signal: signals.Refused) -> list[StateTold]:
    return [ends.fail(call, signal.words, signal.date)]


def _noted(call: Call, signal: signals.Noted) -> list[StateTold]:
    if signal.words not in call.noted and len(call.noted) < MOST_NOTES:
        call.noted.append(signal.words)
    return []


def _recorded(call: Call, signal: signals.Recorded) -> list[StateTold]:
    told = signal.channel, signal.file
    if told not in call.recordings and len(call.recordings) < MOST_RECORDINGS:
        call.recordings.append(told)
    return []


def _cancelled(call: Call, signal: signals.Cancelled) -> list[StateTold]:
    blame(call, "api", signal.date)
    return []


def _of_others(call: Call, signal: signals.Signal) -> list[StateTold]:
    """What others have made of it already."""
    return []


_STEPS: dict[type[signals.Signal], Callable[[Call, Any], list[StateTold]]] = {
    signals.Incoming: _of_others,
    signals.DialledOut: _of_others,
    signals.Labelled: _of_others,
    signals.Started: _started,
    signals.Answered: _answered,
    signals.Joined: _joined,
    signals.Parted: _parted,
    signals.Gone: _gone,
    signals.Entered: _of_others,
    signals.Left: _of_others,
    signals.Asked: _asked,
    signals.Asking: asking.ask,
    signals.Tried: asking.tried,
    signals.Outcome: _outcome,
    signals.Recorded: _recorded,
    signals.HungUp: _hung_up,
    signals.Ended: _ended,
    signals.OriginateFailed: _originate_failed,
    signals.Refused: _refused,
    signals.Lost: _lost,
    signals.Passed: asking.passed,
    signals.Noted: _noted,
    signals.Cancelled: _cancelled,
}


def _lift(call: Call, wanted: State, date: int) -> list[StateTold]:
    ladder = LADDER[call.direction]
    missing = ladder[ladder.index(rung(call)) + 1 : ladder.index(wanted) + 1]
    return [tell(call, state, date, _leg(call, state)) for state in missing]


def _leg(call: Call, state: State) -> Leg | None:
    return call.legs[0] if LEG_OF[state] is OPERATOR else None
