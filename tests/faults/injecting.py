"""A row of the table as a job: some injections of its fault, in the lab of this process.

Knows what becomes of a lab that a row has broken; what is injected and judged is ``run``'s.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lab import Unavailable
from lab.debian import Progress
from lab.stack import Lab
from tests.faults.marks import Wrong
from tests.faults.pace import Pace
from tests.faults.rows import FAULTS
from tests.faults.run import Run
from tests.faults.stage import Fault
from tests.faults.table import Result
from tests.integration.harness import end_labs, lab
from tests.pool.workers import Tell

#: Labs in which a row is tried: what ran before may have left one broken.
_TRIES = 3
#: Seconds that a row may take over what its injections should, and how many times that.
_BESIDES, _SLOWER = 240.0, 4.0


@dataclass(frozen=True)
class Row:
    """A fault, by its name, and how it is to be injected.

    ``keep``: where to leave what was written of a row that goes wrong.
    """

    name: str
    times: int
    pace: Pace
    seed: int
    keep: Path | None = None

    @property
    def fault(self) -> Fault:
        """What is done."""
        return next(fault for fault in FAULTS if fault.name == self.name)

    @property
    def lasts(self) -> float:
        """Seconds that all injections take, about."""
        return self.times * (self.fault.lasts + sum(self.fault.pause) / 2)

    @property
    def within(self) -> float:
        """Seconds that it may take."""
        return _BESIDES + _SLOWER * self.lasts

    def run(self, tell: Tell) -> Result:
        """Inject and judge; what it tells are lines.

        :raises Unavailable: no lab can be had.
        """
        run = self._begin(lab, tell)
        result, is_whole = self._inject(run, tell)
        if not is_whole:
            end_labs()
        return result

    def _begin(self, lab: Callable[[], Lab], say: Progress) -> Run:
        number = FAULTS.index(self.fault) + 1
        for left in reversed(range(_TRIES)):
            here = lab()
            random.seed(f"{self.seed} {self.name}")
            try:
                return Run(here, self.fault, self.times, self.pace, f"{number:02}", say)
            except Exception:
                say(traceback.format_exc())
                end_labs()
                if not left:
                    raise
        raise AssertionError("not reached")

    def _inject(self, run: Run, say: Progress) -> tuple[Result, bool]:
        """What came of it, and whether the lab may be used again."""
        is_whole = not self.fault.spoils
        try:
            result = run.run()
        except Exception:
            result = Result(self.fault, wrong=[Wrong("the run", None, "it broke off")])
            is_whole = False
            say(traceback.format_exc())
        try:
            if self.keep is not None and result.wrong:
                run.keep(self.keep)
            run.close()
        except Exception:
            is_whole = False
            say(traceback.format_exc())
        return result, is_whole


@dataclass(frozen=True)
class Tried:
    """A row, or why no lab can be had for it."""

    row: Row

    def run(self, tell: Tell) -> dict[str, Any] | str:
        """What came of it but for the fault, whose steps cannot be sent."""
        try:
            result = self.row.run(tell)
        except Unavailable as error:
            return str(error)
        return {each.name: getattr(result, each.name) for each in fields(result)[1:]}
