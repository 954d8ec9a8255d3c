"""Run the suite with trial, under branch coverage; the last line says what came of it.

    python -m tests.run              everything
    python -m tests.run --fast       all but the live tests
    python -m tests.run tests.x …    only these modules, classes or methods; no coverage

Exit status 1: a test failed, a module that has to be covered as a whole is not, or, with
CI=true in the environment, a live test was skipped or none was there. A test that hangs ends the
run: every thread's stack is shown, and the test counts as failed.

Live tests that fail in a whole run are run once more, by themselves, and named: phones and calls
keep real time, and a machine that stands still for a second makes a phone late. What fails again
has failed; of more than a few nothing is run again.
"""

from __future__ import annotations

import faulthandler
import io
import os
import subprocess
import sys
import threading
import time
import unittest
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import coverage
from twisted.python.failure import Failure
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

#: Seconds. trial ends a test that waits; these end one that blocks, which trial cannot. A test may
#: have a ``longest`` of its own.
TEST_TIMEOUT, RUN_TIMEOUT = 480.0, 4800.0
ROOT = Path(__file__).resolve().parent.parent
LIVE = "tests.live."
#: Live tests of so many classes, whose tests may share calls, may have failed for a reason that is
#: gone; seconds that they may take.
FEW, AGAIN_TIMEOUT = 4, 1500.0

#: Letters of why a test failed, at the end, where a log that is too long is not cut.
LONGEST_WORDS = 600

#: What a wrong branch in would be a wrong story: every branch of it is covered, or the run fails.
WHOLE = [
    "ccdaemon/calls/*",
    "ccdaemon/operators.py",
    "ccdaemon/asterisk/*wire.py",
    "ccdaemon/asterisk/cel.py",
    "ccdaemon/asterisk/signals.py",
]


class Reporter(TreeReporter):
    """trial's, which also knows what runs and since when, and how long the others took."""

    running: tuple[str, float] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seconds: dict[str, float] = {}
        self.limit = TEST_TIMEOUT

    def startTest(self, test: Any) -> None:
        """Note it."""
        # trial wraps a test into what has nothing of its own.
        own = getattr(test, "_originalTest", test)
        self.limit = getattr(own, "longest", TEST_TIMEOUT)
        self.running = (test.id(), time.monotonic())
        super().startTest(test)

    def stopTest(self, test: Any) -> None:
        """Forget it."""
        super().stopTest(test)
        if self.running is not None:
            self.seconds[self.running[0]] = time.monotonic() - self.running[1]
        self.running = None


def watch(result: Reporter) -> None:
    """End the process when a test, or all of them, take too long."""
    started = time.monotonic()

    def look() -> None:
        while True:
            time.sleep(1.0)
            now = time.monotonic()
            test, since = result.running or ("the run", now)
            if now - since > result.limit or now - started > RUN_TIMEOUT:
                break
        sys.stdout.flush()
        print(f"\nFAILED: {test} hangs, after {now - since:.0f} s of {now - started:.0f} s:")
        sys.stdout.flush()
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
        summary(result, hanging={test})
        sys.stdout.flush()
        os._exit(1)  # what it has started dies with it

    threading.Thread(target=look, name="watch", daemon=True).start()


def failed(result: Any) -> dict[str, str]:
    """The tests that failed, and why, in a line."""
    bad = {test.id(): "it should not pass" for test, _ in result.unexpectedSuccesses}
    for test, why in [*result.failures, *result.errors]:
        words = why.getErrorMessage() if isinstance(why, Failure) else str(why)
        bad[test.id()] = " ".join(words.split())[:LONGEST_WORDS]
    return bad


def once_more(bad: Collection[str]) -> set[str]:
    """Run live tests that failed by themselves; those that have not failed again."""
    classes = {name.rpartition(".")[0] for name in bad}
    if not 0 < len(classes) <= FEW or not all(name.startswith(LIVE) for name in bad):
        return set()
    print(f"\n== once more: {', '.join(sorted(bad))}", flush=True)
    argv = [sys.executable, "-m", "tests.run", *sorted(bad)]
    try:
        done = subprocess.run(argv, cwd=ROOT, timeout=AGAIN_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return set()
    if done.returncode != 0:
        return set()
    for name in sorted(bad):
        print(f"*** PASSED ONLY THE SECOND TIME: {name}")
    return {*bad}


def summary(result: Any, hanging: Collection[str] = (), passed: Collection[str] = ()) -> None:
    """Print what failed, and the last line. ``passed``: tests that failed the first time only."""
    bad = {**dict.fromkeys(hanging, "it hangs"), **failed(result)}
    bad = {name: why for name, why in bad.items() if name not in passed}
    good = result.successes + len(passed)
    print()
    for name, why in sorted(bad.items()):
        print(f"FAILED: {name}: {why}")
    print(f"{good} passed, {len(bad)} failed, {len(result.skips)} skipped")


def find_modules(fast: bool) -> list[str]:
    """Name the test modules: first the ones that need nothing, then the live ones."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    live = [name for name in names if name.startswith(LIVE)]
    return [name for name in names if name not in live] + ([] if fast else live)


def each_test(suite: Any) -> Iterator[Any]:
    """Walk a suite of suites down to its tests."""
    if isinstance(suite, unittest.TestSuite):
        for part in suite:
            yield from each_test(part)
    else:
        yield suite


def covered_as_a_whole(measured: coverage.Coverage) -> bool:
    """Print what is not covered; say whether every branch of ``WHOLE`` is."""
    print(
        "\nCoverage, lines and branches (files that are covered as a whole are left out; what only"
    )
    print("runs in the daemon's own process, as in the live tests, is not measured):")
    measured.report(show_missing=True, skip_covered=True)
    percent = measured.report(include=WHOLE, file=io.StringIO(), precision=2)
    if percent < 100:
        print(f"\nFAILED: {', '.join(WHOLE)}: {percent:.2f} % covered, has to be 100 %:")
        measured.report(include=WHOLE, show_missing=True, skip_covered=True)
    return percent >= 100


def live_as_asked(result: Reporter, live: int) -> bool:
    """Say how many of the live tests ran, and whether that will do."""
    skipped = Counter(str(why) for test, why in result.skips if test.id().startswith(LIVE))
    ran = live - skipped.total()
    seconds = {test: took for test, took in result.seconds.items() if test.startswith(LIVE)}
    print(f"\nlive tests: {ran} ran in {sum(seconds.values()):.0f} s, {skipped.total()} skipped")
    for test in sorted(seconds, key=lambda test: -seconds[test])[:5]:
        print(f"  {seconds[test]:5.1f} s  {test}")
    for why, count in skipped.items():
        print(f"*** {count} LIVE TESTS WERE SKIPPED: {why}")
    if os.environ.get("CI") == "true" and (skipped or not ran):
        print("FAILED: with CI=true every live test has to run")
        return False
    return True


def run(suite: unittest.TestSuite) -> tuple[Reporter, bool]:
    """Run it; what came of it, and whether it ran to its end. Errors are shown at once."""

    def observed(*arguments: Any) -> Reporter:
        result = Reporter(*arguments)
        watch(result)
        reporters.append(result)
        return result

    reporters: list[Reporter] = []
    runner = TrialRunner(observed, realTimeErrors=True, workingDirectory=str(ROOT / "_trial_temp"))
    try:
        runner.run(suite)
    except KeyboardInterrupt:
        print("\nFAILED: interrupted")
        return reporters[0], False
    return reporters[0], True


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit status."""
    fast = "--fast" in arguments
    chosen = [argument for argument in arguments if argument != "--fast"]
    measured = None if chosen else coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    if measured:
        measured.start()
    suite = TestLoader().loadByNames(chosen or find_modules(fast))
    live = sum(test.id().startswith(LIVE) for test in each_test(suite))
    result, whole = run(suite)
    passed = set() if chosen or not whole else once_more(failed(result))
    good = whole and failed(result).keys() <= passed
    if measured:
        measured.stop()
        os.chdir(ROOT)
        good = covered_as_a_whole(measured) and good
    if not fast and not chosen:
        good = live_as_asked(result, live) and good
    summary(result, passed=passed)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
