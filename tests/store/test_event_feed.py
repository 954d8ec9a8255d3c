"""Everything that was told, states and all else, by one cursor."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from ccdaemon.calls.model import State
from ccdaemon.store import event_feed
from ccdaemon.store.cursor import Cursor
from ccdaemon.store.recent_events import RecentEvents
from ccdaemon.store.records import EVERYTHING, EventKind, Filter, OperatorRow, RecordRow, StateRow
from tests.store.history_parts import ALL, Daemon, HistoryCase
from tests.store.parts import NOON, chain, change, recording, turn, view
from tests.store.pg_parts import until
from tests.store.test_history import forget

Seen = list[tuple[type, int]]


class EverythingTests(HistoryCase):
    """States, operators and recordings in one order, from any place on."""

    async def read(
        self,
        daemon: Daemon,
        place: str = "0",
        limit: int = 1000,
        filter: Filter = ALL,
        kinds: frozenset[EventKind] = EVERYTHING,
    ) -> tuple[list[Any], list[str], str]:
        """Read to the end; the rows, the place after each, and the last place."""
        rows: list[Any] = []
        places: list[str] = []
        while True:
            found, reached, is_all = await daemon.history.events_after(place, limit, filter, kinds)
            self.assertTrue(is_all or found or reached != place)
            rows += [row for row, _ in found]
            places += [after for _, after in found]
            if reached == place:
                return rows, places, place
            place = reached

    async def some(self, daemon: Daemon, first: int = 1, last: int = 4) -> None:
        """Have a few calls, each with a recording, and operators who change."""
        for n in range(first, last + 1):
            await daemon.journal.append([change("1000", date=NOON + n), *chain(view(n))[:3]])
            await daemon.journal.append([change("1001", date=NOON + n), *chain(view(n))[3:]])
            await daemon.journal.append([recording(n)])

    async def test_in_order(self) -> None:
        """Every fact comes once, in the order told: from memory, the file and Postgres."""
        daemon = await self.ready()
        await self.some(daemon)
        kinds = [OperatorRow, StateRow, StateRow, StateRow] * 2 + [RecordRow]
        for forgotten in (False, True):
            for limit in (1, 7, 1000):
                rows, _, _ = await self.read(daemon, limit=limit)
                self.assertEqual(list(range(1, 37)), [row.event_id for row in rows])
                self.assertEqual(kinds * 4, [type(row) for row in rows])
                ready = [row for row in rows if isinstance(row, RecordRow)]
                self.assertEqual([State.FINISH] * 4, [row.call.state for row in ready])
            if not forgotten:
                await forget(daemon)
                await self.some(daemon, 5, 6)
                await forget(daemon)
                rows, _, _ = await self.read(daemon)
                self.assertEqual(54, len(rows))
                return

    async def test_from_every_place(self) -> None:
        """Whoever was cut off after any row goes on with the very next one."""
        daemon = await self.ready()
        await self.some(daemon)
        await forget(daemon)
        await self.some(daemon, 5, 6)
        rows, places, _ = await self.read(daemon)
        for n, place in enumerate(places, 1):
            (more, _, _) = await self.read(daemon, place)
            self.assertEqual(rows[n:], more)

    async def test_states_alone(self) -> None:
        """Who asks for states is given states alone, by the same cursor."""
        daemon = await self.ready()
        await self.some(daemon, 1, 2)
        rows, place = await daemon.history.states_after("0", 1000, ALL)
        self.assertEqual(12, len(rows))
        self.assertEqual({StateRow}, {type(row) for row in rows})
        self.assertEqual(([], place), await daemon.history.states_after(place, 1000, ALL))
        await self.some(daemon, 3, 3)
        rows, _, _ = await self.read(daemon, place)
        self.assertEqual(9, len(rows))

    async def test_filters(self) -> None:
        """A filter picks the same out of memory, the file and Postgres."""
        self.patch(event_feed, "WINDOW", 5)
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1, sip="1000")), change("1000"), change("1001")])
        await daemon.journal.append([*chain(view(2, sip="1001", order_id="15", phone="381"))])
        await daemon.journal.append([recording(1), recording(2)])
        expected: dict[Filter, list[int]] = {
            Filter(sip="1001"): [8, *range(9, 15), 16],
            Filter(sip="1000"): [*range(1, 7), 7, 15],
            Filter(order_id="15"): [*range(9, 15), 16],
            Filter(phone="381"): [*range(9, 15), 16],
            Filter(call_id=1): [*range(1, 7), 15],
            Filter(call_id=2, sip="1000"): [],
        }
        for _ in ("memory", "postgres"):
            for filter, ids in expected.items():
                rows, _, _ = await self.read(daemon, filter=filter)
                self.assertEqual(ids, [row.event_id for row in rows], filter)
            only = frozenset({EventKind.RECORD, EventKind.OPERATOR})
            rows, _, _ = await self.read(daemon, kinds=only)
            self.assertEqual([7, 8, 15, 16], [row.event_id for row in rows])
            await forget(daemon)
            daemon.journal._recent = RecentEvents()

    async def test_from_now_on(self) -> None:
        """Who begins now is told nothing that was told before, also by others."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        await self.some(first, 1, 2)
        number = second.journal.take_call_id()
        await second.journal.append(chain(view(number)))
        await second.shipped()
        await turn()
        place = await first.history.now()
        rows, _, place = await self.read(first, place)
        self.assertEqual([], rows)
        await second.journal.append([change("2000")])
        await second.shipped()
        await self.some(first, 3, 3)
        rows, _, _ = await self.read(first, place)
        self.assertEqual(10, len(rows))

    async def test_from_now_on_while_postgres_is_away(self) -> None:
        """Where others cannot be asked, what is older than the beginning is left out later."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        number = second.journal.take_call_id()
        await second.journal.append(chain(view(number)))
        await second.shipped()
        self.server.postgres.stop(immediate=True)
        await until(lambda: not first.database.up)
        place = await first.history.now()
        self.assertIn("since.", place)
        rows, _, place = await self.read(first, place)
        self.assertEqual([], rows)
        self.server.postgres.start()
        later = int(first.history._feed._clock.seconds() * 1000) + 60_000
        await second.journal.append([change("2000", date=later)])
        await until(lambda: first.database.up and second.database.up)
        await second.shipped()
        rows, places, _ = await self.read(first, place)
        self.assertEqual(["2000"], [row.change.sip for row in rows])
        (again, _, _) = await self.read(first, places[-1])
        self.assertEqual([], again)

    async def test_a_recording_of_long_ago(self) -> None:
        """A recording whose call the journal has forgotten comes with its call all the same."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        _, _, place = await self.read(daemon)
        await forget(daemon)
        daemon.journal._recent = RecentEvents()
        await daemon.journal.append([recording(1)])
        (row,), _, _ = await self.read(daemon, place)
        self.assertEqual(State.FINISH, row.call.state)

    async def test_woken_by_what_is_wanted(self) -> None:
        """A change of an operator wakes those who follow operators, and not the others."""
        daemon = await self.ready()
        states = daemon.history.changed()
        everything = daemon.history.changed(EVERYTHING)
        await daemon.journal.append([change("1000")])
        await everything
        self.assertNoResult(states)
        await daemon.journal.append(chain(view(1)))
        await states

    async def test_a_thousand_who_follow(self) -> None:
        """A thousand who are woken together are answered out of memory, the file is not read."""
        daemon = await self.ready()
        await daemon.journal.append([change("1000")])
        place = await daemon.history.now()
        reads: list[Any] = []
        read = daemon.journal._sqlite.read

        def counted(*asked: Any) -> Any:
            reads.append(asked)
            return read(*asked)

        self.patch(daemon.journal._sqlite, "read", counted)
        await daemon.shipper.stopService()
        await daemon.journal.append(chain(view(1)))
        await turn()
        answers: list[Any] = await gatherResults([self.begin(daemon, place) for _ in range(1000)])
        self.assertEqual({(6, True)}, {(len(rows), is_all) for rows, _, is_all in answers})
        self.assertEqual([], reads)

    def begin(self, daemon: Daemon, place: str) -> Any:
        """Ask for what came after a place."""
        return Deferred.fromCoroutine(daemon.history.events_after(place, 50, ALL, EVERYTHING))


class CursorTests(HistoryCase):
    """How a place is spelled."""

    def test_read_as_written(self) -> None:
        """Every place is read as it was written."""
        for place in (
            Cursor(),
            Cursor({"abcdef": 7}),
            Cursor({"abcdef": 7, "012345": 9}),
            Cursor({"abcdef": 7}, since=NOON),
            Cursor(since=NOON),
        ):
            self.assertEqual(place, Cursor.read(str(place)))
            self.assertRegex(str(place), r"\A[0-9A-Za-z.~_-]+\Z")
