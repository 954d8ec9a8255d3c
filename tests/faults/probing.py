"""Looks at the daemon all the time while a fault goes on, in threads of its own.

Notes the slowest answer and what memory it has; what is beyond the limits is wrong.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from http.client import HTTPException
from itertools import cycle
from pathlib import Path
from time import monotonic

from tests.faults.marks import Wrong
from tests.faults.stage import Stage, Steps

#: Seconds within which every request has to be answered, whatever is away.
ANSWERED_WITHIN = 10.0
#: What reads, each way in which it does: from memory, the journal's, and Postgres'.
PATHS = (
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/health.json",
    "/api/sipList.json",
    "/api/callHistory.json?per_page=5",
    "/api/callHistory.json?call_id=1",
    "/api/callHistory.json?external_key=nobody",
    "/api/callHistory.json?after=0&limit=5",
    "/api/callHistory.json?after=0&sip=1999",
    "/api/call.json?call_id=1",
    "/api/call.json?call_id=999999999",
    "/api/orderHistory.json?order_id=none",
    "/api/orderHistory.json?order_id=none&group_by_call=1",
    "/api/orderRecords.json?order_id=none",
    "/api/recordList.json?per_page=5",
    "/api/operatorHistory.json?per_page=5",
    "/api/missedCalls.json?per_page=5",
    "/api/webhookLog.json?per_page=5",
    "/api/record/1.wav",
    "/mp3/1700000000.1.mp3",
)
#: makeCall for an operator whom nobody has, so that Asterisk has to be asked, and no call is made.
MAKE_CALL = "/api/makeCall.json?sip=1999&phone=380679999999&order_id=nobody&external_key=nobody"
#: What they may be answered: what there is, that there is none, that it cannot be had just now.
_STATUSES = (200, 404, 503)
#: So many are asked for at the same time, each with a pause of so many seconds after the other.
_AT_ONCE, _PAUSE = 4, 0.2


@contextmanager
def answered(
    stage: Stage, name: str, within: float = ANSWERED_WITHIN, paths: tuple[str, ...] = PATHS
) -> Iterator[None]:
    """Meanwhile each of ``paths`` in turn is answered within so many seconds."""
    over = threading.Event()
    turns = cycle(paths)
    slowest: dict[str, float] = dict.fromkeys(paths, 0.0)

    def see(what: str) -> None:
        stage.wrong.append(Wrong(name, None, what))

    def ask() -> None:
        while not over.is_set():
            path, begun = next(turns), monotonic()
            try:
                status = _status(f"{stage.daemon.url}{path}", within)
            except (OSError, HTTPException) as error:
                see(f"{path} was not answered: {error}")
            else:
                if status not in _STATUSES:
                    see(f"{path} was answered {status}")
            slowest[path] = max(slowest[path], monotonic() - begun)
            over.wait(_PAUSE)

    askers = min(_AT_ONCE, len(paths))
    threads = [threading.Thread(target=ask, daemon=True) for _ in range(askers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(within + 1.0)
        worst = max(slowest, key=lambda path: slowest[path])
        if slowest[worst] > within:
            see(f"{worst} was answered after {slowest[worst]:.1f} s")


def _status(url: str, within: float) -> int:
    try:
        with urllib.request.urlopen(url, timeout=within) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@contextmanager
def makes_calls(stage: Stage, name: str) -> Iterator[None]:
    """Meanwhile makeCall is answered in time, and everything else."""
    with answered(stage, name, ANSWERED_WITHIN, (*PATHS, MAKE_CALL)):
        yield


def always_answered(do: Callable[[Stage], Steps]) -> Callable[[Stage], Steps]:
    """A fault of which no request may notice more than that something cannot be had."""

    @wraps(do)
    def done(stage: Stage) -> Steps:
        with makes_calls(stage, "a request"):
            yield from do(stage)

    return done


def memory(stage: Stage) -> float:
    """What the daemon has of the machine's memory, in MB of a million bytes."""
    status = Path(f"/proc/{stage.daemon.pid}/status").read_text("ascii")
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kilobytes) * 1024 / 1e6
