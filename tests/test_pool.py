"""Tests of the pool of processes: what is told of tests that pass, fail, hang and die in them."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.pool import plan
from tests.pool.board import Board
from tests.pool.programs import Program
from tests.pool.trial import LONGEST_WORDS, Tests, words
from tests.pool.workers import Crew, Job, Tell, Workers

_SAMPLES = "tests.pool.samples.Samples"


@dataclass(frozen=True)
class Sleep:
    """Something that takes so many seconds."""

    seconds: float

    def run(self, tell: Tell) -> float:
        """Sleep."""
        time.sleep(self.seconds)
        return self.seconds


class PoolCase(SynchronousTestCase):
    """Jobs, and what a board hears of them."""

    def run_all(self, *jobs: Job, within: float = 60.0) -> tuple[Board, bool]:
        """Run them by one worker for each kind."""
        board = Board(io.StringIO(), plan.Memory({}))
        crews = [Crew((kind,), 1) for kind in sorted({job.kind for job in jobs})]
        folder = Path(self.mktemp()).absolute()
        return board, Workers(jobs, crews, board, folder, within).run()


class TestsInPool(PoolCase):
    """Tests in a process of their own."""

    def test_every_way(self) -> None:
        """What hangs or dies has failed, and all others run all the same, each once."""
        board, whole = self.run_all(Job("samples", plan.UNIT, Tests((_SAMPLES,)), 1.0, 50.0))
        self.assertTrue(whole)
        told = {name.rpartition("_")[2]: tries for name, tries in board.tests.items()}
        self.assertEqual(
            {name: [each.outcome for each in tries] for name, tries in told.items()},
            {
                "passes": ["passed"],
                "fails": ["failed"],
                "dies": ["failed"],
                "hangs": ["failed"],
                "skipped": ["skipped"],
            },
        )
        [fails], [hangs] = told["fails"], told["hangs"]
        self.assertEqual(fails.why, "as it should")
        self.assertIn("what it printed", fails.text)
        self.assertNotIn("test_1_passes", fails.text)
        self.assertIn("in test_4_hangs", hangs.text)
        self.assertEqual([tries[0].why for tries in told.values()][-1], "not here")

    def test_nothing_to_load(self) -> None:
        """A module that cannot be loaded is a test that fails."""
        board, _ = self.run_all(Job("gone", plan.UNIT, Tests(("tests.gone",)), 1.0, 50.0))
        [failed] = board.failed().values()
        self.assertIn("tests.gone", failed.test)


class JobTests(PoolCase):
    """Jobs of any kind."""

    def test_too_long(self) -> None:
        """A job that is not over in its time is ended, with its stacks; the next one is run."""
        slow = Job("slow", plan.UNIT, Sleep(60.0), 2.0, 0.5)
        board, whole = self.run_all(slow, Job("quick", plan.UNIT, Sleep(0.0), 1.0, 9.0))
        self.assertTrue(whole)
        [failed] = board.failed().values()
        self.assertEqual((failed.test, failed.why), ("slow", "it was not over in 0 s"))
        self.assertIn("in run", failed.text)
        self.assertIn("quick", board.memory.seconds)

    def test_all_too_long(self) -> None:
        """So is the whole run."""
        board, whole = self.run_all(Job("slow", plan.UNIT, Sleep(60.0), 2.0, 99.0), within=8.0)
        self.assertFalse(whole)
        self.assertEqual([*board.failed()], ["slow"])

    def test_in_turn(self) -> None:
        """The longest first, and after it what may use what it has left."""
        jobs = [
            Job(name, plan.UNIT, Sleep(0.0), lasts, 9.0, group)
            for name, lasts, group in (("a", 1.0, "x"), ("b", 4.0, "y"), ("c", 5.0, "x"))
        ]
        board, _ = self.run_all(*jobs)
        self.assertEqual([*board.memory.seconds], ["c", "a", "b"])

    def test_programs(self) -> None:
        """A program that ends with anything but 0 has failed."""
        good = Job("good", plan.CHECK, Program("good", ("true",)), 1.0, 9.0)
        bad = Job("bad", plan.CHECK, Program("bad", ("sh", "-c", "echo no; exit 7")), 1.0, 9.0)
        board, _ = self.run_all(good, bad)
        [failed] = board.failed().values()
        self.assertEqual((failed.test, failed.why, failed.text), ("bad", "it ended with 7", "no\n"))


class WordsTests(SynchronousTestCase):
    """Why a test failed."""

    def test_in_a_line(self) -> None:
        """Which has an end."""
        failure = Failure(self.failureException("no\n  so  " + "o" * 999))
        self.assertEqual(words(failure), "no so " + "o" * (LONGEST_WORDS - 6))
        self.assertEqual(words("why\nnot"), "why not")
