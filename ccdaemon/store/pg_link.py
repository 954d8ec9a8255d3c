"""One connection to Postgres: txpostgres, with what it gets wrong put right.

Nothing waits without a limit, nothing is cancelled (that would block the reactor), a server's
goodbye is an event and no exception, and a connection counts as lost only when it is. Knows
no pool and no retry.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg2
from psycopg2.extensions import (
    TRANSACTION_STATUS_ACTIVE,
    TRANSACTION_STATUS_IDLE,
    QueryCanceledError,
)
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.python.failure import Failure
from txpostgres import txpostgres

Rows = list[tuple[Any, ...]]
Params = Sequence[object] | Mapping[str, object] | None

#: Seconds that a statement may wait for its answer beyond the server's own limit.
GRACE = 1.0


class PgLinkLost(Exception):
    """The connection is gone; whether the last statement was done is not known."""


class LinkSilent(PgLinkLost):
    """The server did not answer in time, so the connection was given up."""


class StatementTimeout(Exception):
    """The server ended a statement that took too long."""


class StatementCancelled(Exception):
    """Somebody at the server cancelled a statement."""


class _Guarded:
    """What a server's goodbye raises in the reactor is told as the loss it is.

    libpq closes its socket by itself, and epoll does not let go of a number whose socket is closed:
    the reactor would keep it, and the next socket that got the number would never be heard. So
    nothing is registered while libpq reads, writes or sends; polling registers what it needs.
    """

    reactor: IReactorFDSet

    def doRead(self) -> None:
        self.reactor.removeWriter(self)  # type: ignore[arg-type]
        try:
            super().doRead()  # type: ignore[misc]
        except (psycopg2.Error, ValueError) as error:
            # ValueError: libpq has closed the socket, and txpostgres hands -1 to the reactor.
            self._tell_lost(error)

    def doWrite(self) -> None:
        self.reactor.removeReader(self)  # type: ignore[arg-type]
        try:
            super().doWrite()  # type: ignore[misc]
        except (psycopg2.Error, ValueError) as error:
            self._tell_lost(error)

    def _tell_lost(self, error: Exception) -> None:
        raise NotImplementedError


class _Cursor(_Guarded, txpostgres.Cursor):  # type: ignore[misc]
    def _doit(self, name: str, *args: Any, **kwargs: Any) -> Deferred[Any]:
        connection = self._connection
        connection.reactor.removeReader(connection)
        done: Deferred[Any] = super()._doit(name, *args, **kwargs)
        if self not in connection._cursors and not connection.dead:
            # It was not even sent, so no end of it will register the connection again.
            connection.reactor.addReader(connection)
        return done

    def _handleCancellation(self, failure: Failure) -> Failure:
        # txpostgres makes a bare CancelledError of both a time limit and a cancel.
        return failure

    def _tell_lost(self, error: Exception) -> None:
        self._connection._tell_lost(error)


class _Connection(_Guarded, txpostgres.Connection):  # type: ignore[misc]
    cursorFactory = _Cursor

    def __init__(self, reactor: IReactorFDSet, lost: Callable[[str], None]) -> None:
        super().__init__(reactor)
        self._lost = lost
        self.notes: Callable[[str], None] | None = None

    def _tell_lost(self, error: Exception) -> None:
        self._lost(str(error))

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self._lost(reason.getErrorMessage())

    def checkForNotifies(self) -> None:
        # txpostgres dispatches bursts in turns of the reactor, and mixes them up.
        notes, self._connection.notifies[:] = self._connection.notifies[:], []
        for note in notes:
            if self.notes is not None:
                self.notes(note.payload)

    @property
    def dead(self) -> bool:
        connection = self._connection
        return connection is None or bool(connection.closed) or connection.fileno() < 0


class Link:
    """One connection, used by one at a time.

    :param limit: seconds after which the server ends a statement.
    :param lost: called once with the reason when an open connection is gone, also when it is
        closed from here.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        clock: IReactorTime,
        limit: float,
        lost: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._on_lost = lost
        self._is_open = False
        self._closed = False
        self._reason = "closed"
        self._connection = _Connection(reactor, self.close)

    async def open(self, words: Mapping[str, str], timeout: float) -> None:
        """Connect.

        :param timeout: seconds; libpq's own connect_timeout does not hold here.
        :raise PgLinkLost: if there is no connection by then, or Postgres says no.
        """
        if self._closed:
            raise PgLinkLost(self._reason)
        try:
            await self._within(timeout, "connecting", self._connection.connect(**words))
        except psycopg2.Error as error:
            self.close(str(error))
            raise PgLinkLost(str(error)) from error
        self._is_open = True

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as is known."""
        return self._is_open and not self._connection.dead

    def check(self) -> bool:
        """Whether it is alive, by what the server may have said since it was last used."""
        if self.alive:
            waiting = select.poll()
            waiting.register(self._connection.fileno(), select.POLLIN)
            if waiting.poll(0):
                self._connection.doRead()
        return self.alive

    @property
    def idle(self) -> bool:
        """Whether it is alive, with no transaction begun."""
        return self.alive and self._status() == TRANSACTION_STATUS_IDLE

    def _status(self) -> int:
        return int(self._connection.get_transaction_status())

    async def query(self, sql: str, params: Params = None, timeout: float | None = None) -> Rows:
        """Run a statement.

        :param timeout: seconds after which the server ends it, where that has been set to
            something else than the limit of the connection.
        :return: its rows; none for a statement that has none.
        :raise PgLinkLost: if there is no answer, or the connection goes.
        :raise StatementTimeout: if the server ended it.
        :raise StatementCancelled: if somebody at the server did.
        :raise psycopg2.Error: with Postgres' words for anything else.
        """
        if not self.alive:
            raise PgLinkLost(self._reason)
        limit = self._limit if timeout is None else timeout
        began = self._clock.seconds()
        try:
            cursor = self._connection.cursor()
            executing = maybeDeferred(cursor.execute, sql, params)
            await self._within(limit + GRACE, "a statement", executing)
            return cursor.fetchall() if cursor.description else []
        except QueryCanceledError as error:
            # Both have SQLSTATE 57014, and the words are in the server's language.
            if self._clock.seconds() - began >= limit * 0.95:
                raise StatementTimeout(f"a statement took more than {limit:g} s") from error
            raise StatementCancelled(str(error)) from error
        except psycopg2.Error as error:
            raise self._judged(error, error.pgcode or "") from error
        except ValueError as error:
            # Of the statement, or of a socket that libpq has closed.
            raise self._judged(error, "") from error

    def _judged(self, error: Exception, code: str) -> Exception:
        if not self._connection.dead and code[:2] != "08" and code[:3] != "57P":
            if self._status() == TRANSACTION_STATUS_ACTIVE:
                # COPY leaves the connection in the middle of it, and of no use.
                self.close(str(error))
            return error
        self.close(str(error))
        return PgLinkLost(self._reason)

    def listen(self, notes: Callable[[str], None]) -> None:
        """Have ``notes`` called with the payload of every notification, in order."""
        self._connection.notes = notes

    def close(self, reason: str = "closed") -> None:
        """Close it; a statement that waits fails with :class:`PgLinkLost`."""
        was_open, self._is_open = self._is_open, False
        if not self._closed:
            self._closed = True
            self._reason = reason
            if self._connection.pollable() is not None:
                self._connection.close()
        if was_open:
            self._on_lost(self._reason)

    async def _within(self, seconds: float, what: str, waited: Deferred[Any]) -> None:
        # Never let a cancel through: txpostgres would have psycopg2 open a second connection,
        # and block for it.
        answer: Deferred[None] = Deferred()
        waited.chainDeferred(answer)
        late = self._clock.callLater(seconds, self.close, f"{what} had no answer in {seconds:g} s")
        try:
            await answer
        except CancelledError:
            self.close("given up")
            raise
        except (ConnectionDone, ConnectionLost):
            kind = PgLinkLost if late.active() else LinkSilent
            raise kind(self._reason) from None
        finally:
            if late.active():
                late.cancel()
