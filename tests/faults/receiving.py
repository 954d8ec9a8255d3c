"""A receiver of webhooks that fails when it is told to: an HTTP server in threads of its own.

Keeps everything that arrives; judges nothing.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from tests.faults.deliveries import Arrival
from tests.faults.ways import TLS_WAYS, WAYS, Way
from tests.live.receiver import Answering, Post

HOST, PATH = "127.0.0.1", "/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_WELL = Way()
#: Seconds that a connection may say nothing.
_SILENT = 30.0


class Receiver:
    """One receiver, at one port for good.

    :param contexts: what it speaks TLS with, by the name of the certificate; none: plain HTTP.
    :ivar chosen: how often it was told to fail in each way.
    :ivar failed: connections and POSTs that it failed; not those that it refused.
    """

    def __init__(self, name: str, contexts: Mapping[str, ssl.SSLContext] | None = None) -> None:
        self.name = name
        self.chosen: Counter[str] = Counter()
        self.failed = 0
        self._contexts = contexts or {}
        self._way = _WELL
        self._arrivals: list[Arrival] = []
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server: _Server | None = None
        # While nobody listens nobody else may have the port.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind((HOST, 0))
        scheme = "https" if contexts else "http"
        self.url = f"{scheme}://{HOST}:{self._place.getsockname()[1]}{PATH}"
        self._listen()

    @property
    def ways(self) -> Mapping[str, Way]:
        """How it can fail."""
        return {**WAYS, **TLS_WAYS} if self._contexts else WAYS

    @property
    def listens(self) -> bool:
        """Whether it takes connections."""
        return self._way.listens

    @property
    def arrivals(self) -> list[Arrival]:
        """What has arrived so far, in the order of arrival."""
        with self._lock:
            return list(self._arrivals)

    def fail(self, way: str) -> None:
        """Fail so from now on, also where a connection is open already."""
        self.chosen[way] += 1
        self._way = self.ways[way]
        if not self.listens:
            self._close()
        self._cut()

    def recover(self) -> None:
        """Take everything again."""
        self._way = _WELL
        if self._server is None:
            self._listen()
        self._cut()

    def stop(self) -> None:
        """Listen no more."""
        self._close()
        self._cut()
        self._place.close()

    def _listen(self) -> None:
        self._server = _Server(self._place.getsockname(), _Hook)
        self._server.receiver = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _cut(self) -> None:
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            with suppress(OSError):
                # Not TLS's own, which takes away what another thread is using.
                socket.socket.shutdown(link, socket.SHUT_RDWR)

    # In the threads of connections

    def serve(self, link: socket.socket, address: Any, server: _Server) -> None:
        """One connection, to its end."""
        link.settimeout(_SILENT)
        way = self._way
        if way.greets is not None:
            self.failed += 1
            way.greets(link)
            return
        if self._contexts:
            self.failed += way.certificate is not None
            link = self._contexts[way.certificate or "good"].wrap_socket(link, server_side=True)
        with self._lock:
            self._links.add(link)
        try:
            if way is self._way:
                _Hook(link, address, server)
        finally:
            with self._lock:
                self._links.discard(link)
            link.close()

    def take(self, post: Post, link: socket.socket) -> tuple[Arrival, Way]:
        """Keep what has arrived over a connection; and how it is to be answered."""
        way = self._way
        # The way may be another one since the connection was made.
        is_trusted = not isinstance(link, ssl.SSLSocket) or link.context is self._contexts["good"]
        try:
            is_signed = post.is_signed(SECRET)
        except (KeyError, ValueError):
            is_signed = False
        arrival = Arrival(post, is_signed, is_trusted)
        with self._lock:
            self._arrivals.append(arrival)
            self.failed += way.answers is not None
        return arrival, way


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    receiver: Receiver

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in a thread of its own."""
        self.receiver.serve(request, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what is cut off in the middle was meant to be."""


class _Hook(Answering):
    server: _Server
    _arrival: Arrival | None = None

    def do_POST(self) -> None:
        """Take a POST, and answer it the receiver's way."""
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            # It was cut off in the middle, and has not arrived.
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        post = Post(self.path, headers, body, time.time(), self.client_address)
        self._arrival, way = self.server.receiver.take(post, self.connection)
        if way.answers is None:
            self.answer(200)
        else:
            way.answers(self, post)

    def do_GET(self) -> None:
        """Note who follows a redirect."""
        post = Post(self.path, {}, b"", time.time(), self.client_address)
        self._arrival, _ = self.server.receiver.take(post, self.connection)
        self.answer(200)

    def send_response(self, code: int, message: str | None = None) -> None:
        """Note that it is taken, before anybody can know of it."""
        if self._arrival is not None and 200 <= code < 300:
            self._arrival.taken = time.time()
        super().send_response(code, message)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer as a whole."""
        super().answer(status, body, **headers)
        if self._arrival is not None:
            self._arrival.pause = float(headers.get("Retry_After", 0.0))
