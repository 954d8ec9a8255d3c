"""How a receiver of webhooks may fail: a table."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.integration.receiver import Answering, Behave, Post, always, endless

#: Seconds for which the daemon waits for an answer, and after which a slow receiver gives one.
TIMEOUT, SLOW = 2.0, 3.0
#: Seconds that a receiver asks for before it is asked again.
PAUSE = 3
#: Where a redirect leads: at the same receiver.
ELSEWHERE = "/elsewhere"
#: An alert of TLS, which says that it cannot agree on anything.
_ALERT = b"\x15\x03\x03\x00\x02\x02\x28"


@dataclass(frozen=True)
class Way:
    """How one fails.

    ``listens``: it takes connections. ``greets``: what it does with a connection instead of HTTP or
    TLS. ``certificate``: which one it shows; only where it speaks TLS. ``answers``: what it does
    with a POST.
    """

    listens: bool = True
    greets: Callable[[socket.socket], None] | None = None
    certificate: str | None = None
    answers: Behave | None = None


def _talks(data: bytes) -> Callable[[socket.socket], None]:
    """Listen to what comes, and say something that has nothing to do with it."""

    def greets(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(data)

    return greets


def _slow(to: Answering, post: Post) -> None:
    time.sleep(SLOW)
    to.answer(200)


def _endless_headers(to: Answering, post: Post) -> None:
    to.wfile.write(b"HTTP/1.1 200 OK\r\n")
    with suppress(OSError):
        while True:
            to.wfile.write(b"X-More: and more\r\n" * 1000)
    to.close_connection = True


def _breaks_off(data: bytes) -> Behave:
    """Begin an answer, and go."""

    def behave(to: Answering, post: Post) -> None:
        to.wfile.write(data)
        to.close_connection = True

    return behave


def _half_a_body(to: Answering, post: Post) -> None:
    to.send_response(200)
    to.send_header("Content-Length", "99")
    to.end_headers()
    to.wfile.write(b"th")
    to.close_connection = True


#: Every receiver may fail so.
WAYS: dict[str, Way] = {
    "refuses connections": Way(listens=False),
    "is slow": Way(answers=_slow),
    "errs": Way(answers=always(500)),
    "errs without an end": Way(answers=endless(500)),
    "thanks without an end": Way(answers=endless(200)),
    "has endless headers": Way(answers=_endless_headers),
    "breaks off at once": Way(answers=_breaks_off(b"")),
    "breaks off in its headers": Way(answers=_breaks_off(b"HTTP/1.1 200 OK\r\nContent-Le")),
    "breaks off in its thanks": Way(answers=_half_a_body),
    "redirects": Way(answers=always(302, Location=ELSEWHERE)),
    "redirects the POST": Way(answers=always(308, Location=ELSEWHERE)),
    "asks for a pause": Way(answers=always(429, Retry_After=str(PAUSE))),
    "talks TLS": Way(greets=_talks(_ALERT)),
    "talks nonsense": Way(greets=_talks(b"220 \xff\x00 ready\r\n")),
}
#: Those who speak TLS may besides.
TLS_WAYS: dict[str, Way] = {
    "shows a stranger's certificate": Way(certificate="stranger"),
    "shows an old certificate": Way(certificate="old"),
    "shows another host's certificate": Way(certificate="elsewhere"),
}
