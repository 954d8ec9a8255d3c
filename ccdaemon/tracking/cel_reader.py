"""The channel log: what Asterisk wrote down by itself, read again from a place that is kept.

Reads the CEL file from a place at which nothing was in doubt, and moves that place on while a
session stands. What the rows mean to calls is decided elsewhere; reading one twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.calls.signals import Signal
from ccdaemon.clocks import WallClock
from ccdaemon.pbx import cel_file, cel_signals
from ccdaemon.pbx.cel_file import LogOffset
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal import Journal

T = TypeVar("T")
Hear = Callable[[Signal], object]

#: The place's name in the journal.
NAME = "cel"
#: Seconds after which what Asterisk wrote has surely been heard, or the session is known as dead.
HEARD_WITHIN = 60.0
#: Places that are remembered; one is added a minute.
MOST_OFFSETS = 2000
#: Seconds that reading one chunk may take: a network file system may be dead.
READ_TIMEOUT = 10.0
#: Seconds between two lines that say how far the reading is.
PROGRESS = 5.0
#: Facts that may wait for the disk before reading goes on no more.
MOST_WAITING = 2000


class CannotResync(Exception):
    """Reading cannot go on just now; the session is to be begun again later."""


@dataclass(frozen=True, slots=True)
class _Found:
    chunk: cel_file.Chunk
    signals: list[Signal]
    bad: int
    there: bool


@dataclass(frozen=True, slots=True)
class _Passed:
    """A place, and when reading was there, in seconds of a clock that nobody sets."""

    place: LogOffset
    moment: float


class CelReader:
    """Reads the CEL file after a gap.

    :param path: the file, as the daemon sees it.
    :param journal: keeps the place.
    :param run: runs a function in a thread.
    :param clock: IReactorTime.
    :param wall: WallClock that says what time it is.
    :ivar refused: lines that were no rows of ours, as often as they were read.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        journal: Journal,
        run: Callable[..., Deferred[Any]],
        clock: IReactorTime,
        wall: WallClock,
    ) -> None:
        self._path = path
        self._journal = journal
        self._run = run
        self._clock = clock
        self._wall = wall
        # The first of them is kept: nothing before it is in doubt.
        self._offsets: list[_Passed] = []
        # The moment of a place before each live call.
        self._held: dict[int, float] = {}
        # Up to the one everything was given when the session began, to the other it is read now.
        self._given: _Passed | None = None
        self._at: LogOffset | None = None
        self._begun = False
        self._hanging = False
        self._trouble: str | None = None
        self.refused = 0

    async def begin(self) -> None:
        """Take up the place that is kept.

        Where none is, all is read from the moment on from which the journal may lack something;
        one that never had anything lacks nothing that came before now.
        """
        kept = await self._journal.offset(NAME)
        self._begun = True
        if kept is not None:
            self._offsets = [_Passed(msgspec.json.decode(kept, type=LogOffset), -inf)]
        else:
            await self._begin_anew()

    async def _begin_anew(self) -> None:
        since = await self._journal.lost_since()
        if since is None:
            place = await self._in_thread(cel_file.end, self._path, self._now())
        else:
            place = await self._in_thread(cel_file.since, self._path, since, cel_signals.date_of)
        if place is not None:
            self._offsets = [_Passed(place, self._clock.seconds())]
            await self._keep(place)

    async def read(self, hear: Hear) -> bool:
        """Give all signals since the last session ended; nothing has been heard of them.

        :return: whether the file could be read.
        :raises CannotResync: if what they tell cannot be kept.
        """
        if self._begun and not self._offsets:
            await self._begin_anew()
        places = [*self._offsets[:1], *([self._given] if self._given else [])]
        last = max(places, key=lambda passed: passed.moment, default=None)
        self._at = last.place if last else None
        readable = await self.read_on(hear)
        if self._at is not None:
            self._given = _Passed(self._at, self._clock.seconds())
        return readable

    def again(self) -> None:
        """Begin the next ``read_on`` where nothing was in doubt, whatever was read since."""
        self._at = self._offsets[0].place if self._offsets else None

    async def read_on(self, hear: Hear) -> bool:
        """Give what was written since the last reading; else as ``read``."""
        count, bad, told_at = 0, 0, self._clock.seconds()
        while self._at is not None:
            found = await self._in_thread(_read, self._path, self._at, self._now())
            if found is None:
                return False
            count, bad = count + len(found.chunk.lines), bad + found.bad
            self.refused += found.bad
            await self._give(found, hear)
            if not found.chunk.lines:
                self._judge(found, count, bad)
                break
            if self._clock.seconds() - told_at > PROGRESS:
                told_at = self._clock.seconds()
                left = found.chunk.left / 1e6
                self.log.info("{path}: {left:.0f} MB left to read", path=self._path, left=left)
        return self._at is not None

    async def _give(self, found: _Found, hear: Hear) -> None:
        if found.chunk.lost:
            self._say("what was read before is gone, and with it what followed there")
        for signal in found.signals:
            hear(signal)
        self._at = found.chunk.place
        await self._journal.settled()
        if self._journal.health.waiting > MOST_WAITING:
            raise CannotResync("the journal does not take what the channel log tells")

    def _judge(self, found: _Found, count: int, bad: int) -> None:
        if not found.there:
            self._say("is not there; Asterisk makes it with the first call, if CEL is set up")
        elif bad:
            self._say(f"{bad} of {count} lines are no rows of cel_custom_ccdaemon.conf")
        else:
            self._trouble = None

    @property
    def can_tell(self) -> bool:
        """Whether a call that is read of could be opened and kept."""
        return self._journal.not_ready is None

    async def move_on(self, live: Collection[int]) -> None:
        """The session has stood for another while: move the place that is kept.

        :param live: the live calls, whose rows all stay to be read again.
        """
        place = await self._in_thread(cel_file.end, self._path, self._now())
        if place is None:
            return
        # The rows of a call that was not there at the last place may begin a little before that.
        newest = self._offsets[-2:][0].moment if self._offsets else -inf
        self._held = {call_id: self._held.get(call_id, newest) for call_id in live}
        self._offsets.append(_Passed(place, self._clock.seconds()))
        if len(self._offsets) > MOST_OFFSETS:
            del self._offsets[1:-1:2]
        before = min([self._clock.seconds() - HEARD_WITHIN, *self._held.values()])
        passed = sum(passed.moment <= before for passed in self._offsets[1:])
        if passed:
            del self._offsets[:passed]
            await self._keep(self._offsets[0].place)

    async def _keep(self, offset: LogOffset) -> None:
        try:
            await self._journal.set_offset(NAME, msgspec.json.encode(offset))
        except JournalBroken as error:
            self.log.warn("the place in {path} was not kept: {error}", path=self._path, error=error)

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T | None:
        """What a function finds in the file; None where it cannot, which is said once."""
        if self._hanging:
            self._say("is still being read")
            return None
        self._hanging = True

        def work() -> T:
            try:
                return function(*args)
            finally:
                self._hanging = False

        try:
            found: T = await self._run(work).addTimeout(READ_TIMEOUT, self._clock)
        except (OSError, TimeoutError) as error:
            slow = isinstance(error, TimeoutError)
            self._say("takes too long to be read" if slow else f"cannot be read: {error}")
            return None
        return found

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self.log.warn(
                "cel_file {path}: {trouble}. What happened while nobody listened is told only as"
                " far as the channels show it",
                path=self._path,
                trouble=trouble,
            )

    def _now(self) -> int:
        return int(self._wall.seconds() * 1000)


def _read(path: Path, offset: LogOffset, date: int) -> _Found:
    chunk = cel_file.read(path, offset, date)
    spelled = [cel_signals.from_line(line) for line in chunk.lines]
    signals = [signal for each in spelled if each is not None for signal in each]
    return _Found(chunk, signals, spelled.count(None), bool(chunk.lines) or path.exists())
