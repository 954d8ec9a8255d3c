"""Processes that take jobs one after the other: of each kind the longest first.

Knows processes and time; does not know what a job does. A process for each worker: a lab's parts
end with the main thread that started them, and a reactor is one for a process. What does not come
to an end is ended, with the stacks of all its threads in its log, and there is a new worker.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import coverage

from lab.processes import die_with

ROOT = Path(__file__).resolve().parent.parent.parent
#: Not forked: a reactor that was inherited would be everybody's.
_processes = multiprocessing.get_context("spawn")
#: Seconds between two looks, for a worker to write its stacks, and to take its lab down.
_LOOK, _STACKS, _GOODBYE = 0.5, 2.0, 30.0
#: What a worker says: anything about its job. None of it is looked at here.
Tell = Callable[[Any], None]


class Work(Protocol):
    """What is to be done, in the worker's main thread; it can be pickled."""

    def run(self, tell: Tell) -> Any:
        """Do it; what came of it."""


@dataclass(frozen=True)
class Job:
    """Something to do. ``lasts``: seconds, about; ``within``: it is ended after so many.

    ``group``: others of it are done sooner by whoever has just done this one.
    """

    name: str
    kind: str
    work: Work
    lasts: float
    within: float
    group: str = ""


@dataclass(frozen=True)
class Crew:
    """Workers that share kinds: each keeps to one, as long as there is something of it to do.

    ``nice``: what others have to do goes before. ``measured``: coverage is.
    """

    kinds: tuple[str, ...]
    count: int
    nice: int = 0
    measured: bool = False


class Watcher(Protocol):
    """Who hears of it all."""

    def told(self, job: Job, what: Any) -> None:
        """A job says something."""

    def done(self, job: Job, what: Any, seconds: float) -> None:
        """A job is done."""

    def broke(self, job: Job, why: str, log: str) -> Job | None:
        """Its process ended in the middle; what is still to be done of it."""

    def looked(self, workers: Workers) -> None:
        """Time has passed."""


@dataclass
class Worker:
    """A process. ``since``: when its job was begun, or it was."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    crew: Crew
    kind: str
    folder: Path
    job: Job | None = None
    since: float = field(default_factory=monotonic)
    why: str = "its process ended"
    said: int = 0
    group: str = ""

    @property
    def log(self) -> Path:
        """What it and all that it runs print."""
        return self.folder / "log"


class Workers:
    """Hands out jobs. ``folder``: each worker has one in it; ``within``: seconds for all of it."""

    def __init__(
        self,
        jobs: Sequence[Job],
        crews: Sequence[Crew],
        watcher: Watcher,
        folder: Path,
        within: float,
    ) -> None:
        self.waiting = sorted(jobs, key=lambda job: job.lasts)
        self.crews = crews
        self.running: list[Worker] = []
        self._watcher = watcher
        self._folder = folder
        self._end = monotonic() + within
        self._numbers = iter(range(1, 10**6))

    def run(self) -> bool:
        """Do all of it; whether it was over in time."""
        try:
            for crew in self.crews:
                for _ in range(crew.count):
                    self._start(crew)
            while self.running:
                self._look()
                if monotonic() > self._end:
                    for worker in list(self.running):
                        worker.why = "the whole run takes too long"
                        self._stop(worker)
                        self._ended(worker)
                    return False
            return True
        finally:
            self._end_all()

    def _of(self, crew: Crew, kind: str) -> int:
        return sum(worker.crew is crew and worker.kind == kind for worker in self.running)

    def _start(self, crew: Crew) -> None:
        """A worker for the kind of which most is left for each who does it; none if none is."""
        left = {
            kind: sum(job.lasts for job in self.waiting if job.kind == kind)
            / (self._of(crew, kind) + 1)
            for kind in crew.kinds
            if self._of(crew, kind) < sum(job.kind == kind for job in self.waiting)
        }
        if not left:
            return
        kind = max(left, key=left.__getitem__)
        folder = self._folder / str(next(self._numbers))
        folder.mkdir(parents=True)
        ours, theirs = _processes.Pipe()
        process = _processes.Process(target=_work, args=(theirs, crew, folder, os.getpid()))
        process.start()
        theirs.close()
        self.running.append(Worker(process, ours, crew, kind, folder))

    def _look(self) -> None:
        ready = wait([worker.pipe for worker in self.running], timeout=_LOOK)
        for worker in list(self.running):
            if worker.pipe in ready:
                self._hear(worker)
            elif worker.job is not None and monotonic() - worker.since > worker.job.within:
                worker.why = f"it was not over in {worker.job.within:.0f} s"
                self._stop(worker)
                self._ended(worker)
        self._watcher.looked(self)

    def _hear(self, worker: Worker) -> None:
        try:
            kind, what = worker.pipe.recv()
        except (EOFError, OSError):
            self._ended(worker)
            return
        if kind == "told":
            assert worker.job is not None
            self._watcher.told(worker.job, what)
            return
        if kind == "done":
            assert worker.job is not None
            self._watcher.done(worker.job, what, monotonic() - worker.since)
            worker.job = None
        self._hand_out(worker)

    def _hand_out(self, worker: Worker) -> None:
        mine = [job for job in self.waiting if job.kind == worker.kind]
        mine = [job for job in mine if worker.group and job.group == worker.group] or mine
        worker.job = mine[-1] if mine else None
        worker.since = monotonic()
        if worker.job is not None:
            self.waiting.remove(worker.job)
            worker.group = worker.job.group
            worker.said = worker.log.stat().st_size if worker.log.exists() else 0
        with suppress(OSError):
            worker.pipe.send(worker.job)

    def _stop(self, worker: Worker) -> None:
        """Have it write its stacks, and end it."""
        with suppress(ProcessLookupError):
            os.kill(worker.process.pid or 0, signal.SIGABRT)
        worker.process.join(_STACKS)
        worker.process.kill()

    def _ended(self, worker: Worker) -> None:
        """It has nothing more to do, or it broke."""
        self.running.remove(worker)
        worker.process.join(_GOODBYE)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        if worker.job is not None:
            log = worker.log.read_bytes()[worker.said :].decode(errors="replace")
            again = self._watcher.broke(worker.job, worker.why, log)
            if again is not None:
                self.waiting = sorted([*self.waiting, again], key=lambda job: job.lasts)
        self._start(worker.crew)

    def _end_all(self) -> None:
        for worker in self.running:
            worker.process.terminate()
        end = monotonic() + _GOODBYE
        for worker in self.running:
            worker.process.join(max(0.0, end - monotonic()))
            worker.process.kill()
            worker.process.join()


def _work(pipe: Connection, crew: Crew, folder: Path, parent: int) -> None:
    """A process: does what it is told, until it is told nothing."""
    # A terminal's Ctrl-C is for the one who hands out the jobs.
    os.setsid()
    die_with(parent)()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(crew.nice)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    faulthandler.enable()
    random.seed()

    def tell(what: Any) -> None:
        pipe.send(("told", what))

    with ExitStack() as stack:
        if crew.measured:
            stack.enter_context(_measured(folder))
        stack.callback(_end_reactor)
        pipe.send(("ready", None))
        while (job := pipe.recv()) is not None:
            pipe.send(("done", job.work.run(tell)))
            sys.stdout.flush()


def _end_reactor() -> None:
    """Stop what it runs besides, its threads foremost: the process would wait for them."""
    # Which reactor it is, is said by whoever imports it first.
    from twisted.trial.reporter import TestResult
    from twisted.trial.runner import TrialSuite

    TrialSuite().run(TestResult())


@contextmanager
def _measured(folder: Path) -> Iterator[None]:
    """Measure coverage; the file is ``data`` in the worker's folder."""
    measured = coverage.Coverage(str(folder / "data"), config_file=str(ROOT / "pyproject.toml"))
    measured.start()
    try:
        yield
    finally:
        measured.stop()
        measured.save()


def measured(folder: Path) -> coverage.Coverage:
    """What all workers that had their folder in this one have covered."""
    together = coverage.Coverage(str(folder / "data"), config_file=str(ROOT / "pyproject.toml"))
    together.combine([str(path) for path in folder.glob("*/data")], keep=True)
    return together


def a_folder() -> Path:
    """A folder for one run; those of runs that are over are removed."""
    base = ROOT / "_trial_temp"
    base.mkdir(exist_ok=True)
    for other in base.iterdir():
        if not (other.name.isdigit() and Path(f"/proc/{other.name}").exists()):
            _remove(other)
    folder = base / str(os.getpid())
    _remove(folder)
    folder.mkdir()
    return folder


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
