"""What the journal costs: latency of an append under load, CPU per call, reactor blocking.

    python -m bench.journal [--dir DIR] [--seconds N] [--calls N]

Appends the six states of answered calls to a journal in DIR (put it on the disk that is meant,
not on a tmpfs): at a steady rate first, then as many as go.
"""

from __future__ import annotations

import argparse
import platform
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import LoopingCall, deferLater, react

from ccdaemon.calls.model import CallView, Direction, State, StateChange
from ccdaemon.clocks import WallClock
from ccdaemon.store.facts import StateFact
from ccdaemon.store.journal import Journal

#: Seconds between two looks at the clock.
BEAT = 0.005
STATES = (
    State.CALL,
    State.OPERATOR_CALLTO,
    State.OPERATOR_PICKUP,
    State.CLIENT_CALLTO,
    State.CLIENT_PICKUP,
    State.FINISH,
)


def facts_of(call_id: int) -> list[StateFact]:
    """The facts of one answered call."""
    now = int(time.time() * 1000)
    facts = []
    for seq, state in enumerate(STATES, 1):
        final = state is State.FINISH
        told = StateChange(call_id, seq, state, final, "operator-1", "1000", now, 16, None)
        call = CallView(
            call_id, "d41d8cd98f00b204e9800998ecf8427e", f"{call_id:020d}", Direction.OUTBOUND,
            "1000", "380639920000", state, final, now, now, now if final else None, 3.2, 4.1,
            60.5, "client" if final else None, 16 if final else None, None,
        )  # fmt: skip
        facts.append(StateFact(told, call))
    return facts


class Bench:
    """One journal under load."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(IReactorFromThreads(reactor), reactor, WallClock(reactor), folder)
        self.latencies: list[float] = []
        self.blocked = 0.0
        self._last = 0.0

    async def start(self) -> None:
        """Open a journal that may number calls."""
        self.journal.startService()
        await self.journal.begin(0, [])
        await self.journal.grant(1, 10_000_000)

    def append(self, fact: StateFact) -> Deferred[None]:
        """Append one fact and note how long it took."""
        began = time.perf_counter()

        def done(_: list[int]) -> None:
            self.latencies.append(time.perf_counter() - began)

        return self.journal.append([fact]).addCallback(done)

    def beat(self) -> None:
        """Notice how late the reactor is."""
        now = time.perf_counter()
        self.blocked = max(self.blocked, now - self._last - BEAT)
        self._last = now

    async def steady(self, calls: float, seconds: float) -> None:
        """So many calls a second, their states evenly spread; what the bench costs is deducted."""
        own = await self._run(calls, seconds, lambda fact: None)
        cpu, began = time.process_time() + own, time.perf_counter()
        facts = await self._run(calls, seconds, self.append)
        self.report(f"{calls:g} calls a second", facts, time.perf_counter() - began, cpu)

    async def _run(self, calls: float, seconds: float, append: Any) -> Any:
        """Offer facts at a rate; how many, or, where nothing is appended, the CPU seconds."""
        todo = [f for _ in range(int(calls * seconds) + 1) for f in self._call()]
        waiting: list[Any] = []
        began = self._last = time.perf_counter()
        cpu = time.process_time()

        def some() -> None:
            due = int((time.perf_counter() - began) * calls * 6)
            while len(waiting) < min(due, len(todo)):
                waiting.append(append(todo[len(waiting)]))
            self.beat()

        looping = LoopingCall(some)
        looping.start(BEAT)
        await deferLater(reactor, seconds)
        looping.stop()
        given = [one for one in waiting if one is not None]
        await DeferredList(given)
        return len(given) or time.process_time() - cpu

    async def full(self, calls: int) -> None:
        """As many as go, with a few thousand facts on the way."""
        cpu, began = time.process_time(), time.perf_counter()
        for start in range(0, calls, 500):
            facts = [fact for _ in range(min(500, calls - start)) for fact in self._call()]
            await gatherResults([self.append(fact) for fact in facts])
        self.report("as many as go", calls * 6, time.perf_counter() - began, cpu)

    def _call(self) -> list[StateFact]:
        return facts_of(self.journal.take_call_id())

    def report(self, what: str, facts: int, seconds: float, cpu: float) -> None:
        """Print a line, and begin anew."""
        cpu = time.process_time() - cpu
        took = sorted(self.latencies) or [0.0]
        p50, p99, worst = (took[int((len(took) - 1) * part)] * 1e3 for part in (0.5, 0.99, 1))
        print(
            f"| {what} | {facts / seconds:,.0f} | {p50:.1f} | {p99:.1f} | {worst:.1f} |"
            f" {cpu / facts * 6e6:,.0f} | {self.blocked * 1e3:.1f} |"
        )
        self.latencies.clear()
        self.blocked = 0.0


async def main(_: object, argv: list[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--calls", type=int, default=5000)
    chosen = parser.parse_args(argv)
    print(f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}")
    print("| load | facts/s | append p50 ms | p99 | worst | CPU µs/call | reactor late ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=chosen.dir) as folder:
        bench = Bench(Path(folder))
        await bench.start()
        for calls in (1.0, 20.0, 100.0):
            await bench.steady(calls, chosen.seconds)
        await bench.full(chosen.calls)
        await bench.journal.stopService()


if __name__ == "__main__":
    import sys

    react(lambda reactor, argv: Deferred.fromCoroutine(main(reactor, argv)), (sys.argv[1:],))
