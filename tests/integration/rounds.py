"""Rows of the outbound table called all at once, again and again; and what both sides say of it.

Makes the calls and gathers what the daemon told and what the phones saw; judges nothing.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from lab.phones import PhoneEvent
from tests.integration.followed import follow
from tests.integration.harness import LiveTestCase
from tests.integration.rows import ANSWERS, Row

_numbers = itertools.count(1)
#: Whether a shorter talk leaves a recording is a matter of luck; seconds.
SHORTEST_TALK = 0.3


@dataclass
class Told:
    """One call: what was asked for, what the daemon told, what the phones saw.

    ``streamed``: its states as the list of all states had them, ``call``: the call object with
    its ``states``, ``records``: its recordings.
    """

    row: Row
    sip: str
    phone: str
    order_id: str
    call_id: int
    streamed: list[dict[str, Any]] = field(default_factory=list)
    call: dict[str, Any] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    operator: list[PhoneEvent] = field(default_factory=list)
    client: list[PhoneEvent] = field(default_factory=list)

    @property
    def chain(self) -> tuple[str, ...]:
        """The names of its states."""
        return tuple(state["state"] for state in self.call["states"])

    @property
    def talked(self) -> bool:
        """Whether they surely had the time to say something."""
        return (self.call["talk_seconds"] or 0.0) >= SHORTEST_TALK


def operators(rows: Mapping[str, Row], copies: int) -> Iterator[tuple[str, Row, str]]:
    """Give every call of a round an operator of its own; name, row, operator."""
    free: dict[str, list[str]] = {f"{n:02}": [f"1{h}{n:02}" for h in range(3)] for n in range(40)}
    free[ANSWERS] = [f"1{h}{n:02}" for h in range(3) for n in range(40, 60)] + free[ANSWERS]
    for name, row in rows.items():
        for _ in range(copies):
            yield name, row, free[row.operator].pop(0)


async def call_rounds(
    test: LiveTestCase, rows: Mapping[str, Row], rounds: int, copies: int
) -> dict[str, list[Told]]:
    """Call every row ``copies`` times at once, that ``rounds`` times; by the rows' names."""
    told: dict[str, list[Told]] = defaultdict(list)
    for _ in range(rounds):
        made = list(operators(rows, copies))
        calls = await gatherResults(
            [Deferred.fromCoroutine(_call(test, row, sip)) for _, row, sip in made],
            consumeErrors=True,
        )
        await follow(test, calls)
        for (name, _, _), call in zip(made, calls, strict=True):
            told[name].append(call)
    every = [call for calls in told.values() for call in calls]
    await _records(test, every)
    _phones(test, every)
    return told


async def _call(test: LiveTestCase, row: Row, sip: str) -> Told:
    number = next(_numbers)
    # Nobody else has this number: who is called by it is known at the phones.
    phone, order_id = f"38067{number:05}{row.client}", f"order-{number}"
    call_id = await test.make_call(sip, phone, order_id=order_id)
    return Told(row, sip, phone, order_id, call_id)


async def _records(test: LiveTestCase, calls: list[Told]) -> None:
    """Wait for the recordings of all that surely talked, and a little for any other."""
    by_id = {call.call_id: call for call in calls}
    talked = {call_id for call_id, call in by_id.items() if call.talked}

    async def listed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await test.ask("recordList", per_page=1000))["data"]
        return found

    async def all_there() -> bool:
        return talked <= {record["call_id"] for record in await listed()}

    await test.wait_for(all_there, 20.0, f"recordings of {talked}")
    await test.sleep(1.0)
    for record in await listed():
        by_id[record["call_id"]].records.append(record)


def _phones(test: LiveTestCase, calls: list[Told]) -> None:
    """Find what the phones saw: the client by number, the operator by whom they were shown."""
    to_client: dict[str, list[PhoneEvent]] = defaultdict(list)
    for event in test.lab.clients.events():
        to_client[event.number].append(event)
    dialogs: dict[str, list[PhoneEvent]] = defaultdict(list)
    for event in test.lab.operators.events():
        dialogs[event.call_id].append(event)
    to_operator: dict[str, list[PhoneEvent]] = defaultdict(list)
    for dialog in dialogs.values():
        shown = next((event.detail for event in dialog if event.event == "invite"), "")
        to_operator[shown.partition("<sip:")[2].partition("@")[0]] += dialog
    for call in calls:
        call.client = to_client[call.phone]
        call.operator = to_operator[call.phone]
