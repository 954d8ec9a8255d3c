"""Tests of asking the CRM: through the whole HTTP in memory, and over real sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from treq.testing import RequestTraversalAgent
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.iweb import IAgent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ccdaemon.config import RoutingSettings
from ccdaemon.config.validators import Pattern
from ccdaemon.routing.counters import QUIET, Quiet, RoutingCounters
from ccdaemon.routing.crm import LARGEST, MOST_AT_ONCE, Breaker, Crm, CrmLink
from ccdaemon.routing.crm_response import Advice, Reads
from ccdaemon.routing.route import Caller
from tests.consumers.webhooks.test_sender import certificate

CALLER = Caller(12, "380441234567", "0800")
NAMES = b'{"operators": ["1000"]}'


class Answering(Resource):
    """A CRM that answers as a test has it."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], bytes | int]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[bytes] = []

    def render_GET(self, request: Request) -> bytes | int:
        """Answer."""
        self.asked.append(request.uri)
        return self.answer(request)


def with_status(code: int, body: bytes = NAMES) -> Callable[[Request], bytes]:
    """An answer with a status and, where it matters, somewhere else to ask."""

    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        request.setHeader(b"Location", b"/elsewhere")
        return body

    return answer


def encoded(request: Request) -> bytes:
    """An answer that is compressed although nobody asked for that."""
    request.setHeader(b"Content-Encoding", b"gzip")
    return b"\x1f\x8b"


class CrmTests(SynchronousTestCase):
    """A question, and what comes of it."""

    def setUp(self) -> None:
        """Have a CRM that names 1000."""
        self.clock = Clock()
        self.clock.advance(1_795_412_687)
        self.counters = RoutingCounters()
        self.resource = Answering(lambda _: NAMES)
        self.agent = RequestTraversalAgent(self.resource)
        self.crm = self.new(self.agent)

    def new(self, agent: IAgent) -> Crm:
        """Somebody who asks it."""
        return Crm(
            agent,
            "https://crm.example/route?token=t",
            1.0,
            Reads(Pattern("[0-9]{4}"), Pattern("7[0-9]{2}")),
            self.clock,
            self.counters,
        )

    def ask(self, caller: Caller = CALLER) -> Deferred[Advice | None]:
        """Ask."""
        asked = Deferred.fromCoroutine(self.crm.ask(caller))
        self.agent.flush()
        return asked

    def test_the_question(self) -> None:
        """It holds the phone, the number that was dialled and the call, beside the url's own."""
        advice = self.successResultOf(self.ask(Caller(12, "a&b=c/é", "0800")))
        self.assertEqual(advice, Advice(operators=(("1000",),)))
        self.assertEqual(
            self.resource.asked, [b"/route?token=t&phone=a%26b%3Dc%2F%C3%A9&did=0800&call_id=12"]
        )
        self.assertEqual(self.counters.crm, {"answered": 1})

    def test_answers_that_do_not_count(self) -> None:
        """Each is counted by its kind, and nobody follows it elsewhere."""
        for answer, kind in [
            (with_status(204, b""), "status"),
            (with_status(302), "status"),
            (with_status(404), "status"),
            (with_status(500), "status"),
            (lambda _: b"<html>", "not_json"),
            (lambda _: b"[]", "not_object"),
            (lambda _: b"{" + b" " * LARGEST + b"}", "too_large"),
            (encoded, "encoded"),
        ]:
            with self.subTest(kind=kind):
                self.setUp()
                self.resource.answer = answer
                self.assertIsNone(self.successResultOf(self.ask()))
                self.assertEqual(self.counters.crm, {kind: 1})
                self.assertEqual(len(self.resource.asked), 1)

    def test_as_large_as_may_be(self) -> None:
        """An answer of just the largest size is read."""
        self.resource.answer = lambda _: NAMES.ljust(LARGEST)
        self.assertIsNotNone(self.successResultOf(self.ask()))

    def test_values_that_are_not_allowed(self) -> None:
        """The rest of the answer counts, and each fault is counted by its key."""
        self.resource.answer = lambda _: b'{"operators": ["boss"], "order_id": 15, "redirect": 1}'
        self.assertEqual(self.successResultOf(self.ask()), Advice(order_id="15"))
        self.assertEqual(self.counters.crm, {"answered": 1})
        self.assertEqual(self.counters.faults, {"operators": 1, "redirect": 1})

    def test_no_answer(self) -> None:
        """After the time limit nobody waits any longer."""
        self.resource.answer = lambda _: NOT_DONE_YET
        asked = self.ask()
        self.clock.advance(0.99)
        self.assertNoResult(asked)
        self.clock.advance(0.02)
        self.assertIsNone(self.successResultOf(asked))
        self.assertEqual(self.counters.crm, {"timeout": 1})

    def test_an_answer_that_does_not_end(self) -> None:
        """The time limit is the whole question's, however much of the answer is there."""

        def trickle(request: Request) -> int:
            request.write(b'{"operators":')
            return NOT_DONE_YET

        self.resource.answer = trickle
        asked = self.ask()
        for _ in range(4):
            self.clock.advance(0.24)
            self.agent.flush()
        self.assertNoResult(asked)
        self.clock.advance(0.05)
        self.assertIsNone(self.successResultOf(asked))
        self.assertEqual(self.counters.crm, {"timeout": 1})

    def test_it_rests_while_it_is_down(self) -> None:
        """After three failures only one question in ten seconds is put; an answer ends that."""
        self.resource.answer = with_status(503)
        for _ in range(5):
            self.assertIsNone(self.successResultOf(self.ask()))
        self.assertEqual(self.counters.crm, {"status": 3, "not_asked": 2})
        self.clock.advance(10)
        self.resource.answer = lambda _: NAMES
        self.assertIsNotNone(self.successResultOf(self.ask()))
        self.assertIsNotNone(self.successResultOf(self.ask()))
        self.assertEqual(len(self.resource.asked), 5)

    def test_it_is_said_once_a_minute(self) -> None:
        """Each kind of complaint is one line a minute, and says nothing of the url's query."""
        self.resource.answer = lambda _: b"[]"
        with capturedLogs() as logged:
            for _ in range(3):
                self.successResultOf(self.ask())
            self.clock.advance(QUIET)
            self.successResultOf(self.ask())
        lines = [formatEvent(event) for event in logged]
        self.assertEqual(lines, ["routing.url: not_object: the answer is no JSON object"] * 2)

    def test_many_at_once(self) -> None:
        """So many questions may be open, and no more; their ends make room."""
        self.resource.answer = lambda _: NOT_DONE_YET
        asked = [self.ask() for _ in range(MOST_AT_ONCE)]
        self.assertIsNone(self.successResultOf(self.ask()))
        self.assertEqual(self.counters.crm, {"crowded": 1})
        self.clock.advance(1)
        for one in asked:
            self.assertIsNone(self.successResultOf(one))
        self.clock.advance(10)
        self.resource.answer = lambda _: NAMES
        self.assertIsNotNone(self.successResultOf(self.ask()))

    def test_the_seconds(self) -> None:
        """How long each question took is told, also of one that was given up."""
        took: list[float] = []
        self.counters.observe = took.append
        self.resource.answer = lambda _: NOT_DONE_YET
        asked = self.ask()
        self.clock.advance(1)
        self.successResultOf(asked)
        self.resource.answer = lambda _: NAMES
        self.successResultOf(self.ask())
        self.assertEqual(took, [1.0, 0.0])


class BreakerTests(SynchronousTestCase):
    """When it is not worth trying."""

    def test_half_open(self) -> None:
        """While it is open one try in each pause is let through, until one succeeds."""
        breaker = Breaker(failures=2, pause=10)
        self.assertTrue(breaker.may_try(0))
        breaker.failed(0)
        self.assertTrue(breaker.may_try(1))
        breaker.failed(1)
        self.assertEqual(
            [breaker.may_try(t) for t in (2, 10.9, 11, 11.1)], [False] * 2 + [True, False]
        )
        breaker.failed(12)
        self.assertEqual([breaker.may_try(t) for t in (21.9, 22, 23)], [False, True, False])
        breaker.succeeded()
        self.assertEqual([breaker.may_try(t) for t in (23, 23)], [True, True])

    def test_a_success_between(self) -> None:
        """Only failures in a row count."""
        breaker = Breaker(failures=2, pause=10)
        for now in range(10):
            breaker.failed(now)
            breaker.succeeded()
        self.assertTrue(breaker.may_try(10))


class QuietTests(SynchronousTestCase):
    """Complaints."""

    def test_once_a_minute(self) -> None:
        """Each kind is said once a minute, also where the clock was put back."""
        quiet = Quiet()
        now = 1000.0
        self.assertEqual([quiet.may_say("a", now), quiet.may_say("b", now)], [True, True])
        self.assertFalse(quiet.may_say("a", now + QUIET - 1))
        self.assertTrue(quiet.may_say("a", now + QUIET))
        self.assertTrue(quiet.may_say("a", now - 3600))


class Endless(Protocol):
    """Answers without an end, and counts what it could send."""

    sent = 0
    lost: Deferred[None]

    def dataReceived(self, data: bytes) -> None:
        """Begin."""
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n{")
        self.transport.registerProducer(self, False)  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        """Go on."""
        assert self.transport is not None
        self.sent += 65536
        self.transport.write(b" " * 65536)

    def stopProducing(self) -> None:
        """Nobody listens any more."""

    def connectionLost(self, reason: Any = None) -> None:
        """They went."""
        self.lost.callback(None)


class EndlessHead(Endless):
    """Answers with headers, and no end of them."""

    def dataReceived(self, data: bytes) -> None:
        """Begin."""
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\n")
        self.transport.registerProducer(self, False)  # type: ignore[attr-defined]

    def resumeProducing(self) -> None:
        """Go on."""
        assert self.transport is not None
        self.sent += 32768
        self.transport.write(b"X-Header: of no use at all...\r\n" * 1024)


class Half(Endless):
    """Promises more than it sends."""

    def dataReceived(self, data: bytes) -> None:
        """Send the half of it, and go."""
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
        self.transport.loseConnection()


class Silent(Protocol):
    """Takes the connection and says nothing."""

    lost: Deferred[None]

    def connectionLost(self, reason: Any = None) -> None:
        """They went."""
        self.lost.callback(None)


class OverSocketsTests(TestCase):
    """Real connections."""

    async def asked_of(self, protocol: type[Endless | Silent], scheme: str = "http") -> Any:
        """Ask a server that speaks this; what there is to know of it."""
        served = protocol()
        served.lost = Deferred()
        factory = Factory.forProtocol(lambda: served)
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return served, await self.asked(f"{scheme}://127.0.0.1:{port.getHost().port}/")

    async def asked(
        self, url: str, tls_ca: Path | None = None, *, answers: bool = False
    ) -> RoutingCounters:
        """Ask at an address; what was counted."""
        link = CrmLink(reactor, RoutingSettings(url=url, timeout=0.5, tls_ca=tls_ca))
        self.addCleanup(link.stopService)
        counters = RoutingCounters()
        self.took: list[float] = []
        counters.observe = self.took.append
        reads = Reads(Pattern("[0-9]{4}"), Pattern("7[0-9]{2}"))
        crm = Crm(link.agent, url, 0.5, reads, reactor, counters)
        self.assertEqual(await crm.ask(CALLER) is not None, answers)
        return counters

    async def test_endless(self) -> None:
        """An answer without an end is cut off soon after its limit, with its connection."""
        served, counters = await self.asked_of(Endless)
        self.assertEqual(counters.crm, {"too_large": 1})
        await served.lost
        self.assertLess(served.sent, 8 * 1024 * 1024)

    async def test_silent(self) -> None:
        """A connection on which nothing comes is closed after the time limit."""
        served, counters = await self.asked_of(Silent)
        self.assertEqual(counters.crm, {"timeout": 1})
        self.assertLess(sum(self.took), 5)
        await served.lost

    async def test_no_tls(self) -> None:
        """A server that speaks no TLS where it should is told as that."""
        served, counters = await self.asked_of(Endless, "https")
        self.assertEqual(counters.crm, {"tls": 1})
        await served.lost

    async def test_half_an_answer(self) -> None:
        """A connection that ends before the answer does is told as that."""
        served, counters = await self.asked_of(Half)
        self.assertEqual(counters.crm, {"broken": 1})
        await served.lost

    async def test_headers_without_an_end(self) -> None:
        """An answer that is all headers is cut off, too, long before its time is over."""
        served, counters = await self.asked_of(EndlessHead)
        self.assertEqual(counters.crm, {"broken": 1})
        await served.lost
        self.assertLess(served.sent, 8 * 1024 * 1024)

    async def test_certificates(self) -> None:
        """One that is trusted and fits the name is good; any other is not."""
        for name, trusted, kind in [
            ("localhost", True, "answered"),
            ("localhost", False, "tls"),
            ("crm.example", True, "tls"),
        ]:
            own = certificate(name)
            ca = Path(self.mktemp())
            ca.write_bytes(own.dumpPEM())
            site: Any = Site(Answering(lambda _: NAMES))
            port: Any = cast(Any, reactor).listenSSL(0, site, own.options(), interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            counters = await self.asked(
                f"https://localhost:{port.getHost().port}/",
                ca if trusted else None,
                answers=kind == "answered",
            )
            self.assertEqual(counters.crm, {kind: 1})

    async def test_nobody(self) -> None:
        """Where nobody listens it is unreachable."""
        counters = await self.asked("http://127.0.0.1:9/")
        self.assertEqual(counters.crm, {"unreachable": 1})
