"""What is written into the journal, statement by statement.

Runs in the journal's writer thread, inside a transaction that somebody else begins and ends.
Knows no threads and no Twisted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from ccdaemon.operators import OperatorChange
from ccdaemon.store.facts import (
    ActionFact,
    Fact,
    OperatorFact,
    RecordFact,
    StateFact,
    encode,
    without_surrogates,
)
from ccdaemon.store.failures import CallKnown, KeyTaken

_PRUNE_CALLS = 200
_HEAD = "SELECT max(floor, base, coalesce((SELECT max(event_id) FROM event), 0)) FROM journal"
#: The place that is a moment: from then on everything outside is to be read again.
SINCE = "since"
#: A call that was forgotten: the channel with which it began, its number, and when it was (ms).
Forgotten = tuple[str, int, int]
#: Ms for which it is kept: longer than any log of Asterisk's is read again.
FORGOTTEN_KEPT = 30 * 24 * 3600 * 1000
_operator_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Entry:
    """A fact, spelled for the journal."""

    fact: Fact
    kind: str
    body: bytes

    @classmethod
    def of(cls, fact: Fact) -> Entry:
        """Spell a fact. Where a text in it cannot be spelled it is the fact that can."""
        try:
            return cls(fact, *encode(fact))
        except UnicodeEncodeError:
            spellable = without_surrogates(fact)
            return cls(spellable, *encode(spellable))


def append(db: sqlite3.Connection, entries: Sequence[Entry]) -> list[int]:
    """Append facts.

    :return: their event ids, without a gap between them.
    :raise KeyTaken: if a call is to be opened with a key that another call has.
    :raise CallKnown: if one is to be opened that is held under another number.
    """
    (head,) = db.execute(_HEAD).fetchone()
    ids = list(range(head + 1, head + 1 + len(entries)))
    for event_id, entry in zip(ids, entries, strict=True):
        fact = entry.fact
        call_id = fact.call_id
        if isinstance(fact, StateFact) and fact.opens:
            _open_call(db, event_id, fact)
        elif isinstance(fact, OperatorFact):
            _keep_operator(db, fact.change)
        elif not _go_on(db, event_id, fact):
            call_id = None
        db.execute(
            "INSERT INTO event (event_id, kind, call_id, date, body) VALUES (?, ?, ?, ?, ?)",
            (event_id, entry.kind, call_id, fact.date, entry.body),
        )
    return ids


def _open_call(db: sqlite3.Connection, event_id: int, fact: StateFact) -> None:
    call = fact.call
    if call.external_key is not None:
        _take_key(db, call.external_key, call.call_id)
    known = db.execute(
        "SELECT call_id FROM call WHERE anchor = ?1"
        " UNION ALL SELECT call_id FROM forgotten WHERE anchor = ?1",
        (call.anchor,),
    ).fetchone()
    if known is not None:
        raise CallKnown(*known)
    ended = fact.state.date if fact.state.final else None
    db.execute(
        "INSERT INTO call (call_id, last_event_id, ended, order_id, anchor) VALUES (?, ?, ?, ?, ?)",
        (call.call_id, event_id, ended, call.order_id, call.anchor),
    )
    db.execute(
        "UPDATE lease SET next = max(next, ? + 1) WHERE ? BETWEEN lo AND hi",
        (call.call_id, call.call_id),
    )


def _take_key(db: sqlite3.Connection, external_key: str, call_id: int) -> None:
    try:
        db.execute("INSERT INTO external_key VALUES (?, ?)", (external_key, call_id))
    except sqlite3.IntegrityError:
        (holder,) = db.execute(
            "SELECT call_id FROM external_key WHERE external_key = ?", (external_key,)
        ).fetchone()
        raise KeyTaken(holder) from None


def _go_on(
    db: sqlite3.Connection, event_id: int, fact: StateFact | RecordFact | ActionFact
) -> bool:
    """Note that a call goes on; false if its beginning is not held here (any more)."""
    held = db.execute(
        "SELECT ended, order_id, attached FROM call WHERE call_id = ?", (fact.call_id,)
    )
    row = held.fetchone()
    if row is None:
        return False
    ended, order_id, attached = row
    if isinstance(fact, StateFact):
        # A state that was on its way when an order was attached knows nothing of it.
        order_id = order_id if attached else fact.call.order_id
        if fact.state.final:
            ended = fact.state.date
    elif isinstance(fact, ActionFact) and fact.attached is not None:
        order_id, attached = fact.attached, 1
    # In the middle of a call nothing of this changes, and a page need not be written.
    if (ended, order_id, attached) != row or ended is not None:
        db.execute(
            "UPDATE call SET last_event_id = ?, ended = ?, order_id = ?, attached = ?"
            " WHERE call_id = ?",
            (event_id, ended, order_id, attached, fact.call_id),
        )
    return True


def forget_calls(
    db: sqlite3.Connection, entries: Sequence[Entry], anchors: Iterable[Forgotten]
) -> list[int]:
    """Remove all that is held of calls, and append what is left to say of each.

    Appended first: the newest event must not be removed, or its id would be given once more.

    :param anchors: the channels with which they began: what is read of those again opens no call.
    """
    ids = append(db, entries)
    load_forgotten(db, anchors)
    calls = [(entry.fact.call_id,) for entry in entries]
    db.executemany("UPDATE event SET call_id = NULL WHERE event_id = ?", [(id_,) for id_ in ids])
    db.executemany(
        "DELETE FROM dead_letter WHERE event_id IN (SELECT event_id FROM event WHERE call_id = ?)",
        calls,
    )
    db.executemany("DELETE FROM event WHERE call_id = ?", calls)
    db.executemany("DELETE FROM call WHERE call_id = ?", calls)
    return ids


def load_forgotten(db: sqlite3.Connection, anchors: Iterable[Forgotten]) -> None:
    """Keep of calls that were forgotten the channels with which they began."""
    db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?, ?, ?)", anchors)


def _keep_operator(db: sqlite3.Connection, change: OperatorChange) -> None:
    db.execute(
        "INSERT OR REPLACE INTO operator (sip, body) VALUES (?, ?)",
        (change.sip, _operator_encoder.encode(change)),
    )


def grant(db: sqlite3.Connection, lo: int, hi: int) -> None:
    """Add a lease of call numbers, first and last included."""
    db.execute("INSERT INTO lease (lo, hi, next) VALUES (?, ?, ?)", (lo, hi, lo))


def drop_lease(db: sqlite3.Connection, hi: int) -> None:
    """Give out nothing more of the lease that ends with a number."""
    db.execute("UPDATE lease SET next = hi + 1 WHERE hi = ?", (hi,))


def load_keys(db: sqlite3.Connection, keys: Iterable[tuple[str, int]]) -> None:
    """Add keys that calls of Postgres have; those known already stay as they are."""
    db.executemany("INSERT OR IGNORE INTO external_key VALUES (?, ?)", keys)


def take_over(db: sqlite3.Connection, node: str) -> None:
    """Go on as a node whose journal is gone."""
    db.execute("UPDATE journal SET node = ?", (node,))


def begin(db: sqlite3.Connection, above: int, operators: Iterable[OperatorChange]) -> None:
    """Note that all is here that Postgres tells, where ids begin, and what operators do."""
    db.execute("UPDATE journal SET begun = 1, floor = max(floor, ?)", (above,))
    for change in operators:
        _keep_operator(db, change)


def begin_anew(db: sqlite3.Connection) -> None:
    """Note that Postgres has to tell once more what it has, and which numbers are free."""
    db.execute("UPDATE journal SET begun = 0")
    db.execute("UPDATE lease SET next = hi + 1")


def restore_calls(
    db: sqlite3.Connection, calls: Iterable[Sequence[tuple[int, Entry]]], low_watermark: int
) -> None:
    """Hold calls again that Postgres has, each with all its events and their ids.

    :param low_watermark: no less than any of the ids: nobody is told of these events once more.
    """
    db.execute("UPDATE journal SET floor = max(floor, ?)", (low_watermark,))
    for events in calls:
        opening, last_event_id = events[0][1].fact, events[-1][0]
        assert isinstance(opening, StateFact)
        call = opening.call
        db.execute(
            "INSERT OR REPLACE INTO call (call_id, last_event_id, order_id) VALUES (?, ?, ?)",
            (call.call_id, last_event_id, call.order_id),
        )
        db.execute(
            "UPDATE OR IGNORE call SET anchor = ? WHERE call_id = ?", (call.anchor, call.call_id)
        )
        if call.external_key is not None:
            load_keys(db, [(call.external_key, call.call_id)])
        for event_id, entry in events:
            assert not isinstance(entry.fact, OperatorFact)
            _go_on(db, event_id, entry.fact)
            db.execute(
                "INSERT OR IGNORE INTO event (event_id, kind, call_id, date, body)"
                " VALUES (?, ?, ?, ?, ?)",
                (event_id, entry.kind, call.call_id, entry.fact.date, entry.body),
            )


def set_checkpoint(db: sqlite3.Connection, reader: str, event_id: int) -> None:
    """Note that a reader has everything up to ``event_id``."""
    db.execute("INSERT OR REPLACE INTO reader (name, event_id) VALUES (?, ?)", (reader, event_id))


def set_offset(db: sqlite3.Connection, name: str, body: bytes) -> None:
    """Note how far something outside was read."""
    db.execute("INSERT OR REPLACE INTO place (name, body) VALUES (?, ?)", (name, body))


def lose_offsets(db: sqlite3.Connection, since: int) -> None:
    """Forget how far anything outside was read: all from a moment (ms) on is to be read again."""
    db.execute("DELETE FROM place")
    set_offset(db, SINCE, str(since).encode())


def forget_reader(db: sqlite3.Connection, reader: str) -> None:
    """Hold nothing back for a reader that is gone for good."""
    db.execute("DELETE FROM reader WHERE name = ?", (reader,))


def dead_letter(
    db: sqlite3.Connection, reader: str, event_id: int, reason: str, keep: bool
) -> None:
    """Note that a consumer has passed over an event that it could not take.

    :param keep: the event is not forgotten until the consumer has taken it after all.
    """
    db.execute(
        "INSERT OR REPLACE INTO dead_letter (reader, event_id, reason, kept) VALUES (?, ?, ?, ?)",
        (reader, event_id, reason, keep),
    )


def requeue(db: sqlite3.Connection, reader: str, event_id: int) -> None:
    """Note that a consumer has taken an event after all."""
    db.execute("DELETE FROM dead_letter WHERE reader = ? AND event_id = ?", (reader, event_id))


def end(db: sqlite3.Connection) -> None:
    """Note that the file is let go of in order, with everything in it."""
    db.execute("UPDATE journal SET whole = 1")


def probe(db: sqlite3.Connection) -> None:
    """Write something that changes nothing, to see whether the disk takes it."""
    db.execute("UPDATE journal SET probe = probe + 1")


def prune(db: sqlite3.Connection, before: int) -> tuple[int, bool]:
    """Forget some of what ended before a moment and has been read by every reader.

    :param before: ms.
    :return: the new floor, and whether there may be more to forget.
    """
    (floor,) = db.execute("SELECT floor FROM journal").fetchone()
    (passed,) = db.execute("SELECT min(event_id) FROM reader").fetchone()
    if passed is None:
        return floor, False
    calls = db.execute(
        "SELECT call_id, last_event_id FROM call WHERE ended < ? AND last_event_id <= ?"
        " AND call_id NOT IN (SELECT e.call_id FROM dead_letter d JOIN event e USING (event_id)"
        " WHERE d.kept AND e.call_id IS NOT NULL) LIMIT ?",
        (before, passed, _PRUNE_CALLS),
    ).fetchall()
    loose = db.execute(
        "SELECT event_id FROM event WHERE call_id IS NULL AND date < ? AND event_id <= ?"
        " AND event_id NOT IN (SELECT event_id FROM dead_letter WHERE kept) LIMIT ?",
        (before, passed, _PRUNE_CALLS),
    ).fetchall()
    ids = [(call_id,) for call_id, _ in calls]
    db.executemany("DELETE FROM event WHERE call_id = ?", ids)
    db.executemany("DELETE FROM call WHERE call_id = ?", ids)
    db.executemany("DELETE FROM event WHERE event_id = ?", loose)
    db.execute("DELETE FROM dead_letter WHERE event_id NOT IN (SELECT event_id FROM event)")
    floor = max([floor, *(last for _, last in calls), *(last for (last,) in loose)])
    db.execute("DELETE FROM forgotten WHERE date < ?", (before - FORGOTTEN_KEPT,))
    db.execute("UPDATE journal SET floor = ?", (floor,))
    return floor, _PRUNE_CALLS in (len(calls), len(loose))
