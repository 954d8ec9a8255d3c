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

    async def test_missed_calls_that_were_closed(self) -> None:
        """Who rang again and got through, before that counted, is missed no more."""
        link = await self.link()
        await migrate(link, migrations()[:11])
        add = (
            "INSERT INTO call (call_id, node, event_id, direction, phone, sip, state, final, date,"
            " answered) VALUES (%s, 'a', %s, %s, %s, '1000', 'FINISH', true,"
            " timestamptz '2026-11-23 08:00Z' + %s * interval '1 minute',"
            " timestamptz '2026-11-23 08:00Z' + %s * interval '1 minute')"
        )
        await link.query("INSERT INTO node (node, last_event_id) VALUES ('a', 0)")
        for call_id, direction, phone, begun, answered in (
            (1, "inbound", "380441", 0, None),
            (2, "inbound", "380441", 1, 2),
            (3, "outbound", "380441", 3, 4),
            (4, "inbound", "380442", 5, None),
            (5, "inbound", "anonymous", 0, None),
            (6, "inbound", "anonymous", 1, 2),
            (7, "inbound", "380443", 9, None),
            (8, "inbound", "380443", 7, 8),
            (9, "outbound", "380444", 0, 2),
            (10, "inbound", "380444", 1, None),
            (11, "inbound", "380445", 0, None),
            (12, "inbound", "380445", 1, 2),
        ):
            await link.query(add, (call_id, call_id, direction, phone, begun, answered))
        await migrate(link)
        rows = await link.query(
            "SELECT call_id, direction, called_again, called_back FROM missed ORDER BY call_id"
        )
        self.assertEqual(
            rows,
            [
                (1, "called_back", None, 3),
                (4, "open", None, None),
                (5, "open", None, None),
                (7, "open", None, None),
                (10, "called_back", None, 9),
                (11, "called_again", 12, None),
            ],
        )
        total = "SELECT total_of('missed', '', 'open', '-infinity', 'infinity')"
        self.assertEqual([(3,)], await link.query(total))
