"""Connections to the API: how many, for how long, and what is read of each."""

from __future__ import annotations

import resource
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.connections import OTHER_FILES, TAKEN_WITHIN, TOLD_WITHIN, room_for
from tests.api.world import Connection, World

LIST = "/api/sipList.json"
GET = b"GET /api/sipList.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK"


class HowMany(SynchronousTestCase):
    """The bound of all connections."""

    def setUp(self) -> None:
        """Make a world with room for three."""
        self.world = World(max_connections=3)
        self.connections = self.world.connections

    def aborted(self, connection: Connection) -> bool:
        """Whether we have cut it."""
        return connection.transport.aborting

    def test_the_longest_idle_makes_room(self) -> None:
        """The fourth is served, and the one closed that has waited longest for a request."""
        first, second, third = (self.world.connect() for _ in range(3))
        first.send(LIST)
        self.assertEqual(first.reply().status, 200)
        fourth = self.world.connect()
        fourth.send(LIST)
        self.assertEqual(fourth.reply().status, 200)
        told = [self.aborted(each) for each in (first, second, third, fourth)]
        self.assertEqual(told, [False, True, False, False])
        self.assertEqual((len(self.connections), self.connections.made_room), (3, 1))

    def test_half_a_request_is_none(self) -> None:
        """Who sends slowly makes room like who sends nothing."""
        slow = self.world.connect()
        slow.protocol.dataReceived(GET[:-1])
        others = [self.world.connect() for _ in range(3)]
        self.assertTrue(self.aborted(slow))
        self.assertFalse(any(self.aborted(each) for each in others))

    def working(self) -> list[Connection]:
        """Three that wait for news."""
        made = [self.world.connect() for _ in range(3)]
        for each in made:
            each.send("/api/events")
            self.assertIn(b"text/event-stream", each.received)
        return made

    def test_all_at_work(self) -> None:
        """Where nobody makes room the newest is told so, and closed once it has read that."""
        working = self.working()
        newest = self.world.connect()
        newest.protocol.dataReceived(GET)
        reply = newest.reply()
        self.assertEqual((reply.status, reply.headers["retry-after"]), (503, "1"))
        self.assertEqual(reply.headers["content-type"], "application/json")
        self.assertEqual(reply.json["status_code"], 503)
        self.assertEqual(reply.json["error"]["code"], "too_many_connections")
        self.assertEqual(len(reply.body), int(reply.headers["content-length"]))
        self.world.clock.advance(TOLD_WITHIN)
        self.assertTrue(self.aborted(newest))
        self.assertFalse(any(self.aborted(each) for each in working))
        self.assertEqual((len(self.connections), self.connections.refused), (3, 1))

    def test_a_flood_of_them(self) -> None:
        """Only so many are told at once; the others are cut."""
        self.working()
        told = [self.world.site.buildProtocol(cast(Any, None)) for _ in range(2)]
        self.assertNotIn(None, told)
        flood = [self.world.connect() for _ in range(100)]
        self.assertIsNone(self.world.site.buildProtocol(cast(Any, None)))
        for each in flood:
            each.close()
        self.assertIsNotNone(self.world.site.buildProtocol(cast(Any, None)))

    def test_room_again(self) -> None:
        """Once one has gone the next is served."""
        working = self.working()
        working[0].close()
        newest = self.world.connect()
        newest.send(LIST)
        self.assertEqual(newest.reply().status, 200)
        self.assertEqual((len(self.connections), self.connections.refused), (3, 0))

    def test_none_is_left(self) -> None:
        """However they end, all are forgotten."""
        for sent in (b"", b"GET", GET, b"\x16\x03\x01\r\n", GET * 3):
            connection = self.world.connect()
            connection.protocol.dataReceived(sent)
            self.world.clock.advance(0)
            connection.close()
        self.assertEqual(len(self.connections), 0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class HowLong(SynchronousTestCase):
    """The time for a request, and for its answer to be taken."""

    def setUp(self) -> None:
        """Open one connection."""
        self.world = World()
        self.clock = self.world.clock
        self.connection = self.world.connect()

    def closed(self) -> bool:
        """Whether we close it."""
        return bool(self.connection.transport.disconnecting)

    def test_nothing_at_all(self) -> None:
        """Who asks for nothing is there for a minute."""
        self.clock.advance(59)
        self.assertFalse(self.closed())
        self.clock.advance(1)
        self.assertTrue(self.closed())

    def test_a_byte_a_second(self) -> None:
        """A request has a minute from its first byte, however it comes."""
        self.clock.advance(50)
        for byte in range(60):
            self.assertFalse(self.closed(), byte)
            self.connection.protocol.dataReceived(GET[byte % 40 : byte % 40 + 1])
            self.clock.advance(1)
        self.assertTrue(self.closed())

    def test_the_body_too(self) -> None:
        """The minute is for the body as well."""
        self.connection.send(LIST, "POST", {"Content-Length": "1000"})
        for _ in range(60):
            self.assertFalse(self.closed())
            self.connection.protocol.dataReceived(b"x")
            self.clock.advance(1)
        self.assertTrue(self.closed())

    def test_each_request_anew(self) -> None:
        """A connection that is used is not closed."""
        for _ in range(5):
            self.clock.advance(50)
            self.connection.send(LIST)
            self.assertEqual(self.connection.reply().status, 200)
        self.assertFalse(self.closed())

    def test_the_last_of_it_is_not_taken(self) -> None:
        """A connection that is to close is cut when the answer is not taken."""
        self.connection.send(LIST, headers={"Connection": "close"})
        self.assertTrue(self.closed())
        self.assertFalse(self.connection.transport.aborting)
        self.clock.advance(TAKEN_WITHIN)
        self.assertTrue(self.connection.transport.aborting)


class OneAfterTheOther(SynchronousTestCase):
    """Many requests sent at once."""

    def setUp(self) -> None:
        """Open one connection."""
        self.world = World()
        self.connection = self.world.connect()

    def answers(self) -> int:
        """How many have come."""
        return self.connection.received.count(ANSWER)

    def turn(self) -> None:
        """One turn of the reactor; what is asked for in it is for the next."""
        clock = self.world.clock
        for due in [each for each in clock.getDelayedCalls() if each.getTime() <= clock.seconds()]:
            do = cast(Any, due).func
            due.cancel()
            do()

    def test_one_in_each_turn(self) -> None:
        """They are answered one by one, so that others have their turns; in the end all."""
        self.connection.protocol.dataReceived(GET * 5 + GET[:10])
        for n in range(1, 6):
            self.assertEqual(self.answers(), n)
            self.turn()
        self.assertEqual(self.answers(), 5)
        self.connection.protocol.dataReceived(GET[10:])
        self.assertEqual(self.answers(), 6)

    def test_nobody_takes_the_answers(self) -> None:
        """Where an answer is not taken the next request waits, and nothing more is read."""
        protocol = self.connection.protocol
        protocol.dataReceived(GET * 3)
        cast(Any, protocol).pauseProducing()
        for _ in range(5):
            self.world.clock.advance(0)
        self.assertEqual(self.answers(), 1)
        self.assertEqual(self.connection.transport.producerState, "paused")
        cast(Any, protocol).resumeProducing()
        for _ in range(5):
            self.world.clock.advance(0)
        self.assertEqual(self.answers(), 3)
        self.assertEqual(self.connection.transport.producerState, "producing")

    def test_gone_in_the_middle(self) -> None:
        """Who goes with requests unanswered leaves nothing behind."""
        self.connection.protocol.dataReceived(GET * 3)
        self.connection.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_garbage_after_a_request(self) -> None:
        """Garbage is answered once with 400, whatever follows it."""
        self.connection.protocol.dataReceived(b"\x16\x03\x01\x00\r\n\r\n" * 10 + GET)
        self.connection.protocol.dataReceived(b"\x16\x03\x01\x00\r\n\r\n" * 10 + GET)
        self.assertEqual(self.connection.received.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.connection.received.startswith(b"HTTP/1.1 400 "))

    def test_a_length_of_thousands_of_digits(self) -> None:
        """Python reads no such number: 400, and nothing in the log but the line."""
        self.connection.send(LIST, "POST", {"Content-Length": "9" * 5000, "X": "y"})
        self.assertTrue(self.connection.received.startswith(b"HTTP/1.1 400 "))
        self.assertEqual(self.connection.received.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.connection.transport.disconnecting)


class OpenFiles(SynchronousTestCase):
    """What the system has to allow."""

    def setUp(self) -> None:
        """Leave the process as it was."""
        self.before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, self.before)

    def test_raised(self) -> None:
        """The soft limit is raised to what is needed, and is not lowered."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, self.before[1]))
        self.assertEqual(room_for(2000), 2000)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 2000 + OTHER_FILES)
        self.assertEqual(room_for(10), 10)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 2000 + OTHER_FILES)

    def test_not_allowed(self) -> None:
        """Where the system allows fewer there are fewer, and files for the rest of the daemon."""
        self.patch(resource, "getrlimit", lambda which: (1024, 1024))
        self.patch(resource, "setrlimit", lambda which, limits: None)
        self.assertEqual(room_for(2000), 1024 - OTHER_FILES)
