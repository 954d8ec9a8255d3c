"""A live call: what it has told so far, and what its channels have shown.

Pure. It keeps and computes; what a signal means to it the machine decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdaemon.calls import signals
from ccdaemon.calls.model import CallView, Direction, Role, State, StateTold
from ccdaemon.calls.tables import CLIENT, LADDER, LEG_OF, OPERATOR, TALK


@dataclass(slots=True)
class Leg:
    """One phone of a call: its channels' ids and names, and what is known of its end."""

    name: str
    channel: str | None = None
    channel_name: str = ""
    outcome: signals.Outcome | None = None


@dataclass(slots=True)
class Call:
    """A live call: who, the states told so far, and what its channels have shown.

    ``anchor`` is the uniqueid of the channel that the call hangs on: its end is the call's end.
    ``originate_reason`` is Asterisk's reason for a failed Originate; ``unexplained`` the end of an
    anchor that waits for it. ``unseen``: the call is over, and nobody saw when it ended.
    """

    call_id: int
    order_id: str | None
    external_key: str | None
    direction: Direction
    sip: str | None
    phone: str
    anchor: str
    states: list[StateTold] = field(default_factory=list)
    legs: dict[Role, Leg] = field(
        default_factory=lambda: {OPERATOR: Leg("operator-1"), CLIENT: Leg("client")}
    )
    hung_up_by: str | None = None
    originate_reason: int | None = None
    unexplained: signals.Ended | None = None
    unseen: bool = False

    @property
    def final(self) -> bool:
        """Whether nothing can follow any more."""
        return bool(self.states) and self.states[-1].final

    @property
    def state(self) -> State:
        """The last state told; a call that has told none stands before its CALL."""
        return self.states[-1].state

    def date_of(self, state: State) -> int | None:
        """When ``state`` was told, in milliseconds, or None."""
        return next((told.date for told in self.states if told.state is state), None)


def role_of(call: Call, channel: str) -> Role | None:
    """Whose leg ``channel`` is; the anchor is the operator's even before it was seen."""
    if channel == call.anchor:
        return OPERATOR
    return CLIENT if channel == call.legs[CLIENT].channel else None


def who(call: Call, source: str) -> str | None:
    """The party whose channel is named ``source``; Asterisk, where it is nobody's."""
    if not source:
        return None
    for role, leg in call.legs.items():
        if leg.channel_name == source:
            return role.value
    return "asterisk"


def reached(call: Call, rung: State) -> bool:
    """Whether the call has climbed to ``rung``."""
    ladder = LADDER[call.direction]
    return ladder.index(call.state) >= ladder.index(rung)


def tell(
    call: Call,
    state: State,
    date: int,
    *,
    final: bool = False,
    cause: int | None = None,
    detail: str | None = None,
) -> StateTold:
    """Add a state to the chain."""
    role = LEG_OF[state]
    told = StateTold(
        call_id=call.call_id,
        seq=len(call.states) + 1,
        state=state,
        final=final,
        leg=call.legs[role].name if role else None,
        sip=call.sip,
        # Clocks and threads may disagree; within a call time never runs backwards.
        date=max(date, call.states[-1].date) if call.states else date,
        cause=cause,
        detail=detail,
    )
    call.states.append(told)
    return told


def seconds(call: Call, ended: int | None) -> tuple[float | None, float | None, float | None]:
    """Ring, wait and talk seconds, each up to ``ended`` if it had begun and not ended before."""

    def span(begin: State, end: State | None) -> float | None:
        begun = call.date_of(begin)
        over = call.date_of(end) if end else None
        over = ended if over is None else over
        return None if begun is None or over is None else (over - begun) / 1000

    return (
        span(State.OPERATOR_CALLTO, State.OPERATOR_PICKUP),
        span(State.OPERATOR_PICKUP, State.CLIENT_PICKUP),
        span(TALK[call.direction], None),
    )


def view(call: Call) -> CallView:
    """The call as it stands now, after the last state told."""
    last = call.states[-1]
    ended = last.date if last.final else None
    # Of what was under way when nobody looked nobody knows how long it went on.
    ring, wait, talk = seconds(call, None if call.unseen else ended)
    return CallView(
        call_id=call.call_id,
        order_id=call.order_id,
        external_key=call.external_key,
        direction=call.direction,
        sip=call.sip,
        phone=call.phone,
        state=last.state,
        final=last.final,
        date=call.states[0].date,
        answered=call.date_of(TALK[call.direction]),
        ended=ended,
        ring_seconds=ring,
        wait_seconds=wait,
        talk_seconds=talk,
        hung_up_by=call.hung_up_by if last.final else None,
        cause=last.cause,
        detail=last.detail,
    )
