"""Calls that are refused before a phone rings, and what makeCall waits for."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from lab.sip_files import WITHOUT_PHONE
from tests.integration.harness import LiveTestCase
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT

OFFLINE = ["CALL", "OPERATOR_OFFLINE"]
BUSY = ["CALL", "OPERATOR_BUSY"]
RINGS_FOR_EVER = "06"


class RefusedTests(LiveTestCase):
    """What each refusal says, what is kept of it, and that nobody's phone rings for it."""

    tables = {"asterisk": {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}}

    def asked(self, sip: str, ending: str = "00", key: str = "") -> dict[str, str]:
        """A call that nobody else asks for: the client's number is in no other call."""
        number = f"{secrets.randbelow(10**9):09}"
        key = key or number
        return {
            "sip": sip,
            "phone": f"38{number}{ending}",
            "order_id": f"order-{number}",
            "external_key": key,
        }

    async def refused(self, asked: dict[str, str], code: str, status: int) -> int | None:
        """Ask for a call that is refused with this code; the call_id that the error carries."""
        answer = await self.api("makeCall", **asked)
        self.assertEqual((answer["status"], answer["status_code"]), ("error", status), answer)
        self.assertIsNone(answer["response"])
        self.assertEqual(answer["error"]["code"], code)
        call_id: int | None = answer["error"].get("call_id")
        return call_id

    async def at_once(self, *wanted: dict[str, str]) -> list[dict[str, Any]]:
        """Ask for several calls at the same moment; all answers."""
        asking = [Deferred.fromCoroutine(self.api("makeCall", **asked)) for asked in wanted]
        answers: list[dict[str, Any]] = await gatherResults(asking, consumeErrors=True)
        return answers

    async def has_status(self, sip: str, status: str) -> None:
        """Wait until an operator is offline, online or inuse."""

        async def has() -> bool:
            return sip in {op["sip"] for op in (await self.listed(status))}

        await self.wait_for(has, 5.0, f"operator {sip} is {status}")

    async def listed(self, status: str) -> list[dict[str, Any]]:
        """The operators of a status."""
        operators: list[dict[str, Any]] = (await self.ask("sipList", status=status, per_page=1000))[
            "data"
        ]
        return operators

    def rung(self, sip: str, asked: dict[str, str]) -> tuple[int, int]:
        """How many times the two phones were rung for a call."""
        shown = f"<sip:{asked['phone']}@"
        operator = [event for event in self.lab.operators.events(sip) if shown in event.detail]
        return len(operator), self.lab.clients.invites(asked["phone"])

    async def test_operator_offline(self) -> None:
        """Not registered: 409 with a call_id and a chain, no phone rings, the key is used up."""
        self.unregister("1255")
        await self.has_status("1255", "offline")
        asked = self.asked("1255")
        call_id = await self.refused(asked, "operator_offline", 409)
        assert call_id is not None
        states = await self.states(call_id)
        self.assertEqual([state["state"] for state in states], OFFLINE)
        self.assertEqual([state["final"] for state in states], [False, True])
        self.assertEqual(self.rung("1255", asked), (0, 0))
        again = await self.refused({**asked, "sip": "1240"}, "external_key_used", 409)
        self.assertEqual(again, call_id)
        self.assertEqual(self.rung("1240", asked), (0, 0))

    async def test_twenty_for_operators_who_are_offline(self) -> None:
        """Twenty calls at once for operators who never registered: twenty chains of their own."""
        wanted = [self.asked(sip) for sip in WITHOUT_PHONE * 2]
        answers = await self.at_once(*wanted)
        self.assertEqual({answer["error"]["code"] for answer in answers}, {"operator_offline"})
        call_ids = {answer["error"]["call_id"] for answer in answers}
        self.assertEqual(len(call_ids), 20)
        for call_id in call_ids:
            self.assertEqual(await self.chain(call_id), OFFLINE)
        self.assertEqual({self.rung(asked["sip"], asked) for asked in wanted}, {(0, 0)})

    async def test_operator_back_again(self) -> None:
        """Once their phone has registered again, the operator is called."""
        self.lab.unregister(["1254"])
        await self.has_status("1254", "offline")
        await self.refused(self.asked("1254"), "operator_offline", 409)
        self.lab.register(["1254"])
        await self.has_status("1254", "online")
        self.assertEqual(
            (await self.finished(await self.make_call("1254", "380670000005")))[-1]["state"],
            "CLIENT_BUSY",
        )

    async def test_operator_in_a_call_of_ours(self) -> None:
        """In use: 409 with a call_id and a chain; the talk goes on, and no other phone rings."""
        talk = await self.make_call("1253", "380670000004")

        async def talks() -> bool:
            return "CLIENT_PICKUP" in await self.chain(talk)

        await self.wait_for(talks, 5.0, "they talk")
        asked = self.asked("1253")
        call_id = await self.refused(asked, "operator_busy", 409)
        assert call_id is not None
        self.assertEqual(await self.chain(call_id), BUSY)
        self.assertEqual(self.rung("1253", asked), (0, 0))
        self.assertEqual((await self.chain(talk))[-1], "CLIENT_PICKUP")

    async def test_operator_in_a_call_of_others(self) -> None:
        """An operator who is on the phone without the daemon is as busy."""
        self.lab.asterisk.rx("channel originate PJSIP/1252 application Wait 10")
        await self.has_status("1252", "inuse")
        asked = self.asked("1252")
        call_id = await self.refused(asked, "operator_busy", 409)
        assert call_id is not None
        self.assertEqual(await self.chain(call_id), BUSY)
        self.assertEqual(self.rung("1252", asked), (0, 0))

    async def test_originate_under_way_counts_as_busy(self) -> None:
        """Of ten calls for one operator, asked for at once, one rings them, nine find them busy."""
        wanted = [self.asked(f"12{RINGS_FOR_EVER}") for _ in range(10)]
        answers = await self.at_once(*wanted)
        codes = Counter(answer["status_code"] for answer in answers)
        self.assertEqual(codes, {200: 1, 409: 9})
        for answer in answers:
            if answer["status"] == "error":
                self.assertEqual(answer["error"]["code"], "operator_busy")
                self.assertEqual(await self.chain(answer["error"]["call_id"]), BUSY)
            else:
                await self.finished(answer["response"]["call_id"])
        rung = [self.rung(f"12{RINGS_FOR_EVER}", asked)[0] for asked in wanted]
        self.assertEqual(rung, [int(answer["status"] == "ok") for answer in answers])

    async def test_operator_unknown(self) -> None:
        """Asterisk has no such endpoint: 404 without a call, and the key stays free."""
        asked = self.asked("4711", "05")
        self.assertIsNone(await self.refused(asked, "operator_unknown", 404))
        await self.finished(await self.make_call(**{**asked, "sip": "1251"}))
        self.assertEqual(self.rung("1251", asked), (1, 1))

    async def test_external_key_used(self) -> None:
        """A key that a call has, live or over: 409 with that call_id, and no phone rings."""
        asked = self.asked("1250", "05")
        call_id = await self.make_call(**asked)
        self.assertEqual(await self.refused(asked, "external_key_used", 409), call_id)
        other = {**self.asked("1249"), "external_key": asked["external_key"]}
        self.assertEqual(await self.refused(other, "external_key_used", 409), call_id)
        await self.finished(call_id)
        self.assertEqual(await self.refused(asked, "external_key_used", 409), call_id)
        await self.sleep(0.5)
        self.assertEqual(self.rung("1250", asked), (1, 1))
        self.assertEqual(self.rung("1249", other), (0, 0))

    async def test_one_key_asked_for_many_times_at_once(self) -> None:
        """Of twenty calls with one key, asked for at once, one is made and all say which."""
        key = f"{secrets.randbelow(10**15)}"
        wanted = [self.asked(f"11{number}", "05", key) for number in range(40, 60)]
        answers = await self.at_once(*wanted)
        [made] = [a["response"]["call_id"] for a in answers if a["status"] == "ok"]
        refusals = [answer["error"] for answer in answers if answer["status"] == "error"]
        self.assertEqual({e["code"] for e in refusals}, {"external_key_used"}, refusals)
        self.assertEqual({e["call_id"] for e in refusals}, {made}, refusals)
        await self.finished(made)
        rung = [self.rung(asked["sip"], asked) for asked in wanted]
        self.assertEqual(Counter(rung), {(1, 1): 1, (0, 0): 19})


class AnswerTests(LiveTestCase):
    """What makeCall waits for: Asterisk, and nobody's phone."""

    tables = {"asterisk": {"operator_timeout": OPERATOR_TIMEOUT, "caller_id": "380440001122"}}

    async def test_answers_while_the_phone_rings(self) -> None:
        """The answer is there at once, and the chain with it, before the phone is picked up."""
        begun = time.monotonic()
        call_id = await self.make_call("1102", "380670000005")  # Rings for 3 s, then answers.
        self.assertEqual((await self.states(call_id))[0]["state"], "CALL")
        self.assertLess(time.monotonic() - begun, 1.5)

        async def rings() -> bool:
            return await self.chain(call_id) == ["CALL", "OPERATOR_CALLTO"]

        await self.wait_for(rings, 2.0, "the operator's phone rings")
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "CLIENT_BUSY")

    async def test_the_words_of_a_phone(self) -> None:
        """What a phone says with its refusal is told as words, and forges nothing."""
        last = (await self.finished(await self.make_call("1246", "380670099999")))[-1]
        self.assertEqual((last["state"], last["cause"]), ("CLIENT_BUSY", 17))
        self.assertEqual(last["detail"], "User busy (17), SIP 486 Busy xSource evilEXTEN")
        [call] = await self.ask("callHistory", call_id=last["call_id"])
        self.assertEqual(call["hung_up_by"], "client")

    async def test_caller_id(self) -> None:
        """The client sees the configured number; the operator the client's, and the order."""
        call_id = await self.make_call("1248", "380670099905", order_id="15-A")
        await self.finished(call_id)
        [seen] = [e for e in self.lab.clients.events("380670099905") if e.event == "invite"]
        self.assertIn("<sip:380440001122@", seen.detail)
        for secret in ("380670099905", "15-A"):
            self.assertNotIn(secret, seen.detail)
        shown = [e.detail for e in self.lab.operators.events("1248") if e.event == "invite"]
        self.assertIn('"Order 15-A" <sip:380670099905@', shown[-1])
