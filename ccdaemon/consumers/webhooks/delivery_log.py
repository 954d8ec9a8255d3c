"""The log of deliveries: what was sent where, what came of it, and having it sent once more.

Runs in the file's threads, as :mod:`ccdaemon.consumers.webhooks.deliveries` does. All times are ms
since 1970.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ccdaemon.consumers.webhooks.deliveries import line_up
from ccdaemon.consumers.webhooks.retry_policy import DeliveryStatus
from ccdaemon.store.records import Page

#: How many deliveries are sent once more in one go.
REDELIVERED = 1000


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One row of the log. ``told`` is when it came here, ``ended`` when it was through."""

    delivery_id: int
    webhook: str
    webhook_id: str
    type: str
    call_id: int | None
    seq: int | None
    state: str | None
    status: DeliveryStatus
    attempts: int
    http_status: int | None
    error: str | None
    told: int
    first: int | None
    last: int | None
    next: int | None
    ended: int | None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which deliveries are wanted; None asks for no restriction."""

    delivery_id: int | None = None
    call_id: int | None = None
    statuses: frozenset[DeliveryStatus] | None = None
    webhook: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None

    def condition(self) -> tuple[str, list[object]]:
        """Spell it for SQL, with its values."""
        parts: list[tuple[str, object]] = [
            ("d.delivery_id = ?", self.delivery_id),
            ("m.call_id = ?", self.call_id),
            ("d.webhook = ?", self.webhook),
            ("m.told >= ?", self.from_ms),
            ("m.told <= ?", self.to_ms),
        ]
        wanted = [(text, value) for text, value in parts if value is not None]
        texts, values = [text for text, _ in wanted], [value for _, value in wanted]
        if self.statuses is not None:
            statuses = sorted(status.value for status in self.statuses)
            texts.append(f"d.status IN ({', '.join('?' * len(statuses))})")
            values += statuses
        return " AND ".join(texts) or "1", values


_FROM = "FROM delivery d JOIN message m USING (message_id) WHERE"
_COLUMNS = (
    "d.delivery_id, d.webhook, m.webhook_id, m.type, m.call_id, m.seq, m.state, d.status,"
    " d.attempts, d.http_status, d.error, m.told, d.first, d.last, d.next, d.ended"
)


def page(
    db: sqlite3.Connection, number: int, per_page: int, filter: LogFilter
) -> Page[DeliveryRow]:
    """One page of the log, newest first; pages are counted from 1."""
    condition, values = filter.condition()
    (total,) = db.execute(f"SELECT count(*) {_FROM} {condition}", values).fetchone()
    rows = db.execute(
        f"SELECT {_COLUMNS} {_FROM} {condition} ORDER BY d.delivery_id DESC LIMIT ? OFFSET ?",
        [*values, per_page, (number - 1) * per_page],
    )
    return Page([_row(row) for row in rows], total)


def redeliver(
    db: sqlite3.Connection, filter: LogFilter, webhooks: frozenset[str], now: int
) -> list[DeliveryRow]:
    """Have deliveries sent once more, each in its turn; what waits anyhow is sent now.

    A webhook that had stopped goes on with it.

    :param webhooks: those that are configured; deliveries to others are left as they are.
    :return: what will be sent, oldest first, no more than ``REDELIVERED``.
    """
    condition, values = filter.condition()
    configured = ", ".join("?" * len(webhooks))
    found = db.execute(
        f"SELECT d.delivery_id, d.webhook, d.lane {_FROM} {condition}"
        f" AND d.webhook IN ({configured}) ORDER BY d.delivery_id LIMIT ?",
        [*values, *sorted(webhooks), REDELIVERED],
    ).fetchall()
    db.executemany(
        "UPDATE delivery SET status = 'waiting', since = ?, next = NULL, ended = NULL"
        " WHERE delivery_id = ?",
        [(now, delivery_id) for delivery_id, _, _ in found],
    )
    for webhook, ordering_key in {(webhook, ordering_key) for _, webhook, ordering_key in found}:
        line_up(db, webhook, ordering_key, now)
    db.executemany("DELETE FROM stopped WHERE webhook = ?", {(webhook,) for _, webhook, _ in found})
    # At most REDELIVERED of them: far from SQLite's limit of values in one statement.
    ids = [delivery_id for delivery_id, _, _ in found]
    rows = db.execute(
        f"SELECT {_COLUMNS} {_FROM} d.delivery_id IN ({', '.join('?' * len(ids))})"
        " ORDER BY d.delivery_id",
        ids,
    )
    return [_row(row) for row in rows]


def _row(row: tuple[object, ...]) -> DeliveryRow:
    values = list(row)
    values[7] = DeliveryStatus(values[7])
    return DeliveryRow(*values)  # type: ignore[arg-type]
