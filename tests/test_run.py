"""Tests of the program that runs the tests: what it plans, says and holds against whom."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests import run
from tests.pool import plan
from tests.pool.board import Board, clock, left
from tests.pool.trial import TEST_TIMEOUT, Began, Listed, Tests, Told, longest
from tests.pool.workers import Crew, Job


def a_job(name: str, kind: str = plan.UNIT, lasts: float = 1.0, *tests: str) -> Job:
    """A job that nobody runs."""
    return Job(name, kind, Tests(tests), lasts, 60.0)


class Crewed:
    """What a board sees of workers."""

    def __init__(self, crews: list[Crew], waiting: list[Job], running: list[Any]) -> None:
        self.crews, self.waiting, self.running = crews, waiting, running


class Terminal(io.StringIO):
    """A person looks at it."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class Busy:
    """A worker at its job."""

    def __init__(self, crew: Crew, job: Job, since: float) -> None:
        self.crew, self.job, self.since = crew, job, since


class BoardCase(SynchronousTestCase):
    """A board whose clock stands where the test puts it."""

    def setUp(self) -> None:
        """Nothing has been told."""
        self.time = 0.0
        self.out = io.StringIO()
        self.board = Board(self.out, plan.Memory({}), lambda: self.time)

    def lines(self) -> list[str]:
        """What was said."""
        return self.out.getvalue().splitlines()

    def ended(self, strict: bool = False, *besides: str) -> tuple[bool, list[str]]:
        """Whether all is well, and what is said at the end."""
        self.out.truncate(0)
        self.out.seek(0)
        return self.board.summary(strict, besides), self.lines()


class SummaryTests(BoardCase):
    """What is said at the end."""

    def test_all_well(self) -> None:
        """Only the time and the count."""
        self.board.told(a_job("tests.a"), Told("tests.a.T.test_x", "passed"))
        self.time = 61.0
        self.assertEqual(self.ended(), (True, ["", "1:01 min", "1 passed, 0 failed, 0 skipped"]))

    def test_failed(self) -> None:
        """Each with its reason and what runs it again: a log is often kept by its end only."""
        self.board.told(a_job("tests.a"), Told("tests.a.T.test_x", "failed", why="no so"))
        self.assertEqual(
            self.ended(),
            (
                False,
                [
                    "",
                    "FAILED: tests.a.T.test_x: no so",
                    "    again: .venv/bin/python -m tests.run tests.a.T.test_x",
                    "0:00 min",
                    "0 passed, 1 failed, 0 skipped",
                ],
            ),
        )

    def test_said_at_once(self) -> None:
        """What it printed is shown when it fails, and not only at the end."""
        job = a_job("tests.a")
        self.board.told(job, Told("tests.a.T.test_x", "failed", why="no", text="a\nb\n"))
        self.assertEqual(self.lines(), ["", "--- FAILED: tests.a.T.test_x: no", "a", "b", "---"])

    def test_flaky(self) -> None:
        """It passed the second time: that is named, and in CI it has failed."""
        job = a_job("tests.a")
        self.board.told(job, Told("tests.a.T.test_x", "failed", why="late"))
        self.board.told(job, Told("tests.a.T.test_x", "passed"))
        named = "FLAKY: tests.a.T.test_x: it passed the second time; the first time: late"
        count = "1 passed, 0 failed, 0 skipped"
        self.assertEqual(self.ended(strict=False), (True, ["", named, "0:00 min", count]))
        count = "0 passed, 1 failed, 0 skipped"
        self.assertEqual(self.ended(strict=True), (False, ["", named, "0:00 min", count]))

    def test_checks(self) -> None:
        """One that found nothing is no test; one that found something has failed."""
        mypy = a_job("mypy", plan.CHECK)
        self.board.told(mypy, Told("mypy", "passed"))
        self.assertEqual(self.ended()[1][-1], "0 passed, 0 failed, 0 skipped")
        self.board.told(mypy, Told("mypy", "failed", why="it ended with 1"))
        _, [_, failed, again, _, count] = self.ended()
        self.assertEqual(failed, "FAILED: mypy: it ended with 1")
        self.assertTrue(again.endswith("/mypy --no-error-summary"), again)
        self.assertEqual(count, "0 passed, 1 failed, 0 skipped")

    def test_besides(self) -> None:
        """What is wrong with the run itself is said, too."""
        well, said = self.ended(False, "it was interrupted")
        self.assertFalse(well)
        self.assertEqual(said[1], "FAILED: it was interrupted")


class LiveTests(BoardCase):
    """Live tests that did not run."""

    def test_skipped(self) -> None:
        """That is said loudly; in CI it will not do, nor will that there are none."""
        self.assertFalse(run.live_as_asked(self.board, strict=True))
        job = a_job("c", plan.ON_22)
        self.board.told(job, Told(f"{plan.LIVE}a.T.test_x", "passed"))
        self.assertTrue(run.live_as_asked(self.board, strict=True))
        self.board.told(job, Told(f"{plan.LIVE}a.T.test_y", "skipped", why="no lab"))
        self.assertTrue(run.live_as_asked(self.board, strict=False))
        self.assertFalse(run.live_as_asked(self.board, strict=True))
        self.assertIn("*** 1 LIVE TESTS WERE SKIPPED: no lab", self.lines())


class BrokenTests(BoardCase):
    """Processes that end in the middle of a job."""

    def test_in_a_test(self) -> None:
        """The test that ran has failed; the ones after it are another job."""
        job = a_job("tests.a", plan.UNIT, 8.0, "tests.a")
        self.board.told(job, Listed(("a.1", "a.2", "a.3")))
        self.board.told(job, Began("a.1"))
        self.board.told(job, Told("a.1", "passed"))
        self.board.told(job, Began("a.2"))
        rest = self.board.broke(job, "its process ended", "File a.py")
        assert rest is not None
        self.assertEqual(rest.work, Tests(("a.3",)))
        self.assertEqual([*self.board.failed()], ["a.2"])
        self.assertIn("File a.py", self.lines())

    def test_in_the_last(self) -> None:
        """Nothing is left."""
        job = a_job("tests.a", plan.UNIT, 8.0, "tests.a")
        self.board.told(job, Listed(("a.1",)))
        self.board.told(job, Began("a.1"))
        self.assertIsNone(self.board.broke(job, "its process ended", ""))

    def test_before_any(self) -> None:
        """The job itself has failed."""
        job = a_job("tests.a")
        self.assertIsNone(self.board.broke(job, "its process ended", ""))
        self.assertEqual([*self.board.failed()], ["tests.a"])


class ProgressTests(BoardCase):
    """The line that says how far it is."""

    def test_line(self) -> None:
        """What runs, how far, how long still; the longest first."""
        crew = Crew((plan.UNIT,), 2)
        slow, quick = (
            a_job("tests.integration.test_a.T", lasts=30.0),
            a_job("tests.test_b", lasts=20.0),
        )
        self.time = 70.0
        self.board.told(quick, Told("x", "passed"))
        running = [Busy(crew, quick, 65.0), Busy(crew, slow, 60.0)]
        workers: Any = Crewed([crew], [a_job("c", lasts=5.0)], running)
        self.assertEqual(
            self.board.progress(workers, 70.0),
            "[1:10, about 0:20 left] 1 passed; a.T 10 s, b 5 s, 1 wait",
        )

    def test_on_a_terminal(self) -> None:
        """It is written over, and out of the way of what stays."""
        terminal = Terminal()
        board = Board(terminal, plan.Memory({}), lambda: self.time)
        workers: Any = Crewed([], [], [])
        self.time = 1.0
        board.looked(workers)
        board.looked(workers)
        self.time = 2.0
        board.looked(workers)
        board.say("that stays")
        line = "\r\x1b[K[0:0{}, about 0:00 left] 0 passed; labs start"
        said = f"{line.format(1)}{line.format(2)}\r\x1b[Kthat stays\n"
        self.assertEqual(terminal.getvalue(), said)

    def test_left(self) -> None:
        """As long as the crew with most to do needs, and no job shorter than itself."""
        units, labs = Crew((plan.UNIT,), 2), Crew((plan.ON_22, plan.ON_16), 4)
        waiting = [a_job("u", lasts=10.0), a_job("l", plan.ON_16, lasts=50.0)]
        workers: Any = Crewed([units, labs], waiting, [])
        self.assertEqual(left(workers, 0.0), 50.0)
        workers.waiting = [a_job(f"u{number}", lasts=10.0) for number in range(20)]
        self.assertEqual(left(workers, 0.0), 100.0)
        self.assertEqual(clock(100.0), "1:40")


class PlanTests(SynchronousTestCase):
    """Which jobs there are."""

    def test_live(self) -> None:
        """By day no class that is for the night; each needs the lab of its Asterisk."""
        memory = plan.Memory({"tests.integration.test_outbound.OutboundTests": 17.0})
        by_day = {job.name: job for job in plan.live_jobs(memory, nightly=False)}
        at_night = {job.name: job for job in plan.live_jobs(memory, nightly=True)}
        self.assertLess(by_day.keys(), at_night.keys())
        both = "tests.integration.test_outbound.OutboundTests"
        self.assertEqual((by_day[both].kind, by_day[both].lasts), (plan.ON_22, 17.0))
        self.assertEqual(by_day[f"{both}On16"].kind, plan.ON_16)
        self.assertNotIn("tests.integration.test_control.HoldTestsOn16", by_day)
        self.assertIn("tests.integration.test_control.HoldTestsOn16", at_night)
        self.assertIn("tests.integration.test_faults.FaultsTests.test_ami_cut", by_day)

    def test_unit(self) -> None:
        """Each module is one, and no live one is among them."""
        names = [job.name for job in plan.unit_jobs(plan.Memory({}))]
        self.assertIn("tests.test_run", names)
        self.assertEqual([name for name in names if name.startswith(plan.LIVE)], [])

    def test_memory(self) -> None:
        """What was written is read; what cannot be read is nothing."""
        path = Path(self.mktemp()) / "durations.json"
        plan.Memory({"a": 1.5}, path).write()
        self.assertEqual(plan.Memory.read(path).seconds, {"a": 1.5})
        path.write_text("{\n")
        self.assertEqual(plan.Memory.read(path).seconds, {})

    def test_again(self) -> None:
        """Tests of a class once more in one process, of its kind; of many classes none."""
        board = Board(io.StringIO(), plan.Memory({}))
        job = a_job("c", plan.ON_16)
        for test in ("m.T.b", "m.T.a", "m.U.a"):
            board.told(job, Told(test, "failed"))
        jobs = run.again(board)
        self.assertEqual(
            [(each.name, each.kind, each.work) for each in jobs],
            [
                ("m.T", plan.ON_16, Tests(("m.T.a", "m.T.b"))),
                ("m.U", plan.ON_16, Tests(("m.U.a",))),
            ],
        )
        for number in range(run.FEW):
            board.told(job, Told(f"n.T{number}.a", "failed"))
        self.assertEqual(run.again(board), [])


class LimitTests(SynchronousTestCase):
    """How long a test may take."""

    def limit(self) -> float:
        """What is known of it, as trial hands it over."""
        return longest(self)

    def test_most(self) -> None:
        """The same for all that say nothing."""
        self.assertEqual(self.limit(), TEST_TIMEOUT)


class OwnLimitTests(LimitTests):
    """One of many parts says more."""

    longest = TEST_TIMEOUT * 3

    def test_most(self) -> None:
        """It is taken at its word."""
        self.assertEqual(self.limit(), self.longest)
