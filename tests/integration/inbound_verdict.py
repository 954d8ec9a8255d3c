"""One call in judged: what the daemon told of it against its row and against the phones' own logs.

Knows the wire contract of a chain; makes no calls.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.followed import out_of_order
from tests.integration.inbound_rounds import Taken
from tests.integration.verdict import SLACK, count, seconds, when

Told = tuple[str, str | None]


def complaints(taken: Taken, *, dated: bool = True) -> Iterator[str]:
    """Say everything that is wrong with a call; nothing if all is as it should be.

    :param dated: whether the daemon's dates can be those of the phones.
    """
    if not _is_the_chain(taken):
        yield f"chain {taken.chain}, operators {taken.sips}"
        return
    yield from _states(taken)
    yield from _end(taken)
    yield from _rung(taken)
    yield from _client(taken)
    if dated:
        yield from _times(taken)
    yield from _records(taken, dated=dated)


def _is_the_chain(taken: Taken) -> bool:
    """Where the row counts an operator, that operator; where it counts none, whoever it is."""
    wanted = [
        (state, taken.sips[number - 1] if number else None) for state, number in taken.row.chain
    ]
    told: list[Told] = [
        (state, sip if row_sip else None)
        for (state, sip), (_, row_sip) in zip(taken.chain, wanted, strict=False)
    ]
    if len(taken.chain) != len(wanted):
        return False
    if taken.row.loose:
        told = [
            (state, sip if state.startswith("OPERATOR") or state == "FINISH" else None)
            for state, sip in taken.chain
        ]
        return (
            sorted(told, key=str) == sorted(wanted, key=str)
            and told[0] == wanted[0]
            and told[-1] == wanted[-1]
        )
    return told == wanted


def _states(taken: Taken) -> Iterator[str]:
    """Each once, in order, one final: in the call as in the list of all states."""
    states = taken.call["states"]
    # The order may have been attached after a state was told.
    if [{**state, "order_id": None} for state in taken.streamed] != [
        {**state, "order_id": None} for state in states
    ]:
        yield f"the list of all states has it otherwise: {taken.streamed}"
    yield from out_of_order(states)
    legs: dict[str, str] = {}
    for state in states:
        if state["state"].startswith("OPERATOR") and state["sip"]:
            legs.setdefault(state["leg"], state["sip"])
            if legs[state["leg"]] != state["sip"]:
                yield f"leg {state['leg']} is of {legs[state['leg']]} and of {state['sip']}"


def _end(taken: Taken) -> Iterator[str]:
    """Who hung up, and why; the call object says the same as its last state."""
    call, last = taken.call, taken.call["states"][-1]
    for key, value in (
        ("phone", taken.caller),
        # Who hangs up before the CRM has answered is under no order.
        ("order_id", None if taken.row.slow else taken.order_id),
        ("direction", "inbound"),
        *((key, last[key]) for key in ("state", "final", "cause", "detail")),
        ("ended", last["date"]),
    ):
        if call[key] != value:
            yield f"{key} is {call[key]!r}, not {value!r}"
    if call["hung_up_by"] not in taken.row.by:
        yield f"hung up by {call['hung_up_by']}"
    ends = taken.row.ends
    if ends and not any(words in (last["detail"] or "") for words in ends):
        yield f"detail is {last['detail']!r}"


def _rung(taken: Taken) -> Iterator[str]:
    """The phones' own word: each was rung as often as was told, and answered if that was told."""
    told = taken.chain
    for sip in {*taken.sips, *taken.operators}:
        events = taken.operators.get(sip, [])
        called = sum((state, who) == ("OPERATOR_CALLTO", sip) for state, who in told)
        if count(events, "invite") != called:
            yield f"{sip} was rung {count(events, 'invite')} times, told {called} times"
        picked_up = ("OPERATOR_PICKUP", sip) in told
        if picked_up != bool(count(events, "answered")):
            yield f"{sip}: OPERATOR_PICKUP is {picked_up}, but his phone saw {events}"


def _client(taken: Taken) -> Iterator[str]:
    """What the client heard of it."""
    answered = bool(count(taken.client, "answered"))
    if answered != taken.row.talks:
        yield f"the client's phone saw {taken.client}"
    refusals = [event.detail for event in taken.client if event.event == "refused"]
    if taken.row.hears not in (None, 487) and refusals != [str(taken.row.hears)]:
        yield f"the client was refused by {refusals}"


def _times(taken: Taken) -> Iterator[str]:
    """What was told when it happened at the phones; a phone rings as long as it may."""
    for state in taken.call["states"]:
        events = taken.operators.get(state["sip"] or "", [])
        seen = {
            "CALL": when(taken.client, "dialled"),
            "OPERATOR_CALLTO": when(events, "invite"),
            "OPERATOR_PICKUP": when(events, "answered"),
            "FINISH": when(taken.client + events, "hangup"),
            "CLIENT_CANCEL": when(taken.client, "cancelled"),
        }.get(state["state"])
        if seen is not None and abs(seconds(state["date"]) - seen) > SLACK:
            late = seconds(state["date"]) - seen
            yield f"{state['state']} was told {late:+.2f} s after it happened"
    if taken.row.rings_out is not None:
        *_, begun, over = (seconds(state["date"]) for state in taken.call["states"])
        if abs(over - begun - taken.row.rings_out) > SLACK:
            yield f"it rang {over - begun:.2f} s instead of {taken.row.rings_out} s"


def _records(taken: Taken, *, dated: bool) -> Iterator[str]:
    """A talk is recorded, from the answer to its end; nothing else is."""
    lengths = [record["duration"] for record in taken.records]
    talk = taken.call["talk_seconds"]
    if not taken.row.talks:
        if lengths or talk is not None:
            yield f"there are recordings of {lengths} s, and a talk of {talk} s"
    elif not taken.talked or not taken.row.recorded:
        if len(lengths) > taken.row.recorded:
            yield f"there are recordings of {lengths} s"
    elif len(lengths) != 1 or (dated and abs(lengths[0] - talk) > 0.4):
        yield f"the talk was {talk} s, the recordings are {lengths} s"
