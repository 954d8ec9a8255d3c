"""The operators who are asked one after the other, or together: inbound, and in a transfer.

Pure. How such a leg ended unanswered waits until it is known whether somebody else follows: only
then it is known whether the end of the leg is the end of the call, and whether anybody is told.
"""

from __future__ import annotations

from dataclasses import replace

from ccdaemon.calls import causes, signals
from ccdaemon.calls.call import Call, add_state, set_hangup_party, update_operator, who
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.leg import Leg, LegVerdict
from ccdaemon.calls.model import State, StateChange
from ccdaemon.calls.tables import CLIENT, GIVEN_UP, LEG_STAGES, MOST_LEGS, OPERATOR, OTHERS_FOLLOW

#: What is said of an operator for whom Asterisk found no phone to ring.
NO_PHONE_ASKED = "no phone was asked: Asterisk could not reach the operator"


def started(call: Call, signal: signals.Started) -> list[StateChange]:
    """A phone is rung; whoever was asked before it was not the last."""
    sip = signal.sip or _whose(call)
    if sip is not None and (same := _ringing_for(call, sip)) is not None:
        same.phones[signal.channel] = signal.name
        return []
    changes = _settle_before(call)
    leg = _add(call, sip, _outside(call) if sip is None else None)
    leg.channel, leg.channel_name = signal.channel, signal.name
    leg.direct = _is_named(call, sip)
    if len(call.operators) <= MOST_LEGS:
        changes += _climb(call, leg, State.OPERATOR_CALLTO, signal.date)
    return changes


def _whose(call: Call) -> str | None:
    """Of those who are asked the one whose phone it may be that no template knows.

    A phone that another server knows has the name of that server's endpoint: those are born in the
    order in which they are dialled. By way of a Local channel it is known where one alone is asked.
    """
    if call.attempt is None or call.attempt.phones:
        return None
    sips = call.attempt.sips
    if len(sips) == 1:
        return sips[0]
    if call.local_turn == call.round:
        return None
    here = {leg.sip for leg in call.operators if leg.round == call.round}
    return next((sip for sip in sips if sip not in here), None)


def _ringing_for(call: Call, sip: str) -> Leg | None:
    """The leg of an operator of whom one phone rings already."""
    for leg in call.operators:
        rings = leg.channel is not None and leg.up is None and not leg.over and not leg.judged
        if leg.sip == sip and leg.round == call.round and rings and leg is not call.legs[0]:
            return leg
    return None


def _is_named(call: Call, sip: str | None) -> bool:
    """Whether the phone that is rung is the very one that our own dialplan dials."""
    if call.attempt is None or call.local_turn == call.round:
        return False
    return sip in call.attempt.sips if sip is not None else bool(call.attempt.phones)


def answered(call: Call, leg: Leg, date: int) -> list[StateChange]:
    """A phone was picked up.

    That is no talk yet: it may be a mailbox, be asked to accept, or hear music. Where nobody tells
    of bridges it is taken for one; of several that rang together the first one counts.
    """
    if leg.up is not None or leg.over:
        return []
    leg.up = date
    # Who is consulted speaks with another operator first, and that is a pickup as well.
    if call.bridges and not (call.talked and leg.direct):
        return []
    others = [one for one in call.operators if one.round == leg.round and one.answered is not None]
    return _pick_up(call, leg) if all(one.over for one in others) else []


def joined(call: Call, signal: signals.Joined) -> list[StateChange]:
    """A phone shares a bridge with the client, whether it was rung for the call or fetched it."""
    leg = call.leg_of(signal.channel)
    if leg is None:
        leg = _add(call, signal.sip, None if signal.sip else _outside(call))
        leg.channel, leg.channel_name = signal.channel, signal.name
    if leg.over:
        return []
    if signal.channel in leg.phones:
        leg.take(signal.channel)
    leg.join(signal.date)
    leg.up = signal.date if leg.up is None else leg.up
    update_operator(call)
    return [] if leg.answered is not None else _pick_up(call, leg, signal.date)


def _pick_up(call: Call, leg: Leg, date: int | None = None) -> list[StateChange]:
    for one in pending(call):
        one.verdict = None
    assert leg.up is not None
    date = leg.up if date is None else date
    if leg.hung_up:
        # They were quicker than the bridge.
        set_hangup_party(call, OPERATOR.value, date)
    return _climb(call, leg, State.OPERATOR_PICKUP, date)


def ended(call: Call, leg: Leg) -> list[StateChange]:
    """A phone was let go, or its channel lost."""
    if leg.answered is not None:
        update_operator(call)
        if call.bridges:
            return []
        # Two picked up at the same moment, and Asterisk took the other one.
        left = (one for one in call.operators if one.round == leg.round and one.up and not one.over)
        return _pick_up(call, other) if (other := next(left, None)) else []
    is_taken = leg.up is not None and not call.bridges
    if is_taken or not leg.states or leg.judged or _is_answered(call, leg.round):
        return []
    leg.verdict = _verdict(call, leg, leg.ended or 0)
    # Somebody is asked after them already, where the end of their channel is heard of late.
    if leg.round < call.round or (leg.verdict.own and _is_ringing(call)):
        return [_conclude_leg(call, leg)]
    return []


def _is_answered(call: Call, round_no: int) -> bool:
    return any(one.answered is not None and one.round == round_no for one in call.operators)


def _is_ringing(call: Call) -> bool:
    return any(not (one.answered or one.over or one.judged) for one in call.operators)


def _verdict(call: Call, leg: Leg, date: int) -> LegVerdict:
    """What the end of an unanswered leg stands for, as far as it is known by now."""
    said = _said_of(call, leg)
    status, own = "NOANSWER", refused(call, leg)
    tech = said.tech if said else ""
    if said is not None and said.dial_status == "CANCEL":
        # Whatever cause the leg was given then.
        status, own, tech = "CANCEL", leg.hung_up, ""
    elif said is not None:
        status, own = "BUSY" if said.dial_status == "BUSY" else status, True
    if leg.end is None:
        cause = causes.SIP_CAUSE.get(causes.sip_code(tech) or 0)
    else:
        # Where the phone itself did not end it, the SIP answer is one that Asterisk made up.
        cause, tech = leg.end.cause, tech or (leg.end.tech if leg.hung_up else "")
    if cause == causes.ELSEWHERE or not own:
        cause = None
    status = "NOANSWER" if own and status == "CANCEL" else status
    cause = causes.own(cause, status)
    outcome = causes.outcome(tech=tech, cause=cause, dial_status=status, is_own=leg.hung_up)
    leg.cause = cause
    leg.detail = None if status == "CANCEL" else causes.words(cause, tech, status)
    return LegVerdict(date, outcome, own, cause, leg.detail)


def refused(call: Call, leg: Leg) -> bool:
    """Whether the phone itself ended the leg.

    A cause without its hang-up may be another leg's: Asterisk gives the phones that it lets go the
    one that the client's channel was left with.
    """
    cause = leg.end.cause if leg.end else None
    before = {one.end.cause for one in call.operators if one.round < leg.round and one.end}
    return leg.hung_up or cause not in GIVEN_UP | before


def ask(call: Call, signal: signals.DialAttempt) -> list[StateChange]:
    """Somebody is about to be asked, so whoever was asked before was not the last."""
    call.has_extra_legs = True
    if _is_echo(call, signal) or _is_only_seen(call, signal):
        return []
    changes = []
    # Of whoever else is asked it is not known whether there is anybody.
    if signal.sips or signal.phones:
        _note_unreached(call)
        call.attempt = signal
        changes = _settle_before(call)
    call.round += 1
    for leg in call.operators:
        # After a restart the log says again that they are asked: nobody is asked while they ring.
        if leg.sip in signal.sips and not leg.over and not leg.judged:
            leg.round = call.round
    return changes


def tried(call: Call, signal: signals.DialResult) -> list[StateChange]:
    """The dialplan says what came of asking."""
    if _is_echo(call, signal):
        return []
    party = who(call, signal.source)
    if party in (CLIENT.value, "api") or (party == OPERATOR.value and call.talked):
        set_hangup_party(call, party, signal.date)
    if signal.dial_status == "ANSWER":
        return _answered_unseen(call)
    if not signal.dial_status:
        return []
    call.attempt_result = call.round, signal
    for leg in pending(call):
        if leg.end is not None and (said := _said_of(call, leg)):
            leg.verdict = _verdict(call, leg, leg.ended or said.date)
    if signal.dial_status != "CANCEL":
        _note_unreached(call)
        # A call that was a talk ends with FINISH, whoever else is asked: nothing has to wait.
        if call.talked:
            return _settle_before(call)
    return []


def _answered_unseen(call: Call) -> list[StateChange]:
    """The dialplan says that who was asked has answered: whose phone was up has talked.

    That is so of phones that are rung by name. By way of another dialplan anything may answer.
    """
    last = [leg for leg in call.operators if leg.round == call.round and leg.direct]
    if any(leg.answered is not None for leg in last):
        return []
    up = (leg for leg in last if leg.up is not None and not leg.judged)
    leg = next(up, None)
    return _pick_up(call, leg) if leg else []


def _said_of(call: Call, leg: Leg) -> signals.DialResult | None:
    """What the dialplan said of those who were asked with a leg; its channel's end may be late.

    Of several it is known who gave them up, and of none of them why.
    """
    round_no, said = call.attempt_result or (None, None)
    if said is None or round_no != leg.round:
        return None
    if sum(one.round == round_no for one in call.operators) == 1:
        return said
    status = "CANCEL" if said.dial_status == "CANCEL" else "NOANSWER"
    return replace(said, dial_status=status, tech="")


def _note_unreached(call: Call) -> None:
    """Those of the asked for whom no channel was born have no phone that could ring."""
    if call.attempt is None:
        return
    reached = {leg.sip for leg in call.operators if leg.round == call.round}
    for sip in call.attempt.sips:
        if sip not in reached:
            _pass(call, sip, Outcome.OFFLINE, NO_PHONE_ASKED, call.attempt.date)
    call.attempt = None


def passed(call: Call, signal: signals.OperatorSkipped) -> list[StateChange]:
    """An operator is not rung; with nobody named, nobody may be."""
    if _is_echo(call, signal):
        return []
    if not signal.sip:
        call.rejected = signal.words
        return []
    changes = settle(call)
    call.round += 1
    _pass(call, signal.sip, signal.outcome, signal.words, signal.date)
    return changes


def _pass(call: Call, sip: str, outcome: Outcome, words: str, date: int) -> None:
    if len(call.operators) < MOST_LEGS:
        leg = _add(call, sip, None)
        leg.over, leg.ended, leg.detail = True, date, words
        leg.verdict = LegVerdict(date, outcome, own=True, cause=None, detail=words)


def _is_echo(call: Call, signal: signals.Signal) -> bool:
    """Whether the dialplan's word was heard before, or is of the past: the log is read again.

    Its number tells, wherever a clock is put. Of the last one before a restart nobody knows whether
    what follows from it was told: there dates tell, and where there is no number.
    """
    is_old: bool | None = None
    if isinstance(signal, signals.DialAttempt | signals.DialResult) and signal.number:
        is_old = _is_counted(call, signal.channel, signal.number)
    if isinstance(signal, signals.OperatorSkipped):
        # That is our own word: the log has none of them.
        is_old = False
    if is_old is None:
        is_old = signal.date < call.states[-1].date
    if is_old or signal in call.heard:
        return True
    call.heard.add(signal)
    return False


def _is_counted(call: Call, channel: str, number: int) -> bool | None:
    """Whether a word of a channel's dialplan was counted before; None: by the number it may be."""
    last, before = call.said.get(channel, 0), call.said_before
    call.said[channel] = max(last, number)
    counted = None if before is None else before.get(channel, 0)
    # Told by AMI and by the log it has two dates and one number.
    if number <= last or (counted is not None and number < counted):
        return True
    return None if counted is None or number == counted else False


def _is_only_seen(call: Call, signal: signals.DialAttempt) -> bool:
    """Whether a look has seen that somebody is asked, and who it is was known before."""
    return signal.seen and (call.attempt is not None or any(not leg.over for leg in call.operators))


def pending(call: Call) -> list[Leg]:
    """The legs whose end waits to be told, the oldest first."""
    waiting = [leg for leg in call.operators if leg.verdict is not None]
    return sorted(waiting, key=_when)


def _when(leg: Leg) -> tuple[int, bool]:
    """The moment of a verdict; of one moment, who has no phone comes before whose phone rang."""
    return leg.verdict.date if leg.verdict else 0, leg.channel is not None


def settle(call: Call, *, silently: bool = False) -> list[StateChange]:
    """Tell what waits, as not the end of the call.

    :param silently: nothing of those whom only our own side gave up.
    """
    changes = []
    for leg in pending(call):
        if silently and leg.verdict and not leg.verdict.own:
            leg.verdict = None
        else:
            changes.append(_conclude_leg(call, leg))
    return changes


def _settle_before(call: Call) -> list[StateChange]:
    """Tell of all who were asked before; the end of a channel may be heard of late."""
    for leg in call.operators:
        gone = (said := _said_of(call, leg)) is not None and said.dial_status != "CANCEL"
        waits = leg.states and leg.up is None and not leg.over and not leg.judged
        if gone and waits and said is not None:
            leg.verdict = _verdict(call, leg, said.date)
    return settle(call)


def _conclude_leg(call: Call, leg: Leg) -> StateChange:
    verdict, leg.verdict = leg.verdict, None
    leg.judged = True
    assert verdict is not None
    state = OTHERS_FOLLOW[verdict.outcome]
    return add_state(call, state, verdict.date, leg, cause=verdict.cause, detail=verdict.detail)


def _climb(call: Call, leg: Leg, wanted: State, date: int) -> list[StateChange]:
    stages = LEG_STAGES[: LEG_STAGES.index(wanted) + 1]
    return [add_state(call, state, date, leg) for state in stages if state not in leg.states]


def _add(call: Call, sip: str | None, phone: str | None) -> Leg:
    # A leg of which nothing was told and nothing will be leaves no trace.
    call.legs[:] = [
        leg for leg in call.legs if not (leg.over and not leg.states and not leg.verdict)
    ]
    numbers = [int(leg.name.partition("-")[2]) for leg in call.operators]
    name = f"operator-{max(numbers, default=0) + 1}"
    leg = Leg(name, OPERATOR, sip, phone, round=call.round)
    call.legs.append(leg)
    return leg


def _outside(call: Call) -> str | None:
    """The number outside that is asked for just now."""
    return call.attempt.phones[0] if call.attempt and call.attempt.phones else None
