"""Databases and other ends of a connection, for the tests of the history."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread

from ccdaemon.clocks import WallClock
from ccdaemon.store.pg_address import Address, Resolve, look_up
from ccdaemon.store.pg_link import Link, Rows
from ccdaemon.store.postgres import Database
from tests.store.parts import JournalCase
from tests.store.server import Server, server


def resolve(host: str) -> Deferred[list[str]]:
    """Look a name up in a thread, as the daemon does."""
    return deferToThread(look_up, host)


async def until(ready: Callable[[], object]) -> None:
    """Wait until something is so; the test's own time limit ends it."""
    while not ready():
        await deferLater(reactor, 0.005)


class PostgresCase(JournalCase):
    """A test with a database of its own on a real server."""

    timeout = 15

    def setUp(self) -> None:
        """Make the database."""
        super().setUp()
        self.server: Server = server()
        self.url = self.server.database()
        self.addCleanup(self.server.give_back, self.url)

    def sql(self, statement: str, *params: object) -> list[tuple[object, ...]]:
        """Run a statement beside the daemon."""
        return self.server.run(self.url, statement, *params)

    async def link(self, limit: float = 4.0, url: str | None = None) -> Link:
        """Open a single connection."""
        self.lost: list[str] = []
        link = Link(IReactorFDSet(reactor), reactor, limit, self.lost.append)
        self.addCleanup(link.close)
        await link.open(await Address(url or self.url).words(resolve, limit), 5.0)
        return link

    def database(self, url: str | None = None, resolve: Resolve = resolve) -> Database:
        """Make a database that is stopped at the end."""
        address = Address(url or self.url)
        made = Database(IReactorFDSet(reactor), reactor, WallClock(reactor), address, resolve)
        self.addCleanup(lambda: made.stopService() if made.running else None)
        return made

    async def up(self) -> Database:
        """Make a database and wait until it is up."""
        database = self.database()
        database.startService()
        await database.when_up()
        return database

    def backends(self) -> list[int]:
        """The processes that serve this database, the daemon's kept connection first."""
        found = self.sql(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() ORDER BY backend_start"
        )
        return [int(str(pid)) for (pid,) in found]

    def kill(self, pid: int) -> None:
        """Have the server end a backend."""
        self.sql("SELECT pg_terminate_backend(%s)", pid)


class SilentPeer:
    """A listening socket that takes connections and never answers."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        port = self._socket.getsockname()[1]
        self.url = f"postgresql://u:sesame@127.0.0.1:{port}/d"

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


class Heartbeat:
    """Notices for how long the reactor was blocked."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = reactor.seconds()
        self._call = LoopingCall(self._beat)
        self._call.start(0.01).addErrback(lambda _: None)

    def _beat(self) -> None:
        now = reactor.seconds()
        self.longest = max(self.longest, now - self._last)
        self._last = now

    def stop(self) -> float:
        """Seconds of the longest time without a beat."""
        self._beat()
        with suppress(AssertionError):
            self._call.stop()
        return self.longest


def nobody(host: str) -> Deferred[list[str]]:
    """Look up nothing."""
    return succeed([])


async def one(rows: Deferred[Rows]) -> object:
    """The one value of a query."""
    return (await rows)[0][0]
