"""The API over TLS, by an endpoint description as the page on security shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, readBody

from tests.api.world import World
from tests.consumers.webhooks.test_sender import certificate


class TlsTests(TestCase):
    """A daemon that speaks TLS by itself."""

    async def test_https(self) -> None:
        """Whoever trusts the certificate is answered, and links in answers begin with https."""
        own = certificate("localhost")
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "cert.pem").write_bytes(own.dumpPEM())
        (folder / "key.pem").write_bytes(own.privateKey.dump(FILETYPE_PEM))
        port: Any = await serverFromString(
            reactor,
            f"ssl:0:interface=127.0.0.1:privateKey={folder}/key.pem:certKey={folder}/cert.pem",
        ).listen(World().site)
        self.addCleanup(port.stopListening)
        trust = trustRootFromCertificates([Certificate.loadPEM(own.dumpPEM())])
        agent = Agent(
            reactor,
            BrowserLikePolicyForHTTPS(trust),
            pool=HTTPConnectionPool(reactor, persistent=False),
        )
        base = f"https://localhost:{port.getHost().port}"
        answer = await agent.request(b"GET", f"{base}/api/openapi.json".encode())
        document = msgspec.json.decode(await readBody(answer))
        self.assertEqual((answer.code, document["servers"][0]["url"]), (200, base))
