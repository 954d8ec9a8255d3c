"""Faults of the receivers of webhooks, and of the file that the daemon notes deliveries in."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from tests.faults.deliveries import Deliveries, Terms
from tests.faults.disk import Disk, immutable
from tests.faults.failing import contexts, words
from tests.faults.history import History, ask
from tests.faults.marks import Wrong
from tests.faults.probing import ANSWERED_WITHIN, MAKE_CALL, answered
from tests.faults.receiving import PATH, SECRET, Receiver
from tests.faults.stage import Fault, Stage, Steps
from tests.faults.ways import TIMEOUT

#: Seconds from a state's moment to its arrival at who is well, on a machine with much to do.
_HEARD_WITHIN = 10.0
#: Seconds in which something is sent to who fails; nothing may be to send.
_FAILED_WITHIN = 8.0
#: Seconds in which health says that nothing can be noted.
_KNOWN_WITHIN = 10.0
#: A call that nobody may make, since nobody has the operator.
_NOBODY = {"sip": "1999", "phone": "380670000000", "order_id": "none", "external_key": "none"}
#: Seconds in which everything is delivered once nobody fails any more.
_DELIVERED_WITHIN = 40.0
#: One that is well, one that fails and is soon tried again, and one that fails behind TLS.
_TERMS = (
    Terms("well", PATH, 1.0, within=_HEARD_WITHIN),
    Terms("fails", PATH, 0.5),
    Terms("fails-over-tls", PATH, 1.0),
)
#: The same, where nobody can be told for a while.
_AT_LAST = tuple(replace(each, within=None) for each in _TERMS)
_FILE = "webhooks' file"


def receiver_fails(stage: Stage) -> Steps:
    """Receivers are gone, slow, err, talk without an end or break TLS; one is well meanwhile."""
    failing = _failing(stage)
    _begin(failing)
    yield from _until_failed(failing)
    yield stage.away()
    _end(failing)


def receiver_fails_daemon_killed(stage: Stage) -> Steps:
    """The same, and ``kill -9`` in the middle; it may be over when the daemon is back, or not."""
    failing = _failing(stage)
    _begin(failing)
    yield from _until_failed(failing)
    yield random.uniform(0.0, 2.0)
    with stage.silence():
        stage.daemon.kill()
        yield stage.away()
        over, still = random.choice([(failing, []), ([], failing), (failing[:1], failing[1:])])
        _end(over)
        yield from stage.start_again()
    yield random.uniform(0.0, 2.0)
    _end(still)


def file_not_writable(stage: Stage) -> Steps:
    """Nothing can be noted of webhooks for a while, in which the daemon is killed; calls go on."""
    with immutable(*stage.daemon.state_dir.glob("webhooks.sqlite*")):
        yield from _until_broken(stage)
        yield stage.away()
        with stage.silence():
            stage.daemon.kill()
            yield stage.away()
            yield from stage.start_again()
        yield from _until_broken(stage)
    yield 1.0


def _until_broken(stage: Stage) -> Steps:
    """Let time pass until it is known that nothing can be noted; makeCall does not mind."""
    end = monotonic() + _KNOWN_WITHIN
    with answered(stage, _FILE, ANSWERED_WITHIN, (MAKE_CALL,)):
        while (part := _part(stage))["status"] != "failing" and monotonic() < end:
            yield 0.2
    if part["status"] != "failing" or "webhooks.sqlite" not in part["detail"]:
        stage.wrong.append(Wrong(_FILE, None, f"health says {part}"))
    answer = ask(stage.daemon.url, "makeCall", **_NOBODY)
    if answer["status_code"] == 503:
        stage.wrong.append(Wrong(_FILE, None, f"makeCall is answered {answer}"))


def _part(stage: Stage) -> dict[str, Any]:
    """What health says of webhooks."""
    parts = ask(stage.daemon.url, "health")["response"]["parts"]
    [webhooks] = [part for part in parts if part["name"] == "webhooks"]
    return dict(webhooks)


def _failing(stage: Stage) -> list[Receiver]:
    return [one for one in stage.receivers if one.name != "well"]


def _begin(failing: list[Receiver]) -> None:
    for receiver in failing:
        receiver.fail(random.choice(list(receiver.ways)))


def _end(failing: list[Receiver]) -> None:
    for receiver in failing:
        receiver.recover()


def _until_failed(failing: list[Receiver]) -> Steps:
    """Let time pass until all of them have failed somebody, who listen at all."""
    end, before = monotonic() + _FAILED_WITHIN, [one.failed for one in failing]
    while monotonic() < end and any(
        receiver.listens and receiver.failed == count
        for receiver, count in zip(failing, before, strict=True)
    ):
        yield 0.1


def _receive(stage: Stage) -> None:
    """Make the receivers, and have the daemon tell them."""
    shown, trusted = contexts(stage.daemon.folder)
    stage.receivers = [Receiver("well"), Receiver("fails"), Receiver("fails-over-tls", shown)]
    common = {"secret": SECRET, "types": ["call.state", "record.ready"], "timeout": TIMEOUT}
    special: dict[str, dict[str, object]] = {
        "fails": {"retry_first": 0.5, "retry_longest": 4.0},
        "fails-over-tls": {"retry_longest": 8.0, "tls_ca": str(trusted)},
    }
    stage.daemon.tables["webhooks"] = [
        {"name": one.name, "url": one.url, **common, **special.get(one.name, {})}
        for one in stage.receivers
    ]
    stage.daemon.configure()


def _leave(stage: Stage) -> None:
    for receiver in stage.receivers:
        receiver.stop()


def _mount(stage: Stage) -> None:
    Disk(stage.daemon.state_dir).make()
    _receive(stage)


def _unmount(stage: Stage) -> None:
    _leave(stage)
    Disk(stage.daemon.state_dir).remove()


def in_time(stage: Stage, history: History) -> Iterator[Wrong]:
    """What is wrong with what arrived; who was well has been told in time."""
    yield from _wrong(stage, history, _TERMS)
    slowest = _judged(stage, history, _TERMS)[0].slowest()
    stage.notes.append(f"{_words(stage)}; who was well heard after {slowest:.2f} s at most")


def at_last(stage: Stage, history: History) -> Iterator[Wrong]:
    """What is wrong with what arrived, whenever it did."""
    yield from _wrong(stage, history, _AT_LAST)
    stage.notes.append(_words(stage))


def _wrong(stage: Stage, history: History, terms: Sequence[Terms]) -> Iterator[Wrong]:
    """Wait until everything is delivered, and judge; what arrived is left beside the log."""
    end = monotonic() + _DELIVERED_WITHIN
    while (left := _left(stage, _judged(stage, history, terms))) and monotonic() < end:
        sleep(0.5)
    if left:
        yield Wrong("webhooks", None, f"after {_DELIVERED_WITHIN:.0f} s {left}")
    for receiver in stage.receivers:
        lines = "".join(f"{json.dumps(one.line())}\n" for one in receiver.arrivals)
        (stage.daemon.folder / f"{receiver.name}.arrivals").write_text(lines, "utf-8")
    for one in _judged(stage, history, terms):
        yield from one.wrong()


def _left(stage: Stage, judged: Sequence[Deliveries]) -> str:
    """What is not delivered yet, in words; nothing if all is."""
    missing = sum(len(one.missing()) for one in judged)
    if missing:
        return f"{missing} calls have not been told as a whole"
    log = ask(stage.daemon.url, "webhookLog", status="waiting,failed,stopped", per_page=1)
    total = log["response"]["total"] if log["status"] == "ok" else log
    return f"webhookLog has {total} that are not delivered" if total else ""


def _judged(stage: Stage, history: History, terms: Sequence[Terms]) -> list[Deliveries]:
    return [
        Deliveries(history, receiver.arrivals, each, stage.silences)
        for receiver, each in zip(stage.receivers, terms, strict=True)
    ]


def _words(stage: Stage) -> str:
    """What was measured, for the table."""
    ways = sum((receiver.chosen for receiver in stage.receivers), Counter[str]())
    failed = sum(receiver.failed for receiver in stage.receivers)
    taken = [one for receiver in stage.receivers for one in receiver.arrivals if one.taken]
    chosen = words(ways) or "all are well"
    return f"{chosen}: {failed} POSTs and connections failed, {len(taken)} POSTs were taken"


FAULTS = (
    Fault(
        "webhook receiver fails",
        receiver_fails,
        20,
        prepare=_receive,
        restore=_leave,
        check=in_time,
        lasts=6.0,
    ),
    Fault(
        "webhook receiver fails, daemon killed",
        receiver_fails_daemon_killed,
        10,
        prepare=_receive,
        restore=_leave,
        check=in_time,
        lasts=9.0,
    ),
    Fault(
        "webhooks' file not writable",
        file_not_writable,
        10,
        prepare=_mount,
        restore=_unmount,
        check=at_last,
        lasts=12.0,
    ),
)
