"""Tests of the program that runs the tests."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from twisted.trial.itrial import ITestCase
from twisted.trial.unittest import SynchronousTestCase

from tests.run import TEST_TIMEOUT, Reporter, summary


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


class SummaryTests(SynchronousTestCase):
    """What is said at the end."""

    def test_failed_named(self) -> None:
        """What failed is named beside the count: a log is often kept by its end only."""
        said = io.StringIO()
        with redirect_stdout(said):
            summary(
                Reporter(io.StringIO()),
                hanging={"tests.b", "tests.a", "tests.c"},
                passed={"tests.c"},
            )
        self.assertEqual(
            said.getvalue().splitlines(),
            ["", "FAILED: tests.a", "FAILED: tests.b", "1 passed, 2 failed, 0 skipped"],
        )
