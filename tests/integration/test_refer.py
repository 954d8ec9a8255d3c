"""A phone's own blind transfer (REFER): a colleague takes the client, and it is told."""

from __future__ import annotations

from lab.softphones import Softphones
from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, OUTSIDE, SECOND, InboundHearingCase

#: A number that nobody may dial.
EXPENSIVE = "900123456789"


@on_16(nightly=True)
class ReferTests(InboundHearingCase):
    """By an operator it leads where they may dial, by anybody else nowhere."""

    tables = {**InboundHearingCase.tables, "limits": {"forbidden_prefixes": ["900"]}}

    async def _refer(self, phones: Softphones, number: str, to: str) -> None:
        line = self.of(number)
        line.referred = None
        phones.refer(line, to)
        await self.wait_for(lambda: line.referred is not None, 5, "an answer to REFER")

    async def _taken(self, call_id: int, to: str) -> None:
        """Whom the operator refers to talks with the client, and is a leg of the call."""
        await self._refer(self.operators, OPERATOR, to)
        await self.is_up(to)
        name = {SECOND: "second", OUTSIDE: "outside"}[to]
        self.assertEqual(await self.hears(to, CLIENT), ({"client"}, {name}))
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        states = await self.states(call_id)
        told = [(one["state"], one["sip"]) for one in states][-3:]
        sip = to if to == SECOND else None
        last = to if to == SECOND else OPERATOR
        self.assertEqual(
            told, [("OPERATOR_CALLTO", sip), ("OPERATOR_PICKUP", sip), ("FINISH", last)]
        )
        self.assertIn(
            f"transfer by the phone of {OPERATOR}: {to}, blind", await self.words(call_id)
        )
        [call] = (await self.ask("callHistory", call_id=call_id))[:1]
        self.assertGreater(call["talk_seconds"], 1.0)
        await self.is_over(self.of(to))

    async def test_to_a_colleague(self) -> None:
        """In a call of ours, and in one of the client's."""
        await self._taken(await self.talk(), SECOND)
        await self._taken(await self.incoming(), SECOND)

    async def test_outside(self) -> None:
        """As if the number had been dialled by hand."""
        await self._taken(await self.talk(), OUTSIDE)

    async def test_where_nobody_may(self) -> None:
        """The client comes back to the operator, and it is told why."""
        call_id = await self.talk()
        await self._refer(self.operators, OPERATOR, EXPENSIVE)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.assertEqual(self.rung(OUTSIDE), 0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        self.assertIn(f"to {EXPENSIVE} refused", await self.words(call_id))

    async def test_without_the_daemon(self) -> None:
        """The client comes back to the operator."""
        await self.talk()
        self.daemon.kill()
        self.addCleanup(self.daemon.start)
        await self._refer(self.operators, OPERATOR, SECOND)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))

    async def _goes_nowhere(self, call_id: int, phones: Softphones, number: str) -> None:
        for to in (OUTSIDE, SECOND):
            await self._refer(phones, number, to)
            await self.sleep(1.0)
            self.assertEqual(self.rung(to), 0, f"{number} has referred to {to}")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.assertFalse((await self.states(call_id))[-1]["final"])

    async def test_by_the_trunk(self) -> None:
        """In a call of ours and in one of the client's nobody is called by it."""
        call_id = await self.talk()
        await self._goes_nowhere(call_id, self.clients, CLIENT)
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        await self.is_over(self.of(OPERATOR))
        call_id = await self.incoming()
        await self._goes_nowhere(call_id, self.clients, CLIENT)
