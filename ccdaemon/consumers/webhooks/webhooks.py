"""All webhooks together: the reader of the journal, the table of deliveries, a worker for each.

The reader never waits for a receiver; workers never wait for one another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.clocks import WallClock
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.consumer import ConsumerHealth
from ccdaemon.consumers.webhooks import deliveries, delivery_log
from ccdaemon.consumers.webhooks.clock_steps import ClockSteps
from ccdaemon.consumers.webhooks.deliveries import Backlog
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile
from ccdaemon.consumers.webhooks.delivery_log import DeliveryRow, LogFilter
from ccdaemon.consumers.webhooks.delivery_worker import DeliveryCounts, DeliveryWorker, Sends, Spell
from ccdaemon.consumers.webhooks.enqueue import Enqueuer
from ccdaemon.store.group_commit import WINDOW
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Page

#: Seconds between two counts of what waits.
COUNT_EVERY = 5.0
#: Seconds between two looks for what the log can forget.
PRUNE_EVERY = 60.0
#: Days that the log keeps what went to webhooks that are not configured any more.
LOG_DAYS = 7
_DAY = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class WebhookHealth:
    """How one webhook is. Moments are ms since 1970.

    ``shown`` is where it is, without what may be a token. ``backlog`` counts what waits, as of a
    few seconds ago, ``oldest`` is since when the oldest of it does, None if nothing does.
    ``failing_since``: attempts fail, and none has succeeded since; ``stopped_since``: the receiver
    has answered 410; None: not so. ``counts`` are since the daemon's start.
    """

    name: str
    shown: str
    backlog: int
    oldest: int | None
    failing_since: int | None
    stopped_since: int | None
    last_error: str | None
    counts: DeliveryCounts


class Webhooks(Service):
    """All webhooks. To be started after the journal.

    :param base_url: what links to recordings begin with.
    :param sends: makes what makes a webhook's POSTs.
    :param spell: spells an announcement in a webhook's format.
    :param random: numbers from 0 to 1.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        wall: WallClock,
        journal: Journal,
        state_dir: Path,
        webhooks: Sequence[Webhook],
        *,
        base_url: str,
        sends: Callable[[Webhook], Sends],
        spell: Spell,
        random: Callable[[], float],
        window: float = WINDOW,
    ) -> None:
        self._clock = clock
        self._file = DeliveryFile(reactor, state_dir, window=window)
        self._due_times = ClockSteps(self._file, clock, wall)
        self._workers = {
            webhook.name: DeliveryWorker(
                webhook, sends(webhook), self._file, clock, self._due_times, spell, random
            )
            for webhook in webhooks
        }
        self._enqueuer = Enqueuer(
            clock, journal, self._file, self._due_times, webhooks, base_url, spell, self._wake
        )
        self._timers: dict[str, IDelayedCall] = {}
        self._backlog: dict[str, Backlog] = {}

    def observe(self, attempt: Callable[[str, float], None]) -> None:
        """Have told of each attempt, by the webhook's name, how many seconds it took."""
        for name, worker in self._workers.items():
            worker.observe = partial(attempt, name)

    # Life

    def startService(self) -> None:
        """Open the file and begin. Blocks while it opens it.

        :raise OSError: if the folder cannot be written.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._enqueuer.start(self._file.open(), self._ready)

    def _ready(self) -> None:
        self._repeat("count", 0, COUNT_EVERY, self._count)
        self._repeat("prune", PRUNE_EVERY, PRUNE_EVERY, self._prune)
        for worker in self._workers.values():
            worker.start()

    def stopService(self) -> Deferred[None]:
        """Stop; what is not delivered is sent after the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        for timer in self._timers.values():
            if timer.active():
                timer.cancel()
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        await self._enqueuer.stop()
        stopping = [Deferred.fromCoroutine(one.stop()) for one in self._workers.values()]
        for one in stopping:
            await one
        await self._file.close()

    def _wake(self, name: str) -> None:
        self._workers[name].wake()

    # Upkeep

    def _repeat(
        self, name: str, first: float, every: float, work: Callable[[], Awaitable[None]]
    ) -> None:
        def again(_: object) -> None:
            if self.running:
                self._repeat(name, every, every, work)

        def failed(failure: Failure) -> None:
            if self.running:
                self._log.failure("webhooks: {name} failed", failure, name=name)

        def run() -> None:
            done = Deferred.fromCoroutine(_awaited(work))
            done.addErrback(failed).addCallback(again)

        self._timers[name] = self._clock.callLater(first, run)

    async def _count(self) -> None:
        await self._enqueuer.count()
        self._backlog = await self._file.read(deliveries.backlog)
        for name, worker in self._workers.items():
            backlog = self._backlog.get(name)
            worker.ordering_keys = backlog.ordering_keys if backlog else 0

    async def _prune(self) -> None:
        named = await self._file.read(deliveries.named)
        for name in named:
            worker = self._workers.get(name)
            days = worker.webhook.log_days if worker else LOG_DAYS
            before = self._now() - days * _DAY
            while await self._file.write(deliveries.prune, name, before):
                pass

    def _now(self) -> int:
        return self._due_times.now()

    # For those who ask

    @property
    def health(self) -> Sequence[WebhookHealth]:
        """How each webhook is."""
        return [self._health(worker) for worker in self._workers.values()]

    @property
    def reading(self) -> ConsumerHealth:
        """How far the journal has been read for all of them."""
        return self._enqueuer.health

    @property
    def consumers(self) -> Sequence[ConsumerHealth]:
        """The same, for a table of all consumers; empty where no webhook is configured."""
        return (self._enqueuer.health,) if self._workers else ()

    @property
    def dropped(self) -> int:
        """How many recordings could not be told, because their call was forgotten."""
        return self._enqueuer.dropped

    @property
    def broken(self) -> str | None:
        """Why nothing can be noted of deliveries just now; None if it can."""
        return self._file.broken

    def _health(self, worker: DeliveryWorker) -> WebhookHealth:
        backlog, receiver = self._backlog.get(worker.webhook.name), worker.receiver
        return WebhookHealth(
            name=worker.webhook.name,
            shown=worker.webhook.shown,
            backlog=backlog.waiting if backlog else 0,
            oldest=backlog.oldest if backlog else None,
            failing_since=receiver.failing_since,
            stopped_since=receiver.stopped_since,
            last_error=receiver.last_error,
            counts=replace(receiver.counts),
        )

    async def page(self, page: int, per_page: int, filter: LogFilter) -> Page[DeliveryRow]:
        """A page of the log, newest first; pages are counted from 1."""
        return await self._file.read(delivery_log.page, page, per_page, filter)

    async def forget(self, call_ids: Collection[int]) -> None:
        """Forget calls, with everything that was sent or is to be sent of them."""
        await self._file.erase(deliveries.forget, call_ids)

    async def redeliver(self, filter: LogFilter) -> Sequence[DeliveryRow]:
        """Have deliveries sent once more, each in its turn; at once, if they wait anyhow.

        :return: those that will be sent, oldest first, at most ``REDELIVERED``.
        """
        names = frozenset(self._workers)
        rows = await self._file.write(delivery_log.redeliver, filter, names, self._now())
        for name in {row.webhook for row in rows}:
            self._workers[name].resume()
        return rows


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
