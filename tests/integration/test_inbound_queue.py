"""Clients in a queue of Asterisk: music until somebody is free, the members' legs in the chain."""

from __future__ import annotations

from typing import ClassVar

from lab.softphones import Line, heard
from tests.integration.calling_in import TALK, CallingInTestCase
from tests.integration.harness import on_16

#: What the lab's music is, and the voices of the members of the queue "sales".
MUSIC_HERTZ, MEMBER_HERTZ = 300, 440
MEMBERS = ("1055", "1056")


@on_16(nightly=True)
class QueueTests(CallingInTestCase):
    """The configuration names a queue."""

    tables = {"routing": {"queue": "sales"}}

    async def keep_busy(self) -> list[int]:
        """Both members talk with clients of the CRM, the first one for ten seconds; their calls."""
        endings = zip(MEMBERS, ("04", "00"), strict=True)
        calls = [await self.make_call(sip, f"38067000{sip}{end}") for sip, end in endings]
        for call_id in calls:

            async def talk(call_id: int = call_id) -> bool:
                return "CLIENT_PICKUP" in await self.chain(call_id)

            await self.wait_for(talk, 10.0, f"call {call_id} is a talk")
        return calls

    async def all_idle(self) -> None:
        """Nobody is on the phone any more."""

        async def idle() -> bool:
            return bool((await self.ask("sipList", status="inuse"))["total"] == 0)

        await self.wait_for(idle, 10.0, "nobody on the phone")

    async def test_a_member_takes_it(self) -> None:
        """A free member is rung and talks; they are told as any operator, and recorded."""
        await self.all_idle()
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=1.5)
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual(call["sip"], MEMBERS[0])
        self.assertEqual(call["hung_up_by"], "client")
        self.assertApproximates(call["talk_seconds"], 1.2, 0.5)
        await self.recorded(call)

    async def test_music_until_somebody_is_free(self) -> None:
        """Nobody is free: the client hears music, and then whoever has become free."""
        await self.all_idle()
        first, _ = await self.keep_busy()
        did, caller = self.a_client()
        self.lab.soft_clients.add(caller, 500)
        line = self.lab.soft_clients.call(caller, did)
        await self.wait_for(lambda: line.state == "up", 5.0, "the queue has the client")
        await self.sleep(2.0)
        self.assertEqual(self.heard_of(line, 1.0), {MUSIC_HERTZ})
        call_id = await self.call_of(caller)
        self.assertEqual(await self.chain(call_id), ["CALL"])
        await self.finished(first)

        async def taken() -> bool:
            return "OPERATOR_PICKUP" in await self.chain(call_id)

        await self.wait_for(taken, 15.0, "the free member takes it")
        await self.sleep(1.5)
        self.assertEqual(self.heard_of(line, 1.0), {MEMBER_HERTZ})
        self.lab.soft_clients.hang_up(line)
        call = await self.over(call_id)
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual(call["sip"], MEMBERS[0])
        # The music is no part of the talk, and not recorded.
        self.assertLess(call["talk_seconds"], 4.0)
        await self.recorded(call)

    def heard_of(self, line: Line, seconds: float) -> set[int]:
        """Which of the tones the client heard just now."""
        end = line.heard[-1][0]
        return heard(line, [MUSIC_HERTZ, MEMBER_HERTZ, 880], end - seconds, end)

    async def test_the_client_gives_up(self) -> None:
        """Nobody is free, and the client does not wait."""
        await self.all_idle()
        await self.keep_busy()
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=1.5)
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), ["CALL", "CLIENT_CANCEL"])
        self.assertEqual(await self.records_of(call["call_id"]), [])

    async def test_the_fallback_after_too_long_a_wait(self) -> None:
        """The administrator has set how long a client waits; after that the fallback has them."""
        await self.all_idle()
        await self.keep_busy()
        self.set_globals(CC_QUEUE_TIMEOUT="2", CC_FALLBACK="PJSIP/1151")
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=5.0)
        call = await self.over(await self.call_of(caller))
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual(call["sip"], "1151")


class SlowQueueTests(CallingInTestCase):
    """The first member of this queue never answers, and the second is rung after them."""

    tables: ClassVar = {"routing": {"queue": "slow"}}

    async def test_the_next_member_is_rung(self) -> None:
        """Each ring of a member is a leg of its own; who rang out is told."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=8.0)
        call = await self.over(await self.call_of(caller), 30.0)
        told = [(state["state"], state["sip"]) for state in call["states"]]
        self.assertEqual(
            told[:5],
            [
                ("CALL", None),
                ("OPERATOR_CALLTO", "1106"),
                ("OPERATOR_NOANSWER", "1106"),
                ("OPERATOR_CALLTO", "1057"),
                ("OPERATOR_PICKUP", "1057"),
            ],
        )
        self.assertEqual(told[-1][0], "FINISH")
        await self.recorded(call)


class NoQueueTests(CallingInTestCase):
    """The configuration names a queue that Asterisk does not have."""

    tables = {"routing": {"queue": "nosuch"}}
    dialplan = {"CC_FALLBACK": "PJSIP/1152"}

    async def test_fallback(self) -> None:
        """The fallback has the client."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=1.0)
        call = await self.over(await self.call_of(caller))
        self.assertEqual((self.chain_of(call), call["sip"]), (TALK, "1152"))
