"""The writer thread: one commit for all that waits, and what it does when the disk fails."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import Clock

from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.group_commit import LINGER, GroupCommit
from tests.store.parts import JournalCase, turn


class FailingDisk(sqlite3.Connection):
    """A connection whose chosen statements fail as long as it is told so."""

    failing: str | None = None
    words = "disk I/O error"
    commits = 0

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        """Fail the statement if it is the chosen one."""
        if sql == type(self).failing:
            raise sqlite3.OperationalError(type(self).words)
        if sql == "COMMIT":
            type(self).commits += 1
        return super().execute(sql, *args)


def write(value: int) -> Any:
    """Work that writes a number and returns it."""

    def work(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO number VALUES (?)", (value,))
        return value

    return work


class GroupCommitTests(JournalCase):
    """Work in, committed results out."""

    async def test_scrubbed(self) -> None:
        """SQLite's log is emptied with a commit that asks for it; a reader delays nobody."""
        log = self.path.with_name(f"{self.path.name}-wal")
        writer = self.writer()
        await writer.submit(write(1))
        self.assertGreater(log.stat().st_size, 0)
        await writer.submit(write(2), scrub=True)
        self.assertEqual(log.stat().st_size, 0)
        reader = sqlite3.connect(self.path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM number").fetchall()
        began = time.monotonic()
        await writer.submit(write(3), scrub=True)
        self.assertLess(time.monotonic() - began, 2.0)
        self.assertGreater(log.stat().st_size, 0)
        reader.close()
        await writer.submit(write(4))
        self.assertEqual(log.stat().st_size, 0)
        await writer.stop()

    def setUp(self) -> None:
        """Make a file with a table of numbers."""
        super().setUp()
        self.path = Path(self.mktemp())
        db = sqlite3.connect(self.path)
        db.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE number (n INTEGER PRIMARY KEY);"
            "CREATE TABLE probe (n); INSERT INTO probe VALUES (0)"
        )
        db.close()
        self.told: list[str | None] = []
        self.disk: type[FailingDisk] = type("Disk", (FailingDisk,), {})

    def connect(self, path: Path) -> sqlite3.Connection:
        """Connect to that file."""
        return sqlite3.connect(path, isolation_level=None, factory=self.disk)

    def writer(
        self,
        window: float = 0.0,
        retry: float = 0.01,
        connect: Callable[[Path], sqlite3.Connection] | None = None,
        clock: IReactorTime | None = None,
    ) -> GroupCommit:
        """Start a writer on that file."""
        made = GroupCommit(
            IReactorFromThreads(reactor),
            self.path,
            connect or self.connect,
            lambda db: db.execute("UPDATE probe SET n = n + 1"),
            self.hear,
            lambda: None,
            clock=clock,
            window=window,
            retry=retry,
        )
        made.start()
        self.addCleanup(made.stop)
        return made

    def hear(self, reason: str | None) -> None:
        """Note what the writer says of the disk."""
        self.told.append(reason)
        if self.waiting is not None and reason is None:
            self.waiting.callback(None)

    waiting: Deferred[None] | None = None

    def numbers(self) -> list[int]:
        """What is in the file, in the order written."""
        db = sqlite3.connect(self.path)
        rows = db.execute("SELECT n FROM number ORDER BY rowid").fetchall()
        db.close()
        return [n for (n,) in rows]

    async def test_what_may_wait_rides_along(self) -> None:
        """It is committed in its order with the next that somebody waits for; told is committed."""
        clock = Clock()
        writer = self.writer(clock=clock)
        riding = writer.submit(write(1), may_wait=True)
        await turn()
        self.assertNoResult(riding)
        self.assertEqual(2, await writer.submit(write(2)))
        self.assertEqual(1, await riding)
        self.assertEqual([1, 2], self.numbers())
        self.assertEqual((1, []), (self.disk.commits, clock.getDelayedCalls()))

    async def test_what_may_wait_does_not_for_long(self) -> None:
        """Where nothing else is to be written it goes by itself, and at the end."""
        clock = Clock()
        writer = self.writer(clock=clock)
        riding = writer.submit(write(1), may_wait=True)
        clock.advance(LINGER)
        self.assertEqual(1, await riding)
        last = writer.submit(write(2), may_wait=True)
        await writer.stop()
        self.assertEqual(2, await last)
        self.assertEqual([], clock.getDelayedCalls())

    async def test_many_wait_for_one_commit(self) -> None:
        """What is submitted within the window is committed together."""
        writer = self.writer(window=0.2)
        await writer.submit(write(0))
        before = self.disk.commits
        await gatherResults([writer.submit(write(n)) for n in range(1, 50)])
        self.assertEqual(before + 1, self.disk.commits)

    async def test_failed_work_is_undone_alone(self) -> None:
        """Work that raises leaves no trace; its neighbours are committed."""

        def fail(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO number VALUES (7)")
            raise ValueError("no")

        writer = self.writer()
        before, failed, after = (
            writer.submit(write(1)),
            writer.submit(fail),
            writer.submit(write(2)),
        )
        await self.fails(failed, ValueError)
        await gatherResults([before, after])
        self.assertEqual([1, 2], self.numbers())

    async def test_a_breach_of_the_schema_is_the_works_own(self) -> None:
        """A constraint that fails is no failure of the disk, also for work that may wait."""
        writer = self.writer()
        await writer.submit(write(1))
        await self.fails(writer.submit(write(1), keep=True), sqlite3.IntegrityError)
        self.assertEqual([], self.told)

    async def test_the_disk_fails_and_heals(self) -> None:
        """Kept work waits in its order, the rest fails at once; nothing is written twice."""
        for statement in ("BEGIN IMMEDIATE", "COMMIT", "SAVEPOINT job"):
            with self.subTest(statement):
                await self.fail_and_heal(statement)

    async def fail_and_heal(self, statement: str) -> None:
        """Let a statement fail for a while."""
        self.told.clear()
        start = len(self.numbers())
        self.waiting = Deferred()
        writer = self.writer()
        self.disk.failing = statement
        kept = [writer.submit(write(start + n), keep=True) for n in range(3)]
        error = await self.fails(writer.submit(write(99)), JournalBroken)
        self.assertIn("disk I/O error", error.reason)
        kept += [writer.submit(write(start + n), keep=True) for n in range(3, 6)]
        await self.fails(writer.submit(write(99)), JournalBroken)
        self.disk.failing = None
        self.assertEqual([start + n for n in range(6)], await gatherResults(kept))
        await self.waiting
        self.assertEqual([f"{self.path}: disk I/O error", None], self.told)
        self.assertEqual(list(range(start + 6)), self.numbers())
        await writer.stop()

    async def test_it_heals_without_work(self) -> None:
        """A disk that works again is noticed although nobody writes."""
        self.waiting = Deferred()
        writer = self.writer()
        self.disk.failing = "COMMIT"
        await self.fails(writer.submit(write(1)), JournalBroken)
        self.disk.failing = None
        await self.waiting
        self.assertEqual(1, await writer.submit(write(1)))

    async def test_it_stays_broken_with_the_disk(self) -> None:
        """A failure that lasts is told once, and a new reason is told again."""
        self.waiting = Deferred()
        writer = self.writer(retry=0.001)
        self.disk.failing = "BEGIN IMMEDIATE"
        kept = writer.submit(write(1), keep=True)
        await self.fails(writer.submit(write(2)), JournalBroken)
        self.disk.words = "database or disk is full"
        while len(self.told) < 2:
            await self.fails(writer.submit(write(2)), JournalBroken)
        self.disk.failing = None
        await kept
        await self.waiting
        reasons = ["disk I/O error", "database or disk is full"]
        self.assertEqual([*(f"{self.path}: {reason}" for reason in reasons), None], self.told)

    async def test_a_file_that_is_gone(self) -> None:
        """Writing into a file that was removed is never called a success."""
        writer = self.writer()
        await writer.submit(write(1))
        self.path.unlink()
        error = await self.fails(writer.submit(write(2)), JournalBroken)
        self.assertIn("No such file", error.reason)

    async def test_a_file_that_was_away(self) -> None:
        """What waits while the file is away is written once when it is back."""
        writer = self.writer()
        await writer.submit(write(1))
        away = self.path.rename(self.path.with_suffix(".away"))
        kept = writer.submit(write(2), keep=True)
        await self.fails(writer.submit(write(3)), JournalBroken)
        away.rename(self.path)
        self.assertEqual(2, await kept)
        self.assertEqual([1, 2], self.numbers())

    async def test_a_file_that_was_replaced(self) -> None:
        """Nor is writing into a file that another one has replaced."""
        writer = self.writer()
        await writer.submit(write(1))
        other = self.path.with_suffix(".other")
        other.touch()
        other.rename(self.path)
        error = await self.fails(writer.submit(write(2)), JournalBroken)
        self.assertIn("another file", error.reason)

    async def test_a_file_that_was_opened_for_reading(self) -> None:
        """SQLite opens what it may not write for reading; it can be written once it may be.

        For root there is no such file outside a file system of its own: so it is asked for here.
        """
        mode = ["ro"]

        def connect(path: Path) -> sqlite3.Connection:
            uri = f"{path.absolute().as_uri()}?mode={mode[0]}"
            return sqlite3.connect(uri, uri=True, isolation_level=None)

        writer = self.writer(connect=connect)
        kept = writer.submit(write(1), keep=True)
        error = await self.fails(writer.submit(write(2)), JournalBroken)
        self.assertIn("readonly", error.reason)
        self.assertNoResult(kept)
        mode[0] = "rw"
        self.assertEqual(1, await kept)
        await writer.stop()
        self.assertEqual([1], self.numbers())

    async def test_a_file_that_cannot_be_opened(self) -> None:
        """A file that has gone between the check and the thread refuses everything."""
        self.path = self.path / "nowhere"
        writer = self.writer()
        error = await self.fails(writer.submit(write(1), keep=True), JournalBroken)
        self.assertIn("unable to open", error.reason)
        self.assertEqual(1, len(self.told))
        await writer.stop()

    async def test_stopping_with_a_broken_disk(self) -> None:
        """What still waits for the disk at the end fails, after one more try."""
        writer = self.writer(retry=30.0)
        self.disk.failing = "COMMIT"
        await self.fails(writer.submit(write(1)), JournalBroken)
        kept = writer.submit(write(2), keep=True)
        await writer.stop()
        await self.fails(kept, JournalBroken)
        self.assertEqual([], self.numbers())

    async def test_stopping_is_the_last_chance(self) -> None:
        """What waits is written at the end if the disk works by then."""
        writer = self.writer(retry=30.0)
        self.disk.failing = "COMMIT"
        await self.fails(writer.submit(write(1)), JournalBroken)
        kept = writer.submit(write(2), keep=True)
        self.disk.failing = None
        await writer.stop()
        self.assertEqual(2, await kept)

    async def test_the_disk_fails_in_the_middle_of_work(self) -> None:
        """A statement of the work that the disk does not take is no fault of the work."""

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO number VALUES (1)")
            if not failed:
                failed.append(True)
                raise sqlite3.OperationalError("database or disk is full")

        failed: list[bool] = []
        writer = self.writer()
        await writer.submit(work, keep=True)
        self.assertEqual(([True], [1]), (failed, self.numbers()))
        self.assertIn("full", self.told[0] or "")

    async def test_the_thread_ends(self) -> None:
        """Stopping leaves no thread behind."""
        writer = self.writer()
        await writer.submit(write(1))
        await writer.stop()
        for thread in threading.enumerate():
            if thread.name == "journal-writer":
                thread.join(5)
                self.assertFalse(thread.is_alive())
