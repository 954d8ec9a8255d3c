"""Has Asterisk looked at anew when what it told is in doubt; never more often than may be.

Knows when, and not what a look is: who looks is told to it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

#: Seconds between the end of trust and the look: what was cut is followed by more.
SOON = 0.5
#: Seconds between two looks, and two lines, however much is forged.
EVERY = 10.0
#: Seconds for which health speaks of it.
REMEMBERED = 300.0


class LookingAnew:
    """Looks after an event was dropped that Asterisk cannot have spelled.

    :param looks: have the live calls looked at, the operators…
    :param clock: IReactorTime.
    """

    log = Logger()

    def __init__(self, looks: tuple[Callable[[], object], ...], clock: IReactorTime) -> None:
        self._looks = looks
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._looked = self._forged_at = float("-inf")
        self._since = 0

    @property
    def in_doubt(self) -> bool:
        """Whether something was forged lately."""
        return self._clock.seconds() - self._forged_at < REMEMBERED

    def forged(self, channel: str) -> None:
        """An event of a channel was dropped."""
        now = self._forged_at = self._clock.seconds()
        self._since += 1
        if self._next is None:
            wait = max(SOON, self._looked + EVERY - now)
            self._next = self._clock.callLater(wait, self._look, channel)

    def end(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self, channel: str) -> None:
        self._next = None
        self._looked = self._clock.seconds()
        count, self._since = self._since, 0
        self.log.warn(
            "{count} events were dropped: a phone has written into them, first of {channel!r};"
            " Asterisk is looked at anew",
            count=count,
            channel=channel,
        )
        for look in self._looks:
            look()
