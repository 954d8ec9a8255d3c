"""Tests of what ``ccdaemon check`` says about the CRM, with a real receiver on loopback."""

from __future__ import annotations

from pathlib import Path

import attrs
from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from twisted.web.static import Data

from ccdaemon.check.crm import try_crm
from ccdaemon.check.findings import Finding, Level
from ccdaemon.config import Asterisk, Config, Database, RoutingSettings
from tests.check.test_check import listen


def config(url: str | None) -> Config:
    """A configuration with this CRM."""
    return Config(
        asterisk=Asterisk(secret="x", client_channel="SIP/{phone}"),
        database=Database(url="embedded"),
        routing=RoutingSettings(url=url),
    )


class Asked(Resource):
    """Keeps what it was asked, and names 1000."""

    isLeaf = True
    asked: bytes | None = None

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        self.asked = request.uri
        return b'{"operators": ["1000", ["1001", "1002"]]}'


class CrmTests(TestCase):
    """What is said about the CRM."""

    async def found(self, resource: Resource) -> Finding:
        """Try one at /route; the only finding."""
        root = Resource()
        root.putChild(b"route", resource)
        port = listen(self, Site(root))
        [found] = await try_crm(config(f"http://127.0.0.1:{port}/route?token=t0ken"), reactor)
        self.assertNotIn("t0ken", str(found))
        self.assertIn(f"routing.url http://127.0.0.1:{port}/route: ", str(found))
        return found

    async def test_none(self) -> None:
        """Nothing is said where no CRM is to be asked."""
        self.assertEqual(await try_crm(config(None), reactor), [])

    async def test_it_answers(self) -> None:
        """It is asked for nobody's call, and what it says is told."""
        crm = Asked()
        found = await self.found(crm)
        self.assertEqual(found.level, Level.OK)
        self.assertRegex(found.what, r"answers within \d\.\d\d s of 1 s: names 1000, 1001&1002$")
        self.assertEqual(crm.asked, b"/route?token=t0ken&phone=&did=&call_id=0")

    async def test_what_it_can_say(self) -> None:
        """Each kind of answer is told for what it is."""
        for answer, level, said in [
            (b"{}", Level.OK, "names nobody"),
            (b'{"reject": true}', Level.OK, "refuses an unknown caller"),
            (b'{"redirect": "700"}', Level.OK, "sends an unknown caller to 700"),
            (b'{"operators": ["boss"]}', Level.WARN, "what it says of operators is not allowed"),
            (b"<html>", Level.WARN, "does not answer as it should: the answer is no JSON object"),
        ]:
            found = await self.found(Data(answer, "application/json"))
            self.assertEqual(found.level, level)
            self.assertIn(said, found.what)

    async def test_certificates_that_are_not_there(self) -> None:
        """A tls_ca that cannot be read is a failure: the daemon does not start with it."""
        asked = config("https://localhost:9/route")
        routing = attrs.evolve(asked.routing, tls_ca=Path("/nowhere/ca.pem"))
        [found] = await try_crm(attrs.evolve(asked, routing=routing), reactor)
        self.assertEqual(found.level, Level.FAIL)
        self.assertIn("No such file", found.what)

    async def test_not_there(self) -> None:
        """One that is not there is something to look at: calls go by the next rules."""
        [found] = await try_crm(config("http://127.0.0.1:9/route"), reactor)
        self.assertEqual(found.level, Level.WARN)
        self.assertIn("refused", found.what)
