"""What Postgres tells the journal: call numbers, keys in use, and what a new one begins with.

A journal begins once, and anew where Postgres knows more than the file does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from ccdaemon.operators import OperatorChange
from ccdaemon.store import journal_writes as writes
from ccdaemon.store.call_ids import IdAllocator
from ccdaemon.store.facts import Event, Unreadable
from ccdaemon.store.group_commit import Work
from ccdaemon.store.recent_events import RecentEvents
from ccdaemon.store.sqlite_file import SqliteFile


class JournalFounding:
    """The half of the journal that Postgres fills.

    :param file: where it is.
    :ivar node: the name under which its events are known everywhere else.
    :ivar high_watermark: the newest event that is committed.
    :ivar low_watermark: all events after this one are still held.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._sqlite = file
        self._leases = IdAllocator()
        self._begun: list[Deferred[None]] = []
        self._is_begun = self._begins_anew = False
        self._postponed: list[tuple[Work, Deferred[Any]]] = []
        self._recent = RecentEvents()
        self.node = ""
        self.high_watermark = 0
        self.low_watermark = 0

    def take_call_id(self) -> int:
        """Give out a call number; it is used up on disk once its call is opened.

        :raise NoLease: if none is left.
        """
        return self._leases.take()

    def give_back(self, call_id: int) -> None:
        """Take a call number back that nobody has been told of, as its call was not opened."""
        self._leases.give_back(call_id)

    @property
    def numbers_left(self) -> int:
        """How many call numbers may be given out."""
        return self._leases.left

    @property
    def top_number(self) -> int:
        """The highest call number that was ever granted."""
        return self._leases.top

    @property
    def leases(self) -> list[tuple[int, int]]:
        """First and last of each range of call numbers that may be given out."""
        return self._leases.ranges

    async def drop_lease(self, lo: int, hi: int) -> None:
        """Give out none of these call numbers any more."""
        self._leases.drop(lo, hi)
        await self._sqlite.write(lambda db: writes.drop_lease(db, hi))

    async def grant(self, lo: int, hi: int) -> None:
        """Add a lease of call numbers, first and last included."""
        await self._sqlite.write(lambda db: writes.grant(db, lo, hi))
        self._leases.add(lo, hi)

    async def load_keys(self, keys: Sequence[tuple[str, int]]) -> None:
        """Add external keys that calls in Postgres have, with their calls."""
        await self._sqlite.write(lambda db: writes.load_keys(db, keys))

    async def load_forgotten(self, calls: Sequence[writes.Forgotten]) -> None:
        """Add calls that were forgotten, which Postgres still knows of."""
        await self._sqlite.write(lambda db: writes.load_forgotten(db, calls))

    async def take_over(self, node: str) -> None:
        """Go on as a node whose journal is gone; nothing has been appended yet."""
        await self._sqlite.write(lambda db: writes.take_over(db, node))
        self.node = node

    async def restore_calls(self, calls: Sequence[Sequence[Event]], low_watermark: int) -> None:
        """Hold calls that Postgres has: of each all events in order, the first its CALL.

        Nobody is told of them.

        :param low_watermark: no less than any of their ids.
        """
        entries = [
            [
                (one.event_id, writes.Entry.of(one.fact))
                for one in each
                if not isinstance(one.fact, Unreadable)
            ]
            for each in calls
        ]
        await self._sqlite.write(lambda db: writes.restore_calls(db, entries, low_watermark))

    async def lose_offsets(self, since: int) -> None:
        """Forget all places: what is outside is to be read again from a moment (ms) on."""
        await self._sqlite.write(lambda db: writes.lose_offsets(db, since))

    async def begin(self, above: int, operators: Iterable[OperatorChange]) -> None:
        """Let a new journal begin, once all is there that Postgres tells.

        :param above: the first event gets a higher id than this.
        :param operators: what was last said of each operator.
        """
        await self._sqlite.write(lambda db: writes.begin(db, above, operators))
        self.low_watermark = max(self.low_watermark, above)
        self.high_watermark = max(self.high_watermark, above)
        # What is above the new watermark is not what was told last.
        self._recent = RecentEvents()
        self._is_begun, self._begins_anew = True, False
        while self._postponed:
            work, written = self._postponed.pop(0)
            self._sqlite.write(work, keep=True).chainDeferred(written)
        while self._begun:
            self._begun.pop(0).callback(None)

    async def begin_anew(self) -> None:
        """Open no call any more until :meth:`begin`: Postgres knows more than the file does.

        What happens to the calls that are open waits until then, in its order.
        No number that is left is given out: what the file has lost may have been given one.
        """
        self._is_begun, self._begins_anew = False, True
        await self._sqlite.write(writes.begin_anew)
        self._leases.pass_over(self._leases.top)

    def _postpone(self, work: Work) -> Deferred[Any]:
        """Have some work done once the journal has begun anew."""
        written: Deferred[Any] = Deferred()
        self._postponed.append((work, written))
        return written

    def _give_up_postponed(self, why: Exception) -> None:
        while self._postponed:
            self._postponed.pop(0)[1].errback(why)

    @property
    def begun(self) -> bool:
        """Whether facts are taken: false only in a new journal that Postgres has not seen."""
        return self._is_begun

    def when_begun(self) -> Deferred[None]:
        """Fires once facts are taken: at once, but for a new journal."""
        if self._is_begun:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._begun.remove)
        self._begun.append(deferred)
        return deferred
