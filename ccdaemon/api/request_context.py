"""One request and its answer: what is read from the one, how the other is dressed.

The only place that knows twisted.web's request. What may be asked, and by whom, is not known
here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from io import SEEK_END
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SO_SNDBUF,
    SOL_SOCKET,
    TCP_USER_TIMEOUT,
    socket,
)
from typing import Any, BinaryIO, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.server import Request

from ccdaemon.api.errors import error_object, retry_after, status_of
from ccdaemon.api.methods.method import HTTP_METHODS
from ccdaemon.api.negotiation import wanted_format
from ccdaemon.api.rendering import CONTENT_TYPE, Answer, Tree, envelope, error_envelope, render
from ccdaemon.errors import Code, Refused

#: How large a body may be, in bytes.
LARGEST_BODY = 64 * 1024

#: What the kernel is asked to keep of a stream that its reader has not taken, in bytes.
KERNEL_BUFFER = 64 * 1024

#: What is counted where the client went before the answer, as nginx has it.
ABANDONED = 499

#: Told of every answer: what was asked for, the HTTP status, the seconds; None for a stream.
Observe = Callable[[str, int, float | None], None]

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

    def __init__(
        self, request: Request, clock: IReactorTime, log: Logger, observe: Observe
    ) -> None:
        self.request = request
        #: What is asked for, in one of few words, for those who count.
        self.label = "other"
        self._observe = observe
        #: Whether the log has no line of it, for there have been many of its kind.
        self.is_untold = False
        self._is_stream = False
        self.http_method = request.method.decode("latin-1")
        self.path = request.path.decode("latin-1")
        self.format = wanted_format(self.path, self.header("Accept"))
        #: The methods of HTTP by which it may be asked for.
        self.http_methods: Sequence[str] = HTTP_METHODS
        self.gone: Deferred[None] = Deferred()
        self.client: str | None = None
        #: The IP address that asks; None for a local socket.
        self.peer = self._far_end()
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
    def is_deliberate_post(self) -> bool:
        """Whether it is a POST with a type or a header that no form of a page can send."""
        marks = ("X-Requested-With", "Authorization")
        is_marked = any(self.header(name) for name in marks)
        return self.is_json_post or (self.http_method == "POST" and is_marked)

    def all_headers(self) -> Iterator[tuple[str, str]]:
        """Give every header of the request, as often as it came."""
        for name, values in self.request.requestHeaders.getAllRawHeaders():
            for value in values:
                yield name.decode("latin-1"), value.decode("latin-1")

    @property
    def is_json_post(self) -> bool:
        """Whether it is a POST that no form of a page can send."""
        media_type = (self.header("Content-Type") or "").partition(";")[0].strip().lower()
        return self.http_method == "POST" and media_type == "application/json"

    @property
    def query(self) -> bytes:
        """The query string, undecoded."""
        return self.request.uri.partition(b"?")[2]

    def check_method(self, allowed: Sequence[str]) -> None:
        """Refuse a method of HTTP by which this may not be asked for.

        :raises Refused: with ``method_not_allowed``.
        """
        self.http_methods = allowed
        if self.http_method not in allowed:
            raise Refused(Code.METHOD_NOT_ALLOWED, "only " + ", ".join(allowed))

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

    def _far_end(self) -> str | None:
        address = self.request.getClientAddress()
        if isinstance(address, UNIXAddress):
            return None
        # As a socket that listens to both spells an IPv4 address.
        return str(getattr(address, "host", "")).removeprefix("::ffff:")

    @property
    def address(self) -> str:
        """Where it comes from, in a word; who sends what is no address sends nothing of it."""
        return "local" if self.peer is None else self.peer

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
            self.request.setHeader("Allow", ", ".join(self.http_methods))
        if (seconds := retry_after(refused)) is not None:
            self.request.setHeader("Retry-After", str(seconds))
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

    def dress_stream(self, content_type: str) -> None:
        """Dress the request for a body that has no length, and that nobody may hold back."""
        self.request.setResponseCode(200)
        self.request.setHeader("Content-Type", content_type)
        self.request.setHeader("Cache-Control", "no-store")
        # nginx would gather it otherwise.
        self.request.setHeader("X-Accel-Buffering", "no")

    def begin_stream(self, content_type: str, producer: IPushProducer, silence: float) -> None:
        """Begin a body that ``producer`` writes, which is told when to pause.

        :param silence: seconds after which the kernel gives up a peer that acknowledges nothing.
        """
        self._is_stream = True
        self.dress_stream(content_type)
        transport: Any = self.request.channel.transport
        # With TLS there is a transport below.
        handle = getattr(transport, "transport", transport)
        handle = handle.getHandle() if hasattr(handle, "getHandle") else None
        if isinstance(handle, socket) and handle.family in (AF_INET, AF_INET6):
            handle.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, round(silence * 1000))
            # Else the kernel takes megabytes for a reader who takes nothing.
            handle.setsockopt(SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER)
        self.request.registerProducer(producer, True)

    def end_stream(self) -> None:
        """End the body, if anybody still reads it."""
        if not self.gone.called:
            self.request.unregisterProducer()
            self.request.finish()

    def abort(self) -> None:
        """Cut the connection, and drop what was written and not taken."""
        self.request.channel.forceAbortClient()

    def _over(self, result: object) -> None:
        self.gone.callback(None)
        took = self._clock.seconds() - self._began
        status = self.request.code if result is None else ABANDONED
        self._observe(self.label, status, None if self._is_stream else took)
        if self.is_untold:
            return
        self._log.info(
            "{method} {path} {status} in {ms} ms for {client} at {address}",
            method=self.http_method,
            # Without the query string, which may hold a key.
            path=_UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", self.path)[:200],
            status=self.request.code if result is None else "abandoned",
            ms=round(took * 1000),
            client=self.client or "nobody",
            address=self.address,
        )
