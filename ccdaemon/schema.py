"""The objects of the wire contract: which keys they have, in which order, and what is in them.

The classes are the contract: JSON, XML and the OpenAPI document are made from them. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from ccdaemon.calls.model import CallView, Direction, LegView, Record, Role, State
from ccdaemon.operators import OperatorView, Status
from ccdaemon.store.facts import SET_RESULT
from ccdaemon.store.records import ActionRow, Chain, ClosedHow, MissedRow, OperatorRow, StateRow

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
    note: str | None


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
    did: str | None
    caller_name: str | None
    note: str | None
    phone_sent: str | None


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
    note: str | None
    pauses: list[list[float]]


class CallWithRecords(CallObject, frozen=True):
    """A call with its recordings; ``uniqueid`` and ``path`` are those of the first."""

    uniqueid: str | None
    path: str | None
    records: list[RecordObject]


class LegObject(msgspec.Struct, frozen=True):
    """One phone of a call."""

    name: str
    sip: str | None
    phone: str | None
    called: str | None
    answered: str | None
    ended: str | None
    talk_seconds: float | None
    cause: int | None
    detail: str | None


class ActionObject(msgspec.Struct, frozen=True):
    """What somebody did to a call; ``by`` is the API client."""

    event_id: int
    call_id: int
    date: str
    action: str
    by: str
    sip: str | None
    phone: str | None
    order_id: str | None
    result: str | None
    note: str | None
    detail: str | None


class KnownCall(CallObject, frozen=True):
    """All that is known of a call; ``made_by`` is the API client, ``made_from`` its address."""

    wait_seconds: float | None
    result: str | None
    result_note: str | None
    made_by: str | None
    made_from: str | None
    legs: list[LegObject]
    states: list[StateObject]
    records: list[RecordObject]
    actions: list[ActionObject]


class Forgotten(msgspec.Struct, frozen=True):
    """How much was removed of an order, or of a phone."""

    calls: int
    recordings: int


class CalledBackObject(msgspec.Struct, frozen=True):
    """By which call a client was reached who had been missed."""

    call_id: int
    date: str
    sip: str | None


class ClosedByObject(msgspec.Struct, frozen=True):
    """The first call in which the client was talked with who had been missed."""

    call_id: int
    date: str
    sip: str | None
    how: ClosedHow


class ClaimObject(msgspec.Struct, frozen=True):
    """Which operator has a missed call, and until when; ``by`` is the API client."""

    sip: str
    since: str
    until: str
    by: str


class MissedCall(CallObject, frozen=True):
    """An inbound call that nobody took; ``attempts`` counts the calls to that phone since."""

    attempts: int
    called_back: CalledBackObject | None
    closed_by: ClosedByObject | None
    claimed_by: ClaimObject | None


class OperatorObject(msgspec.Struct, frozen=True):
    """An operator as they stand now."""

    sip: str
    status: Status
    device_state: str
    since: str
    call_id: int | None
    stale: bool
    paused: bool
    pause_reason: str | None


class OperatorChangeObject(msgspec.Struct, frozen=True):
    """One row of the operators' log."""

    event_id: int
    sip: str
    state: Status
    device_state: str | None
    call_id: int | None
    date: str
    detail: str | None
    paused: bool
    pause_reason: str | None


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
        note=row.note,
    )


def _phone_sent(call: CallView) -> str | None:
    """How the client's number was written, where that was otherwise."""
    return next((leg.sent for leg in call.legs if leg.name == Role.CLIENT.value), None)


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
        "did": call.did,
        "caller_name": call.caller_name,
        "note": call.note,
        "phone_sent": _phone_sent(call),
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


def _address(record: Record, call: CallView) -> str | int:
    """What a recording is asked for by: its call, but where that has several."""
    own = call.anchor is not None and record.uniqueid != call.anchor
    return record.uniqueid if own else record.call_id


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
        url=f"{base_url}/api/record/{_address(record, call)}.{record.format}",
        format=record.format,
        size=record.size,
        duration=record.duration,
        add_date=record.date // 1000,
        date=iso(record.date),
        note=call.note,
        pauses=[list(pause) for pause in record.pauses],
    )


def known_call(chain: Chain, base_url: str) -> KnownCall:
    """Make the object that holds everything known of a call."""
    call = chain.call
    results = [row.action for row in chain.actions if row.action.action == SET_RESULT]
    last = results[-1] if results else None
    return KnownCall(
        **_call_fields(call),  # type: ignore[arg-type]
        wait_seconds=call.wait_seconds,
        result=last.result if last else None,
        result_note=last.note if last else None,
        made_by=call.made_by,
        made_from=call.made_from,
        legs=[_leg_object(leg) for leg in call.legs],
        states=[state_object(row) for row in chain.states],
        records=[record_object(record, call, base_url) for record in by_date(chain.records)],
        actions=[action_object(row) for row in chain.actions],
    )


def _leg_object(leg: LegView) -> LegObject:
    return LegObject(
        name=leg.name,
        sip=leg.sip,
        phone=leg.phone,
        called=_iso_or_none(leg.called),
        answered=_iso_or_none(leg.answered),
        ended=_iso_or_none(leg.ended),
        talk_seconds=leg.talk_seconds,
        cause=leg.cause,
        detail=leg.detail,
    )


def action_object(row: ActionRow) -> ActionObject:
    """Make the ``action`` object."""
    done = row.action
    return ActionObject(
        event_id=row.event_id,
        call_id=done.call_id,
        date=iso(done.date),
        action=done.action,
        by=done.by,
        sip=done.sip,
        phone=done.phone,
        order_id=done.order_id,
        result=done.result,
        note=done.note,
        detail=done.detail,
    )


def missed_call(row: MissedRow) -> MissedCall:
    """Make the ``call`` object of a missed call."""
    back, closed, claim = row.called_back, row.closed, row.claim
    return MissedCall(
        **_call_fields(row.call),  # type: ignore[arg-type]
        attempts=row.attempts,
        called_back=CalledBackObject(back.call_id, iso(back.date), back.sip) if back else None,
        closed_by=(
            ClosedByObject(closed.call_id, iso(closed.date), closed.sip, closed.how)
            if closed
            else None
        ),
        claimed_by=(
            ClaimObject(claim.sip, iso(claim.since), iso(claim.until), claim.by) if claim else None
        ),
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
        paused=operator.paused,
        pause_reason=operator.pause_reason,
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
        paused=change.paused,
        pause_reason=change.pause_reason,
    )
