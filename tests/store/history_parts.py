"""A daemon's whole history: journal, Postgres, shipper and what reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ccdaemon.clocks import WallClock
from ccdaemon.consumers import consumer, shipper
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.store.asterisk_lock import AsteriskLock
from ccdaemon.store.history import History
from ccdaemon.store.journal import Journal
from ccdaemon.store.postgres import Database
from ccdaemon.store.read_barrier import ReadBarrier
from ccdaemon.store.records import Filter
from tests.store.pg_parts import PostgresCase, until

ALL = Filter()


@dataclass
class Daemon:
    """The history's part of a daemon."""

    journal: Journal
    database: Database
    tenancy: AsteriskLock
    shipper: Shipper
    barrier: ReadBarrier
    history: History

    async def stop(self) -> None:
        """Stop everything, in order."""
        await self.shipper.stopService()
        await self.database.stopService()
        await self.journal.stopService()

    async def shipped(self) -> None:
        """Wait until Postgres has everything."""
        await until(lambda: self.shipper.checkpoint >= self.journal.high_watermark)


class HistoryCase(PostgresCase):
    """A test with daemons on one database."""

    def setUp(self) -> None:
        """Ship without waiting."""
        super().setUp()
        self.patch(shipper, "EVERY", 0.01)
        self.patch(consumer, "AGAIN", 0.02)

    def daemon(
        self, state_dir: Path | None = None, asterisk: str = "pbx", url: str | None = None
    ) -> Daemon:
        """Make a daemon and start it; it is stopped at the end."""
        journal = self.journal(state_dir)
        database = self.database(url)
        tenancy = AsteriskLock(asterisk, 5038)
        barrier = ReadBarrier(reactor, database)
        ships = Shipper(reactor, WallClock(reactor), journal, database, tenancy, barrier)
        history = History(reactor, WallClock(reactor), journal, database, barrier)
        ships.startService()
        self.addCleanup(lambda: ships.stopService() if ships.running else None)
        database.startService()
        return Daemon(journal, database, tenancy, ships, barrier, history)

    async def ready(
        self, state_dir: Path | None = None, asterisk: str = "pbx", url: str | None = None
    ) -> Daemon:
        """A daemon that may open calls."""
        daemon = self.daemon(state_dir, asterisk, url)
        await until(lambda: daemon.journal.not_ready is None)
        return daemon

    def folder(self) -> Path:
        """Another state_dir."""
        return Path(self.mktemp())


def begin(coroutine: object) -> Deferred[object]:
    """Run a coroutine beside the test."""
    return Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]
