"""The reading half of the journal: one thread with a connection of its own.

SQLite's write-ahead log lets it read beside the writer; what is committed is seen at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ccdaemon.calls.model import CallView
from ccdaemon.operators import OperatorChange
from ccdaemon.store import journal_reads as reads
from ccdaemon.store.facts import Event
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal_file import connect
from ccdaemon.store.journal_writes import SINCE
from ccdaemon.store.records import Chain

T = TypeVar("T")


class JournalReading:
    """Answers from the journal's file, as of its last commit."""

    def __init__(self, reactor: IReactorFromThreads, path: Path) -> None:
        self._reading_reactor = reactor
        self._path = path
        self._reading_thread = ThreadPool(1, 1, "journal-reader")
        self._reading_open = False
        # This one belongs to the thread.
        self._reading_db: sqlite3.Connection | None = None

    def chain(self, call_id: int) -> Deferred[Chain | None]:
        """A call's whole chain; None if the journal does not hold the whole of it."""
        return self._read(reads.chain, call_id)

    def open_calls(self) -> Deferred[list[Chain]]:
        """The chains that have no final state yet."""
        return self._read(reads.open_calls)

    def find_key(self, external_key: str) -> Deferred[int | None]:
        """The call that has the key, of all calls there ever were."""
        return self._read(reads.find_key, external_key)

    def last_operator(self, phone: str, checkpoint: int) -> Deferred[str | None]:
        """The operator who last talked with a phone, by the newest events after a position."""
        return self._read(reads.last_operator, phone, checkpoint)

    def dialled_since(self, date: int) -> Deferred[list[CallView]]:
        """The outbound calls that began after a moment (ms) and are still held."""
        return self._read(reads.dialled_since, date)

    def last_operator_changes(self) -> Deferred[dict[str, OperatorChange]]:
        """What was last said of each operator, by sip."""
        return self._read(reads.last_operator_changes)

    def after(self, checkpoint: int, limit: int) -> Deferred[list[Event]]:
        """At most ``limit`` events after a position, oldest first.

        :return: fails with :class:`BelowLowWatermark` if some of them may be gone.
        """
        return self._read(reads.after, checkpoint, limit)

    def held(self, checkpoint: int, limit: int) -> Deferred[list[Event]]:
        """The same of what is there, whatever has been forgotten in between."""
        return self._read(reads.held, checkpoint, limit)

    def checkpoint(self, reader: str) -> Deferred[int | None]:
        """Up to where a reader has got; None if it has never said."""
        return self._read(reads.checkpoint, reader)

    def offset(self, name: str) -> Deferred[bytes | None]:
        """How far something outside was read, as :meth:`Journal.set_place` was told."""
        return self._read(reads.offset, name)

    async def lost_since(self) -> int | None:
        """From which moment (ms) on all is to be read again, where no place is known any more."""
        since = await self._read(reads.offset, SINCE)
        return None if since is None else int(since)

    def dead_letters(self, reader: str) -> Deferred[int]:
        """How many events a reader has passed over, of those that are held."""
        return self._read(reads.dead_letters, reader)

    def quarantined(self, limit: int) -> Deferred[list[tuple[Event, str]]]:
        """Events that Postgres refused, each with the reason, oldest first."""
        return self._read(reads.quarantined, limit)

    def _start_reading(self) -> None:
        self._reading_thread.start()
        self._reading_open = True

    async def _stop_reading(self) -> None:
        self._reading_open = False
        await deferToThreadPool(self._reading_reactor, self._reading_thread, self._reading_close)
        self._reading_thread.stop()

    def _read(self, function: Callable[..., T], *args: object) -> Deferred[T]:
        if not self._reading_open:
            return fail(JournalBroken("the journal is not open"))
        return deferToThreadPool(
            self._reading_reactor, self._reading_thread, self._reading_run, function, *args
        )

    def _reading_run(self, function: Callable[..., T], *args: object) -> T:
        if self._reading_db is None:
            self._reading_db = connect(self._path)
        return function(self._reading_db, *args)

    def _reading_close(self) -> None:
        if self._reading_db is not None:
            self._reading_db.close()
            self._reading_db = None
