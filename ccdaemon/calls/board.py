"""The board: every live call, found by its number, by its channels or by its operators.

Pure. It routes signals to the calls they belong to, tells each call who talks with its client, and
forgets a call once its last state is told. It knows nothing of where signals come from or who is
told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import StateChange
from ccdaemon.calls.topology import Topology

#: Milliseconds that a call goes on after its client has gone: what ends with them ends by then.
GONE_AFTER = 1000


@dataclass(frozen=True, slots=True)
class Reached:
    """A call that a signal has reached: ``states`` it adds to the ``told`` ones before.

    ``error``: it could not take the signal, and what it told then is to be doubted.
    """

    call: Call
    told: int
    states: list[StateChange]
    error: Exception | None = None


def nobodys(name: str) -> str | None:
    """No channel is known to be an operator's."""
    return None


@dataclass(slots=True)
class _Place:
    """What leads to a call: channels and linkedids, whose company it is about, its operators.

    ``talkers`` are those with whom the client talks.
    """

    channels: set[str] = field(default_factory=set)
    linkedids: set[str] = field(default_factory=set)
    watched: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    talkers: frozenset[str] = frozenset()


class Board:
    """Live calls. A call is keyed by its own id; Asterisk's ids only lead to it.

    :param sip_of: the operator whose phone a channel of this name is, None if it is nobody's.
    :param bridges: whether it is told who is in a bridge with whom; else whoever is up talks.
    """

    def __init__(
        self, sip_of: Callable[[str], str | None] = nobodys, *, bridges: bool = True
    ) -> None:
        self._sip_of = sip_of
        self._bridges = bridges
        self._topology = Topology()
        self._calls: dict[int, Call] = {}
        self._places: dict[int, _Place] = {}
        # The anchor's uniqueid is the linkedid of every leg that follows, until the client joins
        # another bridge. Two calls may have the same one then, and stay two.
        self._by_channel: dict[str, list[Call]] = {}
        self._by_linkedid: dict[str, list[Call]] = {}
        self._by_watched: dict[str, list[Call]] = {}
        self._by_sip: dict[str, list[Call]] = {}
        # When the clients have gone of calls that go on without them.
        self._gone: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    @property
    def bridges(self) -> bool:
        """Whether it is told who is in a bridge with whom."""
        return self._bridges

    @bridges.setter
    def bridges(self, told: bool) -> None:
        self._bridges = told
        for call in self._calls.values():
            call.bridges = told

    def add(self, call: Call) -> None:
        """Put up a call that has told its first state."""
        call.bridges = self._bridges
        self._calls[call.call_id] = call
        self._places[call.call_id] = _Place()
        self._find_by(call, self._by_linkedid, self._places[call.call_id].linkedids, {call.anchor})
        self._note(call)

    def link(self, call: Call, linkedid: str) -> None:
        """Know the call by a linkedid that its first channel has from another one."""
        self._find_by(call, self._by_linkedid, self._places[call.call_id].linkedids, {linkedid})

    def call(self, call_id: int) -> Call | None:
        """The live call of this number, or None."""
        return self._calls.get(call_id)

    def of_channel(self, channel: str) -> Call | None:
        """The live call that a channel belongs to, by its uniqueid, or None."""
        return _last(self._by_channel.get(channel))

    def of_operator(self, sip: str) -> Call | None:
        """The newest live call that operator ``sip`` is on or being rung for, or None."""
        return _last(self._by_sip.get(sip))

    def whose(self, signal: signals.Signal) -> Call | None:
        """The live call that a signal belongs to, or None."""
        # A channel that joined another bridge may have got another linkedid.
        known = _last(self._by_channel.get(signal.channel))
        return known or self._of_linkedid(signal.linkedid)

    def _of_linkedid(self, linkedid: str) -> Call | None:
        """The call of a linkedid; of several the one whose client talks with nobody just now."""
        calls = self._by_linkedid.get(linkedid, [])
        if len(calls) > 1:
            calls = [call for call in calls if not self._places[call.call_id].talkers]
            return calls[0] if len(calls) == 1 else None
        return calls[0] if calls else None

    def is_bridged(self, channel: str) -> bool:
        """Whether a channel of a live call is in any bridge, as far as that is told."""
        return channel in self._by_channel and self._topology.is_bridged(channel)

    def forget_channel(self, channel: str) -> None:
        """Do not know where a channel is: all of it is told again, to a call begun since."""
        self._topology.forget(channel)

    def hear(self, signal: signals.Signal) -> list[Reached]:
        """Give a signal to its calls; nothing if it belongs to no live call of ours."""
        heard = self._settle(signal.date)
        if isinstance(signal, signals.Started):
            signal = replace(signal, sip=self._sip_of(signal.name))
        moved = self._topology.hear(signal)
        calls = list(self._by_channel.get(signal.channel, ()))
        if not calls and (call := self._of_linkedid(signal.linkedid)) is not None:
            calls = [call]
        for call in calls:
            heard.append(self._step(call, partial(self._advance, call, signal)))
        for call in self._concerned(moved):
            heard.append(self._step(call, partial(self._meet, call, signal.date)))
        return heard

    def _step(self, call: Call, step: Callable[[], None]) -> Reached:
        """Do something with a call; no other one hears of it if that cannot be done."""
        told = len(call.states)
        try:
            step()
        except Exception as error:
            return Reached(call, told, call.states[told:], error)
        return Reached(call, told, call.states[told:])

    def _advance(self, call: Call, signal: signals.Signal) -> None:
        machine.advance(call, signal)
        self._note(call, signal)

    def settle(self, call: Call) -> Reached:
        """End a call whose client has gone a while ago; nothing, if it is over by now."""
        return self._step(call, partial(self._end_gone, call))

    def _end_gone(self, call: Call) -> None:
        gone = self._gone.get(call.call_id)
        if gone is not None:
            client = call.client.channel or call.anchor
            machine.advance(call, signals.Gone(client, call.anchor, gone + GONE_AFTER))
            self._note(call)

    def is_left(self, call: Call) -> bool:
        """Whether the call goes on though its client has gone."""
        return call.call_id in self._gone

    def _settle(self, date: int) -> list[Reached]:
        over = [call_id for call_id, gone in self._gone.items() if date > gone + GONE_AFTER]
        return [self.settle(self._calls[call_id]) for call_id in over]

    # Who talks with whom

    def _concerned(self, moved: frozenset[str]) -> list[Call]:
        found = {call.call_id: call for one in moved for call in self._by_watched.get(one, ())}
        return list(found.values())

    def _meet(self, call: Call, date: int) -> None:
        """Tell a call with whom its client talks now."""
        place = self._places[call.call_id]
        talkers: set[str] = set()
        for watched in sorted(call.watched):
            company = self._company(call, watched)
            talkers |= company
            # The call's own first operator comes first: by them it is known who the client is.
            for one in sorted(company, key=lambda one: (one != call.legs[0].channel, one)):
                name = self._topology.name(one)
                joined = signals.Joined(one, watched, date, name, self._sip_of(name))
                machine.advance(call, joined)
        for one in sorted(place.talkers - talkers):
            machine.advance(call, signals.Parted(one, call.anchor, date))
        place.talkers = frozenset(talkers)
        self._note(call)

    def _company(self, call: Call, watched: str) -> set[str]:
        """With whom a client talks; clients of other calls who are there, too, are no operators."""
        others = self._topology.others(watched) - call.watched
        return {one for one in others if not self._by_watched.get(one)}

    # Finding

    def _note(self, call: Call, signal: signals.Signal | None = None) -> None:
        """Know the call by all its channels, and by its operators as they come and go."""
        if call.final:
            self.remove(call)
            return
        place = self._places[call.call_id]
        joined = {leg.channel for leg in call.operators if leg.channel is not None}
        self._find_by(call, self._by_channel, place.channels, call.known | joined)
        if signal is not None and signal.channel in call.channels:
            # That of somebody who was fetched, or of a conference, is not ours.
            self._find_by(call, self._by_linkedid, place.linkedids, {signal.linkedid} - {""})
        watched = call.watched
        if watched != place.watched:
            self._find_by(call, self._by_watched, place.watched, watched)
            for one in place.watched - watched:
                _take(self._by_watched, one, call)
            place.watched &= watched
        if call.call_id not in self._gone and machine.is_left(call):
            self._gone[call.call_id] = call.client.ended or 0
        self._note_busy(call, place)

    def _find_by(
        self, call: Call, table: dict[str, list[Call]], known: set[str], ids: Iterable[str]
    ) -> None:
        for one in set(ids) - known:
            table.setdefault(one, []).append(call)
            known.add(one)

    def _note_busy(self, call: Call, place: _Place) -> None:
        now = call.busy
        if place.busy != now:
            for sip in now - place.busy:
                self._by_sip.setdefault(sip, []).append(call)
            for sip in place.busy - now:
                _take(self._by_sip, sip, call)
            place.busy = now

    def remove(self, call: Call) -> None:
        """Take down a call that is over, or that never came to be."""
        if self._calls.pop(call.call_id, None) is None:
            return
        place = self._places.pop(call.call_id)
        self._gone.pop(call.call_id, None)
        for table, ids in (
            (self._by_channel, place.channels),
            (self._by_linkedid, place.linkedids),
            (self._by_watched, place.watched),
            (self._by_sip, place.busy),
        ):
            for one in ids:
                _take(table, one, call)


def _last(calls: list[Call] | None) -> Call | None:
    return calls[-1] if calls else None


def _take(table: dict[str, list[Call]], key: str, call: Call) -> None:
    # A call that raised may have been noted only half.
    calls = [one for one in table.pop(key, ()) if one is not call]
    if calls:
        table[key] = calls
