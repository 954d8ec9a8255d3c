"""Who asks: networks, keys and permissions."""

from __future__ import annotations

import ipaddress
from hashlib import sha256
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.clients import Clients, address_of
from ccdaemon.config import LOCAL, Client
from tests.api.world import World

MAKE = "/api/makeCall.json?sip=1000&phone=380639920000&order_id=15&external_key=24"


def client(name: str, *networks: str, key: str | None = None, may: str = "call read") -> Client:
    """Make a client of the configuration."""
    return Client(
        name=name,
        networks=tuple(ipaddress.ip_network(network) for network in networks),
        key_sha256=sha256(key.encode()).hexdigest() if key else None,
        permissions=frozenset(may.split()),
    )


CRM = client("crm", "10.0.0.0/8", "fd00::/8")
ROAMING = client("roaming", key="k1")
BOTH = client("both", "192.168.0.0/16", key="k2")


class Identify(SynchronousTestCase):
    """From an address and a key to a client."""

    def who(self, address: str | None, key: str | None = None, *clients: Client) -> str | None:
        """Name the client."""
        found = Clients(clients or (CRM, ROAMING, BOTH)).identify(address_of(address), key)
        return found.name if found else None

    def test_by_address(self) -> None:
        """A client without a key is known by where it is."""
        self.assertEqual(self.who("10.1.2.3"), "crm")
        self.assertEqual(self.who("fd00::1"), "crm")
        self.assertEqual(self.who("::ffff:10.1.2.3"), "crm")
        self.assertIsNone(self.who("11.1.2.3"))
        self.assertIsNone(self.who("fe80::1%eth0"))

    def test_by_key(self) -> None:
        """A client with a key and without networks is known anywhere."""
        self.assertEqual(self.who("8.8.8.8", "k1"), "roaming")

    def test_by_both(self) -> None:
        """A client with networks and a key needs both."""
        self.assertEqual(self.who("192.168.1.1", "k2"), "both")
        self.assertIsNone(self.who("8.8.8.8", "k2"))
        self.assertIsNone(self.who("192.168.1.1"))

    def test_a_key_that_is_nobodys(self) -> None:
        """Who shows a wrong key is not let in by address either."""
        self.assertIsNone(self.who("10.1.2.3", "wrong"))
        self.assertIsNone(self.who("10.1.2.3", "\ud800"))

    def test_a_key_where_nobody_has_one(self) -> None:
        """Where no client has a key, what is shown says nothing."""
        self.assertEqual(self.who("10.1.2.3", "any", CRM), "crm")

    def test_the_first_one_wins(self) -> None:
        """Of several that fit, the configuration's first."""
        other = client("other", "10.1.0.0/16")
        self.assertEqual(self.who("10.1.2.3", None, CRM, other), "crm")
        self.assertEqual(self.who("10.1.2.3", None, other, CRM), "other")

    def test_nobody_is_configured(self) -> None:
        """Then loopback may ask, and only loopback; a local socket counts as such."""
        for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None):
            self.assertEqual(self.who(address, None, LOCAL), "local")
        for address in ("10.0.0.1", "fe80::1", "128.0.0.1"):
            self.assertIsNone(self.who(address, None, LOCAL))

    @given(st.text(min_size=1))
    def test_no_other_key_opens(self, key: str) -> None:
        """Only the key itself is the key."""
        self.assertEqual(self.who("8.8.8.8", key), "roaming" if key == "k1" else None)


class OverHttp(SynchronousTestCase):
    """The same, asked over HTTP."""

    def setUp(self) -> None:
        """Know a caller, a reader and somebody with a key."""
        self.world = World(
            clients=(
                client("caller", "10.0.0.1", may="call"),
                client("reader", "10.0.0.2", may="read"),
                ROAMING,
            )
        )

    def ask(self, path: str, peer: str, **options: Any) -> tuple[int, str | None]:
        """Give the status and the error's code."""
        reply = self.world.ask(path, peer=peer, **options)
        return reply.status, reply.json.get("error", {}).get("code")

    def test_permissions(self) -> None:
        """Calling needs one permission, all the rest the other; who has it is told to nobody."""
        reading = [
            "/api/recordList.json",
            "/api/orderRecords.json?order_id=1",
            "/api/orderHistory.json?order_id=1",
            "/api/callHistory.json",
            "/api/sipList.json",
            "/api/operatorHistory.json",
        ]
        self.assertEqual(self.ask(MAKE, "10.0.0.1"), (200, None))
        self.assertEqual(self.ask(MAKE, "10.0.0.2"), (403, "forbidden"))
        for path in reading:
            self.assertEqual(self.ask(path, "10.0.0.2"), (200, None))
        for path in [*reading, "/api/record/12.wav", "/mp3/x.mp3", "/api/openapi.json"]:
            self.assertEqual(self.ask(path, "10.0.0.1"), (403, "forbidden"))

    def test_strangers(self) -> None:
        """An address that is nobody's: 401, whatever is asked, and nothing is dialled."""
        for path in (MAKE, "/api/sipList.json", "/api/record/12.mp3", "/api/openapi.json"):
            self.assertEqual(self.ask(path, "10.0.0.3"), (401, "unauthorized"))
        self.assertEqual(self.world.calls.asked, [])
        reply = self.world.ask(MAKE, peer="10.0.0.3")
        self.assertEqual(reply.headers["www-authenticate"], "Bearer")

    def test_a_key_in_every_place(self) -> None:
        """In the Authorization header and in the query."""
        peer = "8.8.8.8"
        path = "/api/sipList.json"
        bearer = {"Authorization": "bearer k1"}
        self.assertEqual(self.ask(path, peer, headers=bearer), (200, None))
        self.assertEqual(self.ask(f"{path}?api_key=k1", peer), (200, None))

    def test_a_key_in_a_body(self) -> None:
        """It lets nobody in, for it is read too late; whoever is in is told where it belongs."""
        path = "/api/sipList.json"
        for content_type, body in (
            ("application/x-www-form-urlencoded", b"api_key=k1"),
            ("application/json", b'{"api_key": "k1"}'),
        ):
            post: dict[str, Any] = {"headers": {"Content-Type": content_type}, "body": body}
            asked = self.ask(path, "8.8.8.8", method="POST", **post)
            self.assertEqual(asked, (401, "unauthorized"))
            asked = self.ask(path, "10.0.0.2", method="POST", **post)
            self.assertEqual(asked, (400, "bad_parameter"))

    def test_a_body_is_read_last(self) -> None:
        """Neither a stranger nor a client who may not is told what is wrong with the body."""
        post: dict[str, Any] = {"method": "POST", "body": b"{"}
        post["headers"] = {"Content-Type": "application/json"}
        for peer, told in (
            ("10.0.0.3", (401, "unauthorized")),
            ("10.0.0.1", (403, "forbidden")),
            ("10.0.0.2", (400, "bad_parameter")),
        ):
            self.assertEqual(self.ask("/api/sipList.json", peer, **post), told)

    def test_no_key_is_none(self) -> None:
        """Empty keys, other schemes and two keys at once are no key."""
        peer = "8.8.8.8"
        for header in ("Bearer", "Bearer ", "Basic k1", "k1", ""):
            asked = self.ask("/api/sipList.json", peer, headers={"Authorization": header})
            self.assertEqual(asked, (401, "unauthorized"))
        self.assertEqual(self.ask("/api/sipList.json?api_key=", peer), (401, "unauthorized"))
        asked = self.ask("/api/sipList.json?api_key=k1&api_key=k1", peer)
        self.assertEqual(asked, (400, "bad_parameter"))

    def test_a_call_knows_who_asked(self) -> None:
        """The switchboard is told the client's name."""
        self.ask(f"{MAKE}&api_key=k1", "8.8.8.8")
        self.assertEqual(self.world.calls.asked[0]["client"], "roaming")

    def test_who_may_not_act_by_get(self) -> None:
        """It acts by a POST that no form can send, and reads as it likes."""
        only_post = attrs.evolve(client("crm", "10.0.0.9"), get=False)
        self.world = World([only_post])
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for options, status in (
            ({}, 403),
            ({"method": "POST"}, 403),
            ({"method": "POST", "headers": form}, 403),
            ({"method": "POST", "headers": {"Content-Type": "text/plain"}}, 403),
            ({"headers": {"Content-Type": "application/json"}}, 403),
            ({"method": "POST", "headers": {**form, "X-Requested-With": "crm"}}, 200),
            ({"method": "POST", "headers": {"Content-Type": "application/json"}}, 200),
        ):
            asked: dict[str, Any] = {**options}
            self.assertEqual(self.ask(MAKE, "10.0.0.9", **asked)[0], status, options)
        self.assertEqual(self.ask("/api/sipList.json", "10.0.0.9"), (200, None))

    def test_health_is_for_everybody(self) -> None:
        """Whether the process lives is no secret."""
        self.assertEqual(self.ask("/healthz", "10.0.0.3"), (200, None))
