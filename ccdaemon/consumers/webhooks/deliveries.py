"""The table of deliveries, statement by statement: what is to be sent, when, and what came of it.

Runs in the file's threads, inside transactions that somebody else begins and ends. Of each ordering
key of a webhook only the first delivery that waits has a time (``next``): so nothing overtakes, and
what is due is found by one index however much waits. All times are ms since 1970. Knows no threads,
no HTTP and no Twisted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ccdaemon.consumers.webhooks.retry_policy import Attempt, DeliveryStatus, RetryDecision

SCHEMA = """
-- What is told, once for all webhooks; body is the announcement as JSON, under the call's order.
CREATE TABLE message (
    message_id INTEGER PRIMARY KEY AUTOINCREMENT,
    webhook_id TEXT NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    lane       TEXT NOT NULL,
    call_id    INTEGER,
    seq        INTEGER,
    state      TEXT,
    told       INTEGER NOT NULL,
    body       BLOB NOT NULL
);
CREATE INDEX message_of_call ON message (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX message_told ON message (told);

-- A message on its way to one webhook. since: the day of retries begins then. next: null but for
-- the first of its lane that waits. ended: null while it waits.
CREATE TABLE delivery (
    delivery_id INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  INTEGER NOT NULL REFERENCES message,
    webhook     TEXT NOT NULL,
    lane        TEXT NOT NULL,
    status      TEXT NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    http_status INTEGER,
    error       TEXT,
    since       INTEGER NOT NULL,
    first       INTEGER,
    last        INTEGER,
    next        INTEGER,
    ended       INTEGER,
    UNIQUE (message_id, webhook)
);
CREATE INDEX delivery_due ON delivery (webhook, next) WHERE next IS NOT NULL;
CREATE INDEX delivery_lane ON delivery (webhook, lane, delivery_id) WHERE status = 'waiting';
CREATE INDEX delivery_ended ON delivery (webhook, ended) WHERE ended IS NOT NULL;

-- Webhooks whose receivers want nothing any more (410), until the daemon starts anew.
CREATE TABLE stopped (webhook TEXT PRIMARY KEY) WITHOUT ROWID;

-- Up to where the journal has been read; one row at most.
CREATE TABLE position (event_id INTEGER NOT NULL);
"""

_DUE = "d.delivery_id, m.webhook_id, d.lane, d.attempts, d.since, m.body"
_WAITING = DeliveryStatus.WAITING.value


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as it is kept, and the webhooks that it goes to."""

    webhook_id: str
    type: str
    ordering_key: str
    call_id: int | None
    seq: int | None
    state: str | None
    body: bytes
    webhooks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose turn and time have come; ``attempts`` counts those that failed."""

    delivery_id: int
    webhook_id: str
    ordering_key: str
    attempts: int
    since: int
    body: bytes


# Coming in


def checkpoint(db: sqlite3.Connection) -> int | None:
    """Up to where the journal has been read; None if never."""
    row = db.execute("SELECT event_id FROM position").fetchone()
    return row[0] if row else None


def set_checkpoint(db: sqlite3.Connection, event_id: int) -> None:
    """Note up to where the journal has been read."""
    db.execute("DELETE FROM position")
    db.execute("INSERT INTO position VALUES (?)", (event_id,))


def take(
    db: sqlite3.Connection,
    messages: Sequence[QueuedMessage],
    event_id: int,
    now: int,
    orders: Mapping[int, str] | None = None,
) -> None:
    """Take messages in, and note up to where the journal has been read with them.

    A message that is here already is not taken twice.

    :param orders: what was attached, by call; all that is or was to be said of it is under it now.
    """
    stopped = {name for (name,) in db.execute("SELECT webhook FROM stopped")}
    for message in messages:
        row = db.execute(
            "INSERT INTO message (webhook_id, type, lane, call_id, seq, state, told, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING message_id",
            (
                message.webhook_id,
                message.type,
                message.ordering_key,
                message.call_id,
                message.seq,
                message.state,
                now,
                message.body,
            ),
        ).fetchone()
        for webhook in message.webhooks if row is not None else ():
            _take(db, row[0], webhook, message.ordering_key, now, webhook in stopped)
    for call_id, order_id in (orders or {}).items():
        db.execute(
            "UPDATE message SET body ="
            " CAST(json_replace(CAST(body AS TEXT), '$.data.order_id', ?) AS BLOB)"
            " WHERE call_id = ?",
            (order_id, call_id),
        )
    set_checkpoint(db, event_id)


def _take(
    db: sqlite3.Connection,
    message_id: int,
    webhook: str,
    ordering_key: str,
    now: int,
    stopped: bool,
) -> None:
    status, ended = (DeliveryStatus.STOPPED.value, now) if stopped else (_WAITING, None)
    db.execute(
        "INSERT INTO delivery (message_id, webhook, lane, status, since, ended)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (message_id, webhook, ordering_key, status, now, ended),
    )
    if not stopped:
        line_up(db, webhook, ordering_key, now)


def line_up(db: sqlite3.Connection, webhook: str, ordering_key: str, now: int) -> None:
    """Give the first of a ordering key its time, and take it from the others."""
    head = db.execute(
        "SELECT delivery_id, next FROM delivery WHERE webhook = ? AND lane = ?"
        " AND status = 'waiting' ORDER BY delivery_id LIMIT 1",
        (webhook, ordering_key),
    ).fetchone()
    if head is None:
        return
    if head[1] is None:
        db.execute("UPDATE delivery SET next = ? WHERE delivery_id = ?", (now, head[0]))
    db.execute(
        "UPDATE delivery SET next = NULL WHERE webhook = ? AND lane = ? AND status = 'waiting'"
        " AND delivery_id > ? AND next IS NOT NULL",
        (webhook, ordering_key, head[0]),
    )


# Going out


def due(db: sqlite3.Connection, webhook: str, now: int, limit: int) -> tuple[list[Due], int | None]:
    """What may be sent now, the longest due first; and when there is more to send."""
    rows = db.execute(
        f"SELECT {_DUE} FROM delivery d JOIN message m USING (message_id)"
        " WHERE d.webhook = ? AND d.next <= ? ORDER BY d.next, d.delivery_id LIMIT ?",
        (webhook, now, limit),
    )
    found = [Due(*row) for row in rows]
    (later,) = db.execute(
        "SELECT min(next) FROM delivery WHERE webhook = ? AND next > ?", (webhook, now)
    ).fetchone()
    return found, later


def settle(
    db: sqlite3.Connection, delivery_id: int, attempt: Attempt, verdict: RetryDecision, now: int
) -> Due | None:
    """Note what came of an attempt, and let the next of the ordering key have its turn.

    :return: the next of the ordering key, if it may be sent now.
    """
    waits = verdict.status is DeliveryStatus.WAITING
    row = db.execute(
        "UPDATE delivery SET status = ?, attempts = attempts + 1, http_status = ?, error = ?,"
        " first = coalesce(first, ?), last = ?, next = ?, ended = ? WHERE delivery_id = ?"
        " RETURNING webhook, lane",
        (
            verdict.status.value,
            attempt.http_status,
            attempt.error,
            now,
            now,
            verdict.next_ms,
            None if waits else now,
            delivery_id,
        ),
    ).fetchone()
    if row is None:
        return None
    webhook, ordering_key = row
    if verdict.status is DeliveryStatus.STOPPED or (waits and _is_stopped(db, webhook)):
        stop(db, webhook, now)
        return None
    line_up(db, webhook, ordering_key, now)
    following = db.execute(
        f"SELECT {_DUE} FROM delivery d JOIN message m USING (message_id)"
        " WHERE d.webhook = ? AND d.lane = ? AND d.status = 'waiting' AND d.next <= ?"
        " ORDER BY d.delivery_id LIMIT 1",
        (webhook, ordering_key, now),
    ).fetchone()
    return None if following is None else Due(*following)


def move(db: sqlite3.Connection, by: int) -> None:
    """Have what waits be due by so many ms later: the clock was set by as many."""
    db.execute(
        "UPDATE delivery SET next = next + ?, since = since + ? WHERE status = 'waiting'", (by, by)
    )


def _is_stopped(db: sqlite3.Connection, webhook: str) -> bool:
    found = db.execute("SELECT 1 FROM stopped WHERE webhook = ?", (webhook,))
    return found.fetchone() is not None


def stop(db: sqlite3.Connection, webhook: str, now: int) -> None:
    """Send nothing more to a webhook: neither what waits, nor what will come."""
    db.execute("INSERT OR IGNORE INTO stopped VALUES (?)", (webhook,))
    db.execute(
        "UPDATE delivery SET status = 'stopped', ended = ?, next = NULL"
        " WHERE webhook = ? AND status = 'waiting'",
        (now, webhook),
    )


def failing(db: sqlite3.Connection, webhook: str, limit: int) -> int:
    """Count the ordering keys of a webhook that wait after a failure, up to a limit."""
    (count,) = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE webhook = ? AND next IS NOT NULL"
        " AND attempts > 0 LIMIT ?)",
        (webhook, limit),
    ).fetchone()
    return int(count)


def hasten(db: sqlite3.Connection, webhook: str, now: int) -> None:
    """Have what waits after a failure sent now: the receiver is back.

    What the receiver has put off (429) waits its time.
    """
    db.execute(
        "UPDATE delivery SET next = ? WHERE webhook = ? AND next > ?"
        " AND (http_status IS NULL OR http_status != 429)",
        (now, webhook, now),
    )


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
