"""A budget of seconds that may be talked within any 24 hours. Pure: takes time as a value.

Whoever begins to talk reserves what they may talk for, so that many at once take no more than one
after the other would.
"""

from __future__ import annotations

from collections import deque

from ccdaemon.limits.rates import DAY


class Budget:
    """Seconds that were talked and that are reserved.

    :param most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._spent: deque[tuple[float, float]] = deque()
        self._reserved: dict[str, int] = {}

    def left(self, now: float) -> int:
        """Say how many whole seconds nobody has talked or reserved."""
        while self._spent and not 0 <= now - self._spent[0][0] < DAY:
            self._spent.popleft()
        spent = sum(seconds for _, seconds in self._spent)
        return max(0, int(self.most - spent - sum(self._reserved.values())))

    def wait(self, least: int, now: float) -> float:
        """Say in how many seconds there will be so many, if what is reserved is all talked."""
        missing = least - self.left(now)
        for moment, seconds in self._spent:
            missing -= int(seconds)
            if missing <= 0:
                return max(0.0, moment + DAY - now)
        return DAY

    def reserve(self, whose: str, seconds: int) -> None:
        """Keep seconds for a call; what it has already stays."""
        self._reserved[whose] = self._reserved.get(whose, 0) + seconds

    def settle(self, whose: str, talked: float, now: float) -> None:
        """A call is over: of what it had reserved, it has talked for so many seconds."""
        reserved = self._reserved.pop(whose, None)
        if reserved is not None:
            self.spend(min(talked, reserved), now)

    def spend(self, seconds: float, now: float) -> None:
        """Note what was talked."""
        if seconds > 0:
            self._spent.append((now, seconds))
