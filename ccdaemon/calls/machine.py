"""The call machine: the only place where a state of a call is born.

Pure. It is given signals with their times and answers with the states to tell. What may follow
what stands in tables; an echo, a late word or a reordering is simply absent from them, so it
tells nothing. Once a final state is told a call is deaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ccdaemon.calls import hunting, signals, verdict
from ccdaemon.calls.call import (
    Call,
    add_state,
    keep,
    reached,
    set_hangup_party,
    stage,
    update_operator,
    who,
)
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.leg import Leg, Span
from ccdaemon.calls.model import Direction, LegView, State, StateChange
from ccdaemon.calls.tables import (
    ANSWERED,
    ASKED,
    CLIENT,
    HALVES,
    LEG_OF,
    LEG_STAGES,
    NO_PHONE,
    OPERATOR,
    STAGES,
)

#: As many notes wait for a state that can carry them.
MOST_NOTES = 20
#: As often a phone's own hold is counted.
MOST_HOLDS = 1000
#: As many recordings of a call are known.
MOST_RECORDINGS = 50


def open_call(call: Call, date: int) -> list[StateChange]:
    """Tell CALL, the first state of every call."""
    return [add_state(call, State.CALL, date)]


def open_by_hand(call: Call, name: str, date: int) -> list[StateChange]:
    """Tell a call that an operator dials by hand on the channel ``name``; they are there."""
    call.legs[0].channel_name = name
    return [*open_call(call, date), *_lift(call, State.OPERATOR_PICKUP, date)]


def refuse(call: Call, outcome: Outcome, detail: str, date: int) -> list[StateChange]:
    """End a call for which nobody's phone is rung at all: the operator is offline or busy."""
    return [verdict.conclude(call, outcome, date, detail=detail)]


def advance(call: Call, signal: signals.Signal) -> list[StateChange]:
    """What ``signal`` adds to the chain of ``call``; nothing for echoes and late words."""
    if call.final:
        return []
    return _STEPS[type(signal)](call, signal)


def restore(call: Call, states: Sequence[StateChange], legs: Sequence[LegView] = ()) -> None:
    """Put a chain that was told earlier back into a call, as after a restart."""
    for seen in legs:
        _restore_leg(call, seen)
    by_name = {leg.name: leg for leg in call.legs}
    for change in states:
        keep(call, change, by_name.get(change.leg or ""))
    for leg in call.operators:
        leg.judged = not leg.states <= {*LEG_STAGES}


def _restore_leg(call: Call, seen: LegView) -> None:
    leg = next((leg for leg in call.legs if leg.name == seen.name), None)
    if leg is None:
        leg = Leg(seen.name, OPERATOR, seen.sip, seen.phone, round=_round(call, seen))
        call.legs.append(leg)
        call.has_extra_legs = True
        call.round = leg.round
    leg.sip, leg.phone, leg.channel = seen.sip, seen.phone, seen.channel
    leg.sent = seen.sent
    leg.ended, leg.up = seen.ended, seen.answered
    leg.spans = [Span(start, end) for start, end in seen.spans]
    # Of a leg that was never born everything was told at once.
    leg.over = seen.ended is not None
    if leg.channel is not None:
        call.known.add(leg.channel)
        (call.channels.discard if leg.over else call.channels.add)(leg.channel)


def _round(call: Call, seen: LegView) -> int:
    """The turn of a leg that is put back: a new one if the last was over when it was called."""
    last = [leg for leg in call.operators if leg.round == call.round]
    known = (leg.ended if leg.up is None else leg.up for leg in last)
    return call.round + any(end is not None and end <= (seen.called or 0) for end in known)


# What happens to a channel


def _started(call: Call, signal: signals.Started) -> list[StateChange]:
    leg = call.leg_of(signal.channel)
    if leg is not None:
        if signal.channel == leg.channel:
            leg.channel_name = leg.channel_name or signal.name
        asked = ASKED.get((call.direction, leg.role)) if leg is call.legs[0] else None
        return _lift(call, asked, signal.date) if asked and not leg.over else []
    if signal.channel in call.known:
        return []
    call.known.add(signal.channel)
    call.channels.add(signal.channel)
    if signal.name.startswith(HALVES):
        call.local_turn = call.round
    is_outbound = call.direction is Direction.OUTBOUND
    if is_outbound and (call.client.channel is None or _is_client_asked(call)):
        _may_be_client(call, signal)
        return []
    if signal.name.startswith(NO_PHONE):
        return []
    # A Local channel before the client's brings further channels, which are no leg either.
    asked_for = call.has_extra_legs or not is_outbound or (call.bridges and call.talked)
    return hunting.started(call, signal) if asked_for else []


def _is_client_asked(call: Call) -> bool:
    """Whether the client of an outbound call is asked just now, and which phone it is is open."""
    return call.bridges and not call.talked and not call.has_extra_legs


def _may_be_client(call: Call, signal: signals.Started) -> None:
    # A channel beside the anchor is the client only after the dialplan said that it asks them.
    if not reached(call, State.CLIENT_CALLTO):
        # Behind half a Local channel it is one of the operator's phones, who may have several.
        first = call.legs[0]
        is_behind = first.channel_name.startswith(HALVES) and first.answered is None
        if is_behind and not signal.name.startswith(NO_PHONE):
            first.phones[signal.channel] = signal.name
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


def _answered(call: Call, signal: signals.Answered) -> list[StateChange]:
    leg = call.leg_of(signal.channel)
    if leg is None and signal.channel in call.candidates and not call.by_local:
        _be_client(call, signal.channel, call.candidate_names[signal.channel])
        leg = call.client
    if leg is None or leg.over:
        return []
    if signal.channel in leg.phones:
        if leg.answered is not None or leg.up is not None:
            return []
        leg.take(signal.channel)
    elif leg is not call.client and leg.channel_name.startswith(HALVES):
        # Half a Local channel is up with whatever answers behind it: the phone tells.
        return []
    if leg is call.client and call.by_local:
        # Whoever dialled it may answer by themselves, to say that there is no such number.
        return []
    if leg is call.client or leg is call.legs[0]:
        wanted = ANSWERED.get((call.direction, leg.role))
        return _lift(call, wanted, signal.date) if wanted else []
    return hunting.answered(call, leg, signal.date)


def _joined(call: Call, signal: signals.Joined) -> list[StateChange]:
    first = call.legs[0]
    if signal.channel in first.phones:
        first.take(signal.channel)
    if call.direction is Direction.INBOUND or signal.channel != first.channel:
        # Before the client is there somebody else may speak with the operator alone.
        return hunting.joined(call, signal) if _has_client(call) else []
    if not call.talked and signal.linkedid in {*call.candidates} - {call.client.channel}:
        _be_client(call, signal.linkedid, call.candidate_names[signal.linkedid])
    first.join(signal.date)
    update_operator(call)
    return _lift(call, State.CLIENT_PICKUP, signal.date)


def _has_client(call: Call) -> bool:
    return call.direction is Direction.INBOUND or call.talked


def _parted(call: Call, signal: signals.Parted) -> list[StateChange]:
    leg = call.leg_of(signal.channel)
    if leg is not None:
        leg.part(signal.date)
        update_operator(call)
    return []


def _held(call: Call, signal: signals.Held) -> list[StateChange]:
    leg = call.leg_of(signal.channel)
    if leg is None or leg.over or not call.talked:
        return []
    last = leg.holds[-1] if leg.holds else None
    is_held = last is not None and last.end is None
    if signal.on and not is_held and len(leg.holds) < MOST_HOLDS:
        leg.holds.append(Span(signal.date))
    elif not signal.on and last is not None and is_held:
        last.end = max(signal.date, last.start)
    return []


def _gone(call: Call, signal: signals.Gone) -> list[StateChange]:
    if not is_left(call):
        return []
    ended = call.client.ended or signal.date
    for leg in call.operators:
        if not leg.over:
            leg.over, leg.ended = True, max(filter(None, (ended, leg.called, leg.answered)))
    call.channels.clear()
    return verdict.over(call, ended)


def is_left(call: Call) -> bool:
    """Whether the client has gone, and nothing can come any more but the end."""
    # Of one that was lost it is not known when; then the look that missed it ends the others, too.
    return not call.final and call.client.ended is not None and _has_client(call)


def _asked(call: Call, signal: signals.Asked) -> list[StateChange]:
    wanted = ASKED.get((call.direction, signal.role))
    return _lift(call, wanted, signal.date) if wanted else []


def _outcome(call: Call, signal: signals.ClientDialResult) -> list[StateChange]:
    call.client.outcome = signal
    # Busy is what their phone said, whoever ended the leg then.
    said = CLIENT.value if signal.dial_status == "BUSY" else who(call, signal.source)
    set_hangup_party(call, said, signal.date)
    return []


def _hung_up(call: Call, signal: signals.HungUp) -> list[StateChange]:
    leg = call.leg_of(signal.channel)
    if leg is None or leg.over:
        return []
    if leg.answered is None and leg.up is None and leg.others(signal.channel):
        # They have other phones, which ring on.
        return []
    leg.hung_up = True
    if leg.role is OPERATOR and any(one.is_joined for one in call.operators if one is not leg):
        # They leave a conference in which the client talks with others.
        return []
    # An operator who declines does not end the call of a client who waits for the next one.
    if leg is call.client or leg is call.legs[0] or leg.answered is not None:
        set_hangup_party(call, leg.role.value, signal.date)
    return []


def _ended(call: Call, signal: signals.Ended) -> list[StateChange]:
    call.known.add(signal.channel)
    is_ours = signal.channel in call.channels
    call.channels.discard(signal.channel)
    leg = call.leg_of(signal.channel)
    if leg is not None and leg.goes_on_without(signal):
        leg = None
    changes: list[StateChange] = []
    # One that has joined from elsewhere is none of the call's own, and ends all the same.
    if leg is not None and not leg.over and (is_ours or leg.answered is not None):
        leg.over, leg.end = True, leg.told_by(signal)
        leg.ended = max(filter(None, (signal.date, leg.called, leg.answered)))
        for one in call.operators if leg is call.client else [leg]:
            one.part(leg.ended)
        changes = _let_go(call, leg)
    _ask_next_candidate(call, signal.channel)
    return changes if call.channels or not is_ours else [*changes, *verdict.over(call, signal.date)]


def _ask_next_candidate(call: Call, ended: str) -> None:
    """Another phone may be the client's, if the one that was taken for it has gone."""
    if ended in call.candidates:
        call.candidates.remove(ended)
        if ended == call.client.channel and call.candidates and not call.talked:
            _be_client(call, call.candidates[-1], call.candidate_names[call.candidates[-1]])


def _let_go(call: Call, leg: Leg) -> list[StateChange]:
    update_operator(call)
    is_asked = leg.role is OPERATOR and leg is not call.legs[0]
    return hunting.ended(call, leg) if is_asked else []


def _originate_failed(call: Call, signal: signals.OriginateFailed) -> list[StateChange]:
    if call.direction is Direction.INBOUND:
        return []
    # The birth of a channel may be told after this: that there is none only time can tell.
    call.originate_reason = signal.reason
    end = call.unexplained
    return verdict.operator_unanswered(call, end, end.date) if end else []


def _lost(call: Call, signal: signals.Lost) -> list[StateChange]:
    if signal.channel not in call.looked_for:
        return []
    if call.originate_reason is not None and call.state is State.CALL:
        reason = f"Asterisk could not reach the operator (reason {call.originate_reason})"
        return refuse(call, Outcome.OFFLINE, f"no phone was asked: {reason}", signal.date)
    is_ours = signal.channel in call.channels or not call.channels
    call.channels.discard(signal.channel)
    leg = call.leg_of(signal.channel)
    changes: list[StateChange] = []
    if leg is not None:
        leg.over = True
        changes = _let_go(call, leg) if leg.answered is not None else []
    if call.channels or not is_ours:
        return changes
    call.lost = signal.words
    return [*changes, *verdict.over(call, signal.date)]


# What we ourselves know


def _refused(call: Call, signal: signals.OriginateRefused) -> list[StateChange]:
    return [verdict.fail(call, signal.words, signal.date)]


def _noted(call: Call, signal: signals.Noted) -> list[StateChange]:
    if signal.words not in call.noted and len(call.noted) < MOST_NOTES:
        call.noted.append(signal.words)
    return []


def _recorded(call: Call, signal: signals.Recorded) -> list[StateChange]:
    told = signal.channel, signal.file
    if told not in call.recordings and len(call.recordings) < MOST_RECORDINGS:
        call.recordings.append(told)
    return []


def _cancelled(call: Call, signal: signals.Cancelled) -> list[StateChange]:
    set_hangup_party(call, "api", signal.date)
    return []


def _of_others(call: Call, signal: signals.Signal) -> list[StateChange]:
    """What others have made of it already."""
    return []


_STEPS: dict[type[signals.Signal], Callable[[Call, Any], list[StateChange]]] = {
    signals.Incoming: _of_others,
    signals.DialledOut: _of_others,
    signals.Tagged: _of_others,
    signals.Started: _started,
    signals.Answered: _answered,
    signals.Joined: _joined,
    signals.Parted: _parted,
    signals.Gone: _gone,
    signals.Held: _held,
    signals.Entered: _of_others,
    signals.Left: _of_others,
    signals.Asked: _asked,
    signals.DialAttempt: hunting.ask,
    signals.DialResult: hunting.tried,
    signals.ClientDialResult: _outcome,
    signals.Recorded: _recorded,
    signals.HungUp: _hung_up,
    signals.Ended: _ended,
    signals.OriginateFailed: _originate_failed,
    signals.OriginateRefused: _refused,
    signals.Lost: _lost,
    signals.OperatorSkipped: hunting.passed,
    signals.Noted: _noted,
    signals.Cancelled: _cancelled,
}


def _lift(call: Call, wanted: State, date: int) -> list[StateChange]:
    ladder = STAGES[call.direction]
    missing = ladder[ladder.index(stage(call)) + 1 : ladder.index(wanted) + 1]
    return [add_state(call, state, date, _leg(call, state)) for state in missing]


def _leg(call: Call, state: State) -> Leg | None:
    return call.legs[0] if LEG_OF[state] is OPERATOR else None
