"""A live call: what it has told so far, and what its channels have shown.

Pure. It keeps and computes; what a signal means to it the machine decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ccdaemon.calls import signals
from ccdaemon.calls.leg import Leg
from ccdaemon.calls.model import Direction, State, StateChange
from ccdaemon.calls.tables import CALLED, CLIENT, LEG_OF, OPERATOR, PICKED_UP, STAGES, TALK

#: Milliseconds after which an end is no longer the doing of whoever hung up before: the call has
#: gone on without them, on hold or after a transfer.
LINGER = 2000


@dataclass(slots=True)
class Call:
    """A live call: who, the states told so far, and what its channels have shown.

    ``anchor`` is the uniqueid of the channel that the call began with: the operator's, or the
    client's if they call in. ``channels`` are those that are there as far as is known, an anchor
    that is not born yet among them; the call is over when none is left. ``known`` are all there
    ever were. ``sip`` is the operator who talks or talked last, else the one asked last.

    ``originate_reason`` is Asterisk's reason for a failed Originate; ``unexplained`` the end of an
    anchor that waits for it. ``lost``: the call is over, and nobody saw when it ended; in words.
    ``attempt`` is who is asked just now, ``round`` how often somebody was, ``attempt_result`` in
    what turn and what came of it, ``heard`` what the dialplan said of all that, ``said`` how far
    each channel has counted it, ``said_before`` how far before a restart, None if that was not
    kept, ``has_extra_legs`` whether channels beside the first two are operators who are asked.
    ``rejected``: why nobody may be. ``sent``: how ``phone`` was written, where that was otherwise.
    ``bridges``: who is in a bridge with whom is told; else whoever is up talks. ``by_local``: the
    client is asked by way of a Local channel, whose answer is nobody's; ``candidates`` are the
    phones of which one may be theirs then. ``local_turn``: the last turn in which somebody was
    asked by way of one. ``actions``: how often somebody has acted on it or written something on it.
    ``recordings`` are those that Asterisk has told of, each with its channel. ``made_by`` is the
    client of the API that had it made, ``made_from`` the address that it asked from. ``observed``:
    another dialplan than ours makes the call.
    """

    call_id: int
    order_id: str | None
    external_key: str | None
    direction: Direction
    sip: str | None
    phone: str
    anchor: str
    did: str | None = None
    caller_name: str | None = None
    note: str | None = None
    recorded: bool = True
    max_duration: int | None = None
    sent: str | None = None
    made_by: str | None = None
    made_from: str | None = None
    states: list[StateChange] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    client: Leg = field(init=False)
    channels: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    hung_up_by: str | None = None
    hung_up_at: int = 0
    originate_reason: int | None = None
    unexplained: signals.Ended | None = None
    lost: str | None = None
    attempt: signals.DialAttempt | None = None
    attempt_result: tuple[int, signals.DialResult] | None = None
    heard: set[signals.Signal] = field(default_factory=set)
    said: dict[str, int] = field(default_factory=dict)
    said_before: dict[str, int] | None = field(default_factory=dict)
    round: int = 0
    has_extra_legs: bool = False
    bridges: bool = False
    by_local: bool = False
    observed: bool = False
    local_turn: int | None = None
    candidates: list[str] = field(default_factory=list)
    candidate_names: dict[str, str] = field(default_factory=dict)
    rejected: str | None = None
    noted: list[str] = field(default_factory=list)
    actions: int = 0
    recordings: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Put the two phones up that every call has, in the order in which they are asked."""
        self.client = Leg("client", CLIENT, phone=self.phone, sent=self.sent)
        self.legs.append(self.client)
        if self.direction is Direction.OUTBOUND:
            self.legs.insert(0, Leg("operator-1", OPERATOR, self.sip))
        self.legs[0].channel = self.anchor
        self.channels.add(self.anchor)
        self.known.add(self.anchor)

    @property
    def final(self) -> bool:
        """Whether nothing can follow any more."""
        return bool(self.states) and self.states[-1].final

    @property
    def state(self) -> State:
        """The last state told; a call that has told none stands before its CALL."""
        return self.states[-1].state

    @property
    def operators(self) -> list[Leg]:
        """The operators' legs, in the order in which they were asked."""
        return [leg for leg in self.legs if leg.role is OPERATOR]

    @property
    def talked(self) -> bool:
        """Whether the client has talked with somebody."""
        return self.date_of(TALK[self.direction]) is not None

    @property
    def talking(self) -> Leg | None:
        """The operator's leg that talks with the client now; None while nobody does."""
        if self.final or not self.talked:
            return None
        return next((leg for leg, _, end in talks(self, None) if end is None), None)

    @property
    def phase(self) -> str:
        """``ringing`` until the client talks with somebody, then ``talking``, then ``ended``.

        A call that was put on hold or is being transferred is still ``talking``; whether an
        operator is there says ``talking``, the leg.
        """
        if self.final:
            return "ended"
        return "talking" if self.talked else "ringing"

    @property
    def looked_for(self) -> set[str]:
        """The channels by which a look finds the call; the anchor where none is left."""
        joined = {leg.channel for leg in self.operators if leg.is_joined and leg.channel}
        return self.channels | joined or {self.anchor}

    @property
    def watched(self) -> set[str]:
        """The channels whose company is the call's: the client's, or those that may be theirs."""
        client = self.client.channel
        return {*self.candidates, *([client] if client and not self.client.over else [])}

    @property
    def busy(self) -> set[str]:
        """The operators who are rung or up, or are about to be rung."""
        return {leg.sip for leg in self.operators if leg.sip is not None and not leg.over}

    def date_of(self, state: State) -> int | None:
        """When ``state`` was told first, in milliseconds, or None."""
        return next((change.date for change in self.states if change.state is state), None)

    def leg_of(self, channel: str) -> Leg | None:
        """The leg whose channel it is; the anchor is one even before it was seen."""
        return next(
            (leg for leg in self.legs if leg.channel == channel or channel in leg.phones), None
        )


def who(call: Call, source: str) -> str | None:
    """The party whose channel is named ``source``; Asterisk, where it is nobody's."""
    if not source:
        return None
    # A Hangup by AMI is our own.
    if source.startswith("manager/"):
        return "api"
    for leg in call.legs:
        if source in (leg.channel_name, *leg.phones.values()):
            return leg.role.value
    return "asterisk"


def set_hangup_party(call: Call, party: str | None, date: int) -> None:
    """Note who hung up: the first, but for one without whom the call has gone on."""
    if party is not None and (call.hung_up_by is None or date > call.hung_up_at + LINGER):
        call.hung_up_by, call.hung_up_at = party, date


def stage(call: Call) -> State:
    """The highest rung that an outbound call has climbed to."""
    reached = {reached.state for reached in call.states}
    return next(state for state in reversed(STAGES[call.direction]) if state in reached)


def reached(call: Call, wanted: State) -> bool:
    """Whether the call has climbed to ``wanted``."""
    ladder = STAGES[call.direction]
    return ladder.index(stage(call)) >= ladder.index(wanted)


def add_state(
    call: Call,
    state: State,
    date: int,
    leg: Leg | None = None,
    *,
    final: bool = False,
    cause: int | None = None,
    detail: str | None = None,
) -> StateChange:
    """Add a state to the chain; ``leg`` is the one it speaks of."""
    if LEG_OF[state] is CLIENT:
        leg = call.client
    noted = (words for words in call.noted if words != detail)
    change = StateChange(
        call_id=call.call_id,
        seq=len(call.states) + 1,
        state=state,
        final=final,
        leg=leg.name if leg else None,
        sip=_sip(call, state, leg),
        # Clocks and threads may disagree; within a call time never runs backwards.
        date=max(date, call.states[-1].date) if call.states else date,
        cause=cause,
        detail="; ".join(filter(None, [detail, *noted])) or None,
    )
    call.noted.clear()
    keep(call, change, leg)
    return change


def _sip(call: Call, state: State, leg: Leg | None) -> str | None:
    """The operator concerned: nobody, where a state is of operators and of none of them."""
    if LEG_OF[state] is OPERATOR:
        return leg.sip if leg else None
    return call.sip


def keep(call: Call, change: StateChange, leg: Leg | None) -> None:
    """Add a told state to the chain and to its leg."""
    call.states.append(change)
    if leg is None:
        return
    leg.states.add(change.state)
    if change.state in CALLED:
        leg.called = change.date
    elif change.state in PICKED_UP:
        leg.answered = change.date
    else:
        leg.cause, leg.detail = change.cause, change.detail
    asked = change.state in CALLED and not call.talked
    if leg.sip is not None and (asked or call.sip is None):
        call.sip = leg.sip
    update_operator(call)


def update_operator(call: Call) -> None:
    """The call is the operator's who talks now, even once they do no longer."""
    leg = call.talking
    if leg is not None and leg.sip is not None:
        call.sip = leg.sip


def talks(call: Call, until: int | None) -> Iterator[tuple[Leg, int, int | None]]:
    """Who talked with the client, from when to when, by the time it began; None while it goes on.

    A talk of which nobody saw the end is left out.
    """
    if not call.bridges and not any(leg.spans for leg in call.operators):
        yield from _talks_of_the_first(call, until)
        return
    spans = [(leg, span) for leg in call.operators for span in leg.spans]
    for leg, span in sorted(spans, key=lambda one: one[1].start):
        end = span.end
        if end is None:
            if leg.over and leg.ended is None:
                continue
            end = min(filter(None, (leg.ended, call.client.ended, until)), default=None)
        yield leg, span.start, end if end is None else max(span.start, end)


def _talks_of_the_first(call: Call, until: int | None) -> Iterator[tuple[Leg, int, int | None]]:
    """The same, where nobody tells of bridges.

    Of two who are up it is the one who was there first, until they leave: a transfer. A talk of
    which nobody saw the end is left out.
    """
    begun = call.date_of(TALK[call.direction])
    edge: int | None = begun
    for leg in sorted(call.operators, key=lambda leg: leg.answered or 0):
        lost = leg.over and leg.ended is None
        if begun is None or edge is None or leg.answered is None or lost:
            continue
        start = max(leg.answered, edge)
        end = min(filter(None, (leg.ended, call.client.ended, until)), default=None)
        if end is not None and end < start:
            if leg.answered > begun:
                continue
            end = start  # Two clocks that disagree.
        yield leg, start, end
        edge = end
