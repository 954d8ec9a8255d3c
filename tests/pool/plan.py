"""Which jobs there are: modules of unit tests, classes of live ones, and the checks of the code.

Knows names and how long each took last; does not run anything. Live modules are loaded to see their
classes, the others are known by their files.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.pool.programs import Program
from tests.pool.trial import Tests, each_test, longest
from tests.pool.workers import ROOT, Job

LIVE = "tests.integration."
#: Kinds of job: needs nothing; a lab with Asterisk 22 or 16; is a program beside the tests.
UNIT, ON_22, ON_16, CHECK = "unit", "22", "16", "check"
#: Seconds of a live test that nobody has seen, and bytes of a module that take a second.
_LIVE_TEST, _BYTES = 5.0, 8000
#: Seconds that a lab may take to start, and that a module of unit tests, or a check, may take.
_LAB, _LONGEST_UNIT, _LONGEST_CHECK = 300.0, 900.0, 900.0
_MEMORY = ROOT / "build" / "durations.json"

_BIN = Path(sys.executable).parent
CHECKS: Mapping[str, tuple[str, ...]] = {
    "ruff check": (str(_BIN / "ruff"), "check", "--quiet"),
    "ruff format": (str(_BIN / "ruff"), "format", "--check", "--quiet"),
    "mypy": (str(_BIN / "mypy"), "--no-error-summary"),
}


@dataclass
class Memory:
    """How many seconds each job took when it was last done here."""

    seconds: dict[str, float]
    path: Path = _MEMORY

    @classmethod
    def read(cls, path: Path = _MEMORY) -> Memory:
        """What is remembered; nothing, where nothing is or it cannot be read."""
        seconds: dict[str, float] = {}
        with suppress(OSError, ValueError):
            seconds = {
                str(name): float(took) for name, took in json.loads(path.read_text()).items()
            }
        return cls(seconds, path)

    def write(self) -> None:
        """Keep it for the next run."""
        self.path.parent.mkdir(exist_ok=True)
        begun = self.path.with_suffix(f".{os.getpid()}")
        begun.write_text(json.dumps(self.seconds, indent=1, sort_keys=True))
        begun.rename(self.path)


def modules(live: bool) -> list[str]:
    """The names of the test modules: those that run against real parts, or the others."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return [name for name in names if name.startswith(LIVE) == live]


def check_jobs(memory: Memory) -> list[Job]:
    """The checks of the code."""
    return [
        Job(name, CHECK, Program(name, argv), memory.seconds.get(name, 60.0), _LONGEST_CHECK)
        for name, argv in CHECKS.items()
    ]


def unit_jobs(memory: Memory) -> list[Job]:
    """A job for each module that needs no lab."""
    jobs = []
    for name in modules(live=False):
        size = (ROOT / name.replace(".", "/")).with_suffix(".py").stat().st_size
        lasts = memory.seconds.get(name, size / _BYTES)
        jobs.append(Job(name, UNIT, Tests((name,)), lasts, _LONGEST_UNIT))
    return jobs


def live_jobs(memory: Memory, nightly: bool) -> list[Job]:
    """A job for each class of live tests, or for each of its tests, if they need not each other."""
    from twisted.trial.runner import TestLoader

    classes: dict[str, list[Any]] = defaultdict(list)
    for test in each_test(TestLoader().loadByNames(modules(live=True))):
        if nightly or not is_nightly(test):
            alone = getattr(test, "each_alone", False)
            classes[test.id() if alone else test.id().rpartition(".")[0]].append(test)
    return [_live_job(name, tests, memory) for name, tests in classes.items()]


def is_nightly(test: Any) -> bool:
    """Whether a test, or all of its class, is one of those that need not run each time."""
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return bool(getattr(method, "nightly", getattr(test, "nightly", False)))


def _live_job(name: str, tests: Sequence[Any], memory: Memory) -> Job:
    declared = sum(getattr(test, "lasts", _LIVE_TEST) for test in tests)
    kind = ON_16 if getattr(tests[0], "suite", None) == "bullseye" else ON_22
    within = _LAB + sum(map(longest, tests))
    ids = tuple(test.id() for test in tests)
    lasts = memory.seconds.get(name, declared)
    grouped = getattr(tests[0], "daemon_group", lambda: "")
    return Job(name, kind, Tests(ids), lasts, within, grouped())


def again(tests: Iterable[str], kinds: Mapping[str, str]) -> list[Job]:
    """Tests by themselves, those of a class in one process. ``kinds``: the kind of each."""
    classes: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests):
        classes[test.rpartition(".")[0]].append(test)
    within = _LAB + _LONGEST_UNIT
    return [
        Job(name, kinds[ids[0]], Tests(tuple(ids)), _LIVE_TEST * len(ids), within)
        for name, ids in classes.items()
    ]
