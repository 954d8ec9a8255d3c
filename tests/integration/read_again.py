"""Calls told a second time, from the lab's log of channel events alone."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from ccdaemon.calls.call import Call
from ccdaemon.calls.signals import Signal
from ccdaemon.config.validators import Pattern
from ccdaemon.pbx import cel_signals
from ccdaemon.pbx.endpoints import Endpoints
from tests.derived import chain, derive, derive_begun, without_answers
from tests.integration.harness import WRITTEN, LiveTestCase
from tests.integration.inbound_rounds import Taken
from tests.integration.rounds import Told


async def told_otherwise(test: LiveTestCase, calls: Sequence[Told]) -> list[str]:
    """What the log tells otherwise than the daemon did; nothing if all is as it should be.

    Compared are the states in order, the cause and who hung up, but for what the log cannot know.
    One of the calls at least has a recording, which names the daemon's mark on its channels.
    """
    path = test.lab.asterisk.cel_file_on_host
    mark = next(record["uniqueid"] for call in calls for record in call.records)
    mark = mark[: mark.index("-", len("cc-"))]
    anchors = {f"{mark}-{call.call_id}-o": call for call in calls}

    def whole() -> bool:
        ends = [
            line for line in _lines(path.read_text("utf-8")) if line.startswith('"LINKEDID_END')
        ]
        return all(any(f'"{anchor}"' in end for end in ends) for anchor in anchors)

    await test.wait_for(whole, WRITTEN, "the log is whole")
    lines = _lines(path.read_text("utf-8"))
    # Which rows belong to which call is left to the daemon's own parts.
    stream = list(cel_signals.from_rows(lines))
    return [said for anchor, told in anchors.items() for said in _compare(told, anchor, stream)]


async def taken_otherwise(test: LiveTestCase, calls: Sequence[Taken]) -> list[str]:
    """The same for calls that clients began."""
    path = test.lab.asterisk.cel_file_on_host

    def ended() -> set[str]:
        rows = csv.reader(_lines(path.read_text("utf-8")))
        return {row[3] for row in rows if row[0] == "LINKEDID_END"}

    def whole() -> bool:
        return begun.keys() >= {call.caller for call in calls} and all(
            begun[call.caller].anchor in ended() for call in calls
        )

    endpoints = Endpoints([test.lab.asterisk.operator_channel], Pattern("[0-9]{4}"))
    begun: dict[str, Call] = {}

    def read() -> bool:
        stream = cel_signals.from_rows(_lines(path.read_text("utf-8")))
        begun.update(derive_begun(stream, endpoints.sip_of_channel))
        return whole()

    await test.wait_for(read, WRITTEN, "the log is whole")
    return [said for call in calls for said in _compare_taken(call, begun[call.caller])]


def _compare_taken(taken: Taken, again: Call) -> Iterator[str]:
    expected = _without_routing(taken.chain)
    told = [(state.state.value, state.sip) for state in again.states]
    if taken.row.loose:
        # Of several that ring together each is an event of its own; their order is nobody's.
        told, expected = sorted(told, key=str), sorted(expected, key=str)
    if told != expected:
        yield f"call {taken.call_id}: {told} instead of {expected}"
    elif again.hung_up_by != taken.call["hung_up_by"] and len([*filter(None, taken.row.by)]) == 1:
        by = taken.call["hung_up_by"]
        yield f"call {taken.call_id}: hung up by {again.hung_up_by} instead of {by}"


def _without_routing(chain: Sequence[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """The chain, had nobody been told whom the daemon passed over, or that it refused the call."""
    states = [state for state in chain if state[0] != "OPERATOR_OFFLINE"]
    if states == [("CALL", None), ("ERROR", None)] or states == [("CALL", None)]:
        return [("CALL", None), ("OPERATOR_OFFLINE", None)]
    return states


def _without_client(states: Sequence[str]) -> list[str]:
    return [state for state in states if state != "CLIENT_CALLTO"]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _compare(told: Told, anchor: str, stream: Sequence[Signal]) -> Iterator[str]:
    again = derive(anchor, stream)
    heard = list(told.chain)
    cause, by = told.call["cause"], told.call["hung_up_by"]
    expected = without_answers(heard, cause)
    if chain(again) != expected:
        # An operator who leaves between the two lines of the dialplan that say whom it calls next,
        # to AMI and to the log, leaves one of them unsaid. The client's phone never rang.
        if told.client or _without_client(chain(again)) != _without_client(expected):
            yield f"call {told.call_id}: {chain(again)} instead of {expected}"
    elif expected == heard and again.states[-1].cause != cause:
        yield f"call {told.call_id}: cause {again.states[-1].cause} instead of {cause}"
    elif expected == heard and len(told.row.by) == 1 and again.hung_up_by != by:
        yield f"call {told.call_id}: hung up by {again.hung_up_by} instead of {by}"
