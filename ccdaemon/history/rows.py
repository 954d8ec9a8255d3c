"""What the history answers with: rows of lists, whole chains, and what may be asked for.

Frozen values only; times are whole milliseconds since 1970 in UTC. Knows neither SQL nor HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ccdaemon.calls.model import CallView, Direction, Record, StateTold
from ccdaemon.operators import OperatorChange

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class StateRow:
    """One state of the history, with what its call says about order and key."""

    event_id: int
    state: StateTold
    order_id: str | None
    external_key: str | None


@dataclass(frozen=True, slots=True)
class Chain:
    """A call with all its states, in order, and its recordings."""

    call: CallView
    states: Sequence[StateRow]
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A recording with its call."""

    record: Record
    call: CallView


@dataclass(frozen=True, slots=True)
class OperatorRow:
    """One row of the operators' log."""

    event_id: int
    change: OperatorChange


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list, and how many the whole list has."""

    rows: Sequence[Row]
    total: int


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows of a list are wanted; None asks for no restriction.

    ``from_ms`` is the first moment that is wanted, ``to_ms`` the last.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    sip: str | None = None
    phone: str | None = None
    order_id: str | None = None
    direction: Direction | None = None

    def wants(self, state: StateTold) -> bool:
        """Whether a state is wanted, as far as it can tell: by its moment and its operator."""
        return (
            (self.from_ms is None or state.date >= self.from_ms)
            and (self.to_ms is None or state.date <= self.to_ms)
            and self.sip in (None, state.sip)
        )
