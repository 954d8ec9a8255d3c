"""Faults of the CRM that is asked who takes a call."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from time import monotonic

from tests.faults.failing import contexts, words
from tests.faults.history import History
from tests.faults.marks import Wrong
from tests.faults.stage import Fault, Stage, Steps
from tests.faults.ways import TLS_WAYS, WAYS

#: Seconds in which some client calls, and for which the CRM is not asked after so many failures.
_ASKED_WITHIN, _LEFT_ALONE, _FAILURES = 15.0, 10.5, 3
#: How TLS may be broken.
_BROKEN = [*TLS_WAYS, *(name for name, way in WAYS.items() if way.greets)]


def crm_fails(stage: Stage) -> Steps:
    """The CRM is down, slow, errs, breaks off, talks without an end: the fallback is rung."""
    yield from _fails(stage, stage.crm.ways)


def tls_broken(stage: Stage) -> Steps:
    """The CRM's certificate is not good, or what it speaks is no TLS."""
    yield from _fails(stage, _BROKEN)


def _fails(stage: Stage, ways: Iterable[str]) -> Steps:
    crm, way = stage.crm, random.choice(list(ways))
    before, end = crm.failed, monotonic() + _ASKED_WITHIN
    crm.fail(way)
    while crm.listens and crm.failed == before and monotonic() < end:
        yield 0.1
    yield random.uniform(1.0, 5.0)
    # Who does not listen does not know how often.
    is_left_alone = not crm.listens or crm.failed - before >= _FAILURES
    crm.recover()
    yield _LEFT_ALONE if is_left_alone else 1.0


def counted(stage: Stage, history: History) -> Iterator[Wrong]:
    """Note how it failed; there is nothing to find wrong besides the chains."""
    stage.notes.append(f"{words(stage.crm.chosen)}: {stage.crm.failed} questions failed")
    return iter(())


def _speaks_tls(stage: Stage) -> None:
    stage.crm.contexts, trusted = contexts(stage.daemon.folder)
    stage.daemon.configure(routing={"url": stage.crm.url, "tls_ca": str(trusted)})


FAULTS = (
    Fault("routing CRM fails", crm_fails, 20, check=counted, lasts=16.0),
    Fault(
        "routing CRM's TLS broken",
        tls_broken,
        10,
        prepare=_speaks_tls,
        check=counted,
        lasts=16.0,
    ),
)
