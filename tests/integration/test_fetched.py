"""Calls that somebody takes who was not rung for them: fetched, or sent on by another program."""

from __future__ import annotations

from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, SECOND, InboundHearingCase

#: Who fetches a call, and what they dial for it.
FETCHER, KEY = "1040", "808"


@on_16(nightly=True)
class FetchedTests(InboundHearingCase):
    """Operator 1250 rings."""

    def setUp(self) -> None:
        """Have a key that fetches what rings there, and a way to a colleague."""
        super().setUp()
        technology = self.lab.asterisk.operator_channel.partition("/")[0]
        for exten, what in (
            (KEY, f"PickupChan({technology}/{OPERATOR},p)"),
            (SECOND, f"Dial({technology}/{SECOND},20)"),
        ):
            self.lab.asterisk.rx(f"dialplan add extension {exten},1,{what} into from-operator")
            self.addCleanup(
                self.lab.asterisk.rx, f"dialplan remove extension {exten}@from-operator"
            )

    async def _begun(self) -> int:
        async def there() -> list[dict[str, int]]:
            return await self.ask("callHistory", per_page=1)  # type: ignore[no-any-return]

        [state] = await self.wait_for(there, 10, "a call")
        return int(state["call_id"])

    async def test_by_a_key(self) -> None:
        """Whoever fetched it is told, and no call is missed."""
        self.phone(OPERATOR, "rings")
        self.clients.call(CLIENT, "380440000000")
        await self.rings(OPERATOR)
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(KEY, FETCHER, password=password, talk=3.0)
        call_id = await self._begun()
        await self.is_up(CLIENT)
        states = await self.finished(call_id)
        self.assertEqual(
            [(one["state"], one["sip"]) for one in states],
            [
                ("CALL", None),
                ("OPERATOR_CALLTO", OPERATOR),
                ("OPERATOR_CALLTO", FETCHER),
                ("OPERATOR_PICKUP", FETCHER),
                ("FINISH", FETCHER),
            ],
        )
        call = await self.ask("call", call_id=call_id)
        self.assertGreater(call["talk_seconds"], 2.0)
        self.assertEqual((await self.ask("missedCalls"))["data"], [])

    async def test_led_elsewhere(self) -> None:
        """By another program, with Asterisk's own means."""
        call_id = await self.incoming()
        lines = self.lab.asterisk.rx("core show channels concise").splitlines()
        [name] = [line.split("!")[0] for line in lines if "/trunk-soft-" in line]
        self.lab.asterisk.rx(f"channel redirect {name} from-operator,{SECOND},1")
        await self.is_up(SECOND)
        await self.sleep(1.0)
        self.clients.hang_up(self.of(CLIENT))
        states = await self.finished(call_id)
        self.assertEqual(
            [(one["state"], one["sip"]) for one in states][2:],
            [
                ("OPERATOR_PICKUP", OPERATOR),
                ("OPERATOR_CALLTO", SECOND),
                ("OPERATOR_PICKUP", SECOND),
                ("FINISH", SECOND),
            ],
        )
