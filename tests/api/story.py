"""The small story that the API's page tells: three calls, three operators, one recording."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from ccdaemon.calls.model import Action, Direction, LegView, State, StateChange
from ccdaemon.consumers.webhooks.retry_policy import DeliveryStatus
from ccdaemon.operators import OperatorChange, OperatorView, Status
from ccdaemon.store.records import (
    ActionRow,
    CalledBack,
    Chain,
    Closed,
    ClosedHow,
    MissedRow,
    OperatorRow,
    StateRow,
)
from tests.api.parts import MOMENT, call_view, record
from tests.api.world import World
from tests.sound import tone, wav

#: A state as the story tells it: what, of which leg, after how many ms, with cause and words.
Step = tuple[State, str | None, int, int | None, str | None]

_WORDS = "hung up by client; ring 2.5 s, wait 3.5 s, talk 12.5 s; Normal Clearing (16)"
_BUSY = "User busy (17), SIP 486 Busy Here"

TALK: tuple[Step, ...] = (
    (State.CALL, None, 0, None, None),
    (State.OPERATOR_CALLTO, "operator-1", 64, None, None),
    (State.OPERATOR_PICKUP, "operator-1", 2564, None, None),
    (State.CLIENT_CALLTO, "client", 2590, None, None),
    (State.CLIENT_PICKUP, "client", 6064, None, None),
    (State.FINISH, None, 18564, 16, _WORDS),
)
BUSY: tuple[Step, ...] = (
    (State.CALL, None, 0, None, None),
    (State.OPERATOR_CALLTO, "operator-1", 71, None, None),
    (State.OPERATOR_BUSY, "operator-1", 1302, 17, _BUSY),
)
RINGING: tuple[Step, ...] = (
    (State.CALL, None, 0, None, None),
    (State.OPERATOR_CALLTO, "operator-1", 66, None, None),
)


def story(folder: Path) -> World:
    """Make the world of the story; ``folder`` takes its recording."""
    world = World(link_secret="the-secret-of-this-story")
    world.calls.answer = itertools.count(15)
    _talked(world)
    _busy(world)
    _is_ringing(world)
    _missed(world)
    _delivered(world)
    world.operators.known = [
        OperatorView("1000", Status.ONLINE, "NOT_INUSE", MOMENT + 18564, None, False),
        OperatorView("1001", Status.INUSE, "RINGING", MOMENT + 120_066, 14, False),
        OperatorView("1002", Status.OFFLINE, "UNAVAILABLE", MOMENT - 86_400_000, None, False),
    ]
    _changed(world, "1000", Status.INUSE, "RINGING", 12, 64)
    _changed(world, "1000", Status.ONLINE, "NOT_INUSE", None, 18564)
    _changed(world, "1001", Status.INUSE, "RINGING", 14, 120_066)
    sound = folder / "12.wav"
    sound.write_bytes(wav(tone(12.5)))
    world.recordings.files[record(12).path] = sound
    return world


def _talked(world: World) -> None:
    call = call_view(
        12,
        external_key="24",
        date=MOMENT,
        answered=MOMENT + 6064,
        ended=MOMENT + 18564,
        ring_seconds=2.5,
        talk_seconds=12.5,
        hung_up_by="client",
        detail=_WORDS,
    )
    recorded = record(12, size=200_044, duration=12.5, date=MOMENT + 18790)
    world.history.add_chain(Chain(call, _rows(world, 12, "24", "1000", TALK), [recorded]))


def _busy(world: World) -> None:
    call = call_view(
        13,
        external_key="25",
        sip="1001",
        state=State.OPERATOR_BUSY,
        date=MOMENT + 60_000,
        answered=None,
        ended=MOMENT + 61_302,
        ring_seconds=1.231,
        talk_seconds=None,
        hung_up_by="operator",
        cause=17,
        detail=_BUSY,
        wait_seconds=None,
        anchor="cc-0a1b2c-13-o",
        legs=(
            LegView(
                "operator-1",
                "1001",
                None,
                began(13) + 71,
                None,
                began(13) + 1302,
                None,
                17,
                _BUSY,
            ),
        ),
    )
    said = Action(
        13, MOMENT + 95_000, "setResult", "local", result="no answer", note="calls back at noon"
    )
    rows = _rows(world, 13, "25", "1001", BUSY)
    world.history.add_chain(Chain(call, rows, [], [ActionRow(12, said)]))


def _missed(world: World) -> None:
    call = call_view(
        11,
        order_id=None,
        external_key=None,
        direction=Direction.INBOUND,
        sip="1000",
        phone="380639920000",
        state=State.CLIENT_CANCEL,
        date=began(11),
        answered=None,
        ended=began(11) + 8000,
        ring_seconds=8.0,
        talk_seconds=None,
        hung_up_by="client",
        cause=16,
        detail="hung up by client",
        did="380441234567",
        caller_name="Olena",
    )
    world.entries.missed[10] = replace(
        call,
        call_id=10,
        phone="380639920001",
        date=began(10),
        ended=began(10) + 8000,
        caller_name=None,
    )
    played = Action(12, MOMENT + 200_000, "playRecord", "local", detail="cc-0a1b2c-12-o")
    world.history.listened.append(ActionRow(13, played))
    world.history.missed.append(
        MissedRow(
            call,
            1,
            CalledBack(12, MOMENT, "1000"),
            Closed(12, MOMENT, "1000", ClosedHow.CALLED_BACK),
        )
    )


def _delivered(world: World) -> None:
    """The CRM took the first two states of call 13 and was away for the third."""
    webhooks = world.webhooks
    for seq, (state, _, after, _, _) in enumerate(BUSY, 1):
        webhooks.now = began(13) + after + 21
        webhooks.tell(13, seq, state.value)
        webhooks.now = began(13) + after + 32
        if seq < len(BUSY):
            webhooks.attempt("crm", 200, DeliveryStatus.DELIVERED)
    webhooks.attempt("crm", 503, DeliveryStatus.WAITING)


def began(call_id: int) -> int:
    """When a call of the story began: they follow each other by the minute."""
    return MOMENT + (call_id - 12) * 60_000


def _is_ringing(world: World) -> None:
    call = call_view(
        14,
        order_id="16",
        external_key="26",
        sip="1001",
        phone="380501110000",
        state=State.OPERATOR_CALLTO,
        final=False,
        date=MOMENT + 120_000,
        answered=None,
        ended=None,
        ring_seconds=None,
        talk_seconds=None,
        hung_up_by=None,
        cause=None,
        detail=None,
    )
    world.history.add_chain(Chain(call, _rows(world, 14, "26", "1001", RINGING, "16"), []))


def _rows(
    world: World, call_id: int, key: str, sip: str, steps: tuple[Step, ...], order: str = "15"
) -> list[StateRow]:
    start = began(call_id)
    return [
        StateRow(
            world.history.told + seq,
            StateChange(
                call_id,
                seq,
                state,
                seq == len(steps) and steps is not RINGING,
                leg,
                sip,
                start + after,
                cause,
                words,
            ),
            order,
            key,
        )
        for seq, (state, leg, after, cause, words) in enumerate(steps, 1)
    ]


def _changed(
    world: World, sip: str, status: Status, device: str, call_id: int | None, after: int
) -> None:
    change = OperatorChange(sip, status, device, call_id, MOMENT + after, None)
    world.history.changes.append(OperatorRow(20 + len(world.history.changes), change))
