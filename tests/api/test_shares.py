"""Places that are few, shared among clients."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.shares import Shares
from ccdaemon.config import Client
from ccdaemon.config.validators import network
from tests.api.world import Connection, World

CRM = Client(name="crm", networks=(network("10.0.0.1"),), permissions=["read"])
BOARD = Client(name="board", networks=(network("10.0.0.2"),), permissions=["read"])
STREAM, WAIT = "/api/events", "/api/callHistory.json?after=0&wait=60"


class SharesTests(SynchronousTestCase):
    """Places taken and left."""

    def held(self, places: int, clients: int) -> int:
        """How many places one client can take."""
        shares, taken = Shares(places, clients), 0
        while shares.may_take("crm"):
            shares.take("crm")
            taken += 1
        self.assertEqual(len(shares), taken)
        return taken

    def test_one_client_alone_has_all(self) -> None:
        """There is nobody else who could want one."""
        self.assertEqual(self.held(10, 1), 10)

    def test_one_of_several_leaves_some(self) -> None:
        """Three quarters of them, and at least one."""
        for places, most in ((100, 75), (4, 3), (2, 1), (1, 1)):
            self.assertEqual(self.held(places, 2), most)

    def test_there_are_no_more_than_there_are(self) -> None:
        """Several clients share what there is."""
        shares = Shares(4, 3)
        for client in ("a", "a", "b", "c"):
            self.assertTrue(shares.may_take(client))
            shares.take(client)
        self.assertFalse(shares.may_take("b"))

    def test_a_place_is_left_once(self) -> None:
        """However often it is said."""
        shares = Shares(2)
        leave = shares.take("crm")
        shares.take("crm")
        for _ in range(3):
            leave()
            self.assertEqual(len(shares), 1)


class OnTheWireTests(SynchronousTestCase):
    """Streams, and requests that wait, of two clients."""

    def setUp(self) -> None:
        """Have room for four of each."""
        self.world = World([CRM, BOARD], max_streams=4, max_waiting=4)

    def ask(self, path: str, peer: str) -> Connection:
        """Ask for what does not end."""
        connection = self.world.connect(peer)
        connection.send(path)
        return connection

    def test_streams(self) -> None:
        """One client's fourth is refused, the other's first is not."""
        first, *_ = [self.ask(STREAM, "10.0.0.1") for _ in range(3)]
        reply = self.ask(STREAM, "10.0.0.1").reply()
        self.assertEqual((reply.status, reply.json["error"]["code"]), (429, "too_many_streams"))
        self.assertIn("3 streams of crm", reply.json["error"]["message"])
        self.assertIn(b"200 OK", self.ask(STREAM, "10.0.0.2").received)
        reply = self.ask(STREAM, "10.0.0.2").reply()
        self.assertIn("4 streams are open", reply.json["error"]["message"])
        first.close()
        self.assertIn(b"200 OK", self.ask(STREAM, "10.0.0.1").received)

    def test_waiting(self) -> None:
        """One client's fourth is answered at once, the other's first may wait."""
        for _ in range(3):
            self.assertEqual(self.ask(WAIT, "10.0.0.1").received, b"")
        headers: Mapping[str, str] = self.ask(WAIT, "10.0.0.1").reply().headers
        self.assertEqual(headers["retry-after"], "1")
        self.assertEqual(self.ask(WAIT, "10.0.0.2").received, b"")
        self.world.clock.advance(60)
        self.assertEqual(self.ask(WAIT, "10.0.0.1").received, b"")
