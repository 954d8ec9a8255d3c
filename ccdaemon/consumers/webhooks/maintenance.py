"""What is done to the table of deliveries now and then: begun anew, counted, forgotten from.

Runs in the file's threads, as :mod:`ccdaemon.consumers.webhooks.deliveries` does. All times are ms
since 1970.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

_PRUNED = 500


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for one webhook, under how many ordering keys, and since when the oldest does."""

    waiting: int
    ordering_keys: int
    oldest: int


def begin(db: sqlite3.Connection, webhooks: Collection[str], now: int) -> None:
    """Let stopped webhooks go on, and give up what waits for those that are gone."""
    db.execute("DELETE FROM stopped")
    waiting = db.execute("SELECT DISTINCT webhook FROM delivery WHERE status = 'waiting'")
    for (name,) in waiting.fetchall():
        if name not in webhooks:
            db.execute(
                "UPDATE delivery SET status = 'failed', ended = ?, next = NULL,"
                " error = 'the webhook is not configured any more'"
                " WHERE webhook = ? AND status = 'waiting'",
                (now, name),
            )
    _put_back(db, now)


def _put_back(db: sqlite3.Connection, now: int) -> None:
    """Let what was last touched at a moment that is yet to come wait from now on.

    The clock was put back while nobody looked: what would have waited a minute is not to wait the
    hour as well.
    """
    db.execute(
        "UPDATE delivery SET since = min(since, :now),"
        " next = iif(last >= since, :now + max(0, next - last), iif(next IS NULL, NULL, :now))"
        " WHERE status = 'waiting' AND max(since, coalesce(last, since)) > :now",
        {"now": now},
    )


def backlog(db: sqlite3.Connection) -> dict[str, Backlog]:
    """What waits, by webhook."""
    rows = db.execute(
        "SELECT webhook, count(*), count(next), min(since) FROM delivery WHERE status = 'waiting'"
        " GROUP BY webhook"
    )
    return {webhook: Backlog(*counted) for webhook, *counted in rows}


def prune(db: sqlite3.Connection, webhook: str, before: int) -> bool:
    """Forget some of what was through before a moment; true if there may be more."""
    ended = db.execute(
        "DELETE FROM delivery WHERE delivery_id IN (SELECT delivery_id FROM delivery"
        " WHERE webhook = ? AND ended < ? LIMIT ?) RETURNING message_id",
        (webhook, before, _PRUNED),
    ).fetchall()
    db.executemany(
        "DELETE FROM message WHERE message_id = ?"
        " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.message_id = message.message_id)",
        ended,
    )
    return len(ended) == _PRUNED


def forget(db: sqlite3.Connection, call_ids: Collection[int]) -> None:
    """Forget calls, with everything that was sent or is to be sent of them."""
    ids = [(call_id,) for call_id in call_ids]
    db.executemany(
        "DELETE FROM delivery WHERE message_id IN"
        " (SELECT message_id FROM message WHERE call_id = ?)",
        ids,
    )
    db.executemany("DELETE FROM message WHERE call_id = ?", ids)


def named(db: sqlite3.Connection) -> list[str]:
    """Every webhook that has a log here, also those that are not configured any more."""
    names: list[str] = []
    last: str | None = ""
    # In steps over the index: as many rows are looked at as there are webhooks.
    while last is not None:
        (last,) = db.execute(
            "SELECT min(webhook) FROM delivery WHERE webhook > ? AND ended IS NOT NULL", (last,)
        ).fetchone()
        if last is not None:
            names.append(last)
    return names
