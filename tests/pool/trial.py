"""The job that runs tests, in a worker: what it tells of each, and how long it may take.

Knows trial; does not know what is done with what it tells.
"""

from __future__ import annotations

import faulthandler
import io
import sys
import time
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from twisted.python.failure import Failure
from twisted.trial.itrial import ITestCase
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import LoggedSuite, TestLoader
from twisted.trial.unittest import decorate

from tests.pool.workers import Tell

#: Seconds. trial ends a test that waits; this ends one that blocks, which trial cannot. A test may
#: have a ``longest`` of its own.
TEST_TIMEOUT = 300.0
#: Letters of why a test failed, in a line, and of what was printed meanwhile.
LONGEST_WORDS, LONGEST_TEXT = 600, 20000
Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Listed:
    """All tests of the job, in order."""

    tests: tuple[str, ...]


@dataclass(frozen=True)
class Began:
    """A test begins."""

    test: str


@dataclass(frozen=True)
class Told:
    """What came of a test. ``why``: in a line; ``text``: what it printed, if it failed."""

    test: str
    outcome: Outcome
    seconds: float = 0.0
    cpu: float = 0.0
    why: str = ""
    text: str = ""


def words(why: object) -> str:
    """A failure, what ``sys.exc_info`` says or a reason, in a line, which has an end."""
    if isinstance(why, tuple):
        why = why[1]
    said = why.getErrorMessage() if isinstance(why, Failure) else str(why)
    return " ".join(said.split())[:LONGEST_WORDS]


def longest(test: Any) -> float:
    """Seconds that a test may take. trial wraps it into what has nothing of its own."""
    said = getattr(getattr(test, "_originalTest", test), "longest", None)
    return float(said) if isinstance(said, int | float) else TEST_TIMEOUT


class Reporter(TreeReporter):
    """trial's, which tells what begins and what came of it, and ends what hangs.

    ``log``: the file that all is printed into; what a failed test printed is told along.
    """

    def __init__(self, tell: Tell, stream: io.TextIOBase, log: Path | None = None) -> None:
        super().__init__(stream, realtime=True)
        self._tell = tell
        self._log = log
        self._begun = (0.0, 0.0)
        self._why: list[str] = []
        self._skip: str | None = None
        self._from = 0
        self._failed: Told | None = None
        self._runs = False

    def startTest(self, test: Any) -> None:
        """From now on it may take so long."""
        self.tell_failed()
        self._why, self._skip, self._runs = [], None, True
        self._from = self._size()
        self._begun = (time.monotonic(), time.process_time())
        self._tell(Began(test.id()))
        self.arm(longest(test))
        super().startTest(test)

    def stopTest(self, test: Any) -> None:
        """Tell what came of it."""
        self.disarm()
        super().stopTest(test)
        self._runs = False
        seconds = time.monotonic() - self._begun[0]
        took = (seconds, time.process_time() - self._begun[1])
        if self._why:
            # What is printed until the next one begins still belongs to it.
            self._failed = Told(test.id(), "failed", *took, why="; ".join(self._why))
        elif self._skip is not None:
            self._tell(Told(test.id(), "skipped", *took, why=self._skip))
        else:
            self._tell(Told(test.id(), "passed", *took))

    def addError(self, test: Any, error: Any) -> None:
        """It broke."""
        super().addError(test, error)
        self._is_wrong(test, words(error))

    def addFailure(self, test: Any, fail: Any) -> None:
        """Something was not as it should be."""
        super().addFailure(test, fail)
        self._is_wrong(test, words(fail))

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        """It was said to fail."""
        super().addUnexpectedSuccess(test, todo)
        self._is_wrong(test, "it should not pass")

    def addSkip(self, test: Any, reason: Any) -> None:
        """It could not run."""
        super().addSkip(test, reason)
        self._skip = words(reason)

    def arm(self, seconds: float) -> None:
        """End the process after so long, with the stacks of all its threads."""
        # Not a thread of Python's: what holds the interpreter is ended, too.
        faulthandler.dump_traceback_later(seconds, exit=True)

    def disarm(self) -> None:
        """The test is over."""
        faulthandler.cancel_dump_traceback_later()

    def _is_wrong(self, test: Any, why: str) -> None:
        if self._runs:
            self._why.append(why)
        else:
            self._tell(Told(test.id(), "failed", why=why))

    def tell_failed(self) -> None:
        """Tell of the test that failed, with what was printed meanwhile."""
        if self._failed is not None:
            failed, self._failed = self._failed, None
            text = self._printed()
            self._tell(Told(failed.test, "failed", failed.seconds, failed.cpu, failed.why, text))

    def _size(self) -> int:
        self._stream.flush()
        sys.stdout.flush()
        return self._log.stat().st_size if self._log is not None and self._log.exists() else 0

    def _printed(self) -> str:
        end = self._size()
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(max(self._from, end - LONGEST_TEXT))
            return log.read().decode(errors="replace")


def each_test(suite: Any) -> Iterator[Any]:
    """Walk a suite of suites down to its tests."""
    if isinstance(suite, unittest.TestSuite):
        for part in suite:
            yield from each_test(part)
    else:
        yield suite


@dataclass(frozen=True)
class Tests:
    """Tests by their names, in this order, in one process."""

    names: tuple[str, ...]

    def run(self, tell: Tell) -> None:
        """Run them."""
        suite = decorate(TestLoader().loadByNames(list(self.names)), ITestCase)
        tell(Listed(tuple(test.id() for test in each_test(suite))))
        log = Path("log").absolute()
        reporter = Reporter(tell, sys.stdout, log)  # type: ignore[arg-type]
        LoggedSuite([suite]).run(reporter)
        reporter.tell_failed()
