"""What every consumer of the event log keeps to, whatever it does with the events: one suite, run
over each of them with its real target.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ccdaemon.clocks import WallClock
from ccdaemon.consumers import consumer as consumer_module
from ccdaemon.consumers import shipper as shipper_module
from ccdaemon.consumers.consumer import Consumer, ConsumerHealth
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.store.asterisk_lock import AsteriskLock
from ccdaemon.store.facts import Event, StateFact
from ccdaemon.store.journal import Journal
from ccdaemon.store.postgres import Database
from ccdaemon.store.read_barrier import ReadBarrier
from tests.consumers.webhooks.test_webhooks import WebhooksCase
from tests.store.parts import JournalCase, chain, view
from tests.store.pg_parts import PostgresCase, until

#: A date that neither a calendar nor Postgres has.
NO_DATE = 99_999_999_999_999_000


class Away(Exception):
    """The target does not answer."""


class Contract:
    """The suite. A case says how its consumer is started, stopped and cut off from its target."""

    begun: Any
    event_log: Journal
    patch: Any
    assertEqual: Any
    assertIn: Any
    assertLess: Any
    kept = False

    def start(self) -> None:
        """Start the consumer, on ``self.event_log``."""
        raise NotImplementedError

    def stop(self) -> Deferred[None]:
        """Stop it."""
        raise NotImplementedError

    def taken(self) -> list[str]:
        """What has been taken, in order: calls and seqs."""
        raise NotImplementedError

    def health(self) -> ConsumerHealth:
        """How far it is."""
        raise NotImplementedError

    def cut(self) -> None:
        """Have the target go away."""
        raise NotImplementedError

    def join(self) -> None:
        """Have it come back."""
        raise NotImplementedError

    def soon(self) -> None:
        """Try again soon what failed, and let nothing gather."""
        self.patch(consumer_module, "AGAIN", 0.02)
        self.patch(shipper_module, "EVERY", 0.01)

    async def open(self) -> None:
        """Begin, with nothing told yet."""
        self.soon()
        self.event_log = await self.begun()

    async def happens(self, *facts: StateFact) -> None:
        """Have something told."""
        await self.event_log.append(facts)

    async def at_end(self) -> None:
        """Wait until all is taken."""
        await until(lambda: self.health().checkpoint == self.event_log.high_watermark)

    async def test_everything_in_order(self) -> None:
        """What is told arrives once, in its order; then nothing lags."""
        await self.open()
        self.start()
        await self.at_end()
        await self.happens(*chain(view(1)))
        await self.happens(*chain(view(2)))
        await self.at_end()
        self.assertEqual([f"{n}-{seq}" for n in (1, 2) for seq in range(1, 7)], self.taken())
        now = self.health()
        self.assertEqual(
            (0, 0.0, 0, None), (now.backlog, now.behind, now.dead_letters, now.trouble)
        )

    async def test_a_restart_in_the_middle(self) -> None:
        """It goes on where it was: nothing is missing and nothing is there twice."""
        await self.open()
        self.start()
        await self.at_end()
        await self.happens(*chain(view(1))[:3])
        await self.at_end()
        await self.stop()
        await self.happens(*chain(view(1))[3:], *chain(view(2)))
        self.start()
        await self.at_end()
        self.assertEqual([f"{n}-{seq}" for n in (1, 2) for seq in range(1, 7)], self.taken())

    async def test_one_that_cannot_be_taken(self) -> None:
        """It alone is passed over, told in health, and kept where it is tried again."""
        await self.open()
        self.start()
        await self.at_end()
        facts = chain(view(1))
        facts[3] = replace(facts[3], state=replace(facts[3].state, date=NO_DATE))
        await self.happens(*facts, *chain(view(2)))
        await self.at_end()
        all_but = [f"{n}-{seq}" for n in (1, 2) for seq in range(1, 7) if (n, seq) != (1, 4)]
        self.assertEqual(all_but, self.taken())
        now = self.health()
        self.assertEqual((1, None), (now.dead_letters, now.trouble))
        self.assertIn("event 4: ", now.last_dead_letter)
        kept = await self.event_log.quarantined(now.name, 9)
        self.assertEqual([4] if self.kept else [], [event.event_id for event in kept])

    async def test_one_that_cannot_be_read(self) -> None:
        """A body in the file that nobody can decode stops nothing."""
        await self.open()
        self.start()
        await self.at_end()
        await self.stop()
        await self.happens(*chain(view(1)), *chain(view(2)))
        await self.event_log._sqlite.write(
            lambda db: db.execute("UPDATE event SET body = X'7BFF' WHERE event_id IN (2, 9)")
        )
        await self.event_log._sqlite.write(
            lambda db: db.execute("UPDATE event SET kind = 'unheard' WHERE event_id = 4")
        )
        # Out of memory they could be read still.
        self.event_log._recent.forget()
        self.start()
        await self.at_end()
        unreadable = {(1, 2), (1, 4), (2, 3)}
        all_but = [f"{n}-{s}" for n in (1, 2) for s in range(1, 7) if (n, s) not in unreadable]
        self.assertEqual(all_but, self.taken())
        self.assertEqual(3, self.health().dead_letters)

    async def test_the_target_is_away(self) -> None:
        """What is not taken yet and since when shows; when it is back all is there, once."""
        await self.open()
        self.start()
        await self.at_end()
        await self.happens(*chain(view(1))[:2])
        await self.at_end()
        self.cut()
        await self.happens(*chain(view(1))[2:])
        await until(lambda: self.health().behind > 0.05)
        self.assertEqual(4, self.health().backlog)
        self.join()
        await self.at_end()
        self.assertEqual([f"1-{seq}" for seq in range(1, 7)], self.taken())
        await until(lambda: self.health().trouble is None)
        self.assertEqual((0, 0), (self.health().backlog, self.health().dead_letters))

    async def test_it_stops_in_its_time(self) -> None:
        """Also while its target is away."""
        await self.open()
        self.start()
        await self.at_end()
        self.cut()
        await self.happens(*chain(view(1)))
        await deferLater(reactor, 0.05)
        began = reactor.seconds()
        await self.stop()
        self.assertLess(reactor.seconds() - began, 4.0)
        self.join()


class InMemoryTests(Contract, JournalCase):
    """A sink that only remembers."""

    def setUp(self) -> None:
        """Have nothing yet."""
        super().setUp()
        self.remembered: list[str] = []
        self.is_away = False
        self.noted: int | None = None

    def start(self) -> None:
        """Start it."""
        self.is_new = True
        made = self.consumer = Consumer("memory", reactor, self.event_log, self, batch=4)
        made.start()
        self.addCleanup(made.stop)

    def stop(self) -> Deferred[None]:
        """Stop it."""
        return Deferred.fromCoroutine(self.consumer.stop())

    def taken(self) -> list[str]:
        """What it remembers."""
        return self.remembered

    def health(self) -> ConsumerHealth:
        """How far it is."""
        return self.consumer.health

    def cut(self) -> None:
        """Remember nothing."""
        self.is_away = True

    def join(self) -> None:
        """Go on."""
        self.is_away = False

    async def ready(self) -> int | None:
        """Begin."""
        is_new, self.is_new = self.is_new, False
        return (await self.event_log.checkpoint("memory") or 0) if is_new else None

    async def take(self, events: Sequence[Event], after: int, upto: int) -> None:
        """Remember."""
        if self.is_away:
            raise Away
        states = [event.fact.state for event in events if isinstance(event.fact, StateFact)]
        if any(state.date == NO_DATE for state in states):
            raise OverflowError("no such date")
        self.remembered += [f"{state.call_id}-{state.seq}" for state in states]

    def blames(self, error: Exception) -> bool:
        """Whether it is the event's."""
        return isinstance(error, OverflowError)

    async def note(self, checkpoint: int) -> None:
        """Note nothing."""

    def failed(self, error: Exception, *, is_news: bool) -> None:
        """Say nothing."""


class ShipperTests(Contract, PostgresCase):
    """A real Postgres."""

    kept = True

    async def open(self) -> None:
        """Begin, as Postgres has it."""
        self.soon()
        self.event_log = self.journal()
        self.start()
        await self.event_log.when_begun()
        await self.stop()

    def start(self) -> None:
        """Start database and shipper."""
        self.base: Database = self.database()
        barrier = ReadBarrier(reactor, self.base)
        lock = AsteriskLock("pbx", 5038)
        self.ships = Shipper(reactor, WallClock(reactor), self.event_log, self.base, lock, barrier)
        self.ships.startService()
        self.addCleanup(lambda: self.ships.stopService() if self.ships.running else None)
        self.base.startService()

    def stop(self) -> Deferred[None]:
        """Stop both."""

        async def stop() -> None:
            await self.ships.stopService()
            await self.base.stopService()

        return Deferred.fromCoroutine(stop())

    def taken(self) -> list[str]:
        """What is there."""
        rows = self.sql("SELECT call_id, seq FROM state ORDER BY event_id")
        return [f"{call_id}-{seq}" for call_id, seq in rows]

    def health(self) -> ConsumerHealth:
        """How far it is."""
        return self.ships.health

    def cut(self) -> None:
        """Stop the server."""
        self.server.postgres.stop(immediate=True)

    def join(self) -> None:
        """Start it."""
        self.server.postgres.start()


class WebhooksTests(Contract, WebhooksCase):
    """The table of deliveries; its receivers have a suite of their own."""

    def setUp(self) -> None:
        """Have a file that takes what comes."""
        super().setUp()
        self.is_away = False
        take = deliveries.take

        def unless_away(*args: Any) -> None:
            if self.is_away:
                raise sqlite3.OperationalError("disk full")
            take(*args)

        self.patch(deliveries, "take", unless_away)

    def start(self) -> None:
        """Start them."""
        self.made: Webhooks = self.webhooks(self.event_log, "crm")

    def stop(self) -> Deferred[None]:
        """Stop them."""
        return self.made.stopService()

    def taken(self) -> list[str]:
        """What is lined up or sent."""
        path = self.state_dir / "webhooks.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return [name for (name,) in db.execute("SELECT webhook_id FROM message ORDER BY 1")]

    def health(self) -> ConsumerHealth:
        """How far they are."""
        return self.made.reading

    def cut(self) -> None:
        """Have the disk take nothing."""
        self.is_away = True

    def join(self) -> None:
        """Have it take what comes."""
        self.is_away = False
