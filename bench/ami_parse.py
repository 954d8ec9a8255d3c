"""How fast AMI is read: bytes to subscribers, this package against panoramisk, in one run.

    python3 -m venv /tmp/bench && /tmp/bench/bin/pip install . panoramisk
    /tmp/bench/bin/python bench/ami_parse.py

Both get the same recorded bytes in the same chunks, and the same subscribers; both must tell the
same events. Without panoramisk, the best published Python library, there is nothing to compare
with, and the bench says so.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ccdaemon.ami.ami_session import AMIProtocol

TRACES = Path(__file__).parent.parent / "tests" / "traces"
#: What the daemon may want to hear.
WANTED = [
    "Newchannel",
    "Newstate",
    "Hangup",
    "HangupRequest",
    "SoftHangupRequest",
    "OriginateResponse",
    "DialBegin",
    "DialEnd",
    "DialState",
    "BridgeEnter",
    "BridgeLeave",
    "DeviceStateChange",
    "UserEvent",
    "FullyBooted",
    "Reload",
    "ContactStatus",
    "PeerStatus",
]
ROUNDS = 100
CHUNK = 4096
REPEATS = 5

#: Told the chunks, after it was given the names to subscribe to; returns the events it told.
Reader = Callable[[list[bytes], list[str]], Counter[str]]


def recorded(name: str) -> list[bytes]:
    """A recorded session without its greeting, many times over, in chunks."""
    data = (TRACES / f"{name}.txt").read_bytes().replace(b"\n", b"\r\n")
    stream = data.partition(b"\r\n")[2] * ROUNDS
    return [stream[at : at + CHUNK] for at in range(0, len(stream), CHUNK)]


def ours(chunks: list[bytes], wanted: list[str]) -> Counter[str]:
    """Reads with this package, as the daemon does."""
    told: Counter[str] = Counter()

    def subscriber(session: AMIProtocol, event: Any) -> None:
        told[event.name] += 1

    session = AMIProtocol(Clock())
    session.makeConnection(StringTransport())  # type: ignore[no-untyped-call]
    for name in wanted:
        session.registerEvent(name, subscriber)
    session.dataReceived(b"Asterisk Call Manager/11.0.0\r\n")
    for chunk in chunks:
        session.dataReceived(chunk)
    return told


def theirs(panoramisk: Any) -> Reader:
    """Reads with panoramisk."""

    def read(chunks: list[bytes], wanted: list[str]) -> Counter[str]:
        told: Counter[str] = Counter()

        def subscriber(client: Any, event: Any) -> None:
            told[event.event] += 1

        client = panoramisk.Manager()
        for name in wanted:
            client.register_event(name, subscriber)
        protocol = importlib.import_module("panoramisk.ami_protocol").AMIProtocol()
        protocol.connection_made(None)
        protocol.factory = client
        protocol.encoding = "utf8"
        for chunk in chunks:
            protocol.data_received(chunk)
        return told

    return read


def seconds(read: Reader, chunks: list[bytes], wanted: list[str]) -> float:
    """CPU time of one reading."""
    start = time.process_time()
    read(chunks, wanted)
    return time.process_time() - start


def compare(title: str, name: str, wanted: list[str], other: Reader) -> None:
    """Prints a line: events a second of both, and the ratio of their best runs."""
    chunks = recorded(name)
    events = b"".join(chunks).count(b"Event: ")
    told = ours(chunks, wanted)
    if told != other(chunks, wanted):
        sys.exit(f"{title}: the two did not tell the same events")
    runs = [(seconds(ours, chunks, wanted), seconds(other, chunks, wanted)) for _ in range(REPEATS)]
    mine, others = (min(times) for times in zip(*runs, strict=True))
    print(
        f"{title:34} {events:7} events, {told.total():6} told: "
        f"ours {events / mine:9,.0f}/s, panoramisk {events / others:7,.0f}/s, "
        f"ratio {others / mine:.1f}"
    )


def main() -> None:
    """Compares the stream as Asterisk sends it, one call's stream, and with all wanted."""
    try:
        panoramisk = importlib.import_module("panoramisk")
    except ImportError:
        print(f"skipped: panoramisk is not installed here\n{__doc__}")
        return
    other = theirs(panoramisk)
    every = sorted(
        {
            line.removeprefix("Event: ")
            for trace in TRACES.glob("*.txt")
            for line in trace.read_text().split("\n")
            if line.startswith("Event: ")
        }
    )
    noisy, call = "1000-380000000000", "1000-380000000005"
    compare("a call beside 100 phones", noisy, WANTED, other)
    compare("a call alone", call, WANTED, other)
    compare("a call alone, every event wanted", call, every, other)


if __name__ == "__main__":
    main()
