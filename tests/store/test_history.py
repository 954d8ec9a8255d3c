"""What the API reads: the journal and Postgres as one history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from ccdaemon.calls.model import CallView, Direction, State
from ccdaemon.errors import Code, Refused
from ccdaemon.store import event_feed, journal_writes
from ccdaemon.store import history as history_module
from ccdaemon.store.records import Filter, StateRow
from tests.store.history_parts import ALL, Daemon, HistoryCase, begin
from tests.store.parts import NOON, chain, change, recording, turn, view
from tests.store.pg_parts import until


async def forget(daemon: Daemon) -> None:
    """Have the journal forget everything that has ended and that Postgres has."""
    await daemon.shipped()
    await daemon.journal.set_checkpoint("postgres", daemon.shipper.checkpoint)
    floor, _ = await daemon.journal._sqlite.write(lambda db: journal_writes.prune(db, NOON * 2))
    daemon.journal.low_watermark = floor


class CallTests(HistoryCase):
    """Single calls, by number and by key."""

    async def test_at_once_also_while_postgres_is_away(self) -> None:
        """A chain is complete the moment it was told, with Postgres stopped."""
        daemon = await self.ready()
        facts = chain(view(1))
        await daemon.journal.append(facts[:2])
        self.server.postgres.stop(immediate=True)
        await daemon.journal.append(facts[2:3])
        for held in (await daemon.history.call(1), await daemon.history.by_key("key-1")):
            assert held is not None
            self.assertEqual([f.state for f in facts[:3]], [row.state for row in held.states])
            self.assertEqual(facts[2].call, held.call)
        await until(lambda: not daemon.database.up)
        for asked in (daemon.history.call(2), daemon.history.by_key("other")):
            error = await self.fails(asked, Refused)
            self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)
            self.assertEqual(5, error.retry_after)
        self.server.postgres.start()

    async def test_out_of_postgres_when_forgotten(self) -> None:
        """A call that the journal has forgotten is the same out of Postgres."""
        daemon = await self.ready()
        call = view(1, answered=NOON + 1, ring_seconds=1.25, talk_seconds=2.5, cause=16)
        await daemon.journal.append([*chain(call), recording(1)])
        before = await daemon.history.call(1)
        await forget(daemon)
        self.assertIsNone(await daemon.journal.chain(1))
        after = await daemon.history.call(1)
        assert before is not None
        assert after is not None
        self.assertEqual(before.call, after.call)
        self.assertEqual(list(before.states), list(after.states))
        self.assertEqual(list(before.records), list(after.records))
        self.assertEqual(after, await daemon.history.by_key("key-1"))

    async def test_unknown_calls(self) -> None:
        """A number or a key that nobody has is None."""
        daemon = await self.ready()
        self.assertIsNone(await daemon.history.call(99))
        self.assertIsNone(await daemon.history.by_key("nobody"))

    async def test_another_daemons_call(self) -> None:
        """A call of another daemon is found by number and by key."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        number = second.journal.take_call_id()
        await second.journal.append(chain(view(number, external_key="theirs")))
        await second.shipped()
        for held in (await first.history.call(number), await first.history.by_key("theirs")):
            assert held is not None
            self.assertEqual(6, len(held.states))

    async def test_a_chain_whose_beginning_is_forgotten(self) -> None:
        """A recording that comes when its call is long gone is seen with the call at once."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        await forget(daemon)
        await daemon.journal.append([recording(1)])
        held = await daemon.history.call(1)
        assert held is not None
        self.assertEqual([recording(1).record], list(held.records))


class ListTests(HistoryCase):
    """Lists hold everything that had been told when they were asked for."""

    async def test_what_was_told_is_in_the_list(self) -> None:
        """Right after an append every list holds it."""
        daemon = await self.ready()
        for n in range(1, 20):
            await daemon.journal.append([*chain(view(n, order_id="15")), recording(n)])
            await daemon.journal.append([change("1000", date=NOON + n)])
            self.assertEqual(6 * n, (await daemon.history.states_page(1, 10, ALL)).total)
            self.assertEqual(n, (await daemon.history.records_page(1, 10, ALL)).total)
            self.assertEqual(n, (await daemon.history.operator_page(1, 10, ALL)).total)
            self.assertEqual(n, len(await daemon.history.order_chains("15", ALL)))

    async def test_lists_while_postgres_is_away(self) -> None:
        """Lists are refused, at once, with when to try again."""
        daemon = await self.ready()
        self.server.postgres.stop(immediate=True)
        await until(lambda: not daemon.database.up)
        history = daemon.history
        for asked in (
            history.states_page(1, 10, ALL),
            history.records_page(1, 10, ALL),
            history.operator_page(1, 10, ALL),
            history.order_chains("15", ALL),
        ):
            error = await self.fails(asked, Refused)
            self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)
        self.server.postgres.start()

    async def test_lists_while_postgres_is_behind(self) -> None:
        """A list that cannot be complete in time is refused, not shown without its end."""
        self.patch(event_feed, "BARRIER", 0.05)
        self.patch(history_module, "BARRIER", 0.05)
        daemon = await self.ready()
        await daemon.shipper.stopService()
        await daemon.journal.append(chain(view(1)))
        error = await self.fails(daemon.history.states_page(1, 10, ALL), Refused)
        self.assertIn("behind", error.message)
        self.assertNotIn(self.server.postgres.password, error.message)

    async def test_order_chains(self) -> None:
        """An order's calls come whole; a filter is put to the calls."""
        daemon = await self.ready()
        inbound = view(2, order_id="15", direction=Direction.INBOUND, date=NOON + 1000, sip=None)
        facts = chain(inbound)
        facts[1] = replace(facts[1], state=replace(facts[1].state, sip="1007"))
        await daemon.journal.append([*chain(view(1, order_id="15")), *facts, *chain(view(3))])
        await daemon.journal.append([recording(2)])

        async def calls(filter: Filter) -> list[int]:
            found = await daemon.history.order_chains("15", filter)
            return [one.call.call_id for one in found]

        found = await daemon.history.order_chains("15", ALL)
        self.assertEqual([6, 6], [len(one.states) for one in found])
        self.assertEqual([[], [recording(2).record]], [one.records for one in found])
        self.assertEqual([1, 2], await calls(ALL))
        self.assertEqual([2], await calls(Filter(direction=Direction.INBOUND)))
        self.assertEqual([1], await calls(Filter(sip="1000")))
        self.assertEqual([2], await calls(Filter(sip="1007")))
        self.assertEqual([], await calls(Filter(phone="1")))
        self.assertEqual([1], await calls(Filter(to_ms=NOON + 999)))
        self.assertEqual([2], await calls(Filter(from_ms=NOON + 1000)))
        self.assertEqual([], await daemon.history.order_chains("none", ALL))

    async def test_an_order_attached_later(self) -> None:
        """Past states come under the order that the call got later."""
        daemon = await self.ready()
        facts = chain(view(1, order_id=None))
        later = [replace(f, call=replace(f.call, order_id="15")) for f in facts[3:]]
        await daemon.journal.append(facts[:3])
        await daemon.shipped()
        await daemon.journal.append(later)
        (found,) = await daemon.history.order_chains("15", ALL)
        self.assertEqual({"15"}, {row.order_id for row in found.states})
        page = await daemon.history.states_page(1, 50, Filter(order_id="15"))
        self.assertEqual(6, page.total)


class AfterTests(HistoryCase):
    """Everything in the order told, from a place on."""

    async def read(
        self, daemon: Daemon, place: str = "0", limit: int = 4, filter: Filter = ALL
    ) -> tuple[list[StateRow], str]:
        """Read on until there is no more."""
        rows: list[StateRow] = []
        while True:
            more, after = await daemon.history.states_after(place, limit, filter)
            self.assertLessEqual(len(more), limit)
            if not more and after == place:
                return rows, place
            rows, place = [*rows, *more], after

    async def test_from_the_beginning(self) -> None:
        """From 0 come all states, once, in the order told, whatever their dates."""
        daemon = await self.ready()
        facts = [*chain(view(1, date=NOON + 10**6)), *chain(view(2))]
        await daemon.journal.append([*facts[:5], change("1000"), recording(1), *facts[5:]])
        rows, place = await self.read(daemon)
        self.assertEqual([fact.state for fact in facts], [row.state for row in rows])
        self.assertEqual(f"{daemon.journal.node}.14", place)
        self.assertEqual(("order-1", "key-1"), (rows[0].order_id, rows[0].external_key))

    async def test_while_postgres_is_away(self) -> None:
        """What the journal holds comes without Postgres; what it has forgotten is refused."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        _, place = await self.read(daemon)
        self.server.postgres.stop(immediate=True)
        await daemon.journal.append(chain(view(2)))
        rows, _ = await self.read(daemon, place)
        self.assertEqual(6, len(rows))
        rows, _ = await self.read(daemon)
        self.assertEqual(12, len(rows))
        self.server.postgres.start()
        await forget(daemon)
        self.server.postgres.stop(immediate=True)
        await until(lambda: not daemon.database.up)
        error = await self.fails(daemon.history.states_after("0", 10, ALL), Refused)
        self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)
        self.server.postgres.start()

    async def test_over_the_edge_of_the_journal(self) -> None:
        """A reader far behind gets what is only in Postgres, then the rest, without a gap."""
        daemon = await self.ready()
        for n in range(1, 6):
            await daemon.journal.append(chain(view(n)))
        await forget(daemon)
        for n in range(6, 9):
            await daemon.journal.append(chain(view(n)))
        for limit in (1, 7, 100):
            rows, _ = await self.read(daemon, limit=limit)
            self.assertEqual(list(range(1, 49)), [row.event_id for row in rows])

    async def test_several_daemons(self) -> None:
        """Each daemon's states come in its order, none twice, none left out, however they
        come in between."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        place, seen = "0", []
        for n in range(1, 12):
            date = NOON + n * 500
            await first.journal.append(chain(view(n, date=date)))
            number = second.journal.take_call_id()
            await second.journal.append(chain(view(number, date=date - 7_000)))
            if n % 3 == 0:
                await second.shipped()
            rows, place = await self.read(first, place, limit=5)
            seen += rows
        await second.shipped()
        rows, place = await self.read(first, place)
        seen += rows
        self.assertEqual(11 * 6 * 2, len(seen))
        for daemon in (first, second):
            mine, _ = await self.read(daemon)
            self.assertEqual(
                sorted((row.state.call_id, row.state.seq) for row in mine),
                sorted((row.state.call_id, row.state.seq) for row in seen),
            )
        chains: dict[int, int] = {}
        for row in seen:
            chains[row.state.call_id] = chains.get(row.state.call_id, 0) + 1
            self.assertEqual(chains[row.state.call_id], row.state.seq)

    async def test_a_thousand_who_wait(self) -> None:
        """A thousand readers woken at once are all answered, and none of them asks Postgres."""
        daemon = await self.ready()
        _, place = await daemon.history.states_after("0", 50, ALL)
        asked: list[str] = []
        query = daemon.database.query

        def counted(sql: str, params: object = None) -> object:
            asked.append(sql)
            return query(sql, params)  # type: ignore[arg-type]

        self.patch(daemon.database, "query", counted)
        await daemon.journal.append(chain(view(1)))
        waiting = [begin(daemon.history.states_after(place, 50, ALL)) for _ in range(1000)]
        answers: list[Any] = await gatherResults(waiting)
        self.assertEqual({6}, {len(rows) for rows, _ in answers})
        self.assertEqual([], asked)

    async def test_filters(self) -> None:
        """A filter picks the same states out of the journal and out of Postgres."""
        self.patch(event_feed, "WINDOW", 5)
        daemon = await self.ready()
        calls: list[CallView] = [
            view(1),
            view(2, sip="1001", direction=Direction.INBOUND),
            view(3, phone="381", date=NOON + 60_000),
            view(4, order_id="15"),
        ]
        await daemon.journal.append([fact for call in calls for fact in chain(call)])
        filters = {
            Filter(sip="1001"): [2],
            Filter(phone="381"): [3],
            Filter(order_id="15"): [4],
            Filter(direction=Direction.INBOUND): [2],
            Filter(from_ms=NOON + 60_000): [3],
            Filter(to_ms=NOON + 59_999): [1, 2, 4],
        }
        for _ in range(2):
            for filter, expected in filters.items():
                rows, _ = await self.read(daemon, filter=filter)
                got = sorted({row.state.call_id for row in rows})
                self.assertEqual(expected, got, filter)
                self.assertEqual(6 * len(expected), len(rows), filter)
            await forget(daemon)

    async def test_a_search_that_takes_long(self) -> None:
        """A search that is broken off gives a place to go on from."""
        self.patch(event_feed, "WINDOW", 1)
        self.patch(event_feed, "SEARCH", 0.0)
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1)), *chain(view(2, sip="1001"))])
        await forget(daemon)
        rows, _ = await self.read(daemon, filter=Filter(sip="1001"))
        self.assertEqual(6, len(rows))

    async def test_a_floor_that_rises_meanwhile(self) -> None:
        """If the journal forgets while it is being read, Postgres has it."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        await daemon.shipped()
        await daemon.journal.set_checkpoint("postgres", 6)
        await daemon.journal._sqlite.write(lambda db: journal_writes.prune(db, NOON * 2))
        asked = Deferred.fromCoroutine(self.read(daemon))
        await turn()
        daemon.journal.low_watermark = 6
        rows, _ = await asked
        self.assertEqual(6, len(rows))

    async def test_bad_cursors(self) -> None:
        """A cursor that is none is refused by the parameter's name."""
        daemon = await self.ready()
        for cursor in (
            "",
            "x",
            "1",
            "abcdef",
            "abcdef.",
            "abcdef.0",
            "abcdef.-1",
            "ABCDEF.1",
            "abcdef.1~",
            "abcdef.1~abcdef.2",
            "abcdef.1 ",
            "abcdef.１",
            "~".join(f"{n:06x}.1" for n in range(100)),
        ):
            error = await self.fails(daemon.history.states_after(cursor, 10, ALL), Refused)
            self.assertEqual((Code.BAD_PARAMETER, "after"), (error.code, error.field), cursor)

    async def test_waiting_for_more(self) -> None:
        """A wait ends when a state is told, here or by another daemon, and not for less."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        waiting = first.history.changed()
        given_up = first.history.changed()
        given_up.addErrback(lambda _: None)
        await first.journal.append([change("1000"), recording(1)])
        await turn()
        self.assertNoResult(waiting)
        given_up.cancel()
        await first.journal.append(chain(view(1), (State.CALL, State.ERROR)))
        await waiting
        waiting = first.history.changed()
        await first.shipped()
        await turn()
        number = second.journal.take_call_id()
        await second.journal.append(chain(view(number), (State.CALL, State.ERROR)))
        await waiting

    async def test_giving_up_together(self) -> None:
        """Whoever is woken may have others give up."""
        daemon = await self.ready()
        waits = [daemon.history.changed() for _ in range(3)]

        def give_up(result: object) -> None:
            for other in waits:
                other.cancel()

        for wait in waits:
            wait.addBoth(give_up)
        await daemon.journal.append(chain(view(1)))
        await turn()
        for wait in waits:
            self.successResultOf(wait)
