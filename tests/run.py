"""Run the suite with trial, under branch coverage; the last line says what came of it.

    python -m tests.run              everything
    python -m tests.run --fast       all but the live tests
    python -m tests.run tests.x …    only these modules, classes or methods; no coverage

Exit status 1: a test failed, a module that has to be covered as a whole is not, or, with
CI=true in the environment, a live test was skipped or none was there.
"""

from __future__ import annotations

import io
import os
import sys
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

ROOT = Path(__file__).resolve().parent.parent
LIVE = "tests.live."

#: What a wrong branch in would be a wrong story: every branch of it is covered, or the run fails.
WHOLE = [
    "ccdaemon/calls/*",
    "ccdaemon/operators.py",
    "ccdaemon/asterisk/*wire.py",
    "ccdaemon/asterisk/cel.py",
    "ccdaemon/asterisk/signals.py",
]


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
    print("\nCoverage, lines and branches (files that are covered as a whole are left out):")
    measured.report(show_missing=True, skip_covered=True)
    percent = measured.report(include=WHOLE, file=io.StringIO(), precision=2)
    if percent < 100:
        print(f"\nFAILED: {', '.join(WHOLE)}: {percent:.2f} % covered, has to be 100 %:")
        measured.report(include=WHOLE, show_missing=True, skip_covered=True)
    return percent >= 100


def live_as_asked(result: Any, live: int) -> bool:
    """Say how many of the live tests ran, and whether that will do."""
    skipped = Counter(str(why) for test, why in result.skips if test.id().startswith(LIVE))
    ran = live - skipped.total()
    print(f"\nlive tests: {ran} ran, {skipped.total()} skipped")
    for why, count in skipped.items():
        print(f"*** {count} LIVE TESTS WERE SKIPPED: {why}")
    if os.environ.get("CI") == "true" and (skipped or not ran):
        print("FAILED: with CI=true every live test has to run")
        return False
    return True


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit status."""
    fast = "--fast" in arguments
    chosen = [argument for argument in arguments if argument != "--fast"]
    measured = None if chosen else coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    if measured:
        measured.start()
    names = chosen or find_modules(fast)
    suite = TestLoader().loadByNames(names)
    live = sum(test.id().startswith(LIVE) for test in each_test(suite))
    runner = TrialRunner(TreeReporter, workingDirectory=str(ROOT / "_trial_temp"))
    result: Any = runner.run(suite)
    good = bool(result.wasSuccessful())
    if measured:
        measured.stop()
        os.chdir(ROOT)
        good = covered_as_a_whole(measured) and good
    if not fast and not chosen:
        good = live_as_asked(result, live) and good
    bad = {test.id() for test, _ in [*result.failures, *result.errors]}
    bad.update(test.id() for test, _ in result.unexpectedSuccesses)
    print(f"\n{result.successes} passed, {len(bad)} failed, {len(result.skips)} skipped")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
