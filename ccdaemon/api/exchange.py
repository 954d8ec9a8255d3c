"""One request and its answer: what is read from the one, how the other is dressed.

The only place that knows twisted.web's request. What may be asked, and by whom, is not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import SEEK_END
from typing import Any, BinaryIO, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from ccdaemon.api.addressing import wanted_format
from ccdaemon.api.errors import error_object, status_of
from ccdaemon.api.rendering import CONTENT_TYPE, Answer, Tree, envelope, error_envelope, render
from ccdaemon.errors import Code, Refused

#: How large a body may be, in bytes.
LARGEST_BODY = 64 * 1024

#: The methods of HTTP that are answered.
HTTP_METHODS = ("GET", "HEAD", "POST")

_HEADERS = {
    "Server": "ccdaemon",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
_UNPRINTABLE = re.compile(r"[^!-~]")


def too_large() -> Refused:
    """Make the refusal of a body."""
    return Refused(Code.BODY_TOO_LARGE, f"the body is larger than {LARGEST_BODY // 1024} KiB")


class Exchange:
    """A request that is to be answered, and its line in the log."""

    def __init__(self, request: Request, clock: IReactorTime, log: Logger) -> None:
        self.request = request
        self.http_method = request.method.decode("latin-1")
        self.path = request.path.decode("latin-1")
        self.format = wanted_format(self.path, self.header("Accept"))
        self.gone: Deferred[None] = Deferred()
        self.client: str | None = None
        self._clock = clock
        self._began = clock.seconds()
        self._log = log
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        request.notifyFinish().addBoth(self._over)

    @staticmethod
    def of(request: IRequest) -> Exchange:
        """Find the exchange that a request is part of."""
        exchange: Any = request
        found: Exchange = exchange.getComponent(Exchange)
        return found

    def headers(self, name: str) -> Sequence[str]:
        """Give a header of the request, as often as it came."""
        raw = self.request.requestHeaders.getRawHeaders(name.encode("ascii")) or []
        return [value.decode("latin-1") for value in raw]

    def header(self, name: str) -> str | None:
        """Give a header of the request; None if it did not come."""
        return next(iter(self.headers(name)), None)

    @property
    def query(self) -> bytes:
        """The query string, undecoded."""
        return self.request.uri.partition(b"?")[2]

    def check_body(self) -> None:
        """Refuse a body that is too large.

        :raises Refused: with ``body_too_large``.
        """
        if self._content.seek(0, SEEK_END) > LARGEST_BODY:
            raise too_large()

    def form(self) -> bytes:
        """Give the body of a POST; any other method's body says nothing."""
        self._content.seek(0)
        return self._content.read() if self.http_method == "POST" else b""

    @property
    def _content(self) -> BinaryIO:
        return cast(BinaryIO, self.request.content)

    @property
    def peer(self) -> str | None:
        """The IP address that asks; None for a local socket."""
        address = self.request.getClientAddress()
        return None if isinstance(address, UNIXAddress) else str(getattr(address, "host", ""))

    @property
    def own_url(self) -> str:
        """Scheme and host by which this request reached us."""
        scheme = "https" if self.request.isSecure() else "http"
        return f"{scheme}://{self.header('Host')}"

    def answer(self, answer: Answer) -> bytes:
        """Dress the request for an answer, and spell it."""
        if answer.retry_after is not None:
            self.request.setHeader("Retry-After", str(answer.retry_after))
        return self._dress(200, envelope(answer))

    def refuse(self, refused: Refused) -> bytes:
        """Dress the request for a refusal, and spell it."""
        status = status_of(refused)
        if status == 401:
            self.request.setHeader("WWW-Authenticate", "Bearer")
        if status == 405:
            self.request.setHeader("Allow", ", ".join(HTTP_METHODS))
        if refused.retry_after is not None:
            self.request.setHeader("Retry-After", str(refused.retry_after))
        return self._dress(status, error_envelope(status, error_object(refused)))

    def _dress(self, status: int, tree: Tree) -> bytes:
        return self.send(status, CONTENT_TYPE[self.format], render(tree, self.format))

    def send(self, status: int, content_type: str, body: bytes) -> bytes:
        """Dress the request for a body of any kind; nobody on the way may keep it."""
        self.request.setResponseCode(status)
        self.request.setHeader("Content-Type", content_type)
        self.request.setHeader("Content-Length", str(len(body)))
        self.request.setHeader("Cache-Control", "no-store")
        return body

    def _over(self, result: object) -> None:
        self.gone.callback(None)
        self._log.info(
            "{method} {path} {status} in {ms} ms for {client}",
            method=self.http_method,
            # Without the query string, which may hold a key.
            path=_UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", self.path)[:200],
            status=self.request.code if result is None else "abandoned",
            ms=round((self._clock.seconds() - self._began) * 1000),
            client=self.client or "nobody",
        )
