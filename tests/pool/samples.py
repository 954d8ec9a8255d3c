"""Tests for the tests of the pool to run: no run of everything finds them."""

from __future__ import annotations

import os
import time

from twisted.trial.unittest import SkipTest, SynchronousTestCase


class Samples(SynchronousTestCase):
    """One of each way in which a test can go."""

    longest = 1.0

    def test_1_passes(self) -> None:
        """Nothing is wrong."""

    def test_2_fails(self) -> None:
        """Something is, and it says what."""
        print("what it printed")
        self.fail("as it\n  should")

    def test_3_dies(self) -> None:
        """It takes its process along."""
        os._exit(3)

    def test_4_hangs(self) -> None:
        """It blocks."""
        time.sleep(60)

    def test_5_skipped(self) -> None:
        """It cannot run."""
        raise SkipTest("not here")
