"""Migrations on a real database."""

from __future__ import annotations

import psycopg2
from twisted.internet.defer import Deferred, gatherResults

from ccdaemon.history.migrate import Migration, MigrationRefused, migrate, migrations
from tests.history.pg_parts import PostgresCase

ONE = Migration(1, "one", "CREATE TABLE one (n int)")
TWO = Migration(2, "two", "CREATE TABLE two (n int); INSERT INTO two VALUES (1)")
BAD = Migration(3, "bad", "CREATE TABLE three (n int); SELECT nonsense")


class MigrateTests(PostgresCase):
    """The database is brought to this version, once."""

    async def test_from_nothing_to_all(self) -> None:
        """A new database gets every migration that comes along, numbered from 1."""
        link = await self.link()
        applied = await migrate(link)
        self.assertEqual(list(range(1, len(applied) + 1)), [one.number for one in applied])
        self.assertEqual(migrations(), applied)
        self.assertEqual([], await migrate(link))
        self.assertEqual([(0,)], await link.query("SELECT count(*) FROM state"))

    async def test_only_what_is_missing(self) -> None:
        """A migration that was applied is not applied again."""
        link = await self.link()
        await migrate(link, [ONE])
        self.assertEqual([TWO], await migrate(link, [ONE, TWO]))
        self.assertEqual([(1,)], await link.query("SELECT n FROM two"))

    async def test_all_or_nothing(self) -> None:
        """If one fails, none of the run stays, and the connection can be used again."""
        link = await self.link()
        await self.fails(migrate(link, [ONE, TWO, BAD]), psycopg2.ProgrammingError)
        self.assertEqual([(None,)], await link.query("SELECT to_regclass('one')"))
        self.assertTrue(link.idle)
        self.assertEqual([ONE, TWO], await migrate(link, [ONE, TWO]))

    async def test_a_changed_migration(self) -> None:
        """A file that was changed after it had been applied is refused by name."""
        link = await self.link()
        await migrate(link, [ONE])
        other = Migration(1, "one", "CREATE TABLE other (n int)")
        error = await self.fails(migrate(link, [other, TWO]), MigrationRefused)
        self.assertIn("1 one", str(error))

    async def test_a_newer_database(self) -> None:
        """A database that a newer daemon has used is left alone."""
        link = await self.link()
        await migrate(link, [ONE, TWO])
        error = await self.fails(migrate(link, [ONE]), MigrationRefused)
        self.assertIn("newer", str(error))

    async def test_two_daemons_at_once(self) -> None:
        """Two that start at once do not apply anything twice."""
        links = [await self.link(), await self.link()]
        both = await gatherResults(
            [Deferred.fromCoroutine(migrate(link, [ONE, TWO])) for link in links]
        )
        self.assertEqual([[], [ONE, TWO]], sorted(both, key=len))

    async def test_a_connection_that_goes(self) -> None:
        """A backend that dies in the middle leaves nothing."""
        link = await self.link()
        deadly = Migration(2, "deadly", "SELECT pg_terminate_backend(pg_backend_pid())")
        await self.fails(migrate(link, [ONE, deadly]), Exception)
        self.assertEqual([(None,)], self.sql("SELECT to_regclass('one')"))
