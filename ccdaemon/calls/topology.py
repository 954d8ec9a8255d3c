"""Who talks with whom: channels, bridges and Local pairs, as Asterisk moves them.

Pure. It is told what AMI and the log of channel events both tell: a channel was born, entered a
bridge, left it, ended. Parties are phones' channels. They are in one circle while they share a
bridge, through whatever chain of bridges and Local pairs; that is what a talk is.

A channel is known by its uniqueid, which stays with the phone when Asterisk swaps two channels (a
pickup, a transfer), while what it is called is mangled then. The two halves of a Local channel
find each other by their name. What is told again, or of a channel nobody knew, does no harm.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from ccdaemon.calls import signals
from ccdaemon.calls.tables import HALVES, NO_PHONE

#: As many channels are known at a time; beyond that the one that was heard of first is forgotten.
MOST_CHANNELS = 50_000
#: As many ended channels are known as such: what is told late of them means nothing any more.
MOST_ENDED = 10_000


@dataclass(slots=True)
class _Channel:
    """A live channel; ``moved``: when it entered or left a bridge last."""

    name: str
    bridge: str = ""
    moved: int = 0


def is_party(name: str) -> bool:
    """Whether a channel of this name is a phone's, and no half, helper or bot."""
    return bool(name) and not name.startswith(NO_PHONE)


class Topology:
    """The live channels, and in what bridges they are."""

    def __init__(self) -> None:
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        self._bridges: dict[str, set[str]] = {}
        # Those in which each hears music, and nobody another one.
        self._holding: set[str] = set()
        # Halves of Local channels by name.
        self._halves: dict[str, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._channels)

    def name(self, channel: str) -> str:
        """What a live channel is called; empty if it is not known."""
        known = self._channels.get(channel)
        return known.name if known else ""

    def is_bridged(self, channel: str) -> bool:
        """Whether the channel is in any bridge, alone, on hold or in a talk."""
        known = self._channels.get(channel)
        return known is not None and bool(known.bridge)

    def others(self, channel: str) -> frozenset[str]:
        """The parties that share a circle with a channel, itself left out."""
        parties = (one for one in self._circle(channel) if is_party(self._channels[one].name))
        return frozenset(one for one in parties if one != channel)

    def hear(self, signal: signals.Signal) -> frozenset[str]:
        """Take in what happened; the channels that may share a circle with others than before."""
        if isinstance(signal, signals.Entered):
            return self._enter(signal)
        if isinstance(signal, signals.Left):
            return self._leave(signal)
        if isinstance(signal, signals.Started):
            self._know(signal.channel, signal.name)
            return frozenset()
        if isinstance(signal, signals.Ended | signals.Lost):
            return self._end(signal.channel)
        return frozenset()

    def forget(self, channel: str) -> None:
        """Know nothing of a channel, nor of its end: all of it is told again."""
        self._ended.pop(channel, None)
        if channel in self._channels:
            self._forget(channel)

    def _enter(self, signal: signals.Entered) -> frozenset[str]:
        channel = self._know(signal.channel, signal.name)
        if channel is None or signal.date < channel.moved:
            return frozenset()
        channel.moved = signal.date
        if channel.bridge == signal.bridge:
            return frozenset()
        before = self._circle(signal.channel)
        self._take_out(signal.channel, channel)
        channel.bridge = signal.bridge
        self._bridges.setdefault(signal.bridge, set()).add(signal.channel)
        if signal.holding:
            self._holding.add(signal.bridge)
        return before | self._circle(signal.channel)

    def _leave(self, signal: signals.Left) -> frozenset[str]:
        channel = self._channels.get(signal.channel)
        if channel is None or signal.date < channel.moved or not channel.bridge:
            return frozenset()
        if signal.bridge not in ("", channel.bridge):
            return frozenset()
        channel.moved = signal.date
        before = self._circle(signal.channel)
        self._take_out(signal.channel, channel)
        return before

    def _end(self, uniqueid: str) -> frozenset[str]:
        channel = self._channels.get(uniqueid)
        self._ended[uniqueid] = None
        while len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)
        if channel is None:
            return frozenset()
        before = self._circle(uniqueid)
        self._forget(uniqueid)
        return before

    def _know(self, uniqueid: str, name: str) -> _Channel | None:
        """The channel, from now on known; None if it has ended before."""
        if uniqueid in self._ended:
            return None
        channel = self._channels.get(uniqueid)
        if channel is None:
            channel = self._channels[uniqueid] = _Channel(name)
            if _other_half(name):
                self._halves[name] = uniqueid
            while len(self._channels) > MOST_CHANNELS:
                self._forget(next(iter(self._channels)))
        return channel

    def _forget(self, uniqueid: str) -> None:
        channel = self._channels.pop(uniqueid)
        self._take_out(uniqueid, channel)
        if self._halves.get(channel.name) == uniqueid:
            del self._halves[channel.name]

    def _take_out(self, uniqueid: str, channel: _Channel) -> None:
        bridge, channel.bridge = channel.bridge, ""
        if bridge:
            members = self._bridges[bridge]
            members.discard(uniqueid)
            if not members:
                del self._bridges[bridge]
                self._holding.discard(bridge)

    def _circle(self, start: str) -> frozenset[str]:
        """All channels, of whatever kind, that hear each other with this one."""
        if start not in self._channels:
            return frozenset()
        found, ahead = {start}, [start]
        while ahead:
            for near in self._near(ahead.pop()):
                if near not in found:
                    found.add(near)
                    ahead.append(near)
        return frozenset(found)

    def _near(self, uniqueid: str) -> Iterator[str]:
        channel = self._channels[uniqueid]
        if channel.bridge and channel.bridge not in self._holding:
            yield from self._bridges[channel.bridge]
        half = self._halves.get(_other_half(channel.name))
        if half is not None:
            yield half


def _other_half(name: str) -> str:
    """The name of the other half of a Local channel; empty for any other channel."""
    if name.startswith(HALVES):
        if name.endswith(";1"):
            return f"{name[:-1]}2"
        if name.endswith(";2"):
            return f"{name[:-1]}1"
    return ""
