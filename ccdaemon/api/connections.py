"""Connections to the API: how many at once, for how long, and one request of each at a time.

What twisted.web leaves open: it counts no connections, lets whoever sends a byte now and then take
for ever over a request, answers requests that were sent all at once in one go, whoever takes the
answers, and waits for ever for the last of an answer to be taken. Knows no request and no method.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request

from ccdaemon.api.errors import error_object, status_of
from ccdaemon.api.rendering import CONTENT_TYPE, Format, error_envelope, render
from ccdaemon.api.twisted_http import OpenChannel
from ccdaemon.errors import Code, Refused

#: Seconds in which what was written has to be taken once nothing more will be.
TAKEN_WITHIN = 60.0
#: How many connections may be told at once that they are too many; more are cut without a word.
MOST_TOLD = 100
#: Seconds that they have for reading it.
TOLD_WITHIN = 1.0
#: Files that the daemon opens beside the connections to its API, and then some.
OTHER_FILES = 400

_log = Logger()


def room_for(connections: int) -> int:
    """See to it that so many connections can be open; how many can, if the system allows fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    fewer = max(soft - OTHER_FILES, soft // 2)
    _log.warn(
        "http.max_connections is {wanted}; {files} open files are allowed, so it is {fewer}",
        wanted=connections,
        files=soft,
        fewer=fewer,
    )
    return fewer


class Connections:
    """All connections that are open.

    Where there are as many as may be, the one that has waited longest for a request makes room;
    if none does, all are at work, and the newest is refused.

    :param most: how many there may be at once.
    :ivar made_room: how many were closed for others.
    :ivar refused: how many were refused.
    """

    def __init__(self, clock: IReactorTime, most: int) -> None:
        self.clock = clock
        self.most = most
        self.made_room = 0
        self.refused = 0
        self._open: set[BoundedChannel] = set()
        # In the order in which they began to wait.
        self._waiting: dict[BoundedChannel, None] = {}
        self._being_refused: set[_Refusing] = set()
        self._is_full = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self) -> Protocol | None:
        """Give what serves a new connection; None: it is cut."""
        if len(self._open) >= self.most:
            self._say_full()
            if not self._waiting:
                self.refused += 1
                return (
                    _Refusing(self.clock, self._being_refused)
                    if len(self._being_refused) < MOST_TOLD
                    else None
                )
            self.made_room += 1
            longest = next(iter(self._waiting))
            self.forget(longest)
            longest.forceAbortClient()
        channel = BoundedChannel(self)
        self._open.add(channel)
        return channel

    def _say_full(self) -> None:
        if not self._is_full:
            self._is_full = True
            _log.warn(
                "All http.max_connections ({most}) are open; those make room that ask for nothing",
                most=self.most,
            )

    def waits(self, channel: BoundedChannel) -> None:
        """Note that a connection waits for a request from now on."""
        if channel in self._open:
            self._waiting[channel] = None

    def works(self, channel: BoundedChannel) -> None:
        """Note that a whole request has come."""
        self._waiting.pop(channel, None)

    def forget(self, channel: BoundedChannel) -> None:
        """Note that a connection is none any more."""
        self._waiting.pop(channel, None)
        self._open.discard(channel)
        self._is_full = self._is_full and len(self._open) > 0.9 * self.most


class BoundedChannel(OpenChannel):
    """A connection whose every request has to come, and whose answers have to be taken, in time.

    Its idle time begins with the connection and with the end of each answer. The first piece of a
    request begins it anew and no other does, so that it is the time for the whole request, too.
    """

    _fresh = True
    _further: IDelayedCall | None = None

    def __init__(self, connections: Connections) -> None:
        HTTPChannel.__init__(self)
        self._connections = connections

    def connectionMade(self) -> None:
        """Wait for the first request."""
        HTTPChannel.connectionMade(self)
        self._connections.waits(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Leave nothing behind."""
        if self._further is not None:
            self._further.cancel()
            self._further = None
        self._connections.forget(self)
        HTTPChannel.connectionLost(self, reason)

    def resetTimeout(self) -> None:
        """Take the first piece of a request for a sign of life."""
        if self._fresh:
            self._fresh = False
            HTTPChannel.resetTimeout(self)

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; a length of more digits than Python reads is none."""
        try:
            return bool(HTTPChannel.headerReceived(self, line))
        except ValueError:
            self.garbled()
            return False

    def allContentReceived(self) -> None:
        """Have the request answered."""
        self._connections.works(self)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Request) -> None:
        """Turn to the next request, but not in the same go, nor before this answer is taken."""
        self._fresh = True
        self.paused = True
        HTTPChannel.requestDone(self, request)
        self._connections.waits(self)
        if not self.has_more:
            self.paused = False
        elif self.persistent:
            self.stop_reading()
            self._go_on()

    def resumeProducing(self) -> None:
        """Go on: what was written has been taken."""
        HTTPChannel.resumeProducing(self)
        if self.paused:
            self.stop_reading()
            self._go_on()

    def _go_on(self) -> None:
        if self._further is None and not self.is_blocked:
            self._further = self._later(0, self._read_on)

    def _read_on(self) -> None:
        self._further = None
        if self.is_blocked:
            return
        self.paused = False
        self.read_on()
        LineReceiver.dataReceived(self, b"")

    def _later(self, seconds: float, do: Callable[[], None]) -> IDelayedCall:
        return self._connections.clock.callLater(seconds, do)

    def loseConnection(self) -> None:
        """Close, and do not wait for ever for what was written to be taken."""
        self._close_within(TAKEN_WITHIN)

    def _close_within(self, seconds: float) -> None:
        if self.cutting is None:
            self.cutting = self._later(seconds, self.forceAbortClient)
        HTTPChannel.loseConnection(self)

    def forceAbortClient(self) -> None:
        """Cut the connection, without the line that twisted.web would log of each."""
        if self.cutting is not None and self.cutting.active():
            self.cutting.cancel()
        self.cutting = None
        cast(Any, self.transport).abortConnection()

    def timeoutConnection(self) -> None:
        """Close what took too long."""
        _log.debug("No request from {peer} in time", peer=cast(Any, self.transport).getPeer())
        self._close_within(self.abortTimeout)

    def garbled(self) -> None:
        """Say once that this is no HTTP: 400, and nothing that follows is read."""
        cast(Any, self).dataReceived = lambda data: None
        peer = cast(Any, self.transport).getPeer()
        _log.info("400 for {peer}: no HTTP, or too much of it", peer=getattr(peer, "host", peer))
        OpenChannel.garbled(self)


class _Refusing(Protocol):
    """A connection too many: it is told so, whatever it asks."""

    def __init__(self, clock: IReactorTime, others: set[_Refusing]) -> None:
        self._clock = clock
        self._others = others
        self._closing: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Say it; who did not get so far as TLS is cut."""
        transport: Any = self.transport
        if ISSLTransport.providedBy(transport):
            transport.abortConnection()
            return
        self._others.add(self)
        transport.write(_answer())
        # Not closed at once: the kernel would take the answer back as soon as the request comes.
        self._closing = self._clock.callLater(TOLD_WITHIN, transport.abortConnection)
        transport.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has been read, or never will."""
        self._others.discard(self)
        if self._closing is not None and self._closing.active():
            self._closing.cancel()


def _answer() -> bytes:
    refused = Refused(
        Code.TOO_MANY_CONNECTIONS, "all connections are at work, and no more may be", retry_after=1
    )
    status = status_of(refused)
    body = render(error_envelope(status, error_object(refused)), Format.JSON)
    return (
        b"HTTP/1.1 %d Service Unavailable\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
        b"Retry-After: 1\r\nConnection: close\r\n\r\n"
        % (status, CONTENT_TYPE[Format.JSON].encode(), len(body))
    ) + body
