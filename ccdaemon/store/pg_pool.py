"""A few connections, opened when they are wanted, each looked at before it is handed out.

Knows neither whether Postgres is up nor what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime

from ccdaemon.store.pg_link import Link

T = TypeVar("T")

#: How many connections there may be, and how many queries may wait for one.
LINKS = 4
WAITING = 500
#: Seconds that a query waits for a connection.
QUEUE = 3.0


class PoolBusy(Exception):
    """No connection became free in time, or too many wait for one."""


class Pool:
    """Connections for queries and transactions.

    :param make: makes a connection, not open yet.
    :param connect: opens it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        make: Callable[[], Link],
        connect: Callable[[Link], Awaitable[None]],
        links: int = LINKS,
    ) -> None:
        self._clock = clock
        self._make = make
        self._connect = connect
        self._slots = DeferredSemaphore(links)
        self._idle: list[Link] = []
        self._busy: set[Link] = set()
        self._empty: Deferred[None] = succeed(None)

    async def use(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Do some work on a connection that nobody else uses meanwhile.

        :raise PoolBusy: if there is none in time.
        :raise Exception: what connecting or the work raises.
        """
        await self._slot()
        try:
            link = self._take() or self._make()
            self._busy.add(link)
            try:
                if not link.alive:
                    await self._connect(link)
                return await work(link)
            finally:
                self._put_back(link)
        finally:
            self._slots.release()

    async def _slot(self) -> None:
        if len(self._slots.waiting) >= WAITING:
            raise PoolBusy(f"{WAITING} queries wait for Postgres")
        try:
            await self._slots.acquire().addTimeout(QUEUE, self._clock)
        except TimeoutError:
            raise PoolBusy(f"no connection to Postgres was free in {QUEUE:g} s") from None

    def _take(self) -> Link | None:
        while self._idle:
            link = self._idle.pop()
            if link.check():
                return link
        return None

    def _put_back(self, link: Link) -> None:
        self._busy.discard(link)
        if link.idle:
            self._idle.append(link)
        else:
            link.close()
        if not self._busy and not self._empty.called:
            self._empty.callback(None)

    def close_idle(self, reason: str) -> None:
        """Close what nobody uses."""
        idle, self._idle = self._idle, []
        for link in idle:
            link.close(reason)

    def close_all(self, reason: str) -> None:
        """Close everything; what runs fails."""
        self.close_idle(reason)
        for link in tuple(self._busy):
            link.close(reason)

    async def drain(self, seconds: float) -> None:
        """Wait until nobody uses a connection, at most so long."""
        if self._busy:
            self._empty = Deferred()
            with suppress(TimeoutError):
                await self._empty.addTimeout(seconds, self._clock)
