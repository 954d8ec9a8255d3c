"""What the history answers with: rows of lists, whole chains, and what may be asked for.

Frozen values only; times are whole milliseconds since 1970 in UTC. Knows neither SQL nor HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from ccdaemon.calls.model import Action, CallView, Direction, Record, StateChange
from ccdaemon.operators import OperatorChange

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class StateRow:
    """One state of the history, with what its call says about order and key, and its note."""

    event_id: int
    state: StateChange
    order_id: str | None
    external_key: str | None
    note: str | None = None

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.state.date


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One thing that somebody did to a call."""

    event_id: int
    action: Action


@dataclass(frozen=True, slots=True)
class Chain:
    """A call with all its states, in order, its recordings, and what was done to it."""

    call: CallView
    states: Sequence[StateRow]
    records: Sequence[Record]
    actions: Sequence[ActionRow] = ()


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A recording with its call."""

    event_id: int
    record: Record
    call: CallView

    @property
    def date(self) -> int:
        """When it was found complete, in ms."""
        return self.record.date


@dataclass(frozen=True, slots=True)
class CalledBack:
    """The call by which a client was reached who had been missed."""

    call_id: int
    date: int
    sip: str | None


class ClosedHow(str, Enum):
    """Who rang in the call that closed a missed one: somebody of ours, or the client."""

    CALLED_BACK = "called_back"
    CALLED_AGAIN = "called_again"


@dataclass(frozen=True, slots=True)
class Closed:
    """The first call in which somebody of ours talked with a client who had been missed."""

    call_id: int
    date: int
    sip: str | None
    how: ClosedHow


@dataclass(frozen=True, slots=True)
class Claim:
    """Who has a missed call, so that no second one calls the client; ``by`` is the API client."""

    sip: str
    by: str
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class MissedRow:
    """An inbound call that nobody took.

    ``attempts`` counts the outbound calls to that phone afterwards, up to the call that closed it.
    ``called_back`` is the first in which the client was reached, also where they had rung again
    before. ``claim`` is None where nobody has it now, and where it is closed.
    """

    call: CallView
    attempts: int
    called_back: CalledBack | None
    closed: Closed | None = None
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One row of the operators' log."""

    event_id: int
    change: OperatorChange

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.change.date


class EventKind(str, Enum):
    """What kind of thing was told, as the wire contract names it."""

    STATE = "call.state"
    OPERATOR = "operator.state"
    RECORD = "record.ready"


#: What may follow a cursor.
EventRow = StateRow | OperatorRow | RecordRow
EVERYTHING = frozenset(EventKind)
STATES_ALONE = frozenset({EventKind.STATE})


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list, and how many the whole list has."""

    rows: Sequence[Row]
    total: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows of a list are wanted; None asks for no restriction.

    ``from_ms`` is the first moment that is wanted, ``to_ms`` the last. ``result`` is for pages
    alone: what is told after a cursor comes before it. ``did`` and ``open`` are for missed calls.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    sip: str | None = None
    phone: str | None = None
    order_id: str | None = None
    direction: Direction | None = None
    call_id: int | None = None
    result: str | None = None
    did: str | None = None
    open: bool = False

    def kinds(self, among: frozenset[EventKind]) -> frozenset[EventKind]:
        """What of these it can want: what an operator does is of no order, phone and direction."""
        is_of_calls = (self.phone, self.order_id, self.direction) != (None, None, None)
        return among - {EventKind.OPERATOR} if is_of_calls else among

    @property
    def picks_anywhere(self) -> bool:
        """Whether what it picks may lie far apart in what was told."""
        return any((self.from_ms, self.to_ms, self.sip, self.direction, self.call_id))

    def is_in_time(self, date: int) -> bool:
        """Whether a moment (ms) is wanted."""
        return (self.from_ms is None or date >= self.from_ms) and (
            self.to_ms is None or date <= self.to_ms
        )

    def wants(self, change: StateChange | OperatorChange) -> bool:
        """Whether it is wanted, as far as it says itself: by moment, operator and call."""
        return (
            self.is_in_time(change.date)
            and self.sip in (None, change.sip)
            and self.call_id in (None, change.call_id)
        )

    def wants_call(self, call: CallView) -> bool:
        """Whether what was told of a call is wanted, as far as the call says."""
        return (
            self.phone in (None, call.phone)
            and self.order_id in (None, call.order_id)
            and self.direction in (None, call.direction)
        )
