"""What a person sees of a run: a line of progress, what failed and how to run it again, the count.

Hears of jobs and their tests; does not run them.
"""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, TextIO

from tests.pool.plan import CHECK, CHECKS, LIVE, Memory
from tests.pool.trial import Began, Listed, Tests, Told, words
from tests.pool.workers import Job, Worker, Workers

#: Seconds between two lines where they stay, and where one is written over the other.
_PLAIN, _TTY = 15.0, 0.5
#: How many of the slowest are named.
_SLOWEST = 5
#: Of a test that hangs, the end of what it printed; letters.
_END = 20000


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def short(name: str) -> str:
    """The name of a job where there is little room."""
    return name.removeprefix(LIVE).removeprefix("tests.").replace("test_", "", 1)


def left(workers: Workers, now: float) -> float:
    """Seconds until all is done, about: the longest crew's, or the longest job's."""
    longest = 0.0
    for crew in workers.crews:
        running = [worker for worker in workers.running if worker.crew is crew and worker.job]
        rest = [max(0.0, job_of(worker).lasts - (now - worker.since)) for worker in running]
        waiting = [job.lasts for job in workers.waiting if job.kind in crew.kinds]
        longest = max(longest, (sum(rest) + sum(waiting)) / crew.count, *rest, *waiting, 0.0)
    return longest


def job_of(worker: Worker) -> Job:
    """The job of a worker that has one."""
    assert worker.job is not None
    return worker.job


@dataclass
class Board:
    """Hears what the workers say, and says it.

    ``tests``: what came of each test, in the order in which that was heard; of one that was run
    again both. ``running``: the test that each job is at, and all of its tests.
    """

    out: TextIO
    memory: Memory
    now: Callable[[], float] = monotonic
    tests: dict[str, list[Told]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    _at: dict[str, str] = field(default_factory=dict)
    _listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _begun: float = 0.0
    _shown: float = 0.0
    _over: bool = False

    def __post_init__(self) -> None:
        self._begun = self.now()

    def told(self, job: Job, what: Any) -> None:
        """A test begins, or is over."""
        if isinstance(what, Listed):
            self._listed[job.name] = what.tests
        elif isinstance(what, Began):
            self._at[job.name] = what.test
        elif isinstance(what, Told):
            self._at.pop(job.name, None)
            self.note(what, job.kind)
            if what.outcome == "failed":
                self.say(f"\n--- FAILED: {what.test}: {what.why}\n{what.text.strip()}\n---")

    def note(self, told: Told, kind: str) -> None:
        """Keep what came of a test."""
        self.kinds[told.test] = kind
        self.tests.setdefault(told.test, []).append(told)

    def done(self, job: Job, what: Any, seconds: float) -> None:
        """Remember how long it took."""
        self._at.pop(job.name, None)
        self.memory.seconds[job.name] = round(seconds, 1)

    def broke(self, job: Job, why: str, log: str) -> Job | None:
        """The test that ran has failed; the tests after it are still to be run."""
        test = self._at.pop(job.name, job.name)
        said = why if test == job.name else f"it hangs, or ended the process: {why}"
        self.told(job, Told(test, "failed", why=words(said), text=log[-_END:]))
        listed = self._listed.get(job.name, ())
        if test not in listed or not isinstance(job.work, Tests):
            return None
        rest = listed[listed.index(test) + 1 :]
        return replace(job, work=Tests(rest), lasts=job.lasts / 2) if rest else None

    def looked(self, workers: Workers) -> None:
        """Say how far it is, now and then."""
        now = self.now()
        if now - self._shown < (_TTY if self.out.isatty() else _PLAIN):
            return
        self._shown = now
        line = self.progress(workers, now)
        if self.out.isatty():
            width = shutil.get_terminal_size().columns - 1
            self.out.write(f"\r\x1b[K{line[:width]}")
            self.out.flush()
            self._over = True
        else:
            self.say(line)

    def progress(self, workers: Workers, now: float) -> str:
        """Since when it runs, how long still; how many passed and failed; what runs, since when."""
        count = Counter(tries[-1].outcome for tries in self.tests.values())
        wrong = f", {count['failed']} failed" if count["failed"] else ""
        running = sorted(
            (now - worker.since, short(worker.job.name)) for worker in workers.running if worker.job
        )
        runs = ", ".join(f"{name} {seconds:.0f} s" for seconds, name in reversed(running))
        waiting = f", {len(workers.waiting)} wait" if workers.waiting else ""
        return (
            f"[{clock(now - self._begun)}, about {clock(left(workers, now))} left]"
            f" {count['passed']} passed{wrong}; {runs or 'labs start'}{waiting}"
        )

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._over:
            self.out.write("\r\x1b[K")
            self._over = False
        self.out.write(f"{line}\n")
        self.out.flush()

    def failed(self) -> dict[str, Told]:
        """The tests that failed the last time they ran."""
        return {name: tries[-1] for name, tries in self.tests.items() if is_bad(tries[-1])}

    def flaky(self) -> dict[str, Told]:
        """The tests that failed and then passed, as they failed."""
        return {
            name: tries[0]
            for name, tries in self.tests.items()
            if is_bad(tries[0]) and not is_bad(tries[-1])
        }

    def slowest(self, live: bool) -> list[tuple[float, str]]:
        """The tests that took longest, in seconds."""
        took = [
            (tries[-1].seconds, name)
            for name, tries in self.tests.items()
            if name.startswith(LIVE) == live and self.kinds[name] != CHECK
        ]
        return sorted(took, reverse=True)[:_SLOWEST]

    def skipped(self, live: bool) -> Counter[str]:
        """Why tests were skipped, and how many."""
        return Counter(
            tries[-1].why
            for name, tries in self.tests.items()
            if name.startswith(LIVE) == live and tries[-1].outcome == "skipped"
        )

    def seconds(self) -> float:
        """Since it was begun."""
        return self.now() - self._begun

    def summary(self, strict: bool, besides: Collection[str] = ()) -> bool:
        """Say what failed, and the count in the last line; whether all is well.

        ``strict``: what passed only the second time has failed. ``besides``: what else is wrong.
        """
        bad, flaky = self.failed(), self.flaky()
        self.say("")
        for name, told in sorted(flaky.items()):
            self.say(f"FLAKY: {name}: it passed the second time; the first time: {told.why}")
        for name, told in sorted(bad.items()):
            self.say(f"FAILED: {name}: {told.why}\n    again: {command(name, self.kinds)}")
        for words_ in besides:
            self.say(f"FAILED: {words_}")
        tests = {name: tries[-1] for name, tries in self.tests.items() if self.counts(name)}
        count = Counter(told.outcome for told in tests.values())
        lied = len(flaky) if strict else 0
        self.say(f"{clock(self.seconds())} min")
        self.say(
            f"{count['passed'] - lied} passed, {count['failed'] + lied} failed,"
            f" {count['skipped']} skipped"
        )
        return not (bad or lied or besides)

    def counts(self, name: str) -> bool:
        """A check that found nothing is no test."""
        return self.kinds[name] != CHECK or is_bad(self.tests[name][-1])


def is_bad(told: Told) -> bool:
    """Whether it failed."""
    return told.outcome == "failed"


def command(name: str, kinds: Mapping[str, str]) -> str:
    """What runs it again."""
    if kinds.get(name) == CHECK:
        return shlex.join(CHECKS[name])
    return f".venv/bin/python -m tests.run {name}"
