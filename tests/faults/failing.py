"""An HTTP server that fails when it is told to, in threads of its own."""

from __future__ import annotations

import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.faults.certificates import certified
from tests.faults.ways import TLS_WAYS, WAYS, Way
from tests.integration.receiver import Answering

HOST = "127.0.0.1"
_WELL = Way()
#: Seconds that a connection may say nothing.
_SILENT = 30.0

Contexts = Mapping[str, ssl.SSLContext]


def contexts(folder: Path) -> tuple[Contexts, Path]:
    """What a server shows that is well or fails in each of ``TLS_WAYS``, by the certificate's name.

    :return: and the file for who is to trust it.
    """
    good, trusted = certified(folder, "good")
    return {
        "good": good,
        "stranger": certified(folder, "stranger")[0],
        "old": certified(folder, "old", days=-1)[0],
        "elsewhere": certified(folder, "elsewhere", address="127.0.0.2")[0],
    }, trusted


def words(chosen: Mapping[str, int]) -> str:
    """Ways to fail, and how often each was chosen."""
    return ", ".join(f"{way} ({count})" for way, count in sorted(chosen.items()))


class Failing:
    """One server, at one port for good.

    :param speaks: has its connections, one each; its ``server.owner`` is this.
    :param contexts: what it speaks TLS with, by the name of the certificate; none: plain HTTP.
    :ivar chosen: how often it was told to fail in each way.
    :ivar failed: connections and requests that it failed; not those that it refused.
    """

    def __init__(self, speaks: type[Answering], path: str, contexts: Contexts | None) -> None:
        self.chosen: Counter[str] = Counter()
        self.failed = 0
        self.contexts = contexts or {}
        self.way = _WELL
        self.lock = threading.Lock()
        self._speaks = speaks
        self._path = path
        self._links: set[socket.socket] = set()
        self._server: Server | None = None
        # While nobody listens nobody else may have the port.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind((HOST, 0))
        self._listen()

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "https" if self.contexts else "http"
        return f"{scheme}://{HOST}:{self._place.getsockname()[1]}{self._path}"

    @property
    def ways(self) -> Mapping[str, Way]:
        """How it can fail."""
        return {**WAYS, **TLS_WAYS} if self.contexts else WAYS

    @property
    def listens(self) -> bool:
        """Whether it takes connections."""
        return self.way.listens

    def fail(self, way: str) -> None:
        """Fail so from now on, also where a connection is open already."""
        self.chosen[way] += 1
        self.way = self.ways[way]
        if not self.listens:
            self._close()
        self._cut()

    def recover(self) -> None:
        """Be well again."""
        self.way = _WELL
        if self._server is None:
            self._listen()
        self._cut()

    def stop(self) -> None:
        """Listen no more."""
        self._close()
        self._cut()
        self._place.close()

    def _listen(self) -> None:
        self._server = Server(self._place.getsockname(), self._speaks)
        self._server.owner = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _cut(self) -> None:
        with self.lock:
            links, self._links = self._links, set()
        for link in links:
            with suppress(OSError):
                # Not TLS's own, which takes away what another thread is using.
                socket.socket.shutdown(link, socket.SHUT_RDWR)

    # In the threads of connections

    def serve(self, link: socket.socket, address: Any, server: Server) -> None:
        """One connection, to its end."""
        link.settimeout(_SILENT)
        way = self.way
        if way.greets is not None:
            self.failed += 1
            way.greets(link)
            return
        if self.contexts:
            self.failed += way.certificate is not None
            link = self.contexts[way.certificate or "good"].wrap_socket(link, server_side=True)
        with self.lock:
            self._links.add(link)
        try:
            if way is self.way:
                self._speaks(link, address, server)
        finally:
            with self.lock:
                self._links.discard(link)
            link.close()


class Server(ThreadingHTTPServer):
    """Takes connections for its owner."""

    daemon_threads = True
    request_queue_size = 64
    owner: Any

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in a thread of its own."""
        self.owner.serve(request, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what is cut off in the middle was meant to be."""
