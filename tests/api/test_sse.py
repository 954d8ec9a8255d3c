"""The live stream: everything once, from any place on, and nothing kept for who does not read."""

from __future__ import annotations

import re
from socket import IPPROTO_TCP, SO_SNDBUF, SOL_SOCKET, TCP_USER_TIMEOUT
from typing import Any, cast

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ccdaemon.api.request_context import KERNEL_BUFFER, Exchange
from ccdaemon.api.sse import BATCH
from ccdaemon.calls.model import State
from ccdaemon.config import Client
from ccdaemon.errors import Code, Refused
from ccdaemon.store.records import EVERYTHING, Chain, EventKind, StateRow
from tests.api.parts import call_view, told
from tests.api.world import World

BOTH = [State.CALL, State.ERROR]


class Stream:
    """One reader's connection, and what has come on it."""

    def __init__(
        self, world: World, query: str = "", headers: dict[str, str] | None = None, **options: str
    ) -> None:
        self.connection = world.connect()
        path = f"/api/events?{query}" if query else "/api/events"
        self.connection.send(path, options.get("method", "GET"), headers)

    @property
    def head(self) -> str:
        """Status line and headers, in lower case."""
        return self.connection.received.partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def text(self) -> str:
        """The body as far as it has come, out of its chunks."""
        rest = self.connection.received.partition(b"\r\n\r\n")[2]
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body.decode()

    @property
    def events(self) -> list[Any]:
        """Each event's id, type and data."""
        found = re.findall(r"^id: (.*)\nevent: (.*)\ndata: (.*)\n\n", self.text, re.MULTILINE)
        return [(id_, type_, msgspec.json.decode(data)) for id_, type_, data in found]

    @property
    def ids(self) -> list[int]:
        """The numbers of the events."""
        return [data["data"]["event_id"] for _, _, data in self.events]

    @property
    def is_over(self) -> bool:
        """Whether the answer has its end."""
        return self.connection.received.endswith(b"\r\n0\r\n\r\n")


class EventsTestCase(SynchronousTestCase):
    """Asks one world with a call in it."""

    options: dict[str, Any] = {}

    def setUp(self) -> None:
        """Have one call that has been told."""
        self.world = World(**self.options)
        self.world.history.add(call_view(1), BOTH)
        self.streams = self.world.streams

    def assert_nothing_is_kept(self) -> None:
        """No stream is open, nobody listens."""
        self.assertEqual((len(self.streams), len(self.streams._running)), (0, 0))
        self.assertEqual(self.world.history.listeners, set())


class Following(EventsTestCase):
    """What comes, and from where on."""

    def test_from_now_on(self) -> None:
        """Who names no place is told what happens from then on."""
        stream = Stream(self.world)
        self.assertIn("200 ok", stream.head)
        self.assertIn("content-type: text/event-stream", stream.head)
        self.assertIn("cache-control: no-store", stream.head)
        self.assertEqual((stream.text, stream.events), ("retry: 2000\n\n", []))
        self.world.history.add(call_view(2), BOTH)
        self.assertEqual(stream.ids, [3, 4])
        id_, type_, data = stream.events[0]
        self.assertEqual((id_, type_), ("0a1b2c.3", "call.state"))
        self.assertEqual(list(data), ["type", "timestamp", "data"])
        self.assertEqual((data["data"]["call_id"], data["data"]["state"]), (2, "CALL"))
        self.world.history.add(call_view(3), BOTH[:1])
        self.assertEqual(stream.ids, [3, 4, 5])

    def test_from_a_place_on(self) -> None:
        """The place comes from after=, or from what the reader heard last."""
        last = {"Last-Event-ID": "0a1b2c.1"}
        for query, headers, ids in (
            ("after=0", {}, [1, 2]),
            ("after=0a1b2c.1", {}, [2]),
            ("", last, [2]),
            ("after=0", last, [2]),
            ("after=0", {"Last-Event-ID": ""}, [1, 2]),
        ):
            self.assertEqual(Stream(self.world, query, headers).ids, ids, (query, headers))

    def test_every_event_is_a_place(self) -> None:
        """Who comes back with any event's id is told all after it, and nothing twice."""
        for n in range(2, 40):
            self.world.history.add(call_view(n), BOTH)
        whole = Stream(self.world, "after=0")
        self.assertEqual(whole.ids, list(range(1, 79)))
        for n, (id_, _, _) in enumerate(whole.events, 1):
            self.assertEqual(Stream(self.world, "", {"Last-Event-ID": id_}).ids, whole.ids[n:])

    def test_by_post(self) -> None:
        """A form is as good as a query."""
        connection = self.world.connect()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.send("/api/events", "POST", form, b"after=0")
        self.assertIn(b'"event_id":2', connection.received)

    def test_head(self) -> None:
        """HEAD says what there would be, and opens nothing."""
        reply = self.world.ask("/api/events", "HEAD")
        self.assertEqual((reply.status, reply.body), (200, b""))
        self.assertEqual(reply.headers["content-type"], "text/event-stream")
        self.assert_nothing_is_kept()

    def test_what_is_asked_for_reaches_the_history(self) -> None:
        """Filters and types are the history's to keep."""
        asked: list[Any] = []
        look = self.world.history.events_after

        async def noted(cursor: str, limit: int, filter: Any, kinds: Any) -> Any:
            asked.append((limit, filter, kinds))
            return await look(cursor, limit, filter, kinds)

        self.world.history.events_after = noted  # type: ignore[method-assign]
        Stream(self.world, "order_id=15&sip=1000&call_id=7&types=call.state,record.ready")
        _, filter, kinds = asked[0]
        self.assertEqual((filter.order_id, filter.sip, filter.call_id), ("15", "1000", 7))
        self.assertEqual(kinds, {EventKind.STATE, EventKind.RECORD})
        Stream(self.world)
        self.assertEqual((asked[-1][0], asked[-1][2]), (BATCH, EVERYTHING))

    def test_nothing_is_missed_between_look_and_rest(self) -> None:
        """What is told while the history is being asked comes too."""
        history = self.world.history
        look = history.events_after
        paused: Deferred[None] = Deferred()

        async def slow_look(*asked: Any) -> Any:
            found = await look(*asked)
            await paused
            return found

        stream = Stream(self.world)
        history.events_after = slow_look  # type: ignore[method-assign,assignment]
        history.add(call_view(2), BOTH)
        history.add(call_view(3), BOTH)
        paused.callback(None)
        self.assertEqual(stream.ids, [3, 4, 5, 6])

    def test_nothing_is_missed_by_a_look_that_found_nothing(self) -> None:
        """What is told while a look that finds nothing comes back is told at once."""
        history = self.world.history
        look = history.events_after
        pauses: list[Deferred[None]] = []

        async def slow_look(*asked: Any) -> Any:
            found = await look(*asked)
            pauses.append(Deferred())
            await pauses[-1]
            return found

        stream = Stream(self.world, "sip=1001")
        history.events_after = slow_look  # type: ignore[method-assign,assignment]
        history.add(call_view(2), BOTH)
        self.assertEqual((len(pauses), stream.ids), (1, []))
        history.events_after = look  # type: ignore[method-assign]
        states = [told(3, seq, state, sip="1001") for seq, state in enumerate(BOTH, 1)]
        rows = [StateRow(4 + state.seq, state, None, None) for state in states]
        history.add_chain(Chain(call_view(3), rows, []))
        pauses[0].callback(None)
        self.assertEqual(stream.ids, [5, 6])

    def test_one_look_for_each_news(self) -> None:
        """Whoever is at the end looks once for each thing that is told."""
        history = self.world.history
        look, looks = history.events_after, []

        async def counted(*asked: Any) -> Any:
            looks.append(asked)
            return await look(*asked)

        stream = Stream(self.world)
        history.events_after = counted  # type: ignore[method-assign,assignment]
        for n in range(2, 12):
            history.add(call_view(n), BOTH)
        self.assertEqual((len(looks), len(stream.ids)), (10, 20))


class Refusals(EventsTestCase):
    """What is refused is refused in the envelope, before the stream."""

    options = {
        "clients": [
            Client(name="crm", networks=(), key_sha256="0" * 64),
            Client(name="dialler", networks=(), key_sha256=None, permissions=["call"]),
        ],
        "max_streams": 2,
    }

    def setUp(self) -> None:
        """Let anybody read but for one test."""
        super().setUp()
        self.open = World(max_streams=2)

    def refusal(self, world: World, path: str, **headers: str) -> tuple[int, str]:
        """Ask for what has to be refused."""
        reply = world.ask(path, headers=headers)
        return reply.status, reply.json["error"]["code"]

    def test_parameters(self) -> None:
        """A parameter outside its set is named."""
        for query in ("types=call", "call_id=x", "sip=1'", "after=%20", "after=x", "order_id=%00"):
            reply = self.open.ask(f"/api/events?{query}")
            field = query.partition("=")[0]
            self.assertEqual((reply.status, reply.json["error"]["field"]), (400, field))
        bad = self.refusal(self.open, "/api/events", **{"Last-Event-ID": "nonsense"})
        self.assertEqual(bad, (400, "bad_parameter"))

    def test_permission(self) -> None:
        """Who may not read may not follow."""
        self.assertEqual(self.refusal(self.world, "/api/events"), (403, "forbidden"))

    def test_another_sites_page(self) -> None:
        """Neither may a page of another site."""
        refused = self.refusal(self.open, "/api/events", Origin="https://evil.example")
        self.assertEqual(refused, (403, "forbidden"))

    def test_too_many(self) -> None:
        """There is room for so many; one that goes makes room."""
        first, _ = Stream(self.open), Stream(self.open)
        reply = self.open.ask("/api/events")
        self.assertEqual((reply.status, reply.json["error"]["code"]), (429, "too_many_streams"))
        self.assertEqual(reply.headers["retry-after"], "5")
        first.connection.close()
        self.assertIn("200 ok", Stream(self.open).head)

    def test_a_place_that_cannot_be_read(self) -> None:
        """While the past is away, who wants it is told to come again."""
        self.open.history.away = Refused(Code.HISTORY_UNAVAILABLE, "away", retry_after=5)
        reply = self.open.ask("/api/events?after=0")
        self.assertEqual((reply.status, reply.headers["retry-after"]), (503, "5"))
        self.assertEqual(len(self.open.streams), 0)


class Living(EventsTestCase):
    """Heartbeats, slow readers, ends."""

    options = {"heartbeat": 15.0}

    def test_heartbeats(self) -> None:
        """A silent stream says every 15 s that it is there; one that speaks need not."""
        stream = Stream(self.world)
        self.world.clock.advance(14.9)
        self.assertEqual(stream.text, "retry: 2000\n\n")
        self.world.history.add(call_view(2), BOTH)
        self.world.clock.advance(14.9)
        self.assertNotIn("\n:", stream.text)
        self.world.clock.advance(0.2)
        self.assertEqual(stream.text.count(": \n\n"), 1)
        for _ in range(3):
            self.world.clock.advance(15)
        self.assertEqual(stream.text.count(": \n\n"), 4)

    def test_a_heartbeat_tells_the_place(self) -> None:
        """Where the filter left everything out, the place goes on without an event."""
        stream = Stream(self.world, "sip=1001")
        self.world.history.add(call_view(2), BOTH)
        self.world.clock.advance(15)
        self.assertTrue(stream.text.endswith(": \nid: 0a1b2c.4\n\n"), stream.text)
        self.world.clock.advance(15)
        self.assertTrue(stream.text.endswith(": \n\n"), stream.text)
        self.assertEqual(stream.events, [])

    def full(self, query: str = "after=0") -> tuple[Stream, Any]:
        """A stream whose connection takes nothing any more, and the connection's producer."""
        for n in range(2, 200):
            self.world.history.add(call_view(n), BOTH)
        connection = self.world.connect()
        producer = cast(Any, connection.transport).producer
        write = connection.transport.write

        def filled(data: bytes) -> None:
            write(data)
            if len(connection.received) > 20_000:
                producer.pauseProducing()

        connection.transport.write = filled  # type: ignore[method-assign]
        connection.transport.writeSequence = lambda parts: filled(b"".join(parts))  # type: ignore
        stream = Stream.__new__(Stream)
        stream.connection = connection
        connection.send(f"/api/events?{query}")
        return stream, producer

    def test_who_does_not_read(self) -> None:
        """No more than one batch is written beyond what the connection takes; then it is cut."""
        stream, _ = self.full()
        self.assertLess(len(stream.connection.received), 20_000 + BATCH * 600)
        before = len(stream.connection.received)
        self.world.history.add(call_view(500), BOTH)
        self.world.clock.advance(29)
        self.assertEqual(len(stream.connection.received), before)
        self.assertFalse(stream.connection.transport.disconnected)
        self.world.clock.advance(1)
        self.assertTrue(stream.connection.transport.disconnected)
        stream.connection.close()
        self.assertEqual((self.streams.opened, self.streams.dropped), (1, 1))
        self.assert_nothing_is_kept()

    def test_who_reads_again(self) -> None:
        """Who was slow for a moment misses nothing."""
        stream, producer = self.full()
        for _ in range(60):
            self.world.clock.advance(20)
            producer.resumeProducing()
        self.assertEqual(stream.ids, list(range(1, 399)))
        self.assertEqual(self.streams.dropped, 0)

    def test_the_reader_goes(self) -> None:
        """Nothing is kept for a reader who has gone, whatever they were doing."""
        stream = Stream(self.world)
        stream.connection.close()
        self.assert_nothing_is_kept()
        slow, _ = self.full()
        slow.connection.close()
        self.assert_nothing_is_kept()
        self.assertEqual([call for call in self.world.clock.getDelayedCalls() if call.active()], [])

    def test_the_history_goes_away(self) -> None:
        """A stream outlives that, says why it is silent, and goes on where it was."""
        stream = Stream(self.world)
        history = self.world.history
        history.away = Refused(Code.HISTORY_UNAVAILABLE, "away")
        history.add(call_view(2), BOTH)
        for _ in range(20):
            self.world.clock.advance(1)
        self.assertIn(": history_unavailable\n", stream.text)
        history.away = None
        self.world.clock.advance(1)
        self.assertEqual(stream.ids, [3, 4])

    def test_the_daemon_stops(self) -> None:
        """Every stream ends after a whole event, and none begins."""
        streams = [Stream(self.world), Stream(self.world, "after=0")]
        slow, _ = self.full()
        cast(Any, self.world.api).stopService()
        for stream in streams:
            self.assertTrue(stream.is_over)
            self.assertTrue(stream.text.endswith("\n\n"))
        self.assertTrue(slow.is_over)
        self.assert_nothing_is_kept()
        self.assertEqual(self.world.ask("/api/events").status, 429)

    def test_a_fault_of_ours(self) -> None:
        """What nobody expected is logged and ends the stream, which can be resumed."""
        stream = Stream(self.world)
        self.world.history.away = ZeroDivisionError("a fault")
        self.world.history.tell()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(stream.is_over)
        self.assert_nothing_is_kept()


class Alone(EventsTestCase):
    """The connection's side."""

    def test_many_naps_leave_nothing_behind(self) -> None:
        """A stream of many events keeps no more than one of few."""
        stream = Stream(self.world)
        request = cast(Any, stream.connection.protocol).requests[0]
        gone: Any = Exchange.of(request).gone
        before = len(gone.callbacks)
        for n in range(2, 30):
            self.world.history.add(call_view(n), BOTH)
            self.world.clock.advance(15)
        self.assertEqual(len(gone.callbacks), before)
        self.assertEqual(len(self.world.history.listeners), 1)


class _Asks(Protocol):
    """Opens a stream on a real connection."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Ask."""
        cast(Any, self.transport).write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Take the beginning."""
        if not self.heard.called:
            self.heard.callback(data)


class OnASocket(TestCase):
    """What only a real connection shows."""

    async def test_a_peer_that_vanishes(self) -> None:
        """The kernel keeps little for a peer, and gives up one that acknowledges nothing."""
        world = World(heartbeat=15.0)
        port = reactor.listenTCP(0, cast(Any, world.site), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", cast(Any, port.getHost()).port)
        client = await connectProtocol(endpoint, _Asks())
        self.assertIn(b"200 OK", await client.heard)
        (stream,) = world.streams._running
        channel: Any = stream._exchange.request.channel
        connection = channel.transport.getHandle()
        self.assertEqual(connection.getsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT), 120_000)
        # Linux doubles what it is asked for.
        self.assertEqual(connection.getsockopt(SOL_SOCKET, SO_SNDBUF), 2 * KERNEL_BUFFER)
        gone = stream._exchange.gone
        cast(Any, client.transport).abortConnection()
        await gone
        self.assertEqual(len(world.streams), 0)
