"""A leg: one phone of a call, and what its channel has shown.

Pure. What it means to the call the machine decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdaemon.calls import causes, signals
from ccdaemon.calls.model import Role, State
from ccdaemon.calls.tables import HALVES


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
    ``spans``: when it shared a bridge with the client; ``holds``: when it had the other side on
    hold by its own key. ``phones`` are further channels that ring for the same operator, with their
    names: the leg is about the one that is picked up. ``phone_end`` is how the last of them ended.
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
    holds: list[Span] = field(default_factory=list)
    phones: dict[str, str] = field(default_factory=dict)
    phone_end: signals.Ended | None = None
    states: set[State] = field(default_factory=set)

    def take(self, channel: str) -> None:
        """It is about this one of its phones from now on."""
        # Only beside a first channel there are others.
        assert self.channel is not None
        self.phones[self.channel] = self.channel_name
        self.channel, self.channel_name = channel, self.phones.pop(channel)

    def others(self, channel: str) -> list[str]:
        """Which of its phones are there beside this one; half a Local channel is none."""
        known = {**self.phones, **({self.channel: self.channel_name} if self.channel else {})}
        return [
            one for one, name in known.items() if one != channel and not name.startswith(HALVES)
        ]

    def goes_on_without(self, end: signals.Ended) -> bool:
        """Whether the end of a channel is not the leg's, for another one is there in its stead."""
        if end.channel in self.phones:
            del self.phones[end.channel]
            if self.answered is None and self.up is None:
                self.phone_end = end
            return True
        if self.answered is not None or self.up is not None or not self.others(end.channel):
            return False
        self.take(self.others(end.channel)[0])
        del self.phones[end.channel]
        return True

    def told_by(self, end: signals.Ended) -> signals.Ended:
        """The end that tells why: behind half a Local channel it is the phone's."""
        is_half = self.channel_name.startswith(HALVES)
        return self.phone_end or end if is_half else end

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
