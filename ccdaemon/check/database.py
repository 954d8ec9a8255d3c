"""Postgres: is it there, how old is it, and may the daemon make its tables?"""

from __future__ import annotations

from pathlib import Path

import psycopg2

from ccdaemon.check.findings import Finding, fail, ok
from ccdaemon.config import Database
from ccdaemon.store.embedded import EmbeddedPostgres, NoPostgres

#: Seconds until a Postgres counts as silent.
CONNECT_TIMEOUT = 5
#: The oldest that is still looked after by its makers.
OLDEST = 130000

_QUESTION = """
    SELECT current_setting('server_version'), current_setting('server_version_num')::int,
           current_schema(),
           coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
"""


def try_database(database: Database, state_dir: Path) -> Finding:
    """Connect and ask; blocks for a few seconds at most.

    :param state_dir: where the daemon would run a Postgres of its own.
    """
    part = f"database {database.shown}"
    if database.embedded:
        return _embedded(part, state_dir)
    try:
        version, number, schema, may_create = _ask(database.url)
    except psycopg2.Error as error:
        return fail(part, _words(error, database))
    if number < OLDEST:
        return fail(part, f"PostgreSQL {version} is too old, 13 is needed")
    if not may_create:
        return fail(part, f"the user may not make tables in schema {schema or '(none)'}")
    return ok(part, f"PostgreSQL {version}, may make tables in schema {schema}")


def _ask(url: str) -> tuple[str, int, str | None, bool]:
    timeout = f"-c statement_timeout={CONNECT_TIMEOUT}s"
    connection = psycopg2.connect(url, connect_timeout=CONNECT_TIMEOUT, options=timeout)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_QUESTION)
            version, number, schema, may_create = cursor.fetchone()
            return version, number, schema, may_create
    finally:
        connection.close()


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
