"""Streams of signals as Asterisk sends them, and every order in which it may send them.

A stream is a list of threads of Asterisk: what one thread says keeps its order, what two say may
mix as they like. ``BARRIER`` in a thread waits for the same barrier in the others: one thread
saw there what the other had done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Direction, Role, State
from ccdaemon.calls.signals import Signal

ANCHOR = "cc-0a1b2c-12-o"
CLIENT = "1795412687.18"
OPERATOR_NAME = "PJSIP/1000-00000011"
CLIENT_NAME = "PJSIP/trunk-00000012"
T0 = 1_795_412_687_000


@dataclass(frozen=True)
class Barrier:
    """A point that all threads which have it reach together."""

    name: str


Step = Signal | Barrier


def new_call() -> Call:
    """An outbound call that has told CALL."""
    call = Call(12, "15", "24", Direction.OUTBOUND, "1000", "380639920000", ANCHOR)
    machine.open_call(call, T0)
    return call


def chain(call: Call) -> list[State]:
    """The states told so far."""
    return [told.state for told in call.states]


def on_anchor(kind: type[Signal], *rest: object) -> Signal:
    """A signal of the operator's channel."""
    return kind(ANCHOR, ANCHOR, T0 + 1, *rest)


def on_client(kind: type[Signal], *rest: object) -> Signal:
    """A signal of the client's channel."""
    return kind(CLIENT, ANCHOR, T0 + 1, *rest)


def operator_up() -> list[Step]:
    """The operator's phone rings and is picked up."""
    return [on_anchor(signals.Started, OPERATOR_NAME), on_anchor(signals.Answered)]


def asks_client() -> list[Step]:
    """The dialplan dials the client."""
    return [
        on_anchor(signals.Asked, Role.CLIENT),
        Barrier("client dialled"),
    ]


def refused_by_client(cause: int | None, status: str, tech: str) -> list[list[Step]]:
    """The client's leg fails."""
    return [
        [
            *operator_up(),
            *asks_client(),
            Barrier("client refused"),
            on_anchor(signals.ClientDialResult, status, tech, "dialplan/builtin"),
            on_anchor(signals.Ended, cause, "403"),
        ],
        [
            Barrier("client dialled"),
            on_client(signals.Started, CLIENT_NAME),
            Barrier("client refused"),
            on_client(signals.Ended, cause, ""),
        ],
    ]


def refused_by_operator(
    cause: int | None, tech: str, reason: int = 0, *, hangs_up: bool = True
) -> list[list[Step]]:
    """The operator's leg fails; the answer to Originate comes whenever it likes, even first."""
    return [
        [
            on_anchor(signals.Started, OPERATOR_NAME),
            *([on_anchor(signals.HungUp)] if hangs_up else []),
            on_anchor(signals.Ended, cause, tech),
        ],
        [on_anchor(signals.OriginateFailed, reason)],
    ]


def rung_out_by_operator(cause: int | None, tech: str) -> list[list[Step]]:
    """The operator's phone rings until its time is over."""
    return refused_by_operator(cause, tech, 3, hangs_up=False)


def talk(source: str) -> list[list[Step]]:
    """Both talk, then ``source`` hangs up."""
    hung_up = on_client if source == CLIENT_NAME else on_anchor
    return [
        [
            *operator_up(),
            *asks_client(),
            Barrier("client answered"),
            hung_up(signals.HungUp),
            Barrier("hung up"),
            on_anchor(signals.ClientDialResult, "ANSWER", "SIP 200 OK", source),
            on_anchor(signals.Ended, 16, ""),
        ],
        [
            Barrier("client dialled"),
            on_client(signals.Started, CLIENT_NAME),
            on_client(signals.Answered),
            Barrier("client answered"),
            Barrier("hung up"),
            on_client(signals.Ended, 16, ""),
        ],
    ]


def given_up_by_operator() -> list[list[Step]]:
    """The operator hangs up while the client's phone rings."""
    return [
        [
            *operator_up(),
            *asks_client(),
            on_anchor(signals.HungUp),
            Barrier("given up"),
            on_anchor(signals.ClientDialResult, "CANCEL", "SIP 180 Ringing", OPERATOR_NAME),
            on_anchor(signals.Ended, 16, ""),
        ],
        [
            Barrier("client dialled"),
            on_client(signals.Started, CLIENT_NAME),
            Barrier("given up"),
            on_client(signals.Ended, 16, ""),
        ],
    ]


def no_address(cause: int = 3) -> list[list[Step]]:
    """The trunk has no reachable address: no channel is born for the client."""
    return [
        [
            *operator_up(),
            on_anchor(signals.Asked, Role.CLIENT),
            on_anchor(signals.ClientDialResult, "CHANUNAVAIL", "", "dialplan/builtin"),
            on_anchor(signals.Ended, cause, ""),
        ]
    ]


BEGUN = [State.CALL, State.OPERATOR_CALLTO]
PICKED_UP = [*BEGUN, State.OPERATOR_PICKUP]
ASKED = [*PICKED_UP, State.CLIENT_CALLTO]

#: Every row of the outbound table: what Asterisk says, and the chain it has to become.
ROWS: dict[str, tuple[Callable[[], list[list[Step]]], list[State]]] = {
    "the client hangs up": (
        lambda: talk(CLIENT_NAME),
        [*ASKED, State.CLIENT_PICKUP, State.FINISH],
    ),
    "the operator hangs up": (
        lambda: talk(OPERATOR_NAME),
        [*ASKED, State.CLIENT_PICKUP, State.FINISH],
    ),
    "the operator's phone rings out on 22": (
        lambda: rung_out_by_operator(19, "480"),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator's phone rings out on 16": (
        lambda: rung_out_by_operator(None, ""),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator's phone rings out with chan_sip": (
        lambda: rung_out_by_operator(16, ""),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator's phone says 408": (
        lambda: refused_by_operator(18, "408"),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator's phone says 408 to chan_sip": (
        lambda: refused_by_operator(18, "", hangs_up=False),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator is busy": (
        lambda: refused_by_operator(17, "486"),
        [*BEGUN, State.OPERATOR_BUSY],
    ),
    "the operator declines": (
        lambda: refused_by_operator(21, "603"),
        [*BEGUN, State.OPERATOR_BUSY],
    ),
    "the operator's phone forwards on 22": (
        lambda: refused_by_operator(23, "302"),
        [*BEGUN, State.ERROR],
    ),
    "the operator's phone says 480": (
        lambda: refused_by_operator(19, "480"),
        [*BEGUN, State.OPERATOR_NOANSWER],
    ),
    "the operator is busy on 16": (
        lambda: refused_by_operator(17, "", hangs_up=False),
        [*BEGUN, State.OPERATOR_BUSY],
    ),
    "the operator's phone forwards at once on 22": (
        lambda: refused_by_operator(None, "", hangs_up=False),
        [*BEGUN, State.ERROR],
    ),
    "the operator's phone forwards on 16": (
        lambda: refused_by_operator(127, ""),
        [*BEGUN, State.ERROR],
    ),
    "the operator's phone forwards with chan_sip": (
        lambda: refused_by_operator(16, "", hangs_up=False),
        [*BEGUN, State.ERROR],
    ),
    "the operator is not registered": (
        lambda: [[on_anchor(signals.OriginateFailed, 0), on_anchor(signals.Lost, "not born")]],
        [State.CALL, State.OPERATOR_OFFLINE],
    ),
    "the operator hangs up before the client is asked": (
        lambda: [
            [
                *operator_up(),
                on_anchor(signals.HungUp),
                on_anchor(signals.ClientDialResult, "", "", OPERATOR_NAME),
                on_anchor(signals.Ended, 16, ""),
            ]
        ],
        [*PICKED_UP, State.OPERATOR_BUSY],
    ),
    "the operator hangs up before Dial can say so": (
        lambda: [
            [
                *operator_up(),
                on_anchor(signals.Asked, Role.CLIENT),
                on_anchor(signals.HungUp),
                on_anchor(signals.ClientDialResult, "", "", OPERATOR_NAME),
                on_anchor(signals.Ended, None, ""),
            ]
        ],
        [*ASKED, State.OPERATOR_BUSY],
    ),
    "the operator gives up": (given_up_by_operator, [*ASKED, State.OPERATOR_BUSY]),
    "the client's phone rings out": (
        lambda: refused_by_client(16, "NOANSWER", "SIP 180 Ringing"),
        [*ASKED, State.CLIENT_NOANSWER],
    ),
    "the client's phone says 480": (
        lambda: refused_by_client(19, "NOANSWER", "SIP 480 Temporarily Unavailable"),
        [*ASKED, State.CLIENT_NOANSWER],
    ),
    "the client is busy": (
        lambda: refused_by_client(17, "BUSY", "SIP 486 Busy Here"),
        [*ASKED, State.CLIENT_BUSY],
    ),
    "the client declines": (
        lambda: refused_by_client(21, "CHANUNAVAIL", "SIP 603 Decline"),
        [*ASKED, State.CLIENT_BUSY],
    ),
    "the trunk refuses us": (
        lambda: refused_by_client(21, "CHANUNAVAIL", "SIP 403 Forbidden"),
        [*ASKED, State.ERROR],
    ),
    "there is no such number": (
        lambda: refused_by_client(1, "CHANUNAVAIL", "SIP 404 Not Found"),
        [*ASKED, State.ERROR],
    ),
    "the trunk is down": (
        lambda: refused_by_client(34, "CONGESTION", "SIP 503 Service Unavailable"),
        [*ASKED, State.ERROR],
    ),
    "the client's phone forwards": (
        lambda: refused_by_client(16, "BUSY", ""),
        [*ASKED, State.ERROR],
    ),
    "the trunk is silent": (
        lambda: refused_by_client(None, "NOANSWER", ""),
        [*ASKED, State.ERROR],
    ),
    "the trunk is silent until Asterisk gives up": (
        lambda: refused_by_client(18, "CHANUNAVAIL", ""),
        [*ASKED, State.ERROR],
    ),
    "the trunk has no address": (no_address, [*ASKED, State.ERROR]),
    "the trunk has no address with chan_sip": (lambda: no_address(20), [*ASKED, State.ERROR]),
}


def in_turn(row: str) -> list[Signal]:
    """A row's signals unshuffled."""
    return unshuffled(ROWS[row][0]())


def unshuffled(threads: list[list[Step]]) -> list[Signal]:
    """Each thread speaks for as long as it need not wait."""
    rest = [list(thread) for thread in threads]
    order: list[Signal] = []
    while any(rest):
        thread = next(thread for thread in rest if thread and _may_go(thread[0], rest))
        _go(thread.pop(0), rest, order)
    return order


@st.composite
def any_order(draw: Any, threads: list[list[Step]]) -> list[Signal]:
    """One order that Asterisk may produce, with any signal echoed later."""
    rest = [list(thread) for thread in threads]
    order: list[Signal] = []
    while any(rest):
        runnable = [thread for thread in rest if thread and _may_go(thread[0], rest)]
        _go(draw(st.sampled_from(runnable)).pop(0), rest, order)
        if order and draw(st.booleans()):
            order.append(draw(st.sampled_from(_echoes(order))))
    return order


def _go(step: Step, rest: list[list[Step]], order: list[Signal]) -> None:
    if not isinstance(step, Barrier):
        order.append(step)
        return
    for thread in rest:
        if thread and thread[0] == step:
            thread.pop(0)


def _may_go(step: Step, rest: list[list[Step]]) -> bool:
    """A barrier may be passed once every thread that has it stands before it."""
    if not isinstance(step, Barrier):
        return True
    return all(thread[0] == step for thread in rest if step in thread)


def _echoes(order: list[Signal]) -> list[Signal]:
    """What may be told twice: a ringing, an answer, a hang-up; a channel ends only once."""
    once = (signals.Ended, signals.ClientDialResult, signals.OperatorSkipped, signals.Noted)
    return [signal for signal in order if not isinstance(signal, once)] or order[-1:]
