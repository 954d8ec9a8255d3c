"""What a CRM's desk does around calls: clients who call in, operators the CRM names, and answers
in JSON held against XML.

Knows how the calls are made and found again; what should be said of them the tests know.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Mapping
from random import randrange
from typing import Any, ClassVar

from lab.processes import free_port
from tests.integration.asking import as_xml, spelled
from tests.integration.harness import LiveTestCase
from tests.integration.routing_crm import RoutingCrm

CRM_PORT = free_port(socket.SOCK_STREAM)
EVERYTHING = ["call", "read", "attach", "result", "pause"]
#: Operators whose phones answer and talk; one whose phone rings for ever.
FIRST, SECOND, THIRD, NEVER = "1040", "1041", "1042", "1006"
#: How a client's number ends: they answer and hang up after a second; are busy; talk for ever.
SHORT, BUSY, LONG = "34", "05", "40"
TALK = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"]

_numbers = itertools.count(randrange(10**4))


class DeskTestCase(LiveTestCase):
    """A daemon that asks a CRM here who takes a call, and a CRM that may do everything."""

    tables: ClassVar[Mapping[str, Any]] = {
        "clients": [{"name": "crm", "networks": ["127.0.0.0/8"], "permissions": EVERYTHING}],
        "asterisk": {"operator_timeout": 5, "client_timeout": 4},
        "routing": {"url": f"http://127.0.0.1:{CRM_PORT}/route", "timeout": 1.5},
    }

    def setUp(self) -> None:
        """Have the CRM listen."""
        super().setUp()
        self.crm = RoutingCrm(CRM_PORT)
        self.addCleanup(self.crm.stop)

    def new_phone(self, ending: str = SHORT) -> str:
        """A client's number that nobody else has."""
        return f"38067{next(_numbers):05}{ending}"

    def new_did(self) -> str:
        """A number of ours that nobody else calls."""
        return f"38044{next(_numbers):07}"

    async def call_in(
        self,
        *operators: str,
        phone: str = "",
        did: str = "",
        talk: float = 1.0,
        gives_up: float | None = None,
        **advice: object,
    ) -> int:
        """A client calls, and the CRM names operators, one after the other; the call's number."""
        did = did or self.new_did()
        self.crm.asked.pop(did, None)
        told = {"operators": list(operators), "ring_timeout": 2, **advice}
        self.crm.answers[did] = (told, 0.0)
        caller = phone or self.new_phone()
        self.lab.clients.call(did, caller, talk=talk, cancel_after=gives_up)
        await self.wait_for(lambda: did in self.crm.asked, 15, "the CRM was asked")
        return int(self.crm.asked[did]["call_id"])

    async def miss(self, phone: str = "", did: str = "") -> int:
        """A client calls and gives up while an operator's phone rings."""
        call_id = await self.call_in(NEVER, phone=phone, did=did, gives_up=0.5)
        states = await self.finished(call_id)
        self.assertEqual(states[-1]["state"], "CLIENT_CANCEL")
        return call_id

    async def called(self, sip: str, phone: str, **parameters: object) -> int:
        """An operator calls a client, until it is over."""
        call_id = await self.make_call(sip, phone, **parameters)
        await self.finished(call_id)
        await self.idle()
        return call_id

    async def idle(self) -> None:
        """Wait until nobody is on the phone."""

        async def nobody() -> bool:
            return bool((await self.ask("sipList", status="inuse"))["total"] == 0)

        await self.wait_for(nobody, 15, "nobody on the phone")

    async def reached(self, call_id: int, state: str) -> None:
        """Wait until a call has told a state."""

        async def told() -> bool:
            return state in await self.chain(call_id)

        await self.wait_for(told, 15, f"{state} of call {call_id}")

    async def recorded(self, call_id: int) -> dict[str, Any]:
        """Wait for a call's recording."""

        async def found() -> Any:
            records = (await self.ask("recordList", per_page=1000))["data"]
            return next((one for one in records if one["call_id"] == call_id), None)

        record: dict[str, Any] = await self.wait_for(found, 15, f"the recording of call {call_id}")
        return record

    async def both(self, method: str, **parameters: object) -> Any:
        """The response in JSON, after XML has been found to say the same, one to one."""
        envelope = await self.api(method, **parameters)
        root = await self.api_xml(method, **parameters)
        self.assertEqual(spelled(root), spelled(as_xml("result", envelope)))
        self.assertEqual((envelope["status"], envelope["status_code"]), ("ok", 200), envelope)
        return envelope["response"]

    async def refused(self, status: int, code: str, method: str, **parameters: object) -> Any:
        """The error, which JSON and XML tell alike."""
        envelope = await self.api(method, **parameters)
        root = await self.api_xml(method, **parameters)
        self.assertEqual(spelled(root), spelled(as_xml("result", envelope)))
        self.assertEqual(envelope["status_code"], status, envelope)
        self.assertEqual(envelope["error"]["code"], code)
        return envelope["error"]

    async def lose_the_journal(self) -> None:
        """Start the daemon with a new journal: what it says of the past is Postgres' alone."""
        # A list waits until Postgres has everything.
        await self.ask("callHistory", per_page=1)
        self.daemon.stop()
        for file in self.daemon.state_dir.glob("journal.sqlite*"):
            file.unlink()
        self.daemon.start()
