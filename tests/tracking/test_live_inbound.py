"""Calls that clients and operators begin: opened, followed, kept, and known again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, fail

from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Action, CallView, Direction, State
from ccdaemon.config import parse
from ccdaemon.store.facts import ActionFact, Fact, RecordFact, StateFact
from ccdaemon.store.failures import JournalBroken, NoLease
from ccdaemon.tracking import calls as live
from ccdaemon.tracking.calls import CallOver
from tests.fake_asterisk import event
from tests.store.parts import recording
from tests.switchboard.test_switchboard import CONFIG, SwitchboardCase

CLIENT = {"Uniqueid": "17.40", "Linkedid": "17.40", "Channel": "PJSIP/trunk-40"}
LEG = {"Uniqueid": "17.41", "Linkedid": "17.40", "Channel": "PJSIP/1000-00000041"}
OTHER = {"Uniqueid": "17.42", "Linkedid": "17.40", "Channel": "PJSIP/1001-00000042"}
BY_HAND = {"Uniqueid": "17.50", "Linkedid": "17.50", "Channel": "PJSIP/1003-00000050"}


class InboundCase(SwitchboardCase):
    """A client who calls in."""

    async def calls_in(self, **changes: str) -> Call:
        """The dialplan asks who takes a call."""
        asked = {"channel": "17.40", "name": "PJSIP/trunk-40", "phone": "+380639920000"}
        asked |= {"did": "380440000000"} | changes
        now = int(self.clock.seconds() * 1000)
        return await Deferred.fromCoroutine(self.live.incoming(**asked, date=now))

    def says(self, name: str, of: dict[str, str] = CLIENT, **words: str) -> None:
        """The dialplan says something."""
        self.hear("UserEvent", UserEvent=f"ccdaemon-{name}", **of, **words)

    def rings(self, of: dict[str, str] = LEG) -> None:
        """An operator is asked, and their phone rings."""
        self.says("ask", Sip=of["Channel"][6:10], Phone="")
        self.hear("Newchannel", **of)

    def ends(self, of: dict[str, str], cause: str = "16") -> None:
        """A channel is gone."""
        self.hear("Hangup", Cause=cause, **of)

    async def view(self, call_id: int) -> CallView:
        """The call as the journal has it."""
        await self.chain(call_id)
        kept = await self.log.chain(call_id)
        assert kept is not None
        return kept.call

    async def restart(self) -> None:
        """The daemon starts anew over the same journal."""
        await self.chain(1)
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.live.expect_recordings()


class OpeningTests(InboundCase):
    """How such a call comes to be known."""

    async def test_the_dialplan_asks(self) -> None:
        """Numbered and told, with who calls whom."""
        call = await self.calls_in()
        self.assertEqual(await self.chain(call.call_id), [State.CALL])
        view = await self.view(call.call_id)
        self.assertEqual((view.direction, view.phone), (Direction.INBOUND, "380639920000"))
        self.assertEqual((view.did, view.anchor), ("380440000000", "17.40"))
        self.assertEqual((view.sip, view.order_id, view.external_key), (None, None, None))
        self.assertIs(self.live.call(call.call_id), call)
        self.assertEqual((call.phase, call.talking), ("ringing", None))

    async def test_it_is_one_call_however_often_it_is_told(self) -> None:
        """AMI and FastAGI tell of the same channel, in either order, also at the same moment."""
        self.says("incoming", Phone="380639920000", Did="380440000000")
        one, two = self.calls_in(), self.calls_in()
        self.assertIs(await one, await two)
        self.says("incoming", Phone="380639920000", Did="380440000000")
        self.assertEqual(len(self.live), 1)

    async def test_callers_may_call_themselves_anything(self) -> None:
        """What is no number is shown as anonymous; nobody is refused for it."""
        for number, (sent, shown) in enumerate(
            {
                "+380639920000": "380639920000",
                "380 (63) 992-00.00": "380639920000",
                "": "anonymous",
                "anonymous": "anonymous",
                "Іван": "anonymous",
                "9" * 40: "9" * 40,
                "9" * 41: "anonymous",
                "++380": "anonymous",
                "٣٨٠": "anonymous",
            }.items()
        ):
            call = await self.calls_in(channel=f"18.{number}", phone=sent, did="")
            self.assertEqual((call.phone, call.did), (shown, None), sent)

    async def test_a_call_that_is_over_does_not_begin_again(self) -> None:
        """The log of channel events, read again, opens no call a second time; nor does FastAGI."""
        call = await self.calls_in()
        self.ends(CLIENT)
        for again in range(2):
            if again:
                await self.restart()
            self.says("incoming", Phone="380639920000", Did="")
            self.assertEqual(len(self.live), 0)
            await self.fails(self.calls_in(), CallOver)
        self.assertEqual((await self.chain(call.call_id))[-1], State.OPERATOR_OFFLINE)

    async def test_as_many_calls_are_known_as_may_be(self) -> None:
        """Beyond that the journal is asked: memory stays bounded, and no call is told twice."""
        self.patch(live, "MOST_OVER", 2)
        for _ in range(3):
            for number in range(5):
                ids = {"Uniqueid": f"18.{number}", "Linkedid": f"18.{number}"}
                self.says("incoming", ids | {"Channel": "PJSIP/t-1"}, Phone="1", Did="")
                self.ends(ids)
            await self.log.settled()
            await self.turns()
        await self.fails(self.calls_in(channel="18.0"), CallOver)
        kept = await self.log.held(0, 100)
        numbers = [each.fact.call_id for each in kept if each.fact.opens]
        self.assertEqual(([1, 2, 3, 4, 5], 0, 0), (numbers, len(self.live), self.live.unrecorded))
        # Nor is a number used up for it.
        self.assertEqual(6, (await self.calls_in(channel="18.5")).call_id)

    async def test_dialled_by_hand(self) -> None:
        """An operator who dials is there already; their call has no order and ends as any other."""
        self.hear("Newchannel", **BY_HAND)
        self.says("dialout", BY_HAND, Phone="380639920000")
        self.assertEqual(self.live.of_operator("1003"), 1)
        self.says("dial", BY_HAND, Leg="client")
        client = {"Uniqueid": "17.51", "Linkedid": "17.50"}
        self.hear("Newchannel", Channel="PJSIP/trunk-51", **client)
        self.hear("Newstate", ChannelState="6", **client)
        self.hear("Newstate", ChannelState="6", **BY_HAND)
        self.hear("HangupRequest", **BY_HAND)
        self.ends(client)
        self.ends(BY_HAND)
        view = await self.view(1)
        self.assertEqual((view.direction, view.sip), (Direction.OUTBOUND, "1003"))
        self.assertEqual((view.state, view.hung_up_by), (State.FINISH, "operator"))
        self.assertEqual((view.phone, view.order_id), ("380639920000", None))
        self.assertEqual([leg.name for leg in view.legs], ["operator-1", "client"])
        await self.wait_until(lambda: self.recordings.expected)
        self.assertEqual(self.recordings.expected, [(1, "17.50", "2026/11/23/17.50.wav")])

    async def test_dialled_by_hand_and_refused(self) -> None:
        """A number that may not be dialled: ERROR, in the words of the refusal."""
        self.says("dialout", BY_HAND, Phone="1")
        call = self.live.call(1)
        assert call is not None
        self.live.pass_over(call, "", Outcome.FAILED, "rejected: not allowed")
        self.ends(BY_HAND, "21")
        view = await self.view(1)
        self.assertEqual((view.state, view.detail), (State.ERROR, "rejected: not allowed"))


class UntoldTests(InboundCase):
    """Calls that cannot be numbered or kept."""

    async def test_no_numbers(self) -> None:
        """Said in the log and counted; the next one is told again."""

        def none_left() -> int:
            raise NoLease("Postgres has granted no call numbers")

        patched = self.patch(self.log, "take_call_id", none_left)
        self.says("incoming", Phone="380639920000", Did="")
        self.assertEqual((len(self.live), self.live.unrecorded), (0, 1))
        await self.fails(self.calls_in(), NoLease)
        patched.restore()
        self.assertEqual(await self.chain((await self.calls_in()).call_id), [State.CALL])

    async def test_a_journal_that_fails(self) -> None:
        """Nothing of the call is kept: no state of it without its CALL. Later it may be told."""
        appended: list[Fact] = []
        disk: Deferred[list[int]] = Deferred()

        def slowly(facts: Sequence[Fact]) -> Deferred[list[int]]:
            appended.extend(facts)
            return disk

        patched = self.patch(self.log, "append", slowly)
        asked = self.calls_in_later()
        self.rings()
        self.assertEqual(len(appended), 1)
        disk.errback(JournalBroken("full"))
        await self.fails(asked, JournalBroken)
        self.assertEqual((len(appended), len(self.live), self.live.unrecorded), (1, 0, 1))
        patched.restore()
        await self.calls_in()

    def calls_in_later(self) -> Deferred[Any]:
        """Ask, and do not wait."""
        return Deferred.fromCoroutine(self.calls_in())

    async def test_a_call_that_ends_before_it_could_be_kept(self) -> None:
        """The board is clean, whatever the disk says afterwards."""
        disk: Deferred[list[int]] = Deferred()
        self.patch(self.log, "append", lambda facts: disk)
        asked = self.calls_in_later()
        self.ends(CLIENT)
        self.assertEqual(len(self.live), 0)
        disk.errback(JournalBroken("full"))
        await self.fails(asked, JournalBroken)

    async def test_a_slow_disk_changes_no_order(self) -> None:
        """What comes while CALL is on its way is told after it."""
        append = self.log.append
        disk: Deferred[None] = Deferred()

        async def slowly(facts: Sequence[Fact]) -> list[int]:
            if facts[0].opens:
                await disk
            return await append(facts)

        self.patch(self.log, "append", lambda facts: Deferred.fromCoroutine(slowly(facts)))
        asked = self.calls_in_later()
        self.rings()
        self.hear("Newstate", ChannelState="6", **LEG)
        disk.callback(None)
        call = await asked
        self.assertEqual(
            await self.chain(call.call_id),
            [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP],
        )

    async def test_a_state_that_is_not_kept(self) -> None:
        """It is said in the log; the call goes on."""
        call = await self.calls_in()
        patched = self.patch(self.log, "append", lambda facts: fail(JournalBroken("full")))
        self.rings()
        patched.restore()
        self.assertEqual(len(self.flushLoggedErrors(JournalBroken)), 1)
        self.ends(LEG)
        self.ends(CLIENT)
        self.assertTrue(call.final)


class FollowingTests(InboundCase):
    """What is told of a call that was opened so."""

    async def test_a_talk(self) -> None:
        """Rung, answered, hung up; the recording is the operator's channel's."""
        call = await self.calls_in()
        self.live.attach_order(call, "15")
        self.rings()
        self.assertEqual(self.live.of_operator("1000"), call.call_id)
        self.hear("Newstate", ChannelState="6", **LEG)
        self.assertEqual(call.phase, "talking")
        assert call.talking is not None
        self.assertEqual(call.talking.sip, "1000")
        self.clock.advance(7)
        self.hear("HangupRequest", **CLIENT)
        self.ends(LEG)
        self.says("asked", DialStatus="ANSWER", Tech="", Source="PJSIP/trunk-40")
        self.ends(CLIENT)
        self.assertEqual((call.phase, call.talking), ("ended", None))
        self.assertIsNone(self.live.of_operator("1000"))
        view = await self.view(call.call_id)
        self.assertEqual((view.sip, view.order_id, view.talk_seconds), ("1000", "15", 7.0))
        self.assertEqual(view.hung_up_by, "client")
        client, leg = view.legs
        self.assertEqual((client.name, client.channel, client.talk_seconds), ("client", "17.40", 7))
        self.assertEqual((leg.name, leg.sip, leg.channel), ("operator-1", "1000", "17.41"))
        await self.wait_until(lambda: self.recordings.expected)
        expected = [(call.call_id, "17.41", "2026/11/23/17.41.wav")]
        self.assertEqual(self.recordings.expected, expected)
        self.recordings.expected.clear()
        await self.restart()
        self.assertEqual(self.recordings.expected, expected)

    async def test_uniqueids_with_a_system_name(self) -> None:
        """Asterisk may begin them with anything: the recording is found, also after a restart."""
        client, leg = (
            {**of, "Uniqueid": f"мій pbx-{of['Uniqueid']}", "Linkedid": "мій pbx-17.40"}
            for of in (CLIENT, LEG)
        )
        call = await self.calls_in(channel=client["Uniqueid"])
        self.rings(leg)
        self.hear("Newstate", ChannelState="6", **leg)
        self.ends(leg)
        self.ends(client)
        await self.wait_until(lambda: self.recordings.expected)
        [expected] = self.recordings.expected
        self.assertEqual(expected[1:], ("pbx-17.41", "2026/11/23/pbx-17.41.wav"))
        self.recordings.expected.clear()
        await self.restart()
        self.assertEqual(self.recordings.expected, [expected])
        self.recordings.expected.clear()
        known = recording(call.call_id).record
        await self.log.append([RecordFact(replace(known, uniqueid="pbx-17.41"))])
        await self.restart()
        self.assertEqual(self.recordings.expected, [])

    async def test_passed_over(self) -> None:
        """Who cannot take the call is told before the next one is asked."""
        call = await self.calls_in()
        self.live.pass_over(call, "1001", Outcome.OFFLINE, "operator 1001 is not registered")
        self.assertEqual(await self.chain(call.call_id), [State.CALL])
        self.rings()
        self.assertEqual(
            (await self.chain(call.call_id))[1:], [State.OPERATOR_OFFLINE, State.OPERATOR_CALLTO]
        )

    async def test_hung_up_by_the_api(self) -> None:
        """Said before it is done, so whatever ends then was ended by it."""
        call = await self.calls_in()
        self.rings()
        self.live.cancelled(call)
        self.ends(LEG)
        self.ends(CLIENT)
        view = await self.view(call.call_id)
        self.assertEqual((view.state, view.hung_up_by), (State.OPERATOR_NOANSWER, "api"))

    async def test_actions_leave_a_trace(self) -> None:
        """Kept as a fact, and told in the detail of the next state; also of a call that is over."""
        call = await self.calls_in()
        heard = self.heard(self.log)
        action = Action(call.call_id, 5, "transfer", "crm", sip="1001", detail="blind")
        await self.live.act(action)
        self.rings()
        await self.chain(call.call_id)
        kept = [one.fact for one in heard if one.fact.call_id == call.call_id][-2:]
        self.assertEqual(kept[0], ActionFact(action))
        assert isinstance(kept[1], StateFact)
        self.assertEqual(kept[1].state.detail, "transfer by crm: 1001, blind")
        self.ends(LEG)
        self.ends(CLIENT)
        await self.live.act(Action(call.call_id, 5, "setResult", "crm", result="sold"))


class RestartTests(InboundCase):
    """A call that goes on while the daemon is away."""

    async def test_it_goes_on_where_it_stood(self) -> None:
        """Its legs are known again by their channels; what is read again tells nothing twice."""
        call = await self.calls_in()
        self.rings()
        self.ends(LEG)
        self.says("asked", DialStatus="NOANSWER", Tech="", Source="")
        self.rings(OTHER)
        self.hear("Newstate", ChannelState="6", **OTHER)
        before = await self.chain(call.call_id)
        await self.restart()
        self.assertEqual(self.live.of_operator("1001"), call.call_id)
        self.assertIsNone(self.live.of_operator("1000"))
        again = self.live.call(call.call_id)
        assert again is not None
        self.assertEqual(again.looked_for, {"17.40", "17.42"})
        self.clock.advance(-1)
        self.says("incoming", Phone="380639920000", Did="")
        self.rings()
        self.ends(LEG)
        self.rings(OTHER)
        self.hear("Newstate", ChannelState="6", **OTHER)
        self.clock.advance(1)
        self.assertEqual(await self.chain(call.call_id), before)
        self.hear("HangupRequest", **OTHER)
        self.ends(OTHER)
        self.ends(CLIENT)
        view = await self.view(call.call_id)
        self.assertEqual(
            (view.state, view.sip, view.hung_up_by), (State.FINISH, "1001", "operator")
        )
        self.assertEqual([leg.name for leg in view.legs], ["client", "operator-1", "operator-2"])

    async def test_a_look_finds_it(self) -> None:
        """A call that began while nobody listened is opened from what there is now."""
        for ids, state, app, context in (
            (LEG, "6", "AppDial", "ccdaemon-incoming"),
            (CLIENT, "6", "Dial", "ccdaemon-incoming"),
        ):
            self.asterisk.channels.append(
                event(
                    "CoreShowChannel",
                    ChannelState=state,
                    Application=app,
                    Context=context,
                    CallerIDNum="380639920000",
                    **ids,
                )
            )
        await self.session_up()
        self.assertEqual(
            await self.chain(1), [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP]
        )
        self.assertEqual((await self.view(1)).phone, "380639920000")

    async def test_a_look_finds_a_transfer(self) -> None:
        """The first operator is gone, the client's channel asks another one."""
        call_id = await self.make_call()
        anchor = self.anchor(call_id)
        client = {"Uniqueid": "17.1", "Linkedid": anchor["Linkedid"]}
        self.hear("Newchannel", Channel="PJSIP/1000-1", **anchor)
        self.hear("Newstate", ChannelState="6", **anchor)
        self.says("dial", anchor)
        self.hear("Newchannel", Channel="PJSIP/trunk-2", **client)
        self.hear("Newstate", ChannelState="6", **client)
        self.ends(anchor)
        second = {"Uniqueid": "17.2", "Linkedid": anchor["Linkedid"]}
        for ids, name, app in (
            (second, "PJSIP/1003-00000003", "AppDial"),
            (client, "PJSIP/trunk-2", "Dial"),
        ):
            self.asterisk.channels.append(
                event("CoreShowChannel", Channel=name, ChannelState="6", Application=app, **ids)
            )
        await self.session_up()
        self.assertEqual((await self.chain(call_id))[-1], State.OPERATOR_PICKUP)
        self.assertEqual((await self.view(call_id)).sip, "1003")
        self.assertIsNone(self.live.of_operator("1000"))

    async def test_told_by_another_linkedid(self) -> None:
        """A channel that joined another bridge is still the call's, and so are those after it."""
        call = await self.calls_in()
        self.rings()
        self.hear("Newstate", ChannelState="6", **(LEG | {"Linkedid": "16.1"}))
        self.hear("Newchannel", **(OTHER | {"Linkedid": "16.1"}))
        self.assertEqual([leg.sip for leg in call.operators], ["1000", "1001"])
        self.live.lose(call, "17.42", "gone")
        self.assertEqual(call.looked_for, {"17.40", "17.41"})
        self.assertIs(self.live.whose(signals.Answered("17.40", "", 0)), call)
