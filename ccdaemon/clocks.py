"""The clock on the wall, which is another kind of thing than the one that nobody sets.

Anybody may set the wall's clock: an hour that is put back would be an hour without any timer, and
one that is put forward an hour that every limit has waited. So there are two clocks of two types,
and neither can be passed for the other. ``clock: IReactorTime`` is the reactor, which counts by a
clock that nobody sets (``ccdaemon.reactor``): for how long something takes or lasts.
``wall: WallClock`` is for dates: what is told, kept or compared with Asterisk's. A part that needs
dates and timers alone, and measures nothing, has this one as its only clock.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater


class WallClock:
    """The date from the wall's clock, and timers from the reactor.

    It is no ``IReactorTime``, though it could stand for one: whatever counts seconds by it would
    count those that somebody has set.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def seconds(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def callLater(self, delay: float, call: Any, *args: Any, **kwargs: Any) -> IDelayedCall:
        """Call something in so many seconds, whatever is done to the wall's clock meanwhile."""
        return self._reactor.callLater(delay, call, *args, **kwargs)

    def sleep(self, delay: float) -> Deferred[None]:
        """Fire in so many seconds; can be cancelled."""
        return deferLater(self._reactor, delay)
