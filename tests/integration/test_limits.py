"""What may be dialled: by makeCall, by hand and by transfer, on a real Asterisk.

Each limit is met at the API, in the chain or at the phones, and its alarm is in the log.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar

from tests.integration.harness import LiveTestCase

#: Operators whose phones answer and talk; clients whose numbers end so hang up after a second.
FIRST, SECOND = "1040", "1041"
SHORT = "34"


def number(prefix: str = "38067") -> str:
    """A client's number that nobody else has."""
    return f"{prefix}{secrets.randbelow(10**6):06}"[: 12 - len(SHORT)].ljust(10, "0") + SHORT


class LimitsTestCase(LiveTestCase):
    """Calls that may be refused."""

    async def refused(self, phone: str, sip: str = FIRST, **more: object) -> tuple[int, str, int]:
        """Ask for a call that has to be refused: status, code, and seconds to wait."""
        key = secrets.randbelow(10**15)
        query = {"sip": sip, "phone": phone, "order_id": "1", "external_key": key, **more}
        path = "/api/makeCall.json?" + "&".join(f"{name}={query[name]}" for name in query)
        status, headers, _ = await self.request(path)
        envelope = await self.api("makeCall", **query)
        self.assertEqual(envelope["status_code"], status)
        self.assertIsNone(envelope["response"])
        self.assertNotIn("call_id", envelope["error"])
        return status, envelope["error"]["code"], int(headers.get("retry-after", "0"))

    def alarms(self, kind: str) -> list[str]:
        """The lines of the log that are an alarm of this kind."""
        lines = self.daemon.log.read_text().splitlines()
        return [line for line in lines if f"#warn] ALARM limits {kind} " in line]

    async def dial_by_hand(self, sip: str, phone: str) -> list[dict[str, Any]]:
        """Have an operator dial; the states of what becomes of it."""
        password = self.lab.asterisk.phone_password
        self.lab.operators.call(phone, sip, talk=1.0, password=password)

        async def over() -> list[dict[str, Any]]:
            states = await self.ask("callHistory", phone=phone, per_page=1000)
            return states if states and states[0]["final"] else []

        return list(reversed(await self.wait_for(over, 30.0, f"the end of the call to {phone}")))


class NumberTests(LimitsTestCase):
    """Which numbers, and who is not to be called."""

    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {
            "countries": ["ua"],
            "allowed_patterns": ["10[1-4]"],
            "forbidden_prefixes": ["38050"],
            "do_not_call": ["38068*"],
        }
    }

    async def test_numbers_of_the_country(self) -> None:
        """An ordinary number is dialled; abroad, what costs extra and what is forbidden are not."""
        call_id = await self.make_call(FIRST, number())
        await self.finished(call_id)
        self.assertEqual((await self.chain(call_id))[-1], "FINISH")
        for phone in ("380900123456", "0900123456", "79161234567", "48221234567", "380501234567"):
            self.assertEqual(await self.refused(phone), (403, "phone_not_allowed", 0))
        self.assertEqual(len(self.alarms("forbidden")), 1)
        _, _, numbers = await self.request("/metrics")
        for line in (
            rb'^ccdaemon_limits_refused_total\{kind="forbidden"\} [1-9]',
            rb'^ccdaemon_limits_alarms_total\{kind="forbidden"\} 1\.0$',
        ):
            self.assertIsNotNone(re.search(line, numbers, re.M), numbers)

    async def test_the_do_not_call_list(self) -> None:
        """Who is on it is not called."""
        self.assertEqual(await self.refused("380689912345"), (403, "do_not_call", 0))
        self.assertEqual(len(self.alarms("do_not_call")), 1)

    async def test_the_key_stays_free(self) -> None:
        """A call that was refused may be asked for again, with its key, to another number."""
        key = str(secrets.randbelow(10**15))
        await self.refused("380900123456", external_key=key)
        await self.finished(await self.make_call(FIRST, number(), external_key=key))


class RateTests(LimitsTestCase):
    """How often."""

    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {"operator_per_minute": 2, "prefix_per_minute": {"38095": 1}}
    }
    shared = False

    async def test_an_operator(self) -> None:
        """Two calls within a minute, whoever takes them; the third is told when to come again."""
        for _ in range(2):
            await self.finished(await self.make_call(FIRST, number()))
        status, code, wait = await self.refused(number())
        self.assertEqual((status, code), (429, "too_many_calls"))
        self.assertTrue(1 <= wait <= 60, wait)
        [line] = self.alarms("operator")
        self.assertIn(f"ALARM limits operator {FIRST}: 2 calls within a minute", line)
        await self.finished(await self.make_call(SECOND, number()))

    async def test_a_prefix(self) -> None:
        """Numbers that begin alike have one count, whoever calls them."""
        await self.finished(await self.make_call(FIRST, number("38095")))
        status, code, _ = await self.refused(number("38095"), SECOND)
        self.assertEqual((status, code), (429, "too_many_calls"))
        await self.finished(await self.make_call(SECOND, number()))


class ClientRateTests(LimitsTestCase):
    """How often one client of the API may ask."""

    KEYS: ClassVar[Mapping[str, str]] = {"crm": "k-crm", "dashboard": "k-dashboard"}
    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {"client_per_minute": 1},
        "clients": [
            {"name": name, "key_sha256": sha256(key.encode()).hexdigest()}
            for name, key in KEYS.items()
        ]
        + [{"name": "local", "networks": ["127.0.0.1"]}],
    }

    async def test_a_client(self) -> None:
        """Each has their own count."""
        await self.finished(await self.make_call(FIRST, number(), api_key="k-crm"))
        status, code, _ = await self.refused(number(), SECOND, api_key="k-crm")
        self.assertEqual((status, code), (429, "too_many_calls"))
        await self.finished(await self.make_call(SECOND, number(), api_key="k-dashboard"))


class QuietHoursTests(LimitsTestCase):
    """When nobody is to be called."""

    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {"quiet_hours": ["00:00-23:59", "23:59-00:01"], "timezone": "Europe/Kyiv"}
    }

    async def test_refused(self) -> None:
        """Nobody is called, and when it may be tried again is told."""
        status, code, wait = await self.refused(number())
        self.assertEqual((status, code), (429, "quiet_hours"))
        self.assertGreater(wait, 0)


class ByHandTests(LimitsTestCase):
    """What operators dial by hand."""

    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {"forbidden_prefixes": ["900"], "operator_per_minute": 1}
    }

    async def test_by_hand(self) -> None:
        """The same limits: a forbidden number, and a second call within the minute, go nowhere."""
        forbidden = f"900{secrets.randbelow(10**7):07}"
        states = await self.dial_by_hand("1045", forbidden)
        self.assertEqual((states[-1]["state"], states[-1]["sip"]), ("ERROR", "1045"))
        self.assertIn("rejected: this number may not be dialled", states[-1]["detail"])
        self.assertEqual(self.lab.clients.invites(forbidden), 0)
        first, second = number(), number()
        self.assertEqual((await self.dial_by_hand("1045", first))[-1]["state"], "FINISH")
        states = await self.dial_by_hand("1045", second)
        self.assertEqual(states[-1]["state"], "ERROR")
        self.assertIn("limits.operator_per_minute", states[-1]["detail"])
        self.assertEqual(self.lab.clients.invites(second), 0)
        [line] = self.alarms("operator")
        self.assertIn("ALARM limits operator 1045: ", line)


class TransferTests(LimitsTestCase):
    """Where a call that is up may be sent."""

    tables: ClassVar[Mapping[str, Any]] = {
        "limits": {"forbidden_prefixes": ["900"], "prefix_per_minute": {"38095": 1}},
        "clients": [
            {
                "name": "crm",
                "networks": ["127.0.0.1"],
                "permissions": ["call", "read", "transfer", "hangup"],
            }
        ],
    }

    async def test_transfer(self) -> None:
        """A forbidden number, and one beyond its rate: refused, and the talk goes on."""
        used = number("38095")
        await self.finished(await self.make_call(SECOND, used))
        call_id = await self.make_call(FIRST, f"38067{secrets.randbelow(10**5):05}00")

        async def talking() -> bool:
            return (await self.chain(call_id))[-1] == "CLIENT_PICKUP"

        await self.wait_for(talking, 20.0, "the talk")
        forbidden, too_many = f"900{secrets.randbelow(10**7):07}", number("38095")
        for phone, status, code in (
            (forbidden, 403, "phone_not_allowed"),
            (too_many, 429, "too_many_calls"),
        ):
            envelope = await self.api("transfer", call_id=call_id, phone=phone)
            self.assertEqual(
                (envelope["status_code"], envelope["error"]["code"]), (status, code), envelope
            )
            self.assertEqual(self.lab.clients.invites(phone), 0)
        self.assertEqual((await self.chain(call_id))[-1], "CLIENT_PICKUP")
        await self.ask("hangup", call_id=call_id)
        await self.finished(call_id)


class AttemptsTests(LimitsTestCase):
    """Keys that change, and attempts that fail."""

    shared = False
    tables: ClassVar[Mapping[str, Any]] = {
        "clients": [
            {
                "name": "crm",
                "key_sha256": [sha256(key.encode()).hexdigest() for key in ("old", "new")],
            },
            {"name": "local", "networks": ["127.0.0.1"]},
        ]
    }

    async def test_keys_and_attempts(self) -> None:
        """Two keys are valid, also after ten that are not; the next of those is told to wait."""
        for key in ("old", "new"):
            await self.ask("sipList", api_key=key)
        for n in range(10):
            self.assertEqual((await self.api("sipList", api_key=f"k{n}"))["status_code"], 401)
        await self.ask("sipList", api_key="new")
        status, headers, _ = await self.request("/api/sipList.json?api_key=k")
        self.assertEqual(status, 429)
        self.assertTrue(0 < int(headers["retry-after"]) <= 60)
        await self.ask("sipList")
        lines = self.daemon.log.read_text().splitlines()
        failed = [line for line in lines if "Admission#warn] unauthorized from 127.0.0.1: " in line]
        self.assertEqual([line.rpartition(": ")[2] for line in failed[:10]], ["wrong key"] * 10)
        self.assertEqual(failed[10].rpartition(": ")[2], "too many attempts")
