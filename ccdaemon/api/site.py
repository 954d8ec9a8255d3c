"""The web server's own bounds: how large, how long, how many; and no log but ours.

twisted.web bounds each line of a request (16 KiB), its headers together (16 KiB) and their number
(500), and closes the connection beyond. What it does not bound is the body, and how slowly a file
may be taken: that is done here; ``connections`` has the bounds of connections. Knows no method of
the API.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProducer,
    IPullProducer,
    IReactorTime,
)
from twisted.python.failure import Failure
from twisted.web.http import Request as HTTPRequest
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from zope.interface import implementer

from ccdaemon.api.connections import BoundedChannel, Connections
from ccdaemon.api.errors import error_object, status_of
from ccdaemon.api.negotiation import wanted_format
from ccdaemon.api.rendering import CONTENT_TYPE, error_envelope, render
from ccdaemon.api.request_context import LARGEST_BODY, too_large
from ccdaemon.api.twisted_http import OpenChannel

#: How much of a body that is too large is read (and thrown away), in bytes: who sends no more
#: than this is answered when the body has ended, and can go on with the connection.
LARGEST_SWALLOWED = 16 * LARGEST_BODY
#: For how many seconds a client may take nothing of a file that is being sent to it.
MOST_PATIENT = 60


class BoundedRequest(Request):
    """A request whose body takes a bounded part of memory and never the disk."""

    _received = 0
    _cut = False
    _patience: IDelayedCall | None = None

    def process(self) -> None:
        """Have the request answered by the API, also where it is for the server as a whole."""
        if self.path == b"*":
            self.path = b"/*"
        # Only now: twisted.web reads a form before, and would not tell it from the query, nor
        # answer one that cannot be read with an envelope.
        self.content = self._kept
        Request.process(self)

    def gotLength(self, length: int | None) -> None:
        """Make room for the body, once the headers are read."""
        self.content = BytesIO()
        self._kept = BytesIO()
        if length is not None and length > LARGEST_SWALLOWED:
            self._cut_off()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep what may be kept and one byte more, which tells that there was more."""
        room = LARGEST_BODY + 1 - self._received
        self._received += len(data)
        if room > 0:
            self._kept.write(data[:room])
        if self._received > LARGEST_SWALLOWED:
            self._cut_off()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let a file be sent, and watch that it is taken; a stream watches for itself."""
        if streaming:
            Request.registerProducer(self, producer, streaming)
            return
        assert self.site is not None
        self._patience = self.site.reactor.callLater(MOST_PATIENT, self.channel.forceAbortClient)
        Request.registerProducer(
            self, _Watched(cast(IPullProducer, producer), self._patience), streaming
        )

    def unregisterProducer(self) -> None:
        """Watch no longer: everything has been taken."""
        self._lose_patience()
        Request.unregisterProducer(self)

    def connectionLost(self, reason: Failure) -> None:
        """Watch no longer: nobody is there."""
        self._lose_patience()
        Request.connectionLost(self, reason)

    def _lose_patience(self) -> None:
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def _cut_off(self) -> None:
        """Answer in the middle of the body and close: there is no other way to end it."""
        if self._cut:
            return
        self._cut = True
        self.requestHeaders.removeHeader(b"expect")
        # The request line is known to the channel alone until the body has ended.
        path = cast(OpenChannel, self.channel).path_so_far.partition(b"?")[0].decode("latin-1")
        format = wanted_format(path, self.getHeader("Accept"))
        refused = too_large()
        status = status_of(refused)
        body = render(error_envelope(status, error_object(refused)), format)
        self.channel.write(
            b"HTTP/1.1 %d Request Entity Too Large\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n" % (status, CONTENT_TYPE[format].encode(), len(body)) + body
        )
        self.channel.loseConnection()


@implementer(IPullProducer)
class _Watched:
    """What sends a file, with a limit to how long nobody may take the next piece of it."""

    def __init__(self, producer: IPullProducer, patience: IDelayedCall) -> None:
        self._producer = producer
        self._patience = patience

    def resumeProducing(self) -> None:
        """Send the next piece: somebody takes it."""
        if self._patience.active():
            self._patience.reset(MOST_PATIENT)
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Send no more."""
        self._producer.stopProducing()


class QuietSite(Site):
    """A site that writes no access log of twisted.web's: the API writes a line of its own.

    :param timeout: seconds in which a request has to come, and then the next one.
    """

    requestFactory = BoundedRequest

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        connections: Connections,
        timeout: int = 60,
    ) -> None:
        Site.__init__(self, resource, reactor=clock, timeout=timeout)
        self._connections = connections

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Serve a connection, if there may be one more.

        twisted.web's own would speak HTTP/2, too, which has none of the bounds.
        """
        admitted = self._connections.admit()
        if isinstance(admitted, BoundedChannel):
            channel: Any = admitted
            channel.factory = channel.site = self
            channel.requestFactory = self.requestFactory
            channel.callLater = self.reactor.callLater
            channel.timeOut = self.timeOut
        return admitted

    def acceptableProtocols(self) -> list[bytes]:
        """Speak HTTP/1.1 alone."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Start nothing: twisted.web would keep the time for its log every second."""

    def log(self, request: HTTPRequest | IRequest) -> None:
        """Write nothing."""
