"""Clients of others' HTTP servers: whom they trust, how much they take, and that they do end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from OpenSSL.crypto import Error as OpenSSLError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

_BEGIN = b"-----BEGIN CERTIFICATE-----"


def trust_root(path: Path, key: str) -> Any:
    """Trust the certificates of a PEM file, and no others.

    :param key: the configuration's key that names the file, for the error.
    :raises OSError: if it cannot be read.
    :raises ValueError: if it holds no certificates.
    """
    try:
        parts = path.read_bytes().split(_BEGIN)[1:]
        found = [Certificate.loadPEM(_BEGIN + part) for part in parts]
    except OpenSSLError as error:
        raise ValueError(f"{key}: {path} holds a certificate that is damaged") from error
    if not found:
        # An empty list of whom to trust would refuse everybody, and not say why.
        raise ValueError(f"{key}: {path} holds no certificate in PEM")
    return trustRootFromCertificates(found)


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


_PLAIN = b"identity"


class Encoded(Exception):
    """The answer is compressed, although it was asked for as it is."""


@implementer(IAgent)
class PlainAgent:
    """An agent that takes no compressed answers: how large they are shows too late."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Ask for a plain answer.

        :return: fails with :class:`Encoded` where it is none.
        """
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"Accept-Encoding", [_PLAIN])
        asked: Deferred[IResponse] = self._agent.request(method, uri, plain, bodyProducer)
        return asked.addCallback(_taken)


def _taken(response: IResponse) -> IResponse | Deferred[Any]:
    encodings = response.headers.getRawHeaders(b"Content-Encoding") or [_PLAIN]
    if encodings == [_PLAIN]:
        return response
    refused = Encoded(f"the answer is encoded as {encodings[0]!r}")
    return body_of(response, 0).addCallback(lambda _: Failure(refused))


def body_of(response: IResponse, limit: int) -> Deferred[bytes | None]:
    """Read a body. Cancelling it ends the connection.

    :param limit: bytes; 0: it is not wanted, and neither is its connection.
    :return: None if it is larger; fails if the connection is lost before its end.
    """
    body = _Body(limit)
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    """Collects a body up to a limit; one that is larger is cut off with its connection."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._over = False
        self.done: Deferred[bytes | None] = Deferred(lambda _: self._cut_off())

    def connectionMade(self) -> None:
        if not self._limit:
            self._end()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            self._end()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._over = True
        # Without a length the end of the connection is the end of the body.
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)

    def _end(self) -> None:
        self._parts.clear()
        if not self._over:
            self._cut_off()
            self.done.callback(None)

    def _cut_off(self) -> None:
        self._over = True
        # Not loseConnection: what TLS would like to say at the end is not waited for.
        cast(IPushProducer, self.transport).stopProducing()
