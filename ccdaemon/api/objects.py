"""The objects of the wire contract: which keys they have, in which order, and what is in them.

The classes are the contract: JSON, XML and the OpenAPI document are made from them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from ccdaemon.calls.model import CallView, Direction, Record, State
from ccdaemon.history.rows import Chain, OperatorRow, StateRow
from ccdaemon.operators import OperatorView, Status

_EPOCH = datetime(1970, 1, 1)


def iso(moment: int) -> str:
    """Spell a moment (ms since 1970) as ISO 8601 in UTC with milliseconds."""
    text = (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds")
    return text + "Z"


def _iso_or_none(moment: int | None) -> str | None:
    return None if moment is None else iso(moment)


class StateObject(msgspec.Struct, frozen=True):
    """One state of a call's chain."""

    event_id: int
    call_id: int
    order_id: str | None
    external_key: str | None
    seq: int
    state: State
    final: bool
    leg: str | None
    sip: str | None
    date: str
    cause: int | None
    detail: str | None


class CallObject(msgspec.Struct, frozen=True):
    """A call as it stands."""

    call_id: int
    order_id: str | None
    external_key: str | None
    direction: Direction
    sip: str | None
    phone: str
    state: State
    final: bool
    date: str
    answered: str | None
    ended: str | None
    ring_seconds: float | None
    talk_seconds: float | None
    hung_up_by: str | None
    cause: int | None
    detail: str | None


class CallWithStates(CallObject, frozen=True):
    """A call with its chain."""

    states: list[StateObject]


class RecordObject(msgspec.Struct, frozen=True):
    """A recording, with what its call says."""

    call_id: int
    order_id: str | None
    external_key: str | None
    sip: str | None
    phone: str
    direction: Direction
    uniqueid: str
    path: str
    url: str
    format: str
    size: int
    duration: float
    add_date: int
    date: str


class CallWithRecords(CallObject, frozen=True):
    """A call with its recordings; ``uniqueid`` and ``path`` are those of the first."""

    uniqueid: str | None
    path: str | None
    records: list[RecordObject]


class OperatorObject(msgspec.Struct, frozen=True):
    """An operator as he stands now."""

    sip: str
    status: Status
    device_state: str
    since: str
    call_id: int | None
    stale: bool


class OperatorChangeObject(msgspec.Struct, frozen=True):
    """One row of the operators' log."""

    event_id: int
    sip: str
    state: Status
    device_state: str | None
    call_id: int | None
    date: str
    detail: str | None


def state_object(row: StateRow) -> StateObject:
    """Make the ``state`` object of a row."""
    told = row.state
    return StateObject(
        event_id=row.event_id,
        call_id=told.call_id,
        order_id=row.order_id,
        external_key=row.external_key,
        seq=told.seq,
        state=told.state,
        final=told.final,
        leg=told.leg,
        sip=told.sip,
        date=iso(told.date),
        cause=told.cause,
        detail=told.detail,
    )


def _call_fields(call: CallView) -> dict[str, object]:
    return {
        "call_id": call.call_id,
        "order_id": call.order_id,
        "external_key": call.external_key,
        "direction": call.direction,
        "sip": call.sip,
        "phone": call.phone,
        "state": call.state,
        "final": call.final,
        "date": iso(call.date),
        "answered": _iso_or_none(call.answered),
        "ended": _iso_or_none(call.ended),
        "ring_seconds": call.ring_seconds,
        "talk_seconds": call.talk_seconds,
        "hung_up_by": call.hung_up_by,
        "cause": call.cause,
        "detail": call.detail,
    }


def call_with_states(chain: Chain) -> CallWithStates:
    """Make the ``call`` object with ``states``."""
    return CallWithStates(
        **_call_fields(chain.call),  # type: ignore[arg-type]
        states=[state_object(row) for row in chain.states],
    )


def by_date(records: Sequence[Record]) -> Sequence[Record]:
    """Put a call's recordings in order; the first is the one its links lead to."""
    return sorted(records, key=lambda record: record.date)


def call_with_records(chain: Chain, base_url: str) -> CallWithRecords:
    """Make the ``call`` object with ``records`` and the first one's ``uniqueid`` and ``path``."""
    records = by_date(chain.records)
    first = records[0] if records else None
    return CallWithRecords(
        **_call_fields(chain.call),  # type: ignore[arg-type]
        uniqueid=first.uniqueid if first else None,
        path=first.path if first else None,
        records=[record_object(record, chain.call, base_url) for record in records],
    )


def record_object(record: Record, call: CallView, base_url: str) -> RecordObject:
    """Make the ``record`` object; ``base_url`` has no slash at its end."""
    return RecordObject(
        call_id=record.call_id,
        order_id=call.order_id,
        external_key=call.external_key,
        sip=call.sip,
        phone=call.phone,
        direction=call.direction,
        uniqueid=record.uniqueid,
        path=record.path,
        url=f"{base_url}/api/record/{record.call_id}.{record.format}",
        format=record.format,
        size=record.size,
        duration=record.duration,
        add_date=record.date // 1000,
        date=iso(record.date),
    )


def operator_object(operator: OperatorView) -> OperatorObject:
    """Make the ``operator`` object."""
    return OperatorObject(
        sip=operator.sip,
        status=operator.status,
        device_state=operator.device_state,
        since=iso(operator.since),
        call_id=operator.call_id,
        stale=operator.stale,
    )


def operator_change_object(row: OperatorRow) -> OperatorChangeObject:
    """Make the ``operator change`` object."""
    change = row.change
    return OperatorChangeObject(
        event_id=row.event_id,
        sip=change.sip,
        state=change.state,
        device_state=change.device_state,
        call_id=change.call_id,
        date=iso(change.date),
        detail=change.detail,
    )
