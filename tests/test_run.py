"""Tests of the program that runs the tests."""

from __future__ import annotations

import io
from collections.abc import Collection
from contextlib import redirect_stdout

from twisted.python.failure import Failure
from twisted.trial.itrial import ITestCase
from twisted.trial.unittest import SynchronousTestCase

from tests.run import LONGEST_WORDS, TEST_TIMEOUT, Reporter, summary


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

    def said(self, result: Reporter, *passed: str, hanging: Collection[str] = ()) -> list[str]:
        """Its lines."""
        said = io.StringIO()
        with redirect_stdout(said):
            summary(result, hanging=hanging, passed=passed)
        return said.getvalue().splitlines()

    def test_failed_named(self) -> None:
        """What failed is named beside the count: a log is often kept by its end only."""
        said = self.said(Reporter(io.StringIO()), "tests.c", hanging=("tests.b", "tests.c"))
        self.assertEqual(said, ["", "FAILED: tests.b: it hangs", "1 passed, 1 failed, 0 skipped"])

    def test_why(self) -> None:
        """In a line, which has an end."""
        result = Reporter(io.StringIO())
        result.addFailure(ITestCase(self), Failure(self.failureException("no\n  so  " + "o" * 999)))
        _, line, count = self.said(result)
        self.assertEqual(line, f"FAILED: {self.id()}: {'no so ' + 'o' * (LONGEST_WORDS - 6)}")
        self.assertEqual(count, "0 passed, 1 failed, 0 skipped")
