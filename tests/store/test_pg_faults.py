"""What txpostgres gets wrong, one test for each fault, named after it, on a real Postgres."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any, ClassVar

import psycopg2
from psycopg2.extensions import POLL_READ, POLL_WRITE
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail, gatherResults
from twisted.logger import Logger

from ccdaemon.store import pg_link, postgres
from ccdaemon.store.pg_link import (
    Link,
    LinkSilent,
    PgLinkLost,
    StatementCancelled,
    StatementTimeout,
)
from ccdaemon.store.pg_pool import LINKS
from ccdaemon.store.postgres import Database, DatabaseDown, Transaction
from tests.store.parts import turn
from tests.store.pg_parts import Heartbeat, PostgresCase, SilentPeer, until


def start(coroutine: object) -> Deferred[object]:
    """Run a coroutine beside the test."""
    return Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]


class PoolFaults(PostgresCase):
    """Fault 1: the pool hands out dead connections and takes them back."""

    async def test_one_of_three_backends_killed(self) -> None:
        """With one of three idle backends killed, every one of 60 queries is answered."""
        database = await self.up()
        await gatherResults([start(database.query("SELECT pg_sleep(0.05)")) for _ in range(3)])
        kept, *lent = self.backends()
        self.assertEqual(3, len(lent))
        self.kill(lent[1])
        answers = await gatherResults([start(database.query("SELECT 1")) for _ in range(60)])
        self.assertEqual([[(1,)]] * 60, answers)
        self.assertNotIn(lent[1], self.backends())
        self.assertIn(kept, self.backends())

    async def test_all_backends_killed_between_two_queries(self) -> None:
        """A query right after all idle backends died is answered by a new one."""
        database = await self.up()
        await gatherResults([start(database.query("SELECT pg_sleep(0.05)")) for _ in range(3)])
        for pid in self.backends()[1:]:
            self.kill(pid)
        self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_a_backend_killed_at_work(self) -> None:
        """A read whose backend dies under it is read again; a transaction fails and says so."""
        database = await self.up()
        reading = start(database.query("SELECT pg_sleep(0.2)"))
        await until(lambda: len(self.backends()) == 2)
        self.kill(self.backends()[1])
        await reading

        async def body(transaction: Transaction) -> None:
            await transaction.query("SELECT pg_terminate_backend(pg_backend_pid())")

        await self.fails(database.transaction(body), DatabaseDown)


class CancelFaults(PostgresCase):
    """Fault 2: cancelling opens a blocking connection."""

    async def test_a_silent_backend_blocks_nobody(self) -> None:
        """A query without an answer ends in its time, by name, and the reactor went on."""
        self.patch(pg_link, "GRACE", 0.1)
        link = await self.link(limit=0.1)
        (pid,) = self.backends()
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        heart = Heartbeat()
        error = await self.fails(link.query("SELECT 1"), LinkSilent)
        self.assertIn("no answer in 0.2 s", str(error))
        self.assertLess(heart.stop(), 0.15)
        self.assertFalse(link.alive)
        await turn()
        self.assertEqual([str(error)], self.lost)
        self.assertEqual([pid], self.backends())

    async def test_who_gives_up_closes_the_connection(self) -> None:
        """A query that is given up ends at once, and its connection with it; the next query has
        a new one, and the reactor went on."""
        database = await self.up()
        await database.query("SELECT 1")
        _, lent = self.backends()
        heart = Heartbeat()
        sleeping = start(database.query("SELECT pg_sleep(5)"))
        await until(lambda: self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event='PgSleep'"))
        sleeping.cancel()
        self.failureResultOf(sleeping, CancelledError)
        self.assertNotEqual([(lent,)], await database.query("SELECT pg_backend_pid()"))
        self.assertLess(heart.stop(), 0.15)
        self.assertEqual(LINKS, database._pool._slots.tokens)


class ConnectFaults(PostgresCase):
    """Fault 3: connect_timeout is ignored."""

    async def test_a_silent_peer(self) -> None:
        """A peer that takes the connection and says nothing is given up in time."""
        peer = SilentPeer()
        self.addCleanup(peer.close)
        self.patch(postgres, "CONNECT", 0.1)
        database = self.database(peer.url)
        database.startService()
        await until(lambda: database.health.last_error)
        self.assertIn("connecting had no answer in 0.1 s", database.health.last_error or "")
        self.assertFalse(database.up)
        await database.stopService()


class TimeoutFaults(PostgresCase):
    """Fault 4: a time limit and a cancel look alike."""

    async def test_a_statement_that_takes_too_long(self) -> None:
        """The server's time limit is told as that, and the connection goes on."""
        link = await self.link(limit=0.1)
        await self.fails(link.query("SELECT pg_sleep(5)"), StatementTimeout)
        self.assertEqual([(1,)], await link.query("SELECT 1"))

    async def test_somebody_cancels(self) -> None:
        """A cancel from outside is told as that, and the connection goes on."""
        link = await self.link()
        sleeping = start(link.query("SELECT pg_sleep(5)"))
        await until(lambda: self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event='PgSleep'"))
        self.sql("SELECT pg_cancel_backend(%s)", self.backends()[0])
        await self.fails(sleeping, StatementCancelled)
        self.assertEqual([(1,)], await link.query("SELECT 1"))


class DeathFaults(PostgresCase):
    """Fault 5: every OperationalError is taken for a death."""

    async def test_lock_nowait_kills_nothing(self) -> None:
        """A lock that is not to be had is an answer; the same backend goes on."""
        self.sql("CREATE TABLE t (n int)")
        holder, link = await self.link(), await self.link()
        await holder.query("BEGIN; LOCK TABLE t")
        (before,) = await link.query("SELECT pg_backend_pid()")
        await link.query("BEGIN")
        await self.fails(link.query("LOCK TABLE t NOWAIT"), psycopg2.OperationalError)
        await link.query("ROLLBACK")
        self.assertTrue(link.idle)
        self.assertEqual([before], await link.query("SELECT pg_backend_pid()"))

    async def test_classes_of_death(self) -> None:
        """A backend that is ended says so, and is taken for dead."""
        link = await self.link()
        await self.fails(link.query("SELECT pg_terminate_backend(pg_backend_pid())"), PgLinkLost)
        self.assertFalse(link.alive)
        await self.fails(link.query("SELECT 1"), PgLinkLost)
        self.assertEqual(1, len(self.lost))


class ListenFaults(PostgresCase):
    """Fault 6: LISTEN is lost on reconnect without a word; bursts come out of order."""

    async def test_listening_goes_on_after_a_reconnect(self) -> None:
        """What is done on the kept connection is done again on the next one."""
        heard: list[str] = []

        async def listen(link: Link) -> None:
            link.listen(heard.append)
            await link.query("LISTEN told")

        database = self.database()
        database.prepare(listen)
        database.startService()
        await database.when_up()
        self.sql("NOTIFY told, 'first'")
        await until(lambda: heard)
        before = self.backends()
        self.kill(before[0])
        await until(lambda: self.backends() not in (before, []) and database.up)
        self.sql("NOTIFY told, 'second'")
        await until(lambda: len(heard) == 2)
        self.assertEqual(["first", "second"], heard)

    async def test_a_burst_comes_in_order(self) -> None:
        """Notifications come in the order sent, also while a query runs."""
        link = await self.link()
        heard: list[str] = []
        link.listen(heard.append)
        await link.query("LISTEN told")
        for start_ in range(0, 300, 100):
            self.sql(
                "SELECT pg_notify('told', n::text) FROM generate_series(%s, %s) n",
                start_,
                start_ + 99,
            )
            await link.query("SELECT 1")
        await until(lambda: len(heard) == 300)
        self.assertEqual([str(n) for n in range(300)], heard)


class TransactionFaults(PostgresCase):
    """Fault 7: an async function is committed before it has run."""

    async def test_the_body_runs_before_the_commit(self) -> None:
        """What an async function does is committed when it has returned, not before."""
        self.sql("CREATE TABLE t (n int)")
        database = await self.up()

        async def body(transaction: Transaction) -> str:
            await transaction.query("INSERT INTO t VALUES (1)")
            await turn()
            self.assertEqual([(0,)], self.sql("SELECT count(*) FROM t"))
            return "done"

        self.assertEqual("done", await database.transaction(body))
        self.assertEqual([(1,)], self.sql("SELECT count(*) FROM t"))

    async def test_what_raises_is_undone(self) -> None:
        """If the function raises, nothing stays, its error is told and the connection is
        used again."""
        self.sql("CREATE TABLE t (n int)")
        database = await self.up()

        async def body(transaction: Transaction) -> None:
            await transaction.query("INSERT INTO t VALUES (1)")
            raise KeyError("no")

        async def refused(transaction: Transaction) -> None:
            await transaction.query("INSERT INTO nowhere VALUES (1)")

        await self.fails(database.transaction(body), KeyError)
        await self.fails(database.transaction(refused), psycopg2.ProgrammingError)
        self.assertEqual([(0,)], self.sql("SELECT count(*) FROM t"))
        self.assertEqual(2, len(self.backends()))

    async def test_a_transaction_has_its_own_limit(self) -> None:
        """A transaction may be given more or less time, and the connection has its own again."""
        database = await self.up()

        async def slow(transaction: Transaction) -> None:
            await transaction.query("SELECT pg_sleep(5)")

        await self.fails(database.transaction(slow, timeout=0.05), DatabaseDown)
        self.assertEqual([("4s",)], await database.query("SHOW statement_timeout"))


class LifeFaults(PostgresCase):
    """Fault 8: no retry at the start, connections left open, goodbyes that raise."""

    async def test_a_server_that_is_down_at_the_start(self) -> None:
        """A server that comes later is found."""
        self.server.postgres.stop(immediate=True)
        database = self.database()
        database.startService()
        await until(lambda: database.health.last_error)
        self.assertFalse(database.up)
        await self.fails(database.query("SELECT 1"), DatabaseDown)
        self.server.postgres.start()
        await database.when_up()
        self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_a_name_that_nobody_answers_for(self) -> None:
        """A name server that is silent is given up, tried again, and told."""
        self.patch(postgres, "CONNECT", 0.05)
        asked: list[str] = []

        def silent(host: str) -> Deferred[list[str]]:
            asked.append(host)
            return Deferred()

        database = self.database("postgresql://u@db.example/d", silent)
        database.startService()
        await until(lambda: len(asked) == 2)
        reason = database.health.last_error or ""
        self.assertIn("looking up the host had no answer in 0.05 s", reason)

    async def test_another_reason_is_told(self) -> None:
        """While it is down each reason is told once: the second mistake hides behind no first."""
        reasons = ["no such name", "no such name", "no answer"]

        def failing(host: str) -> Deferred[list[str]]:
            return fail(OSError(reasons.pop(0) if reasons else "no answer"))

        told: list[str] = []
        observer: Any = lambda event: told.append(event["reason"])  # noqa: E731
        self.patch(Database, "_log", Logger(observer=observer))
        database = self.database("postgresql://u@db.example/d", failing)
        database.startService()
        await until(lambda: not reasons)
        await database.stopService()
        self.assertEqual(["no such name", "no answer"], [one.rpartition(": ")[2] for one in told])

    async def test_busy_connections_are_closed_too(self) -> None:
        """Stopping waits a little for what runs, and then closes it."""
        self.patch(postgres, "DRAIN", 0.05)
        database = await self.up()
        sleeping = start(database.query("SELECT pg_sleep(3)"))
        await until(lambda: len(self.backends()) == 2)
        await database.stopService()
        await self.fails(sleeping, DatabaseDown)

    async def test_stopping_lets_a_query_end(self) -> None:
        """A query that ends in time is answered while the database is being stopped."""
        database = await self.up()
        sleeping = start(database.query("SELECT 1 FROM pg_sleep(0.1)"))
        await until(lambda: len(self.backends()) == 2)
        await database.stopService()
        self.assertEqual([(1,)], await sleeping)

    async def test_copy_poisons_nothing(self) -> None:
        """COPY is refused, and the next query is answered."""
        self.sql("CREATE TABLE t (n int)")
        database = await self.up()
        for statement in ("COPY t TO STDOUT", "COPY t FROM STDIN"):
            await self.fails(database.query(statement), Exception)
            self.assertEqual([(1,)], await database.query("SELECT 1"))

    async def test_a_goodbye_is_no_error(self) -> None:
        """A server that goes down takes idle connections with it; nothing is raised, the state
        is told once down and once up."""
        database = await self.up()
        await gatherResults([start(database.query("SELECT pg_sleep(0.05)")) for _ in range(3)])
        self.server.postgres.stop()
        await until(lambda: not database.up)
        self.server.postgres.start()
        await database.when_up()
        self.assertEqual([], self.flushLoggedErrors())


class SocketFaults(PostgresCase):
    """Fault: libpq closes its socket while the reactor still has its number."""

    def in_order(self) -> None:
        """The reactor knows a reader and a writer for every number it has."""
        from_reactor: Any = reactor
        from_reactor.getReaders()
        from_reactor.getWriters()

    async def test_closed_in_a_statement(self) -> None:
        """A statement finds the socket dead: its number is free, and good for the next one."""
        for _ in range(3):
            link = await self.link()
            number = link._connection.fileno()
            with socket.socket(fileno=os.dup(number)) as own:
                own.shutdown(socket.SHUT_RDWR)
            with self.assertRaises(PgLinkLost):
                await link.query("SELECT 1")
            self.in_order()
            after = await self.link()
            self.assertEqual([(1,)], await after.query("SELECT 1"))
            after.close()

    async def test_refused_before_it_is_sent(self) -> None:
        """A statement that cannot be sent leaves the link good, and listening."""
        link = await self.link()
        heard: list[str] = []
        link.listen(heard.append)
        await link.query("LISTEN words")
        with self.assertRaises(IndexError):
            await link.query("SELECT %s", ())
        other = await self.link()
        await other.query("NOTIFY words, 'here'")
        await until(lambda: heard)
        self.assertEqual(["here"], heard)
        link.close()
        other.close()
        self.in_order()

    async def test_closed_while_it_would_write(self) -> None:
        """The other side ends a connection in the middle of its beginning."""
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        polls = iter([POLL_READ, POLL_WRITE])

        class Pollable:
            """Reads, would write, and finds the socket closed."""

            closed = 0
            notifies: ClassVar[list[object]] = []

            def poll(self) -> int:
                try:
                    return int(next(polls))
                except StopIteration:
                    near.close()
                    raise psycopg2.OperationalError("gone") from None

            def fileno(self) -> int:
                return near.fileno()

            def close(self) -> None:
                self.closed = 1

        lost: list[str] = []
        connection = pg_link._Connection(reactor, lost.append)
        connection.connectionFactory = lambda *_, **__: Pollable()
        connecting = connection.connect()
        far.send(b"x")
        with self.assertRaises(psycopg2.Error):
            await connecting
        connection.close()
        self.in_order()
