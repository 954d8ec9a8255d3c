"""Calls that nobody handed over: the PBX's own dialplan makes them, and they are told as others."""

from __future__ import annotations

from typing import Any

from lab.stack import SOFT_TRUNK
from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, OUTSIDE, SECOND, HearingCase

#: A number by which the PBX's own dialplan rings both operators.
GROUP = "380449998877"
#: Who dials by hand.
BY_HAND = "1040"


@on_16(nightly=True)
class ObservedTests(HearingCase):
    """Nothing of our dialplan is on the way."""

    tables = {
        **HearingCase.tables,
        "observe": {"trunks": [f"{kind}/{SOFT_TRUNK}" for kind in ("PJSIP", "SIP")]},
    }

    def setUp(self) -> None:
        """Have a ring group by Local channels, and a route out by another one."""
        super().setUp()
        technology = self.lab.asterisk.operator_channel.partition("/")[0]
        out = self.lab.asterisk.client_channel.replace("@trunk", f"@{SOFT_TRUNK}")
        group = "&".join(f"Local/{sip}@own-ext/n" for sip in (OPERATOR, SECOND))
        for exten, app, context in (
            (GROUP, f"Dial({group},20)", "from-client"),
            (f"_{OPERATOR[:2]}XX", f"Dial({technology}/${{EXTEN}},20)", "own-ext"),
            (f"_{CLIENT[:6]}.", "Dial(Local/${EXTEN}@own-route,30)", "from-operator"),
            (f"_{CLIENT[:6]}.", f"Dial({out.replace('{phone}', '${EXTEN}')},30)", "own-route"),
        ):
            for priority, what in enumerate((app, "Hangup(${HANGUPCAUSE})"), 1):
                step = f"dialplan add extension {exten},{priority},{what} into {context}"
                self.lab.asterisk.rx(step)
            remove = f"dialplan remove extension {exten}@{context}"
            self.addCleanup(self.lab.asterisk.rx, remove)

    def _dial(self, number: str) -> None:
        """An operator dials, and talks for two seconds if anybody answers."""
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(number, BY_HAND, password=password, talk=2.0)

    async def _call(self) -> dict[str, Any]:
        """The newest call."""
        [state] = await self.ask("callHistory", per_page=1)
        call: dict[str, Any] = await self.ask("call", call_id=state["call_id"])
        return call

    async def _over(self) -> dict[str, Any]:
        call = await self._call()
        await self.finished(call["call_id"])
        return await self._call()

    async def test_in(self) -> None:
        """A ring group: who rings, who takes it, and for how long."""
        self.phone(SECOND, "rings")
        self.clients.call(CLIENT, GROUP)
        await self.is_up(OPERATOR)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        call = await self._over()
        told = [(one["state"], one["sip"]) for one in call["states"]]
        self.assertEqual(told[0], ("CALL", None))
        self.assertEqual(
            sorted(told[1:3]), [("OPERATOR_CALLTO", OPERATOR), ("OPERATOR_CALLTO", SECOND)]
        )
        self.assertEqual(told[3:], [("OPERATOR_PICKUP", OPERATOR), ("FINISH", OPERATOR)])
        self.assertEqual((call["phone"], call["did"]), (CLIENT, GROUP))
        self.assertGreater(call["talk_seconds"], 1.5)
        self.assertEqual(call["hung_up_by"], "client")

    async def test_missed(self) -> None:
        """Nobody takes it."""
        for operator in (OPERATOR, SECOND):
            self.phone(operator, "rings")
        self.clients.call(CLIENT, GROUP)
        await self.rings(OPERATOR)
        self.clients.hang_up(self.of(CLIENT))
        self.assertEqual((await self._over())["state"], "CLIENT_CANCEL")

    async def test_out(self) -> None:
        """Dialled by hand, by the PBX's own route."""
        self._dial(CLIENT)
        await self.is_up(CLIENT)
        await self.told_of(CLIENT)
        call = await self._over()
        self.assertEqual(
            [one["state"] for one in call["states"]],
            [
                *("CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP"),
                *("CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"),
            ],
        )
        self.assertEqual((call["sip"], call["phone"]), (BY_HAND, CLIENT))
        self.assertEqual(call["hung_up_by"], "operator")

    async def test_out_and_busy(self) -> None:
        """The client's own channel says what came of it."""
        self.phone(OUTSIDE, "busy")
        self._dial(OUTSIDE)
        await self.told_of(OUTSIDE)
        self.assertEqual((await self._over())["state"], "CLIENT_BUSY")

    async def told_of(self, phone: str) -> None:
        """Wait until a call with a number is told."""

        async def there() -> bool:
            states = await self.ask("callHistory", per_page=1)
            return bool(states) and (await self._call())["phone"] == phone

        await self.wait_for(there, 10, f"a call with {phone}")
