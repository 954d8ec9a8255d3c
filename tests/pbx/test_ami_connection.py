"""Tests of the way to AMI: real TLS on loopback, with certificates made for the test."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorSSL
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from ccdaemon.ami.ami_settings import Credentials
from ccdaemon.config import Asterisk
from ccdaemon.pbx.ami_connection import ami_endpoint, credentials

GREETING = b"Asterisk Call Manager/11.0.0\r\n"


def certificate(address: str) -> tuple[bytes, bytes]:
    """Make a self-signed certificate for an IP address: certificate and key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pbx {serial}")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8
    return made.public_bytes(pem), key.private_bytes(pem, private, serialization.NoEncryption())


class Greeter(Protocol):
    """Greets as Asterisk does."""

    def connectionMade(self) -> None:
        """Greet."""
        assert self.transport is not None
        self.transport.write(GREETING)


class Listener(Protocol):
    """Tells what it hears first, or why it heard nothing."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.closed: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Hear, and go."""
        assert self.transport is not None
        self.heard.append(data)
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what was heard, or why nothing was."""
        if self.heard:
            self.closed.callback(b"".join(self.heard))
        else:
            self.closed.errback(reason)


class TLSTests(TestCase):
    """AMI behind TLS, its certificate the only one that is trusted."""

    async def greeted(self, named: str, trusted_is_its_own: bool = True) -> bytes:
        """Connect to 127.0.0.1 where the certificate is for ``named``; what is heard."""
        public, private = certificate(named)
        server = PrivateCertificate.loadPEM(public + private)
        factory: Any = ServerFactory.forProtocol(Greeter)
        port = IReactorSSL(reactor).listenSSL(0, factory, server.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        trusted = Path(self.mktemp()).absolute()
        others = certificate("127.0.0.1")[0]
        trusted.write_bytes(b"# a comment\n" + others + (public if trusted_is_its_own else b""))
        settings = Asterisk(
            port=address.port, tls=True, tls_ca=trusted, secret="x", client_channel="SIP/{phone}"
        )
        listener = await ami_endpoint(reactor, settings).connect(Factory.forProtocol(Listener))
        assert isinstance(listener, Listener)
        return await listener.closed

    async def test_trusted(self) -> None:
        """A certificate that tls_ca has among others, for this very address, is taken."""
        self.assertEqual(await self.greeted("127.0.0.1"), GREETING)

    async def refused(self, named: str, trusted_is_its_own: bool) -> None:
        """Expect that the link is refused, and not a byte heard."""
        with self.assertRaises((TLSError, VerificationError)):
            await self.greeted(named, trusted_is_its_own)

    async def test_not_trusted(self) -> None:
        """A certificate that tls_ca has not is refused."""
        await self.refused("127.0.0.1", False)

    async def test_somebody_elses(self) -> None:
        """A trusted certificate of another address is refused."""
        await self.refused("127.0.0.9", True)


class CredentialsTests(SynchronousTestCase):
    """How the secret is shown."""

    def test_both_ways(self) -> None:
        """md5 proves the secret, plain sends it."""
        for auth, challenge in (("md5", True), ("plain", False)):
            settings = Asterisk(username="u", secret="x", auth=auth, client_channel="SIP/{phone}")
            self.assertEqual(credentials(settings), Credentials("u", "x", challenge))
