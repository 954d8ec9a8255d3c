"""Inject faults while calls go on, hold the history against the truth, and print a table.

    python -m tests.faults                    every row, as often as the table says
    python -m tests.faults --short            every row three times
    python -m tests.faults "AMI cut" …        only these rows
    python -m tests.faults --times 5          every row so often
    python -m tests.faults --part 0.4         every row this part of its times, three at least
    python -m tests.faults --labs 2           so many rows side by side, each in a lab of its own
    python -m tests.faults --rate 4           as many calls begun a second in each lab
    python -m tests.faults --write            write the table into docs/reliability.md, too
    python -m tests.faults --json FILE        write what was wrong with each row into this file
    python -m tests.faults --keep FOLDER      keep logs and journals of rows that go wrong there
    python -m tests.faults --list             the rows

Needs root, for the lab's Asterisk. Exit status 1: a chain was wrong, or no lab is to be had.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Any

from tests.faults import pace
from tests.faults.injecting import Row, Tried
from tests.faults.marks import Wrong
from tests.faults.rows import FAULTS
from tests.faults.stage import Fault
from tests.faults.table import Result, table, write
from tests.pool.workers import Crew, Job, Workers, a_folder

#: Injections of a row, at least.
LEAST = 3
#: Labs side by side, on two cores: in a whole run, and in a short one with its lower rate.
LABS, SHORT_LABS = 4, 4
#: All need the same lab; seconds that all of them together may take.
_KIND, _WITHIN = "22", 6 * 3600.0


def say(line: str) -> None:
    """A line of progress."""
    print(line, flush=True)


def chosen(names: Sequence[str]) -> list[Fault]:
    """The rows of these names, or all. :raises SystemExit: there is none of a name."""
    known = {fault.name: fault for fault in FAULTS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no such row: {', '.join(unknown)}; --list names them")
    return [known[name] for name in names] or list(FAULTS)


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description=(__doc__ or "").replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", help="names of rows; all, if none is named")
    parser.add_argument("--short", action="store_true", help="every row three times")
    parser.add_argument("--times", type=int, help="how often every row is injected")
    parser.add_argument("--part", type=float, default=1.0, help="of the times of the table")
    parser.add_argument("--labs", type=int, help="rows side by side")
    parser.add_argument("--rate", type=float, help="calls begun a second in each lab")
    parser.add_argument("--seed", type=int, help="of the random moments; printed at the beginning")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md, too")
    parser.add_argument("--json", type=Path, help="a file for what was wrong with each row")
    parser.add_argument("--keep", type=Path, help="a folder for logs of what went wrong")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    return parser.parse_args()


def jobs(asked: argparse.Namespace, speed: pace.Pace, seed: int) -> list[Job]:
    """Every row that is to be run, and how often."""
    made = []
    for fault in chosen(asked.rows):
        times = asked.times or max(LEAST, 0 if asked.short else round(asked.part * fault.times))
        row = Row(fault.name, times, speed, seed, asked.keep)
        made.append(Job(fault.name, _KIND, Tried(row), row.lasts, row.within))
    return made


class Lines:
    """Says what the rows say, and keeps what came of them.

    ``unavailable``: why no lab can be had.
    """

    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.unavailable: str | None = None

    def told(self, job: Job, what: Any) -> None:
        """A line of a row."""
        say(f"{job.name}: {what}")

    def done(self, job: Job, what: Any, seconds: float) -> None:
        """What came of it."""
        if isinstance(what, str):
            self.unavailable = what
            return
        fault = next(fault for fault in FAULTS if fault.name == job.name)
        result = Result(fault, **what)
        for wrong in result.wrong:
            self.told(job, f"WRONG {wrong.name}, call {wrong.call_id}: {wrong.what}")
        for note in result.notes:
            self.told(job, note)
        self.told(job, " | ".join([*result.cells[1:], f"{seconds:.0f} s"]))
        self.results[job.name] = result

    def broke(self, job: Job, why: str, log: str) -> None:
        """That is wrong, too."""
        say(log)
        self.done(job, {"wrong": [Wrong("the run", None, why)]}, 0.0)

    def looked(self, workers: Workers) -> None:
        """Each row tells of itself."""

    def in_order(self) -> list[Result]:
        """What came of every row, in the order of the table."""
        return [self.results[fault.name] for fault in FAULTS if fault.name in self.results]


def _without_keep(argv: Sequence[str]) -> list[str]:
    """The arguments but for where logs are left: that is nobody else's folder."""
    at = [number for number, each in enumerate(argv) if each == "--keep"]
    return [each for number, each in enumerate(argv) if {number, number - 1}.isdisjoint(at)]


def main() -> int:
    """Run; the exit status."""
    asked = arguments()
    if asked.list:
        print("\n".join(f"{fault.name:36} {fault.words}" for fault in FAULTS))
        return 0
    begun = monotonic()
    seed = asked.seed if asked.seed is not None else random.randrange(10**6)
    say(f"seed {seed}")
    speed = pace.SHORT if asked.short else pace.WHOLE
    speed = replace(speed, rate=asked.rate or speed.rate)
    labs = asked.labs or (SHORT_LABS if asked.short else LABS)
    todo = jobs(asked, speed, seed)
    report: dict[str, Any] = {"unavailable": None, "rows": {}}
    status = 1
    lines = Lines()
    Workers(todo, [Crew((_KIND,), labs)], lines, a_folder(), _WITHIN).run()
    results = lines.in_order()
    if lines.unavailable is not None:
        say(f"the lab cannot be had here: {lines.unavailable}")
        report["unavailable"] = lines.unavailable
    else:
        minutes = (monotonic() - begun) / 60
        say(f"\n{table(results)}\n\n{minutes:.1f} minutes")
        for result in results:
            report["rows"][result.fault.name] = [asdict(wrong) for wrong in result.wrong]
        wrong = [name for name, said in report["rows"].items() if said]
        missing = [job.name for job in todo if job.name not in report["rows"]]
        if wrong or missing:
            say(f"FAILED: {', '.join([*wrong, *missing])}")
        status = int(bool(wrong or missing))
        if asked.write:
            command = shlex.join(["python", "-m", "tests.faults", *_without_keep(sys.argv[1:])])
            cores = os.cpu_count()
            write(results, f"`{command}`, seed {seed}, {minutes:.0f} min on {cores} cores")
    if asked.json:
        asked.json.write_text(json.dumps(report), "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
