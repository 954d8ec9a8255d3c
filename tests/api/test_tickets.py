"""Tickets for streams of events: what they open, and what they do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.tickets import Ticket, Tickets
from ccdaemon.calls.model import Direction, State
from ccdaemon.config import LOCAL, Client
from ccdaemon.errors import Code, Refused
from ccdaemon.store.records import EVERYTHING, EventKind, Filter
from tests.api.parts import call_view
from tests.api.world import World

SECRET = "a-secret-that-nobody-could-guess"
STRANGER = "203.0.113.9"
BOTH = [State.CALL, State.FINISH]
TICKET = Ticket("crm", 1000, (EventKind.STATE,), Filter(order_id="15", direction=Direction.INBOUND))


class TicketsTests(SynchronousTestCase):
    """Making and reading them."""

    def setUp(self) -> None:
        """With a secret."""
        self.tickets = Tickets(SECRET)

    def refused(self, text: str, now: float = 0, tickets: Tickets | None = None) -> None:
        """It opens nothing."""
        with self.assertRaises(Refused) as caught:
            (tickets or self.tickets).read(text, now)
        self.assertIs(caught.exception.code, Code.FORBIDDEN)

    def test_until_it_expires(self) -> None:
        """To the second, and as it was made."""
        text = self.tickets.make(TICKET)
        for now in (0, 1000):
            self.assertEqual(self.tickets.read(text, now), TICKET)
        self.refused(text, 1000.5)

    def test_only_its_own(self) -> None:
        """Neither spoiled, nor by another secret, nor by one that a start made for itself."""
        text = self.tickets.make(TICKET)
        later = self.tickets.make(replace(TICKET, expires=9999))
        wider = self.tickets.make(replace(TICKET, filter=Filter()))
        signature = text.partition(".")[2]
        for other in (later, wider):
            self.refused(f"{other.partition('.')[0]}.{signature}")
        for spoiled in ("", ".", text[:-1], text + "0", "A" + text, text.upper()):
            self.refused(spoiled)
        for tickets in (Tickets(SECRET + "!"), Tickets(None)):
            self.refused(text, 0, tickets)
        self.refused(Tickets(None).make(TICKET), 0, Tickets(None))

    @given(st.text(max_size=200))
    def test_no_text_opens_anything(self, text: str) -> None:
        """Nor does it break them."""
        self.refused(text)
        self.refused(f"{text}.{'0' * 64}")


class StreamTicketTests(SynchronousTestCase):
    """streamTicket, and what the ticket opens."""

    def setUp(self) -> None:
        """Calls of two orders; a client with a key, one without permission to read."""
        self.reader = Client(name="crm", networks=LOCAL.networks, permissions=["read"])
        self.world = World([self.reader])
        self.world.history.add(call_view(1), BOTH)
        self.world.history.add(call_view(2, order_id="16"), BOTH)

    def ticket(self, query: str = "") -> Any:
        """Take one."""
        reply = self.world.ask(f"/api/streamTicket?{query}")
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json["response"]

    def open(self, ticket: str, more: str = "", world: World | None = None) -> bytes:
        """Open a stream from anywhere, without a key; what has come of it."""
        connection = (world or self.world).connect(STRANGER)
        connection.send(f"/api/events?ticket={ticket}{more}")
        return connection.received

    def test_it_opens_a_stream(self) -> None:
        """From anywhere, with the filters that it was made with, from a place that is asked for."""
        made = self.ticket("order_id=16&types=call.state")
        self.assertEqual(list(made), ["ticket", "url", "expires"])
        self.assertEqual(made["url"], f"http://localhost:8080/api/events?ticket={made['ticket']}")
        self.assertEqual(made["expires"], "1970-01-01T00:05:00.000Z")
        came = self.open(made["ticket"], "&after=0")
        self.assertIn(b"200 ok", came.lower())
        self.assertEqual((came.count(b'"order_id":"16"'), came.count(b'"order_id":"15"')), (2, 0))
        self.assertEqual(self.world.history.filters[-1], Filter(order_id="16"))

    def test_nothing_else(self) -> None:
        """It is no key: not to methods, not to recordings."""
        ticket = self.ticket()["ticket"]
        for path in ("callHistory", "makeCall", "record/1.wav", "openapi.json", "streamTicket"):
            for name in ("ticket", "api_key"):
                reply = self.world.ask(f"/api/{path}?{name}={ticket}", peer=STRANGER)
                self.assertEqual(reply.status, 401, path)

    def test_what_it_says_stands(self) -> None:
        """A filter beside it is refused, and so is a key."""
        ticket = self.ticket("order_id=16")["ticket"]
        for more in ("order_id=15", "types=record.ready", "sip=1000", "api_key=k"):
            reply = self.world.ask(f"/api/events?ticket={ticket}&{more}", peer=STRANGER)
            self.assertEqual((reply.status, reply.json["error"]["code"]), (400, "bad_parameter"))
            self.assertEqual(reply.json["error"]["field"], more.partition("=")[0])

    def test_it_expires(self) -> None:
        """After the seconds that were asked for; a stream that is open goes on."""
        ticket = self.ticket("seconds=60")["ticket"]
        connection = self.world.connect(STRANGER)
        connection.send(f"/api/events?ticket={ticket}")
        self.world.clock.advance(61)
        self.assertIn(b"403", self.open(ticket)[:20])
        self.world.history.add(call_view(3), BOTH)
        self.assertIn(b'"call_id":3', connection.received)

    def test_a_client_that_may_read_no_more(self) -> None:
        """Its tickets go with it, also where the secret has stayed."""
        old = World([self.reader], link_secret=SECRET)
        ticket = old.ask("/api/streamTicket").json["response"]["ticket"]
        for clients, status in (
            ([self.reader], b"200"),
            ([Client(name="other", networks=LOCAL.networks)], b"403"),
            ([Client(name="crm", networks=LOCAL.networks, permissions=["call"])], b"403"),
        ):
            self.assertIn(status, self.open(ticket, "", World(clients, link_secret=SECRET))[:20])

    def test_its_places_are_the_clients(self) -> None:
        """Streams by tickets are counted with those by key."""
        other = Client(name="other", networks=LOCAL.networks)
        world = World([self.reader, other], max_streams=4)
        ticket = world.ask("/api/streamTicket").json["response"]["ticket"]
        came = [self.open(ticket, "", world) for _ in range(4)]
        self.assertEqual([one[9:12] for one in came], [b"200"] * 3 + [b"429"])

    def test_every_filter_survives(self) -> None:
        """As it was read; without types everything is told."""
        everything = "order_id=15&call_id=7&sip=1000&phone=%2B380639920000&direction=inbound"
        self.open(self.ticket(everything)["ticket"])
        self.assertEqual(
            self.world.history.filters[-1],
            replace(
                Filter(order_id="15", call_id=7, sip="1000", direction=Direction.INBOUND),
                phone="380639920000",
            ),
        )
        self.assertEqual(len(EVERYTHING), 3)
