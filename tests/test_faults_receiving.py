"""Tests of the servers that fail on purpose: what the daemon's own clients make of each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from ccdaemon.config import RoutingSettings
from ccdaemon.config.validators import Pattern
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.sender import Sender, sender
from ccdaemon.consumers.webhooks.signing import key_of, signed_headers
from ccdaemon.routing import crm as routing
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.routing.crm_response import Reads
from ccdaemon.routing.route import Caller
from tests.faults import ways
from tests.faults.crm import Crm
from tests.faults.failing import contexts
from tests.faults.receiving import SECRET, Receiver

clock: Any = reactor
CALLER = Caller(12, "380441234567", "0441234567")
BODY = b'{"type":"call.state","data":{"call_id":1}}'
#: What the sender says of each way: the status, and the beginning of what is wrong.
SAID: dict[str, tuple[int | None, str | None]] = {
    "refuses connections": (None, "Connection was refused by other side"),
    "is slow": (None, "no answer within 0.5 s"),
    "errs": (500, "answered 500"),
    "errs without an end": (500, "answered 500"),
    "thanks without an end": (200, None),
    "has endless headers": (None, ""),
    "breaks off at once": (None, ""),
    "breaks off in its headers": (None, ""),
    "breaks off in its thanks": (200, None),
    "redirects": (302, "answered 302"),
    "redirects the POST": (308, "answered 308"),
    "asks for a pause": (429, "answered 429"),
    "talks TLS": (None, ""),
    "talks nonsense": (None, ""),
    "shows a stranger's certificate": (None, "TLS: certificate verify failed"),
    "shows an old certificate": (None, "TLS: certificate verify failed"),
    "shows another host's certificate": (None, "TLS: the certificate is another host's"),
}


class ReceivingTests(TestCase):
    """A receiver on loopback, by HTTP and by TLS."""

    timeout = 60

    def setUp(self) -> None:
        """Make certificates."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.contexts, self.trusted = contexts(folder)

    def receiver(self, *, tls: bool) -> tuple[Receiver, Sender]:
        """A receiver, and what POSTs to it."""
        receiver = Receiver("crm", self.contexts if tls else None)
        self.addCleanup(receiver.stop)
        trusted = self.trusted if tls else None
        posts = sender(
            Webhook(url=receiver.url, secret=(SECRET,), timeout=0.5, tls_ca=trusted), clock
        )
        self.addCleanup(posts.close)
        return receiver, posts

    async def post(self, posts: Sender) -> tuple[int | None, str | None]:
        """What comes of one POST."""
        headers = signed_headers([key_of(SECRET)], "1-1", int(clock.seconds()), BODY)
        attempt = await posts.post(headers, BODY)
        return attempt.http_status, attempt.error

    async def each_way(self, *, tls: bool) -> None:
        """Each way fails as the table says, and a receiver that recovers takes everything."""
        receiver, posts = self.receiver(tls=tls)
        for way in receiver.ways:
            self.assertEqual(await self.post(posts), (200, None), way)
            self.assertTrue(receiver.arrivals[-1].taken)
            self.assertTrue(receiver.arrivals[-1].is_signed)
            failed = receiver.failed
            receiver.fail(way)
            # That the one that was kept is cut says nothing of the way.
            await posts.close()
            status, error = await self.post(posts)
            self.assertEqual(status, SAID[way][0], way)
            self.assertEqual((error or "")[: len(SAID[way][1] or "")], SAID[way][1] or "", way)
            self.assertEqual(error is None, SAID[way][1] is None, way)
            self.assertEqual(receiver.failed > failed, receiver.listens, way)
            receiver.recover()
            await posts.close()
        self.assertEqual({one.post.path for one in receiver.arrivals}, {"/hook"})
        self.assertTrue(all(one.is_trusted for one in receiver.arrivals))

    async def test_plain(self) -> None:
        """By HTTP."""
        await self.each_way(tls=False)

    async def test_tls(self) -> None:
        """By TLS."""
        await self.each_way(tls=True)

    async def test_a_wrong_signature(self) -> None:
        """It is kept, and known for what it is."""
        receiver, posts = self.receiver(tls=False)
        await posts.post({"webhook-id": "1-1"}, BODY)
        headers = signed_headers([b"another"], "1-2", int(clock.seconds()), BODY)
        await posts.post(headers, BODY)
        self.assertEqual([one.is_signed for one in receiver.arrivals], [False, False])

    def test_every_way_is_tried(self) -> None:
        """None is missing here."""
        self.assertEqual(set(SAID), {*ways.WAYS, *ways.TLS_WAYS})


class CrmTests(TestCase):
    """A CRM that is asked who takes a call."""

    timeout = 60

    async def each_way(self, crm: Crm, tls_ca: Path | None = None) -> None:
        """No way of failing is an answer, and one that recovers gives one."""
        self.addCleanup(crm.stop)
        crm.answers["0441234567"] = {"operators": ["1000"]}
        link = routing.CrmLink(clock, RoutingSettings(url=crm.url, timeout=0.5, tls_ca=tls_ca))
        self.addCleanup(link.stopService)
        for way in crm.ways:
            reads = Reads(Pattern("[0-9]{4}"), Pattern("7[0-9]{2}"))
            asked = routing.Crm(link.agent, crm.url, 0.5, reads, clock, RoutingCounters())
            self.assertIsNotNone(await asked.ask(CALLER), way)
            failed = crm.failed
            crm.fail(way)
            self.assertIsNone(await asked.ask(CALLER), way)
            self.assertEqual(crm.failed > failed, crm.listens, way)
            crm.recover()

    async def test_plain(self) -> None:
        """By HTTP."""
        await self.each_way(Crm())

    async def test_tls(self) -> None:
        """By TLS."""
        folder = Path(self.mktemp())
        folder.mkdir()
        shown, trusted = contexts(folder)
        await self.each_way(Crm(shown), trusted)
