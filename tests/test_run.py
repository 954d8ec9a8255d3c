"""Tests of the program that runs the tests."""

from __future__ import annotations

import io

from twisted.trial.itrial import ITestCase
from twisted.trial.unittest import SynchronousTestCase

from tests.run import TEST_TIMEOUT, Reporter


class LimitTests(SynchronousTestCase):
    """How long a test may take."""

    def limit(self) -> float:
        """What is known of it, as trial hands it over."""
        reporter = Reporter(io.StringIO())
        reporter.startTest(ITestCase(self))
        return reporter.limit

    def test_most(self) -> None:
        """The same for all that say nothing."""
        self.assertEqual(self.limit(), TEST_TIMEOUT)


class OwnLimitTests(LimitTests):
    """One of many parts says more."""

    longest = TEST_TIMEOUT * 3

    def test_most(self) -> None:
        """It is taken at its word."""
        self.assertEqual(self.limit(), self.longest)
