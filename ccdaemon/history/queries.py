"""What the history asks of Postgres, and the rows it makes of the answers.

Every list is found by the index of its filter. Totals and the beginnings of deep pages come
from the tally that the database keeps; where a filter names one client or one order, there are
few rows, and they are counted. Knows nothing of journals and what is not in Postgres yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ccdaemon.calls.model import CallView, Direction, Record, State, StateTold
from ccdaemon.history.pg_link import Rows
from ccdaemon.history.postgres import Database
from ccdaemon.history.rows import Chain, Filter, OperatorRow, Page, RecordRow, StateRow
from ccdaemon.operators import OperatorChange, Status

_CALL = """c.call_id, c.order_id, c.external_key, c.direction, c.sip, c.phone, c.state, c.final,
    ms(c.date), ms(c.answered), ms(c.ended), c.ring_seconds, c.wait_seconds, c.talk_seconds,
    c.hung_up_by, c.cause, c.detail"""
_STATE = """r.event_id, r.call_id, r.seq, r.state, r.final, r.leg, r.sip, ms(r.date), r.cause,
    r.detail"""
_RECORD = "r.call_id, r.uniqueid, r.path, r.format, r.size, r.duration, ms(r.date)"
_CHANGE = "r.event_id, r.sip, r.state, r.device_state, r.call_id, ms(r.date), r.detail"
_KEY = "c.order_id, c.external_key"


def _call(row: Sequence[Any]) -> CallView:
    call_id, order_id, key, direction, sip, phone, state, *rest = row
    return CallView(call_id, order_id, key, Direction(direction), sip, phone, State(state), *rest)


def _state_row(row: Sequence[Any]) -> StateRow:
    event_id, call_id, seq, state, *rest, order_id, key = row
    return StateRow(event_id, StateTold(call_id, seq, State(state), *rest), order_id, key)


def _record_row(row: Sequence[Any]) -> RecordRow:
    return RecordRow(Record(*row[:7]), _call(row[7:]))


def _operator_row(row: Sequence[Any]) -> OperatorRow:
    event_id, sip, state, *rest = row
    return OperatorRow(event_id, OperatorChange(sip, Status(state), *rest))


@dataclass(frozen=True, slots=True)
class _List:
    """A list that can be paged: its table, what is read of it, and the rows it makes."""

    table: str
    columns: str
    join: str
    row: Callable[[Sequence[Any]], Any]
    has_call: bool = True


STATES = _List("state", f"{_STATE}, {_KEY}", "JOIN call c USING (call_id)", _state_row)
RECORDS = _List("record", f"{_RECORD}, {_CALL}", "JOIN call c USING (call_id)", _record_row)
OPERATORS = _List("operator_change", _CHANGE, "", _operator_row, has_call=False)


class Queries:
    """The questions, put to one database.

    Every method raises :class:`~ccdaemon.history.postgres.DatabaseDown` if there is no answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, what: _List, page: int, per_page: int, filter: Filter) -> Page[Any]:
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

    async def _locate(self, what: _List, wanted: _Wanted, skip: int) -> tuple[int, int | None, int]:
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
            (what.table, *wanted.tallied, skip),
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

    async def of_order(self, order_id: str) -> list[Chain]:
        """The chains of an order's calls, by number."""
        return await self._chains("c.order_id = %s", order_id)

    async def _chains(self, where: str, value: object) -> list[Chain]:
        # Calls and states in one statement, so that they are of one moment.
        rows = await self._database.query(
            f"SELECT {_CALL}, {_STATE} FROM call c LEFT JOIN state r USING (call_id)"
            f" WHERE {where} ORDER BY c.call_id, r.seq",
            (value,),
        )
        recorded = await self._database.query(
            f"SELECT {_RECORD} FROM record r JOIN call c USING (call_id) WHERE {where}"
            " ORDER BY r.date, r.event_id",
            (value,),
        )
        return _grouped(rows, [Record(*row) for row in recorded])

    async def nodes(self) -> dict[str, int]:
        """Up to which event the database has what each node had."""
        return dict(await self._database.query("SELECT node, last_event_id FROM node"))

    async def after(
        self, node: str, position: int, upto: int, limit: int, filter: Filter
    ) -> list[StateRow]:
        """States of a node after a position and up to another, oldest first."""
        wanted = _Wanted.of(STATES, filter)
        rows = await self._database.query(
            f"SELECT {STATES.columns} FROM state r {STATES.join} WHERE r.node = %s AND"
            f" r.event_id > %s AND r.event_id <= %s AND {wanted.where}"
            " ORDER BY r.event_id LIMIT %s",
            (node, position, upto, *wanted.params, limit),
        )
        return [_state_row(row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A filter as SQL; ``tallied`` has what the tally knows of it, None if it does not."""

    where: str
    params: tuple[object, ...]
    tallied: tuple[str, str, int | None, int | None] | None

    @classmethod
    def of(cls, what: _List, filter: Filter) -> _Wanted:
        past = None if filter.to_ms is None else filter.to_ms + 1
        direction = filter.direction.value if filter.direction and what.has_call else None
        conditions: list[tuple[str, object]] = [
            ("r.date >= moment(%s)", filter.from_ms),
            ("r.date < moment(%s)", past),
            ("r.sip = %s", filter.sip),
            ("r.direction = %s", direction),
        ]
        narrow = what.has_call and (filter.phone is not None or filter.order_id is not None)
        if narrow:
            conditions += [
                ("r.phone = %s", filter.phone),
                ("r.call_id IN (SELECT call_id FROM call WHERE order_id = %s)", filter.order_id),
            ]
        given = [(sql, value) for sql, value in conditions if value is not None]
        tallied = (filter.sip or "", direction or "", filter.from_ms, past)
        return cls(
            " AND ".join(["true", *(sql for sql, _ in given)]),
            tuple(value for _, value in given),
            None if narrow else tallied,
        )

    def also(self, sql: str, value: object) -> _Wanted:
        """The same with one more condition."""
        return _Wanted(f"{self.where} AND {sql}", (*self.params, value), self.tallied)


def _grouped(rows: Rows, records: Sequence[Record]) -> list[Chain]:
    """Chains from rows of a call and a state each, which come by call and in order."""
    calls: dict[int, tuple[CallView, list[StateRow], list[Record]]] = {}
    for row in rows:
        call = _call(row[:17])
        _, states, _ = calls.setdefault(call.call_id, (call, [], []))
        if row[17] is not None:
            states.append(_state_row((*row[17:], call.order_id, call.external_key)))
    for record in records:
        if record.call_id in calls:
            calls[record.call_id][2].append(record)
    return [Chain(*parts) for parts in calls.values()]
