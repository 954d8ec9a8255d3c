"""Spares callers the wait for somebody who does not answer anyway. Pure: takes time as a value."""

from __future__ import annotations


class Breaker:
    """Opens after so many failures in a row; then one attempt each pause decides.

    :param failures: how many in a row open it.
    :param pause: seconds until the next attempt while it is open.
    """

    def __init__(self, failures: int = 3, pause: float = 10.0) -> None:
        self._failures = failures
        self._pause = pause
        self._failed = 0
        self._next = 0.0

    @property
    def is_open(self) -> bool:
        """Whether most are spared the attempt just now."""
        return self._failed >= self._failures

    def may_try(self, now: float) -> bool:
        """Say whether to try; while it is open, only the first to ask in each pause may."""
        if not self.is_open:
            return True
        if now < self._next:
            return False
        self._next = now + self._pause
        return True

    def succeeded(self) -> None:
        """There was an answer in time."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """There was none."""
        self._failed += 1
        if self.is_open:
            self._next = now + self._pause
