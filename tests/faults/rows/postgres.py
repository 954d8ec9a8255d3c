"""Faults of Postgres."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from lab import Unavailable
from lab.line import Line
from tests.faults.disk import full
from tests.faults.marks import Wrong
from tests.faults.probing import always_answered, memory
from tests.faults.rows.postgres_disks import (
    mount_for_tables,
    mount_for_wal,
    of_tables,
    of_wal,
    refusals,
    unmount,
)
from tests.faults.stage import Fault, Stage, Steps

#: Seconds that Postgres is away in a whole run where it is away for long, and in a short one.
_LONG, _NOT_SO_LONG = 600.0, 8.0
#: Seconds that an answer of Postgres takes when it is slow: too long, and just not.
_SLOW = (5.0, 3.5)
#: MB that the daemon may have grown by then.
_GROWN = 20.0
#: Seconds in which a full disk is noticed, and in which Postgres is back.
_REFUSED_WITHIN, _BACK_WITHIN = 20.0, 20.0


@always_answered
def postgres_stopped(stage: Stage) -> Steps:
    """Postgres is stopped, its connections cut, and is started again after a while."""
    stage.lab.postgres.stop()
    yield stage.away()
    stage.lab.postgres.start()


@always_answered
def postgres_crashed(stage: Stage) -> Steps:
    """The same without a checkpoint."""
    stage.lab.postgres.stop(immediate=True)
    yield stage.away()
    stage.lab.postgres.start()


@always_answered
def postgres_frozen(stage: Stage) -> Steps:
    """All of Postgres' processes are stopped; nothing is refused and nothing answered."""
    stage.lab.postgres.freeze()
    yield random.uniform(1.0, 8.0 if stage.is_short else 20.0)
    stage.lab.postgres.thaw()


@always_answered
def backends_killed(stage: Stage) -> Steps:
    """Every connection to the database is ended by Postgres."""
    _end_sessions(stage)
    yield 1.0


def _end_sessions(stage: Stage) -> None:
    stage.lab.postgres.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE datname = '{stage.database}'"
    )


def _lay_line(stage: Stage) -> None:
    line = Line(stage.lab.postgres.port)
    line.start()
    stage.postgres_line = line
    url = stage.lab.postgres.url(stage.database)
    url = url.replace(f":{stage.lab.postgres.port}/", f":{line.port}/")
    stage.daemon.configure(database={"url": url})


def _take_line(stage: Stage) -> None:
    if stage.postgres_line is not None:
        stage.postgres_line.stop()


@always_answered
def postgres_unreachable(stage: Stage) -> Steps:
    """Every packet between the daemon and Postgres is lost, either way, and nobody says so."""
    line = stage.postgres_line
    assert line is not None
    line.drop()
    yield random.uniform(2.0, 6.0) if stage.is_short else random.uniform(3.0, 20.0)
    line.go_on()
    yield 1.0


@always_answered
def postgres_slow(stage: Stage) -> Steps:
    """Every answer of Postgres takes five seconds more, or is only just in time."""
    line = stage.postgres_line
    assert line is not None
    line.delay = random.choice(_SLOW)
    yield random.uniform(6.0, 8.0) if stage.is_short else random.uniform(8.0, 20.0)
    line.delay = 0.0
    yield 1.0


@always_answered
def postgres_read_only(stage: Stage) -> Steps:
    """The database takes no writes, as a standby does."""
    _alter(stage, "SET default_transaction_read_only = on")
    yield stage.away()
    _alter(stage, "RESET default_transaction_read_only")
    yield 0.5


def _alter(stage: Stage, what: str) -> None:
    stage.lab.postgres.sql(f'ALTER DATABASE "{stage.database}" {what}')
    # A session has its settings from its beginning.
    _end_sessions(stage)


@always_answered
def postgres_disk_full(stage: Stage) -> Steps:
    """The disk with the tables is full, and Postgres refuses to write for want of room."""
    before = refusals(stage)
    with full(of_tables(stage)):
        yield from _until_refused(stage, before)
        yield stage.away()
    yield 0.5


def _until_refused(stage: Stage, before: int) -> Steps:
    end = monotonic() + _REFUSED_WITHIN
    while refusals(stage) == before:
        if monotonic() > end:
            _see(stage, "nothing was refused for want of room")
            return
        yield 0.1


@always_answered
def postgres_wal_full(stage: Stage) -> Steps:
    """The disk with the write-ahead log is full: Postgres panics until there is room again."""
    postgres, before = stage.lab.postgres, refusals(stage)
    with full(of_wal(stage)):
        with suppress(Unavailable):
            postgres.sql(_MUCH)
        if refusals(stage) == before:
            _see(stage, "nothing was refused for want of room")
        yield stage.away()
    end = monotonic() + _BACK_WITHIN
    while not postgres.answers() and monotonic() < end:
        if postgres.pid is None:
            postgres.start()
        yield 0.2
    yield 1.0


#: More of the log than there is room for, also where a server that has had much to do has kept
#: pieces of it for later.
_MUCH = (
    "SELECT count(pg_logical_emit_message(false, 'much', repeat('x', 1000000)))"
    " FROM generate_series(1, 300)"
)


def _see(stage: Stage, what: str) -> None:
    stage.wrong.append(Wrong("Postgres", None, what))


@always_answered
def postgres_away_for_long(stage: Stage) -> Steps:
    """Postgres is away for ten minutes, and the daemon grows no more than 20 MB."""
    before = memory(stage)
    stage.lab.postgres.stop()
    yield _NOT_SO_LONG if stage.is_short else _LONG
    grown = memory(stage) - before
    stage.lab.postgres.start()
    yield 1.0
    stage.notes.append(f"{grown:.1f} MB more memory")
    if grown > _GROWN:
        _see(stage, f"{grown:.1f} MB more memory")


def _row(name: str, do: Callable[[Stage], Steps], times: int, **more: Any) -> Fault:
    """A row in which calls go on as if nothing were."""
    return Fault(name, do, times, goes_on=True, **more)


_LINE: dict[str, Any] = {"prepare": _lay_line, "restore": _take_line}

FAULTS = (
    _row("Postgres stopped", postgres_stopped, 10),
    _row("Postgres crashed", postgres_crashed, 10),
    _row("Postgres frozen", postgres_frozen, 10, lasts=10.0),
    _row("Postgres' backends killed", backends_killed, 20, lasts=1.0),
    _row("Postgres unreachable", postgres_unreachable, 10, lasts=12.0, **_LINE),
    _row("Postgres slow", postgres_slow, 10, lasts=15.0, **_LINE),
    _row("Postgres read-only", postgres_read_only, 10),
    _row(
        "Postgres' disk full",
        postgres_disk_full,
        10,
        prepare=mount_for_tables,
        restore=unmount,
        spoils=True,
    ),
    _row(
        "Postgres' WAL disk full",
        postgres_wal_full,
        10,
        prepare=mount_for_wal,
        restore=unmount,
        spoils=True,
    ),
    _row("Postgres away for long", postgres_away_for_long, 3, lasts=600.0),
)
