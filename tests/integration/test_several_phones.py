"""Operators who have several phones: all of them ring, and it is one leg."""

from __future__ import annotations

from typing import Any

from lab import sip_files
from lab.softphones import Softphones
from tests.integration.hearing import CLIENT, OPERATOR, HearingCase

#: Two phones are registered on this endpoint, beside the desk phone's own.
WEB = f"{OPERATOR}-WS"


class SeveralPhonesTests(HearingCase):
    """One operator has a desk phone, and two web phones on an endpoint of their own."""

    shared = False
    tables = {
        **HearingCase.tables,
        "asterisk": {
            **HearingCase.tables["asterisk"],
            "operator_channels": ["PJSIP/{sip}", "PJSIP/{sip}-WS"],
        },
        "routing": {"operators": [OPERATOR], "ring_timeout": 6},
    }

    def setUp(self) -> None:
        """Have all three ring until they are picked up."""
        super().setUp()
        self.lab.asterisk.set_operators([*self.lab.asterisk.operators, WEB])
        self.allow_two()
        server = ("127.0.0.1", self.lab.asterisk.ports.sip)
        self.web = [Softphones("127.0.0.1", server) for _ in range(2)]
        for phones in self.web:
            phones.start()
            self.addCleanup(phones.stop)
            phones.add(WEB, 900, "rings")
            phones.register(WEB, self.lab.asterisk.phone_password)
        self.phone(OPERATOR, "rings")

    def allow_two(self) -> None:
        """Let two phones register on the web phones' endpoint."""
        asterisk = self.lab.asterisk
        etc = asterisk.root.on_host(asterisk.folder / "etc")
        name, _ = sip_files.endpoints(asterisk.flavour, [WEB], asterisk.phone_password)
        text = (etc / name).read_text()
        (etc / name).write_text(text.replace(f"[{WEB}](aor)", f"[{WEB}](aor)\nmax_contacts=2"))
        asterisk.rx("module reload res_pjsip.so")

    def newest(self) -> list[Any]:
        """The last call of each phone."""
        of = [self.operators.of(OPERATOR), *(phones.of(WEB) for phones in self.web)]
        return [lines[-1] for lines in of if lines]

    async def all_ring(self) -> None:
        """Wait until each of them rings."""

        def ring() -> bool:
            return [line.state for line in self.newest()] == ["ringing"] * 3

        await self.wait_for(ring, 8, f"all three ring: {self.newest()}")

    async def is_one_leg(self, call_id: int, states: list[str]) -> None:
        """The last of them picks up, the others fall silent; then the client hangs up."""
        await self.all_ring()
        *others, last = self.newest()
        self.web[1].answer(last)
        for line in others:
            await self.is_over(line)
        await self.told(call_id, states[-2])
        self.clients.hang_up(await self.is_up(CLIENT))
        self.assertEqual([each["state"] for each in await self.finished(call_id)], states)
        call = await self.ask("call", call_id=call_id)
        self.assertEqual([leg["sip"] for leg in call["legs"] if leg["sip"]], [OPERATOR])
        await self.is_over(last)

    async def test_all_ring(self) -> None:
        """By makeCall and for a client's call."""
        states = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP"]
        call_id = await self.make_call(OPERATOR, CLIENT)
        await self.is_one_leg(call_id, [*states, "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"])
        self.clients.call(CLIENT, "380440000000")
        await self.all_ring()
        [state] = await self.ask("callHistory", per_page=1)
        await self.is_one_leg(state["call_id"], [*states, "FINISH"])

    async def test_nobody_picks_up(self) -> None:
        """It rings out once, for all of them."""
        call_id = await self.make_call(OPERATOR, CLIENT, operator_timeout=2)
        await self.all_ring()
        told = [each["state"] for each in await self.finished(call_id)]
        self.assertEqual(told, ["CALL", "OPERATOR_CALLTO", "OPERATOR_NOANSWER"])
