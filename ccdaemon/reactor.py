"""The reactor that ``twistd ccdaemon`` runs on: its timers count by a clock that nobody sets.

Twisted's own reactors plan timers by the date. Whoever sets the machine's clock back an hour would
stop every timer for that hour: no ping, no reconnect. ``IReactorTime`` leaves it to a reactor which
seconds it counts, so this one counts monotonic ones; who wants the date has ``WallClock``.
"""

from __future__ import annotations

import sys
import time

from twisted.internet.main import installReactor
from twisted.python.runtime import seconds as seconds_of_the_date

try:
    from twisted.internet.epollreactor import EPollReactor as PlatformReactor
except ImportError:  # Only Linux has epoll.
    from twisted.internet.pollreactor import (  # type: ignore[assignment]
        PollReactor as PlatformReactor,
    )


class MonotonicReactor(PlatformReactor):
    """The platform's best reactor with monotonic seconds."""

    seconds = staticmethod(time.monotonic)


def install() -> None:
    """Make it the reactor of this process, unless another one with such timers is there.

    :raises SystemExit: if one is there whose timers follow the date, as after ``--reactor``.
    """
    there = sys.modules.get("twisted.internet.reactor")
    if there is None:
        installReactor(MonotonicReactor())  # type: ignore[no-untyped-call]
    elif there.seconds is seconds_of_the_date:
        raise SystemExit(
            f"twistd ccdaemon: timers of {type(there).__name__} stop when the clock is set back;"
            " leave out --reactor, ccdaemon brings its own"
        )
