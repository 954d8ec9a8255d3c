"""Ships the event log to Postgres: in order, in batches, nothing lost and nothing twice.

Where it has got to stands in Postgres, in the transaction of the rows, so that a batch is there
with its checkpoint or not at all. Knows neither calls nor operators.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.clocks import WallClock
from ccdaemon.consumers.consumer import Consumer, ConsumerHealth
from ccdaemon.store import recovery
from ccdaemon.store.asterisk_lock import AsteriskLock
from ccdaemon.store.facts import Event, spelled
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal import Journal
from ccdaemon.store.migrate import migrate
from ccdaemon.store.pg_link import Link
from ccdaemon.store.postgres import Database, DatabaseDown, Transaction
from ccdaemon.store.read_barrier import ReadBarrier

READER = "postgres"
CHANNEL = "ccdaemon_told"
#: Facts in one statement.
BATCH = 500
#: Seconds between two batches when nobody waits for them.
EVERY = 1.0
#: Seconds that one batch may take.
SHIP = 30.0


class _Shipped(msgspec.Struct):
    event_id: int
    kind: str
    fact: msgspec.Raw


class Shipper(Service):
    """The consumer that is Postgres.

    :param barrier: is told how far Postgres is.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wall: WallClock,
        journal: Journal,
        database: Database,
        asterisk_lock: AsteriskLock,
        barrier: ReadBarrier,
    ) -> None:
        self._wall = wall
        self._journal = journal
        self._database = database
        self._asterisk_lock = asterisk_lock
        self._barrier = barrier
        self._session = 0
        self._consumer = Consumer(
            READER, clock, journal, self, batch=BATCH, gather=EVERY, keeps=True
        )
        barrier.hurry = self._consumer.wake
        database.prepare(self._prepare)
        database.subscribe(self._consumer.wake)

    # Life

    def startService(self) -> None:
        """Begin to ship. The journal must be open."""
        super().startService()  # type: ignore[no-untyped-call]
        self._consumer.start()

    def stopService(self) -> Deferred[None]:
        """Stop; what is not in Postgres yet stays in the journal."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._consumer.stop())

    async def _prepare(self, link: Link) -> None:
        await migrate(link)
        await self._asterisk_lock.take(link, self._journal.file)
        link.listen(self._hear_other)
        await link.query(f"LISTEN {CHANNEL}")

    def _hear_other(self, node: str) -> None:
        if node != self._journal.node:
            self._barrier.others_wrote()

    # How it is

    @property
    def checkpoint(self) -> int:
        """The event up to which Postgres has everything; -1 until it has been asked."""
        return self._barrier.checkpoint

    @property
    def health(self) -> ConsumerHealth:
        """How far Postgres is behind."""
        return self._consumer.health

    # What it does with events

    async def ready(self) -> int | None:
        """Wait for Postgres, and find out where it stands; it may be another than before."""
        await self._database.when_up()
        session, begun = self._database.session, None
        if self._session != session:
            about = (self._asterisk_lock.asterisk, int(self._wall.seconds() * 1000))
            await recovery.found(self._journal, self._database, *about)
            begun = await recovery.checkpoint(self._journal, self._database, *about)
            await recovery.hold_leases(self._journal, self._database)
        await recovery.lease(self._journal, self._database)
        self._session = session
        return begun

    async def take(self, events: Sequence[Event], after: int, upto: int) -> None:
        """Ship events; done twice, it is as if done once."""
        shipped = []
        for event in events:
            kind, body = spelled(event)
            shipped.append(_Shipped(event.event_id, kind, msgspec.Raw(body)))
        facts = msgspec.json.encode(shipped).decode()
        params = (self._journal.node, after, upto, facts)

        async def ship(transaction: Transaction) -> None:
            await transaction.query("SELECT ship(%s, %s, %s, %s)", params)

        await self._database.transaction(ship, SHIP)
        if upto:
            self._barrier.advance(upto)

    def blames(self, error: Exception) -> bool:
        """Whether Postgres refuses what is said."""
        return isinstance(error, psycopg2.DataError | psycopg2.IntegrityError)

    async def note(self, checkpoint: int) -> None:
        """Let those who read know; what Postgres has stands there."""
        self._barrier.advance(checkpoint)

    def failed(self, error: Exception, *, is_news: bool) -> None:
        """Begin anew: it may be another database by now, also on the same connection."""
        self._session = 0
        if not is_news or (isinstance(error, DatabaseDown) and not self._database.up):
            return  # That has been said.
        what = "shipping to Postgres failed, and goes on being tried"
        if isinstance(error, DatabaseDown | JournalBroken):
            self._log.error("{what}: {error}", what=what, error=error)
        else:
            self._log.failure(what)
