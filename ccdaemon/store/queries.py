"""What the history asks of Postgres.

Every list is found by the index of its filter. Totals and the beginnings of deep pages come
from the tally that the database keeps; where a filter names one client or one order, there are
few rows, and they are counted. Knows nothing of journals and what is not in Postgres yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccdaemon.store.mapping import (
    ACTION,
    CALL,
    LISTENED,
    LISTS,
    MISSED,
    OPERATORS,
    RECORD,
    RECORDS,
    STATE,
    STATES,
    Paged,
    action_row,
    grouped,
    record_of,
    state_row,
)
from ccdaemon.store.postgres import Database
from ccdaemon.store.records import Chain, EventKind, EventRow, Filter, Page, StateRow

__all__ = ["LISTENED", "MISSED", "OPERATORS", "RECORDS", "STATES", "Queries"]


class Queries:
    """The questions, put to one database.

    Every method raises :class:`~ccdaemon.store.postgres.DatabaseDown` if there is no answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, what: Paged, page: int, per_page: int, filter: Filter) -> Page[Any]:
        """A page of a list, newest first; pages are counted from 1."""
        wanted = _Wanted.of(what, filter)
        skip = (page - 1) * per_page
        total, before, rest = await self._locate(what, wanted, skip)
        if skip >= total:
            return Page([], total)
        if before is not None:
            wanted = wanted.also("r.date < moment(%s)", before)
        rows = await self._database.query(
            f"SELECT {what.columns} FROM (SELECT r.* FROM {what.table} r WHERE {wanted.where}"
            f" ORDER BY r.date DESC, r.event_id DESC OFFSET %s LIMIT %s) r {what.join}"
            " ORDER BY r.date DESC, r.event_id DESC",
            (*wanted.params, rest, per_page),
        )
        return Page([what.row(row) for row in rows], total)

    async def _locate(self, what: Paged, wanted: _Wanted, skip: int) -> tuple[int, int | None, int]:
        """The total of a list, and where to begin: before a moment (ms), after so many rows."""
        if wanted.tallied is None:
            ((total,),) = await self._database.query(
                f"SELECT count(*) FROM {what.table} r WHERE {wanted.where}", wanted.params
            )
            return total, None, skip
        ((total, before, rest),) = await self._database.query(
            "SELECT total, CASE WHEN isfinite(before) THEN ms(before) END, rest FROM"
            " locate(%s, %s, %s, coalesce(moment(%s), '-infinity'),"
            " coalesce(moment(%s), 'infinity'), %s)",
            (*wanted.tallied, skip),
        )
        return total, before, rest

    async def call(self, call_id: int) -> Chain | None:
        """A call's chain as far as it is here."""
        found = await self._chains("c.call_id = %s", call_id)
        return found[0] if found else None

    async def by_key(self, external_key: str) -> Chain | None:
        """The chain of the call that has the key."""
        found = await self._chains("c.external_key = %s", external_key)
        return found[0] if found else None

    async def of_order(self, order_id: str, filter: Filter, most: int) -> list[Chain] | None:
        """The chains of an order's calls, by number; the filter is put to the calls.

        :return: None if there are more than ``most``.
        """
        where, params = _of_order(order_id, filter)
        found = await self._database.query(
            f"SELECT c.call_id FROM call c WHERE {where} LIMIT %s", (*params, most + 1)
        )
        if len(found) > most:
            return None
        return await self._chains("c.call_id = ANY (%s)", [call_id for (call_id,) in found])

    async def call_of_recording(self, uniqueid: str) -> int | None:
        """The call with a recording on this channel; of two Asterisks' the newer one."""
        rows = await self._database.query(
            "SELECT call_id FROM record WHERE uniqueid = %s ORDER BY date DESC LIMIT 1", (uniqueid,)
        )
        return rows[0][0] if rows else None

    async def states_of_order(
        self, order_id: str, filter: Filter, most: int
    ) -> list[StateRow] | None:
        """The states of an order's calls, oldest first; the filter is put to each of them.

        :return: None if there are more than ``most``.
        """
        wanted = _Wanted.of(STATES, filter)
        rows = await self._database.query(
            f"SELECT {STATES.columns} FROM state r {STATES.join} WHERE c.order_id = %s"
            f" AND {wanted.where} ORDER BY r.date, r.event_id LIMIT %s",
            (order_id, *wanted.params, most + 1),
        )
        return None if len(rows) > most else [state_row(row) for row in rows]

    async def _chains(self, where: str, value: object) -> list[Chain]:
        # Calls and states in one statement, so that they are of one moment.
        rows = await self._database.query(
            f"SELECT {CALL}, {STATE} FROM call c LEFT JOIN state r USING (call_id)"
            f" WHERE {where} ORDER BY c.call_id, r.seq",
            (value,),
        )
        recorded = await self._database.query(
            f"SELECT {RECORD} FROM record r JOIN call c USING (call_id) WHERE {where}"
            " ORDER BY r.date, r.event_id",
            (value,),
        )
        done = await self._database.query(
            f"SELECT {ACTION} FROM action r JOIN call c USING (call_id) WHERE {where}"
            " ORDER BY r.event_id",
            (value,),
        )
        actions = [action_row(row) for row in done]
        return grouped(rows, [record_of(row) for row in recorded], actions)

    async def last_operator(self, phone: str) -> str | None:
        """The operator who last talked with a phone."""
        rows = await self._database.query(
            "SELECT r.sip FROM state r WHERE r.phone = %s AND r.state = 'FINISH' AND"
            " r.sip IS NOT NULL ORDER BY r.date DESC, r.event_id DESC LIMIT 1",
            (phone,),
        )
        return rows[0][0] if rows else None

    async def nodes(self) -> dict[str, int]:
        """Up to which event the database has what each node had."""
        return dict(await self._database.query("SELECT node, last_event_id FROM node"))

    async def after(
        self,
        node: str,
        checkpoint: int,
        upto: int,
        limit: int,
        filter: Filter,
        kinds: frozenset[EventKind],
    ) -> list[EventRow]:
        """What a node told after a position and up to another, oldest first."""
        found: list[EventRow] = []
        for what in (LISTS[kind] for kind in filter.kinds(kinds)):
            wanted = _Wanted.of(what, filter)
            rows = await self._database.query(
                f"SELECT {what.columns} FROM {what.table} r {what.join} WHERE r.node = %s AND"
                f" r.event_id > %s AND r.event_id <= %s AND {wanted.where}"
                " ORDER BY r.event_id LIMIT %s",
                (node, checkpoint, upto, *wanted.params, limit),
            )
            found += [what.row(row) for row in rows]
        return sorted(found, key=lambda row: row.event_id)[:limit]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A filter as SQL; ``tallied`` has what the tally knows of it, None if it does not."""

    where: str
    params: tuple[object, ...]
    tallied: tuple[str, str, str, int | None, int | None] | None

    @classmethod
    def of(cls, what: Paged, filter: Filter) -> _Wanted:
        past = None if filter.to_ms is None else filter.to_ms + 1
        direction = what.direction(filter)
        conditions: list[tuple[str, object]] = [
            ("r.date >= moment(%s)", filter.from_ms),
            ("r.date < moment(%s)", past),
            ("r.sip = %s", filter.sip),
            ("r.direction = %s", direction),
            ("r.call_id = %s", filter.call_id),
        ]
        of_calls: list[tuple[str, object]] = [
            ("r.phone = %s", filter.phone),
            ("r.did = %s", filter.did),
            ("r.call_id IN (SELECT call_id FROM call WHERE order_id = %s)", filter.order_id),
            ("r.call_id IN (SELECT call_id FROM call WHERE result = %s)", filter.result),
        ]
        narrow = what.has_call and any(value is not None for _, value in of_calls)
        if narrow:
            conditions += of_calls
        given = [(sql, value) for sql, value in conditions if value is not None]
        of_did = what.of_did if filter.did is not None and filter.sip is None else None
        # Whose rows the tally has, where nothing else narrows them.
        others = of_calls[:1] + of_calls[2:] if of_did else of_calls
        narrow = narrow and any(value is not None for _, value in others)
        whose = filter.did if of_did else filter.sip
        tallied = (of_did or what.table, whose or "", direction or "", filter.from_ms, past)
        return cls(
            " AND ".join([what.only or "true", *(sql for sql, _ in given)]),
            tuple(value for _, value in given),
            None if narrow or what.only or filter.call_id is not None else tallied,
        )

    def also(self, sql: str, value: object) -> _Wanted:
        """The same with one more condition."""
        return _Wanted(f"{self.where} AND {sql}", (*self.params, value), self.tallied)


def _of_order(order_id: str, filter: Filter) -> tuple[str, tuple[object, ...]]:
    """Which calls of an order are wanted: begun in time, with some leg of the operator."""
    past = None if filter.to_ms is None else filter.to_ms + 1
    direction = filter.direction.value if filter.direction else None
    whose = (
        "(c.sip = %s OR EXISTS (SELECT FROM state s WHERE s.call_id = c.call_id AND s.sip = %s))"
    )
    conditions: list[tuple[str, tuple[object, ...]]] = [
        ("c.order_id = %s", (order_id,)),
        ("c.date >= moment(%s)", (filter.from_ms,)),
        ("c.date < moment(%s)", (past,)),
        (whose, (filter.sip, filter.sip)),
        ("c.phone = %s", (filter.phone,)),
        ("c.direction = %s", (direction,)),
        ("c.result = %s", (filter.result,)),
    ]
    given = [(sql, values) for sql, values in conditions if values[0] is not None]
    where = " AND ".join(sql for sql, _ in given)
    return where, tuple(value for _, values in given for value in values)
