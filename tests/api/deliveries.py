"""The webhooks' side of the API in memory: their own table, without files and threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ccdaemon.consumers.webhooks import deliveries, delivery_log
from ccdaemon.consumers.webhooks.deliveries import SCHEMA, QueuedMessage
from ccdaemon.consumers.webhooks.delivery_log import DeliveryRow, LogFilter
from ccdaemon.consumers.webhooks.retry_policy import Attempt, DeliveryStatus, RetryDecision
from ccdaemon.store.records import Page
from tests.api.parts import MOMENT

CONFIGURED = frozenset({"crm", "wall"})


class Deliveries:
    """Two webhooks, ``crm`` and ``wall``; they were told what :meth:`tell` says."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.now = MOMENT

    def tell(self, call_id: int, seq: int, state: str, *webhooks: str) -> None:
        """Have something told."""
        name, lane = f"{call_id}-{seq}", f"call-{call_id}"
        told = QueuedMessage(
            name, "call.state", lane, call_id, seq, state, b"{}", webhooks or ("crm",)
        )
        deliveries.take(self.db, [told], 1, self.now)
        self.now += 1000

    def attempt(self, webhook: str, http_status: int, became: DeliveryStatus) -> None:
        """Let what is due come to something."""
        (due, *_), _ = deliveries.due(self.db, webhook, self.now, 1)
        waits = became is DeliveryStatus.WAITING
        verdict = RetryDecision(became, self.now + 60_000 if waits else None)
        error = None if http_status == 200 else f"answered {http_status}"
        attempt = Attempt(http_status, error)
        deliveries.settle(self.db, due.delivery_id, attempt, verdict, self.now)

    async def page(self, page: int, per_page: int, filter: LogFilter) -> Page[DeliveryRow]:
        """Deliveries, newest first."""
        return delivery_log.page(self.db, page, per_page, filter)

    async def redeliver(self, filter: LogFilter) -> Sequence[DeliveryRow]:
        """Send deliveries once more."""
        return delivery_log.redeliver(self.db, filter, CONFIGURED, self.now)
