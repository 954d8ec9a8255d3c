"""A CRM that says who takes a call: an HTTP server in threads of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from time import monotonic, sleep
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: Seconds after which a CRM that is slow answers, or one that never ends has enough.
_SLOW = 5.0


def _slow(to: BaseHTTPRequestHandler) -> None:
    sleep(_SLOW)
    _nonsense(to)


def _nonsense(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("Content-Type", "application/json")
    to.end_headers()
    to.wfile.write(b'{"operators": [["1000", {"x": "\xff')


def _endless(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("Content-Type", "application/json")
    to.end_headers()
    end = monotonic() + _SLOW
    while monotonic() < end:
        to.wfile.write(b" " * 65536)


def _error(to: BaseHTTPRequestHandler) -> None:
    to.send_error(500)


def _cut(to: BaseHTTPRequestHandler) -> None:
    to.close_connection = True
    to.connection.shutdown(SHUT_RDWR)


#: How a CRM may fail.
WAYS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "slow": _slow,
    "nonsense": _nonsense,
    "endless": _endless,
    "an error": _error,
    "cut off": _cut,
}


class Crm:
    """Answers by the number that was dialled; ``answers`` are JSON objects by that number.

    ``way``: how it answers: as it should, or one of ``WAYS``.
    """

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, Any]] = {}
        self.way: str | None = None
        self.failed = 0
        answers, crm = self.answers, self

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if crm.way is not None:
                    crm.failed += 1
                    with suppress(OSError):
                        WAYS[crm.way](self)
                    return
                did = parse_qs(urlsplit(self.path).query).get("did", [""])[0]
                body = json.dumps(answers.get(did, {})).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/route"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
