"""Tests of what ``ccdaemon check`` says of webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor

from ccdaemon.check.findings import Level
from ccdaemon.check.webhooks import try_webhook
from ccdaemon.config.webhooks import Webhook
from tests.consumers.webhooks.test_sender import SenderCase, certificate, net

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Checks(SenderCase):
    """A receiver is looked at, and nothing is sent to it."""

    async def found(self, url: str, **keys: Any) -> tuple[Level, str]:
        """Check one webhook."""
        webhook = Webhook(
            **{"url": url, "name": "crm", "secret": (SECRET,), "timeout": 2.0, **keys}
        )
        finding = await try_webhook(webhook, reactor)
        self.assertEqual(finding.part, "webhooks crm")
        self.assertNotIn("hook?token", finding.what)
        self.assertEqual(self.receiver.requests, [])
        return finding.level, finding.what

    async def test_there(self) -> None:
        """Somebody listens."""
        level, what = await self.found(f"{self.url}?token=t0ken")
        self.assertEqual((level, what.split(" ", 1)[1]), (Level.OK, "is there; nothing was sent"))

    async def test_nobody(self) -> None:
        """Nobody listens, or nobody has the name: to look at, and no reason not to start."""
        level, what = await self.found("http://127.0.0.1:9/")
        self.assertIs(level, Level.WARN)
        self.assertIn("http://127.0.0.1:9 cannot be told of anything: ", what)
        level, what = await self.found("http://nobody.invalid/", timeout=10.0)
        self.assertIn("the host's name cannot be looked up", what)

    async def test_certificates(self) -> None:
        """With https the certificate counts, and who speaks no TLS is told."""
        own = certificate("localhost")
        port = net.listenSSL(0, self.receiver, own.options(), interface="127.0.0.1")
        self.addCleanup(self.gone, port)
        url = f"https://localhost:{port.getHost().port}/"
        level, what = await self.found(url)
        self.assertIs(level, Level.WARN)
        self.assertIn("certificate verify failed", what)
        trusted = Path(self.mktemp())
        trusted.write_bytes(own.dump(FILETYPE_PEM))
        self.assertIs((await self.found(url, tls_ca=trusted))[0], Level.OK)
        level, what = await self.found(self.url.replace("http:", "https:"))
        self.assertIs(level, Level.WARN)

    async def test_short_secret(self) -> None:
        """A key that is easily guessed is told."""
        level, what = await self.found(self.url, secret=("whsec_YWJj",))
        self.assertEqual(
            (level, what), (Level.WARN, "a secret has less than 24 bytes behind whsec_")
        )
