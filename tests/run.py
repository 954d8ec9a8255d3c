"""Run the tests; the last line says what came of it.

    python -m tests.run              everything, each repeat once
    python -m tests.run --fast       all but the live tests
    python -m tests.run --nightly    everything, with every repeat and on both Asterisks
    python -m tests.run --checks     ruff and mypy, too, beside the tests
    python -m tests.run --labs 3     so many labs side by side
    python -m tests.run tests.x …    only these modules, classes or methods, here, one by one

But for tests that are named, all are jobs of a pool (``tests.pool``): unit tests in processes of
their own, live ones in processes with a lab each. Branch coverage is measured of the unit tests.

Exit status 1: a test failed, a module that has to be covered as a whole is not, or, with
CI=true in the environment, a live test was skipped, none was there, or one passed only the second
time. A test that hangs ends its process: every thread's stack is shown, and it counts as failed.

Tests that fail are run once more, by themselves, and named: phones and calls keep real time, and a
machine that stands still for a second makes a phone late. What fails again has failed; of more than
a few nothing is run again.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import coverage
from twisted.trial.runner import TestLoader, TrialRunner

from tests import depth
from tests.pool import plan
from tests.pool.board import Board, clock
from tests.pool.trial import Began, Reporter, Tests, Told
from tests.pool.workers import ROOT, Crew, Job, Workers, a_folder, measured

#: Seconds of a whole run, by day and at night.
RUN_TIMEOUT, NIGHT_TIMEOUT = 2700.0, 6 * 3600.0
#: Tests of so many classes, which may share calls, may have failed for a reason that is gone.
FEW = 4
#: Labs side by side, for each core: a call waits most of its time.
LABS_PER_CORE = 2
#: What is not live leaves the machine to those who keep real time.
_NICE = 5

#: What a wrong branch in would be a wrong story: every branch of it is covered, or the run fails.
WHOLE = [
    "ccdaemon/calls/*",
    "ccdaemon/operators.py",
    "ccdaemon/ami/*wire.py",
    "ccdaemon/fastagi/*wire.py",
    "ccdaemon/pbx/cel_signals.py",
    "ccdaemon/pbx/ami_signals.py",
]


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="of modules, classes or methods")
    parser.add_argument("--fast", action="store_true", help="all but the live tests")
    parser.add_argument("--nightly", action="store_true", help="with every repeat")
    parser.add_argument("--checks", action="store_true", help="ruff and mypy, too")
    parser.add_argument("--labs", type=int, help="so many labs side by side")
    return parser.parse_args(argv)


def crews(jobs: Sequence[Job], labs: int, cores: int) -> list[Crew]:
    """Who does these jobs: what is live goes before."""
    is_live = any(job.kind in (plan.ON_22, plan.ON_16) for job in jobs)
    nice = _NICE if is_live else 0
    return [
        Crew((plan.ON_22, plan.ON_16), labs),
        # One of them waits, mostly.
        Crew((plan.UNIT,), cores + 1, nice=nice, measured=True),
        Crew((plan.CHECK,), 1, nice=nice),
    ]


def again(board: Board) -> list[Job]:
    """The jobs that run what failed once more; none, if that is too much."""
    bad = [name for name in board.failed() if board.kinds[name] != plan.CHECK]
    classes = {name.rpartition(".")[0] for name in bad}
    return plan.again(bad, board.kinds) if 0 < len(classes) <= FEW else []


def covered_as_a_whole(together: coverage.Coverage) -> bool:
    """Print what is not covered; say whether every branch of ``WHOLE`` is."""
    print(
        "\nCoverage, lines and branches (files that are covered as a whole are left out; what only"
    )
    print("runs in the daemon's own process, as in the live tests, is not measured):")
    together.report(show_missing=True, skip_covered=True)
    percent = together.report(include=WHOLE, file=io.StringIO(), precision=2)
    if percent < 100:
        print(f"\n{', '.join(WHOLE)}: {percent:.2f} % covered, has to be 100 %:")
        together.report(include=WHOLE, show_missing=True, skip_covered=True)
    return percent >= 100


def live_as_asked(board: Board, strict: bool) -> bool:
    """Say how many of the live tests ran, and whether that will do."""
    skipped = board.skipped(live=True)
    ran = sum(name.startswith(plan.LIVE) for name in board.tests) - skipped.total()
    board.say(f"\nlive tests: {ran} ran, {skipped.total()} skipped")
    for why, count in skipped.items():
        board.say(f"*** {count} LIVE TESTS WERE SKIPPED: {why}")
    return not (strict and (skipped or not ran))


def run_all(asked: argparse.Namespace) -> int:
    """Run everything in a pool; the exit status."""
    strict = os.environ.get("CI") == "true"
    cores = len(os.sched_getaffinity(0))
    folder = a_folder()
    memory = plan.Memory.read()
    jobs = plan.unit_jobs(memory)
    if asked.checks:
        jobs += plan.check_jobs(memory)
    if not asked.fast:
        jobs += plan.live_jobs(memory, depth.NIGHTLY)
    board = Board(sys.stdout, memory)
    within = NIGHT_TIMEOUT if depth.NIGHTLY else RUN_TIMEOUT
    besides = []
    try:
        labs = asked.labs or LABS_PER_CORE * cores
        everybody = crews(jobs, labs, cores)
        if not Workers(jobs, everybody, board, folder / "first", within).run():
            besides.append(f"the run was not over in {clock(within)} min")
        elif second := again(board):
            board.say(f"\n== once more: {', '.join(sorted(board.failed()))}")
            alone = crews(second, 1, 1)
            Workers(second, alone, board, folder / "again", within).run()
    except KeyboardInterrupt:
        besides.append("it was interrupted")
    else:
        memory.write()
    for live in (False, True):
        for seconds, name in board.slowest(live):
            board.say(f"  {seconds:5.1f} s  {name}")
    os.chdir(ROOT)
    if not besides and not covered_as_a_whole(measured(folder / "first")):
        besides.append(f"not all branches of {', '.join(WHOLE)} are covered")
    if not asked.fast and not live_as_asked(board, strict):
        besides.append("with CI=true every live test has to run")
    return 0 if board.summary(strict, besides) else 1


class _Here(Reporter):
    """In this process: who watches says what hangs."""

    at: tuple[str, float, float] | None = None

    def __init__(self, board: Board, stream: Any) -> None:
        super().__init__(self.hear, stream)
        self._board = board
        self._job = Job("", plan.UNIT, Tests(()), 0.0, 0.0)

    def hear(self, what: Any) -> None:
        """Note what came of a test, which trial has printed."""
        if isinstance(what, Began):
            self.at = (what.test, time.monotonic(), 0.0)
        elif isinstance(what, Told):
            self._board.note(what, plan.UNIT)

    def arm(self, seconds: float) -> None:
        """It may take so long."""
        assert self.at is not None
        self.at = (*self.at[:2], seconds)

    def disarm(self) -> None:
        """It is over."""
        self.at = None


def watch(reporter: _Here, board: Board) -> None:
    """End the process when a test takes too long."""

    def look() -> None:
        while True:
            time.sleep(1.0)
            test, since, limit = reporter.at or ("", 0.0, 0.0)
            took = time.monotonic() - since
            if limit and took > limit:
                break
        sys.stdout.flush()
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
        board.note(Told(test, "failed", took, why=f"it hangs, after {took:.0f} s"), plan.UNIT)
        board.summary(strict=False)
        os._exit(1)  # what it has started dies with it

    threading.Thread(target=look, name="watch", daemon=True).start()


def run_here(names: Sequence[str]) -> int:
    """Run tests one by one, and see what they print; the exit status."""
    board = Board(sys.stdout, plan.Memory({}))
    reporters: list[_Here] = []

    def observed(stream: Any, *_: Any) -> _Here:
        reporter = _Here(board, stream)
        watch(reporter, board)
        reporters.append(reporter)
        return reporter

    suite = TestLoader().loadByNames(list(names))
    runner = TrialRunner(observed, realTimeErrors=True, workingDirectory=str(a_folder() / "here"))
    besides = []
    try:
        runner.run(suite)
    except KeyboardInterrupt:
        besides.append("it was interrupted")
    for reporter in reporters:
        reporter.tell_failed()
    return 0 if board.summary(strict=False, besides=besides) else 1


def main(argv: Sequence[str]) -> int:
    """Run, report, and return the exit status."""
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.nightly and not depth.NIGHTLY:
        # What is loaded by now has been told otherwise.
        os.environ[depth.VARIABLE] = depth.AT_NIGHT
        os.execv(sys.executable, [sys.executable, "-m", "tests.run", *argv])
    return run_here(asked.names) if asked.names else run_all(asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
