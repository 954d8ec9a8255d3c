"""Tests of one POST against receivers on loopback that do what they like."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.retry_policy import Attempt
from ccdaemon.consumers.webhooks.sender import Sender, sender

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
net: Any = reactor


class Peer(Protocol):
    """One connection at the receiver, which answers each request with ``factory.answer``."""

    factory: Any

    def connectionMade(self) -> None:
        """Count it."""
        self.received = b""
        self.factory.connections.append(self)

    def dataReceived(self, data: bytes) -> None:
        """Answer once head and body of a request are there."""
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].split()[0]):
            self.received = b""
            self.factory.requests.append((head, body))
            self.factory.answer(self.transport)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that it is over."""
        self.factory.connections.remove(self)
        if self.factory.emptied is not None and not self.factory.connections:
            self.factory.emptied.callback(None)


class Receiver(Factory):
    """A receiver; ``answer`` writes whatever it likes."""

    protocol = Peer
    noisy = False
    emptied: Deferred[None] | None = None

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections: list[Peer] = []
        self.writes(OK)

    def writes(self, data: bytes) -> None:
        """Answer always the same."""
        self.answer: Any = lambda transport: transport.write(data)


def certificate(name: str) -> PrivateCertificate:
    """A certificate of its own, for a name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(private + made.public_bytes(encoding))
    return loaded


class SenderCase(TestCase):
    """A receiver on loopback, and senders to it."""

    timeout = 30

    def setUp(self) -> None:
        """Listen."""
        self.receiver = Receiver()
        port = net.listenTCP(0, self.receiver, interface="127.0.0.1")
        self.addCleanup(self.gone, port)
        self.url = f"http://127.0.0.1:{port.getHost().port}/hook"

    async def gone(self, port: Any) -> None:
        """Listen no longer, and see the last connection go."""
        await port.stopListening()
        if self.receiver.connections:
            self.receiver.emptied = Deferred()
            for one in list(self.receiver.connections):
                one.transport.abortConnection()  # type: ignore[union-attr]
            await self.receiver.emptied

    def sender(self, url: str | None = None, **keys: Any) -> Sender:
        """Make a sender with little patience."""
        settings: dict[str, Any] = {"url": url or self.url, "secret": ("whsec_YWJj",)}
        made = sender(Webhook(**{**settings, "timeout": 1.0, **keys}), reactor)
        self.addCleanup(made.close)
        return made

    async def post(self, made: Sender | None = None, body: bytes = b"{}") -> Attempt:
        """Send once."""
        return await (made or self.sender()).post({"webhook-id": "1-1"}, body)


class Exchanges(SenderCase):
    """What is sent, and what the answers come to."""

    async def test_delivered(self) -> None:
        """The body and the headers arrive; 200 is a success."""
        self.assertEqual(await self.post(body="{ё}".encode()), Attempt(200))
        ((head, body),) = self.receiver.requests
        self.assertEqual(body, "{ё}".encode())
        self.assertTrue(head.startswith(b"POST /hook HTTP/1.1\r\n"), head)
        self.assertIn(b"webhook-id: 1-1", head.lower().replace(b"webhook-id", b"webhook-id"))
        self.assertIn(b"user-agent: ccdaemon/", head.lower())

    async def test_connections_are_kept(self) -> None:
        """The next POST takes the same connection."""
        made = self.sender()
        for _ in range(3):
            await self.post(made)
        self.assertEqual((len(self.receiver.requests), len(self.receiver.connections)), (3, 1))

    async def test_statuses(self) -> None:
        """Any other status is told, with Retry-After where there is one."""
        made = self.sender()
        self.receiver.writes(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(await self.post(made), Attempt(500, "answered 500"))
        self.receiver.writes(b"HTTP/1.1 503 Oh\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(await self.post(made), Attempt(503, "answered 503", "7"))
        self.receiver.writes(b"HTTP/1.1 204 No\r\n\r\n")
        self.assertEqual(await self.post(made), Attempt(204))

    async def test_redirects(self) -> None:
        """A redirect is not followed."""
        self.receiver.writes(
            b"HTTP/1.1 307 Go\r\nLocation: " + self.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
        )
        said = "answered 307; redirects are not followed"
        self.assertEqual(await self.post(), Attempt(307, said))
        self.assertEqual(len(self.receiver.requests), 1)

    async def test_cookies(self) -> None:
        """A cookie is not sent back."""
        made = self.sender()
        self.receiver.writes(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
        await self.post(made)
        await self.post(made)
        self.assertNotIn(b"cookie", self.receiver.requests[1][0].lower())


class Trouble(SenderCase):
    """Receivers that are of no use."""

    async def test_nobody(self) -> None:
        """Nobody listens."""
        made = self.sender("http://127.0.0.1:9/hook")
        attempt = await self.post(made)
        self.assertIsNone(attempt.http_status)
        self.assertIn("refused", attempt.error or "")

    async def test_no_such_host(self) -> None:
        """Nobody has the name."""
        attempt = await self.post(self.sender("http://nobody.invalid/", timeout=10.0))
        self.assertEqual(attempt, Attempt(None, "the host's name cannot be looked up"))

    async def test_silence(self) -> None:
        """Who says nothing is cut off after the timeout."""
        self.receiver.answer = lambda transport: None
        self.assertEqual(await self.post(), Attempt(None, "no answer within 1 s"))
        await self.no_connection()

    async def test_half_an_answer(self) -> None:
        """Who does not come to the end of the headers, too."""
        self.receiver.writes(b"HTTP/1.1 200 OK\r\nContent-")
        self.assertEqual(await self.post(), Attempt(None, "no answer within 1 s"))
        await self.no_connection()

    async def test_hung_up(self) -> None:
        """Who hangs up without an answer has not taken it."""
        self.receiver.answer = lambda transport: transport.loseConnection()
        attempt = await self.post()
        self.assertIsNone(attempt.http_status)
        self.assertTrue(attempt.error)

    async def test_nonsense(self) -> None:
        """What is no HTTP is no answer."""
        self.receiver.writes(b"220 smtp.example ESMTP\r\n\r\n")
        attempt = await self.post()
        self.assertIsNone(attempt.http_status)
        self.assertTrue(attempt.error)

    async def test_endless_body(self) -> None:
        """A body without an end is cut off; the status holds."""
        sent = 0

        def flood(transport: Any) -> None:
            nonlocal sent
            transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

            def more() -> None:
                nonlocal sent
                sent += 16384
                transport.write(b"x" * 16384)

            flooding = LoopingCall(more)
            flooding.start(0.001)
            self.addCleanup(flooding.stop)

        self.receiver.answer = flood
        self.assertEqual(await self.post(self.sender(timeout=20.0)), Attempt(200))
        await self.no_connection()
        self.assertLess(sent, 20_000_000)

    async def test_endless_headers(self) -> None:
        """Headers without an end are cut off, and are no answer."""

        def flood(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n")
            flooding = LoopingCall(transport.write, b"X-More: headers\r\n" * 200)
            flooding.start(0.001)
            self.addCleanup(flooding.stop)

        self.receiver.answer = flood
        attempt = await self.post(self.sender(timeout=20.0))
        self.assertIsNone(attempt.http_status)
        await self.no_connection()

    async def test_slow_body(self) -> None:
        """A body that drips is not waited for; the status holds."""

        def drip(transport: Any) -> None:
            transport.write(b"HTTP/1.1 500 Oh\r\n\r\n")
            dripping = LoopingCall(transport.write, b".")
            dripping.start(0.1)
            self.addCleanup(dripping.stop)

        self.receiver.answer = drip
        self.assertEqual(await self.post(), Attempt(500, "answered 500"))
        await self.no_connection()

    async def test_cancelled(self) -> None:
        """A POST that is given up is cut off."""
        self.receiver.answer = lambda transport: None
        posting = Deferred.fromCoroutine(self.post(self.sender(timeout=20.0)))
        while not self.receiver.requests:
            await deferLater(net, 0.01)
        posting.cancel()
        await self.assertFailure(posting, CancelledError)
        await self.no_connection()

    async def no_connection(self) -> None:
        """Nothing is left of the connection."""
        while self.receiver.connections:
            await deferLater(net, 0.01)


class Tls(SenderCase):
    """HTTPS, with the certificate checked."""

    def listen(self, name: str) -> tuple[str, Path]:
        """Listen with a certificate for a name: the address by localhost, and whom to trust."""
        own = certificate(name)
        port = net.listenSSL(0, self.receiver, own.options(), interface="127.0.0.1")
        self.addCleanup(self.gone, port)
        trusted = Path(self.mktemp())
        trusted.write_bytes(own.dump(FILETYPE_PEM))
        return f"https://localhost:{port.getHost().port}/", trusted

    async def test_trusted(self) -> None:
        """A certificate that is trusted and fits the name is good."""
        url, trusted = self.listen("localhost")
        self.assertEqual(await self.post(self.sender(url, tls_ca=trusted)), Attempt(200))

    async def test_strangers(self) -> None:
        """A certificate that nobody trusts, or of another name, is no receiver."""
        url, _ = self.listen("localhost")
        attempt = await self.post(self.sender(url))
        self.assertIsNone(attempt.http_status)
        self.assertIn("certificate verify failed", attempt.error or "")
        other, trusted = self.listen("other.example")
        attempt = await self.post(self.sender(other, tls_ca=trusted))
        self.assertEqual(attempt, Attempt(None, "TLS: the certificate is another host's"))
        self.assertEqual(self.receiver.requests, [])

    async def test_broken(self) -> None:
        """Who speaks no TLS at all is no receiver."""
        attempt = await self.post(self.sender(self.url.replace("http:", "https:")))
        self.assertIsNone(attempt.http_status)
        self.assertTrue(attempt.error)
        self.assertEqual(self.receiver.requests, [])

    async def test_endless_body(self) -> None:
        """Who keeps the end of a TLS connection waiting does not keep us."""
        url, trusted = self.listen("localhost")

        def flood(transport: Any) -> None:
            transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
            flooding = LoopingCall(transport.write, b"x" * 16384)
            flooding.start(0.001)
            self.addCleanup(flooding.stop)

        self.receiver.answer = flood
        made = self.sender(url, tls_ca=trusted, timeout=20.0)
        self.assertEqual(await self.post(made), Attempt(200))
        while self.receiver.connections:
            await deferLater(net, 0.01)
