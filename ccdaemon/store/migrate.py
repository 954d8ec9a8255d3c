"""Brings the tables of the history to this daemon's version, under a lock, all or nothing.

Knows the numbered files, not what is in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from twisted.logger import Logger

from ccdaemon.store.pg_link import Link

#: The first half of every advisory lock of this daemon: "cc". The second half of this one is 0.
LOCKS = 0x6363
#: Seconds that one migration may take: an index over many rows takes its time.
TIMEOUT = 3600.0

_log = Logger()


class MigrationRefused(Exception):
    """The database is not what the migrations expect; the message says how."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of SQL."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of its text, so that a file that was changed later is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """The migrations that come with this daemon, in order."""
    found = []
    for file in files("ccdaemon.store").joinpath("migrations").iterdir():
        number, _, rest = file.name.partition("_")
        found.append(Migration(int(number), rest.removesuffix(".sql"), file.read_text("utf8")))
    return sorted(found, key=lambda one: one.number)


async def migrate(link: Link, wanted: Sequence[Migration] | None = None) -> list[Migration]:
    """Apply what the database lacks.

    :return: what was applied.
    :raise MigrationRefused: if the database is newer, or a migration was changed since it was
        applied there.
    :raise psycopg2.Error: with Postgres' words; nothing is applied then.
    """
    wanted = migrations() if wanted is None else wanted
    await link.query(f"BEGIN; SET LOCAL statement_timeout = {round(TIMEOUT * 1000)}")
    try:
        await link.query("SELECT pg_advisory_xact_lock(%s, 0)", (LOCKS,), TIMEOUT)
        missing = _missing(wanted, await _applied(link))
        for migration in missing:
            await link.query(migration.sql, timeout=TIMEOUT)
            await link.query(
                "INSERT INTO migration (number, name, checksum) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.checksum),
            )
        await link.query("COMMIT", timeout=TIMEOUT)
    except BaseException:
        if link.alive:
            await link.query("ROLLBACK")
        raise
    for migration in missing:
        _log.info("migration {n} {name} applied", n=migration.number, name=migration.name)
    return missing


async def _applied(link: Link) -> dict[int, str]:
    await link.query(
        "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL,"
        " checksum text NOT NULL, applied timestamptz NOT NULL DEFAULT now())"
    )
    return dict(await link.query("SELECT number, checksum FROM migration"))


def _missing(wanted: Sequence[Migration], applied: dict[int, str]) -> list[Migration]:
    unknown = set(applied) - {migration.number for migration in wanted}
    if unknown:
        raise MigrationRefused(
            f"the database has migration {max(unknown)}, which this daemon does not know: it was"
            " used by a newer one"
        )
    for migration in wanted:
        if applied.get(migration.number, migration.checksum) != migration.checksum:
            raise MigrationRefused(
                f"migration {migration.number} {migration.name} was changed after it had been"
                " applied to the database"
            )
    return [migration for migration in wanted if migration.number not in applied]
