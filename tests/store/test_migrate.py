"""Migrations on a real database."""

from __future__ import annotations

import psycopg2
from twisted.internet.defer import Deferred, gatherResults

from ccdaemon.store.migrate import Migration, MigrationRefused, migrate, migrations
from tests.store.pg_parts import PostgresCase

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


class UpgradeTests(PostgresCase):
    """A database of before has what newer tables are made of."""

    async def test_missed_calls_of_our_numbers(self) -> None:
        """They are tallied, those that were missed before as those that come."""
        link = await self.link()
        await migrate(link, migrations()[:7])
        add = "INSERT INTO missed SELECT %s, 1, now(), null, 'open', '380', '380441'"
        await link.query(add, (1,))
        await migrate(link)
        await link.query(add, (2,))
        total = "SELECT total_of('missed_of_did', '380441', 'open', '-infinity', 'infinity')"
        self.assertEqual([(2,)], await link.query(total))
        await link.query("DELETE FROM missed")
        self.assertEqual([(0,)], await link.query(total))

    async def test_leases(self) -> None:
        """What was granted before it was written down to whom is granted to nobody else."""
        link = await self.link()
        await migrate(link, migrations()[:6])
        await link.query("SELECT take_lease(0), take_lease(0)")
        await migrate(link)
        held = await link.query("SELECT hold_lease('a', 501, 10000), hold_lease('b', 10001, 20000)")
        self.assertEqual([(True, True)], held)
        taken = await link.query("SELECT lo, hi FROM take_lease(0, 'c')")
        self.assertEqual([(20_001, 30_000)], taken)
