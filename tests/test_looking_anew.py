"""Looks after what was forged."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.tracking.looking_anew import EVERY, REMEMBERED, SOON, LookingAnew


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
