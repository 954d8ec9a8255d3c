"""A pause of the recording, whoever takes part in the talk: silence until it is resumed."""

from __future__ import annotations

from tests.integration.harness import on_16
from tests.integration.hearing import CLIENT, OPERATOR, SECOND, HearingCase, InboundHearingCase


@on_16(nightly=True)
class InboundPauseTests(InboundHearingCase):
    """Each operator has a file; one that begins in the pause begins silent."""

    async def test_a_blind_transfer(self) -> None:
        """The second is not heard in their file until it is resumed; the record says so."""
        call_id = await self.incoming()
        await self.sleep(1.0)
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        first, second = await self.records(call_id, 2)
        [[begin, end]] = first["pauses"]
        self.assertEqual(self.in_file(first, 0.2, begin - 0.2), {"operator", "client"})
        self.assertEqual(self.in_file(first, begin + 0.3, end), set())
        [[begin, end]] = second["pauses"]
        self.assertEqual(begin, 0.0)
        self.assertEqual(self.in_file(second, 0.0, end - 0.5), set())
        self.assertEqual(self.in_file(second, end + 0.2, end + 1.2), {"second", "client"})

    async def test_until_the_end(self) -> None:
        """Nobody resumes it: the second's file is silent from beginning to end."""
        call_id = await self.incoming()
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        _, second = await self.records(call_id, 2)
        self.assertEqual(second["pauses"], [[0.0, second["duration"]]])
        self.assertEqual(self.in_file(second, 0.0, second["duration"]), set())
        self.assertGreater(second["duration"], 1.0)

    async def test_an_attended_transfer(self) -> None:
        """Paused while they consult: whom the client gets begins silent; resumed, is heard."""
        call_id = await self.incoming()
        await self.ask("transfer", call_id=call_id, sip=SECOND, mode="attended")
        await self.is_up(SECOND)
        await self.told(call_id, "OPERATOR_PICKUP", 2)
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transferComplete", call_id=call_id)
        await self.is_over(self.of(OPERATOR))
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        *_, second = await self.records(call_id, 2)
        [[begin, end]] = second["pauses"]
        self.assertEqual(begin, 0.0)
        self.assertEqual(self.in_file(second, 0.0, end - 0.5), set())
        self.assertEqual(self.in_file(second, end + 0.2, end + 1.2), {"second", "client"})

    async def test_an_operator_who_comes_back(self) -> None:
        """Paused on hold while nobody is there: their new file begins silent."""
        call_id = await self.incoming()
        await self.ask("hold", call_id=call_id)
        await self.sleep(0.5)
        self.operators.hang_up(self.of(OPERATOR))
        await self.is_over(self.of(OPERATOR))
        await self.sleep(1.0)
        await self.ask("recordPause", call_id=call_id)
        await self.ask("unhold", call_id=call_id)
        await self.is_up(OPERATOR, 2)
        self.assertEqual(await self.hears(OPERATOR, CLIENT), ({"client"}, {"operator"}))
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        *_, again = await self.records(call_id, 2)
        [[begin, end]] = again["pauses"]
        self.assertEqual(self.in_file(again, begin, end - 0.5), set())
        self.assertEqual(self.in_file(again, end + 0.2, end + 1.2), {"operator", "client"})

    async def test_without_the_daemon(self) -> None:
        """Nobody makes the second's file silent: there is none, and the talk goes on."""
        self.phone(SECOND, "rings")
        call_id = await self.incoming()
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.rings(SECOND)
        self.daemon.kill()
        self.operators.answer(self.of(SECOND))
        await self.sleep(1.5)
        self.assertEqual(await self.hears(SECOND, CLIENT), ({"client"}, {"second"}))
        self.daemon.start()
        await self.told(call_id, "OPERATOR_PICKUP", 2)
        await self.wrong_state("recordResume", "OPERATOR_PICKUP", call_id=call_id)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        call = await self.ask("call", call_id=call_id)
        second = call["legs"][-1]
        self.assertEqual(second["sip"], SECOND, call["legs"])
        self.assertNotIn("second", [n for r in call["records"] for n in self.in_file(r, 0.0, 9.0)])


@on_16(nightly=True)
class OutboundPauseTests(HearingCase):
    """The client's file goes on with whoever they talk with."""

    async def test_resumed_after_a_transfer(self) -> None:
        """Silent from the pause on; then both are heard whom the record says."""
        call_id = await self.talk()
        await self.sleep(1.5)
        await self.ask("recordPause", call_id=call_id)
        await self.ask("transfer", call_id=call_id, sip=SECOND)
        await self.is_up(SECOND)
        await self.sleep(1.0)
        await self.ask("recordResume", call_id=call_id)
        await self.sleep(2.0)
        self.clients.hang_up(self.of(CLIENT))
        await self.finished(call_id)
        record = await self.recorded(call_id)
        [[begin, end]] = record["pauses"]
        self.assertEqual(self.in_file(record, 0.2, begin - 0.3), {"operator", "client"})
        self.assertEqual(self.in_file(record, begin + 0.3, end - 0.5), set())
        self.assertEqual(self.in_file(record, end + 0.4, end + 1.4), {"second", "client"})
