"""A client calls in, one call at a time, and what came of it.

Knows how to call and to find the call again by the client's number; what the answers should be
the tests know.
"""

from __future__ import annotations

import itertools
from typing import Any

from lab.phones import PhoneEvent
from tests.integration.harness import LiveTestCase

_numbers = itertools.count(1)

#: A chain of one operator who takes the call.
TALK = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "FINISH"]


class CallingInTestCase(LiveTestCase):
    """Clients who call in."""

    def a_client(self) -> tuple[str, str]:
        """Numbers that nobody else has: whom to dial, and who is calling."""
        number = next(_numbers)
        return f"38045{number:07}", f"38064{number:07}"

    def client(self, did: str) -> list[PhoneEvent]:
        """What the client's phone saw that dialled this."""
        return self.lab.clients.events(did)

    def rung_by(self, caller: str) -> list[PhoneEvent]:
        """What operators' phones saw that were rung by this caller."""
        events = self.lab.operators.events()
        dialogs = {
            event.call_id
            for event in events
            if event.event == "invite" and f"<sip:{caller}@" in event.detail
        }
        return [event for event in events if event.call_id in dialogs]

    async def seen(self, did: str, name: str, timeout: float = 15.0) -> PhoneEvent:
        """Wait until something has happened at the client's phone."""

        def found() -> list[PhoneEvent]:
            return [event for event in self.client(did) if event.event == name]

        return (await self.wait_for(found, timeout, f"the client's phone: {name}"))[0]

    async def call_of(self, caller: str, timeout: float = 10.0) -> int:
        """The number of the call of this caller, once it is told."""

        async def found() -> list[dict[str, Any]]:
            states: list[dict[str, Any]] = await self.ask("callHistory", phone=caller)
            return states

        states = await self.wait_for(found, timeout, f"a call of {caller}")
        [call_id] = {state["call_id"] for state in states}
        assert isinstance(call_id, int)
        return call_id

    async def over(self, call_id: int, timeout: float = 20.0) -> dict[str, Any]:
        """The call, once it is over."""
        await self.finished(call_id, timeout)
        [call] = await self.ask("callHistory", call_id=call_id)
        assert isinstance(call, dict)
        return call

    def chain_of(self, call: dict[str, Any]) -> list[str]:
        """The names of its states."""
        return [state["state"] for state in call["states"]]

    async def records_of(self, call_id: int) -> list[dict[str, Any]]:
        """Its recordings so far."""
        records = (await self.ask("recordList", per_page=1000))["data"]
        return [record for record in records if record["call_id"] == call_id]

    async def recorded(self, call: dict[str, Any]) -> None:
        """Wait for the one recording, which is as long as the talk."""

        async def listed() -> list[dict[str, Any]]:
            return await self.records_of(call["call_id"])

        [record] = await self.wait_for(listed, 10.0, "the recording")
        self.assertApproximates(record["duration"], call["talk_seconds"], 0.4)
