"""Faults of the CRM that is asked who takes a call."""

from __future__ import annotations

import random
from time import monotonic

from tests.faults.crm import WAYS
from tests.faults.stage import Fault, Stage, Steps

#: Seconds in which some client calls, and for which the CRM is not asked after three failures.
_ASKED_WITHIN, _LEFT_ALONE = 15.0, 10.5


def crm_fails(stage: Stage) -> Steps:
    """The CRM is slow, errs, hangs up, talks nonsense or without an end: the fallback is rung."""
    assert stage.crm is not None
    before, stage.crm.way = stage.crm.failed, random.choice(list(WAYS))
    way, end = stage.crm.way, monotonic() + _ASKED_WITHIN
    while stage.crm.failed == before and monotonic() < end:
        yield 0.1
    yield random.uniform(1.0, 5.0)
    stage.crm.way = None
    stage.notes.append(f"{way}: {stage.crm.failed - before} questions")
    yield _LEFT_ALONE


FAULTS = (Fault("routing CRM fails", crm_fails, 20, lasts=16.0),)
