"""The date of whatever is noted of deliveries, and what becomes of due times when clocks are set.

A due time outlives the daemon, so it is a date; but what is waited are seconds, and a clock that is
put back an hour must not make an hour of them, nor a burst if it is put forward.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.clocks import WallClock
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile

#: Seconds by which the wall's clock has to be set for due times to be set with it.
STEP = 2.0


class ClockSteps:
    """The dates of all that is written into the table of deliveries.

    :param clock: IReactorTime that nobody sets.
    :param wall: WallClock that says what time it is.
    :ivar moved: ms by which the wall's clock has been set since the start.
    """

    _log = Logger()

    def __init__(self, file: DeliveryFile, clock: IReactorTime, wall: WallClock) -> None:
        self._file = file
        self._clock = clock
        self._wall = wall
        self._apart = self._difference()
        self._moving: Deferred[None] = succeed(None)
        self.moved = 0

    def now(self) -> int:
        """Ms since 1970; what has this date is to be written after this was asked."""
        self._look()
        return int(self._wall.seconds() * 1000)

    async def right(self) -> None:
        """Return once all due times in the file are those of the wall's clock as it is now."""
        self._look()
        await self._moving

    def _look(self) -> None:
        apart = self._difference()
        step = apart - self._apart
        if abs(step) < STEP:
            return
        self._apart = apart
        by = round(step * 1000)
        self.moved += by
        self._log.warn("the clock was set by {step} s; due times are, too", step=round(step, 1))
        # Before anything is written that has a date of the new time.
        self._moving = self._file.write(deliveries.move, by).addErrback(self._not_moved)

    def _not_moved(self, failure: Failure) -> None:
        self._log.error("due times are not set: {error}", error=failure.value)

    def _difference(self) -> float:
        return self._wall.seconds() - self._clock.seconds()
