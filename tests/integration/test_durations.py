"""For how long what is dialled here may be talked, on a real Asterisk: it ends the talk itself."""

from __future__ import annotations

from tests.integration.hearing import CLIENT, OUTSIDE, InboundHearingCase

#: Seconds that are allowed, and by which a time may be off.
MOST, SLACK = 2, 1.6


class DurationTests(InboundHearingCase):
    """``limits.max_duration``, by makeCall, by hand and by transfer."""

    tables = {
        **InboundHearingCase.tables,
        "limits": {"max_duration": MOST, "operator_per_day": 50},
    }

    async def ends(self, call_id: int) -> float:
        """Wait for the end; the seconds that they talked."""
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "FINISH")
        talked: float = (await self.ask("call", call_id=call_id))["talk_seconds"]
        return talked

    async def test_make_call(self) -> None:
        """Whatever the CRM asks for, and if it asks for nothing."""
        for parameters in ({}, {"max_duration": 600}):
            call_id = await self.talk(**parameters)
            self.assertLess(abs(await self.ends(call_id) - MOST), SLACK)
            words = (await self.ask("callHistory", call_id=call_id))[0]["states"][-1]["detail"]
            self.assertIn(f"max_duration of {MOST} s was over", words)

    async def test_by_hand(self) -> None:
        """A number that an operator dials."""
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(CLIENT, "1040", password=password, talk=30.0)
        await self.is_up(CLIENT)
        [state] = await self.ask("callHistory", per_page=1)
        self.assertLess(abs(await self.ends(state["call_id"]) - MOST), SLACK)

    async def test_transfer(self) -> None:
        """A client who called in may talk for as long as they like, not with a phone outside."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, phone=OUTSIDE)
        outside = await self.is_up(OUTSIDE)
        await self.is_over(outside)
        await self.ends(call_id)
        self.assertEqual(outside.ended_by, "them")

    async def test_consult(self) -> None:
        """Nor does the operator talk with one first for longer than that."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, phone=OUTSIDE, mode="attended")
        outside = await self.is_up(OUTSIDE)
        await self.is_over(outside)
        self.assertEqual(outside.ended_by, "them")
        await self.ask("hangup", call_id=call_id)
