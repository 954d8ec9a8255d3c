"""The database as the rest of the history knows it: up or down, queries, transactions.

Keeps one connection for what belongs to the daemon's life (its lock, its notifications), lends
others to queries, and reconnects for ever. Knows neither tables nor what is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.logger import Logger

from ccdaemon.clocks import WallClock
from ccdaemon.store.pg_address import Address, Resolve
from ccdaemon.store.pg_link import (
    Link,
    LinkSilent,
    Params,
    PgLinkLost,
    Rows,
    StatementCancelled,
    StatementTimeout,
)
from ccdaemon.store.pg_pool import Pool, PoolBusy

T = TypeVar("T")
Preparation = Callable[[Link], Awaitable[None]]

#: Seconds after which the server ends a statement.
STATEMENT = 4.0
#: Seconds that connecting may take.
CONNECT = 5.0
#: Seconds between two looks whether the server still answers.
PING = 5.0
#: Seconds that stopping waits for what runs.
DRAIN = 2.0


class DatabaseDown(Exception):
    """Postgres cannot be asked now, or did not answer; says why."""


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """Whether Postgres can be asked, since when (ms), and what went wrong last."""

    up: bool
    since: int
    last_error: str | None


class Transaction:
    """A transaction that is open, for the time of one function."""

    def __init__(self, link: Link, timeout: float) -> None:
        self._link = link
        self._timeout = timeout

    async def query(self, sql: str, params: Params = None) -> Rows:
        """Run a statement in it; raises what :meth:`Link.query` does."""
        return await self._link.query(sql, params, self._timeout)


class Database(Service):
    """Postgres at one address.

    :param wall: says what time it is, for the date of a change.
    :param resolve: looks up a host's name off the reactor thread.
    :ivar session: how many times it has come up; another number may be another database.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        wall: WallClock,
        address: Address,
        resolve: Resolve,
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._wall = wall
        self._address = address
        self._resolve = resolve
        self._pool = Pool(clock, self._link, self._open)
        self._backoff = backoffPolicy(initialDelay=0.1, maxDelay=10.0, factor=1.7)
        self._preparations: list[Preparation] = []
        self._listeners: list[Callable[[], None]] = []
        self._waiting: list[Deferred[None]] = []
        self._pausing: Deferred[None] = succeed(None)
        self._keeping: Deferred[None] = succeed(None)
        self._main: Link | None = None
        self.session = 0
        self._health = DatabaseHealth(False, self._now(), None)

    # Life

    def prepare(self, preparation: Preparation) -> None:
        """Have something done on the connection that is kept, before Postgres is called up.

        If it raises, Postgres is down, and tried again.
        """
        self._preparations.append(preparation)

    def startService(self) -> None:
        """Begin to connect."""
        super().startService()  # type: ignore[no-untyped-call]
        self._keeping = Deferred.fromCoroutine(self._keep())

    def stopService(self) -> Deferred[None]:
        """Close every connection, once what runs has ended or ``DRAIN`` seconds are over."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        reason = "the daemon is stopping"
        await self._pool.drain(DRAIN)
        self._pool.close_all(reason)
        if self._main is not None:
            self._main.close(reason)
        self._wake()
        await self._keeping

    @property
    def up(self) -> bool:
        """Whether Postgres can be asked."""
        return self._health.up

    @property
    def health(self) -> DatabaseHealth:
        """How it is, and since when."""
        return self._health

    def when_up(self) -> Deferred[None]:
        """Fires when Postgres can be asked; can be cancelled."""
        if self.up:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called each time Postgres has come up."""
        self._listeners.append(listener)

    # Use

    async def query(self, sql: str, params: Params = None) -> Rows:
        """Run a statement that reads; it is run again if the connection had gone before it.

        :raise DatabaseDown: if there is no answer.
        :raise psycopg2.Error: if Postgres refuses the statement.
        """
        self._must_be_up()
        try:
            try:
                return await self._pool.use(lambda link: link.query(sql, params))
            except LinkSilent:
                raise
            except PgLinkLost as error:
                self._must_be_up()
                # Where one has died, those beside it may have.
                self._pool.close_idle(str(error))
                return await self._pool.use(lambda link: link.query(sql, params))
        except _NO_ANSWER as error:
            raise self._no_answer(error) from error

    async def transaction(
        self, function: Callable[[Transaction], Awaitable[T]], timeout: float = STATEMENT
    ) -> T:
        """Run a function in a transaction: committed if it returns, undone if it raises.

        :param timeout: seconds that each of its statements may take.
        :raise DatabaseDown: if there is no answer; whether it was committed is not known.
        :raise Exception: what the function raises.
        """
        self._must_be_up()
        try:
            return await self._pool.use(lambda link: _in_transaction(link, function, timeout))
        except _NO_ANSWER as error:
            raise self._no_answer(error) from error

    def _must_be_up(self) -> None:
        if not self.running:
            raise DatabaseDown("the daemon is stopping")
        if not self.up:
            raise DatabaseDown(self._health.last_error or "not connected yet")

    def _no_answer(self, error: Exception) -> DatabaseDown:
        return DatabaseDown(self._address.scrub(str(error)))

    # The connection that is kept

    async def _keep(self) -> None:
        tries = 0
        while self.running:
            self._main = link = self._link(self._wake)
            try:
                await self._open(link)
                for preparation in self._preparations:
                    await preparation(link)
            except Exception as error:
                link.close()
                self._went_down(error)
                await self._pause(self._backoff(tries))
                tries += 1
            else:
                tries = 0
                self._came_up()
                self._went_down(await self._until_lost(link))

    async def _until_lost(self, link: Link) -> Exception:
        """Watch the connection until it goes, and say how it did."""
        while link.alive:
            await self._pause(PING)
            try:
                await link.query("SELECT 1")
            except Exception as error:
                link.close()
                return error
        return PgLinkLost("the connection was closed")

    def _wake(self, reason: str = "") -> None:
        self._pausing.cancel()

    def _link(self, lost: Callable[[str], None] = lambda reason: None) -> Link:
        return Link(self._reactor, self._clock, STATEMENT, lost)

    async def _open(self, link: Link) -> None:
        looking = Deferred.fromCoroutine(self._address.words(self._resolve, STATEMENT))
        try:
            words = await looking.addTimeout(CONNECT, self._clock)
        except TimeoutError as error:
            raise PgLinkLost(f"looking up the host had no answer in {CONNECT:g} s") from error
        except OSError as error:
            raise PgLinkLost(f"the host is not known: {error}") from error
        await link.open(words, CONNECT)

    async def _pause(self, seconds: float) -> None:
        if not self.running:
            return
        self._pausing = Deferred()
        later = self._clock.callLater(seconds, self._pausing.callback, None)
        try:
            await self._pausing
        except CancelledError:
            later.cancel()

    def _came_up(self) -> None:
        self.session += 1
        self._health = DatabaseHealth(True, self._now(), self._health.last_error)
        self._log.info("Postgres is up: {address}", address=self._address)
        for listener in self._listeners:
            listener()
        while self._waiting:
            self._waiting.pop(0).callback(None)

    def _went_down(self, error: Exception) -> None:
        was, reason = self._health, self._address.scrub(str(error)) or type(error).__name__
        is_news = was.up or was.last_error is None
        self._health = DatabaseHealth(False, self._now() if is_news else was.since, reason)
        if (is_news or reason != was.last_error) and self.running:
            self._log.error(
                "Postgres is down: {address}: {reason}", address=self._address, reason=reason
            )
        if isinstance(error, LinkSilent):
            self._pool.close_all(reason)
        else:
            self._pool.close_idle(reason)

    def _now(self) -> int:
        return int(self._wall.seconds() * 1000)


_NO_ANSWER = (PgLinkLost, StatementTimeout, StatementCancelled, PoolBusy)


async def _in_transaction(
    link: Link, function: Callable[[Transaction], Awaitable[T]], timeout: float
) -> T:
    limit = round(timeout * 1000)
    await link.query(f"BEGIN; SET LOCAL statement_timeout = {limit}")
    try:
        result = await function(Transaction(link, timeout))
        await link.query("COMMIT", timeout=timeout)
    except BaseException:
        if link.alive:
            await link.query("ROLLBACK")
        raise
    return result
