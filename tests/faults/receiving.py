"""A receiver of webhooks that fails when it is told to.

Keeps everything that arrives; judges nothing.
"""

from __future__ import annotations

import socket
import ssl
import time

from tests.faults.deliveries import Arrival
from tests.faults.failing import Contexts, Failing, Server
from tests.faults.ways import Way
from tests.integration.receiver import Answering, Post

PATH = "/hook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(Failing):
    """One receiver."""

    def __init__(self, name: str, contexts: Contexts | None = None) -> None:
        super().__init__(_Hook, PATH, contexts)
        self.name = name
        self._arrivals: list[Arrival] = []

    @property
    def arrivals(self) -> list[Arrival]:
        """What has arrived so far, in the order of arrival."""
        with self.lock:
            return list(self._arrivals)

    def take(self, post: Post, link: socket.socket) -> tuple[Arrival, Way]:
        """Keep what has arrived over a connection; and how it is to be answered."""
        way = self.way
        # The way may be another one since the connection was made.
        is_trusted = not isinstance(link, ssl.SSLSocket) or link.context is self.contexts["good"]
        try:
            is_signed = post.is_signed(SECRET)
        except (KeyError, ValueError):
            is_signed = False
        arrival = Arrival(post, is_signed, is_trusted)
        with self.lock:
            self._arrivals.append(arrival)
            self.failed += way.answers is not None
        return arrival, way


class _Hook(Answering):
    server: Server
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
        self._arrival, way = self.server.owner.take(post, self.connection)
        if way.answers is None:
            self.answer(200)
        else:
            way.answers(self, post)

    def do_GET(self) -> None:
        """Note who follows a redirect."""
        post = Post(self.path, {}, b"", time.time(), self.client_address)
        self._arrival, _ = self.server.owner.take(post, self.connection)
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
