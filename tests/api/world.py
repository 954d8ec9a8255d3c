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
from ccdaemon.api.connections import Connections
from ccdaemon.api.long_poll import MOST_WAITING, Waiters
from ccdaemon.api.methods.calls import CallMethods
from ccdaemon.api.methods.control import ControlMethods
from ccdaemon.api.methods.crm import CrmMethods
from ccdaemon.api.methods.health import HealthMethods
from ccdaemon.api.methods.history import HistoryMethods
from ccdaemon.api.methods.links import LinkMethods
from ccdaemon.api.methods.operators import OperatorMethods
from ccdaemon.api.methods.streams import StreamMethods
from ccdaemon.api.methods.webhooks import WebhookMethods
from ccdaemon.api.param_types import Patterns
from ccdaemon.api.playback import Playback
from ccdaemon.api.shares import Shares
from ccdaemon.api.signed_urls import Links
from ccdaemon.api.sse import EventStreams
from ccdaemon.api.tickets import Tickets
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


#: By what every link is told from others here.
LINK = "5f1d0c3a9b7e"


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

    def __init__(
        self,
        clients: Sequence[Client] = (ANYBODY,),
        *,
        link_secret: str | None = None,
        max_waiting: int = MOST_WAITING,
        max_connections: int = 2000,
        max_streams: int = 100,
        heartbeat: float = 15.0,
        **options: Any,
    ) -> None:
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
        # Each has of its real part what the API asks of it.
        history, watch = cast(Any, self.history), cast(Any, self.watch)
        known, clock = Clients(clients), cast(Any, self.clock)
        links, tickets = Links(link_secret), Tickets(link_secret)
        self.waiters = Waiters(clock, Shares(max_waiting, len(known)))
        self.streams = EventStreams(history, clock, Shares(max_streams, len(known)), heartbeat)
        self.connections = Connections(clock, max_connections)
        self.api = Api(
            families=(
                CallMethods(cast(Any, self.calls)),
                HistoryMethods(history, self.waiters, clock),
                OperatorMethods(cast(Any, self.operators), history),
                ControlMethods(cast(Any, self.control), history),
                LinkMethods(links, cast(Any, self.entries), history, self.wall, lambda: LINK),
                StreamMethods(tickets, self.wall),
                WebhookMethods(cast(Any, self.webhooks)),
                CrmMethods(
                    cast(Any, self.entries),
                    cast(Any, self.pauses),
                    cast(Any, self.retention),
                    history,
                ),
                HealthMethods(watch),
            ),
            streams=self.streams,
            waiters=self.waiters,
            connections=self.connections,
            playback=Playback(history, cast(Any, self.recordings), cast(Any, self.listening)),
            links=links,
            tickets=tickets,
            watch=watch,
            metrics=cast(Any, self.counts),
            clients=known,
            patterns=PATTERNS,
            clock=clock,
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


#: What the API can be asked, and what of it acts on live calls.
METHODS = World().api.methods
CONTROLLING = tuple(
    one for one in METHODS if isinstance(getattr(one.run, "__self__", None), ControlMethods)
)
