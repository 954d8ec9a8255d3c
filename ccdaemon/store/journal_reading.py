"""The reading half of the journal.

SQLite's write-ahead log lets it read beside the writer; what is committed is seen at once.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ccdaemon.calls.model import CallView
from ccdaemon.operators import OperatorChange
from ccdaemon.store import journal_reads as reads
from ccdaemon.store.facts import Event
from ccdaemon.store.journal_writes import SINCE
from ccdaemon.store.records import Chain
from ccdaemon.store.sqlite_file import SqliteFile


class JournalReading:
    """Answers from the journal's file, as of its last commit."""

    def __init__(self, file: SqliteFile) -> None:
        self._sqlite = file

    def chain(self, call_id: int) -> Deferred[Chain | None]:
        """A call's whole chain; None if the journal does not hold the whole of it."""
        return self._sqlite.read(reads.chain, call_id)

    def open_calls(self) -> Deferred[list[Chain]]:
        """The chains that have no final state yet."""
        return self._sqlite.read(reads.open_calls)

    def find_key(self, external_key: str) -> Deferred[int | None]:
        """The call that has the key, of all calls there ever were."""
        return self._sqlite.read(reads.find_key, external_key)

    def last_operator(self, phone: str, checkpoint: int) -> Deferred[str | None]:
        """The operator who last talked with a phone, by the newest events after a position."""
        return self._sqlite.read(reads.last_operator, phone, checkpoint)

    def dialled_since(self, date: int) -> Deferred[list[CallView]]:
        """The outbound calls that began after a moment (ms) and are still held."""
        return self._sqlite.read(reads.dialled_since, date)

    def last_operator_changes(self) -> Deferred[dict[str, OperatorChange]]:
        """What was last said of each operator, by sip."""
        return self._sqlite.read(reads.last_operator_changes)

    def held(self, checkpoint: int, limit: int) -> Deferred[list[Event]]:
        """What is there after a position, whatever has been forgotten in between."""
        return self._sqlite.read(reads.held, checkpoint, limit)

    def checkpoint(self, reader: str) -> Deferred[int | None]:
        """Up to where a reader has got; None if it has never said."""
        return self._sqlite.read(reads.checkpoint, reader)

    def offset(self, name: str) -> Deferred[bytes | None]:
        """How far something outside was read, as :meth:`Journal.set_place` was told."""
        return self._sqlite.read(reads.offset, name)

    async def lost_since(self) -> int | None:
        """From which moment (ms) on all is to be read again, where no place is known any more."""
        since = await self._sqlite.read(reads.offset, SINCE)
        return None if since is None else int(since)

    def dead_letters(self, reader: str) -> Deferred[int]:
        """How many events a reader has passed over, of those that are held."""
        return self._sqlite.read(reads.dead_letters, reader)

    def quarantined(self, reader: str, limit: int) -> Deferred[list[Event]]:
        """Events that a consumer has passed over and wants to try again, oldest first."""
        return self._sqlite.read(reads.quarantined, reader, limit)
