"""Several labs side by side, each in a process of its own, that take rows one after the other.

A process for each: a lab's parts end with the main thread that started them. What breaks a lab
makes its row wrong, and there is a new lab.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any

from lab import Unavailable
from lab.debian import Progress
from lab.processes import die_with
from lab.stack import Lab
from tests.faults.marks import Wrong
from tests.faults.pace import Pace
from tests.faults.rows import FAULTS
from tests.faults.run import Run
from tests.faults.stage import Fault
from tests.faults.table import Result

#: Not threads, and not spawned: what is inherited need not be told.
_processes = multiprocessing.get_context("fork")
#: Labs that may fail to start before it is said that none can be had.
_TRIES = 3


@dataclass(frozen=True)
class Job:
    """A row, its times, and the seconds that it may take."""

    fault: Fault
    times: int
    within: float

    @property
    def lasts(self) -> float:
        """Seconds that all injections take, about."""
        return self.times * (self.fault.lasts + sum(self.fault.pause) / 2)


@dataclass(frozen=True)
class Settings:
    """What all rows have in common. ``keep``: where to leave what was written of wrong ones."""

    pace: Pace
    seed: int
    keep: Path | None


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    job: Job | None = None
    since: float = field(default_factory=monotonic)


class Workers:
    """Hands out jobs to as many labs as asked for, the longest first."""

    def __init__(self, jobs: Sequence[Job], labs: int, settings: Settings, say: Progress) -> None:
        self._waiting = sorted(jobs, key=lambda job: job.lasts)
        self._labs = min(labs, len(jobs))
        self._settings = settings
        self._say = say
        self._workers: list[_Worker] = []
        self._failed = 0
        self._results: dict[str, Result] = {}

    def run(self) -> list[Result]:
        """What came of every row, in the order of the table.

        :raises Unavailable: no lab can be had.
        """
        try:
            for _ in range(self._labs):
                self._start()
            while self._workers:
                self._look()
        finally:
            for worker in self._workers:
                worker.process.terminate()
            for worker in self._workers:
                worker.process.join()
        return [self._results[fault.name] for fault in FAULTS if fault.name in self._results]

    def _start(self) -> None:
        ours, theirs = _processes.Pipe()
        process = _processes.Process(target=_work, args=(theirs, self._settings, os.getpid()))
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours))

    def _look(self) -> None:
        ready = wait([worker.pipe for worker in self._workers], timeout=1.0)
        for worker in list(self._workers):
            if worker.pipe in ready:
                told = _told(worker.pipe)
                if told is None:
                    self._ended(worker)
                else:
                    _KINDS[told[0]](self, worker, told[1])
            elif worker.job is not None and monotonic() - worker.since > worker.job.within:
                self._say(f"{worker.job.fault.name}: not over in {worker.job.within:.0f} s")
                worker.process.kill()
                worker.since = monotonic()

    def _said(self, worker: _Worker, what: Any) -> None:
        name = worker.job.fault.name if worker.job else "a lab"
        self._say(f"{name}: {what}")

    def _ready(self, worker: _Worker, what: Any) -> None:
        """It has a lab, and no row."""
        worker.job = self._waiting.pop() if self._waiting else None
        worker.since = monotonic()
        if worker.job is not None:
            self._said(worker, f"{worker.job.times} times: {worker.job.fault.words}")
        worker.pipe.send(worker.job and (worker.job.fault.name, worker.job.times))

    def _done(self, worker: _Worker, what: Any) -> None:
        assert worker.job is not None
        result = Result(worker.job.fault, **what)
        for wrong in result.wrong:
            self._said(worker, f"WRONG {wrong.name}, call {wrong.call_id}: {wrong.what}")
        for note in result.notes:
            self._said(worker, note)
        self._said(worker, " | ".join([*result.cells[1:], f"{monotonic() - worker.since:.0f} s"]))
        self._results[result.fault.name] = result
        worker.job = None

    def _unavailable(self, worker: _Worker, what: Any) -> None:
        self._failed += 1
        if self._failed >= _TRIES:
            raise Unavailable(what)

    def _unfit(self, worker: _Worker, what: Any) -> None:
        """What ran in the lab before has left it broken: another one takes the row."""
        assert worker.job is not None
        self._said(worker, what)
        self._failed += 1
        if self._failed < _TRIES:
            self._waiting.append(worker.job)
            worker.job = None

    def _ended(self, worker: _Worker) -> None:
        """It has nothing more to do, or it broke."""
        self._workers.remove(worker)
        worker.process.join()
        if worker.job is not None:
            broken = {"wrong": [Wrong("the run", None, "its lab ended in the middle of it")]}
            self._done(worker, broken)
        if self._waiting:
            self._start()


_KINDS: dict[str, Callable[[Workers, _Worker, Any], None]] = {
    "said": Workers._said,
    "ready": Workers._ready,
    "done": Workers._done,
    "unavailable": Workers._unavailable,
    "unfit": Workers._unfit,
}


def _told(pipe: Connection) -> tuple[str, Any] | None:
    """What a worker says; None: it is gone."""
    try:
        told: tuple[str, Any] = pipe.recv()
    except (EOFError, OSError):
        return None
    return told


def _work(pipe: Connection, settings: Settings, parent: int) -> None:
    """A process with a lab: does what it is told, until it is told nothing or its lab breaks."""
    die_with(parent)()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Each lab has ports of its own; what is inherited would give all of them the same ones.
    random.seed()

    def say(line: str) -> None:
        pipe.send(("said", line))

    try:
        lab = Lab(progress=say)
        lab.start()
    except Unavailable as error:
        pipe.send(("unavailable", str(error)))
        return
    try:
        pipe.send(("ready", None))
        while (asked := pipe.recv()) is not None:
            try:
                run = _begin(lab, settings, asked[0], asked[1], say)
            except Exception:
                pipe.send(("unfit", traceback.format_exc()))
                return
            what, is_whole = _inject(run, settings, say)
            pipe.send(("done", what))
            if not is_whole:
                return
            pipe.send(("ready", None))
    finally:
        lab.close()


def _begin(lab: Lab, settings: Settings, name: str, times: int, say: Progress) -> Run:
    number, fault = next((n, fault) for n, fault in enumerate(FAULTS, 1) if fault.name == name)
    random.seed(f"{settings.seed} {name}")
    return Run(lab, fault, times, settings.pace, f"{number:02}", say)


def _inject(run: Run, settings: Settings, say: Progress) -> tuple[dict[str, Any], bool]:
    """Run a row; its result but for the fault, and whether the lab may be used again."""
    is_whole = not run.fault.spoils
    try:
        result = run.run()
    except Exception:
        result = Result(run.fault, wrong=[Wrong("the run", None, "it broke off")])
        is_whole = False
        say(traceback.format_exc())
    try:
        if settings.keep is not None and result.wrong:
            run.keep(settings.keep)
        run.close()
    except Exception:
        is_whole = False
        say(traceback.format_exc())
    return {
        "in_flight": result.in_flight,
        "checked": result.checked,
        "wrong": result.wrong,
        "notes": result.notes,
    }, is_whole
