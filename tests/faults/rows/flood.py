"""More events than anybody can want."""

from __future__ import annotations

import random
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from lab.crowd import Crowd
from tests.faults.marks import Wrong
from tests.faults.probing import answered, makes_calls, memory
from tests.faults.rows.ami import END, SETTLED
from tests.faults.stage import Fault, Stage, Steps

#: A UserEvent that the daemon's session may hear, and that means nothing.
_EVENT = "ccdaemon-flood"
#: Who causes them, and how many a second each: as many as may be heard, or more.
_SESSIONS, _RATE, _TOO_MANY = 2, 15_000, 30_000
#: Seconds in which /healthz has to be answered, and megabytes that may be taken meanwhile.
_HEALTHY_WITHIN, _MOST_MORE = 1.0, 50.0
#: Seconds for which Asterisk waits for who does not read (``writetimeout``), and some more.
_CUT_OFF_AFTER = 8.0
#: How many sessions there were, and seconds in which the daemon has another one.
_BEGUN, _NOTICED_WITHIN = "ccdaemon_ami_sessions_total", 15.0


def flooded(stage: Stage) -> Steps:
    """Asterisk tells tens of thousands of events a second; births and ends of strangers besides."""
    with _watched(stage, "AMI flooded"), _crowd(stage, _RATE):
        strangers = threading.Thread(target=_strangers, args=(stage,), daemon=True)
        strangers.start()
        yield random.uniform(4.0, 10.0) * stage.haste
    strangers.join()
    yield 1.0
    yield from stage.until_ready()


def cut_off(stage: Stage) -> Steps:
    """The same while nothing is read of it, until Asterisk cuts the session off."""
    name = "AMI flooded until cut off"
    before = _told(stage, _BEGUN)
    with _watched(stage, name):
        with _crowd(stage, _TOO_MANY):
            stage.line.hold()
            yield _CUT_OFF_AFTER
        stage.line.go_on()
        end = monotonic() + _NOTICED_WITHIN
        while _told(stage, _BEGUN) == before and monotonic() < end:
            yield 0.5
        yield from stage.until_ready()
        yield SETTLED
    if _told(stage, _BEGUN) == before:
        stage.wrong.append(Wrong(name, None, "the session was not cut off"))


@contextmanager
def _watched(stage: Stage, name: str) -> Iterator[None]:
    """The process is healthy all the time, and takes little memory."""
    before, most, over = memory(stage), 0.0, threading.Event()

    def measure() -> None:
        nonlocal most
        while not over.wait(0.1):
            most = max(most, memory(stage))

    measuring = threading.Thread(target=measure, daemon=True)
    measuring.start()
    try:
        # In a short run the machine, which has other labs, live tests too, stands still for longer.
        within = _HEALTHY_WITHIN / stage.haste
        with answered(stage, name, within, ("/healthz",)), makes_calls(stage, name):
            yield
    finally:
        over.set()
        measuring.join()
    _note(stage, "MB of memory more at most", most - before)
    if most - before > _MOST_MORE:
        what = f"from {before:.0f} to {most:.0f} MB of memory"
        stage.wrong.append(Wrong(name, None, what))


@contextmanager
def _crowd(stage: Stage, rate: float) -> Iterator[None]:
    """Meanwhile everybody talks."""
    heard, since = _heard(stage), monotonic()
    crowd = [Crowd(stage.lab.asterisk.ports.ami, _EVENT, rate) for _ in range(_SESSIONS)]
    try:
        yield
    finally:
        said = sum(each.stop() for each in crowd)
        lasted = monotonic() - since
        _note(stage, "events told a second", said / lasted)
        _note(stage, "of them heard meanwhile", (_heard(stage) - heard) / lasted)


def _note(stage: Stage, what: str, measured: float) -> None:
    """Keep a number of each injection; one line has them all."""
    stage.measured.setdefault(what, []).append(measured)
    numbers = stage.measured.items()
    words = [f"{min(each):,.0f} to {max(each):,.0f} {what}" for what, each in numbers]
    stage.notes[:] = ["; ".join(words)]


def _strangers(stage: Stage) -> None:
    """Channels that are nobody's are born, answer and end, between the messages of Asterisk."""
    for number in range(2000):
        uniqueid = f"9999.{number}"
        ids = f"Channel: PJSIP/stranger-{number:08x}\r\nUniqueid: {uniqueid}\r\n"
        ids += f"Linkedid: {uniqueid}\r\n"
        stage.line.say(
            f"Event: Newchannel\r\n{ids}\r\nEvent: Newstate\r\nChannelState: 6\r\n{ids}\r\n"
            f"Event: Hangup\r\nCause: 16\r\n{ids}\r\n".encode(),
            END,
        )


def _heard(stage: Stage) -> float:
    return _told(stage, "ccdaemon_ami_events_total") + _told(stage, "ccdaemon_ami_unwanted_total")


def _told(stage: Stage, name: str) -> float:
    """A number of /metrics."""
    with urllib.request.urlopen(f"{stage.daemon.url}/metrics", timeout=10.0) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


FAULTS = (
    Fault("AMI flooded", flooded, 10, lasts=10.0),
    Fault("AMI flooded until cut off", cut_off, 10, lasts=20.0, unheard=30.0),
)
