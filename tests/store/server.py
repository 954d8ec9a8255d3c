"""A real Postgres for the tests: one server for the process, a database of its own for each test.

To make a database costs ten times what it costs to empty one: so each is used again.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import psycopg2

from lab import Unavailable
from lab.postgres import Postgres

#: Whoever is ended needs a moment to let go of what is removed.
_EMPTY = (
    "SET lock_timeout = '2s'",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "DROP SCHEMA public CASCADE",
    "CREATE SCHEMA public",
)


class Server:
    """A Postgres server with as many databases as are asked for."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="ccdaemon-history-"))
        folder.chmod(0o755)
        self.postgres = Postgres(folder / "postgres", progress=lambda _: None)
        self._made = 0
        self._free: list[str] = []
        atexit.register(self.postgres.close)
        self.postgres.start()

    def database(self) -> str:
        """An empty database; its url."""
        while self._free:
            url = self._free.pop()
            with suppress(psycopg2.Error):
                self._empty(url)
                return url
        self._made += 1
        return self.postgres.create_database(f"test{self._made}")

    def give_back(self, url: str) -> None:
        """The test that had this database is over."""
        self._free.append(url)

    def _empty(self, url: str) -> None:
        """Remove all that is in a database, and whoever is still in it."""
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in _EMPTY:
                    cursor.execute(statement)
        finally:
            connection.close()

    def run(self, url: str, sql: str, *params: object) -> list[tuple[object, ...]]:
        """Run a statement, beside the daemon; blocks."""
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


_shared: list[Server] = []


def server() -> Server:
    """The server of this run, running.

    :raise SkipTest: where none can be had; in CI that is a failure.
    """
    if not _shared:
        try:
            _shared.append(Server())
        except Unavailable as error:
            if os.environ.get("CI") == "true":
                raise
            raise SkipTest(f"NO POSTGRES, NOT TESTED: {error}") from None
    if _shared[0].postgres.pid is None:
        _shared[0].postgres.start()
    return _shared[0]
