"""Callers of every kind: nobody is refused for what they send, and nothing of it is obeyed."""

from __future__ import annotations

from typing import Any

from tests.integration.calling_in import TALK, CallingInTestCase
from tests.integration.harness import on_16

TAKES = "1051"


@on_16(nightly=True)
class CallerTests(CallingInTestCase):
    """One operator in the configuration's list takes all calls."""

    tables = {"routing": {"operators": [TAKES], "ring_timeout": 5}}

    async def takes(self, caller: str, shown: str = "", did: str | None = None) -> dict[str, Any]:
        """Call in and talk; the call, and it is the newest."""
        number, _ = self.a_client()
        before = await self.newest()
        self.lab.clients.call(did or number, caller, shown, talk=0.6)

        async def begun() -> bool:
            return await self.newest() > before

        await self.wait_for(begun, 10.0, "the call is told")
        call = await self.over(await self.newest())
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual(call["sip"], TAKES)
        return call

    async def newest(self) -> int:
        """The number of the call that was told last; 0 if there is none."""
        states = await self.ask("callHistory", per_page=1)
        return int(states[0]["call_id"]) if states else 0

    async def test_plain(self) -> None:
        """A number is shown as it is."""
        call = await self.takes("380671112233", "Jane Doe")
        self.assertEqual((call["phone"], call["direction"]), ("380671112233", "inbound"))

    async def test_plus(self) -> None:
        """A leading plus is dropped, as everywhere."""
        self.assertEqual((await self.takes("+380671112234"))["phone"], "380671112234")

    async def test_what_networks_write_behind_a_number(self) -> None:
        """Of a ported number, behind a semicolon: it is no part of it."""
        call = await self.takes("380671112239%3Bnpdi", "", "380440000007%3Bnpdi%3Brn=38044999")
        self.assertEqual((call["phone"], call["did"]), ("380671112239", "380440000007"))

    async def test_anonymous(self) -> None:
        """Who hides their number is anonymous."""
        self.assertEqual((await self.takes("anonymous", "Anonymous"))["phone"], "anonymous")

    async def test_empty(self) -> None:
        """So is who sends none."""
        self.assertEqual((await self.takes(""))["phone"], "anonymous")

    async def test_name_for_a_number(self) -> None:
        """And who sends a name."""
        self.assertEqual((await self.takes("bob.smith"))["phone"], "anonymous")

    async def test_forty_characters(self) -> None:
        """Forty digits are a number, and longer ones are no reason to refuse either."""
        self.assertEqual((await self.takes("3" * 40))["phone"], "3" * 40)
        await self.takes("4" * 60)
        await self.takes("x" * 60)

    async def test_words_that_could_break_a_dialplan(self) -> None:
        """Commas, quotes, brackets and expressions in number, name and DID do nothing at all."""
        rung = self.lab.operators.invites("1052")
        for caller, shown, did in (
            ("380671112235", 'x",1)Source: evil|${SYSTEM(touch /tmp/ccdaemon-evil)}', None),
            ("380671112236", "&PJSIP/1052,60,${EXTEN}", None),
            ("%24%7BEXTEN%7D%2C1", "", None),
            ("1)&PJSIP/1052", "", None),
            ("380671112237", "", "380%2C1%26PJSIP%2F1052"),
            ("380671112238", "", "38044$%7BSYSTEM(touch+/tmp/ccdaemon-evil)%7D"),
        ):
            await self.takes(caller, shown, did)
        self.assertEqual(self.lab.operators.invites("1052"), rung)
        evil = self.lab.root.path / "tmp/ccdaemon-evil"
        self.assertFalse(evil.exists())

    async def test_dialled_words(self) -> None:
        """A trunk may send words for a number; what was dialled is kept as far as it is plain."""
        await self.takes("380671112239", did="sales")

    async def test_what_the_operator_sees(self) -> None:
        """The operator's phone shows the client's number and the name that the network sent."""
        _, caller = self.a_client()
        await self.takes(caller, "Jane Doe")
        [invite] = [event for event in self.rung_by(caller) if event.event == "invite"]
        self.assertTrue(invite.detail.startswith(f'"Jane Doe" <sip:{caller}@'), invite.detail)
