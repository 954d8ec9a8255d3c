"""One number in one form: a client who is written in four ways is one client, on real phones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.integration.desk import FIRST, SECOND, DeskTestCase


class NumbersTests(DeskTestCase):
    """At home in Ukraine; the trunk wants numbers of one network as they are dialled at home."""

    tables: ClassVar[Mapping[str, Any]] = {
        **DeskTestCase.tables,
        "numbers": {
            "country": "ua",
            "trunks": [{"prefixes": ["063"], "dial": "national"}],
        },
        "limits": {"countries": ["ua"], "emergency": ["02"], "do_not_call": ["063 000-00-01"]},
    }

    def rung(self, number: str) -> bool:
        """Whether a client's phone was rung under this number."""
        return any(event.event == "invite" for event in self.lab.clients.events(number))

    async def by_hand(self, number: str) -> None:
        """Have an operator dial, until the client's phone rings."""
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(number, SECOND, talk=1.0, password=password)
        await self.wait_for(lambda: self.rung(number), 10, f"{number} rings")

    async def test_one_client(self) -> None:
        """Missed under one spelling, called back under another, found under each."""
        phone = self.new_phone()
        national = f"0{phone[3:]}"
        did = self.new_did()
        missed = await self.miss(national, did)
        self.assertEqual(self.crm.asked[did]["phone"], phone)
        written = f"+38 ({phone[2:5]}) {phone[5:8]}-{phone[8:]}"
        back = await self.called(FIRST, written)
        for spelling in (phone, national, f"00{phone}", written):
            page = await self.ask("callHistory", phone=spelling)
            self.assertEqual({state["call_id"] for state in page}, {missed, back}, spelling)
            [row] = (await self.ask("missedCalls", phone=spelling))["data"]
            self.assertEqual(row["called_back"]["call_id"], back, spelling)
        [first] = await self.ask("callHistory", call_id=missed)
        [second] = await self.ask("callHistory", call_id=back)
        self.assertEqual((first["phone"], first["phone_sent"]), (phone, national))
        self.assertEqual((second["phone"], second["phone_sent"]), (phone, written))
        self.assertTrue(self.rung(phone))

    async def test_the_trunk_gets_what_it_wants(self) -> None:
        """As a table of trunks says, by the API and by hand."""
        phone = self.new_phone().replace("38067", "38063", 1)
        await self.called(FIRST, phone)
        self.assertTrue(self.rung(f"0{phone[3:]}"))
        self.assertFalse(self.rung(phone))
        other = self.new_phone()
        await self.called(FIRST, f"0{other[3:]}")
        self.assertTrue(self.rung(other))

    async def test_who_is_on_a_list(self) -> None:
        """Under no spelling is anybody called who does not want to be."""
        for spelling in ("380630000001", "0630000001", "00380630000001", "+380630000001"):
            await self.refused(
                403,
                "do_not_call",
                "makeCall",
                sip=FIRST,
                phone=spelling,
                order_id="1",
                external_key=f"list-{spelling}",
            )

    async def test_a_colleague(self) -> None:
        """No trunk is asked for an operator's number, nor for a short one."""
        for phone in (SECOND, "105"):
            await self.refused(
                403,
                "phone_not_allowed",
                "makeCall",
                sip=FIRST,
                phone=phone,
                order_id="1",
                external_key=f"colleague-{phone}",
            )
            self.assertFalse(self.rung(phone))

    async def test_emergency(self) -> None:
        """By hand it is dialled as it is, although no list of countries has it."""
        for number in ("112", "02"):
            await self.by_hand(number)
