"""Calls that cannot be followed: each is given up by itself, and all others go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import factory, machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import State
from ccdaemon.health import probes
from ccdaemon.health.health import Condition
from ccdaemon.pbx import cel_signals
from ccdaemon.tracking import calls as live_calls
from tests.gap_case import TALK, GapCase
from tests.tracking.test_live_inbound import BY_HAND, CLIENT, LEG, InboundCase


class Stumbled(Exception):
    """What a machine with a fault raises."""


def faulty(of: Callable[[Call, signals.Signal], bool], *, late: bool = False) -> Callable[..., Any]:
    """A call machine that raises over some signals; late: after it has done what it does."""
    real = machine.advance

    def advance(call: Call, signal: signals.Signal) -> Any:
        if of(call, signal):
            if late:
                real(call, signal)
            raise Stumbled
        return real(call, signal)

    return advance


class HeardTests(InboundCase):
    """What the session tells."""

    def stumbles(self, of: Callable[[Call, signals.Signal], bool], *, late: bool = False) -> None:
        """Have the machine raise."""
        self.patch(machine, "advance", faulty(of, late=late))

    async def ends_of(self, call_id: int) -> list[tuple[int, State, bool]]:
        """Numbers, states and whether they are final, as the journal has them in the end."""
        for _ in range(500):
            kept = await self.log.chain(call_id)
            if kept is not None and kept.states[-1].state.final:
                break
            await deferLater(reactor, 0.01)
        assert kept is not None
        return [(row.state.seq, row.state.state, row.state.final) for row in kept.states]

    async def test_the_others_go_on(self) -> None:
        """One call ends with ERROR, said once; the other has its whole chain."""
        call = await self.calls_in()
        lost = call.call_id
        self.stumbles(lambda one, signal: one is call and isinstance(signal, signals.Answered))
        made = await self.make_call(sip="1003")
        self.rings()
        for _ in range(3):
            self.hear("Newstate", ChannelState="6", **LEG)
        self.says("incoming", Phone="380639920000", Did="")
        self.ends(CLIENT)
        await self.talk(made)
        expected = [State.CALL, State.OPERATOR_CALLTO, State.ERROR]
        self.assertEqual(await self.chain(lost), expected)
        view = await self.view(lost)
        self.assertIn("stumbled over Answered of channel 17.41: Stumbled", view.detail or "")
        self.assertEqual(await self.chain(made), TALK)
        self.assertEqual((len(self.live), self.live.given_up.count), (0, 1))
        self.assertIsNone(self.live.of_operator("1000"))
        self.assertEqual(len(self.flushLoggedErrors(Stumbled)), 1)

    async def test_what_was_born_before_it_raised(self) -> None:
        """Such states are told, so that the chain has no hole."""
        call = await self.calls_in()
        self.stumbles(
            lambda _, signal: isinstance(signal, signals.Started) and bool(signal.sip), late=True
        )
        self.rings()
        told = [(1, State.CALL, False), (2, State.OPERATOR_CALLTO, False), (3, State.ERROR, True)]
        self.assertEqual(await self.ends_of(call.call_id), told)
        self.flushLoggedErrors(Stumbled)

    async def test_a_talk(self) -> None:
        """Whoever has talked has talked, whatever is not known of the rest."""
        call = await self.calls_in()
        self.rings()
        self.hear("Newstate", ChannelState="6", **LEG)
        self.stumbles(lambda _, signal: isinstance(signal, signals.HungUp))
        self.hear("HangupRequest", **CLIENT)
        self.assertEqual((await self.chain(call.call_id))[-1], State.FINISH)
        self.flushLoggedErrors(Stumbled)

    async def test_a_machine_that_cannot_even_end_it(self) -> None:
        """Its chain ends all the same, from what the journal has, and the call is taken down."""
        call = await self.calls_in()
        self.stumbles(lambda one, _: one is call)
        self.rings()
        self.assertEqual(len(self.live), 0)
        told = [(1, State.CALL, False), (2, State.ERROR, True)]
        self.assertEqual(await self.ends_of(call.call_id), told)
        self.assertEqual(await self.log.open_calls(), [])
        self.flushLoggedErrors(Stumbled)

    async def test_one_that_cannot_even_begin(self) -> None:
        """Where no call comes of it nobody else is kept, and it is said once."""

        def begin(*_: object, **__: object) -> None:
            raise Stumbled

        self.patch(live_calls, "begin", begin)
        for _ in range(3):
            self.says("dialout", BY_HAND, Phone="380639920000")
        self.assertEqual((len(self.live), self.live.given_up.count), (0, 1))
        self.assertEqual(len(self.flushLoggedErrors(Stumbled)), 1)

    async def test_what_follows_a_state(self) -> None:
        """Where a recording cannot be waited for, what is told is told, and the next call is."""

        def expect(*_: object) -> None:
            raise Stumbled

        self.patch(self.recordings, "expect", expect)
        for key in ("24", "25"):
            call_id = await self.make_call(external_key=key)
            self.patch(self.recordings, "expected", [key])
            await self.talk(call_id)
            self.assertEqual(await self.chain(call_id), TALK)
        self.flushLoggedErrors(Stumbled)

    async def test_health(self) -> None:
        """It is told for an hour, with the words."""
        probe = probes.calls(self.live, self.wall)
        self.assertIs(probe().condition, Condition.OK)
        call = await self.calls_in()
        self.assertEqual(probe().backlog, 1)
        self.stumbles(lambda _, signal: isinstance(signal, signals.Ended))
        self.ends(CLIENT)
        seen = probe()
        self.assertIs(seen.condition, Condition.DEGRADED)
        self.assertIn(f"call {call.call_id} was lost", seen.detail or "")
        self.clock.advance(probes.TOLD_FOR + 1)
        self.assertIs(probe().condition, Condition.OK)
        self.flushLoggedErrors(Stumbled)

    async def test_one_that_cannot_be_taken_up_again(self) -> None:
        """After a start the others are live; it has its end."""
        lost = (await self.calls_in()).call_id
        other = (await self.calls_in(channel="17.50")).call_id
        real = factory.again

        def again(was: Any, *args: Any) -> Call:
            if was.call_id == lost:
                raise Stumbled
            return real(was, *args)

        self.patch(live_calls, "again", again)
        await self.restart()
        self.assertEqual(self.live.numbers(), [other])
        told = [(1, State.CALL, False), (2, State.ERROR, True)]
        self.assertEqual(await self.ends_of(lost), told)
        self.flushLoggedErrors(Stumbled)


class ReadTests(GapCase):
    """What is read up after a gap."""

    async def test_the_session_stands(self) -> None:
        """A call over whose rows the machine raises keeps neither the session nor the others."""
        await self.begin()
        lost, other = await self.make_call(), await self.make_call(sip="1003", external_key="25")
        self.catching_up.down()
        self.write(self.rows("talk_client_hangs_up", lost))
        self.write(self.rows("talk_client_hangs_up", other))
        self.patch(machine, "advance", faulty(lambda call, _: call.call_id == lost))
        for _ in range(2):
            await self.begin_again()
            self.assertEqual([told.state for told in await self.states(other)], TALK)
            self.assertEqual((await self.states(lost))[-1].state, State.ERROR)
        self.assertEqual(len(self.live), 0)
        self.assertEqual(len(self.flushLoggedErrors(Stumbled)), 2)

    async def test_a_session_that_comes_back(self) -> None:
        """The daemon lives on, and what is read again does not open the call again."""
        await self.begin()
        lost = await self.make_call()
        self.write(self.rows("talk_client_hangs_up", lost))
        self.patch(machine, "advance", faulty(lambda _, signal: isinstance(signal, signals.Ended)))
        for _ in range(2):
            self.catching_up.down()
            await self.session_up()
        states = [told.state for told in await self.states(lost)]
        self.assertEqual(states, TALK)
        self.assertEqual(len(self.flushLoggedErrors(Stumbled)), 1)


class RowTests(SynchronousTestCase):
    """A row of the channel log that cannot be spelled."""

    def test_it_is_a_bad_row(self) -> None:
        """It spells nothing, and the next one is read."""

        def spell(row: cel_signals.CelRow) -> Any:
            raise Stumbled

        self.patch(cel_signals, "EVENTS", {**cel_signals.EVENTS, "ANSWER": spell})
        row = ["", "1795412687.1", "17.1", "17.1", "PJSIP/1", *[""] * 10]
        lines = [
            ",".join(f'"{cell}"' for cell in [event, *row[1:]])
            for event in ("CHAN_START", "ANSWER", "HANGUP")
        ]
        spelled = [cel_signals.from_line(line) for line in lines]
        self.assertEqual([each is None for each in spelled], [False, True, False])
        self.assertIsNone(cel_signals.from_line("torn"))
        self.flushLoggedErrors(Stumbled)
