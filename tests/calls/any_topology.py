"""A model of Asterisk's bridging: random calls of phones and Local channels, and the truth of them.

``python -m tests.calls.any_topology 1000000`` runs as many; each is made from its number, so that
one that fails can be run again: ``python -m tests.calls.any_topology 1 417``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from ccdaemon.calls import signals
from ccdaemon.calls.board import Board, nobodys
from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import begin
from ccdaemon.calls.model import State
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.topology import Topology

#: How many things happen in one run.
STEPS = 40
#: How the names of channels begin that have no other half.
KINDS = ("PJSIP/10{}", "SIP/trunk", "PJSIP/20{}", "Surrogate/PJSIP/10{}", "AudioSocket/bot")
#: Most live channels at one time; Local halves count one each.
MOST = 14


@dataclass
class Channel:
    """What is true of a channel: its bridge, and the other half if it is one of two."""

    uniqueid: str
    name: str
    bridge: str = ""
    half: Channel | None = None
    linkedid: str = ""

    @property
    def is_party(self) -> bool:
        """Whether it is a phone's."""
        return self.name.startswith(("PJSIP/", "SIP/"))


@dataclass
class Model:
    """Asterisk, as far as channels and bridges go.

    What happens to one channel is told in its order; what happens to two may be told either way
    round, for two threads tell it. ``told`` is the order in which it is told; ``happened`` the one
    in which it was, with what is true after each, if it is ``watched``.
    """

    random: Random
    date: int = 1_795_412_687_000
    count: int = 0
    channels: list[Channel] = field(default_factory=list)
    holding: set[str] = field(default_factory=set)
    waiting: dict[str, list[Signal]] = field(default_factory=dict)
    told: list[Signal] = field(default_factory=list)
    happened: list[tuple[Signal, dict[str, frozenset[str]]]] = field(default_factory=list)
    watched: bool = False

    # What happens

    def step(self) -> None:
        """Let one thing happen."""
        acts: list[Callable[[], None]] = [self.phone, self.local, self.hang_up]
        acts += [self.enter, self.enter, self.enter, self.leave, self.swap, self.optimise]
        acts += [self.merge, self.rename]
        self.random.choice(acts)()

    def phone(self) -> None:
        """A phone's channel, or one of a bot or of Asterisk's own, is born."""
        if len(self.channels) < MOST:
            kind = self.random.choice(KINDS).format(self.random.randrange(4))
            self._born(f"{kind}-{self.count:08x}")

    def local(self) -> None:
        """The two halves of a Local channel are born."""
        if len(self.channels) < MOST:
            name = f"Local/{self.count}@somewhere-{self.count:08x}"
            one, two = self._born(f"{name};1"), self._born(f"{name};2")
            one.half, two.half = two, one

    def _born(self, name: str) -> Channel:
        self.count += 1
        uniqueid = f"1795412687.{self.count}"
        rung_by = self._any() if self.random.random() < 0.5 else None
        channel = Channel(uniqueid, name, linkedid=rung_by.linkedid if rung_by else uniqueid)
        self.channels.append(channel)
        self._tell(channel, signals.Started, name)
        return channel

    def enter(self) -> None:
        """A channel enters a bridge that is there, or a new one, out of the one it is in."""
        channel = self._any()
        if channel is None:
            return
        there = sorted({one.bridge for one in self.channels if one.bridge})
        if self.random.random() < 0.4 or not there:
            self.count += 1
            there = [f"bridge-{self.count}"]
            if self.random.random() < 0.2:
                self.holding.add(there[0])
        self._move(channel, self.random.choice(there))

    def leave(self) -> None:
        """A channel leaves its bridge and goes on in the dialplan."""
        channel = self._any(bridged=True)
        if channel is not None:
            self._out(channel)

    def swap(self) -> None:
        """A channel takes another one's place in its bridge, as after a transfer."""
        one, two = self._any(), self._any(bridged=True)
        if one is not None and two is not None and one is not two:
            bridge = two.bridge
            self._out(two)
            self._move(one, bridge)

    def optimise(self) -> None:
        """A Local channel between two bridges is taken out: one side moves over to the other."""
        halves = [one for one in self.channels if one.half and one.bridge and one.half.bridge]
        halves = [one for one in halves if one.half and one.half.bridge != one.bridge]
        if not halves:
            return
        one = self.random.choice(halves)
        assert one.half is not None
        others = [x for x in self.channels if x.bridge == one.bridge and x is not one]
        target = one.half.bridge
        if self.holding & {one.bridge, target}:
            return
        for other in others:
            self._move(other, target)
        self._hang_up(one.half)
        self._hang_up(one)

    def merge(self) -> None:
        """All of one bridge move to another."""
        one, two = self._any(bridged=True), self._any(bridged=True)
        if one and two and one.bridge != two.bridge:
            source, target = one.bridge, two.bridge
            for channel in [x for x in self.channels if x.bridge == source]:
                self._move(channel, target)

    def rename(self) -> None:
        """A pickup or a masquerade mangles what a channel is called from then on."""
        channel = self._any()
        if channel is not None and channel.is_party and not channel.name.endswith("<MASQ>"):
            channel.name += "<MASQ>"

    def hang_up(self) -> None:
        """A channel ends, out of its bridge or without leaving it; of a Local both halves do."""
        channel = self._any()
        if channel is not None:
            if channel.half is not None and self.random.random() < 0.9:
                self._hang_up(channel.half)
            self._hang_up(channel)

    def _hang_up(self, channel: Channel) -> None:
        if channel.bridge:
            self._out(channel)
        if channel.half is not None:
            channel.half.half = None
        self.channels.remove(channel)
        self._tell(channel, signals.Ended, 16, "")

    def _move(self, channel: Channel, bridge: str) -> None:
        if channel.bridge == bridge:
            return
        if channel.bridge:
            self._out(channel)
        channel.bridge = bridge
        self._tell(channel, signals.Entered, channel.name, bridge, bridge in self.holding)

    def _out(self, channel: Channel) -> None:
        bridge, channel.bridge = channel.bridge, ""
        self._tell(channel, signals.Left, bridge)

    def _any(self, *, bridged: bool = False) -> Channel | None:
        found = [one for one in self.channels if one.bridge or not bridged]
        return self.random.choice(found) if found else None

    # What is told

    def _tell(self, channel: Channel, kind: type[Signal], *rest: object) -> None:
        # Two things may happen in one millisecond.
        self.date += self.random.choice((0, 0, 1, 1, 40, 1500))
        signal = kind(channel.uniqueid, channel.linkedid, self.date, *rest)
        if self.watched:
            self.happened.append((signal, self.circles()))
        self.waiting.setdefault(channel.uniqueid, []).append(signal)

    def deliver(self) -> list[Signal]:
        """Everything that is not told yet, in an order in which it may be told."""
        delivered = []
        while self.waiting:
            channel = self.random.choice(list(self.waiting))
            delivered.append(self.waiting[channel].pop(0))
            if not self.waiting[channel]:
                del self.waiting[channel]
        self.told += delivered
        return delivered

    # What is true

    def circles(self) -> dict[str, frozenset[str]]:
        """The parties that hear each party, by brute force: sets that touch are joined."""
        sets: list[set[str]] = [{one.uniqueid} for one in self.channels]
        for one in self.channels:
            if one.half is not None:
                sets.append({one.uniqueid, one.half.uniqueid})
            if one.bridge and one.bridge not in self.holding:
                sets.append({x.uniqueid for x in self.channels if x.bridge == one.bridge})
        joined: list[set[str]] = []
        for each in sets:
            touching = [other for other in joined if other & each]
            joined = [other for other in joined if not other & each]
            joined.append(each.union(*touching))
        parties = {one.uniqueid for one in self.channels if one.is_party}
        return {
            one: frozenset((circle & parties) - {one})
            for circle in joined
            for one in circle & parties
        }


def differs(number: int) -> str | None:
    """What a topology says wrong in the run of this number; None if it is right throughout."""
    model = Model(Random(number))
    topology = Topology()
    for _ in range(STEPS):
        model.step()
        if model.random.random() < 0.5:
            continue
        for signal in model.deliver():
            topology.hear(signal)
        if model.random.random() < 0.1:
            # The log is read again from a place before.
            for signal in model.told[model.random.randrange(len(model.told) + 1) :]:
                topology.hear(signal)
        for channel, others in model.circles().items():
            said = topology.others(channel)
            if said != others:
                return f"run {number}: {channel} with {sorted(said)} instead of {sorted(others)}"
        if len(topology) != len(model.channels):
            return f"run {number}: {len(topology)} channels instead of {len(model.channels)}"
    return None


def call_differs(number: int) -> str | None:
    """What an inbound call says wrong of whom its client talked with, and for how long."""
    model = Model(Random(number), watched=True)
    for _ in range(STEPS):
        model.step()
    board, call = Board(), None
    truth: dict[str, list[list[int]]] = {}
    for signal, circles in model.happened:
        if call is None and isinstance(signal, signals.Started) and signal.name[:4] == "SIP/":
            opening = signals.Incoming(
                signal.channel, signal.linkedid, signal.date, signal.name, "380631234567", ""
            )
            call, _ = begin(1, opening, nobodys)
            board.add(call)
        board.hear(signal)
        if call is None:
            continue
        if call.client.over:
            break
        now = circles.get(call.anchor, frozenset())
        for one in now:
            spans = truth.setdefault(one, [])
            if not spans or spans[-1][1]:
                spans.append([signal.date, 0])
        for one, spans in truth.items():
            if one not in now and not spans[-1][1]:
                spans[-1][1] = signal.date
        if (wrong := _said_wrong(call, now, truth)) is not None:
            return f"run {number}, {signal}: {wrong}"
    if call is not None and call.client.over:
        board.settle(call)
    if call is not None and call.client.over and not call.final:
        return f"run {number}: the client has gone, and the call goes on"
    return None


def _said_wrong(
    call: Call, now: frozenset[str], truth: Mapping[str, list[list[int]]]
) -> str | None:
    joined = {leg.channel for leg in call.operators if leg.is_joined}
    if joined != now:
        return f"with {joined} instead of {set(now)}"
    talked = {leg.channel: leg for leg in call.operators if leg.spans}
    if talked.keys() != truth.keys():
        return f"talked with {set(talked)} instead of {set(truth)}"
    for channel, leg in talked.items():
        if State.OPERATOR_PICKUP not in leg.states:
            return f"{channel} has talked, and it is not told"
        spans = [[span.start, span.end or 0] for span in leg.spans]
        if _merged(spans) != _merged(truth[channel or ""]):
            return f"{channel} talked {spans} instead of {truth[channel or '']}"
    picked_up = [told for told in call.states if told.state is State.OPERATOR_PICKUP]
    if len(picked_up) != len(truth):
        return f"{len(picked_up)} pickups are told instead of {len(truth)}"
    return None


def _merged(spans: list[list[int]]) -> list[list[int]]:
    """The spans, those that follow at once as one, and without those that took no time."""
    merged: list[list[int]] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            merged[-1][1] = end
        else:
            merged.append([start, end])
    return [span for span in merged if span[0] != span[1]]


def main(count: int, first: int) -> None:
    """Run as many, and say what is wrong."""
    began = time.monotonic()
    for number in range(first, first + count):
        if (wrong := differs(number) or call_differs(number)) is not None:
            sys.exit(wrong)
        if number % 10_000 == 0 and number > first:
            print(f"{number - first} runs in {time.monotonic() - began:.0f} s", flush=True)
    print(f"{count} runs, all right, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *["1000", "0"][len(sys.argv) - 1 :]]))
