"""A hand on the call, over a real journal and a fake Asterisk."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, fail

from ccdaemon.ami.ami_errors import ActionRefused, ConnectionLost, NotConnected
from ccdaemon.calls import signals
from ccdaemon.errors import Code, Refused
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.records import Chain
from ccdaemon.switchboard.call_actions import KEPT_WITHIN, CallActions
from ccdaemon.switchboard.call_control import HANG_UP_AGAIN, HANG_UP_TRIES, CallControl, Mode, Party
from tests.fake_asterisk import response
from tests.switchboard.test_switchboard import SwitchboardCase

CLIENT = "17.1"
OPERATOR_NAME, CLIENT_NAME = "PJSIP/1000-1", "PJSIP/trunk-2"


class ControlCase(SwitchboardCase):
    """Operator 1000 can be called, 1003 too; 1001 is offline, 1002 talks to somebody else."""

    async def all_up(self) -> None:
        """Have the control stand beside the switchboard."""
        await super().all_up()
        self.dialled: list[str] = []
        self.shared = CallActions(
            self.switchboard._config,
            self.asterisk,
            self.live,
            self.presence,
            self.switchboard,
            self.parts.trunks,
            self.past,
            self.wall,
        )
        self.control = CallControl(self.shared)

    async def past(self, call_id: int) -> Chain | None:
        """What the journal has."""
        return await self.log.chain(call_id)

    async def ringing(self) -> int:
        """The operator's phone rings."""
        call_id = await self.make_call()
        self.hear("Newchannel", Channel=OPERATOR_NAME, **self.anchor(call_id))
        return call_id

    async def talking(self) -> int:
        """Operator and client talk."""
        call_id = await self.ringing()
        anchor = self.anchor(call_id)
        client = {"Uniqueid": CLIENT, "Linkedid": anchor["Linkedid"]}
        self.hear("Newstate", ChannelState="6", **anchor)
        self.hear("UserEvent", UserEvent="ccdaemon-dial", **anchor)
        self.hear("Newchannel", Channel=CLIENT_NAME, **client)
        self.hear("Newstate", ChannelState="6", **client)
        await self.turns()
        self.asterisk.asked.clear()
        return call_id

    async def held(self) -> int:
        """The client is on hold."""
        call_id = await self.talking()
        await self.does(self.control.hold(call_id, "crm"))
        self.asterisk.asked.clear()
        return call_id

    async def does(self, doing: Coroutine[Any, Any, None]) -> None:
        """Have it done."""
        await Deferred.fromCoroutine(doing)

    async def fails_with(self, doing: Coroutine[Any, Any, None]) -> Refused:
        """Have it refused."""
        return await self.fails(Deferred.fromCoroutine(doing), Refused)

    def sent(self, name: str) -> list[dict[str, object]]:
        """The actions of a name that Asterisk was asked for."""
        return [dict(headers) for asked, headers in self.asterisk.asked if asked == name]

    def variables(self, channel: str) -> dict[str, object]:
        """What was set on a channel."""
        return {
            str(one["Variable"]): one["Value"]
            for one in self.sent("Setvar")
            if one["Channel"] == channel
        }

    async def actions(self, call_id: int) -> list[tuple[str, str, str | None]]:
        """What the call's history says was done to it, by whom, to which operator."""
        chain = await self.log.chain(call_id)
        assert chain is not None
        return [(row.action.action, row.action.by, row.action.sip) for row in chain.actions]

    def every(self, call_id: int) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Everything that needs more than a call that rings."""
        control = self.control
        return {
            "hold": lambda: control.hold(call_id, "crm"),
            "unhold": lambda: control.unhold(call_id, "crm"),
            "transfer": lambda: control.transfer(call_id, "1003", None, Mode.BLIND, "crm"),
            "attended": lambda: control.transfer(call_id, "1003", None, Mode.ATTENDED, "crm"),
            "transferComplete": lambda: control.transfer_complete(call_id, "crm"),
            "transferCancel": lambda: control.transfer_cancel(call_id, "crm"),
            "mute": lambda: control.mute(call_id, Party.CLIENT, on=True, client="crm"),
            "listen": lambda: control.spy(call_id, "1003", "listen", "crm"),
            "recordPause": lambda: control.pause_recording(call_id, on=True, client="crm"),
        }


class RefusedTests(ControlCase):
    """What is not done."""

    async def test_no_such_call(self) -> None:
        """call_unknown, whatever is asked for."""
        for name, doing in self.every(4711).items():
            self.assertEqual((await self.fails_with(doing())).code, Code.CALL_UNKNOWN, name)
        refused = await self.fails_with(self.control.hangup(4711, "crm"))
        self.assertEqual(refused.code, Code.CALL_UNKNOWN)

    async def test_while_it_rings(self) -> None:
        """wrong_state with the state, and Asterisk is asked for nothing."""
        call_id = await self.ringing()
        self.asterisk.asked.clear()
        for name, doing in self.every(call_id).items():
            refused = await self.fails_with(doing())
            found = refused.code, refused.state, refused.call_id
            self.assertEqual(found, (Code.WRONG_STATE, "OPERATOR_CALLTO", call_id), name)
        self.assertEqual(self.asterisk.asked, [])
        self.assertEqual(await self.actions(call_id), [])

    async def test_what_has_ended(self) -> None:
        """wrong_state with the final state."""
        call_id = await self.talking()
        self.hear("Hangup", Cause="16", Uniqueid=CLIENT, Linkedid=CLIENT)
        self.hear("Hangup", Cause="16", **self.anchor(call_id))
        await self.turns()
        for name, doing in self.every(call_id).items():
            refused = await self.fails_with(doing())
            self.assertEqual((refused.code, refused.state), (Code.WRONG_STATE, "FINISH"), name)

    async def test_who_cannot_be_rung(self) -> None:
        """Operators who are offline, busy, unknown; numbers that may not be dialled."""
        call_id = await self.talking()
        for sip, code in (
            ("1001", Code.OPERATOR_OFFLINE),
            ("1002", Code.OPERATOR_BUSY),
            ("1000", Code.OPERATOR_BUSY),
            ("9999", Code.OPERATOR_UNKNOWN),
        ):
            for doing in (
                self.control.transfer(call_id, sip, None, Mode.BLIND, "crm"),
                self.control.spy(call_id, sip, "barge", "crm"),
            ):
                self.assertEqual((await self.fails_with(doing)).code, code, sip)
        away = self.control.transfer(
            call_id, None, self.parts.read("380900000000"), Mode.BLIND, "crm"
        )
        self.assertEqual((await self.fails_with(away)).code, Code.PHONE_NOT_ALLOWED)
        self.assertEqual(self.sent("Redirect") + self.sent("Originate"), [])

    async def test_asterisk_cannot(self) -> None:
        """Its words where it says no; unavailable where nobody can be asked."""
        call_id = await self.talking()
        for trouble, code in (
            (ActionRefused("Permission denied", response()), Code.ASTERISK_REFUSED),
            (NotConnected("no session"), Code.ASTERISK_UNAVAILABLE),
            (ConnectionLost("cut"), Code.ASTERISK_UNAVAILABLE),
        ):
            self.asterisk.answer = trouble
            refused = await self.fails_with(self.control.hold(call_id, "crm"))
            self.assertEqual(refused.code, code)
        self.assertEqual(await self.actions(call_id), [])
        self.asterisk.answer = None
        await self.does(self.control.hold(call_id, "crm"))

    async def test_a_channel_that_is_just_gone(self) -> None:
        """wrong_state: the end is not told yet."""
        call_id = await self.talking()
        self.asterisk.gone = {CLIENT}
        refused = await self.fails_with(self.control.hold(call_id, "crm"))
        self.assertEqual(refused.code, Code.WRONG_STATE)

    async def test_one_at_a_time(self) -> None:
        """The second waits, and finds what the first has left."""
        call_id = await self.talking()
        slow: Deferred[Any] = Deferred()
        self.asterisk.answer = slow
        first = Deferred.fromCoroutine(self.control.hold(call_id, "crm"))
        second = Deferred.fromCoroutine(
            self.control.mute(call_id, Party.CLIENT, on=True, client="x")
        )
        self.assertFalse(second.called)
        self.asterisk.answer = None
        slow.callback(response())
        self.asterisk.variables[CLIENT, "CC_HAND"] = "hold"
        await first
        refused = await self.fails(second, Refused)
        self.assertEqual(refused.code, Code.WRONG_STATE)
        self.assertEqual(self.shared._locks, {})


class DiskTests(ControlCase):
    """What is asked for is done although the disk takes nothing."""

    async def test_a_disk_that_takes_nothing(self) -> None:
        """Hung up at once; the answer waits a little, and nobody behind it for ever."""
        call_id = await self.talking()
        self.patch(self.live._journal, "append", lambda facts: Deferred())
        doing = Deferred.fromCoroutine(self.control.hangup(call_id, "crm"))
        self.assertEqual(len(self.sent("Hangup")), 2)
        self.assertFalse(doing.called)
        self.clock.advance(KEPT_WITHIN)
        await doing
        self.assertEqual(self.shared._locks, {})

    async def test_one_that_takes_it_late(self) -> None:
        """It is kept all the same."""
        call_id = await self.talking()
        waiting: list[tuple[Any, Deferred[list[int]]]] = []

        def append(facts: Any) -> Deferred[list[int]]:
            waiting.append((facts, Deferred()))
            return waiting[-1][1]

        self.patch(self.live._journal, "append", append)
        doing = Deferred.fromCoroutine(self.control.hold(call_id, "crm"))
        self.clock.advance(KEPT_WITHIN)
        await doing
        [([fact], kept)] = waiting
        kept.callback([1])
        self.assertEqual((fact.action.action, fact.action.by), ("hold", "crm"))

    async def test_what_cannot_be_kept(self) -> None:
        """Done, and not_ready says that it is in no history."""
        call_id = await self.talking()
        for error in (JournalFull("no room"), JournalBroken("torn")):
            self.patch(self.live._journal, "append", lambda facts, error=error: fail(error))
            for doing in (
                self.control.mute(call_id, Party.CLIENT, on=True, client="crm"),
                self.control.hangup(call_id, "crm"),
            ):
                self.asterisk.asked.clear()
                refused = await self.fails_with(doing)
                self.assertEqual(refused.code, Code.NOT_READY)
                self.assertIn(str(error), str(refused))
                self.assertTrue(self.sent("Setvar") or self.sent("Hangup"))
        self.assertEqual(self.shared._locks, {})


class DoneTests(ControlCase):
    """What Asterisk is asked for, and what is kept of it."""

    async def test_hold(self) -> None:
        """Both at once, each to its place; kept with who asked, and told with the next state."""
        call_id = await self.talking()
        await self.does(self.control.hold(call_id, "crm"))
        [redirect] = self.sent("Redirect")
        self.assertEqual(redirect["Channel"], CLIENT)
        self.assertEqual(redirect["Context"], "ccdaemon-hold")
        self.assertEqual(redirect["ExtraChannel"], self.anchor(call_id)["Uniqueid"])
        self.assertEqual(redirect["ExtraContext"], "ccdaemon-wait")
        self.assertEqual(self.variables(CLIENT), {"CC_HAND": "hold", "CC_WAITING": OPERATOR_NAME})
        self.assertEqual(await self.actions(call_id), [("hold", "crm", "1000")])

    async def test_unhold(self) -> None:
        """The operator who waits goes to the client."""
        call_id = await self.held()
        await self.does(self.control.unhold(call_id, "crm"))
        [redirect] = self.sent("Redirect")
        anchor = self.anchor(call_id)["Uniqueid"]
        self.assertEqual((redirect["Channel"], redirect["Context"]), (anchor, "ccdaemon-bridge"))
        self.assertEqual(self.variables(anchor), {"CC_PEER": CLIENT_NAME})
        self.assertEqual(self.variables(CLIENT), {"CC_HAND": ""})

    async def test_unhold_rings_who_has_gone(self) -> None:
        """The client's channel rings them; and goes back on hold if they do not answer."""
        call_id = await self.held()
        self.hear("HangupRequest", **self.anchor(call_id))
        self.hear("Hangup", Cause="16", **self.anchor(call_id))
        await self.turns()
        await self.does(self.control.unhold(call_id, "crm"))
        [redirect] = self.sent("Redirect")
        self.assertEqual((redirect["Channel"], redirect["Context"]), (CLIENT, "ccdaemon-transfer"))
        set_ = self.variables(CLIENT)
        self.assertEqual((set_["CC_TO"], set_["CC_TO_SIP"]), ("PJSIP/1000", "1000"))
        self.assertEqual((set_["CC_BACK"], set_["CC_NOBODY"]), ("", "hold"))

    async def test_transfer_to_an_operator(self) -> None:
        """Who is rung, what they are shown, and who is rung if they do not answer."""
        call_id = await self.talking()
        await self.does(self.control.transfer(call_id, "1003", None, Mode.BLIND, "crm"))
        set_ = self.variables(CLIENT)
        self.assertEqual(
            {name: value for name, value in set_.items() if name != "CC_HAND"},
            {
                "CC_TO": "PJSIP/1003",
                "CC_TO_SIP": "1003",
                "CC_TO_PHONE": "",
                "CC_TO_TIMEOUT": "30",
                "CC_SHOWN_NAME": "Order 15",
                "CC_SHOWN_NUMBER": "380639920000",
                "CC_BACK": "PJSIP/1000",
                "CC_BACK_SIP": "1000",
                "CC_BACK_NAME": "Order 15",
                "CC_BACK_NUMBER": "380639920000",
                "CC_NOBODY": "",
            },
        )
        self.assertEqual(await self.actions(call_id), [("transfer", "crm", "1003")])

    async def test_transfer_to_a_phone(self) -> None:
        """By the clients' trunk, shown what clients are shown."""
        call_id = await self.talking()
        phone = self.parts.read("380501110000")
        await self.does(self.control.transfer(call_id, None, phone, Mode.BLIND, "crm"))
        set_ = self.variables(CLIENT)
        self.assertEqual(set_["CC_TO"], "PJSIP/380501110000@trunk")
        self.assertEqual((set_["CC_TO_SIP"], set_["CC_TO_PHONE"]), ("", "380501110000"))
        self.assertEqual((set_["CC_SHOWN_NAME"], set_["CC_SHOWN_NUMBER"]), ("", "380440000000"))

    async def test_attended(self) -> None:
        """The operator's channel rings the other; then they are hung up, or the other is."""
        call_id = await self.talking()
        anchor = self.anchor(call_id)
        await self.does(self.control.transfer(call_id, "1003", None, Mode.ATTENDED, "crm"))
        [redirect] = self.sent("Redirect")
        self.assertEqual(redirect["ExtraContext"], "ccdaemon-consult")
        self.assertEqual(self.variables(anchor["Uniqueid"])["__CC_PEER"], CLIENT_NAME)
        self.assertEqual(self.variables(CLIENT)["CC_HAND"], "consult")
        other = {"Uniqueid": "17.3", "Linkedid": anchor["Linkedid"]}
        self.hear("UserEvent", UserEvent="ccdaemon-ask", Sip="1003", Phone="", **anchor)
        self.hear("Newchannel", Channel="PJSIP/1003-3", **other)
        await self.turns()
        refused = await self.fails_with(self.control.transfer_complete(call_id, "crm"))
        self.assertEqual(refused.code, Code.WRONG_STATE)
        self.hear("Newstate", ChannelState="6", **other)
        await self.turns()
        await self.does(self.control.transfer_cancel(call_id, "crm"))
        await self.does(self.control.transfer_complete(call_id, "crm"))
        hung_up = [one["Channel"] for one in self.sent("Hangup")]
        self.assertEqual(hung_up, ["17.3", anchor["Uniqueid"]])

    async def test_mute(self) -> None:
        """What that channel says."""
        call_id = await self.talking()
        await self.does(self.control.mute(call_id, Party.CLIENT, on=True, client="crm"))
        await self.does(self.control.mute(call_id, Party.OPERATOR, on=False, client="crm"))
        anchor = self.anchor(call_id)["Uniqueid"]
        self.assertEqual(self.variables(CLIENT), {"MUTEAUDIO(in)": "on"})
        self.assertEqual(self.variables(anchor), {"MUTEAUDIO(in)": "off"})

    async def test_spy(self) -> None:
        """The supervisor's phone rings; a forward of it goes nowhere."""
        call_id = await self.talking()
        for method, options in (("listen", "qES"), ("whisper", "qESw"), ("barge", "qESB")):
            self.asterisk.asked.clear()
            await self.does(self.control.spy(call_id, "1003", method, "crm"))
            [originate] = self.asterisk.originated()
            self.assertEqual(
                (originate["Channel"], originate["Context"]), ("PJSIP/1003", "ccdaemon-spy")
            )
            self.assertEqual(
                originate["Variable"],
                [
                    "__FORWARD_CONTEXT=ccdaemon-nowhere",
                    "__TRANSFER_CONTEXT=ccdaemon-nowhere",
                    f"CC_SPY={OPERATOR_NAME}",
                    f"CC_SPY_HOW={options}",
                ],
            )
        self.assertEqual((await self.actions(call_id))[-1], ("barge", "crm", "1003"))

    async def test_pause(self) -> None:
        """On every channel that may be recorded; where none is, it is said."""
        call_id = await self.talking()
        await self.does(self.control.pause_recording(call_id, on=True, client="crm"))
        self.assertEqual(
            [(one["Channel"], one["State"]) for one in self.sent("MixMonitorMute")],
            [(CLIENT, "1"), (self.anchor(call_id)["Uniqueid"], "1")],
        )
        anchor = self.anchor(call_id)["Uniqueid"]
        for channel in (CLIENT, anchor):
            self.assertEqual(self.variables(channel), {"__CC_PAUSED": "1"})
        self.asterisk.answer = ActionRefused("Cannot set mute flag", response())
        doing = self.control.pause_recording(call_id, on=False, client="crm")
        self.assertEqual((await self.fails_with(doing)).code, Code.WRONG_STATE)

    async def test_pause_what_the_pbx_records(self) -> None:
        """Also on a channel that is no phone's, as long as it is there."""
        call_id = await self.talking()
        anchor = self.anchor(call_id)["Uniqueid"]
        half = {"Channel": "Local/1@x-1;1", "Uniqueid": "17.50", "Linkedid": anchor}
        self.hear("Newchannel", **half)
        for channel in ("17.50", "17.51"):
            self.live.hear(signals.Recorded(channel, anchor, 0, "/recordings/theirs.wav"))
        await self.does(self.control.pause_recording(call_id, on=True, client="crm"))
        muted = [one["Channel"] for one in self.sent("MixMonitorMute")]
        self.assertEqual(muted, [CLIENT, anchor, "17.50"])

    async def test_pause_while_nobody_is_there(self) -> None:
        """On hold, the operator gone: whoever comes begins in the pause, if they are recorded."""
        call_id = await self.held()
        self.hear("HangupRequest", **self.anchor(call_id))
        self.hear("Hangup", Cause="16", **self.anchor(call_id))
        await self.turns()
        self.asterisk.answer = ActionRefused("Cannot set mute flag", response())
        doing = self.control.pause_recording(call_id, on=True, client="crm")
        self.assertEqual((await self.fails_with(doing)).code, Code.WRONG_STATE)
        self.asterisk.variables[CLIENT, "CC_FOLDER"] = "/recordings"
        doing = self.control.pause_recording(call_id, on=True, client="crm")
        self.assertEqual((await self.fails_with(doing)).code, Code.ASTERISK_REFUSED)
        self.asterisk.answer = None
        await self.does(self.control.pause_recording(call_id, on=True, client="crm"))
        self.assertEqual(self.variables(CLIENT), {"__CC_PAUSED": "1"})

    async def test_hangup(self) -> None:
        """Every channel that is there; the end is the API's."""
        call_id = await self.talking()
        await self.does(self.control.hangup(call_id, "crm"))
        anchor = self.anchor(call_id)
        self.assertEqual(
            {one["Channel"] for one in self.sent("Hangup")}, {CLIENT, anchor["Uniqueid"]}
        )
        self.hear("Hangup", Cause="16", Uniqueid=CLIENT, Linkedid=anchor["Linkedid"])
        self.hear("Hangup", Cause="16", **anchor)
        await self.turns()
        chain = await self.log.chain(call_id)
        assert chain is not None
        self.assertEqual(chain.call.hung_up_by, "api")
        self.assertIn("hangup by crm", chain.call.detail or "")

    async def test_hangup_of_what_is_not_born(self) -> None:
        """It is tried again, but not for ever."""
        call_id = await self.make_call()
        self.asterisk.gone = {self.anchor(call_id)["Uniqueid"]}
        doing = Deferred.fromCoroutine(self.control.hangup(call_id, "crm"))
        for _ in range(HANG_UP_TRIES + 1):
            await self.turns()
            self.clock.advance(HANG_UP_AGAIN)
        refused = await self.fails(doing, Refused)
        self.assertEqual(refused.code, Code.ASTERISK_REFUSED)
        self.assertEqual(len(self.sent("Hangup")), HANG_UP_TRIES)
