"""What is read from the journal.

Runs in the journal's reader thread on a connection of its own; every answer is one statement,
so it shows one moment. Knows no threads and no Twisted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby

import msgspec

from ccdaemon.calls.model import Record
from ccdaemon.history.facts import Event, RecordFact, StateFact, decode
from ccdaemon.history.failures import BelowFloor
from ccdaemon.history.rows import Chain, StateRow
from ccdaemon.operators import OperatorChange

_operator_decoder = msgspec.json.Decoder(OperatorChange)


def after(db: sqlite3.Connection, position: int, limit: int) -> list[Event]:
    """At most ``limit`` events with ids above ``position``, oldest first.

    A call's order is the one it has now, also in events from before it was attached.

    :raise BelowFloor: if some of them may be gone.
    """
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, c.order_id FROM event e LEFT JOIN call c"
        " USING (call_id) WHERE e.event_id > ? ORDER BY e.event_id LIMIT ?",
        (position, limit),
    ).fetchall()
    # Asked last: a floor that has risen meanwhile says so, one that rises later does no harm.
    (floor,) = db.execute("SELECT floor FROM journal").fetchone()
    if position < floor:
        raise BelowFloor(floor)
    return [_event(*row) for row in rows]


def _event(event_id: int, kind: str, body: bytes, order_id: str | None) -> Event:
    fact = decode(kind, body)
    if isinstance(fact, StateFact) and order_id not in (None, fact.call.order_id):
        fact = replace(fact, call=replace(fact.call, order_id=order_id))
    return Event(event_id, fact)


def chain(db: sqlite3.Connection, call_id: int) -> Chain | None:
    """A call's whole chain, or None if the journal does not hold the whole of it."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body FROM call c JOIN event e USING (call_id)"
        " WHERE c.call_id = ? ORDER BY e.event_id",
        (call_id,),
    ).fetchall()
    return _chain(rows) if rows else None


def open_calls(db: sqlite3.Connection) -> list[Chain]:
    """The chains that have no final state yet, in the order of their numbers."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, c.call_id FROM call c JOIN event e USING (call_id)"
        " WHERE c.ended IS NULL ORDER BY c.call_id, e.event_id"
    )
    return [_chain([row[:3] for row in of_call]) for _, of_call in groupby(rows, lambda r: r[3])]


def _chain(rows: Iterable[tuple[int, str, bytes]]) -> Chain:
    states: list[tuple[int, StateFact]] = []
    records: list[Record] = []
    for event_id, kind, body in rows:
        fact = decode(kind, body)
        if isinstance(fact, StateFact):
            states.append((event_id, fact))
        else:
            assert isinstance(fact, RecordFact)
            records.append(fact.record)
    call = states[-1][1].call
    return Chain(
        call,
        [StateRow(id_, fact.state, call.order_id, call.external_key) for id_, fact in states],
        records,
    )


def find_key(db: sqlite3.Connection, external_key: str) -> int | None:
    """The call that has the key."""
    row = db.execute(
        "SELECT call_id FROM external_key WHERE external_key = ?", (external_key,)
    ).fetchone()
    return row[0] if row else None


def last_operator_changes(db: sqlite3.Connection) -> dict[str, OperatorChange]:
    """What was last said of each operator, by sip."""
    rows = db.execute("SELECT sip, body FROM operator")
    return {sip: _operator_decoder.decode(body) for sip, body in rows}


def position(db: sqlite3.Connection, reader: str) -> int | None:
    """Up to where a reader has got; None if it has never read."""
    row = db.execute("SELECT event_id FROM reader WHERE name = ?", (reader,)).fetchone()
    return row[0] if row else None


def aside(db: sqlite3.Connection, limit: int) -> list[tuple[Event, str]]:
    """Facts that were set aside, each with the reason, oldest first."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, a.reason FROM aside a JOIN event e USING (event_id)"
        " ORDER BY e.event_id LIMIT ?",
        (limit,),
    )
    return [(Event(id_, decode(kind, body)), reason) for id_, kind, body, reason in rows]
