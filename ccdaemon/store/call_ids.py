"""Call numbers that may be given out: ranges that Postgres has granted, lowest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ccdaemon.store.failures import NoLease


class IdAllocator:
    """The numbers that are left.

    :param ranges: first and last of each range that is free, both included, lowest first.
    :param top: the highest number ever granted.
    :ivar top: the same, kept up.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = (), top: int = 0) -> None:
        self._ranges = deque(ranges)
        self._passed_over = 0
        self.top = top

    @property
    def left(self) -> int:
        """How many numbers are left."""
        return sum(hi - lo + 1 for lo, hi in self._ranges)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and last of each range that is left."""
        return list(self._ranges)

    def drop(self, lo: int, hi: int) -> None:
        """Give out nothing of a range any more, first and last included."""
        self._ranges = deque(one for one in self._ranges if not lo <= one[1] <= hi)

    def add(self, lo: int, hi: int) -> None:
        """Add a range, first and last included."""
        self._ranges.append((lo, hi))
        self.top = max(self.top, hi)

    def take(self) -> int:
        """Give out a number; it never comes back, but by :meth:`give_back`.

        :raise NoLease: if none is left.
        """
        if not self._ranges:
            raise NoLease("Postgres has granted no call numbers")
        lo, hi = self._ranges.popleft()
        if lo < hi:
            self._ranges.appendleft((lo + 1, hi))
        return lo

    def give_back(self, number: int) -> None:
        """Give out a number once more: nobody has been told of it, and nothing on disk has it."""
        if number > self._passed_over:
            self._ranges.appendleft((number, number))

    def pass_over(self, number: int) -> None:
        """Never give out ``number`` or anything below it."""
        self._passed_over = max(self._passed_over, number)
        kept = [(max(lo, number + 1), hi) for lo, hi in self._ranges if hi > number]
        self._ranges = deque(kept)
