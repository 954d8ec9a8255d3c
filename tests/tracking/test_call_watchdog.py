"""Tests of the watchdog of calls, which closes what stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.call import Call, add_state
from ccdaemon.calls.machine import open_call
from ccdaemon.calls.model import Direction, State
from ccdaemon.tracking.call_watchdog import LOOK_EVERY, CallWatchdog, Longest
from tests.tracking.test_live_inbound import InboundCase


class Live:
    """Live calls that are lost by writing it down."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.noted: list[tuple[int, str]] = []
        self.lost: list[tuple[int, str, str]] = []

    def asked(self) -> list[Call]:
        """The calls."""
        return self.calls

    def note(self, call: Call, words: str) -> None:
        """Keep it."""
        self.noted.append((call.call_id, words))

    def fail(self, call: Call, words: str) -> None:
        """Let it be over."""

    def lose(self, call: Call, channel: str, words: str) -> None:
        """Keep it, and be over."""
        if call.call_id == 9:
            raise ValueError("broken")
        self.lost.append((call.call_id, channel, words))


def call(call_id: int, date: int, *channels: str) -> Call:
    """A call that has just begun, with channels that are there."""
    made = Call(call_id, None, None, Direction.OUTBOUND, "1000", "380", f"cc-{call_id}")
    open_call(made, date)
    made.channels |= set(channels)
    return made


class Watching(SynchronousTestCase):
    """A watchdog that lets calls ring for a minute."""

    def setUp(self) -> None:
        """Begin at 1000 s."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.live = Live()
        longest = Longest(ringing=60, talking=600)
        self.watchdog = CallWatchdog(cast(Any, self.live), longest, cast(Any, self.clock))
        self.watchdog.startService()
        self.addCleanup(self.watchdog.stopService)

    def test_closed_in_time(self) -> None:
        """A call is left alone for its minute, and closed within two looks of its end."""
        self.live.calls = [call(7, 1_000_000)]
        self.clock.pump([LOOK_EVERY] * 7)
        self.assertEqual(self.live.lost, [])
        self.clock.advance(LOOK_EVERY)
        words = "closed by the watchdog: ringing for more than 60 s"
        self.assertEqual(self.live.noted, [(7, words)])
        self.assertEqual(self.live.lost, [(7, "cc-7", words)])
        self.assertEqual(self.watchdog.closed, 1)

    def test_what_happens_begins_it_anew(self) -> None:
        """A call has its minute from each of its states on."""
        self.live.calls = [ringing] = [call(7, 1_000_000)]
        for state in (State.OPERATOR_CALLTO, State.OPERATOR_PICKUP):
            self.clock.pump([LOOK_EVERY] * 7)
            add_state(ringing, state, 0, ringing.legs[0])
        self.clock.pump([LOOK_EVERY] * 7)
        self.assertEqual(self.live.lost, [])

    def test_a_clock_that_is_set(self) -> None:
        """No call is closed by what its dates are: they may be a wrong clock's."""
        self.live.calls = [call(7, 1), call(8, 10**13)]
        self.clock.pump([LOOK_EVERY] * 7)
        self.assertEqual(self.live.lost, [])
        self.clock.advance(LOOK_EVERY)
        self.assertEqual([call_id for call_id, _, _ in self.live.lost], [7, 8])

    def test_every_channel_is_let_go(self) -> None:
        """A call is over when none of its channels is left."""
        self.live.calls = [call(7, 0, "a", "b")]
        self.clock.pump([LOOK_EVERY] * 8)
        self.assertEqual({channel for _, channel, _ in self.live.lost}, {"cc-7", "a", "b"})
        self.assertEqual(self.watchdog.closed, 1)

    def test_one_that_cannot_be_closed(self) -> None:
        """Is no reason to leave the others open."""
        self.live.calls = [call(9, 0), call(8, 0)]
        self.clock.pump([LOOK_EVERY] * 8)
        self.assertEqual([call_id for call_id, _, _ in self.live.lost], [8])
        self.flushLoggedErrors(ValueError)


class EveryPhase(InboundCase):
    """Calls that stay as they are, in every phase: real live calls over a real journal."""

    #: How far each gets: the steps, the phase it is closed in, and the state it ends with.
    OUTBOUND: ClassVar = {
        "nothing is heard of it": (0, "ringing", State.ERROR),
        "the operator's phone rings": (1, "ringing", State.ERROR),
        "the operator has picked up": (2, "ringing", State.ERROR),
        "the client's phone rings": (4, "ringing", State.ERROR),
        "they talk": (5, "talking", State.FINISH),
        "the client is on hold": (6, "talking", State.FINISH),
    }
    INBOUND: ClassVar = {
        "nobody is asked": (0, "ringing", State.ERROR),
        "an operator is asked": (1, "ringing", State.ERROR),
        "an operator's phone rings": (2, "ringing", State.ERROR),
        "they talk": (3, "talking", State.FINISH),
        "the client is on hold": (4, "talking", State.FINISH),
    }

    async def follow(self, call: Call, steps: list[Callable[[], None]]) -> None:
        """Have what there is of a call heard, then nothing more."""
        for step in steps:
            step()
        await self.chain(call.call_id)

    async def closed(self, call: Call, phase: str) -> State:
        """Let the time pass that the phase may last: what the call is closed with, marked so."""
        limit = {"ringing": 60, "talking": 600}[phase]
        watchdog = CallWatchdog(self.live, Longest(ringing=60, talking=600), self.clock)
        watchdog.look()
        self.clock.advance(limit - 1)
        watchdog.look()
        self.assertEqual((call.phase, watchdog.closed), (phase, 0))
        self.clock.advance(2)
        watchdog.look()
        watchdog.look()
        self.assertEqual(watchdog.closed, 1)
        self.assertIsNone(self.live.call(call.call_id))
        await self.chain(call.call_id)
        kept = await self.log.chain(call.call_id)
        assert kept is not None
        states = [row.state for row in kept.states]
        self.assertEqual([one.final for one in states], [False] * (len(states) - 1) + [True])
        words = f"closed by the watchdog: {phase} for more than {limit} s"
        self.assertEqual((states[-1].detail or "").count(words), 1, states[-1])
        return states[-1].state

    async def make(self, key: str) -> Call:
        """An outbound call that Asterisk was asked for."""
        call_id = await self.make_call(external_key=key)
        call = self.live.call(call_id)
        assert call is not None
        return call

    def outbound(self, call: Call) -> list[Callable[[], None]]:
        """What is heard of an outbound call, step by step."""
        anchor = self.anchor(call.call_id)
        client = {"Uniqueid": f"{call.call_id}.1", "Linkedid": anchor["Linkedid"]}
        return [
            lambda: self.hear("Newchannel", Channel="PJSIP/1000-1", **anchor),
            lambda: self.hear("Newstate", ChannelState="6", **anchor),
            lambda: self.hear("UserEvent", UserEvent="ccdaemon-dial", **anchor),
            lambda: self.hear("Newchannel", Channel="PJSIP/trunk-2", **client),
            lambda: self.hear("Newstate", ChannelState="6", **client),
            lambda: self.hear("Hangup", Cause="16", **anchor),
        ]

    async def test_outbound(self) -> None:
        """Wherever a call stands it is closed, once, with the watchdog's words."""
        for key, (length, phase, expected) in self.OUTBOUND.items():
            call = await self.make(key)
            await self.follow(call, self.outbound(call)[:length])
            self.assertEqual(await self.closed(call, phase), expected, key)

    async def test_an_operator_who_left(self) -> None:
        """What their own end says decides; that the client's was never seen is said beside it."""
        call = await self.make("left")
        steps = self.outbound(call)
        await self.follow(call, [*steps[:4], steps[5]])
        self.assertEqual(await self.closed(call, "ringing"), State.OPERATOR_BUSY)

    async def test_an_operator_whose_end_is_unexplained(self) -> None:
        """Their channel ended without a cause, Originate was never answered: one look will do."""
        call = await self.make("unexplained")
        beside = {"Uniqueid": "99.1", "Linkedid": call.anchor, "Channel": "Local/1@x-1;1"}
        steps = [
            self.outbound(call)[0],
            lambda: self.hear("Newchannel", **beside),
            lambda: self.hear("Hangup", Cause="0", **self.anchor(call.call_id)),
        ]
        await self.follow(call, steps)
        self.assertEqual(call.channels, {"99.1"})
        watchdog = CallWatchdog(self.live, Longest(ringing=60, talking=600), self.clock)
        watchdog.look()
        self.clock.advance(61)
        watchdog.look()
        self.assertIsNone(self.live.call(call.call_id))
        watchdog.look()
        self.assertEqual(watchdog.closed, 1)
        self.assertEqual((await self.chain(call.call_id))[-1], State.ERROR)

    async def test_inbound(self) -> None:
        """The same of clients who call in."""
        for number, (key, (length, phase, expected)) in enumerate(self.INBOUND.items()):
            anchor = f"18.{number}"
            leg = {"Uniqueid": f"{anchor}1", "Linkedid": anchor, "Channel": "PJSIP/1000-00000041"}
            call = await self.calls_in(channel=anchor)
            await self.follow(call, self.inbound(anchor, leg)[:length])
            self.assertEqual(await self.closed(call, phase), expected, key)

    def inbound(self, anchor: str, leg: dict[str, str]) -> list[Callable[[], None]]:
        """What is heard of a call of a client's, step by step."""
        client = {"Uniqueid": anchor, "Linkedid": anchor}
        return [
            lambda: self.says("ask", client, Sip="1000", Phone="", Nr="1"),
            lambda: self.hear("Newchannel", **leg),
            lambda: self.hear("Newstate", ChannelState="6", **leg),
            lambda: self.ends(leg),
        ]
