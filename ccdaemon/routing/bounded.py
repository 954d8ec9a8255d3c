"""HTTP answers of a bounded size: as they are, up to a limit, and not one byte more."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

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
