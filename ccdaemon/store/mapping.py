"""The history's tables as rows: what is read of each, and what is made of it.

Knows SQL's columns, no questions and no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ccdaemon.calls.model import (
    Action,
    CallView,
    Direction,
    LegView,
    Record,
    State,
    StateChange,
)
from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.pg_link import Rows
from ccdaemon.store.records import (
    ActionRow,
    CalledBack,
    Chain,
    Claim,
    Closed,
    ClosedHow,
    EventKind,
    Filter,
    MissedRow,
    OperatorRow,
    RecordRow,
    StateRow,
)

CALL = """c.call_id, c.order_id, c.external_key, c.direction, c.sip, c.phone, c.state, c.final,
    ms(c.date), ms(c.answered), ms(c.ended), c.ring_seconds, c.wait_seconds, c.talk_seconds,
    c.hung_up_by, c.cause, c.detail, c.did, c.caller_name, c.note, c.anchor, c.legs, c.made_by,
    c.made_from"""
CALL_WIDTH = 24
STATE = """r.event_id, r.call_id, r.seq, r.state, r.final, r.leg, r.sip, ms(r.date), r.cause,
    r.detail"""
RECORD = "r.call_id, r.uniqueid, r.path, r.format, r.size, r.duration, ms(r.date), r.pauses"
_CHANGE = """r.event_id, r.sip, r.state, r.device_state, r.call_id, ms(r.date), r.detail,
    r.paused, r.pause_reason"""
ACTION = """r.event_id, r.call_id, ms(r.date), r.action, r.by, r.sip, r.phone, r.order_id,
    r.result, r.note, r.detail"""
_KEY = "c.order_id, c.external_key, c.note"
_AGAIN = "r.direction = 'called_again'"
# Up to the call that closed it, if one has.
_ATTEMPTS = f"""(SELECT count(*) FROM call o WHERE o.direction = 'outbound' AND o.phone = r.phone
    AND o.date > r.date
    AND o.date <= coalesce(
        CASE WHEN {_AGAIN} THEN r.again_date ELSE r.back_date END, 'infinity'
    ))"""
_CLOSED = f"""CASE WHEN {_AGAIN} THEN r.called_again ELSE r.called_back END,
    ms(CASE WHEN {_AGAIN} THEN r.again_date ELSE r.back_date END),
    CASE WHEN {_AGAIN} THEN r.again_sip ELSE r.back_sip END, r.direction"""


def call_of(row: Sequence[Any]) -> CallView:
    call_id, order_id, key, direction, sip, phone, state, *rest, legs, made_by, made_from = row
    # What the dialplan said, and what is being recorded, is of no use to the past.
    rest += [msgspec.convert(legs or (), tuple[LegView, ...]), None, (), made_by, made_from]
    return CallView(call_id, order_id, key, Direction(direction), sip, phone, State(state), *rest)


def state_row(row: Sequence[Any]) -> StateRow:
    event_id, call_id, seq, state, *rest, order_id, key, note = row
    return StateRow(event_id, StateChange(call_id, seq, State(state), *rest), order_id, key, note)


def record_of(row: Sequence[Any]) -> Record:
    *rest, pauses = row
    rest.append(msgspec.convert(pauses or (), tuple[tuple[float, float], ...]))
    return Record(*rest)


def _record_row(row: Sequence[Any]) -> RecordRow:
    return RecordRow(row[0], record_of(row[1:9]), call_of(row[9:]))


def _operator_row(row: Sequence[Any]) -> OperatorRow:
    event_id, sip, state, *rest = row
    return OperatorRow(event_id, OperatorChange(sip, Status(state), *rest))


def _missed_row(row: Sequence[Any]) -> MissedRow:
    of_call, rest = row[:CALL_WIDTH], row[CALL_WIDTH:]
    back, (by, date, sip, how), claim, attempts = rest[:3], rest[3:7], rest[7:11], rest[11]
    return MissedRow(
        call_of(of_call),
        attempts,
        None if back[0] is None else CalledBack(*back),
        None if by is None else Closed(by, date, sip, ClosedHow(how)),
        None if claim[0] is None else Claim(*claim),
    )


def action_row(row: Sequence[Any]) -> ActionRow:
    event_id, *rest = row
    return ActionRow(event_id, Action(*rest))


def _direction(filter: Filter) -> str | None:
    return filter.direction.value if filter.direction else None


def _open(filter: Filter) -> str | None:
    return "open" if filter.open else None


@dataclass(frozen=True, slots=True)
class Paged:
    """A list that can be paged: its table, what is read of it, and the rows it makes.

    ``direction`` says what is wanted of the column of that name, by which the tally counts too.
    ``of_did`` is the tally's list of the rows of one of our numbers, where there is one.
    ``only`` is what the list has of its table, where that is not all; the tally does not know it.
    """

    table: str
    columns: str
    join: str
    row: Callable[[Sequence[Any]], Any]
    has_call: bool = True
    direction: Callable[[Filter], str | None] = _direction
    only: str | None = None
    of_did: str | None = None


_OF_CALL = "JOIN call c USING (call_id)"
STATES = Paged("state", f"{STATE}, {_KEY}", _OF_CALL, state_row)
RECORDS = Paged("record", f"r.event_id, {RECORD}, {CALL}", _OF_CALL, _record_row)
MISSED = Paged(
    "missed",
    f"{CALL}, r.called_back, ms(r.back_date), r.back_sip, {_CLOSED}, k.sip, k.by, ms(k.since),"
    f" ms(k.until), {_ATTEMPTS}",
    f"{_OF_CALL} LEFT JOIN claim k ON r.direction = 'open' AND k.until > now()"
    " AND k.client = client_of(r.phone, r.call_id)",
    _missed_row,
    direction=_open,
    of_did="missed_of_did",
)
OPERATORS = Paged(
    "operator_change", _CHANGE, "", _operator_row, has_call=False, direction=lambda _: None
)
LISTENED = Paged(
    "action",
    ACTION,
    "",
    action_row,
    has_call=False,
    direction=lambda _: None,
    only="r.action IN ('listen', 'whisper', 'barge', 'playRecord')",
)
LISTS = {EventKind.STATE: STATES, EventKind.RECORD: RECORDS, EventKind.OPERATOR: OPERATORS}


def grouped(rows: Rows, records: Sequence[Record], actions: Sequence[ActionRow]) -> list[Chain]:
    """Chains from rows of a call and a state each, which come by call and in order."""
    calls: dict[int, tuple[CallView, list[StateRow], list[Record], list[ActionRow]]] = {}
    for row in rows:
        parts = calls.get(row[0])
        if parts is None:
            parts = calls[row[0]] = (call_of(row[:CALL_WIDTH]), [], [], [])
        call = parts[0]
        if row[CALL_WIDTH] is not None:
            of_call = (call.order_id, call.external_key, call.note)
            parts[1].append(state_row((*row[CALL_WIDTH:], *of_call)))
    for record in records:
        if record.call_id in calls:
            calls[record.call_id][2].append(record)
    for done in actions:
        if done.action.call_id in calls:
            calls[done.action.call_id][3].append(done)
    return [Chain(*parts) for parts in calls.values()]
