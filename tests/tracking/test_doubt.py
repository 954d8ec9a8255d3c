"""Ends that nothing bears out are asked about; after what was forged Asterisk is looked at."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_errors import ActionTimeout
from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.signals import Signal
from ccdaemon.tracking.doubt import (
    ASK_AGAIN,
    EVERY,
    MOST_ASKED,
    REMEMBERED,
    SOON,
    TRIES,
    ConfirmedEnds,
    LookingAnew,
)
from tests.fake_asterisk import FakeAsterisk

ENDED = signals.Ended("17.1", "17.1", 1000, 16, "")


class ConfirmedEndsTests(SynchronousTestCase):
    """Over a fake Asterisk that has the channel 17.1."""

    def setUp(self) -> None:
        """One channel is in a bridge."""
        self.clock = Clock()
        self.asterisk = FakeAsterisk()
        self.bridged = {"17.1"}
        self.told: list[Signal] = []
        self.forged: list[str] = []
        self.ends = ConfirmedEnds(self.bridged.__contains__, self.told.append, self.clock)
        self.ends.on_forged = self.forged.append

    def test_an_ordinary_end(self) -> None:
        """Who has left the bridge before is told at once, and nobody is asked."""
        self.bridged.clear()
        self.ends.hear(self.asterisk, ENDED)
        self.assertEqual((self.told, self.asterisk.asked), ([ENDED], []))

    def test_other_signals(self) -> None:
        """All but ends pass."""
        left = signals.Left("17.1", "17.1", 1000, "b")
        self.ends.hear(self.asterisk, left)
        self.assertEqual((self.told, self.asterisk.asked), ([left], []))

    def test_the_channel_is_there(self) -> None:
        """The end is not told; whoever looks at what is forged is."""
        self.ends.hear(self.asterisk, ENDED)
        self.ends.hear(self.asterisk, ENDED)
        for _ in range(TRIES):
            self.assertEqual(self.forged, [])
            self.clock.advance(ASK_AGAIN)
        self.assertEqual((self.told, self.forged), ([], ["17.1"]))
        self.assertEqual(len(self.asterisk.asked), TRIES)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_channel_is_gone(self) -> None:
        """The end is told as it was heard, now or a moment later."""
        self.ends.hear(self.asterisk, ENDED)
        self.assertEqual(self.told, [])
        self.asterisk.gone.add("17.1")
        self.clock.advance(ASK_AGAIN)
        self.assertEqual((self.told, self.forged), ([ENDED], []))
        self.ends.hear(self.asterisk, ENDED)
        self.assertEqual(self.told, [ENDED, ENDED])

    def test_no_answer(self) -> None:
        """Where Asterisk cannot be asked the event is believed."""
        self.asterisk.trouble = ActionTimeout("Getvar", 0.5)
        self.ends.hear(self.asterisk, ENDED)
        self.assertEqual(self.told, [ENDED])

    def test_the_session_ends(self) -> None:
        """Nothing is told of it, nor is anything left behind; the next session finds it out."""
        waiting: Deferred[Message] = Deferred()
        self.patch(self.asterisk, "sendAction", lambda *_, **__: waiting)
        self.ends.hear(self.asterisk, ENDED)
        self.ends.down()
        self.assertEqual((self.told, self.forged), ([], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_flood(self) -> None:
        """Of very many ends at a time those beyond a bound are believed."""
        ends = [signals.Ended(f"17.{n}", "", 1000, 16, "") for n in range(MOST_ASKED + 1)]
        self.bridged.update(end.channel for end in ends)
        for end in ends:
            self.ends.hear(self.asterisk, end)
        self.assertEqual(self.told, ends[-1:])
        self.ends.down()


class LookingAnewTests(SynchronousTestCase):
    """When it is looked."""

    def setUp(self) -> None:
        """Have somebody who looks."""
        self.clock = Clock()
        self.looks: list[float] = []
        self.anew = LookingAnew((lambda: self.looks.append(self.clock.seconds()),), self.clock)

    def test_soon(self) -> None:
        """A moment after something was forged, once."""
        self.anew.forged("SIP/t-1")
        self.anew.forged("SIP/t-2")
        self.clock.advance(SOON)
        self.assertEqual(self.looks, [SOON])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_flood(self) -> None:
        """However much is forged, it is looked no more often than that, and not later either."""
        for _ in range(600):
            self.anew.forged("SIP/t-1")
            self.clock.advance(0.1)
        self.assertEqual(len(self.looks), 6)
        gaps = [two - one for one, two in zip(self.looks, self.looks[1:], strict=False)]
        for gap in gaps:
            self.assertApproximates(gap, EVERY, 0.2)

    def test_health(self) -> None:
        """It is in doubt for a while."""
        self.assertFalse(self.anew.in_doubt)
        self.anew.forged("SIP/t-1")
        self.assertTrue(self.anew.in_doubt)
        self.clock.advance(REMEMBERED)
        self.assertFalse(self.anew.in_doubt)

    def test_end(self) -> None:
        """Nobody looks when the session is over."""
        self.anew.end()
        self.anew.forged("SIP/t-1")
        self.anew.end()
        self.assertEqual((self.clock.getDelayedCalls(), self.looks), ([], []))
