"""One thread that writes to one SQLite file, with one commit for all that waits.

Work waits for ``WINDOW`` so that others can come along: a commit that the disk has confirmed
costs ten times the CPU of a row. Work that nobody waits for rides along with the next that
somebody does, or goes after ``LINGER``. When the disk does not take it, work that was
submitted with ``keep`` waits and is tried again, in its order, and the rest fails. Knows
nothing of what is written.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.python.failure import Failure

from ccdaemon.store.failures import JournalBroken

#: Seconds from the first piece of work to the commit that carries it.
WINDOW = 0.010
#: Seconds for which work that may wait does.
LINGER = 0.050
#: Ms that a reader is waited for before SQLite's log is emptied.
SCRUB_PATIENCE = 50
#: Seconds between two tries while the disk does not take anything.
RETRY = 1.0

Work = Callable[[sqlite3.Connection], Any]


class _Job:
    __slots__ = ("deferred", "keep", "result", "scrub", "work")

    def __init__(self, work: Work, keep: bool, scrub: bool) -> None:
        self.work = work
        self.keep = keep
        self.scrub = scrub
        self.deferred: Deferred[Any] = Deferred()
        self.result: object = None


class GroupCommit:
    """The writer thread of a SQLite file.

    :param reactor: where the Deferreds fire.
    :param connect: opens the connection; called in the thread.
    :param probe: a write that changes nothing, to find out when the disk works again.
    :param writability_changed: called in the reactor thread with a reason when writing begins to
        fail, and with None when it succeeds again.
    :param settled: called in the reactor thread when the Deferreds of a commit have fired.
    :param clock: for what may wait; without one nothing does.
    :param window: seconds that work waits for others.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        path: Path,
        connect: Callable[[Path], sqlite3.Connection],
        probe: Work,
        writability_changed: Callable[[str | None], None],
        settled: Callable[[], None],
        *,
        clock: IReactorTime | None = None,
        window: float = WINDOW,
        retry: float = RETRY,
    ) -> None:
        self._reactor = reactor
        self._path = path
        self._connect = connect
        self._probe = probe
        self._writability_changed = writability_changed
        self._settled = settled
        self._window = window
        self._retry = retry
        self._clock = clock
        self._may_wait: list[_Job] = []
        self._linger: IDelayedCall | None = None
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._finished: Deferred[None] = Deferred()
        # What follows belongs to the thread.
        self._held: list[_Job] = []
        self._reason: str | None = None
        self._is_to_scrub = False
        self._db: sqlite3.Connection | None = None

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="journal-writer", daemon=True).start()

    def submit(
        self, work: Work, *, keep: bool = False, scrub: bool = False, may_wait: bool = False
    ) -> Deferred[Any]:
        """Have some work done in the next transaction; work is done in the order submitted.

        :param work: what to do; if it raises, what it did is undone and the rest goes on.
        :param keep: on an unwritable disk, wait for it rather than fail.
        :param scrub: leave nothing in SQLite's log of what was there before.
        :param may_wait: nobody waits for it: it need not go before something else does.
        :return: fires with the result once that is committed; fails with what the work
            raised, or with :class:`JournalBroken`.
        """
        job = _Job(work, keep, scrub)
        if may_wait and self._clock is not None:
            self._may_wait.append(job)
            if self._linger is None:
                self._linger = self._clock.callLater(LINGER, self._go)
        else:
            self._go()
            self._queue.put(job)
        return job.deferred

    def _go(self) -> None:
        """Let go what has waited."""
        linger, self._linger = self._linger, None
        if linger is not None and linger.active():
            linger.cancel()
        for job in self._may_wait:
            self._queue.put(job)
        self._may_wait.clear()

    def stop(self) -> Deferred[None]:
        """Write what waits and end the thread; what cannot be written fails.

        :return: fires when the thread has let go of the file.
        """
        self._go()
        self._queue.put(None)
        return self._finished

    # In the thread from here on.

    def _run(self) -> None:
        try:
            self._db = self._connect(self._path)
            inode = os.stat(self._path).st_ino
        except (sqlite3.Error, OSError) as error:
            # It could be read a moment ago; nothing heals a file that has gone since.
            self._refuse_all(f"{self._path}: {error}")
        else:
            self._write_all(inode)
            self._close()
        self._reactor.callFromThread(self._finished.callback, None)

    def _refuse_all(self, reason: str) -> None:
        self._say(reason)
        while (job := self._queue.get()) is not None:
            self._settle([_failed(job, reason)])

    def _write_all(self, inode: int) -> None:
        going = True
        while going:
            if self._reason is None:
                going, jobs = self._gather()
            else:
                going, jobs = self._sit_out(self._reason)
            self._write(inode, [*self._held, *jobs])
        reason = self._reason or "the daemon is stopping"
        self._settle([_failed(job, reason) for job in self._held])

    def _gather(self) -> tuple[bool, list[_Job]]:
        """Wait for work, give others the time of a window, and take all; false if it ends."""
        job = self._queue.get()
        if job is not None:
            time.sleep(self._window)
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            try:
                job = self._queue.get_nowait()
            except Empty:
                return True, jobs
        return False, jobs

    def _sit_out(self, reason: str) -> tuple[bool, list[_Job]]:
        """Wait until the disk may be tried again; take what can wait, refuse the rest."""
        jobs: list[_Job] = []
        until = time.monotonic() + self._retry
        while True:
            try:
                job = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                return True, jobs
            if job is None:
                return False, jobs
            if job.keep:
                jobs.append(job)
            else:
                self._settle([_failed(job, reason)])

    def _write(self, inode: int, jobs: list[_Job]) -> None:
        try:
            db = self._opened(inode)
            db.execute("BEGIN IMMEDIATE")
            if not jobs:
                self._probe(db)
            done = [_do(db, job) for job in jobs]
            # SQLite goes on writing into a file that has been removed, and says nothing. Asked
            # before the commit: what was committed must not be done again when the file is back.
            if os.stat(self._path).st_ino != inode:
                raise FileNotFoundError("another file has taken its place")
            db.execute("COMMIT")
        except Exception as error:
            self._undo(error)
            reason = f"{self._path}: {error}"
            self._held = [job for job in jobs if job.keep]
            self._say(reason)
            self._settle([_failed(job, reason) for job in jobs if not job.keep])
        else:
            self._held = []
            self._say(None)
            self._is_to_scrub = self._is_to_scrub or any(job.scrub for job in done)
            if self._is_to_scrub:
                self._is_to_scrub = not _scrubbed(db)
            self._settle(done)

    def _opened(self, inode: int) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._connect(self._path)
            if os.stat(self._path).st_ino != inode:
                self._close()
                raise FileNotFoundError("another file has taken its place")
        assert self._db is not None
        return self._db

    def _undo(self, error: Exception) -> None:
        if self._db is not None and self._db.in_transaction:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
        if _speaks_of_reading(error):
            # SQLite opens what it may not write for reading, and that for good.
            self._close()

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    def _say(self, reason: str | None) -> None:
        if reason != self._reason:
            self._reason = reason
            self._reactor.callFromThread(self._writability_changed, reason)

    def _settle(self, jobs: list[_Job]) -> None:
        if jobs:
            self._reactor.callFromThread(self._fire, jobs)

    def _fire(self, jobs: list[_Job]) -> None:
        for job in jobs:
            job.deferred.callback(job.result)
        self._settled()


def _scrubbed(db: sqlite3.Connection) -> bool:
    """Empty SQLite's log; false where a reader is in the way, then it is tried after the next."""
    (patience,) = db.execute("PRAGMA busy_timeout").fetchone()
    # Whoever waits for a commit does not wait for a reader.
    db.execute(f"PRAGMA busy_timeout = {SCRUB_PATIENCE}")
    try:
        (is_busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return False
    finally:
        db.execute(f"PRAGMA busy_timeout = {patience}")
    return not is_busy


def _do(db: sqlite3.Connection, job: _Job) -> _Job:
    db.execute("SAVEPOINT job")
    try:
        job.result = job.work(db)
    except Exception as error:
        if _speaks_of_the_disk(error):
            raise
        db.execute("ROLLBACK TO job")
        job.result = Failure()
    db.execute("RELEASE job")
    return job


def _speaks_of_the_disk(error: Exception) -> bool:
    # Exactly DatabaseError is SQLite's word for damage; most of what derives from it speaks
    # of the work.
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _speaks_of_reading(error: Exception) -> bool:
    # What comes besides the primary code stands in its higher bytes.
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_READONLY


def _failed(job: _Job, reason: str) -> _Job:
    job.result = Failure(JournalBroken(reason))
    return job
