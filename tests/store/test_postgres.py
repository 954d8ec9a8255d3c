"""The database: up and down, what it says of itself, and who waits for it."""

from __future__ import annotations

from typing import cast

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.clocks import WallClock
from ccdaemon.store import pg_link, pg_pool, postgres
from ccdaemon.store.pg_address import Address, look_up
from ccdaemon.store.pg_link import Link, PgLinkLost
from ccdaemon.store.postgres import Database, DatabaseDown
from tests.store.history_parts import begin
from tests.store.parts import turn
from tests.store.pg_parts import Heartbeat, PostgresCase, SilentPeer, until


class AddressTests(SynchronousTestCase):
    """Where Postgres is, without its password."""

    def words(self, url: str, *found: str) -> dict[str, str]:
        """What would be connected with, if names had these addresses."""
        asked = Address(url).words(lambda host: succeed(list(found)), 2.5)
        return self.successResultOf(Deferred.fromCoroutine(asked))

    def test_names_are_looked_up(self) -> None:
        """A host's name is kept for the certificate, and its addresses are given with it."""
        words = self.words("postgresql://u@db.example:5433/d", "10.0.0.1", "::1")
        self.assertEqual("db.example,db.example", words["host"])
        self.assertEqual("10.0.0.1,::1", words["hostaddr"])
        self.assertEqual("5433", words["port"])

    def test_nothing_to_look_up(self) -> None:
        """Addresses, sockets and lists of hosts are taken as they are."""
        for host in ("127.0.0.1", "%2Frun%2Fpostgresql", "a,b", ""):
            self.assertNotIn("hostaddr", self.words(f"postgresql://u@{host}/d"))
        given = self.words("host=a hostaddr=10.0.0.9 dbname=d", "10.0.0.1")
        self.assertEqual("10.0.0.9", given["hostaddr"])

    def test_options_are_kept(self) -> None:
        """The administrator's options stand before the time limit."""
        words = self.words("host=/run dbname=d options='-c search_path=cc'")
        self.assertEqual("-c search_path=cc -c statement_timeout=2500", words["options"])

    def test_a_name_that_is_not_known(self) -> None:
        """A lookup that fails is told."""
        asked = Address("postgresql://u@nowhere/d").words(lambda host: fail(OSError("no")), 1)
        self.failureResultOf(Deferred.fromCoroutine(asked), OSError)

    def test_no_password_in_words(self) -> None:
        """Neither the repr nor an error holds the password."""
        address = Address("postgresql://u:sesame@db:5432/d")
        self.assertEqual("user=u host=db port=5432 dbname=d", repr(address))
        self.assertEqual(
            "login as u with *** failed", address.scrub("login as u\n with sesame failed")
        )
        error = self.assertRaises(ValueError, Address, "postgresql//u:sesame@db/d")
        self.assertNotIn("sesame", str(error))
        self.assertIsNone(error.__cause__)

    def test_looking_up(self) -> None:
        """The system's own names are found, each address once."""
        self.assertIn("127.0.0.1", look_up("localhost"))
        self.assertRaises(OSError, look_up, "no-such-host.invalid")


class LifeTests(PostgresCase):
    """Up, down and up again."""

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.lines: list[LogEvent] = []
        observer = cast(ILogObserver, self.lines.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def said(self) -> list[str]:
        """What the database has logged."""
        lines = [one for one in self.lines if one["log_namespace"].endswith("Database")]
        return [str(one["log_format"]).format(**one) for one in lines]

    async def test_one_line_per_change(self) -> None:
        """However often it is tried, up and each reason for down are one line, with no secret."""
        database = await self.up()
        since = database.health.since
        self.server.postgres.stop(immediate=True)
        await until(lambda: not database.up)
        down = database.health
        self.assertGreater(down.since, since)
        tries = 0

        async def count(link: Link) -> None:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise ValueError(f"not yet, {self.server.postgres.password}")

        database.prepare(count)
        self.server.postgres.start()
        await database.when_up()
        said = self.said()
        self.assertEqual(len(said), len(set(said)) + 1)
        self.assertEqual((said[0], 4), (said[-1], tries))
        self.assertIn("not yet, ***", said[-2])
        self.assertEqual("not yet, ***", database.health.last_error)
        self.assertNotIn(self.server.postgres.password, repr(self.lines) + repr(database.health))

    async def test_a_server_that_freezes(self) -> None:
        """A server that stops answering is noticed, blocks nobody, and is found again."""
        self.patch(postgres, "PING", 0.05)
        self.patch(postgres, "STATEMENT", 0.1)
        self.patch(pg_link, "GRACE", 0.1)
        database = await self.up()
        await database.query("SELECT 1")
        heart = Heartbeat()
        self.server.postgres.freeze()
        self.addCleanup(self.server.postgres.thaw)
        asked = begin(database.query("SELECT 1"))
        await until(lambda: not database.up)
        error = await self.fails(asked, DatabaseDown)
        self.assertIn("no answer", str(error))
        self.assertLess(heart.stop(), 0.15)
        self.server.postgres.thaw()
        await database.when_up()
        self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_a_wrong_password(self) -> None:
        """A login that is refused is told in Postgres' words, and tried again."""
        wrong = self.url.replace(self.server.postgres.password, "sesame")
        database = self.database(wrong)
        database.startService()
        await until(lambda: database.health.last_error)
        self.assertIn("password authentication failed", database.health.last_error or "")
        self.assertNotIn("sesame", " ".join(self.said()))

    async def test_a_host_that_is_not_known(self) -> None:
        """A name that is not known is told, and tried again."""
        database = Database(
            IReactorFDSet(reactor),
            reactor,
            WallClock(reactor),
            Address("postgresql://u@nowhere/d"),
            lambda host: fail(OSError("not known")),
        )
        self.addCleanup(database.stopService)
        database.startService()
        await until(lambda: database.health.last_error)
        self.assertEqual("the host is not known: not known", database.health.last_error)

    async def test_stopping_while_it_connects(self) -> None:
        """A connection that is being made does not hold up the end."""
        peer = SilentPeer()
        self.addCleanup(peer.close)
        database = self.database(peer.url)
        database.startService()
        waiting = database.when_up()
        await turn()
        await database.stopService()
        await self.fails(database.query("SELECT 1"), DatabaseDown)
        waiting.cancel()
        await self.fails(waiting, CancelledError)

    async def test_stopping_while_it_waits(self) -> None:
        """Nor does the pause between two tries."""
        self.server.postgres.stop(immediate=True)
        database = self.database()
        database.startService()
        await until(lambda: database.health.last_error)
        await database.stopService()
        self.server.postgres.start()


class QueueTests(PostgresCase):
    """Many who ask at once."""

    async def test_no_connection_in_time(self) -> None:
        """Who waits too long for a connection is refused, and the others are answered."""
        self.patch(pg_pool, "QUEUE", 0.1)
        database = await self.up()
        slow = [begin(database.query("SELECT 1 FROM pg_sleep(0.4)")) for _ in range(4)]
        error = await self.fails(database.query("SELECT 1"), DatabaseDown)
        self.assertIn("no connection", str(error))
        self.assertEqual([[(1,)]] * 4, await gatherResults(slow))
        self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_too_many_wait(self) -> None:
        """When too many wait, one more is refused at once."""
        self.patch(pg_pool, "WAITING", 3)
        database = await self.up()
        asked = [begin(database.query("SELECT 1 FROM pg_sleep(0.1)")) for _ in range(7)]
        error = await self.fails(database.query("SELECT 1"), DatabaseDown)
        self.assertIn("3 queries wait", str(error))
        self.assertEqual([[(1,)]] * 7, await gatherResults(asked))

    async def test_an_asker_who_goes_away(self) -> None:
        """A query that is cancelled blocks nobody and takes its connection with it."""
        database = await self.up()
        heart = Heartbeat()
        asked = Deferred.fromCoroutine(database.query("SELECT pg_sleep(3)"))
        await until(lambda: len(self.backends()) == 2)
        asked.cancel()
        await self.fails(asked, CancelledError)
        self.assertLess(heart.stop(), 0.15)
        self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_a_statement_that_is_refused(self) -> None:
        """What Postgres says about a statement reaches who asked, and harms nobody."""
        database = await self.up()
        await self.fails(database.query("SELECT nonsense"), psycopg2.ProgrammingError)
        await self.fails(database.query("SELECT %s", ("\0",)), ValueError)
        self.assertEqual([(1,)], await database.query("SELECT 1"))
        self.assertEqual([], await database.query("CREATE TABLE t (n int)"))

    async def test_a_closed_link(self) -> None:
        """A connection that was closed stays closed."""
        link = await self.link()
        link.close()
        link.close()
        self.assertFalse(link.check())
        self.assertFalse(link.idle)
        await self.fails(link.query("SELECT 1"), PgLinkLost)
        await self.fails(link.open({}, 1.0), PgLinkLost)
        self.assertEqual(["closed"], self.lost)

    async def test_a_large_statement(self) -> None:
        """Megabytes go out and come back."""
        link = await self.link()
        ((size,),) = await link.query("SELECT length(%s)", ("x" * 4_000_000,))
        self.assertEqual(4_000_000, size)
        ((text,),) = await link.query("SELECT repeat('y', 4000000)")
        self.assertEqual(4_000_000, len(text))
