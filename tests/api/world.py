"""A small world around the API, and a client that asks it.

The client goes through twisted.web's real request parsing, over a transport in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import attrs
import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from ccdaemon.api.app import Api
from ccdaemon.api.clients import Clients, Permission
from ccdaemon.api.param_types import Patterns
from ccdaemon.config import LOCAL, Client
from ccdaemon.config.validators import Pattern
from tests.api.deliveries import Deliveries
from tests.api.parts import (
    Control,
    Entries,
    Forgetting,
    History,
    Listening,
    Operators,
    Pauses,
    Recordings,
    Switchboard,
)
from tests.api.watched import Counts, Watch
from tests.clocks import Wall

#: Whoever asks from this machine, with every permission.
ANYBODY = attrs.evolve(LOCAL, permissions=[permission.value for permission in Permission])
PATTERNS = Patterns(sip=Pattern("[0-9]{3,6}"), phone=Pattern("[0-9]{3,15}"))


class Reply:
    """What came back on a connection: one answer, parsed."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        pairs = [line.split(": ", 1) for line in lines]
        self.headers = {name.lower(): value for name, value in pairs}

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


class World:
    """The API with everything around it, and the means to ask it."""

    def __init__(self, clients: Sequence[Client] = (ANYBODY,), **options: Any) -> None:
        self.clock = Clock()
        self.wall = Wall(self.clock)
        self.calls = Switchboard()
        self.control = Control()
        self.webhooks = Deliveries()
        self.entries = Entries()
        self.pauses = Pauses()
        self.retention = Forgetting()
        self.listening = Listening()
        self.watch = Watch()
        self.counts = Counts()
        self.history = History()
        self.operators = Operators()
        self.recordings = Recordings()
        self.api = Api(
            calls=cast(Any, self.calls),
            control=self.control,
            webhooks=self.webhooks,
            entries=self.entries,
            pauses=self.pauses,
            retention=self.retention,
            listening=self.listening,
            watch=self.watch,
            counts=self.counts,
            operators=self.operators,
            history=self.history,
            recordings=self.recordings,
            clients=Clients(clients),
            patterns=PATTERNS,
            clock=cast(Any, self.clock),
            wall=self.wall,
            **options,
        )
        cast(Any, self.api).startService()
        self.site = self.api.site()

    def connect(self, peer: str = "127.0.0.1") -> Connection:
        """Open a connection."""
        return Connection(self, peer)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        peer: str = "127.0.0.1",
    ) -> Reply:
        """Ask once; the answer has to come at once."""
        connection = self.connect(peer)
        connection.send(path, method, headers, body)
        return connection.reply()


class Wire(StringTransport):
    """A transport in memory that says how it was closed."""

    aborting = False

    def abortConnection(self) -> None:
        """Cut it; the reactor would say so in its next turn."""
        self.aborting = self.disconnected = True
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        """Send nothing more."""


class Connection:
    """One connection to the API."""

    def __init__(self, world: World, peer: str) -> None:
        address: IAddress = IPv4Address("TCP", peer, 50000)
        self.transport = Wire(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 8080), peerAddress=address
        )
        protocol = world.site.buildProtocol(address)
        assert protocol is not None
        self.protocol = protocol
        self.protocol.makeConnection(self.transport)

    def send(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        """Send a request."""
        given = {"Host": "localhost:8080", **(headers or {})}
        if body is not None:
            given.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {given[name]}" for name in given)]
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.protocol.dataReceived(head.encode("latin-1") + (body or b""))

    def close(self) -> None:
        """Go away without a word."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def received(self) -> bytes:
        """Everything that has come back so far."""
        value: bytes = self.transport.value()
        return value

    def reply(self) -> Reply:
        """Take the answer."""
        assert self.received, "no answer yet"
        reply = Reply(self.received)
        self.transport.clear()
        return reply
