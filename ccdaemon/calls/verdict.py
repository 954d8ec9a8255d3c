"""How a call ends: from the evidence of its legs to its final state.

Pure. Called once none of the call's channels is left, with the end of the last of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ccdaemon.calls import causes, signals
from ccdaemon.calls.call import Call, add_state, reached, set_hangup_party, stage
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.hunting import pending, refused, settle
from ccdaemon.calls.leg import Leg
from ccdaemon.calls.model import Direction, State, StateChange
from ccdaemon.calls.tables import (
    BY_API,
    CALLER_LEFT,
    CLIENT,
    GIVEN_UP,
    LEG_OF,
    OPERATOR,
    ORIGINATE_STATUS,
    SIP_CHANNELS,
    TALK,
    VERDICT,
)
from ccdaemon.calls.view import seconds

#: What is said of a call that the API ended before anybody talked.
BY_API_WORDS = "hung up by the API"
#: What is said of a call of which only the end of another channel was seen.
NOBODY_SAW = "nobody saw the operator's channel end"
#: What is said where there was nobody to ask, and where everybody's end was told already.
NO_REASON = "Asterisk ended the call and gave no reason"
#: What is said where the operator picked up, and nothing was heard of the dialplan.
NO_DIALPLAN = "Asterisk began no dialplan; has it reached maxcalls or maxload of asterisk.conf?"
#: What is said where the operator's channel ended by itself as soon as it was there.
NOT_SENT = "Asterisk gave up before it asked the phone; has it an RTP port left (rtp.conf)?"
NOBODY_ASKED = "there was nobody to ask"
NOBODY_ANSWERED = "nobody answered"

#: Seconds by which a talk may seem shorter than the time it was given.
CLOSE = 0.5


def over(call: Call, date: int) -> list[StateChange]:
    """The last channel is gone, at ``date``."""
    for leg in call.operators:
        # One that came from elsewhere may go on elsewhere.
        if leg.spans and not leg.over and call.lost is None:
            leg.over, leg.ended = True, max(date, leg.spans[-1].start)
    if call.talked:
        return _finish(call, date)
    if call.direction is Direction.INBOUND:
        return _untaken(call, date)
    end = call.legs[0].end
    if end is None or (call.lost is not None and call.unexplained is not None):
        return [fail(call, call.lost or NOBODY_SAW, date)]
    if call.hung_up_by == "api":
        return [_by_api(call, end, date)]
    if call.rejected is not None:
        return [fail(call, call.rejected, date)]
    if not reached(call, State.OPERATOR_PICKUP):
        return operator_unanswered(call, end, date)
    return [_client_unanswered(call, end, date)]


def fail(call: Call, words: str, date: int) -> StateChange:
    """End a call of which nothing better is known than ``words``."""
    return conclude(call, Outcome.FAILED, date, detail=words)


# Outbound


def operator_unanswered(call: Call, end: signals.Ended, date: int) -> list[StateChange]:
    """The operator's phone was asked and did not answer."""
    dial_status = "NOANSWER"
    if not end.cause or (end.cause == causes.NORMAL and not call.hung_up_by):
        # One that rang out (Asterisk 16) or one that forwards (22, if it is quick; chan_sip): only
        # what Originate is answered can tell, and it may come later.
        if call.originate_reason is None:
            call.unexplained = end
            return []
        rang_out = call.originate_reason in ORIGINATE_STATUS
        if end.cause is None and not rang_out and call.local_turn is None:
            # Nobody hung up, no forward was begun: the phone was never sent anything.
            set_hangup_party(call, "asterisk", date)
            return [fail(call, NOT_SENT, date)]
        dial_status = ORIGINATE_STATUS.get(call.originate_reason, "BUSY")
    # Where the phone itself did not end it, the SIP answer is one that Asterisk made up.
    tech = end.tech if call.hung_up_by else ""
    if call.hung_up_by is None:
        outcome = causes.outcome(tech=tech, cause=end.cause, dial_status=dial_status)
        given_up = outcome is Outcome.NOANSWER and end.cause in causes.RANG_OUT
        set_hangup_party(call, "asterisk" if given_up else OPERATOR.value, date)
    return [_conclude_with(call, end, tech, dial_status, date)]


def _client_unanswered(call: Call, end: signals.Ended, date: int) -> StateChange:
    """The operator was there, and the client not, or not yet."""
    tech, dial_status = "", ""
    if stage(call) is State.CLIENT_CALLTO and (changes := call.client.outcome):
        # From here on the anchor's own SIP answer is one that Asterisk made up from the cause.
        tech, dial_status = changes.tech, changes.dial_status
        if causes.sip_code(tech) is not None and call.hung_up_by != OPERATOR:
            # chan_sip takes most refusals for Dial's own doing.
            call.hung_up_by = CLIENT.value
        if _is_silent(call.client, changes):
            cause = causes.own(end.cause, dial_status)
            detail = ", ".join(filter(None, [causes.words(cause, ""), "no SIP answer at all"]))
            return conclude(call, Outcome.FAILED, date, cause=cause, detail=detail)
    if call.observed and call.client.end is not None:
        # There is nothing of ours to say what came of it: the client's own channel does.
        end = call.client.end
        tech = end.tech if call.client.hung_up else ""
        dial_status = "NOANSWER" if end.cause in GIVEN_UP else ""
        if call.hung_up_by == OPERATOR:
            dial_status = "CANCEL"
    if call.hung_up_by == OPERATOR:
        # Also where they were too quick for Dial to say so.
        dial_status = dial_status or "CANCEL"
    return _conclude_with(call, end, tech, dial_status, date)


def _is_silent(client: Leg, changes: signals.ClientDialResult) -> bool:
    """Not one word came back: there is nothing that could ring. A 408 is Asterisk's own then."""
    over_sip = client.channel_name.startswith(SIP_CHANNELS)
    return over_sip and not changes.tech and changes.dial_status not in ("BUSY", "CANCEL", "")


def _by_api(call: Call, end: signals.Ended, date: int) -> StateChange:
    state = BY_API[stage(call)]
    cause = causes.own(end.cause, "CANCEL")
    return _last(call, state, date, cause=cause, detail=BY_API_WORDS)


def _conclude_with(
    call: Call, end: signals.Ended, tech: str, dial_status: str, date: int
) -> StateChange:
    outcome = causes.outcome(tech=tech, cause=end.cause, dial_status=dial_status)
    cause = causes.own(end.cause, dial_status)
    words = causes.words(cause, tech, dial_status)
    # As when it is told to end itself.
    reason = NO_DIALPLAN if stage(call) is State.OPERATOR_PICKUP else NO_REASON
    detail = words or (reason if outcome is Outcome.FAILED else None)
    return conclude(call, outcome, date, cause=cause, detail=detail)


# Inbound


def _untaken(call: Call, date: int) -> list[StateChange]:
    """The client called, and talked with nobody."""
    waiting = pending(call)
    if call.hung_up_by == CLIENT or (call.hung_up_by == "api" and not waiting):
        changes = settle(call, silently=True)
        end = call.client.end
        cause = end.cause if end else None
        if any(leg.end.cause == cause for leg in call.operators if leg.end):
            # Left by the last operator whom Dial asked.
            cause = None
        words = BY_API_WORDS if call.hung_up_by == "api" else causes.words(cause, "")
        state = CALLER_LEFT[call.direction]
        return [*changes, _last(call, state, date, cause=cause, detail=words)]
    if (words := call.lost or (None if waiting else call.rejected)) is not None:
        return [*settle(call), fail(call, words, date)]
    if waiting:
        return _last_of(call, waiting[-1], date)
    if any(State.OPERATOR_CALLTO in leg.states for leg in call.operators):
        set_hangup_party(call, "asterisk", date)
        return [_last(call, State.OPERATOR_NOANSWER, date, detail=NOBODY_ANSWERED)]
    return [_last(call, State.OPERATOR_OFFLINE, date, detail=NOBODY_ASKED)]


def _last_of(call: Call, leg: Leg, date: int) -> list[StateChange]:
    """The end of the leg that was asked last is the end of the call."""
    verdict, leg.verdict = leg.verdict, None
    assert verdict is not None
    changes = settle(call)
    if leg.end is not None:
        said_no = refused(call, leg) or verdict.outcome is Outcome.BUSY
        set_hangup_party(call, OPERATOR.value if said_no else "asterisk", date)
    words = BY_API_WORDS if call.hung_up_by == "api" else None
    detail = "; ".join(filter(None, [verdict.detail, words])) or NO_REASON
    state = VERDICT[call.direction, State.OPERATOR_CALLTO][verdict.outcome]
    return [*changes, _last(call, state, date, leg, cause=verdict.cause, detail=detail)]


# Any


def _finish(call: Call, date: int) -> list[StateChange]:
    """They have talked, whatever came after it."""
    changes = settle(call, silently=call.hung_up_by == CLIENT)
    if call.lost is not None:
        return [*changes, fail(call, call.lost, date)]
    # After a transfer the first operator's end is not the call's.
    end = (call.client if len(call.operators) > 1 else call.legs[0]).end
    cause = end.cause if end else None
    is_ours = call.direction is Direction.INBOUND or _is_over_time(call, date)
    if is_ours or len(call.operators) > 1:
        set_hangup_party(call, call.hung_up_by or "asterisk", date)
    detail = causes.words(cause, "")
    return [*changes, conclude(call, Outcome.CANCELLED, date, cause=cause, detail=detail)]


def conclude(
    call: Call, outcome: Outcome, date: int, *, cause: int | None = None, detail: str | None = None
) -> StateChange:
    """Tell the final state that ``outcome`` stands for on the rung the call stands on."""
    if call.direction is Direction.OUTBOUND:
        stands = stage(call)
    else:
        stands = State.OPERATOR_PICKUP if call.talked else State.OPERATOR_CALLTO
    state = VERDICT[call.direction, stands][outcome]
    return _last(call, state, date, cause=cause, detail=detail)


def _last(
    call: Call,
    state: State,
    date: int,
    leg: Leg | None = None,
    *,
    cause: int | None = None,
    detail: str | None = None,
) -> StateChange:
    if state is State.FINISH and call.lost is None:
        detail = "; ".join(filter(None, [_finish_words(call, date), detail]))
    if LEG_OF[state] is not OPERATOR:
        leg = None
    elif call.direction is Direction.OUTBOUND:
        leg = call.legs[0]
    return add_state(call, state, date, leg, final=True, cause=cause or None, detail=detail)


def _finish_words(call: Call, date: int) -> str:
    lengths = seconds(call, max(date, call.states[-1].date))
    named = zip(("ring", "wait", "talk"), lengths, strict=True)
    changes = ", ".join(f"{name} {length:.1f} s" for name, length in named if length is not None)
    by = call.hung_up_by or "nobody known"
    if by == "asterisk" and _is_over_time(call, date):
        by = f"asterisk: max_duration of {call.max_duration} s was over"
    return "; ".join([f"hung up by {by}", changes, *_holds(call, date)])


def _holds(call: Call, date: int) -> Iterator[str]:
    """How long each phone had the other side on hold by its own key."""
    for leg in call.legs:
        if leg.holds:
            ends = (date if hold.end is None else hold.end for hold in leg.holds)
            held = sum(end - hold.start for hold, end in zip(leg.holds, ends, strict=True)) / 1000
            whose = leg.sip or leg.role.value
            times = "once" if len(leg.holds) == 1 else f"{len(leg.holds)} times"
            yield f"on hold by the phone of {whose} {times}, {held:.1f} s"


def _is_over_time(call: Call, date: int) -> bool:
    """Whether the time from the answer on is over, that on hold included, as Asterisk counts."""
    limit, answered = call.max_duration, call.date_of(TALK[call.direction])
    if limit is None or answered is None:
        return False
    return max(date, call.states[-1].date) - answered > (limit - CLOSE) * 1000
