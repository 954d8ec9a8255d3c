"""Calls that operators dial by hand on their phones: told as those that the CRM asks for."""

from __future__ import annotations

import itertools
import socket
from typing import Any

from lab.phones import PhoneEvent
from lab.processes import Child, free_port
from tests.integration.harness import LiveTestCase, on_16

_numbers = itertools.count(1)
TALK = [
    "CALL",
    "OPERATOR_CALLTO",
    "OPERATOR_PICKUP",
    "CLIENT_CALLTO",
    "CLIENT_PICKUP",
    "FINISH",
]


class DialoutTestCase(LiveTestCase):
    """Operators who dial."""

    def dial(self, sip: str, number: str, **how: Any) -> Child:
        """Have an operator's phone dial."""
        password = self.lab.asterisk.phone_password
        return self.lab.operators.call(number, sip, password=password, **how)

    def number(self, ending: str) -> str:
        """A number that nobody else has; its phone does as the ending says."""
        return f"38066{next(_numbers):05}{ending}"

    async def told(self, phone: str) -> dict[str, Any]:
        """The call to this phone, once it is over."""

        async def found() -> list[dict[str, Any]]:
            states: list[dict[str, Any]] = await self.ask("callHistory", phone=phone)
            return states

        states = await self.wait_for(found, 10.0, f"a call to {phone}")
        [call_id] = {state["call_id"] for state in states}
        await self.finished(call_id)
        [call] = await self.ask("callHistory", call_id=call_id)
        assert isinstance(call, dict)
        self.assertEqual((call["direction"], call["phone"]), ("outbound", phone))
        return call

    def chain_of(self, call: dict[str, Any]) -> list[str]:
        """The names of its states."""
        return [state["state"] for state in call["states"]]

    async def refused(self, number: str) -> PhoneEvent:
        """Wait until the operator's phone is told that it cannot be."""

        def found() -> list[PhoneEvent]:
            events = self.lab.operators.events(number)
            return [event for event in events if event.event == "refused"]

        return (await self.wait_for(found, 10.0, f"{number} is refused"))[0]


@on_16()
class DialoutTests(DialoutTestCase):
    """What comes of them."""

    tables = {
        "clients": [  # type: ignore[dict-item]
            {"name": "crm", "networks": ["127.0.0.0/8"], "permissions": ["call", "read", "attach"]}
        ],
        "asterisk": {"client_timeout": 3, "caller_id": "380441234567"},
        "limits": {"forbidden_prefixes": ["38090"]},
    }

    async def test_talk(self) -> None:
        """They talk, and the operator hangs up: the chain, no order, a recording."""
        phone = self.number("00")
        self.dial("1040", phone, talk=1.5)
        call = await self.told(phone)
        self.assertEqual(self.chain_of(call), TALK)
        self.assertEqual({state["sip"] for state in call["states"]}, {"1040"})
        self.assertEqual((call["order_id"], call["external_key"]), (None, None))
        self.assertEqual(call["hung_up_by"], "operator")
        self.assertApproximates(call["talk_seconds"], 1.3, 0.5)

        async def listed() -> list[dict[str, Any]]:
            records = (await self.ask("recordList", per_page=1000))["data"]
            return [record for record in records if record["call_id"] == call["call_id"]]

        [record] = await self.wait_for(listed, 10.0, "the recording")
        self.assertApproximates(record["duration"], call["talk_seconds"], 0.4)
        self.assertEqual(self.lab.clients.invites(phone), 1)

    async def test_attached(self) -> None:
        """The CRM gives it an order afterwards: its states and its recording are under it."""
        phone = self.number("34")
        self.dial("1051", phone)
        call = await self.told(phone)
        order = f"by-hand-{phone}"
        await self.ask("attachOrder", call_id=call["call_id"], order_id=order)
        states = await self.ask("orderHistory", order_id=order)
        self.assertEqual([state["state"] for state in states], TALK)
        self.assertEqual({state["call_id"] for state in states}, {call["call_id"]})

        async def listed() -> bool:
            return len(await self.ask("orderRecords", order_id=order)) == 1

        await self.wait_for(listed, 10.0, "the recording")

    async def test_client_hangs_up(self) -> None:
        """They talk, and the client hangs up."""
        phone = self.number("34")
        self.dial("1041", phone)
        call = await self.told(phone)
        self.assertEqual((self.chain_of(call), call["hung_up_by"]), (TALK, "client"))

    async def test_what_the_client_sees(self) -> None:
        """The configured number, and not the operator's."""
        phone = self.number("00")
        self.dial("1042", phone, talk=0.5)
        await self.told(phone)
        [invite] = [one for one in self.lab.clients.events(phone) if one.event == "invite"]
        self.assertIn("<sip:380441234567@", invite.detail)
        self.assertNotIn("1042", invite.detail)

    async def test_client_busy(self) -> None:
        """The client is busy."""
        phone = self.number("05")
        self.dial("1043", phone)
        call = await self.told(phone)
        self.assertEqual(self.chain_of(call), [*TALK[:4], "CLIENT_BUSY"])
        self.assertEqual(call["cause"], 17)

    async def test_client_rings_out(self) -> None:
        """The client does not answer within their time."""
        phone = self.number("06")
        self.dial("1044", phone)
        self.assertEqual(self.chain_of(await self.told(phone)), [*TALK[:4], "CLIENT_NOANSWER"])

    async def test_operator_gives_up(self) -> None:
        """The operator puts down while it rings."""
        phone = self.number("24")
        self.dial("1045", phone, cancel_after=1.0)
        call = await self.told(phone)
        self.assertEqual(self.chain_of(call), [*TALK[:4], "OPERATOR_BUSY"])
        self.assertEqual(call["hung_up_by"], "operator")

    async def test_no_such_number(self) -> None:
        """The trunk does not know the number."""
        phone = self.number("11")
        self.dial("1046", phone)
        call = await self.told(phone)
        self.assertEqual(self.chain_of(call), [*TALK[:4], "ERROR"])
        self.assertEqual(call["cause"], 1)

    async def test_forbidden(self) -> None:
        """A forbidden prefix is not dialled, whoever dials it; the chain says why."""
        phone = f"38090{next(_numbers):05}00"
        self.dial("1047", phone)
        self.assertEqual((await self.refused(phone)).detail, "403")
        call = await self.told(phone)
        self.assertEqual(call["state"], "ERROR")
        self.assertIn("rejected", call["detail"])
        self.assertNotIn("CLIENT_CALLTO", self.chain_of(call))
        self.assertEqual(self.lab.clients.invites(phone), 0)

    async def test_too_long(self) -> None:
        """What phone_pattern does not allow is not dialled either."""
        phone = "38066" + "1" * 15
        self.dial("1048", phone)
        self.assertEqual((await self.refused(phone)).detail, "403")
        self.assertEqual(self.lab.clients.invites(phone), 0)

    async def test_operator_is_in_use(self) -> None:
        """Who dials is in use, with the number of the call; the CRM cannot ring them."""
        phone = self.number("00")
        self.dial("1049", phone, talk=3.0)

        async def in_use() -> dict[str, Any]:
            listed = (await self.ask("sipList", status="inuse", per_page=1000))["data"]
            found: dict[str, Any] = next((one for one in listed if one["sip"] == "1049"), {})
            return found if found.get("call_id") else {}

        operator = await self.wait_for(in_use, 10.0, "1049 is in use")
        asked = await self.api(
            "makeCall", sip="1049", phone=self.number("00"), order_id="x", external_key="by-hand"
        )
        self.assertEqual(asked["error"]["code"], "operator_busy")
        self.assertEqual((await self.told(phone))["call_id"], operator["call_id"])

    async def test_plus(self) -> None:
        """A leading plus is dropped before the number is looked at."""
        phone = self.number("00")
        self.dial("1050", f"+{phone}", talk=0.5)
        self.assertEqual(self.chain_of(await self.told(phone)), TALK)


@on_16(nightly=True)
class SilentDaemonTests(DialoutTestCase):
    """The daemon cannot be asked."""

    async def test_refused(self) -> None:
        """Without a dial string of the administrator nothing is dialled."""
        self.set_globals(CC_AGI=f"127.0.0.1:{free_port(socket.SOCK_STREAM)}")
        phone = self.number("00")
        self.dial("1040", phone)
        self.assertEqual((await self.refused(phone)).detail, "503")
        self.assertEqual(self.lab.clients.invites(phone), 0)

    async def test_dialled_all_the_same(self) -> None:
        """With one it is, and told."""
        trunk = self.lab.asterisk.client_channel.replace("{phone}", "NUMBER")
        nobody = f"127.0.0.1:{free_port(socket.SOCK_STREAM)}"
        self.set_globals(CC_AGI=nobody, CC_DIALOUT=trunk)
        phone = self.number("34")
        self.dial("1041", phone)
        self.assertEqual(self.chain_of(await self.told(phone)), TALK)
