"""Tests of how long a call may stay as it is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.tracking.call_watchdog import Longest, overdue

LONGEST = Longest(ringing=60, talking=600)


class Overdue(SynchronousTestCase):
    """Each phase has its limit."""

    def test_limits(self) -> None:
        """Up to the limit a call is left alone; beyond, the words name phase and limit."""
        for phase, limit in (("ringing", 60), ("talking", 600)):
            self.assertIsNone(overdue(phase, 1000, 1000 + limit, LONGEST))
            words = overdue(phase, 1000, 1000.1 + limit, LONGEST)
            self.assertEqual(words, f"closed by the watchdog: {phase} for more than {limit} s")

    def test_what_has_ended(self) -> None:
        """Has no limit."""
        self.assertIsNone(overdue("ended", 0, 10**9, LONGEST))
