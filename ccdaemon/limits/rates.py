"""How often something was done of late. Pure: takes time as a value."""

from __future__ import annotations

from collections import deque

#: Seconds that are looked back.
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
#: Keys above which those are dropped for which nothing was done within the window.
MANY = 1000


class Rates:
    """Moments by key. What is kept is bounded by what is allowed within the window.

    :param window: for how many seconds a moment counts.
    """

    def __init__(self, window: float = MINUTE) -> None:
        self._window = window
        self._moments: dict[str, deque[float]] = {}

    def wait(self, key: str, most: int, now: float) -> float:
        """Say how many seconds to wait until it may be done again; 0: it may be done now."""
        moments = self._within(key, now)
        return 0.0 if len(moments) < most else max(0.0, moments[-most] + self._window - now)

    def done(self, key: str, now: float) -> None:
        """Note that it was done."""
        if len(self._moments) > MANY:
            self._moments = {key: kept for key in self._moments if (kept := self._within(key, now))}
        self._moments.setdefault(key, deque()).append(now)

    def _within(self, key: str, now: float) -> deque[float]:
        moments = self._moments.get(key, deque())
        # What lies ahead was noted before the clock was put back.
        while moments and not 0 <= now - moments[0] < self._window:
            moments.popleft()
        return moments
