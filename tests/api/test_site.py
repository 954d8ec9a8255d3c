"""The web server's bounds, and the one line that each request leaves in the log."""

from __future__ import annotations

from typing import Any, cast

from lxml import etree
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.api.parts import call_view
from tests.api.world import Connection, Reply, World

LIST = "/api/sipList.json"
CHUNKED = {"Transfer-Encoding": "chunked"}


class Bodies(SynchronousTestCase):
    """How large a body may be."""

    def setUp(self) -> None:
        """Open one connection."""
        self.connection = World().connect()

    def feed(self, data: bytes) -> None:
        """Send bytes as they are, as long as the server reads."""
        if not self.connection.transport.disconnecting:
            self.connection.protocol.dataReceived(data)

    def assert_too_large(self, reply: Reply) -> None:
        """The answer is the envelope of a body that is too large."""
        self.assertEqual(reply.status, 413)
        self.assertEqual(reply.json["status_code"], 413)
        self.assertEqual(reply.json["error"]["code"], "body_too_large")

    def test_64_kib_are_read(self) -> None:
        """The largest body that may come is read to its last byte."""
        body = b"per_page=7&x=".ljust(64 * 1024, b"y")
        self.connection.send(LIST, "POST", body=body)
        self.assertEqual(self.connection.reply().json["response"]["per_page"], 7)

    def test_one_byte_more(self) -> None:
        """Is too much, and the connection can still be used."""
        self.connection.send(LIST, "POST", body=b"x" * (64 * 1024 + 1))
        self.assert_too_large(self.connection.reply())
        self.connection.send(LIST)
        self.assertEqual(self.connection.reply().status, 200)

    def test_in_the_format_asked_for(self) -> None:
        """Also this refusal is XML where XML was asked for."""
        for size in (65 * 1024, 5 << 20):
            connection = World().connect()
            connection.send("/api/sipList.xml", "POST", {"Content-Length": str(size)})
            if not connection.received:
                connection.protocol.dataReceived(b"x" * size)
            root = etree.fromstring(connection.reply().body)
            self.assertEqual(root.findtext("error/code"), "body_too_large")

    def test_chunks_are_counted_too(self) -> None:
        """A body without a length is measured as it comes."""
        self.connection.send(LIST, "POST", CHUNKED)
        for _ in range(65):
            self.feed(b"400\r\n" + b"x" * 1024 + b"\r\n")
        self.assertEqual(self.connection.received, b"")
        self.feed(b"0\r\n\r\n")
        self.assert_too_large(self.connection.reply())

    def test_chunks_that_fit(self) -> None:
        """A form in chunks is a form."""
        self.connection.send(LIST, "POST", CHUNKED)
        self.feed(b"5\r\nper_p\r\n5\r\nage=7\r\n0\r\n\r\n")
        self.assertEqual(self.connection.reply().json["response"]["per_page"], 7)

    def test_a_length_beyond_reason_is_not_awaited(self) -> None:
        """Who announces a body of gigabytes is answered before it comes, and cut off."""
        self.connection.send(LIST, "POST", {"Content-Length": "9" * 12, "Expect": "100-continue"})
        self.assertTrue(self.connection.transport.disconnecting)
        reply = self.connection.reply()
        self.assert_too_large(reply)
        self.assertEqual(reply.headers["connection"], "close")
        self.assertEqual(len(reply.body), int(reply.headers["content-length"]))

    def test_a_body_without_end(self) -> None:
        """Chunks that never end are cut off, and meanwhile take no memory."""
        self.connection.send(LIST, "POST", CHUNKED)
        sent = 0
        while not self.connection.transport.disconnecting:
            self.feed(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            sent += 0x4000
            self.assertLess(sent, 2 << 20)
        self.assert_too_large(self.connection.reply())
        (request,) = self.connection.protocol.requests
        self.assertLessEqual(len(request._kept.getvalue()), 64 * 1024 + 1)

    def test_pieces_of_one_read_after_the_cut(self) -> None:
        """What came with the same read as the cut is dropped without another answer."""
        self.connection.send(LIST, "POST", CHUNKED)
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        self.feed(chunk * 2 + b"1\r\nx\r\n")
        self.assertEqual(self.connection.received.count(b"HTTP/1.1"), 1)

    def test_any_path_and_method(self) -> None:
        """The bound is the server's, not a method's."""
        for path, method in (("/healthz", "POST"), ("/nowhere", "POST"), (LIST, "GET")):
            reply = World().ask(path, method, body=b"x" * 70_000)
            self.assert_too_large(reply)


class Requests(SynchronousTestCase):
    """How large a request line and headers may be, and how long anybody may take."""

    def test_a_long_line_and_many_headers(self) -> None:
        """Beyond the server's bounds the connection is closed, and nothing is run."""
        for path, headers, answer in (
            ("/" + "x" * 20_000, {}, b""),
            (LIST, {"X": "y" * 20_000}, b""),
            (LIST, {f"X-{number}": "y" * 400 for number in range(41)}, b"HTTP/1.1 400"),
            (LIST, {f"X-{number}": "y" for number in range(501)}, b"HTTP/1.1 400"),
        ):
            connection = World().connect()
            connection.send(path, headers=headers)
            self.assertTrue(connection.transport.disconnecting)
            self.assertEqual(connection.received[:12], answer)

    def test_an_idle_connection_is_closed(self) -> None:
        """Who sends nothing for a minute is let go, before a request and in the middle of one."""
        for sent in (b"", b"GET /api/sip", b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab"):
            world = World()
            connection = world.connect()
            connection.protocol.dataReceived(sent)
            world.clock.advance(59)
            self.assertFalse(connection.transport.disconnecting)
            world.clock.advance(2)
            self.assertTrue(connection.transport.disconnecting)

    def test_whoever_waits_is_not_idle(self) -> None:
        """A request under way keeps its connection, and later requests may follow on it."""
        world = World()
        answer: Deferred[int] = Deferred()
        world.calls.answer = answer
        connection = world.connect()
        connection.send("/api/makeCall.json?sip=1000&phone=380639920000&order_id=1&external_key=1")
        world.clock.advance(100)
        self.assertFalse(connection.transport.disconnecting)
        answer.callback(5)
        self.assertEqual(connection.reply().status, 200)
        connection.send(LIST)
        self.assertEqual(connection.reply().status, 200)

    def test_no_timer_for_a_log(self) -> None:
        """The site starts nothing that runs every second."""
        world = World()
        world.site.startFactory()
        self.assertEqual(world.clock.getDelayedCalls(), [])
        world.site.stopFactory()


class AccessLog(SynchronousTestCase):
    """One line for each request."""

    def setUp(self) -> None:
        """Watch the log."""
        self.world = World()
        self.events: list[dict[str, Any]] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def lines(self) -> list[str]:
        """Give the API's lines."""
        return [
            formatEvent(event)
            for event in self.events
            if event["log_namespace"].startswith("ccdaemon")
        ]

    def test_what_it_says(self) -> None:
        """Method, path, status, time and client."""
        self.world.ask(f"{LIST}?page=2")
        self.assertEqual(self.lines(), [f"GET {LIST} 200 in 0 ms for local at 127.0.0.1"])
        self.assertEqual(self.events[-1]["status"], 200)

    def test_how_long_it_took(self) -> None:
        """From the last byte of the request to the last of the answer."""
        connection = self.world.connect()
        connection.send("/api/callHistory.json?after=0&wait=5")
        self.world.clock.advance(5)
        self.assertEqual(
            self.lines(), ["GET /api/callHistory.json 200 in 5000 ms for local at 127.0.0.1"]
        )

    def test_a_client_that_has_gone(self) -> None:
        """There was no status."""
        connection = self.world.connect()
        connection.send("/api/callHistory.json?after=0&wait=5")
        connection.close()
        self.assertEqual(
            self.lines(), ["GET /api/callHistory.json abandoned in 0 ms for local at 127.0.0.1"]
        )

    def test_who_was_not_let_in(self) -> None:
        """A stranger has no name."""
        self.world.ask(LIST, peer="10.0.0.1")
        self.assertEqual(
            self.lines(),
            [
                "unauthorized from 10.0.0.1: no key",
                f"GET {LIST} 401 in 0 ms for nobody at 10.0.0.1",
            ],
        )

    def test_no_secret_is_in_it(self) -> None:
        """Keys are in no event of any kind, wherever they came."""
        secret = "k3y-that-is-secret"
        self.world.ask(f"{LIST}?api_key={secret}")
        self.world.ask(LIST, headers={"Authorization": f"Bearer {secret}"})
        self.world.ask(LIST, "POST", body=f"api_key={secret}".encode())
        self.world.ask(f"/nowhere?api_key={secret}")
        self.world.ask(f"{LIST}?api_key={secret}&page=0&api_key={secret}")
        self.assertEqual(len(self.lines()), 5)
        for event in self.events:
            self.assertNotIn(secret, repr(event))
            self.assertNotIn(secret, formatEvent(event))

    def test_a_path_cannot_forge_a_line(self) -> None:
        """What is not printable is escaped, and a long path is cut."""
        self.world.ask("/\x7fx" + "y" * 5000)
        (line,) = self.lines()
        self.assertIn("/\\x7fxyyy", line)
        self.assertLess(len(line), 300)

    def test_twisted_web_logs_nothing_beside(self) -> None:
        """There is no second access log."""
        self.world.history.add(call_view(1), [])
        self.world.site.startFactory()
        self.world.ask(LIST)
        self.assertEqual(len(self.events), 1)


class Pipelining(SynchronousTestCase):
    """Requests sent without waiting for answers."""

    def test_answers_come_in_order(self) -> None:
        """Each request is answered in its turn, also behind one that waits."""
        world = World()
        connection: Connection = world.connect()
        connection.send("/api/callHistory.json?after=0&wait=5")
        connection.send(LIST)
        self.assertEqual(connection.received, b"")
        world.clock.advance(5)
        first, second = connection.received.split(b"HTTP/1.1 200 OK")[1:]
        self.assertIn(b'"next"', first)
        self.assertIn(b'"per_page"', second)
