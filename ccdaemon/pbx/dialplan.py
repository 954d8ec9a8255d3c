"""What our own dialplan says, and the signals that it spells: one table for both spellings.

A ``UserEvent`` has each word in a header of its own, the ``CELGenUserEvent`` of the same name has
them in the same order, joined by ``|``. Both run on the channel that is spoken of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ccdaemon.calls import signals
from ccdaemon.calls.causes import SILENT_WORDS
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel that is spoken of: its ids, the moment (ms), and its name."""

    uniqueid: str
    linkedid: str
    date: int
    name: str

    @property
    def ids(self) -> tuple[str, str, int]:
        """Channel, linkedid and date, as signals begin."""
        return self.uniqueid, self.linkedid, self.date


@dataclass(frozen=True, slots=True)
class DialplanEvent:
    """One thing that the dialplan says: the headers of its words, and what they spell."""

    headers: tuple[str, ...]
    spell: Callable[..., Signal]

    def in_event(self, channel: Channel, header: Callable[[str], str]) -> Signal:
        """What a UserEvent says, whose headers ``header`` reads."""
        return self.spell(channel, *map(header, self.headers))

    def in_row(self, channel: Channel, words: str) -> Signal:
        """What a row of the log with these words says."""
        found = [*words.split("|"), *([""] * len(self.headers))]
        return self.spell(channel, *found[: len(self.headers)])


def _dial(channel: Channel) -> Signal:
    return signals.Asked(*channel.ids, Role.CLIENT)


def _end(channel: Channel, dial_status: str, tech: str, source: str) -> Signal:
    return signals.ClientDialResult(*channel.ids, dial_status, tech, source)


def _incoming(channel: Channel, phone: str, did: str) -> Signal:
    return signals.Incoming(*channel.ids, channel.name, phone, did)


def _dialout(channel: Channel, phone: str) -> Signal:
    return signals.DialledOut(*channel.ids, channel.name, phone)


def _ask(channel: Channel, sips: str, phones: str, number: str) -> Signal:
    return signals.DialAttempt(*channel.ids, _list(sips), _list(phones), _count(number))


def _asked(channel: Channel, dial_status: str, tech: str, source: str, number: str) -> Signal:
    return signals.DialResult(*channel.ids, dial_status, tech, source, _count(number))


def _silent(channel: Channel, leg: str) -> Signal:
    return signals.Noted(*channel.ids, SILENT_WORDS.get(leg, "no sound from one of them"))


def _count(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def _list(joined: str) -> tuple[str, ...]:
    return tuple(filter(None, joined.split("&")))


DIALPLAN_EVENTS: dict[str, DialplanEvent] = {
    "ccdaemon-dial": DialplanEvent((), _dial),
    "ccdaemon-end": DialplanEvent(("DialStatus", "Tech", "Source"), _end),
    "ccdaemon-incoming": DialplanEvent(("Phone", "Did"), _incoming),
    "ccdaemon-dialout": DialplanEvent(("Phone",), _dialout),
    "ccdaemon-ask": DialplanEvent(("Sip", "Phone", "Nr"), _ask),
    "ccdaemon-asked": DialplanEvent(("DialStatus", "Tech", "Source", "Nr"), _asked),
    "ccdaemon-silent": DialplanEvent(("Leg",), _silent),
}
#: What the dialplan says to the daemon alone: a recording begins while it is paused.
PAUSED = "ccdaemon-paused"
#: The headers of every UserEvent of ours.
HEADERS: Mapping[str, tuple[str, ...]] = {
    PAUSED: (),
    **{name: saying.headers for name, saying in DIALPLAN_EVENTS.items()},
}
