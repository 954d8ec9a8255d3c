"""Faults of the daemon's HTTP clients: a crowd that says nothing, too little or too much."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

from tests.faults.marks import Wrong
from tests.faults.probing import answered, memory
from tests.faults.stage import Fault, Stage, Steps

_IDLE, _SLOW, _HALF, _HUGE = 1000, 200, 100, 50
#: Seconds in which the daemon says that it is alive.
_ALIVE_WITHIN = 5.0
#: MB that the daemon may have grown by.
_GROWN = 50.0


def crowd(stage: Stage) -> Steps:
    """1,000 idle HTTP connections, 200 slow senders, 100 half-closed, 50 with huge headers."""
    name, before = "HTTP crowd", memory(stage)
    with answered(stage, name, _ALIVE_WITHIN, ("/healthz",)), contextlib.ExitStack() as open_:
        for _ in range(_IDLE):
            _connect(stage, open_)
        slow = [_connect(stage, open_) for _ in range(_SLOW)]
        for each in _some(stage, open_, _HALF):
            _send(each, b"GET /api/sipList.json HTTP/1.1\r\nHost: x\r\n")
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_WR)
        for each in _some(stage, open_, _HUGE):
            _send(each, b"GET / HTTP/1.1\r\nX: " + b"x" * 500_000)
        for letter in b"GET /healthz"[: 4 if stage.is_short else 12]:
            for each in slow:
                _send(each, bytes((letter,)))
            yield random.uniform(0.5, 1.0)
    yield 1.0
    grown = memory(stage) - before
    if grown > _GROWN:
        stage.wrong.append(Wrong(name, None, f"{grown:.1f} MB more memory"))


def _some(stage: Stage, open_: contextlib.ExitStack, count: int) -> Iterator[socket.socket]:
    return (_connect(stage, open_) for _ in range(count))


def _connect(stage: Stage, open_: contextlib.ExitStack) -> socket.socket:
    link = open_.enter_context(socket.socket())
    link.settimeout(2.0)
    with contextlib.suppress(OSError):
        link.connect(("127.0.0.1", stage.daemon.port))
    return link


def _send(link: socket.socket, data: bytes) -> None:
    # The daemon may have closed it, or take no more.
    link.setblocking(False)
    with contextlib.suppress(OSError):
        link.send(data)


FAULTS = (Fault("HTTP crowd", crowd, 10, lasts=12.0),)
