"""Streams of signals of inbound calls and of transfers, by the rows of the wire contract.

As in ``streams``: a stream is a list of threads of Asterisk, and barriers that they reach
together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Direction, Role, State
from ccdaemon.calls.signals import Signal
from tests.calls import streams
from tests.calls.streams import Barrier, Step

ANCHOR = "1795412687.40"
NAME = "PJSIP/trunk-00000040"
T0 = streams.T0
#: The channels of those who are asked, by their numbers; the last is a second leg of 1000.
LEGS = {
    "1000": ("1795412687.41", "PJSIP/1000-00000041"),
    "1001": ("1795412687.42", "PJSIP/1001-00000042"),
    "1000 again": ("1795412687.43", "PJSIP/1000-00000043"),
}


def new_call() -> Call:
    """An inbound call that has told CALL."""
    call = Call(12, None, None, Direction.INBOUND, None, "380639920000", ANCHOR, did="380440000000")
    call.client.channel_name = NAME
    machine.open_call(call, T0)
    return call


def client(kind: type[Signal], *rest: object, at: int = 1) -> Signal:
    """A signal of the client's channel."""
    return kind(ANCHOR, ANCHOR, T0 + at, *rest)


def leg(who: str, kind: type[Signal], *rest: object, linkedid: str = ANCHOR, at: int = 1) -> Signal:
    """A signal of the channel of an operator who is asked."""
    return kind(LEGS[who][0], linkedid, T0 + at, *rest)


def rung(who: str, linkedid: str = ANCHOR) -> Signal:
    """The operator's phone begins to ring."""
    return leg(who, signals.Started, LEGS[who][1], who[:4], linkedid=linkedid)


def ask(*sips: str, at: int = 1) -> signals.DialAttempt:
    """The dialplan is about to ask operators."""
    return signals.DialAttempt(ANCHOR, ANCHOR, T0 + at, sips, ())


def tried(status: str, tech: str = "", source: str = "", at: int = 1) -> signals.DialResult:
    """The dialplan says what came of it."""
    return signals.DialResult(ANCHOR, ANCHOR, T0 + at, status, tech, source)


def asked(who: str, *end: Step) -> list[list[Step]]:
    """One operator is asked and does not answer; ``end`` is how their leg ends, then what is said.

    The end of a channel may be heard of later than what the dialplan did next.
    """
    *of_leg, said = end
    dialled = Barrier(f"{who} dialled")
    return [
        [ask(who[:4]), rung(who), dialled, said],
        [dialled, *of_leg],
    ]


def rings_out(who: str) -> list[list[Step]]:
    """The operator's phone rings until its time is over."""
    return asked(who, leg(who, signals.Ended, None, ""), tried("NOANSWER", "SIP 180 Ringing"))


def is_busy(who: str) -> list[list[Step]]:
    """The operator's phone says 486."""
    return asked(
        who,
        leg(who, signals.HungUp),
        leg(who, signals.Ended, 17, "486"),
        tried("BUSY", "SIP 486 Busy Here"),
    )


def fails(who: str) -> list[list[Step]]:
    """The operator's phone answers with a failure."""
    return asked(
        who,
        leg(who, signals.HungUp),
        leg(who, signals.Ended, 38, "500"),
        tried("CHANUNAVAIL", "SIP 500 Server Internal Error"),
    )


def forwards(who: str) -> list[list[Step]]:
    """The operator's phone answers with a call forward, which is not followed."""
    return asked(who, leg(who, signals.Ended, 16, ""), tried("BUSY"))


def then(*parts: list[list[Step]]) -> list[list[Step]]:
    """One after the other on the client's channel; the operators' threads go on as they like."""
    first: list[Step] = []
    others: list[list[Step]] = []
    for main, *rest in parts:
        first += main
        others += rest
    return [first, *others]


def alone(*steps: Step) -> list[list[Step]]:
    """What the client's channel tells by itself."""
    return [list(steps)]


OVER = client(signals.Ended, 16, "")


def hung_up_by_us(cause: int) -> list[list[Step]]:
    """Nobody is left: the dialplan ends the call."""
    return alone(client(signals.Ended, cause, ""))


def talks(who: str, by: str = "client", *, first: Step | None = None) -> list[list[Step]]:
    """The operator is asked and answers; then the client or they hang up."""
    dialled, up, gone = (Barrier(f"{who} {word}") for word in ("dialled", "up", "gone"))
    name = NAME if by == "client" else LEGS[who][1]
    hang_up = client(signals.HungUp) if by == "client" else leg(who, signals.HungUp)
    return [
        [
            first or ask(who[:4]),
            rung(who),
            dialled,
            up,
            hang_up,
            gone,
            tried("ANSWER", "SIP 200 OK", name),
            OVER,
        ],
        [dialled, leg(who, signals.Answered), up, gone, leg(who, signals.Ended, 16, "")],
    ]


def gives_up_while_ringing(who: str) -> list[list[Step]]:
    """The client hangs up while the operator's phone rings, as AMI tells it."""
    dialled, given_up = Barrier(f"{who} dialled"), Barrier("given up")
    return [
        [
            ask(who),
            rung(who),
            dialled,
            client(signals.HungUp),
            leg(who, signals.Ended, 16, ""),
            given_up,
            tried("CANCEL", "SIP 180 Ringing", NAME),
            OVER,
        ]
    ]


def gives_up_in_the_log(who: str) -> list[list[Step]]:
    """The same, in the order in which Asterisk writes it down."""
    return alone(
        ask(who),
        rung(who),
        leg(who, signals.Ended, 16, ""),
        tried("CANCEL", "SIP 180 Ringing", NAME),
        client(signals.HungUp),
        OVER,
    )


def together(*, winner: str | None) -> list[list[Step]]:
    """1000 and 1001 ring together; one answers, or nobody."""
    dialled, up, gone = (Barrier(word) for word in ("dialled", "up", "gone"))
    head: list[Step] = [ask("1000", "1001"), rung("1000"), rung("1001"), dialled]
    if winner is None:
        return [
            [*head, gone, tried("NOANSWER")],
            [dialled, leg("1000", signals.Ended, None, ""), gone],
            [dialled, leg("1001", signals.Ended, None, ""), gone],
        ]
    loser = "1001" if winner == "1000" else "1000"
    return [
        [
            *head,
            up,
            leg(loser, signals.Ended, 26, ""),
            client(signals.HungUp),
            gone,
            tried("ANSWER", "", NAME),
            OVER,
        ],
        [dialled, leg(winner, signals.Answered), up, gone, leg(winner, signals.Ended, 16, "")],
    ]


Told = list[tuple[State, str | None]]


def of(state: State, sip: str | None = None) -> tuple[State, str | None]:
    """A state and the operator it speaks of."""
    return state, sip


S = State


def no_answer(sip: str, state: State = State.OPERATOR_NOANSWER) -> Told:
    """An operator is rung in vain."""
    return [(S.OPERATOR_CALLTO, sip), (state, sip)]


def taken(sip: str) -> Told:
    """An operator takes the call."""
    return [(S.OPERATOR_CALLTO, sip), (S.OPERATOR_PICKUP, sip)]


@dataclass(frozen=True)
class Row:
    """What Asterisk says, the chain after CALL with each operator, and who hung up."""

    stream: Callable[[], list[list[Step]]]
    told: Told
    by: str | None


def passed(sip: str, outcome: Outcome = Outcome.OFFLINE) -> Step:
    """The routing passes an operator over."""
    return client(signals.OperatorSkipped, sip, outcome, f"operator {sip} is not registered")


#: Every row of the inbound table, named after it, and what else can happen to a client.
ROWS: dict[str, Row] = {
    "operator answers, they talk, the client hangs up": Row(
        lambda: talks("1000"), [*taken("1000"), (S.FINISH, "1000")], "client"
    ),
    "operator answers, they talk, the operator hangs up": Row(
        lambda: talks("1000", "operator"), [*taken("1000"), (S.FINISH, "1000")], "operator"
    ),
    "the client hangs up before an operator answers": Row(
        lambda: gives_up_while_ringing("1000"),
        [(S.OPERATOR_CALLTO, "1000"), (S.CLIENT_CANCEL, "1000")],
        "client",
    ),
    "the client hangs up before an operator answers, in the log": Row(
        lambda: gives_up_in_the_log("1000"),
        [(S.OPERATOR_CALLTO, "1000"), (S.CLIENT_CANCEL, "1000")],
        "client",
    ),
    "the client hangs up before any operator was asked": Row(
        lambda: alone(client(signals.HungUp), tried("", "", NAME), OVER),
        [(S.CLIENT_CANCEL, None)],
        "client",
    ),
    "operator rings out, nobody else is left": Row(
        lambda: then(rings_out("1000"), hung_up_by_us(19)), no_answer("1000"), "asterisk"
    ),
    "operator is busy, nobody else is left": Row(
        lambda: then(is_busy("1000"), hung_up_by_us(17)),
        no_answer("1000", S.OPERATOR_BUSY),
        "operator",
    ),
    "operator's phone fails, nobody else is left": Row(
        lambda: then(fails("1000"), hung_up_by_us(19)),
        [(S.OPERATOR_CALLTO, "1000"), (S.ERROR, "1000")],
        "operator",
    ),
    "operator's phone forwards, nobody else is left": Row(
        lambda: then(forwards("1000"), hung_up_by_us(19)),
        [(S.OPERATOR_CALLTO, "1000"), (S.ERROR, "1000")],
        "asterisk",
    ),
    "operator is offline, nobody else is left": Row(
        lambda: then(alone(passed("1000")), hung_up_by_us(19)), [(S.OPERATOR_OFFLINE, "1000")], None
    ),
    "operator has no phone that could ring, nobody else is left": Row(
        lambda: alone(ask("1000"), tried("CHANUNAVAIL"), client(signals.Ended, 20, "")),
        [(S.OPERATOR_OFFLINE, "1000")],
        None,
    ),
    "first operator rings out, the second answers": Row(
        lambda: then(rings_out("1000"), talks("1001")),
        [*no_answer("1000"), *taken("1001"), (S.FINISH, "1001")],
        "client",
    ),
    "first operator is offline, the second answers": Row(
        lambda: then(alone(passed("1000")), talks("1001")),
        [(S.OPERATOR_OFFLINE, "1000"), *taken("1001"), (S.FINISH, "1001")],
        "client",
    ),
    "first operator's phone fails, the second answers": Row(
        lambda: then(fails("1000"), talks("1001")),
        [*no_answer("1000"), *taken("1001"), (S.FINISH, "1001")],
        "client",
    ),
    "first operator rings out, the second is busy": Row(
        lambda: then(rings_out("1000"), is_busy("1001"), hung_up_by_us(17)),
        [*no_answer("1000"), *no_answer("1001", S.OPERATOR_BUSY)],
        "operator",
    ),
    "first operator rings out, the client gives up while the second rings": Row(
        lambda: then(rings_out("1000"), gives_up_while_ringing("1001")),
        [*no_answer("1000"), (S.OPERATOR_CALLTO, "1001"), (S.CLIENT_CANCEL, "1001")],
        "client",
    ),
    "the client gives up in the second round, with the cause of the first": Row(
        lambda: then(
            is_busy("1000"),
            alone(
                ask("1001"),
                rung("1001"),
                client(signals.HungUp),
                leg("1001", signals.Ended, 17, ""),
                tried("CANCEL", "SIP 180 Ringing", NAME),
                client(signals.Ended, 17, ""),
            ),
        ),
        [
            *no_answer("1000", S.OPERATOR_BUSY),
            (S.OPERATOR_CALLTO, "1001"),
            (S.CLIENT_CANCEL, "1001"),
        ],
        "client",
    ),
    "the client gives up after an operator rang out": Row(
        lambda: then(rings_out("1000"), alone(client(signals.HungUp), OVER)),
        [*no_answer("1000"), (S.CLIENT_CANCEL, "1000")],
        "client",
    ),
    "several ring together, the first answers": Row(
        lambda: together(winner="1000"),
        [(S.OPERATOR_CALLTO, "1000"), *taken("1001")[:1], *taken("1000")[1:], (S.FINISH, "1000")],
        "client",
    ),
    "several ring together, the second answers": Row(
        lambda: together(winner="1001"),
        [(S.OPERATOR_CALLTO, "1000"), *taken("1001"), (S.FINISH, "1001")],
        "client",
    ),
    "the API hangs up while an operator's phone rings": Row(
        lambda: alone(
            ask("1000"),
            rung("1000"),
            client(signals.Cancelled),
            leg("1000", signals.Ended, 16, ""),
            tried("CANCEL", "", "manager/ccdaemon"),
            OVER,
        ),
        no_answer("1000"),
        "api",
    ),
    "the API hangs up before any operator was asked": Row(
        lambda: alone(client(signals.Cancelled), tried("", "", "manager/ccdaemon"), OVER),
        [(S.CLIENT_CANCEL, None)],
        "api",
    ),
    "the API hangs up while they talk": Row(
        lambda: alone(
            ask("1000"),
            rung("1000"),
            leg("1000", signals.Answered),
            client(signals.Cancelled),
            leg("1000", signals.Ended, 16, ""),
            OVER,
        ),
        [*taken("1000"), (S.FINISH, "1000")],
        "api",
    ),
    "the API's hang-up in the log alone": Row(
        lambda: alone(
            ask("1000"),
            rung("1000"),
            leg("1000", signals.Ended, 16, ""),
            tried("CANCEL", "", "manager/ccdaemon"),
            OVER,
        ),
        no_answer("1000"),
        "api",
    ),
    "the routing rejects the caller": Row(
        lambda: alone(
            client(signals.OperatorSkipped, "", Outcome.FAILED, "rejected: blacklisted"),
            client(signals.Ended, 21, ""),
        ),
        [(S.ERROR, None)],
        None,
    ),
    "there is nobody to ask": Row(
        lambda: alone(client(signals.Noted, "closed"), client(signals.Ended, 34, "")),
        [(S.OPERATOR_OFFLINE, None)],
        None,
    ),
    "a queue rings the same operator twice": Row(
        lambda: [
            [
                client(signals.DialAttempt, (), ()),
                rung("1000"),
                leg("1000", signals.Ended, 16, ""),
                rung("1001"),
                leg("1001", signals.Ended, 16, ""),
                rung("1000 again"),
                Barrier("dialled"),
                Barrier("up"),
                client(signals.HungUp),
                leg("1000 again", signals.Ended, 16, ""),
                tried("", "", NAME),
                OVER,
            ],
            [Barrier("dialled"), leg("1000 again", signals.Answered), Barrier("up")],
        ],
        [*no_answer("1000"), *no_answer("1001"), *taken("1000"), (S.FINISH, "1000")],
        "client",
    ),
}


# Transfers


def outbound_talk() -> list[Signal]:
    """An outbound call in which 1000 and the client talk."""
    return [
        streams.on_anchor(signals.Started, streams.OPERATOR_NAME),
        streams.on_anchor(signals.Answered),
        streams.on_anchor(signals.Asked, Role.CLIENT),
        streams.on_client(signals.Started, streams.CLIENT_NAME),
        streams.on_client(signals.Answered),
    ]


def on_leg(who: str, kind: type[Signal], *rest: object) -> Signal:
    """A signal of a third channel of an outbound call."""
    return leg(who, kind, *rest, linkedid=streams.ANCHOR)


def moved(*after: Step) -> list[list[Step]]:
    """The client is led away from the operator to 1001, on their own channel."""
    return [
        [
            *outbound_talk(),
            streams.on_anchor(signals.ClientDialResult, "ANSWER", "SIP 200 OK", ""),
            streams.on_anchor(signals.Ended, 16, ""),
            streams.on_client(signals.DialAttempt, ("1001",), ()),
            rung("1001", streams.ANCHOR),
            *after,
        ]
    ]


CLIENT_GONE = streams.on_client(signals.Ended, 16, "")
TALKED: Told = [
    (S.OPERATOR_CALLTO, "1000"),
    (S.OPERATOR_PICKUP, "1000"),
    (S.CLIENT_CALLTO, "1000"),
    (S.CLIENT_PICKUP, "1000"),
]

#: Transfers of outbound calls.
TRANSFERS: dict[str, Row] = {
    "a blind transfer, the second operator answers": Row(
        lambda: moved(
            on_leg("1001", signals.Answered),
            on_leg("1001", signals.HungUp),
            on_leg("1001", signals.Ended, 16, ""),
            CLIENT_GONE,
        ),
        [*TALKED, *taken("1001"), (S.FINISH, "1001")],
        "operator",
    ),
    "a blind transfer, nobody answers": Row(
        lambda: moved(
            on_leg("1001", signals.Ended, None, ""),
            streams.on_client(signals.DialResult, "NOANSWER", "", ""),
            CLIENT_GONE,
        ),
        [*TALKED, *no_answer("1001"), (S.FINISH, "1000")],
        "asterisk",
    ),
    "a blind transfer, the client gives up": Row(
        lambda: moved(
            streams.on_client(signals.HungUp), on_leg("1001", signals.Ended, 16, ""), CLIENT_GONE
        ),
        [*TALKED, (S.OPERATOR_CALLTO, "1001"), (S.FINISH, "1000")],
        "client",
    ),
    "an attended transfer": Row(
        lambda: [
            [
                *outbound_talk(),
                streams.on_anchor(signals.DialAttempt, ("1001",), ()),
                rung("1001", streams.ANCHOR),
                on_leg("1001", signals.Answered),
                streams.on_anchor(signals.Ended, 16, ""),
                streams.on_client(signals.HungUp),
                on_leg("1001", signals.Ended, 16, ""),
                CLIENT_GONE,
            ]
        ],
        [*TALKED, *taken("1001"), (S.FINISH, "1001")],
        "client",
    ),
    "an attended transfer that is cancelled": Row(
        lambda: [
            [
                *outbound_talk(),
                streams.on_anchor(signals.DialAttempt, ("1001",), ()),
                rung("1001", streams.ANCHOR),
                on_leg("1001", signals.Answered),
                on_leg("1001", signals.Ended, 16, ""),
                streams.on_client(signals.HungUp),
                CLIENT_GONE,
                streams.on_anchor(signals.Ended, 16, ""),
            ]
        ],
        [*TALKED, *taken("1001"), (S.FINISH, "1000")],
        "client",
    ),
    "on hold the operator hangs up, and another takes the call": Row(
        lambda: [
            [
                *outbound_talk(),
                streams.on_anchor(signals.Noted, "hold by crm"),
                streams.on_anchor(signals.HungUp),
                streams.on_anchor(signals.Ended, 16, ""),
                signals.DialAttempt(streams.CLIENT, streams.ANCHOR, T0 + 60_000, ("1000",), ()),
                signals.Started(
                    LEGS["1000 again"][0], streams.ANCHOR, T0 + 60_000, "PJSIP/1000-43", "1000"
                ),
                signals.Answered(LEGS["1000 again"][0], streams.ANCHOR, T0 + 61_000),
                signals.HungUp(streams.CLIENT, streams.ANCHOR, T0 + 70_000),
                signals.Ended(LEGS["1000 again"][0], streams.ANCHOR, T0 + 70_000, 16, ""),
                signals.Ended(streams.CLIENT, streams.ANCHOR, T0 + 70_000, 16, ""),
            ]
        ],
        [*TALKED, *taken("1000"), (S.FINISH, "1000")],
        "client",
    ),
    "a transfer to a number outside": Row(
        lambda: [
            [
                *outbound_talk(),
                streams.on_anchor(signals.Ended, 16, ""),
                streams.on_client(signals.DialAttempt, (), ("380441112233",)),
                on_leg("1001", signals.Started, "PJSIP/trunk-00000042", None),
                on_leg("1001", signals.Answered),
                streams.on_client(signals.HungUp),
                on_leg("1001", signals.Ended, 16, ""),
                CLIENT_GONE,
            ]
        ],
        [*TALKED, (S.OPERATOR_CALLTO, None), (S.OPERATOR_PICKUP, None), (S.FINISH, "1000")],
        "client",
    ),
}
