"""Faults of the daemon itself."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from signal import SIGCONT, SIGHUP, SIGSTOP, SIGTERM, SIGUSR2
from time import monotonic, time

from lab.watchdog import Unit, Watchdog
from tests.faults.marks import Wrong
from tests.faults.stage import Fault, Stage, Steps

#: Seconds in which the daemon ends when it is asked to, on a machine with much to do.
_ENDS_WITHIN = 8.0
#: Seconds for which the reactor stands still, and in which it begins to.
_BLOCKED, _BEGINS = 30.0, 0.5
#: Seconds in which the watchdog notices more than ``WatchdogSec``: it looks now and then.
_LATE = 2.0
_STEP = 0.1


def daemon_killed(stage: Stage) -> Steps:
    """``kill -9``; started again after a while."""
    with stage.silence():
        stage.daemon.kill()
        yield stage.away()
        yield from stage.start_again()


def killed_at_the_start(stage: Stage) -> Steps:
    """``kill -9``, and twice more while it starts or catches up; then it is left alone."""
    with stage.silence():
        stage.daemon.kill()
        yield random.uniform(0.3, 2.0)
        for waits_for_it in random.sample((True, False), 2):
            stage.daemon.start(wait=False)
            if waits_for_it:
                yield from _until_it_listens(stage)
            yield random.uniform(0.0, 0.9)
            stage.daemon.kill()
        yield from stage.start_again()


def killed_and_log_turned(stage: Stage) -> Steps:
    """The same, and logrotate turns the channel log meanwhile."""
    stage.daemon.kill()
    yield stage.away()
    log = stage.lab.asterisk.cel_file_on_host
    if log.exists():
        log.rename(log.with_name(f"{log.name}-{int(time() * 1000)}"))
    yield 0.5
    yield from stage.start_again()


def daemon_frozen(stage: Stage) -> Steps:
    """``kill -STOP``; it goes on after a while."""
    with stage.silence():
        stage.daemon.send(SIGSTOP)
        yield random.uniform(3.0, 5.0 if stage.is_short else 12.0)
        stage.daemon.send(SIGCONT)
        yield from stage.until_ready()


def frozen_for_good(stage: Stage) -> Steps:
    """``kill -STOP`` and nothing more: systemd's watchdog ends it and starts it again."""
    yield from _ended_by_watchdog(stage, SIGSTOP)


def reactor_blocked(stage: Stage) -> Steps:
    """The reactor's thread stands still for 30 s, all others go on."""
    with stage.silence():
        stage.daemon.send(SIGUSR2)
        yield float(stage.daemon.environment["FAULTS_BLOCKED"]) + _BEGINS
        yield from stage.until_ready()


def blocked_for_good(stage: Stage) -> Steps:
    """The reactor's thread stands still: systemd's watchdog ends the daemon and starts it again."""
    yield from _ended_by_watchdog(stage, SIGUSR2)


def ended(stage: Stage) -> Steps:
    """SIGTERM; it ends by itself within 8 s, and is started again after a while."""
    with stage.silence():
        stage.daemon.send(SIGTERM)
        yield from stage.until_ended(stage.daemon, _ENDS_WITHIN)
        if stage.daemon.pid is not None:
            stage.wrong.append(Wrong("SIGTERM", None, f"no end within {_ENDS_WITHIN:g} s"))
            stage.daemon.kill()
        status = stage.daemon.stop()
        # Ended in order, it passes the signal on, as Unix has it.
        if status not in (0, -SIGTERM):
            stage.wrong.append(Wrong("SIGTERM", None, f"the daemon ended with {status}"))
        yield stage.away()
        yield from stage.start_again()


def hung_up(stage: Stage) -> Steps:
    """SIGHUP ten times; the daemon does not mind."""
    pid = stage.daemon.pid
    for _ in range(10):
        stage.daemon.send(SIGHUP)
        yield random.uniform(0.0, 0.4)
    if stage.daemon.pid != pid or not stage.daemon.is_ready():
        stage.wrong.append(Wrong("SIGHUP", None, "the daemon is not there any more"))


def _until_it_listens(stage: Stage) -> Steps:
    """Let time pass until the daemon takes HTTP connections; then it reads the channel log."""
    end = monotonic() + 20.0
    while monotonic() < end and stage.daemon.pid is not None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", stage.daemon.port)) == 0:
                return
        yield 0.05


def _ended_by_watchdog(stage: Stage, number: int) -> Steps:
    watchdog = stage.watchdog
    assert watchdog is not None
    if len(watchdog.ends) != len(stage.silences):
        ends = [end.why for end in watchdog.ends]
        stage.wrong.append(Wrong("the watchdog", None, f"ended a daemon that was well: {ends}"))
    pid, end = stage.daemon.pid, monotonic() + watchdog.unit.watchdog + _LATE
    with stage.silence():
        stage.daemon.send(number)
        while stage.daemon.pid == pid and monotonic() < end:
            yield _STEP
        if stage.daemon.pid == pid:
            stage.wrong.append(Wrong("the watchdog", None, "did nothing"))
            stage.daemon.kill()
        end = monotonic() + watchdog.unit.restart + _LATE
        while stage.daemon.pid is None and monotonic() < end:
            yield _STEP
        yield from stage.until_ready()
    waited = max(end.moment - end.heard for end in watchdog.ends)
    stage.notes[:] = [
        f"ended {waited:.1f} s after the last sign of life at most,"
        f" of WatchdogSec={watchdog.unit.watchdog:g}"
    ]


def _watched(stage: Stage) -> None:
    unit = Unit.read()
    stage.watchdog = Watchdog(stage.daemon, unit.with_watchdog(unit.watchdog * stage.haste))


def _unwatched(stage: Stage) -> None:
    if stage.watchdog is not None:
        stage.watchdog.close()


def _may_be_blocked(stage: Stage) -> None:
    stage.daemon.environment["PYTHONPATH"] = str(Path(__file__).parent.parent / "blocking")
    stage.daemon.environment["FAULTS_BLOCKED"] = str(_BLOCKED * stage.haste)


def _watched_may_be_blocked(stage: Stage) -> None:
    _watched(stage)
    _may_be_blocked(stage)


FAULTS = (
    Fault("daemon killed", daemon_killed, 50, fill=26, lasts=9.0),
    Fault("daemon killed while it starts", killed_at_the_start, 10, lasts=8.0),
    Fault("daemon killed, channel log turned", killed_and_log_turned, 10),
    Fault("daemon frozen", daemon_frozen, 10, lasts=10.0),
    Fault(
        "daemon frozen, watchdog",
        frozen_for_good,
        10,
        prepare=_watched,
        restore=_unwatched,
        lasts=15.0,
    ),
    Fault(
        "reactor blocked",
        reactor_blocked,
        10,
        prepare=_may_be_blocked,
        lasts=33.0,
        unheard=15.0,
    ),
    Fault(
        "reactor blocked, watchdog",
        blocked_for_good,
        10,
        prepare=_watched_may_be_blocked,
        restore=_unwatched,
        lasts=15.0,
    ),
    Fault("SIGTERM", ended, 10, lasts=7.0),
    Fault("SIGHUP", hung_up, 10, lasts=2.0),
)
