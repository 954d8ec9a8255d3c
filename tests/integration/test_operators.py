"""Live tests of operators' states: read at the start, kept by events, every change one row."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

Row = dict[str, Any]

ONLINE = ("online", "NOT_INUSE")
RINGING = ("inuse", "RINGING")
TALKING = ("inuse", "INUSE")
GONE = ("offline", "UNAVAILABLE")


class OperatorCase(LiveTestCase):
    """Asks for operators and their log."""

    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 4}}

    async def operator(self, sip: str) -> Row | None:
        """An operator as they stand now; None if there is no such one."""
        found = await self.ask("sipList", sip=sip)
        return found["data"][0] if found["data"] else None

    async def stands(self, sip: str) -> tuple[str, str] | None:
        """Their status and device state."""
        row = await self.operator(sip)
        return (row["status"], row["device_state"]) if row else None

    async def becomes(self, sip: str, state: tuple[str, str], timeout: float = 5.0) -> Row:
        """Wait until they stand so."""

        async def is_so() -> Row:
            row = await self.operator(sip)
            return row if row and (row["status"], row["device_state"]) == state else {}

        return await self.wait_for(is_so, timeout, f"{sip} is {state}")

    async def changes(self, sip: str) -> list[Row]:
        """Their log, oldest first."""
        rows: list[Row] = await self.ask("operatorHistory", sip=sip, per_page=1000)
        return rows[::-1]

    async def total(self) -> int:
        """How many rows the log has."""
        total: int = (await self.api("operatorHistory", per_page=1))["total"]
        return total


def states(rows: list[Row]) -> list[tuple[str, str]]:
    """State and device state of each row."""
    return [(row["state"], row["device_state"]) for row in rows]


class States(OperatorCase):
    """One daemon, its operators and what they do."""

    async def test_read_at_the_start(self) -> None:
        """Every endpoint of Asterisk is there: the registered online, the others offline."""
        with_phone = [sip for sip in self.lab.asterisk.operators if not sip.startswith("109")]
        without = [sip for sip in self.lab.asterisk.operators if sip.startswith("109")]
        for status, sips in {"online": with_phone, "offline": without, "inuse": []}.items():
            response = await self.ask("sipList", status=status, per_page=1000)
            self.assertEqual([row["sip"] for row in response["data"]], sorted(sips), status)
            for row in response["data"]:
                self.assertEqual((row["call_id"], row["stale"]), (None, False))

    async def test_ringing_and_talking(self) -> None:
        """inuse while they ring and talk, the device state beside it; each change is one row."""
        before = await self.operator("1002")
        assert before is not None
        call_id = await self.make_call("1002", "380630000034")
        ringing = await self.becomes("1002", RINGING)
        talking = await self.becomes("1002", TALKING)
        await self.finished(call_id)
        after = await self.becomes("1002", ONLINE)
        rows = await self.changes("1002")
        self.assertEqual(states(rows), [ONLINE, RINGING, TALKING, ONLINE])
        self.assertEqual([row["call_id"] for row in rows[1:3]], [call_id, call_id])
        self.assertEqual([ringing["call_id"], talking["call_id"]], [call_id, call_id])
        self.assertEqual((before["call_id"], after["call_id"]), (None, None))
        # since: when the status began, not the device state.
        self.assertEqual([before["since"], after["since"]], [rows[0]["date"], rows[3]["date"]])
        self.assertEqual([ringing["since"], talking["since"]], [rows[1]["date"]] * 2)
        dates = [row["date"] for row in rows]
        self.assertEqual(dates, sorted(set(dates)))

    async def test_leaving_and_coming(self) -> None:
        """A phone that leaves makes its operator offline, one that registers online, a row each."""
        self.lab.unregister(["1150"])
        try:
            gone = await self.becomes("1150", GONE)
        finally:
            self.lab.register(["1150"])
        back = await self.becomes("1150", ONLINE)
        rows = await self.changes("1150")
        self.assertEqual(states(rows), [ONLINE, GONE, ONLINE])
        self.assertEqual([gone["since"], back["since"]], [row["date"] for row in rows[1:]])
        # A phone that registers again changes nothing.
        self.lab.register(["1150"])
        await self.sleep(0.5)
        self.assertEqual(await self.changes("1150"), rows)

    async def test_nothing_is_written_twice(self) -> None:
        """After 20 calls at once no row of any operator says what the one before it said."""
        sips = [f"{hundred}{number}" for hundred in (10, 12) for number in range(46, 56)]
        calls = await together(self.make_call(sip, "380630000018") for sip in sips)
        await together(self.finished(call_id) for call_id in calls)
        for sip, call_id in zip(sips, calls, strict=True):
            await self.becomes(sip, ONLINE)
            rows = await self.changes(sip)
            self.assertEqual(states(rows), [ONLINE, RINGING, TALKING, ONLINE], sip)
            self.assertEqual([row["call_id"] for row in rows[1:3]], [call_id] * 2)
        everything = (await self.ask("operatorHistory", per_page=1000))[::-1]
        for sip in {row["sip"] for row in everything}:
            own = [row for row in everything if row["sip"] == sip]
            for one, next_one in pairwise(states(own)):
                self.assertNotEqual(one, next_one, sip)

    async def test_who_talks_by_himself(self) -> None:
        """A call that is not ours makes the operator inuse as well, with no call_id."""
        self.lab.asterisk.rx("channel originate PJSIP/1151 application Wait 3")
        row = await self.becomes("1151", TALKING)
        self.assertIsNone(row["call_id"])
        refused = await self.api("makeCall", **asked("1151"))
        self.assertEqual(refused["error"]["code"], "operator_busy")
        await self.becomes("1151", ONLINE)


def asked(sip: str) -> dict[str, str]:
    """Parameters of a call to ``sip``."""
    return {"sip": sip, "phone": "380630000018", "order_id": "1", "external_key": f"key-{sip}"}


class Reloads(OperatorCase):
    """Endpoints that a reload of Asterisk brings and takes away."""

    shared = False

    async def test_added_and_removed(self) -> None:
        """Who is added appears, who is removed goes with a row that says so."""
        there = list(self.lab.asterisk.operators)
        self.addCleanup(self.lab.asterisk.set_operators, there)
        self.lab.asterisk.set_operators([sip for sip in [*there, "1260", "1061"] if sip != "1259"])
        await self.becomes("1061", GONE, 10)
        await self.becomes("1260", GONE, 10)

        async def has_gone() -> bool:
            return await self.operator("1259") is None

        await self.wait_for(has_gone, 10, "1259 has gone")
        last = (await self.changes("1259"))[-1]
        self.assertEqual((last["state"], last["detail"]), ("offline", "removed from Asterisk"))
        unknown = await self.api("makeCall", **asked("1259"))
        self.assertEqual(unknown["error"]["code"], "operator_unknown")
        self.lab.register(["1260"])
        await self.becomes("1260", ONLINE)
        self.assertEqual(states(await self.changes("1260")), [GONE, ONLINE])
        await self.finished(await self.make_call("1260", "380630000018"))
        self.assertEqual(len(await self.changes("1061")), 1)

    async def test_far_from_the_others(self) -> None:
        """An operator far from the known numbers is found when a call is asked for them."""
        there = list(self.lab.asterisk.operators)
        self.addCleanup(self.lab.asterisk.set_operators, there)
        self.lab.asterisk.set_operators([*there, "70055"])
        offline = await self.api("makeCall", **asked("70055"))
        self.assertEqual(offline["error"]["code"], "operator_offline", offline)
        await self.becomes("70055", GONE)
        self.lab.register(["70055"])
        await self.becomes("70055", ONLINE)


class Gaps(OperatorCase):
    """Times when nobody looked, and what is written of them."""

    shared = False

    async def test_daemon_restarted(self) -> None:
        """The first look after a restart writes only what differs from the last row."""
        for end in (self.daemon.kill, self.daemon.stop):
            before = await self.total()
            unchanged = await self.operator("1152")
            end()
            self.lab.unregister(["1153"])
            self.daemon.start()
            self.lab.register(["1153"])
            await self.becomes("1153", ONLINE)
            rows = await self.changes("1153")
            self.assertEqual(states(rows[-2:]), [GONE, ONLINE])
            self.assertEqual(await self.total(), before + 2)
            self.assertEqual(await self.operator("1152"), unchanged)

    async def test_asterisk_away(self) -> None:
        """While Asterisk is away everybody is stale, with one row ``unknown``; then back."""
        everybody = len(self.lab.asterisk.operators)
        before = await self.total()
        # An orderly end: what has registered a moment ago would not outlive a crash.
        self.lab.asterisk.stop()

        async def all_stale() -> bool:
            data = (await self.ask("sipList", per_page=1000))["data"]
            return len(data) == everybody and all(row["stale"] for row in data)

        await self.wait_for(all_stale, 5, "everybody is stale")
        self.assertEqual(await self.stands("1154"), ONLINE)
        refused = await self.api("makeCall", **asked("1154"))
        self.assertEqual(refused["error"]["code"], "asterisk_unavailable")
        self.assertEqual(await self.total(), before + everybody)
        self.lab.asterisk.start()
        self.daemon.wait_ready(30)
        rows = await self.changes("1154")
        self.assertEqual([row["state"] for row in rows], ["online", "unknown", "online"])
        self.assertEqual((rows[1]["device_state"], rows[1]["call_id"]), (None, None))
        self.assertIn("Asterisk", rows[1]["detail"])
        self.assertEqual(await self.total(), before + 2 * everybody)
        back = await self.operator("1154")
        assert back is not None
        self.assertFalse(back["stale"])
