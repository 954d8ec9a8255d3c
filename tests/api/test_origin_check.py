"""Against other people's web pages: Host, Origin and Sec-Fetch-Site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.browsers import mark_of_browser
from ccdaemon.api.origin_check import Origins, host_name
from ccdaemon.config import Client
from ccdaemon.errors import Code, Refused
from tests.api.world import ANYBODY, World

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


class Browsers(SynchronousTestCase):
    """What a browser sends, of whatever page, does nothing by its address alone."""

    #: As Chromium and Firefox send them over plain HTTP: a picture, a link, a form, a frame.
    SENT: Sequence[Mapping[str, str]] = (
        {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/130.0", "Accept": "image/avif,*/*"},
        {"User-Agent": "Mozilla/5.0 (X11; rv:132.0) Gecko/20100101 Firefox/132.0"},
        {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
        {"Accept": "image/webp,*/*"},
        {"Upgrade-Insecure-Requests": "1"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Mode": "navigate"},
        {"sec-ch-ua": "x"},
        {"Referer": "http://evil.example/page"},
        {"Referer": "http://localhost:8080@evil.example/"},
        {"Referer": "about:blank"},
    )
    #: As programs send them.
    PROGRAMS: Sequence[Mapping[str, str]] = (
        {},
        {"User-Agent": "curl/8.5.0", "Accept": "*/*"},
        {"User-Agent": "PHP/8.2", "Accept": "application/json"},
        {"User-Agent": "python-requests/2.32", "Accept": "*/*"},
        {
            "User-Agent": "Java/17.0.1",
            "Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        },
        {"Referer": "http://localhost:8080/manual"},
    )

    def test_it_dials_nobody(self) -> None:
        """Each mark is enough, by GET and by a form; reading is free to whoever is let in."""
        world = World()
        for headers in self.SENT:
            for method in ("GET", "POST"):
                reply = world.ask(MAKE, method, headers)
                self.assertEqual(reply.status, 403, headers)
                self.assertIn("a browser may not", reply.json["error"]["message"])
            self.assertEqual(world.ask("/api/sipList.json", headers=headers).status, 200)
        self.assertEqual(world.calls.asked, [])

    def test_programs_do(self) -> None:
        """Deployed clients send plain GETs, without a key."""
        world = World()
        for headers in self.PROGRAMS:
            self.assertEqual(world.ask(MAKE, headers=headers).status, 200, headers)

    def test_what_no_foreign_page_can_send(self) -> None:
        """A key in a header, or JSON by POST; a key in the address any page could have."""
        client = Client(name="crm", key_sha256=(sha256(b"k1").hexdigest(),))
        world, browser = World([client, ANYBODY]), self.SENT[0]
        bearer = {**browser, "Authorization": "Bearer k1"}
        self.assertEqual(world.ask(MAKE, headers=bearer).status, 200)
        self.assertEqual(world.ask(f"{MAKE}&api_key=k1", headers=browser).status, 403)
        json = {**browser, "Content-Type": "application/json; charset=utf-8"}
        self.assertEqual(world.ask(MAKE, "POST", json, b"{}").status, 200)
        self.assertEqual(world.ask(MAKE, "POST", {**json, "Origin": "http://x"}).status, 403)

    @given(st.lists(st.tuples(st.sampled_from(["Accept", "User-Agent", "X"]), st.text())))
    def test_any_headers(self, headers: list[tuple[str, str]]) -> None:
        """Whatever they hold, it is a mark by name or none."""
        self.assertIn(mark_of_browser(headers), (None, "Accept", "User-Agent"))
