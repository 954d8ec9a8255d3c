"""A clock on the wall that a test sets, beside one that nobody sets."""

from __future__ import annotations

from typing import Any

from ccdaemon.clocks import WallClock

HOUR = 3600.0


class Wall(WallClock):
    """Goes with a clock, ``ahead`` of it by so many seconds."""

    def __init__(self, clock: Any, ahead: float = 0.0) -> None:
        super().__init__(clock)
        self._clock = clock
        self.ahead = ahead

    def seconds(self) -> float:
        """What time it is."""
        return float(self._clock.seconds() + self.ahead)

    def set(self, by: float) -> None:
        """Put it forward, or back."""
        self.ahead += by
