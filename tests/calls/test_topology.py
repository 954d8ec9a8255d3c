"""Tests of who talks with whom."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import signals, topology
from ccdaemon.calls.topology import Topology, is_party
from tests.calls.any_topology import call_differs, differs

T0 = 1_795_412_687_000
CLIENT, PHONE, OTHER = "PJSIP/trunk-1", "PJSIP/1000-2", "PJSIP/1001-3"
ONE, TWO = "Local/1000@somewhere-00000001;1", "Local/1000@somewhere-00000001;2"


def enter(name: str, bridge: str, at: int = 0, *, holding: bool = False) -> signals.Entered:
    """A channel, whose uniqueid is its name here, enters a bridge."""
    return signals.Entered(name, CLIENT, T0 + at, name, bridge, holding)


def leave(name: str, bridge: str, at: int = 0) -> signals.Left:
    """A channel leaves a bridge."""
    return signals.Left(name, CLIENT, T0 + at, bridge)


class TopologyTests(SynchronousTestCase):
    """What is heard, and who talks then."""

    def setUp(self) -> None:
        """Nothing is heard yet."""
        self.topology = Topology()

    def hear(self, *heard: signals.Signal) -> set[str]:
        """Hear in turn; who talks with the client then."""
        for signal in heard:
            self.topology.hear(signal)
        return set(self.topology.others(CLIENT))

    def test_one_bridge(self) -> None:
        """Two in a bridge talk, until one leaves it."""
        self.assertEqual(self.hear(enter(CLIENT, "a")), set())
        self.assertEqual(self.hear(enter(PHONE, "a")), {PHONE})
        self.assertEqual(self.hear(leave(PHONE, "a", 1)), set())

    def test_a_local_between(self) -> None:
        """And through a Local channel, optimised away or not."""
        self.assertEqual(self.hear(enter(CLIENT, "a"), enter(ONE, "a"), enter(TWO, "b")), set())
        self.assertEqual(self.hear(enter(PHONE, "b")), {PHONE})
        moved = [leave(PHONE, "b", 1), leave(ONE, "a", 1), enter(PHONE, "a", 1)]
        ended = [signals.Ended(one, CLIENT, T0 + 2, 16, "") for one in (TWO, ONE)]
        self.assertEqual(self.hear(*moved, *ended), {PHONE})

    def test_half_a_local_that_is_gone(self) -> None:
        """What a swap leaves of a half has another name, and leads to nobody behind the other."""
        self.hear(enter(CLIENT, "a"), enter(f"{ONE}<ZOMBIE>", "a"), enter(TWO, "b"))
        self.assertEqual(self.hear(enter(PHONE, "b")), set())

    def test_on_hold(self) -> None:
        """Who waits in one bridge with others does not hear them."""
        held = [enter(one, "parking", holding=True) for one in (CLIENT, PHONE)]
        self.assertEqual(self.hear(*held), set())
        self.assertTrue(self.topology.is_bridged(CLIENT))

    def test_who_changes(self) -> None:
        """It says whose company may be another now."""
        self.hear(enter(CLIENT, "a"))
        self.assertEqual(self.topology.hear(enter(PHONE, "a")), {CLIENT, PHONE})
        self.assertEqual(self.topology.hear(enter(PHONE, "a")), set())
        self.assertEqual(self.topology.hear(leave(PHONE, "a", 1)), {CLIENT, PHONE})

    def test_late(self) -> None:
        """What is told late, again, or of a channel that has ended, is known for what it is."""
        self.hear(enter(CLIENT, "a"), enter(PHONE, "a"), leave(PHONE, "a", 5))
        self.assertEqual(self.hear(enter(PHONE, "a", 1)), set())
        self.assertEqual(self.hear(enter(PHONE, "a", 6)), {PHONE})
        self.assertEqual(self.hear(leave(PHONE, "other", 7)), {PHONE})
        self.assertEqual(self.hear(signals.Ended(PHONE, CLIENT, T0 + 8, 16, "")), set())
        self.assertEqual(self.hear(enter(PHONE, "a", 9)), set())

    def test_no_party(self) -> None:
        """A bot's media and Asterisk's helpers are nobody."""
        names = ["AudioSocket/x-1", "UnicastRTP/x-1", "Surrogate/PJSIP/1000-2", "CBAnn/x-1;1"]
        self.assertEqual(self.hear(enter(CLIENT, "a"), *[enter(one, "a") for one in names]), set())
        self.assertFalse(any(map(is_party, names)))
        self.assertFalse(is_party(""))

    def test_bounded(self) -> None:
        """Of too many channels the oldest is forgotten, and so are those that have ended."""
        with patch.object(topology, "MOST_CHANNELS", 2), patch.object(topology, "MOST_ENDED", 1):
            self.hear(enter(CLIENT, "a"), enter(PHONE, "a"), enter(OTHER, "a"))
            self.assertEqual(len(self.topology), 2)
            self.assertEqual(self.topology.others(OTHER), {PHONE})
            self.hear(*[signals.Ended(one, CLIENT, T0, 16, "") for one in (PHONE, OTHER)])
            self.assertEqual(len(self.topology), 0)
            self.hear(enter(PHONE, "a"))
            self.assertEqual(len(self.topology), 1)

    def test_any_topology(self) -> None:
        """Whatever Asterisk does, in whatever order it may be told."""
        wrong = [said for said in map(differs, range(500)) if said]
        self.assertEqual(wrong, [])

    def test_any_call(self) -> None:
        """And whoever joins a call in it, or leaves it, is told of with their seconds."""
        wrong = [said for said in map(call_differs, range(500)) if said]
        self.assertEqual(wrong, [])
