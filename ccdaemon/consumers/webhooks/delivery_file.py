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

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from ccdaemon.consumers.webhooks.deliveries import SCHEMA, checkpoint
from ccdaemon.store.group_commit import RETRY, WINDOW
from ccdaemon.store.sqlite_file import PARTS, SqliteFile, connect, create

NAME = "webhooks.sqlite"
_APPLICATION = 0x63637768  # "ccwh"
_VERSION = 1

T = TypeVar("T")
P = ParamSpec("P")


class DeliveryFile:
    """The file, between :meth:`open` and the end of :meth:`close`."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        state_dir: Path,
        *,
        window: float = WINDOW,
        retry: float = RETRY,
    ) -> None:
        self._sqlite = SqliteFile(
            reactor,
            state_dir / NAME,
            "webhooks",
            probe=_probe,
            writability_changed=self._writability_changed,
            window=window,
            retry=retry,
        )

    @property
    def broken(self) -> str | None:
        """Why it cannot be written just now, None if it can."""
        return self._sqlite.broken

    def open(self) -> bool:
        """Make the file if there is none, and begin. Blocks while it does.

        A file that cannot be read is put aside.

        :return: whether one was put aside: what had waited in it is lost from here.
        :raise OSError: if the folder cannot be written.
        """
        path = self._sqlite.path
        damage = _prepare(path)
        if damage is not None:
            aside = path.with_suffix(".damaged")
            for part in PARTS:
                damaged = Path(f"{path}{part}")
                if damaged.exists():
                    damaged.replace(f"{aside}{part}")
            self._log.error(
                "{path} cannot be used: {damage}. It is kept as {aside}; webhooks are sent anew"
                " from as far back as the journal goes",
                path=str(path),
                damage=damage,
                aside=aside.name,
            )
            _prepare(path)
        self._sqlite.start()
        return damage is not None

    async def close(self) -> None:
        """Write what waits and end the threads."""
        await self._sqlite.stop_writing()
        await self._sqlite.stop_reading()

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
        return self._sqlite.write(lambda db: function(db, *args, **kwargs), keep=True)

    def erase(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a function that removes what may not be readable in the file any more."""
        return self._sqlite.write(lambda db: function(db, *args, **kwargs), keep=True, scrub=True)

    def read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Deferred[T]:
        """Run a function that only reads, on what is committed."""
        return self._sqlite.read(function, *args, **kwargs)

    def _writability_changed(self, reason: str | None) -> None:
        if reason is None:
            self._log.info("the file of webhooks can be written again")
        else:
            self._log.error("webhooks cannot be noted: {reason}", reason=reason)


def _prepare(path: Path) -> str | None:
    """Make the file if there is none; what is wrong with one that is there, in words."""
    try:
        if not path.exists():
            create(path, _APPLICATION, _VERSION, _fill)
        with closing(connect(path)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if (application, version) != (_APPLICATION, _VERSION):
                return f"it is of another program or version ({application}, {version})"
            checkpoint(db)
    except sqlite3.DatabaseError as error:
        return str(error)
    return None


def _fill(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN; {SCHEMA} COMMIT;")


def _probe(db: sqlite3.Connection) -> None:
    """Write something that changes nothing."""
    db.execute("UPDATE position SET event_id = event_id")
