"""The SQLite file of the deliveries in ``state_dir``: opened, written and read off the reactor.

A file of its own and not a part of the journal: its writes never stand before a makeCall's, and
if it is damaged calls go on. One thread writes, with one commit for all that waits; another reads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from ccdaemon.consumers.webhooks.deliveries import SCHEMA, checkpoint
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.group_commit import RETRY, WINDOW, GroupCommit
from ccdaemon.store.journal_file import connect

NAME = "webhooks.sqlite"
_APPLICATION = 0x63637768  # "ccwh"
_VERSION = 1
_PARTS = ("", "-wal", "-shm")

T = TypeVar("T")
P = ParamSpec("P")


class DeliveryFile:
    """The file, between :meth:`open` and the end of :meth:`close`.

    :ivar broken: why it cannot be written just now, None if it can.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        state_dir: Path,
        *,
        window: float = WINDOW,
        retry: float = RETRY,
    ) -> None:
        self._reactor = reactor
        self._path = state_dir / NAME
        self._writer = GroupCommit(
            reactor,
            self._path,
            connect,
            _probe,
            self._writability_changed,
            lambda: None,
            window=window,
            retry=retry,
        )
        self._reader = ThreadPool(1, 1, "webhooks-reader")
        self._reading = False
        # This one belongs to the reader's thread.
        self._db: sqlite3.Connection | None = None
        self.broken: str | None = None

    def open(self) -> bool:
        """Make the file if there is none, and begin. Blocks while it does.

        A file that cannot be read is put aside.

        :return: whether one was put aside: what had waited in it is lost from here.
        :raise OSError: if the folder cannot be written.
        """
        damage = _prepare(self._path)
        if damage is not None:
            aside = self._path.with_suffix(".damaged")
            for part in _PARTS:
                damaged = Path(f"{self._path}{part}")
                if damaged.exists():
                    damaged.replace(f"{aside}{part}")
            self._log.error(
                "{path} cannot be used: {damage}. It is kept as {aside}; webhooks are sent anew"
                " from as far back as the journal goes",
                path=str(self._path),
                damage=damage,
                aside=aside.name,
            )
            _prepare(self._path)
        self._writer.start()
        self._reader.start()
        self._reading = True
        return damage is not None

    async def close(self) -> None:
        """Write what waits and end the threads."""
        await self._writer.stop()
        self._reading = False
        await deferToThreadPool(self._reactor, self._reader, self._close)
        self._reader.stop()

    def write(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a function in the next transaction; while the disk does not take it, it waits.

        :return: fires with what it returned once that is committed; fails with what it raised,
            or with ``JournalBroken`` where the daemon stops before it could be written.
        """
        return self._writer.submit(lambda db: function(db, *args, **kwargs), keep=True)

    def read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a function that only reads, on what is committed."""
        if not self._reading:
            return fail(JournalBroken("the daemon is stopping"))

        def run() -> T:
            if self._db is None:
                self._db = connect(self._path)
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

    def _writability_changed(self, reason: str | None) -> None:
        self.broken = reason
        if reason is None:
            self._log.info("the file of webhooks can be written again")
        else:
            self._log.error("webhooks cannot be noted: {reason}", reason=reason)


def _prepare(path: Path) -> str | None:
    """Make the file if there is none; what is wrong with one that is there, in words."""
    try:
        if not path.exists():
            _create(path)
        with closing(connect(path)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if (application, version) != (_APPLICATION, _VERSION):
                return f"it is of another program or version ({application}, {version})"
            checkpoint(db)
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def _create(path: Path) -> None:
    """Write it aside and move it into place whole."""
    draft = path.with_suffix(".new")
    for part in _PARTS:
        Path(f"{draft}{part}").unlink(missing_ok=True)
        Path(f"{path}{part}").unlink(missing_ok=True)
    draft.touch(mode=0o640)
    with closing(connect(draft)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
    draft.rename(path)


def _probe(db: sqlite3.Connection) -> None:
    """Write something that changes nothing."""
    db.execute("UPDATE position SET event_id = event_id")
