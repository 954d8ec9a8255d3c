"""Postgres: is it there, how old is it, and may the daemon make its tables?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg2

from ccdaemon.check.findings import Finding, fail, ok
from ccdaemon.config import Database
from ccdaemon.history.embedded import EmbeddedPostgres, NoPostgres

#: Seconds until a Postgres counts as silent.
CONNECT_TIMEOUT = 5
#: The oldest that is still looked after by its makers.
OLDEST = 130000

_ASK = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int,
           current_database(), current_schema(),
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
"""


def try_database(database: Database, state_dir: Path) -> Iterator[Finding]:
    """Connect and ask; blocks for a few seconds at most.

    :param state_dir: where the daemon would run a Postgres of its own.
    """
    part = f"database {database.shown}"
    if database.embedded:
        yield _embedded(part, state_dir)
        return
    try:
        connection = psycopg2.connect(
            database.url,
            connect_timeout=CONNECT_TIMEOUT,
            options=f"-c statement_timeout={CONNECT_TIMEOUT}s",
        )
    except psycopg2.Error as error:
        yield fail(part, _words(error, database))
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ASK)
            version, number, name, schema, may_create = cursor.fetchone()
    except psycopg2.Error as error:
        yield fail(part, _words(error, database))
        return
    finally:
        connection.close()
    if number < OLDEST:
        yield fail(part, f"PostgreSQL {version} is too old, 13 is needed")
    elif not may_create:
        yield fail(part, f"the user may not make tables in {name}.{schema or '(no schema)'}")
    else:
        yield ok(part, f"PostgreSQL {version}, may make tables in {name}.{schema}")


def _words(error: psycopg2.Error, database: Database) -> str:
    words = " ".join(str(error).split())
    # An address that libpq cannot read is quoted as a whole, with the password.
    return words.replace(database.url, database.shown)


def _embedded(part: str, state_dir: Path) -> Finding:
    try:
        programs = EmbeddedPostgres(state_dir).find()
    except NoPostgres as error:
        return fail(part, str(error))
    return ok(part, f"will be run from {programs}")
