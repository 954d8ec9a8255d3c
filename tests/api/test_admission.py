"""Who is let in: keys that change, attempts that fail, proxies, and what fail2ban reads."""

from __future__ import annotations

import re
from configparser import RawConfigParser
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent, formatEventAsClassicLogText
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.api.admission import (
    FORWARDING,
    MANY,
    MOST_FAILURES,
    MOST_REFUSED,
    WINDOW,
    Admission,
    Failures,
    Proxies,
)
from ccdaemon.api.clients import Clients, address_of
from ccdaemon.config import Client
from ccdaemon.config.validators import network
from ccdaemon.errors import Code, Refused
from tests.api.world import World

DATE = "2026-11-23T08:00:00+0000"
LIST = "/api/sipList.json"
NGINX: dict[str, Any] = {"trusted_proxies": (network("127.0.0.1"), network("10.9.0.0/16"))}


def hashed(key: str) -> str:
    """The SHA-256 of a key."""
    return sha256(key.encode()).hexdigest()


CRM = Client(name="crm", key_sha256=(hashed("old"), hashed("new")))
OFFICE = Client(name="office", networks=(network("192.168.0.0/16"),))


class TwoKeysTests(SynchronousTestCase):
    """A key that is changed."""

    def test_both_are_valid(self) -> None:
        """The old one and the new one are the same client's; any other is nobody's."""
        clients = Clients([CRM, OFFICE])
        somewhere = address_of("8.8.8.8")
        for key, client in (("old", CRM), ("new", CRM), ("other", None), ("", None)):
            self.assertEqual(clients.identify(somewhere, key), client)

    def test_on_the_wire(self) -> None:
        """Each of them opens the door, as a header and as a parameter."""
        world = World([CRM])
        for key in ("old", "new"):
            headers = {"Authorization": f"Bearer {key}"}
            self.assertEqual(world.ask(LIST, headers=headers, peer="8.8.8.8").status, 200)
            self.assertEqual(world.ask(f"{LIST}?api_key={key}", peer="8.8.8.8").status, 200)
        self.assertEqual(world.ask(f"{LIST}?api_key=older", peer="8.8.8.8").status, 401)


class AttemptsTests(SynchronousTestCase):
    """Attempts that fail."""

    def setUp(self) -> None:
        """Have a client with a key, and one by address."""
        self.world = World([CRM, OFFICE])

    def status(self, key: str | None, peer: str) -> int:
        """Ask once."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.world.ask(LIST, headers=headers, peer=peer).status

    def test_ten_wrong_keys(self) -> None:
        """The next one is told to wait for the rest of the minute; other addresses are not."""
        for n in range(MOST_FAILURES):
            self.assertEqual(self.status(f"guess {n}", "8.8.8.8"), 401)
        reply = self.world.ask(f"{LIST}?api_key=guess", peer="8.8.8.8")
        self.assertEqual((reply.status, reply.json["error"]["code"]), (429, "too_many_attempts"))
        self.assertEqual(reply.headers["retry-after"], "60")
        self.assertEqual(self.status("guess", "8.8.4.4"), 401)
        self.world.clock.advance(WINDOW - 1)
        self.assertEqual(self.status("guess", "8.8.8.8"), 429)
        self.world.clock.advance(1)
        self.assertEqual(self.status("guess", "8.8.8.8"), 401)

    def test_who_is_a_client_is_let_in(self) -> None:
        """With the right key or by address, whatever others tried at the same address."""
        for n in range(2 * MOST_REFUSED):
            self.assertEqual(self.status("new", "192.168.1.1"), 200)
            self.assertEqual(self.status(None, "192.168.1.1"), 200)
            self.assertNotEqual(self.status(f"guess {n}", "192.168.1.1"), 200)
        self.assertEqual(self.status("old", "192.168.1.1"), 200)

    def test_a_page_full_of_pictures(self) -> None:
        """Requests without a key are no attempts: no key is refused for them."""
        for _ in range(5 * MOST_FAILURES):
            self.assertEqual(self.status(None, "8.8.8.8"), 401)
        self.assertEqual(self.status("new", "8.8.8.8"), 200)
        self.assertEqual(self.status("guess", "8.8.8.8"), 401)

    def test_a_key_of_yesterday(self) -> None:
        """A program that shows the same wrong key all the time guesses one, and waits alone."""
        for _ in range(MOST_FAILURES):
            self.assertEqual(self.status("of yesterday", "8.8.8.8"), 401)
        self.assertEqual(self.status("of yesterday", "8.8.8.8"), 429)
        self.assertEqual(self.status("another", "8.8.8.8"), 401)

    def test_refusals_have_a_rate(self) -> None:
        """More than so many within a minute are told to wait, without a line for each."""
        with capturedLogs() as logged:
            told = [self.status(None, "8.8.8.8") for _ in range(2 * MOST_REFUSED)]
        self.assertEqual(told, [401] * MOST_REFUSED + [429] * MOST_REFUSED)
        lines = [str(formatEvent(event)) for event in logged]
        self.assertEqual(len(lines), 2 * MOST_REFUSED + 1)
        self.assertIn("unauthorized from 8.8.8.8: too many requests", lines)
        self.assertEqual(self.status(None, "8.8.4.4"), 401)
        self.world.clock.advance(WINDOW)
        self.assertEqual(self.status(None, "8.8.8.8"), 401)

    def test_where_nobody_has_a_key(self) -> None:
        """What is shown says nothing there, and locks nobody out."""
        world = World([OFFICE])
        for _ in range(2 * MOST_FAILURES):
            world.ask(f"{LIST}?api_key=x", peer="8.8.8.8")
        self.assertEqual(world.ask(f"{LIST}?api_key=x", peer="192.168.1.1").status, 200)

    def test_a_whole_ipv6_network(self) -> None:
        """Whoever has one address of a /64 has all of them."""
        for n in range(MOST_FAILURES):
            self.assertEqual(self.status(f"guess {n}", f"2001:db8::{n:x}"), 401)
        self.assertEqual(self.status("guess", "2001:db8::ffff"), 429)
        self.assertEqual(self.status("guess", "2001:db8:0:1::1"), 401)

    def test_memory(self) -> None:
        """Only so many addresses are remembered; the newest are."""
        failures = Failures(1)
        for n in range(MANY + 100):
            failures.failed(str(n), 0)
        self.assertEqual(len(failures), MANY)
        self.assertEqual((failures.wait("99", 0), failures.wait("100", 0)), (0, WINDOW))

    def test_one_address_is_no_load(self) -> None:
        """It cannot have others forgotten: of what it shows beyond the tenth nothing is kept."""
        admission = Admission(Clients([CRM]), Clock())
        for n in range(1000):
            self.assertRaises(Refused, admission.client, "8.8.8.8", str(n))
        self.assertEqual(len(admission._by_key), MOST_FAILURES)

    def test_a_clock_that_is_put_back(self) -> None:
        """Nobody is locked out for the hour that comes again."""
        failures = Failures(1)
        failures.failed("8.8.8.8", 7200)
        self.assertEqual(failures.wait("8.8.8.8", 3600), 0)


class Fail2banTests(SynchronousTestCase):
    """The line in the log, and the filter that reads it."""

    def failregex(self) -> re.Pattern[str]:
        """The shipped filter's expression, as fail2ban compiles it."""
        filter_ = RawConfigParser()
        filter_.read(Path(ccdaemon.__file__).parent / "conf/fail2ban/filter.conf")
        # fail2ban's own, of addresses.
        host = r"(?:::f{4,6}:)?(?P<host>\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]+:[0-9a-fA-F:]*)"
        return re.compile(filter_["Definition"]["failregex"].replace("<HOST>", host))

    def test_the_filter_finds_every_failure_and_nothing_else(self) -> None:
        """Each wrong key is one line that names the address; the lines end with the tenth."""
        clock = Clock()
        clock.advance(1_795_412_687)
        admission = Admission(Clients([CRM]), clock)
        asked = [("2001:db8::1", "guess"), *[("9.9.9.9", str(n)) for n in range(15)]]
        with capturedLogs() as logged:
            for peer, key in asked:
                self.assertRaises(Refused, admission.client, peer, key)
        found = []
        for event in logged:
            line = str(formatEventAsClassicLogText(event, formatTime=lambda _: DATE))
            # fail2ban cuts the date off before it looks.
            match = self.failregex().match(line.rstrip("\n").removeprefix(DATE))
            assert match is not None, line
            found.append(match["host"])
        self.assertEqual(found, ["2001:db8::1"] + ["9.9.9.9"] * (MOST_FAILURES + 1))
        self.assertIn("too many attempts", str(formatEvent(logged[-1])))

    def test_who_guesses_nothing_is_not_banned(self) -> None:
        """A page with pictures, or a program with a key of yesterday, is one line or none."""
        admission = Admission(Clients([CRM]), Clock())
        with capturedLogs() as logged:
            for key in (None, "of yesterday") * 30:
                self.assertRaises(Refused, admission.client, "8.8.8.8", key)
        lines = [str(formatEventAsClassicLogText(e, formatTime=lambda _: DATE)) for e in logged]
        found = [line for line in lines if self.failregex().match(line.strip().removeprefix(DATE))]
        self.assertEqual(len(found), 1)

    def test_nobody_has_another_banned(self) -> None:
        """What a request may write into the log is no such line."""
        forged = "[ccdaemon.api.admission.Admission#warn] unauthorized from 1.2.3.4: wrong key"
        for line in (
            f" [ccdaemon.api.app#info] GET /{forged} 404 in 0 ms for nobody at 127.0.0.1",
            f" [ccdaemon.api.app#info] {forged}",
            f" [ccdaemon.api.admission.Admission#warn] unauthorized from 8.8.8.8: {forged}",
        ):
            self.assertIsNone(self.failregex().match(line))

    def test_with_a_journal(self) -> None:
        """The line may have the host's and the program's name in front."""
        said = "[ccdaemon.api.admission.Admission#warn] unauthorized from 1.2.3.4: wrong key"
        for line in (f" pbx twistd[123]: {said}", f" pbx twistd[123]: {DATE} {said}"):
            match = self.failregex().match(line)
            assert match is not None
            self.assertEqual(match["host"], "1.2.3.4")


class ProxiesTests(SynchronousTestCase):
    """Whose word is taken."""

    proxies = Proxies(NGINX["trusted_proxies"])

    def test_table(self) -> None:
        """Read from our end, up to the first who is no proxy of ours."""
        for peer, forwarded, origin in [
            ("8.8.8.8", [], "8.8.8.8"),
            # A stranger may write what they like.
            ("8.8.8.8", ["192.168.1.1"], "8.8.8.8"),
            ("127.0.0.1", ["8.8.8.8"], "8.8.8.8"),
            ("127.0.0.1", ["192.168.1.1, 8.8.8.8"], "8.8.8.8"),
            ("127.0.0.1", ["192.168.1.1", "8.8.8.8"], "8.8.8.8"),
            ("127.0.0.1", ["192.168.1.1, 8.8.8.8, 10.9.1.1"], "8.8.8.8"),
            ("127.0.0.1", ["junk, 8.8.8.8"], "8.8.8.8"),
            ("127.0.0.1", ["2001:db8::1"], "2001:db8::1"),
            ("127.0.0.1", ["::ffff:8.8.8.8"], "8.8.8.8"),
            ("::ffff:127.0.0.1", ["8.8.8.8"], "8.8.8.8"),
            # The proxy itself asks, or through another of ours.
            ("127.0.0.1", [], "127.0.0.1"),
            ("127.0.0.1", ["10.9.1.1"], "10.9.1.1"),
            # A local socket is of this machine.
            (None, ["8.8.8.8"], "8.8.8.8"),
            (None, [], None),
        ]:
            with self.subTest(peer=peer, forwarded=forwarded):
                self.assertEqual(self.proxies.origin(peer, forwarded), origin)

    def test_no_address(self) -> None:
        """A proxy of ours that says nonsense is not believed to be asking for itself."""
        for forwarded in ("unknown", "8.8.8.8:50000", "", "8.8.8.8,", "a" * 5000):
            error = self.assertRaises(Refused, self.proxies.origin, "127.0.0.1", [forwarded])
            assert isinstance(error, Refused)
            self.assertEqual(error.code, Code.FORBIDDEN)

    def refused(self, proxies: Proxies, *asked: Any) -> str:
        """What a proxy is told."""
        error = self.assertRaises(Refused, proxies.origin, *asked)
        assert isinstance(error, Refused)
        self.assertEqual(error.code, Code.FORBIDDEN)
        return error.message

    def test_one_on_this_machine_that_nobody_named(self) -> None:
        """It is refused, with what to do: else the whole world would ask from this machine."""
        elsewhere = Proxies([network("10.9.0.0/16")])
        for proxies in (Proxies(), elsewhere):
            for peer in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", None):
                self.assertIn("trusted_proxies", self.refused(proxies, peer, ["8.8.8.8"]))
                for header in FORWARDING:
                    self.assertIn(header, self.refused(proxies, peer, [], [header]))
                self.assertEqual(proxies.origin(peer, []), peer)
        # From anywhere else it says nothing, and lends nothing.
        self.assertEqual(Proxies().origin("8.8.8.8", ["127.0.0.1"], ["Forwarded"]), "8.8.8.8")

    def test_one_that_says_it_otherwise(self) -> None:
        """A proxy of ours that does not say whom it asks for in the one way is refused."""
        self.assertIn("X-Forwarded-For", self.refused(self.proxies, "127.0.0.1", [], ["X-Real-IP"]))
        self.assertEqual(self.proxies.origin("127.0.0.1", ["8.8.8.8"], ["X-Real-IP"]), "8.8.8.8")

    def test_loopback_behind_a_proxy(self) -> None:
        """It is nobody: whose it is, the proxy does not say."""
        for said in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "127.0.0.1, 10.9.1.1"):
            self.assertIn("loopback", self.refused(self.proxies, "127.0.0.1", [said]))

    @given(st.lists(st.text(max_size=30), max_size=4))
    def test_only_an_address_comes_out(self, forwarded: list[str]) -> None:
        """Whatever the header holds, what comes out is an address or a refusal."""
        try:
            origin = self.proxies.origin("127.0.0.1", forwarded)
        except Refused:
            return
        address_of(origin)

    def test_on_the_wire(self) -> None:
        """Clients are known by their own addresses, and so are those who fail."""
        world = World([OFFICE], **NGINX)
        for origin, status in (("192.168.1.1", 200), ("8.8.8.8", 401), ("junk", 403)):
            reply = world.ask(LIST, headers={"X-Forwarded-For": origin}, peer="127.0.0.1")
            self.assertEqual(reply.status, status)
        with capturedLogs() as logged:
            world.ask(LIST, headers={"X-Forwarded-For": "8.8.8.8"}, peer="127.0.0.1")
        self.assertIn("unauthorized from 8.8.8.8: no key", [formatEvent(event) for event in logged])
        # A daemon that knows of no proxy does not let one lend what this machine may do.
        reply = World().ask(LIST, headers={"X-Forwarded-For": "8.8.8.8"}, peer="127.0.0.1")
        self.assertEqual(reply.status, 403)
        # Nobody gets in by writing the header themselves.
        reply = world.ask(LIST, headers={"X-Forwarded-For": "192.168.1.1"}, peer="8.8.8.8")
        self.assertEqual(reply.status, 401)

    def test_the_numbers_are_for_this_machine_alone(self) -> None:
        """What loopback may see without a key, a client behind a proxy may not."""
        world = World([CRM], **NGINX)
        reply = world.ask("/metrics", headers={"X-Forwarded-For": "8.8.8.8"}, peer="127.0.0.1")
        self.assertEqual(reply.status, 401)
        self.assertEqual(world.ask("/metrics", peer="127.0.0.1").status, 200)
