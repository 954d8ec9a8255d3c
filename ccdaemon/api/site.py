"""The web server's own bounds: how large, how long, how many; and no log but ours.

twisted.web bounds each line of a request (16 KiB), its headers together (16 KiB) and their number
(500), and closes the connection beyond; so it does after ``timeout`` idle seconds. What it does not
bound is the body: that is done here. Knows no method of the API.
"""

from __future__ import annotations

from io import BytesIO

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import Request as HTTPRequest
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from ccdaemon.api.addressing import wanted_format
from ccdaemon.api.errors import error_object, status_of
from ccdaemon.api.exchange import LARGEST_BODY, too_large
from ccdaemon.api.rendering import CONTENT_TYPE, error_envelope, render

#: How much of a body that is too large is read (and thrown away), in bytes: who sends no more
#: than this is answered when the body has ended, and can go on with the connection.
LARGEST_SWALLOWED = 16 * LARGEST_BODY


class BoundedRequest(Request):
    """A request whose body takes a bounded part of memory and never the disk."""

    _received = 0
    _cut = False

    def process(self) -> None:
        """Have the request answered by the API, also where it is for the server as a whole."""
        if self.path == b"*":
            self.path = b"/*"
        Request.process(self)

    def gotLength(self, length: int | None) -> None:
        """Make room for the body, once the headers are read."""
        self.content = self._kept = BytesIO()
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

    def _cut_off(self) -> None:
        """Answer in the middle of the body and close: there is no other way to end it."""
        if self._cut:
            return
        self._cut = True
        self.requestHeaders.removeHeader(b"expect")
        # The request line is known to the channel alone until the body has ended.
        path = getattr(self.channel, "_path", b"").partition(b"?")[0].decode("latin-1")
        format = wanted_format(path, self.getHeader("Accept"))
        refused = too_large()
        status = status_of(refused)
        body = render(error_envelope(status, error_object(refused)), format)
        self.channel.write(
            b"HTTP/1.1 %d Request Entity Too Large\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
            b"Connection: close\r\n\r\n" % (status, CONTENT_TYPE[format].encode(), len(body)) + body
        )
        self.channel.loseConnection()


class QuietSite(Site):
    """A site that writes no access log of twisted.web's: the API writes a line of its own."""

    requestFactory = BoundedRequest

    def __init__(self, resource: IResource, clock: IReactorTime, timeout: int = 60) -> None:
        # The API reads forms itself: twisted.web would not tell the query from the body.
        Site.__init__(self, resource, reactor=clock, timeout=timeout, parsePOSTFormSubmission=False)

    def startFactory(self) -> None:
        """Start nothing: twisted.web would keep the time for its log every second."""

    def log(self, request: HTTPRequest | IRequest) -> None:
        """Write nothing."""
