"""A reader of the live stream, as a CRM would write one: events, their places, and comments.

Knows server-sent events; nothing of calls.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure


@dataclass(frozen=True)
class Event:
    """One event: the place after it, its type, its data."""

    id: str
    type: str
    data: dict[str, Any]

    @property
    def row(self) -> dict[str, Any]:
        """The object in it."""
        found: dict[str, Any] = self.data["data"]
        return found


@dataclass
class Heard:
    """What a reader has heard, over all its connections."""

    events: list[Event] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    place: str = ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The objects of all events."""
        return [event.row for event in self.events]

    def of(self, type_: str) -> list[dict[str, Any]]:
        """The objects of the events of one type."""
        return [event.row for event in self.events if event.type == type_]


class Reader(Protocol):
    """One connection to the stream; what is whole is put into ``heard``."""

    def __init__(self, path: str, heard: Heard) -> None:
        self._path = path
        self._heard = heard
        self._raw = b""
        self._text = b""
        self.head = ""
        self.is_over = False
        self.over: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Ask, with the last place that was heard."""
        last = f"Last-Event-ID: {self._heard.place}\r\n" if self._heard.place else ""
        request = f"GET {self._path} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"
        assert self.transport is not None
        self.transport.write(request.encode())

    def dataReceived(self, data: bytes) -> None:
        """Take the chunks apart."""
        self._raw += data
        if not self.head:
            head, end, rest = self._raw.partition(b"\r\n\r\n")
            if not end:
                return
            self.head, self._raw = head.decode("latin-1"), rest
        while True:
            size, end, rest = self._raw.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                break
            self.is_over = self.is_over or int(size, 16) == 0
            self._text += rest[: int(size, 16)]
            self._raw = rest[int(size, 16) + 2 :]
        *blocks, self._text = self._text.split(b"\n\n")
        for block in blocks:
            self._take(block.decode())

    def _take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
        if "" in fields:
            self._heard.comments.append(fields[""])
        self._heard.place = fields.get("id", self._heard.place)
        if "data" in fields:
            event = Event(fields["id"], fields["event"], json.loads(fields["data"]))
            assert event.type == event.data["type"]
            self._heard.events.append(event)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say that it is over."""
        self.over.callback(None)

    def cut(self) -> None:
        """Cut the connection in the middle of whatever it carries."""
        transport: Any = self.transport
        transport.abortConnection()


def path(**asked: object) -> str:
    """The stream's address."""
    return "/api/events" + (f"?{urlencode(asked)}" if asked else "")


async def follow(port: int, heard: Heard, **asked: object) -> Reader:
    """Open a stream that goes on after what was heard."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    reader: Reader = await connectProtocol(endpoint, Reader(path(**asked), heard))
    return reader


def deaf(port: int, **asked: object) -> socket.socket:
    """A reader that asks and then takes nothing, with little room in the kernel."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.sendall(f"GET {path(**asked)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return made


def is_cut(deaf_reader: socket.socket) -> Callable[[], bool]:
    """Whether the other side has cut a reader that takes nothing."""

    def look() -> bool:
        error = deaf_reader.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        info = deaf_reader.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        # 7: closed
        return error != 0 or info[0] == 7

    return look
