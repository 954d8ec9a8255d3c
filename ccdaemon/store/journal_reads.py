"""What is read from the journal.

Runs in the journal's reader thread on a connection of its own; every answer is one statement,
so it shows one moment. Knows no threads and no Twisted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

import msgspec

from ccdaemon.calls.model import CallView, Direction, Record, State
from ccdaemon.operators import OperatorChange
from ccdaemon.store.facts import ActionFact, Event, RecordFact, StateFact, readable
from ccdaemon.store.failures import BelowLowWatermark
from ccdaemon.store.records import ActionRow, Chain, StateRow

#: Events that are looked through for a talk before Postgres is asked.
LOOKED_THROUGH = 20_000

_operator_decoder = msgspec.json.Decoder(OperatorChange)


def after(db: sqlite3.Connection, checkpoint: int, limit: int) -> list[Event]:
    """At most ``limit`` events with ids above ``checkpoint``, oldest first.

    A call's order is the one it has now, also in events from before it was attached.

    :raise BelowLowWatermark: if some of them may be gone.
    """
    events = held(db, checkpoint, limit)
    # Asked last: a floor that has risen meanwhile says so, one that rises later does no harm.
    (floor,) = db.execute("SELECT floor FROM journal").fetchone()
    if checkpoint < floor:
        raise BelowLowWatermark(floor)
    return events


def held(db: sqlite3.Connection, checkpoint: int, limit: int) -> list[Event]:
    """The same of what is there, whatever has been forgotten in between."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, c.order_id FROM event e LEFT JOIN call c"
        " USING (call_id) WHERE e.event_id > ? ORDER BY e.event_id LIMIT ?",
        (checkpoint, limit),
    )
    return [_event(*row) for row in rows]


def _event(event_id: int, kind: str, body: bytes, order_id: str | None) -> Event:
    fact = readable(kind, body)
    if isinstance(fact, StateFact):
        fact = replace(fact, call=_under(order_id, fact.call))
    return Event(event_id, fact)


def _under(order_id: str | None, call: CallView) -> CallView:
    """The call as it is under the order it has now; None says nothing."""
    return call if order_id in (None, call.order_id) else replace(call, order_id=order_id)


def chain(db: sqlite3.Connection, call_id: int) -> Chain | None:
    """A call's whole chain, or None if the journal does not hold the whole of it."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, c.order_id FROM call c JOIN event e USING (call_id)"
        " WHERE c.call_id = ? ORDER BY e.event_id",
        (call_id,),
    ).fetchall()
    return _chain(rows)


def open_calls(db: sqlite3.Connection) -> list[Chain]:
    """The chains that have no final state yet, in the order of their numbers."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, c.order_id, c.call_id"
        " FROM call c JOIN event e USING (call_id)"
        " WHERE c.ended IS NULL ORDER BY c.call_id, e.event_id"
    )
    each = (_chain([row[:4] for row in of_call]) for _, of_call in groupby(rows, lambda r: r[4]))
    return [one for one in each if one is not None]


def _chain(rows: Sequence[tuple[int, str, bytes, str | None]]) -> Chain | None:
    """A chain of what can be read of it; None if that is nothing."""
    order_id = rows[0][3] if rows else None
    return chain_of([Event(row[0], readable(row[1], row[2])) for row in rows], order_id)


def chain_of(events: Sequence[Event], order_id: str | None) -> Chain | None:
    """A chain from the events of a call; None if there is no state among them.

    :param order_id: the order that it has now; None: the one that its last state says.
    """
    states: list[tuple[int, StateFact]] = []
    records: list[Record] = []
    actions: list[ActionRow] = []
    for event in events:
        match event.fact:
            case StateFact() as fact:
                states.append((event.event_id, fact))
            case RecordFact(record):
                records.append(record)
            case ActionFact(action):
                actions.append(ActionRow(event.event_id, action))
    if not states:
        return None
    call = _under(order_id, states[-1][1].call)
    told = [
        StateRow(event_id, fact.state, call.order_id, call.external_key, call.note)
        for event_id, fact in states
    ]
    return Chain(call, told, records, actions)


def find_key(db: sqlite3.Connection, external_key: str) -> int | None:
    """The call that has the key."""
    row = db.execute(
        "SELECT call_id FROM external_key WHERE external_key = ?", (external_key,)
    ).fetchone()
    return row[0] if row else None


def last_operator(db: sqlite3.Connection, phone: str, checkpoint: int) -> str | None:
    """The operator who last talked with a phone, by the events after a position.

    Of those only the newest ``LOOKED_THROUGH`` are looked at.
    """
    # Found by its letters first: most are of other phones, and need not be decoded.
    rows = db.execute(
        "SELECT body FROM (SELECT kind, body, event_id FROM event WHERE event_id > ?"
        " ORDER BY event_id DESC LIMIT ?) WHERE kind = 'state' AND instr(body, ?)"
        " AND instr(body, ?) ORDER BY event_id DESC",
        (checkpoint, LOOKED_THROUGH, phone.encode(), State.FINISH.value.encode()),
    )
    for (body,) in rows:
        fact = readable("state", body)
        if not isinstance(fact, StateFact) or fact.call.phone != phone:
            continue
        if fact.state.state is State.FINISH and fact.state.sip:
            return fact.state.sip
    return None


def dialled_since(db: sqlite3.Connection, date: int) -> list[CallView]:
    """The outbound calls that began after a moment (ms), as they stand now."""
    rows = db.execute(
        "SELECT e.body FROM call c JOIN event e ON e.event_id = (SELECT event_id FROM event"
        " WHERE call_id = c.call_id AND kind = 'state' AND date > ?"
        " ORDER BY event_id DESC LIMIT 1)",
        (date,),
    )
    facts = (readable("state", body) for (body,) in rows)
    views = [fact.call for fact in facts if isinstance(fact, StateFact)]
    return [view for view in views if view.direction is Direction.OUTBOUND and view.date > date]


def last_operator_changes(db: sqlite3.Connection) -> dict[str, OperatorChange]:
    """What was last said of each operator, by sip."""
    rows = db.execute("SELECT sip, body FROM operator")
    changes = {}
    for sip, body in rows:
        # Of an operator whose last change cannot be read nothing is known, as of a new one.
        with suppress(msgspec.MsgspecError):
            changes[sip] = _operator_decoder.decode(body)
    return changes


def checkpoint(db: sqlite3.Connection, reader: str) -> int | None:
    """Up to where a reader has got; None if it has never read."""
    row = db.execute("SELECT event_id FROM reader WHERE name = ?", (reader,)).fetchone()
    return row[0] if row else None


def offset(db: sqlite3.Connection, name: str) -> bytes | None:
    """How far something outside was read; None if it never was."""
    row = db.execute("SELECT body FROM place WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def dead_letters(db: sqlite3.Connection, reader: str) -> int:
    """How many events a reader has passed over, of those that are held."""
    held = "FROM dead_letter JOIN event USING (event_id) WHERE reader = ?"
    (count,) = db.execute(f"SELECT count(*) {held}", (reader,)).fetchone()
    return int(count)


def quarantined(db: sqlite3.Connection, reader: str, limit: int) -> list[Event]:
    """Events that a consumer has passed over and wants to try again, oldest first."""
    rows = db.execute(
        "SELECT e.event_id, e.kind, e.body, NULL FROM dead_letter d JOIN event e USING (event_id)"
        " WHERE d.reader = ? AND d.kept ORDER BY e.event_id LIMIT ?",
        (reader, limit),
    )
    return [_event(*row) for row in rows]
