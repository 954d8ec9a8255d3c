"""A SQLite file of ours, used off the reactor: one thread writes, with one commit for all that
waits, another reads beside it. The event log is one such file, the table of deliveries another.

Knows nothing of what stands in the file.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.group_commit import RETRY, WINDOW, GroupCommit, Work

#: What a file consists of.
PARTS = ("", "-wal", "-shm")

T = TypeVar("T")
P = ParamSpec("P")


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection for the calling thread; transactions are begun by hand.

    No other process can use the file meanwhile. Its index is kept in memory: SQLite would map it
    from a file, and a disk that takes nothing any more ends whoever writes to a map (SIGBUS).

    :raise sqlite3.Error: if the file is not there, not readable, or in use by another process.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw&vfs=unix-excl"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA synchronous = FULL")
    # What is removed is overwritten: whoever is to be forgotten later may be among it.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def create(
    path: Path, application: int, version: int, fill: Callable[[sqlite3.Connection], None]
) -> None:
    """Write a new file beside its place and move it there whole. Blocks.

    :param application: SQLite's ``application_id``, so that no other program's file is taken.
    :param version: of the format.
    :param fill: makes the tables.
    """
    draft = path.with_suffix(".new")
    for part in PARTS:
        Path(f"{draft}{part}").unlink(missing_ok=True)
    draft.touch(mode=0o640)
    with closing(connect(draft)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        fill(db)
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {version}")
    for part in PARTS[1:]:
        Path(f"{path}{part}").unlink(missing_ok=True)
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def quarantine_file(path: Path, name: str) -> Path:
    """Move a damaged file out of the way, all or nothing.

    :param name: what is added to its name; where there is one of that name, a number, too.
    :return: where it is.
    :raise OSError: if it cannot be moved.
    """
    names = (f"{path}.{name}{number}" for number in chain([""], map("-{}".format, count(2))))
    moved = next(each for each in names if not any(Path(each + part).exists() for part in PARTS))
    # The file itself first: without it what is left of its log means nothing to anybody.
    for part in PARTS:
        old = Path(f"{path}{part}")
        if old.exists():
            old.rename(f"{moved}{part}")
    return Path(moved)


class SqliteFile:
    """The threads of one file, between :meth:`start` and the end of :meth:`stop_reading`.

    :param reactor: where the Deferreds fire.
    :param name: of the threads.
    :param probe: a write that changes nothing, to find out when the disk works again.
    :param writability_changed: called with a reason when writing begins to fail, and with None
        when it succeeds again.
    :param settled: called when the Deferreds of a commit have fired.
    :param clock: for what may wait; without one nothing does.
    :param window: seconds that work waits for others.
    :param retry: seconds between two tries while the disk takes nothing.
    :ivar broken: why it cannot be written just now; None if it can.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        path: Path,
        name: str,
        *,
        probe: Work,
        writability_changed: Callable[[str | None], None],
        settled: Callable[[], None] = lambda: None,
        clock: IReactorTime | None = None,
        window: float = WINDOW,
        retry: float = RETRY,
    ) -> None:
        self._reactor = reactor
        self.path = path
        self._writability_changed = writability_changed
        self._writer = GroupCommit(
            reactor,
            path,
            connect,
            probe,
            self._changed,
            settled,
            clock=clock,
            window=window,
            retry=retry,
        )
        self._reader = ThreadPool(1, 1, f"{name}-reader")
        self._is_reading = False
        # This one belongs to the reader's thread.
        self._db: sqlite3.Connection | None = None
        self.broken: str | None = None

    def start(self) -> None:
        """Start the threads. The file must be there."""
        self._writer.start()
        self._reader.start()
        self._is_reading = True

    def stop_writing(self) -> Deferred[None]:
        """Write what waits; what cannot be written fails.

        :return: fires when the writer has let go of the file.
        """
        return self._writer.stop()

    async def stop_reading(self) -> None:
        """Let go of the file for reading, too."""
        self._is_reading = False
        await deferToThreadPool(self._reactor, self._reader, self._close)
        self._reader.stop()

    def write(
        self, work: Work, *, keep: bool = False, scrub: bool = False, may_wait: bool = False
    ) -> Deferred[Any]:
        """Have some work done in the next transaction; as :meth:`GroupCommit.submit` has it."""
        return self._writer.submit(work, keep=keep, scrub=scrub, may_wait=may_wait)

    def read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a function that only reads, on what is committed."""
        if not self._is_reading:
            return fail(JournalBroken("the file is not open"))

        def run() -> T:
            if self._db is None:
                self._db = connect(self.path)
            try:
                return function(self._db, *args, **kwargs)
            finally:
                if self.broken is not None:
                    # It may be open for reading alone, and as long as it is so is the writer's.
                    self._close()

        return deferToThreadPool(self._reactor, self._reader, run)

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _changed(self, reason: str | None) -> None:
        self.broken = reason
        self._writability_changed(reason)
