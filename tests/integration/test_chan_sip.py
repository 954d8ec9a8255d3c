"""What is chan_sip's own, on Asterisk 16: trunks that are no good, the states of peers."""

from __future__ import annotations

from typing import Any

from tests.integration.harness import LiveTestCase
from tests.integration.rows import CLIENT_TIMEOUT, OPERATOR_TIMEOUT, TRUNKS

#: Operators who talk, one for each call.
TALKERS = (f"12{number}" for number in range(40, 60))
LIMITS = {"operator_timeout": OPERATOR_TIMEOUT, "client_timeout": CLIENT_TIMEOUT}


class TrunkTests(LiveTestCase):
    """Trunks that are no good."""

    suite = "bullseye"
    flavour = "chan_sip"
    tables = {"asterisk": LIMITS}
    shared = False

    async def test_every_way_of_being_no_good(self) -> None:
        """No address, nobody there, no password that it takes: the client's leg ends in ERROR."""
        for trunk, rows in TRUNKS.items():
            self.daemon.stop()
            self.daemon.configure(asterisk={"client_channel": f"SIP/{{phone}}@{trunk}"})
            self.daemon.start()
            for name, row in rows.items():
                call_id = await self.make_call(next(TALKERS), f"3806700000{row.client}")
                await self.finished(call_id)
                [call] = await self.ask("callHistory", call_id=call_id)
                chain = tuple(state["state"] for state in call["states"])
                self.assertIn(chain, row.chains, name)
                self.assertIn(call["hung_up_by"], row.by, name)
                self.assertIsNone(call["talk_seconds"], name)
        self.assertEqual((await self.ask("recordList"))["total"], 0)


class PeerTests(LiveTestCase):
    """The states of chan_sip's peers."""

    suite = "bullseye"
    flavour = "chan_sip"
    tables = {"asterisk": LIMITS}

    async def operators(self) -> dict[str, dict[str, Any]]:
        """Every operator, by sip."""
        listed = await self.ask("sipList", per_page=1000)
        return {operator["sip"]: operator for operator in listed["data"]}

    async def becomes(self, sip: str, status: str, device_state: str | None = None) -> None:
        """Wait until sipList tells this of an operator."""

        async def so() -> bool:
            operator = (await self.operators()).get(sip, {})
            return operator.get("status") == status and device_state in (
                None,
                operator["device_state"],
            )

        await self.wait_for(so, 5, f"{sip} is {status}, {device_state}")

    async def changes(self, sip: str) -> list[str]:
        """What operatorHistory has of an operator, oldest first."""
        changes = await self.ask("operatorHistory", sip=sip)
        return [change["state"] for change in reversed(changes)]

    async def test_all_are_listed(self) -> None:
        """Every peer of the number plan is there, with a phone or without; no trunk is."""
        operators = await self.operators()
        self.assertEqual(sorted(operators), sorted(self.lab.asterisk.operators))
        self.assertEqual(operators["1000"]["status"], "online")
        self.assertEqual(operators["1090"]["status"], "offline")

    async def test_in_use(self) -> None:
        """A peer that rings or talks is in use and not to be called; afterwards they are online."""
        call_id = await self.make_call("1024", "380000000003")
        await self.becomes("1024", "inuse", "RINGING")
        refused = await self.api("makeCall", sip="1024", phone="380000000001", **_keys("busy"))
        self.assertEqual(refused["error"]["code"], "operator_busy")
        self.assertEqual((await self.operators())["1024"]["call_id"], call_id)
        self.lab.asterisk.rx("channel request hangup all")
        await self.finished(call_id)
        await self.becomes("1024", "online", "NOT_INUSE")
        talk = await self.make_call("1140", "380000000003")
        await self.becomes("1140", "inuse", "INUSE")
        await self.finished(talk)
        await self.becomes("1140", "online")
        self.assertEqual((await self.changes("1140"))[-4:], ["online", "inuse", "inuse", "online"])

    async def test_offline(self) -> None:
        """A peer whose phone leaves is offline at once; a call for it is told and rings nobody."""
        self.unregister("1141")
        await self.becomes("1141", "offline", "UNAVAILABLE")
        refused = await self.api("makeCall", sip="1141", phone="380000000001", **_keys("offline"))
        self.assertEqual(refused["error"]["code"], "operator_offline")
        chain = await self.chain(refused["error"]["call_id"])
        self.assertEqual(chain, ["CALL", "OPERATOR_OFFLINE"])
        self.lab.register(["1141"])
        await self.becomes("1141", "online")

    async def test_added_and_removed(self) -> None:
        """Peers that a reload adds and removes come and go."""
        asterisk = self.lab.asterisk
        before = list(asterisk.operators)
        self.addCleanup(asterisk.set_operators, before)
        asterisk.set_operators([*before[:-1], "1301"])
        # chan_sip's own reload is told to nobody; so it takes a minute, unless somebody asks.
        refused = await self.api("makeCall", sip="1301", phone="380000000001", **_keys("new"))
        self.assertEqual(refused["error"]["code"], "operator_offline")
        self.assertIn("1301", await self.operators())
        asterisk.set_operators([*before[:-1], "1302"])
        asterisk.reload()

        async def known() -> bool:
            operators = await self.operators()
            return "1302" in operators and not {"1301", before[-1]} & operators.keys()

        await self.wait_for(known, 5, "1302 has come, 1301 and another have gone")
        refused = await self.api("makeCall", sip="1301", phone="380000000001", **_keys("gone"))
        self.assertEqual(refused["error"]["code"], "operator_unknown")
        asterisk.set_operators(before)
        asterisk.reload()

        async def as_before() -> bool:
            return sorted(await self.operators()) == sorted(before)

        await self.wait_for(as_before, 5, "all are there again")


def _keys(name: str) -> dict[str, str]:
    return {"order_id": name, "external_key": name}
