"""``call``: one object that holds everything known about a call, live or past."""

from __future__ import annotations

from typing import Any

from tests.integration.desk import FIRST, NEVER, SECOND, SHORT, TALK, DeskTestCase
from tests.integration.test_methods import CALL, RECORD, STATE, seconds

KEYS = f"{CALL} wait_seconds result result_note made_by made_from legs states records actions"
LEG = "name sip phone called answered ended talk_seconds cause detail"


class TheCall(DeskTestCase):
    """Live and past, outbound and inbound."""

    async def check(self, call_id: int) -> dict[str, Any]:
        """The object of a call, with what callHistory and recordList say of it."""
        shown: dict[str, Any] = await self.both("call", call_id=call_id)
        self.assertEqual(" ".join(shown), KEYS)
        (told,) = await self.ask("callHistory", call_id=call_id)
        self.assertEqual({key: shown[key] for key in told}, told)
        for leg in shown["legs"]:
            self.assertEqual(" ".join(leg), LEG)
        for state in shown["states"]:
            self.assertEqual(" ".join(state), STATE)
        return shown

    async def test_past(self) -> None:
        """Legs with their times, the seconds of each part, the recording, who hung up."""
        phone = self.new_phone(SHORT)
        call_id = await self.called(FIRST, phone, external_key=f"k{phone}")
        record = await self.recorded(call_id)
        shown = await self.check(call_id)
        self.assertEqual([state["state"] for state in shown["states"]], TALK)
        self.assertEqual((shown["hung_up_by"], shown["cause"]), ("client", 16))
        dates = {state["state"]: seconds(state["date"]) for state in shown["states"]}
        wait = dates["CLIENT_PICKUP"] - dates["OPERATOR_PICKUP"]
        self.assertAlmostEqual(shown["wait_seconds"], wait, places=3)
        operator, client = shown["legs"]
        self.assertEqual((operator["name"], operator["sip"]), ("operator-1", FIRST))
        self.assertEqual((client["name"], client["sip"], client["phone"]), ("client", None, phone))
        self.assertEqual(seconds(operator["answered"]), dates["OPERATOR_PICKUP"])
        self.assertEqual(seconds(client["answered"]), dates["CLIENT_PICKUP"])
        for leg in (operator, client):
            self.assertTrue(leg["called"] <= leg["answered"] < leg["ended"], leg)
            self.assertAlmostEqual(leg["talk_seconds"], shown["talk_seconds"], delta=0.5)
        self.assertEqual(shown["records"], [record])
        self.assertEqual(" ".join(record), RECORD)
        self.assertEqual((shown["result"], shown["actions"]), (None, []))
        self.assertEqual(shown, await self.ask("call", external_key=f"k{phone}"))

    async def test_live(self) -> None:
        """While the operator's phone rings: what is known by then, and nothing final."""
        call_id = await self.make_call(NEVER, self.new_phone())
        await self.reached(call_id, "OPERATOR_CALLTO")
        shown = await self.check(call_id)
        self.assertEqual((shown["state"], shown["final"]), ("OPERATOR_CALLTO", False))
        self.assertEqual((shown["ended"], shown["hung_up_by"], shown["records"]), (None, None, []))
        operator = shown["legs"][0]
        self.assertIsNotNone(operator["called"])
        self.assertEqual((operator["answered"], operator["ended"]), (None, None))
        await self.finished(call_id)

    async def test_inbound(self) -> None:
        """The number that was dialled, what the CRM calls the caller, and every operator's leg."""
        phone, did = self.new_phone(), self.new_did()
        call_id = await self.call_in(
            "1005", SECOND, phone=phone, did=did, caller_name="Olena", order_id="o1"
        )
        await self.finished(call_id)
        await self.recorded(call_id)
        shown = await self.check(call_id)
        self.assertEqual(
            (shown["direction"], shown["phone"], shown["did"], shown["caller_name"]),
            ("inbound", phone, did, "Olena"),
        )
        self.assertEqual((shown["sip"], shown["hung_up_by"]), (SECOND, "client"))
        legs = {leg["name"]: leg for leg in shown["legs"]}
        self.assertEqual(legs["operator-1"]["sip"], "1005")
        self.assertIsNone(legs["operator-1"]["answered"])
        self.assertEqual(legs["operator-1"]["cause"], 17)
        self.assertEqual(legs["operator-2"]["sip"], SECOND)
        self.assertIsNotNone(legs["operator-2"]["talk_seconds"])
        self.assertEqual(legs["client"]["phone"], phone)

    async def test_out_of_postgres_alone(self) -> None:
        """With a new journal the same is said of it, word by word."""
        call_id = await self.called(FIRST, self.new_phone(SHORT))
        await self.recorded(call_id)
        await self.ask("setResult", call_id=call_id, result="sold", note="soon")
        before = await self.check(call_id)
        await self.lose_the_journal()
        self.assertEqual(await self.check(call_id), before)

    async def test_none_and_nobodys(self) -> None:
        """Which call has to be said; nobody's number and key are unknown."""
        await self.refused(400, "missing_parameter", "call")
        await self.refused(404, "call_unknown", "call", call_id=2_000_000_000)
        await self.refused(404, "call_unknown", "call", external_key="nobody's")
