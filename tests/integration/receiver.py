"""A CRM's receiver of webhooks: a real HTTP server in threads, that behaves as a test wants.

Knows HTTP and Standard Webhooks by its own code, nothing of the daemon's.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from lxml import etree


@dataclass(frozen=True)
class Post:
    """One POST as it arrived; ``when`` in seconds of the wall's clock, ``peer`` the connection."""

    path: str
    headers: dict[str, str]
    body: bytes
    when: float
    peer: tuple[str, int]

    @property
    def id(self) -> str:
        """What names the message."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def xml(self) -> etree._Element:
        """The body as XML."""
        return etree.fromstring(self.body)

    def is_signed(self, secret: str) -> bool:
        """Whether one of the signatures was made with this secret, as the standard says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
        versions = [one.split(",", 1) for one in self.headers["webhook-signature"].split(" ")]
        return any(version == "v1" and found == expected for version, found in versions)


#: Answers one POST.
Behave = Callable[["Answering", Post], None]


class Receiver:
    """The server. ``behave`` says by path how it answers; a path without a word says 200."""

    def __init__(self, port: int = 0) -> None:
        self.behave: dict[str, Behave] = {}
        self._posts: list[Post] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), Answering)
        self._server.receiver = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def take(self, post: Post) -> None:
        """Keep a POST."""
        with self._lock:
            self._posts.append(post)

    def posts(self, path: str, call_id: int | None = None) -> list[Post]:
        """What arrived at a path, in the order of arrival; of one call, if so asked."""
        with self._lock:
            return [
                one
                for one in self._posts
                if one.path == path and (call_id is None or one.id.startswith(f"{call_id}-"))
            ]

    def ids(self, path: str, call_id: int | None = None) -> list[str]:
        """The names of what arrived."""
        return [one.id for one in self.posts(path, call_id)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: Receiver

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who is cut off in the middle was meant to be."""


class Answering(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Take a POST and answer it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = self.path.partition("?")[0]
        post = Post(path, headers, body, time.time(), cast(Any, self.client_address))
        receiver = cast(_Server, self.server).receiver
        receiver.take(post)
        receiver.behave.get(path, ok)(self, post)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer as a whole."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def ok(answering: Answering, post: Post) -> None:
    """Take it."""
    answering.answer(200, b"thanks")


def always(status: int, **headers: str) -> Behave:
    """Always answer the same."""
    return lambda answering, post: answering.answer(status, b"", **headers)


def at_first(times: int, behave: Behave) -> Behave:
    """Behave so many times to each call, then take everything."""
    count: Counter[str] = Counter()
    lock = threading.Lock()

    def counted(answering: Answering, post: Post) -> None:
        call = post.id.partition("-")[0]
        with lock:
            count[call] += 1
            number = count[call]
        (behave if number <= times else ok)(answering, post)

    return counted


def hanging(seconds: float) -> Behave:
    """Say nothing for so long, and hang up."""

    def behave(answering: Answering, post: Post) -> None:
        time.sleep(seconds)
        answering.close_connection = True

    return behave


def endless(status: int) -> Behave:
    """Answer with a body that does not end until the connection is cut."""

    def behave(answering: Answering, post: Post) -> None:
        answering.send_response(status)
        answering.end_headers()
        with contextlib.suppress(OSError):
            while True:
                answering.wfile.write(b"x" * 65536)
        answering.close_connection = True

    return behave
