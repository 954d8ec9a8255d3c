"""What webhooks cost: deliveries a second, CPU for each, and how soon a state has arrived.

    python -m bench.webhooks [--dir DIR] [--calls N] [--seconds N]

The states of answered calls go through a journal in DIR to a receiver in a process of its own that
answers 204: all at once, as after an outage, and then evenly.
"""

from __future__ import annotations

import argparse
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import deferLater, react

from bench.journal import facts_of
from ccdaemon.api.rendering import Format, render
from ccdaemon.clocks import WallClock
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.sender import sender
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.store.journal import Journal

#: Answers every POST at once, and notes how old the state in it is; GET gives the ages in ms.
RECEIVER = r"""
import asyncio, json, re, sys, time
ages = []
async def serve(reader, writer):
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return writer.close()
        if head.startswith(b"GET"):
            body = json.dumps(ages).encode()
            ages.clear()
            length = str(len(body)).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + body)
            continue
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        body = await reader.readexactly(length)
        # JSON or XML.
        ages.append(time.time() * 1000 - float(re.search(rb"detail\W+([0-9.]+)", body)[1]))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def spell(tree: Mapping[str, object], form: str) -> bytes:
    """As the daemon does."""
    return render(tree, Format(form), "webhook")


def memory() -> int:
    """The resident memory of this process in kB."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


class Bench:
    """A journal, a webhook, and who receives it."""

    def __init__(self, folder: Path, port: int, form: str) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}/hook"
        self.journal = Journal(IReactorFromThreads(reactor), reactor, WallClock(reactor), folder)
        webhook = Webhook(url=self.url, secret=("whsec_MfKQ9r8GKYqrTwjUPD8I",), format=form)
        self.webhooks = Webhooks(
            IReactorFromThreads(reactor),
            reactor,
            WallClock(reactor),
            self.journal,
            folder,
            [webhook],
            base_url="",
            sends=lambda one: sender(one, reactor),
            spell=spell,
            random=random.random,
        )

    async def start(self) -> None:
        """Open a journal that may number calls."""
        self.journal.startService()
        await self.journal.begin(0, [])
        await self.journal.grant(1, 10_000_000)
        self.webhooks.startService()

    async def stop(self) -> None:
        """Close."""
        await self.webhooks.stopService()
        await self.journal.stopService()

    def append(self) -> None:
        """Let a call happen; its states say when."""
        now = str(time.time() * 1000)
        for fact in facts_of(self.journal.take_call_id()):
            told = type(fact.state)(*(getattr(fact.state, name) for name in fact.state.__slots__))
            object.__setattr__(told, "detail", now)
            self.journal.append([type(fact)(told, fact.call)]).addErrback(lambda _: None)

    async def arrived(self, count: int) -> Sequence[float]:
        """Wait until so many have arrived; their ages in ms."""
        counts = self.webhooks.health[0].counts
        already = counts.delivered
        while self.webhooks.health[0].counts.delivered - already < count:
            await deferLater(reactor, 0.1)
        ages: list[float] = await treq.json_content(await treq.get(self.url, persistent=False))
        return sorted(ages)

    async def full(self, calls: int, form: str) -> None:
        """All calls at once."""
        for _ in range(min(calls, 1500)):  # The journal takes 10,000 facts at once.
            self.append()
        await self.measured(f"all at once, {form}", calls * 6, time.perf_counter())

    async def steady(self, calls: int, seconds: float) -> None:
        """So many calls a second, six states at once."""
        began = time.perf_counter()
        total = int(calls * seconds)

        async def offer() -> None:
            for number in range(total):
                await deferLater(reactor, max(0, began + number / calls - time.perf_counter()))
                self.append()

        offering = Deferred.fromCoroutine(offer())
        await self.measured(f"{calls} calls a second", total * 6, began)
        await offering

    async def nobody(self, calls: int) -> None:
        """All calls at once, and nobody is there: what is kept of them, and where."""
        before, head = memory(), self.journal.high_watermark
        for _ in range(min(calls, 1500)):
            self.append()
        while (backlog := self.webhooks.health[0].backlog) < min(calls, 1500) * 6:
            await deferLater(reactor, 0.1)
        await deferLater(reactor, 10)
        size = sum(path.stat().st_size for path in self.folder.glob("webhooks.sqlite*"))
        told = self.journal.high_watermark - head
        print(
            f"\nNobody there: {backlog:,} wait of {told:,}, {size / backlog:,.0f} bytes of file"
            f" each; memory {before:,} kB before, {memory():,} kB after"
        )

    async def measured(self, what: str, count: int, began: float) -> None:
        """Wait for so many and print a line."""
        cpu, own = time.process_time(), time.thread_time()
        ages = await self.arrived(count)
        cpu, own = time.process_time() - cpu, time.thread_time() - own
        rate = count / (time.perf_counter() - began)
        p50, p99 = (ages[int((len(ages) - 1) * part)] for part in (0.5, 0.99))
        print(
            f"| {what} | {rate:,.0f} | {own / count * 1e6:,.0f} | {cpu / count * 1e6:,.0f} |"
            f" {p50:,.0f} | {p99:,.0f} |"
        )


async def main(_: object, argv: list[str]) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--calls", type=int, default=1000)
    chosen = parser.parse_args(argv)
    print(f"Python {platform.python_version()}")
    print("| load | deliveries/s | reactor CPU µs each | process CPU µs each | p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|")
    program = [sys.executable, "-c", RECEIVER]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        port = int(receiver.stdout.readline())
        try:
            for form in ("json", "xml"):
                with tempfile.TemporaryDirectory(dir=chosen.dir) as folder:
                    bench = Bench(Path(folder), port, form)
                    await bench.start()
                    await bench.full(chosen.calls, form)
                    if form == "json":
                        for calls in (1, 20):
                            await bench.steady(calls, chosen.seconds)
                    await bench.stop()
            with tempfile.TemporaryDirectory(dir=chosen.dir) as folder:
                bench = Bench(Path(folder), 9, "json")
                await bench.start()
                await bench.nobody(chosen.calls)
                await bench.stop()
        finally:
            receiver.kill()


if __name__ == "__main__":
    react(lambda *arguments: Deferred.fromCoroutine(main(*arguments)), (sys.argv[1:],))
