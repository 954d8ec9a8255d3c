"""Against other people's web pages: Host, Origin and Sec-Fetch-Site."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.origins import Origins, host_name
from ccdaemon.errors import Code, Refused
from tests.api.world import World

MAKE = "/api/makeCall.json?sip=1000&phone=380639920000&order_id=15&external_key=24"


class Names(SynchronousTestCase):
    """Which names are ours."""

    def allowed(self, *hosts: str, origin: str | None = None, site: str | None = None) -> bool:
        """Say whether a request passes."""
        origins = Origins(["calls.example"], "https://public.example:8443/cc")
        try:
            origins.check(hosts, [origin] if origin else [], [site] if site else [])
        except Refused as refused:
            self.assertEqual(refused.code, Code.FORBIDDEN)
            return False
        return True

    def test_hosts(self) -> None:
        """Localhost, addresses, configured names and the public one, with any port."""
        for host in (
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "127.0.0.1:8080",
            "10.1.2.3",
            "[::1]:8080",
            "calls.example",
            "Calls.Example:80",
            "public.example:8443",
        ):
            self.assertTrue(self.allowed(host), host)

    def test_other_hosts(self) -> None:
        """Any other name, and what is no name, is refused: a name can be made to point here."""
        for host in (
            "evil.example",
            "localhost.evil.example",
            "calls.example.evil.example",
            "127.0.0.1.evil.example",
            "calls.example:80:80",
            "user@localhost",
            "localhost/",
            "[::1",
            "",
            " ",
            "1",
            "\xff",
        ):
            self.assertFalse(self.allowed(host), host)

    def test_no_host_or_two(self) -> None:
        """HTTP/1.0 may leave the name out; nobody may give two."""
        self.assertTrue(self.allowed())
        self.assertFalse(self.allowed("localhost", "localhost"))

    def test_origins(self) -> None:
        """Our own pages and those of configured names may ask, nobody else's."""
        for origin in ("http://localhost:8080", "https://calls.example", "http://public.example"):
            self.assertTrue(self.allowed("localhost:8080", origin=origin), origin)
        for origin in (
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "null",
            "file://",
            "https://calls.example.evil.example",
            "chrome-extension://localhost:8080",
        ):
            self.assertFalse(self.allowed("localhost:8080", origin=origin), origin)

    def test_fetch_site(self) -> None:
        """What a browser says was sent by another site's page is refused."""
        self.assertFalse(self.allowed("localhost", site="cross-site"))
        self.assertFalse(self.allowed("localhost", site="Cross-Site "))
        for site in ("same-origin", "same-site", "none"):
            self.assertTrue(self.allowed("localhost", site=site))

    @given(st.text())
    def test_a_name_is_plain_or_none(self, host: str) -> None:
        """Whatever comes as a host, a name has nothing in it that means something in a URL."""
        name = host_name(host)
        if name is not None:
            self.assertTrue(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.-:"))


class OverHttp(SynchronousTestCase):
    """The same, asked over HTTP."""

    def test_a_foreign_page_dials_nobody(self) -> None:
        """Each sign alone is enough, for every way to send it; the answer is an envelope."""
        world = World(hosts=("calls.example",))
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            for method in ("GET", "HEAD", "POST"):
                reply = world.ask(MAKE, method, headers)
                self.assertEqual(reply.status, 403)
            self.assertEqual(reply.json["error"]["code"], "forbidden")
        self.assertEqual(world.calls.asked, [])

    def test_a_configured_name_is_ours(self) -> None:
        """The name under which the daemon is known may be asked for."""
        world = World(hosts=("calls.example",))
        self.assertEqual(world.ask(MAKE, headers={"Host": "calls.example"}).status, 200)

    def test_addresses_in_brackets(self) -> None:
        """An IPv6 address is a host like any other, and links lead back to it."""
        world = World()
        reply = world.ask("/api/openapi.json", headers={"Host": "[::1]:8080"})
        self.assertEqual(reply.json["servers"], [{"url": "http://[::1]:8080"}])

    def test_without_a_host(self) -> None:
        """A client of HTTP/1.0 is answered."""
        connection = World().connect()
        connection.protocol.dataReceived(b"GET /api/sipList.json HTTP/1.0\r\n\r\n")
        self.assertEqual(connection.reply().status, 200)
