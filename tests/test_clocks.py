"""Two clocks of two types: what counts seconds, and what knows the date."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.clocks import WallClock
from tests.clocks import HOUR, Wall


def counts(clock: IReactorTime) -> None:
    """Take what nobody sets."""


def dates(wall: WallClock) -> None:
    """Take what knows the date."""


def exchanged(clock: IReactorTime, wall: WallClock) -> None:
    """Pass each for the other: mypy refuses both, or finds these words to be of no use."""
    counts(wall)  # type: ignore[arg-type]
    dates(clock)  # type: ignore[arg-type]


class ClockTests(SynchronousTestCase):
    """The types, and where they are asked for."""

    def test_a_wall_is_asked_for_by_its_type(self) -> None:
        """Nothing that is called a wall is a clock that nobody sets."""
        found = 0
        for file in Path(ccdaemon.__file__).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf8"))):
                if isinstance(node, ast.arg) and node.arg == "wall" and node.annotation:
                    found += 1
                    self.assertEqual(ast.unparse(node.annotation), "WallClock", file)
        self.assertGreater(found, 10)

    def test_timers_pass_by_what_is_set(self) -> None:
        """Whoever sets the clock moves the date, and no timer."""
        clock = Clock()
        wall = Wall(clock)
        slept = wall.sleep(10)
        wall.set(HOUR)
        self.assertEqual(wall.seconds(), HOUR)
        self.assertNoResult(slept)
        clock.advance(10)
        self.successResultOf(slept)
