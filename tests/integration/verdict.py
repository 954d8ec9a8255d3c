"""One call judged: what the daemon told of it against its row and against the phones' own logs.

Knows the wire contract of a chain; makes no calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from lab.phones import PhoneEvent
from tests.integration.followed import out_of_order
from tests.integration.rounds import Told
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT, TALKED

#: How many seconds a phone may be behind: SIP repeats a lost request after 0.5 and 1.5 s.
SLACK = 1.6
#: Whoever answers 302 sends the call here; nobody must ever be called by this number.
FORWARD_TARGET = "380990000000"

_FINISH = re.compile(
    r"hung up by (\w+); ring ([\d.]+) s, wait ([\d.]+) s, talk ([\d.]+) s; Normal Clearing \(16\)"
)
_LIMITS = {"operator": OPERATOR_TIMEOUT, "client": CLIENT_TIMEOUT}


def complaints(told: Told, *, dated: bool = True) -> Iterator[str]:
    """Say everything that is wrong with a call; nothing if all is as it should be.

    :param dated: whether the daemon's dates can be those of the phones.
    """
    if told.chain not in told.row.chains:
        yield f"chain {told.chain}"
        return
    yield from _states(told)
    yield from _end(told)
    yield from _rung(told)
    yield from _shown(told)
    if dated:
        yield from _times(told)
    yield from _records(told, dated=dated)


def _states(told: Told) -> Iterator[str]:
    """Each once, in order, one final: in the call as in the list of all states."""
    states = told.call["states"]
    if told.streamed != states:
        yield f"the list of all states has it otherwise: {told.streamed}"
    yield from out_of_order(states)
    for state in states:
        role = state["state"].partition("_")[0].lower()
        leg = {"operator": "operator-1", "client": "client"}.get(role)
        if (state["leg"], state["sip"]) != (leg, told.sip):
            yield f"{state['state']} is of leg {state['leg']}, sip {state['sip']}"


def _end(told: Told) -> Iterator[str]:
    """Cause, words, who hung up; the call object says the same as its last state."""
    call, last = told.call, told.call["states"][-1]
    for key, value in (
        ("sip", told.sip),
        ("phone", told.phone),
        ("order_id", told.order_id),
        ("direction", "outbound"),
        *((key, last[key]) for key in ("state", "final", "cause", "detail")),
        ("ended", last["date"]),
    ):
        if call[key] != value:
            yield f"{key} is {call[key]!r}, not {value!r}"
    if call["hung_up_by"] not in told.row.by:
        yield f"hung up by {call['hung_up_by']}"
    if told.chain == TALKED:
        yield from _finish(call, told.row.silent)
        return
    cause, detail = last["cause"], last["detail"] or ""
    if not any(
        cause == number and f"{detail} ".startswith(f"{words} ") for number, words in told.row.ends
    ):
        yield f"cause {cause}, {detail!r}"


def _finish(call: dict[str, Any], silent: str | None) -> Iterator[str]:
    """FINISH has in words what the call object has in numbers."""
    detail, _, unheard = call["detail"].partition("; no sound from the ")
    words = _FINISH.fullmatch(detail)
    if unheard != (silent or ""):
        yield f"{call['detail']!r}, but {silent or 'nobody'} was silent"
    if words is None or call["cause"] != 16:
        yield f"cause {call['cause']}, {call['detail']!r}"
    elif words[1] != call["hung_up_by"]:
        yield f"{call['detail']!r}, but hung up by {call['hung_up_by']}"
    elif abs(float(words[2]) - call["ring_seconds"]) > 0.06:
        yield f"{call['detail']!r}, but rang {call['ring_seconds']} s"
    elif abs(float(words[4]) - call["talk_seconds"]) > 0.06:
        yield f"{call['detail']!r}, but talked {call['talk_seconds']} s"


def _rung(told: Told) -> Iterator[str]:
    """The phones' own word: each was rung once or not at all, and answered if that was told."""
    if (rung := count(told.operator, "invite")) != 1:
        yield f"the operator's phone was rung {rung} times"
    rung = count(told.client, "invite")
    reached = told.row.reaches_client
    if rung > 1 or (reached is not None and rung != reached):
        yield f"the client's phone was rung {rung} times"
    if "CLIENT_CALLTO" not in told.chain and rung:
        yield "the client's phone was rung, and nobody was told"
    for leg, events in (("OPERATOR", told.operator), ("CLIENT", told.client)):
        picked_up = f"{leg}_PICKUP" in told.chain
        # Two that hang up and answer at the same moment may both be right.
        if picked_up != bool(count(events, "answered")) and (
            picked_up or len(told.row.chains) == 1
        ):
            yield f"{leg}_PICKUP is {picked_up}, but its phone saw {events}"


def _shown(told: Told) -> Iterator[str]:
    """The operator sees whom it is for, the client neither their own number nor the order."""
    for event in told.operator:
        wanted = f'"Order {told.order_id}" <sip:{told.phone}@'
        if event.event == "invite" and not event.detail.startswith(wanted):
            yield f"the operator was shown {event.detail}"
    for event in told.client:
        if told.phone in event.detail or "Order" in event.detail:
            yield f"the client was shown {event.detail}"


def _times(told: Told) -> Iterator[str]:
    """What was told when it happened at the phones; a phone rings as long as it may."""
    told_at = {state["state"]: seconds(state["date"]) for state in told.call["states"]}
    seen_at = {
        "OPERATOR_CALLTO": when(told.operator, "invite"),
        "OPERATOR_PICKUP": when(told.operator, "answered"),
        "CLIENT_CALLTO": when(told.client, "invite"),
        "CLIENT_PICKUP": when(told.client, "answered"),
        "FINISH": when(told.operator + told.client, "hangup"),
    }
    for state, seen in seen_at.items():
        if state in told_at and seen is not None and abs(told_at[state] - seen) > SLACK:
            yield f"{state} was told {told_at[state] - seen:+.2f} s after it happened"
    if told.row.rings_out is not None:
        *_, begun, over = told_at.values()
        limit = _LIMITS[told.row.rings_out]
        if abs(over - begun - limit) > SLACK:
            yield f"it rang {over - begun:.2f} s instead of {limit} s"


def _records(told: Told, *, dated: bool) -> Iterator[str]:
    """A talk is recorded, from the answer to its end; nothing else is."""
    lengths = [record["duration"] for record in told.records]
    talk = told.call["talk_seconds"]
    if told.chain != TALKED:
        if lengths or talk is not None:
            yield f"there are recordings of {lengths} s, and a talk of {talk} s"
    elif not told.talked:
        if len(lengths) > 1:
            yield f"there are recordings of {lengths} s"
    elif len(lengths) != 1 or (dated and abs(lengths[0] - talk) > 0.4):
        yield f"the talk was {talk} s, the recordings are {lengths} s"


def count(events: list[PhoneEvent], name: str) -> int:
    """How often something happened at a phone."""
    return sum(event.event == name for event in events)


def when(events: list[PhoneEvent], name: str) -> float | None:
    """When it first happened, in seconds since 1970; None if it did not."""
    return min((event.time for event in events if event.event == name), default=None)


def seconds(date: str) -> float:
    """A date of an answer in seconds since 1970."""
    return datetime.fromisoformat(date).timestamp()
