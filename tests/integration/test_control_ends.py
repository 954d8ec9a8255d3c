"""A hand on the call where somebody leaves in the middle of it; whom everything is told of."""

from __future__ import annotations

from datetime import datetime

from tests.faults.disk import unwritable
from tests.integration.harness import on_16
from tests.integration.hearing import (
    ALL,
    CLIENT,
    OPERATOR,
    OUTSIDE,
    SECOND,
    SUPERVISOR,
    HearingCase,
    InboundHearingCase,
)
from tests.integration.test_control import NEED_A_TALK, NEED_MORE

#: Seconds that a client may be on hold here.
HOLD = 3


@on_16(nightly=True)
class HoldEndsTests(HearingCase):
    """A hold that nobody ends."""

    dialplan = {"CC_HOLD": str(HOLD)}

    async def test_with_the_operator_who_waits(self) -> None:
        """Both are put down; the call has FINISH."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))
        states = await self.finished(call_id, HOLD + 5)
        self.assertEqual([state["state"] for state in states][-2:], ["CLIENT_PICKUP", "FINISH"])
        for number in (OPERATOR, CLIENT):
            await self.is_over(self.of(number))
            self.assertEqual(self.of(number).ended_by, "them")
        began = next(
            one["date"]
            for one in (await self.ask("call", call_id=call_id))["actions"]
            if one["action"] == "hold"
        )
        lasted = datetime.fromisoformat(states[-1]["date"]) - datetime.fromisoformat(began)
        self.assertTrue(HOLD - 0.5 < lasted.total_seconds() < HOLD + 2, lasted)

    async def test_the_operator_has_gone(self) -> None:
        """The client is put down."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.operators.hang_up(self.of(OPERATOR))
        states = await self.finished(call_id, HOLD + 5)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(CLIENT))
        self.assertEqual(self.of(CLIENT).ended_by, "them")

    async def test_taken_off_in_time(self) -> None:
        """The limit is the hold's: the talk goes on beyond it."""
        call_id = await self.talk()
        await self.ask("hold", call_id=call_id)
        await self.sleep(1.0)
        await self.ask("unhold", call_id=call_id)
        await self.sleep(HOLD)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))


@on_16(nightly=True)
class GivesUpTests(HearingCase):
    """The client hangs up in the middle of a transfer."""

    async def _all_over(self, call_id: int) -> None:
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertEqual([state["final"] for state in states].count(True), 1)
        for number in (OPERATOR, SECOND):
            await self.is_over(self.of(number))
        self.assertEqual((await self.ask("call", call_id=call_id))["hung_up_by"], "client")

    async def test_while_the_next_phone_rings(self) -> None:
        """It falls silent; nobody else is rung."""
        self.phone(SECOND, "rings")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.rings(SECOND)
        await self.told(call_id, "OPERATOR_CALLTO", 2)
        self.clients.hang_up(self.of(CLIENT))
        await self._all_over(call_id)
        self.assertEqual(self.rung(OPERATOR), 1)

    async def test_while_they_consult(self) -> None:
        """Operator and second are put down."""
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        await self.told(call_id, "OPERATOR_PICKUP", 2)
        self.clients.hang_up(self.of(CLIENT))
        await self._all_over(call_id)

    async def test_while_who_is_asked_first_rings(self) -> None:
        """So are the operator and the phone that rings."""
        self.phone(SECOND, "rings")
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.rings(SECOND)
        await self.told(call_id, "OPERATOR_CALLTO", 2)
        self.clients.hang_up(self.of(CLIENT))
        await self._all_over(call_id)


@on_16(nightly=True)
class OutsideTests(InboundHearingCase):
    """A phone outside takes the client over."""

    async def test_attended(self) -> None:
        """The operator speaks with it first, then the client does."""
        call_id = await self.talk()
        await self.ask("transfer", call_id=call_id, phone=OUTSIDE, mode="attended")
        await self.is_up(OUTSIDE)
        heard = await self.hears(OPERATOR, OUTSIDE, CLIENT)
        self.assertEqual(heard, ({"outside"}, {"operator"}, {"music"}))
        await self.ask("transferComplete", call_id=call_id)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(OUTSIDE, CLIENT), ({"client"}, {"outside"}))
        self.clients.hang_up(self.of(OUTSIDE))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(CLIENT))
        legs = (await self.ask("call", call_id=call_id))["legs"]
        self.assertIn(OUTSIDE, [leg["phone"] for leg in legs])

    async def test_blind_from_a_call_of_the_clients(self) -> None:
        """The operator is put down; client and phone outside hear each other."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, phone=OUTSIDE)
        await self.is_up(OUTSIDE)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(OUTSIDE, CLIENT), ({"client"}, {"outside"}))
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        await self.is_over(self.of(OUTSIDE))


class TraceTests(HearingCase):
    """What was done is in the call's actions and in the detail of the next state."""

    tables = {
        **HearingCase.tables,
        "clients": [
            {"name": "crm", "networks": ["127.0.0.0/8"], "permissions": (*ALL, "result")}  # type: ignore[dict-item]
        ],
    }

    async def test_every_method(self) -> None:
        """With who asked; each answers with the call as it is right after."""
        call_id = await self.talk()
        done = []

        async def do(method: str, words: str, **more: object) -> None:
            answer = await self.ask(method, call_id=call_id, **more)
            now = await self.ask("call", call_id=call_id)
            self.assertEqual(answer["call_id"], call_id)
            self.assertEqual(answer["actions"][-1]["action"], method)
            self.assertEqual(answer["actions"], now["actions"], method)
            # The next state may have come since.
            self.assertIn(answer["state"], [told["state"] for told in now["states"]], method)
            done.append(words)

        await do("mute", "mute by crm: 1250, client", who="client")
        await do("unmute", "unmute by crm: 1250, client", who="client")
        await do("recordPause", "recordPause by crm")
        await do("recordResume", "recordResume by crm")
        for method in ("listen", "whisper", "barge"):
            await do(method, f"{method} by crm: {SUPERVISOR}", sip=SUPERVISOR)
            self.operators.hang_up(await self.is_up(SUPERVISOR))
            await self.wait_for(self._supervisor_is_free, 5, "the supervisor is free")
        await do("hold", "hold by crm: 1250")
        await do("unhold", "unhold by crm: 1250")
        await do("setResult", "setResult by crm: sold", result="sold")
        await do("transfer", f"transfer by crm: {SECOND}, attended", sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        await self.told(call_id, "OPERATOR_PICKUP", 2)
        await do("transferCancel", f"transferCancel by crm: {SECOND}")
        await self.is_over(self.of(SECOND))
        await do("hangup", "hangup by crm")
        await self.finished(call_id)
        words = await self.words(call_id)
        for each in done:
            self.assertIn(each, words)
        actions = (await self.ask("call", call_id=call_id))["actions"]
        self.assertEqual({action["by"] for action in actions}, {"crm"})

    async def _supervisor_is_free(self) -> bool:
        listed = await self.ask("sipList", sip=SUPERVISOR)
        return bool(listed["data"][0]["status"] == "online")


class PermissionTests(HearingCase):
    """Who may read may not lay a hand on a call."""

    tables = {
        "clients": [
            {"name": "crm", "networks": ["127.0.0.0/8"], "permissions": ("call", "read")}  # type: ignore[dict-item]
        ]
    }

    async def test_every_method(self) -> None:
        """403, naming the permission; the talk goes on as it was."""
        call_id = await self.talk()
        needs = {"transferComplete": "transfer", "transferCancel": "transfer", "unhold": "hold"}
        needs |= {"unmute": "mute", "recordPause": "record", "recordResume": "record"}
        for method, more in {"hangup": {}, **NEED_A_TALK, **NEED_MORE}.items():
            envelope = await self.api(method, call_id=call_id, **more)
            self.assertEqual(envelope["status_code"], 403, (method, envelope))
            self.assertIn(needs.get(method, method), envelope["error"]["message"], method)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.assertEqual((await self.ask("call", call_id=call_id))["actions"], [])


class DiskTests(HearingCase):
    """The journal cannot be written to."""

    async def test_hangup(self) -> None:
        """Both phones are put down at once; it is told and kept when the disk is back."""
        call_id = await self.talk()
        with unwritable(self.daemon.state_dir):
            answer = await self.ask("hangup", call_id=call_id)
            self.assertEqual(answer["state"], "CLIENT_PICKUP", "kept: the disk is not away")
            for number in (OPERATOR, CLIENT):
                await self.is_over(self.of(number))
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        self.assertIn("hangup by crm", states[-1]["detail"])
        call = await self.ask("call", call_id=call_id)
        self.assertEqual([action["action"] for action in call["actions"]], ["hangup"])
        self.assertEqual(call["hung_up_by"], "api")

    async def test_hold(self) -> None:
        """The client hears music; the trace comes late."""
        call_id = await self.talk()
        with unwritable(self.daemon.state_dir):
            answer = await self.ask("hold", call_id=call_id)
            self.assertEqual(answer["actions"], [])
            self.assertEqual(await self.hears(OPERATOR, CLIENT), (set(), {"music"}))
            await self.wrong_state("hold", "CLIENT_PICKUP", call_id=call_id)

        async def kept() -> bool:
            actions = (await self.ask("call", call_id=call_id))["actions"]
            return [action["action"] for action in actions] == ["hold"]

        await self.wait_for(kept, 20, "the trace of hold")
