"""Requests that wait for something to happen: bounded in number and in time.

Knows neither HTTP nor the history; only Deferreds and a clock.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ccdaemon.api.shares import Shares

#: How many requests may wait for news at once.
MOST_WAITING = 1000


class Waiters:
    """Everybody who waits.

    :param shares: how many may wait at once, and how many of them for one client.
    """

    def __init__(self, clock: IReactorTime, shares: Shares) -> None:
        self._clock = clock
        self._shares = shares
        self._waiting: set[Deferred[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def may_wait(self, client: str) -> bool:
        """Whether there is room for one more of a client's."""
        return not self._closed and self._shares.may_take(client)

    def wait(
        self, client: str, changed: Deferred[None], seconds: float, gone: Deferred[None]
    ) -> Deferred[None]:
        """Wait until something has changed, the time is over, or nobody is there any more.

        :param client: for whom.
        :param changed: fires or fails when there may be something; cancelled when not needed.
        :param gone: fires when the asking side is gone; it is not cancelled.
        :return: fires with None in every case, also on :meth:`close`.
        """
        awake: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, _wake, awake)

        def tidy(_: None) -> None:
            self._waiting.discard(awake)
            leave()
            if timer.active():
                timer.cancel()
            changed.cancel()

        self._waiting.add(awake)
        leave = self._shares.take(client)
        awake.addCallback(tidy)
        # A failure only wakes: the look that follows meets the reason itself.
        changed.addBoth(lambda _: _wake(awake))
        gone.addBoth(lambda _: _wake(awake))
        return awake

    def close(self) -> None:
        """Wake everybody, and let nobody wait any more."""
        self._closed = True
        for awake in list(self._waiting):
            _wake(awake)


def _wake(awake: Deferred[None]) -> None:
    if not awake.called:
        awake.callback(None)
