"""A phone's own transfer (REFER): nobody is called by it, and the talk goes on."""

from __future__ import annotations

from lab.softphones import Softphones
from tests.live.harness import on_16
from tests.live.hearing import CLIENT, OPERATOR, OUTSIDE, SECOND, InboundHearingCase


@on_16(nightly=True)
class ReferTests(InboundHearingCase):
    """What is dialled goes by the daemon, so what a phone refers to goes nowhere."""

    async def _goes_nowhere(self, call_id: int, phones: Softphones, number: str) -> None:
        line = self.of(number)
        for to in (OUTSIDE, SECOND):
            line.referred = None
            phones.refer(line, to)
            await self.wait_for(lambda: line.referred is not None, 5, "an answer to REFER")
            await self.sleep(1.0)
            self.assertEqual(self.rung(to), 0, f"{number} has referred to {to}: {line.referred}")
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        self.assertFalse((await self.states(call_id))[-1]["final"])

    async def test_by_the_operator(self) -> None:
        """In a call of ours and in one of the client's."""
        call_id = await self.talk()
        await self._goes_nowhere(call_id, self.operators, OPERATOR)
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        await self.is_over(self.of(CLIENT))
        call_id = await self.incoming()
        await self._goes_nowhere(call_id, self.operators, OPERATOR)

    async def test_by_the_trunk(self) -> None:
        """In a call of ours and in one of the client's."""
        call_id = await self.talk()
        await self._goes_nowhere(call_id, self.clients, CLIENT)
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)
        await self.is_over(self.of(OPERATOR))
        call_id = await self.incoming()
        await self._goes_nowhere(call_id, self.clients, CLIENT)
