"""Pages of the lists: the same rows as by sorting and cutting, whatever the filter."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Action, CallView, Direction, State
from ccdaemon.store.facts import Fact, StateFact
from ccdaemon.store.mapping import grouped
from ccdaemon.store.queries import MISSED, OPERATORS, RECORDS, STATES
from ccdaemon.store.records import (
    ActionRow,
    CalledBack,
    Closed,
    ClosedHow,
    Filter,
    OperatorRow,
    Page,
    RecordRow,
    StateRow,
)
from tests.store.history_parts import ALL, Daemon, HistoryCase
from tests.store.parts import NOON, chain, change, recording, view

HOUR = 3_600_000
DAY = 24 * HOUR


def some_calls(count: int, seed: int) -> list[StateFact]:
    """Calls over a few days, many of them at the very edges of hours and days."""
    dice = random.Random(seed)
    midnight = NOON // DAY * DAY
    facts = []
    for call_id in range(1, count + 1):
        edge = midnight + dice.randrange(-2, 3) * DAY + dice.choice([0, 0, 1, 2, 23]) * HOUR
        date = edge + dice.choice([-1, 0, 1, dice.randrange(HOUR)])
        call = view(
            call_id,
            date=date,
            sip=dice.choice(["1000", "1001", None]),
            phone=dice.choice(["380", "381"]),
            order_id=dice.choice(["a", "b", None]),
            direction=dice.choice(list(Direction)),
        )
        facts += chain(
            call, (State.CALL, State.OPERATOR_CALLTO, State.FINISH)[: dice.randint(1, 3)]
        )
    return facts


def inbound_and_back(count: int, seed: int) -> list[CallView]:
    """Calls one after the other: clients who call in, and operators who call clients."""
    dice = random.Random(seed)
    date, calls = NOON, []
    for call_id in range(1, count + 1):
        date += dice.choice([1, 1000, HOUR])
        direction = dice.choice(list(Direction))
        call = view(
            call_id,
            date=date,
            sip=dice.choice(["1000", "1001", None]),
            phone=dice.choice(["380", "381", "382", *(str(n) for n in range(400, 440))]),
            order_id=dice.choice(["a", "b", None]),
            direction=direction,
            answered=dice.choice([None, date + 1]),
            did=dice.choice(["380441", "380442"]) if direction is Direction.INBOUND else None,
        )
        calls.append(call)
    return calls


def _talked(call: CallView, missed: CallView) -> bool:
    """Whether somebody talked in a call after another had been missed."""
    return call.answered is not None and call.answered > missed.date


def filters(dice: random.Random) -> Filter:
    """Any filter, with edges where the rows' are."""
    midnight = NOON // DAY * DAY

    def moment() -> int | None:
        edge = midnight + dice.randrange(-3, 4) * DAY + dice.choice([0, 0, 1, 23]) * HOUR
        return dice.choice([None, edge + dice.choice([-1, 0, 1, dice.randrange(HOUR)])])

    return Filter(
        from_ms=moment(),
        to_ms=moment(),
        sip=dice.choice([None, None, "1000", "1001", "9"]),
        phone=dice.choice([None, None, None, "380"]),
        order_id=dice.choice([None, None, None, "a"]),
        direction=dice.choice([None, None, *Direction]),
    )


class PageTests(HistoryCase):
    """Pages against a plain sort."""

    async def compare(
        self,
        ask: Callable[..., Any],
        rows: Sequence[tuple[Any, int, int, Any, Any]],
        seed: int,
    ) -> None:
        """Ask for many pages; rows are (row, date, event id, sip, call)."""
        dice = random.Random(seed)
        ordered = sorted(rows, key=lambda row: (row[1], row[2]), reverse=True)
        for _ in range(150):
            wanted = filters(dice)
            fitting = [row for row in ordered if fits(wanted, row)]
            per_page = dice.choice([1, 2, 7, 50])
            pages = max(1, -(-len(fitting) // per_page))
            page = dice.choice([1, 2, pages, pages + 1, dice.randint(1, pages)])
            got = await ask(page, per_page, wanted)
            expected = [row[0] for row in fitting[(page - 1) * per_page : page * per_page]]
            context = f"{wanted} page {page} of {per_page}"
            self.assertEqual(len(fitting), got.total, context)
            self.assertEqual(expected, list(got.rows), context)

    async def test_states(self) -> None:
        """Any page of states by any filter is what sorting and cutting gives."""
        daemon = await self.ready()
        facts = some_calls(120, seed=1)
        ids = await daemon.journal.append(facts)
        calls = {fact.call.call_id: fact.call for fact in facts}
        rows = [
            (
                StateRow(id_, fact.state, fact.call.order_id, fact.call.external_key),
                fact.state.date,
                id_,
                fact.state.sip,
                calls[fact.call.call_id],
            )
            for id_, fact in zip(ids, facts, strict=True)
        ]
        await self.compare(daemon.history.states_page, rows, seed=2)

    async def test_records(self) -> None:
        """Any page of recordings by any filter is what sorting and cutting gives."""
        daemon = await self.ready()
        dice = random.Random(3)
        facts: list[Fact] = list(some_calls(80, seed=4))
        calls = {fact.call.call_id: fact.call for fact in facts if isinstance(fact, StateFact)}
        made = [recording(n, calls[n].date + dice.randrange(DAY)) for n in calls]
        await daemon.journal.append(facts)
        ids = await daemon.journal.append(made)
        rows = [
            (
                RecordRow(id_, fact.record, calls[fact.record.call_id]),
                fact.record.date,
                id_,
                calls[fact.record.call_id].sip,
                calls[fact.record.call_id],
            )
            for id_, fact in zip(ids, made, strict=True)
        ]
        await self.compare(daemon.history.records_page, rows, seed=5)

    async def test_operators(self) -> None:
        """Any page of the operators' log; what it has not cannot filter it."""
        daemon = await self.ready()
        dice = random.Random(6)
        midnight = NOON // DAY * DAY
        facts = [
            change(
                dice.choice(["1000", "1001", "1002"]),
                date=midnight + dice.randrange(-3, 3) * DAY + dice.choice([-1, 0, 1, HOUR, 5]),
            )
            for _ in range(200)
        ]
        ids = await daemon.journal.append(facts)
        rows = [
            (OperatorRow(id_, fact.change), fact.change.date, id_, fact.change.sip, None)
            for id_, fact in zip(ids, facts, strict=True)
        ]
        await self.compare(daemon.history.operator_page, rows, seed=7)

    async def test_missed(self) -> None:
        """Any page of missed calls, also of those not called back, is what plain sorting gives."""
        daemon = await self.ready()
        calls = inbound_and_back(200, seed=11)
        facts = [fact for call in calls for fact in chain(call, (State.CALL, State.FINISH))]
        ids = await daemon.journal.append(facts)
        last = {fact.call.call_id: id_ for id_, fact in zip(ids, facts, strict=True)}
        rows, told = [], {}
        for call in calls:
            if call.direction is Direction.OUTBOUND or call.answered is not None:
                continue
            later = [
                one
                for one in calls
                if one.direction is Direction.OUTBOUND
                and one.phone == call.phone
                and one.date > call.date
            ]
            back = next((one for one in later if one.answered), None)
            reached = CalledBack(back.call_id, back.date, back.sip) if back else None
            closed = next(
                (one for one in calls if one.phone == call.phone and _talked(one, call)), None
            )
            closing = None
            if closed is not None:
                how = ClosedHow.CALLED_AGAIN
                if closed.direction is Direction.OUTBOUND:
                    how = ClosedHow.CALLED_BACK
                closing = Closed(closed.call_id, closed.date, closed.sip, how)
            tries = sum(1 for one in later if closed is None or one.date <= closed.date)
            told[call.call_id] = (tries, reached, closing)
            rows.append((call.call_id, call.date, last[call.call_id], call.sip, call))

        async def ask(page: int, per_page: int, filter: Filter) -> Page[int]:
            # Every missed call is inbound; what is asked for in its place is open.
            if filter.direction is Direction.OUTBOUND:
                return Page([], 0)
            got = await daemon.history.missed_page(page, per_page, filter)
            for row in got.rows:
                self.assertEqual(
                    told[row.call.call_id], (row.attempts, row.called_back, row.closed)
                )
            return Page([row.call.call_id for row in got.rows], got.total)

        async def ask_open(page: int, per_page: int, filter: Filter) -> Page[int]:
            return await ask(page, per_page, replace(filter, open=True, did="380441"))

        async def ask_did(page: int, per_page: int, filter: Filter) -> Page[int]:
            return await ask(page, per_page, replace(filter, did="380442"))

        await self.compare(ask, rows, seed=12)
        of_did = [row for row in rows if row[4].did == "380442"]
        self.assertTrue(0 < len(of_did) < len(rows))
        await self.compare(ask_did, of_did, seed=14)
        still_open = [row for row in rows if told[row[0]][2] is None and row[4].did == "380441"]
        self.assertTrue(0 < len(still_open) < len(rows))
        await self.compare(ask_open, still_open, seed=13)

    async def test_missed_calls_of_one_of_our_numbers(self) -> None:
        """A page of them reads as much of Postgres however many the number has missed."""
        daemon = await self.ready()
        add = (
            "INSERT INTO missed SELECT n, n, moment(%s) + n * interval '1 minute', '1000',"
            " CASE WHEN n %% 50 = 0 THEN 'open' ELSE 'called_back' END, '380', '380441'"
            " FROM generate_series(%s, %s) n; ANALYZE missed"
        )
        read: list[list[int]] = []
        for first, last in ((1, 2_000), (2_001, 60_000)):
            self.sql(add, NOON, first, last)
            read.append(
                [
                    await self.blocks(daemon, page, Filter(did="380441", open=is_open))
                    for page in (1, 20)
                    for is_open in (False, True)
                ]
            )
        for few, many in zip(*read, strict=True):
            self.assertLess(many, 2 * few + 20, read)

    async def blocks(self, daemon: Daemon, page: int, filter: Filter) -> int:
        """How many blocks Postgres reads for a page of missed calls."""
        asked: list[tuple[str, Any]] = []
        query = daemon.database.query

        async def noted(sql: str, params: Any = None) -> Any:
            asked.append((sql, params))
            return await query(sql, params)

        self.patch(daemon.database, "query", noted)
        await daemon.history._queries.page(MISSED, page, 50, filter)
        self.patch(daemon.database, "query", query)
        count = 0
        for sql, params in asked:
            (((told,),),) = await query(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", params)
            count += told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"]
        return count

    async def test_the_tally_follows_deletions(self) -> None:
        """Rows that are removed are no longer counted, and pages stay right."""
        daemon = await self.ready()
        facts = some_calls(60, seed=8)
        await daemon.journal.append(facts)
        await daemon.shipped()
        self.sql("DELETE FROM state WHERE call_id % 3 = 0")
        kept = [fact for fact in facts if fact.call.call_id % 3]
        page = await daemon.history.states_page(2, 10, ALL)
        self.assertEqual((len(kept), 10), (page.total, len(page.rows)))
        self.sql("DELETE FROM state; DELETE FROM missed; DELETE FROM call")
        self.assertNotEqual([], self.sql("SELECT * FROM tally"))
        self.assertEqual([], self.sql("SELECT * FROM tally WHERE n <> 0"))

    async def test_an_empty_history(self) -> None:
        """Lists of nothing are empty, on every page."""
        daemon = await self.ready()
        for what in (STATES, RECORDS, OPERATORS, MISSED):
            for page in (1, 2000):
                got = await daemon.history._queries.page(what, page, 50, ALL)
                self.assertEqual(([], 0), (got.rows, got.total))


class GroupingTests(SynchronousTestCase):
    """Chains from rows."""

    CALL = (1, None, "k", "outbound", "1000", "380", "CALL", False, NOON, *[None] * 13)
    NO_STATE = (None,) * 10

    def test_a_call_whose_states_were_refused(self) -> None:
        """A call without a single state is still a chain."""
        (found,) = grouped([(*self.CALL, *self.NO_STATE)], [], [])
        self.assertEqual((1, []), (found.call.call_id, found.states))

    def test_a_recording_of_a_call_that_came_meanwhile(self) -> None:
        """A recording whose call was not there yet when calls were asked for is left out."""
        done = Action(1, NOON, "hold", "crm")
        self.assertEqual([], grouped([], [recording(1).record], [ActionRow(1, done)]))


def fits(wanted: Filter, row: tuple[Any, int, int, Any, Any]) -> bool:
    """Whether a row is wanted."""
    _, date, _, sip, call = row
    mine = (
        (wanted.from_ms is None or date >= wanted.from_ms)
        and (wanted.to_ms is None or date <= wanted.to_ms)
        and wanted.sip in (None, sip)
    )
    if call is None:
        return mine
    return (
        mine
        and wanted.phone in (None, call.phone)
        and wanted.order_id in (None, call.order_id)
        and wanted.direction in (None, call.direction)
    )
