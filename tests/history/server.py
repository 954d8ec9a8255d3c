"""A real Postgres for the tests: one server for the run, a database of its own for each test."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from unittest import SkipTest

import psycopg2

from ccdaemon.history.embedded import EmbeddedPostgres, NoPostgres

#: A server of tests may forget everything in a power cut.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Server:
    """A Postgres server with as many databases as are asked for."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cc-pg-"))
        self._folder.chmod(0o755)
        self.postgres = EmbeddedPostgres(self._folder, FAST)
        self._made = 0
        atexit.register(self.remove)
        self.postgres.start()

    def database(self) -> str:
        """Make a database, and say its url."""
        self._made += 1
        name = f"test{self._made}"
        self.run(self.postgres.url, f"CREATE DATABASE {name}")
        return self.postgres.url.replace("/ccdaemon?", f"/{name}?")

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

    def remove(self) -> None:
        """Stop the server and remove its folder."""
        self.postgres.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)


_shared: list[Server] = []


def server() -> Server:
    """The server of this run.

    :raise SkipTest: where none can be had; in CI that is a failure.
    """
    if not _shared:
        try:
            _shared.append(Server())
        except NoPostgres as error:
            if os.environ.get("CI") == "true":
                raise
            raise SkipTest(f"NO POSTGRES, NOT TESTED: {error}") from None
    if not _shared[0].postgres.running:
        _shared[0].postgres.start()
    return _shared[0]
