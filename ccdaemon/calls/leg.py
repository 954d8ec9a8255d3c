"""A leg: one phone of a call, and what its channel has shown.

Pure. What it means to the call the machine decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdaemon.calls import causes, signals
from ccdaemon.calls.model import Role, State


@dataclass(frozen=True, slots=True)
class LegVerdict:
    """How an operator's leg ended unanswered; told once it is known whether somebody follows.

    ``own``: the phone itself or its absence says so, and not only our side that gave it up.
    """

    date: int
    outcome: causes.Outcome
    own: bool
    cause: int | None
    detail: str | None


@dataclass(slots=True)
class Span:
    """From when to when a phone shared a bridge with the client; no end while it does."""

    start: int
    end: int | None = None


@dataclass(slots=True)
class Leg:
    """One phone of a call: its channel, its times, and what is known of its end.

    ``called`` and ``answered`` are when that was told, in milliseconds; ``up`` is when the phone
    was picked up, told or not. ``sent``: how ``phone`` was written, where that was otherwise.
    ``round`` counts how often somebody was asked before: those of one turn ring together. ``over``:
    its channel is gone; ``ended`` is None then if nobody saw when. ``verdict`` waits to be told,
    ``judged``: it was. ``direct``: it was rung by name, and not by way of somebody else's dialplan.
    ``spans``: when it shared a bridge with the client.
    """

    name: str
    role: Role
    sip: str | None = None
    phone: str | None = None
    sent: str | None = None
    channel: str | None = None
    channel_name: str = ""
    round: int = 0
    called: int | None = None
    answered: int | None = None
    up: int | None = None
    ended: int | None = None
    over: bool = False
    hung_up: bool = False
    cause: int | None = None
    detail: str | None = None
    end: signals.Ended | None = None
    outcome: signals.ClientDialResult | None = None
    verdict: LegVerdict | None = None
    judged: bool = False
    direct: bool = False
    spans: list[Span] = field(default_factory=list)
    states: set[State] = field(default_factory=set)

    def join(self, date: int) -> None:
        """It shares a bridge with the client from ``date`` on; what was known before is no news."""
        last = self.spans[-1] if self.spans else None
        if last is None or (last.end is not None and date >= last.end):
            self.spans.append(Span(date))

    def part(self, date: int) -> None:
        """It shares a bridge with the client no more, since ``date``."""
        last = self.spans[-1] if self.spans else None
        if last is not None and last.end is None and date >= last.start:
            last.end = date

    @property
    def is_joined(self) -> bool:
        """Whether it shares a bridge with the client now."""
        return bool(self.spans) and self.spans[-1].end is None
