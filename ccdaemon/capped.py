"""Connections to others' HTTP servers that take no more than they should, and that do end."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds that the other side may take to close a connection.
CLOSED_WITHIN = 1.0


class _Capped(ProtocolWrapper):
    """A connection that is cut after too many bytes in one answer, and whose end has an end."""

    factory: _CappedFactory
    _received = 0
    _closing: IDelayedCall | None = None

    def _abort(self) -> None:
        transport = self.transport
        if transport is not None:
            cast(ITCPTransport, transport).abortConnection()

    def write(self, data: bytes) -> None:
        """Send: a new question, and a new answer to come."""
        self._received = 0
        ProtocolWrapper.write(self, data)

    def writeSequence(self, data: Any) -> None:
        """Send, likewise."""
        self._received = 0
        ProtocolWrapper.writeSequence(self, data)

    def dataReceived(self, data: bytes) -> None:
        """Take a part of the answer, if it is not too much."""
        self._received += len(data)
        if self._received > self.factory.largest:
            self._abort()
        else:
            ProtocolWrapper.dataReceived(self, data)

    def loseConnection(self) -> None:
        """Close; over TLS the other side could keep a farewell waiting for ever."""
        if self._closing is None:
            self._closing = self.factory.clock.callLater(CLOSED_WITHIN, self._abort)
            ProtocolWrapper.loseConnection(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is closed."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        ProtocolWrapper.connectionLost(self, reason)


class _CappedFactory(WrappingFactory):
    protocol = _Capped
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, clock: IReactorTime, largest: int) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.clock = clock
        self.largest = largest


@implementer(IStreamClientEndpoint)
class CappedEndpoint:
    """Connects as another endpoint does.

    :param largest: bytes of one answer, headers and body together; after more of them the
        connection is cut.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, clock: IReactorTime, largest: int) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._largest = largest

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the protocol that comes of it is the factory's own."""
        # Each connection would leave two lines in the log.
        cast(Factory, factory).noisy = False
        connecting = self._endpoint.connect(_CappedFactory(factory, self._clock, self._largest))
        return connecting.addCallback(lambda wrapper: cast(_Capped, wrapper).wrappedProtocol)
