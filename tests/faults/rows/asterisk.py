"""Faults of Asterisk itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import time

from lab.sip_files import WITH_PHONE
from tests.faults.marks import Cut
from tests.faults.probing import always_answered
from tests.faults.stage import Fault, Stage, Steps


@always_answered
def asterisk_killed(stage: Stage) -> Steps:
    """``kill -9`` of Asterisk, and a new one."""
    yield from _without_asterisk(stage, stage.lab.asterisk.kill, told=False)


@always_answered
def asterisk_restarted(stage: Stage) -> Steps:
    """Asterisk is told to end, and a new one is started."""
    yield from _without_asterisk(stage, stage.lab.asterisk.stop, told=True)


@always_answered
def asterisk_reloaded(stage: Stage) -> Steps:
    """Asterisk reads its files again: all of them, or those of some parts."""
    commands = random.choice(([_ALL], random.sample(_PARTS, random.randrange(1, len(_PARTS) + 1))))
    for command in commands:
        stage.lab.asterisk.rx(command)
        yield random.uniform(0.0, 1.0) * stage.haste
    yield 1.0
    yield from stage.until_ready()


def _without_asterisk(stage: Stage, end: Callable[[], object], *, told: bool) -> Steps:
    lab, gone = stage.lab, time()
    stage.calls_in = False
    end()
    # Phones that were talking would talk for ever.
    for phones in (lab.operators, lab.clients):
        phones.stop()
    yield stage.away()
    for phones in (lab.operators, lab.clients):
        phones.start()
    lab.asterisk.start()
    lab.register(WITH_PHONE)
    stage.cuts.append(Cut(gone, time(), told))
    yield from stage.until_ready()
    stage.calls_in = True


_ALL = "core reload"
_PARTS = (
    "manager reload",
    "dialplan reload",
    "module reload res_pjsip.so",
    "module reload cel",
    "module reload cel_custom.so",
    "queue reload all",
    "logger reload",
)

FAULTS = (
    Fault("Asterisk reloaded", asterisk_reloaded, 20),
    Fault("Asterisk killed", asterisk_killed, 5, pause=(6.0, 12.0)),
    Fault("Asterisk restarted", asterisk_restarted, 5, pause=(6.0, 12.0)),
)
