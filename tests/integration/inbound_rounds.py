"""Rows of the inbound table called all at once; and what all sides say of it.

Makes the calls and gathers what the daemon told and what the phones saw; judges nothing.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.phones import PhoneEvent
from lab.processes import Child
from tests.integration.followed import follow
from tests.integration.harness import LiveTestCase
from tests.integration.inbound_rows import ABSENT, ANSWERS, RING_TIMEOUT, Row
from tests.integration.routing_crm import RoutingCrm

_numbers = itertools.count(1)
#: Seconds between the beginnings of two calls.
_BETWEEN = 0.15
#: Whether a shorter talk leaves a recording is a matter of luck; seconds.
SHORTEST_TALK = 0.3


@dataclass
class Taken:
    """One call in: who called whom, what the daemon told, what the phones saw.

    ``sips``: the operators whom the CRM named, in order. ``client``: what their phone saw,
    ``operators``: what every operator's phone saw of this call.
    """

    row: Row
    caller: str
    did: str
    order_id: str
    sips: list[str]
    process: Child
    call_id: int = 0
    streamed: list[dict[str, Any]] = field(default_factory=list)
    call: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    client: list[PhoneEvent] = field(default_factory=list)
    operators: dict[str, list[PhoneEvent]] = field(default_factory=dict)

    @property
    def chain(self) -> list[tuple[str, str | None]]:
        """The states, each with the operator it speaks of."""
        return [(state["state"], state["sip"]) for state in self.call["states"]]

    @property
    def talked(self) -> bool:
        """Whether they surely had the time to say something."""
        return (self.call["talk_seconds"] or 0.0) >= SHORTEST_TALK


class Operators:
    """Gives every call of a round operators of its own."""

    def __init__(self) -> None:
        self._free = {f"{n:02}": [f"1{h}{n:02}" for h in range(3)] for n in range(40)}
        talkers = [f"1{h}{n:02}" for h in range(3) for n in range(40, 55)]
        self._free[ANSWERS] = talkers + self._free[ANSWERS]
        self._free[ABSENT] = [f"10{n}" for n in range(90, 100)]

    def of(self, row: Row) -> list[list[str]]:
        """The rounds of a row, by number."""
        return [[self._free[ending].pop(0) for ending in each] for each in row.rounds]


async def call_in(
    test: LiveTestCase, crm: RoutingCrm, rows: Mapping[str, Row], rounds: int
) -> dict[str, list[Taken]]:
    """Have a client call for every row at once, ``rounds`` times; by the rows' names."""
    taken: dict[str, list[Taken]] = defaultdict(list)
    for _ in range(rounds):
        free = Operators()
        calls = {}
        for name, row in rows.items():
            calls[name] = _call(test, crm, row, free)
            # A CRM that a busy machine keeps from answering in time would be left alone.
            await test.sleep(_BETWEEN)
        await _follow(test, crm, list(calls.values()))
        for name, call in calls.items():
            taken[name].append(call)
    every = [call for calls in taken.values() for call in calls]
    await _records(test, every)
    gather_phones(test, every)
    return taken


def _call(test: LiveTestCase, crm: RoutingCrm, row: Row, free: Operators) -> Taken:
    number = next(_numbers)
    # Nobody else has these numbers: who sees them has to do with this call.
    caller, did, order_id = f"38094{number:07}", f"38091{number:07}", f"inbound-{number}"
    rounds = free.of(row)
    advice = {
        "operators": rounds,
        "order_id": order_id,
        "ring_timeout": RING_TIMEOUT,
        **dict(row.advice),
    }
    crm.answers[did] = (advice, row.slow)
    process = test.lab.clients.call(did, caller, talk=row.talk, cancel_after=row.cancel_after)
    return Taken(row, caller, did, order_id, [sip for each in rounds for sip in each], process)


async def _follow(test: LiveTestCase, crm: RoutingCrm, calls: list[Taken]) -> None:
    """Wait until every call has told its final state, by the list of all states."""
    by_did = {call.did: call for call in calls}

    def missing() -> list[str]:
        return [
            f"{did}, SIPp {call.process.status}: {call.process.log.read_text()[-300:]}"
            for did, call in by_did.items()
            if did not in crm.asked
        ]

    for _ in range(40):
        if not missing():
            break
        await test.sleep(0.5)
    test.assertEqual(missing(), [], "the CRM was not asked for every call")
    for did, call in by_did.items():
        call.call_id = int(crm.asked[did]["call_id"])
    await follow(test, calls)


async def _records(test: LiveTestCase, calls: list[Taken]) -> None:
    """Wait a while for the recordings of all that surely talked, and a little for any other."""
    by_id = {call.call_id: call for call in calls}
    talked = {call_id for call_id, call in by_id.items() if call.talked}

    async def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await test.ask("recordList", per_page=1000))["data"]
        return found

    async def all_there() -> bool:
        return talked <= {record["call_id"] for record in await listed()}

    for _ in range(20):
        if await all_there():
            break
        await test.sleep(0.5)
    await test.sleep(1.0)
    for record in await listed():
        by_id[record["call_id"]].records.append(record)


def gather_phones(test: LiveTestCase, calls: list[Taken]) -> None:
    """Find what the phones saw: the client's by what they dialled, the operators' by who called."""
    by_did: dict[str, list[PhoneEvent]] = defaultdict(list)
    for event in test.lab.clients.events():
        by_did[event.number].append(event)
    rung: dict[str, dict[str, list[PhoneEvent]]] = defaultdict(lambda: defaultdict(list))
    for caller, dialog in _dialogs(test):
        rung[caller][dialog[0].number] += dialog
    for call in calls:
        call.client = by_did[call.did]
        call.operators = dict(rung[call.caller])


def _dialogs(test: LiveTestCase) -> Iterator[tuple[str, list[PhoneEvent]]]:
    """What the operators' phones saw, call by call, each with the caller's number."""
    dialogs: dict[str, list[PhoneEvent]] = defaultdict(list)
    for event in test.lab.operators.events():
        dialogs[event.call_id].append(event)
    for dialog in dialogs.values():
        shown = next((event.detail for event in dialog if event.event == "invite"), "")
        yield shown.partition("<sip:")[2].partition("@")[0], dialog
