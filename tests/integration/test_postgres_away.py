"""Live tests of a time without Postgres, and of a Postgres of the daemon's own."""

from __future__ import annotations

import secrets
import time
from signal import SIGTERM
from typing import Any

from tests.integration.asking import together
from tests.integration.harness import LiveTestCase
from tests.integration.story import TALK

Row = dict[str, Any]

#: Operator and client of the calls that run while Postgres goes.
RUNNING = (("1040", "380660000101"), ("1041", "380660000205"), ("1042", "380660000303"))
#: And of those that are made while it is away.
AWAY = (("1043", "380660000434"), ("1044", "380660000507"), ("1005", "380660000600"))


class PostgresAway(LiveTestCase):
    """Postgres stops in the middle of calls, and comes back."""

    shared = False
    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 4}}

    async def make(self, sip: str, phone: str, order: str) -> tuple[int, str]:
        """A call's number and key."""
        key = secrets.token_hex(8)
        return await self.make_call(sip, phone, order_id=order, external_key=key), key

    async def test_stopped(self) -> None:
        """Calls are made and told all the same; afterwards every row is in Postgres once."""
        self.addCleanup(self.postgres_runs)
        calls = await together(self.make(*call, "before") for call in RUNNING)
        await self.sleep(0.7)
        cursor = (await self.api("callHistory", after=0, limit=2))["next"]
        self.lab.postgres.stop()
        calls += await together(self.make(*call, "away") for call in AWAY)
        await together(self.check_chain(*call) for call in calls)
        await self.check_lists_away(calls[0][0])
        told = await self.collect(cursor)
        chains = await together(self.finished(call_id) for call_id, _ in calls)
        self.assertEqual({chain[-1]["state"] for chain in chains}, ENDS)
        # A daemon that is started meanwhile has everything still to be delivered.
        began = time.monotonic()
        self.assertEqual(self.daemon.stop(), -SIGTERM)
        self.assertLess(time.monotonic() - began, 5)
        self.daemon.start()
        self.assertEqual(await together(self.finished(call_id) for call_id, _ in calls), chains)
        (late, _) = await self.make("1045", "380660000718", "away")
        chains.append(await self.finished(late))
        self.lab.postgres.start()
        await self.wait_for(self.lists_answer, 20, "lists answer again")
        await self.check_rows(chains, told)

    def postgres_runs(self) -> None:
        """Leave a Postgres to the next test."""
        if self.lab.postgres.pid is None:
            self.lab.postgres.start()

    async def check_chain(self, call_id: int, key: str) -> None:
        """Its chain is answered by number and by key."""
        (by_id,) = await self.ask("callHistory", call_id=call_id)
        (by_key,) = await self.ask("callHistory", external_key=key)
        for call in (by_id, by_key):
            self.assertEqual((call["call_id"], call["states"][0]["state"]), (call_id, "CALL"))

    async def check_lists_away(self, call_id: int) -> None:
        """Lists of the past are 503 with Retry-After; operators and the key are known."""
        for path in (
            "/api/callHistory.json",
            "/api/recordList.json",
            "/api/orderHistory.json?order_id=before",
            "/api/orderRecords.json?order_id=away",
            "/api/operatorHistory.json",
        ):
            began = time.monotonic()
            status, headers, body = await self.request(path)
            self.assertEqual(status, 503, path)
            self.assertIn(b'"code":"history_unavailable"', body)
            self.assertGreaterEqual(int(headers["retry-after"]), 1)
            self.assertLess(time.monotonic() - began, 5)
        self.assertEqual((await self.ask("sipList", sip="1040"))["total"], 1)
        (call,) = await self.ask("callHistory", call_id=call_id)
        again = {"sip": "1046", "phone": "380660000100", "order_id": "before"}
        used = await self.api("makeCall", **again, external_key=call["external_key"])
        self.assertEqual(used["error"]["code"], "external_key_used")

    async def collect(self, cursor: str) -> list[Row]:
        """Follow with after= until the last call has ended."""
        rows: list[Row] = []
        while sum(row["final"] for row in rows) < len(RUNNING) + len(AWAY):
            envelope = await self.api("callHistory", after=cursor, wait=20, limit=1000)
            self.assertTrue(envelope["response"], envelope)
            rows += envelope["response"]
            cursor = envelope["next"]
        return rows

    async def lists_answer(self) -> bool:
        """Whether Postgres is asked again."""
        return bool((await self.api("callHistory"))["status"] == "ok")

    async def check_rows(self, chains: list[list[Row]], told: list[Row]) -> None:
        """Every state is in Postgres, in the lists and after cursor 0, once, as it was told."""
        everything = sorted(
            (row for chain in chains for row in chain), key=lambda row: row["event_id"]
        )
        whole = await self.ask("callHistory", after=0, limit=1000)
        self.assertEqual(whole, everything)
        self.assertEqual(whole[2 : 2 + len(told)], told)
        flat = await self.api("callHistory", per_page=1000)
        self.assertEqual(flat["total"], len(everything))
        ids = sorted(row["event_id"] for row in flat["response"])
        self.assertEqual(ids, [row["event_id"] for row in everything])
        database = str(self.daemon.tables["database"]["url"]).rpartition("/")[2]
        found = self.lab.postgres.sql("SELECT event_id FROM state ORDER BY 1", database)
        self.assertEqual([int(line) for line in found.split()], ids)
        talks = sum(chain[-1]["state"] == "FINISH" for chain in chains)
        self.assertEqual((await self.ask("recordList"))["total"], talks)


ENDS = {"FINISH", "CLIENT_BUSY", "OPERATOR_BUSY"}


class Embedded(LiveTestCase):
    """``database.url = "embedded"``: a Postgres of the daemon's own, also under root."""

    shared = False
    tables = {"asterisk": {"client_timeout": 4}, "database": {"url": "embedded"}}

    async def test_a_call_and_a_restart(self) -> None:
        """A call is made, listed, and kept by a restart, also by one after a crash."""
        call_id = await self.make_call("1040", "380670000118", order_id="15")
        chain = await self.finished(call_id)
        self.assertEqual([row["state"] for row in chain], TALK)
        whole = await self.ask("callHistory")
        self.assertEqual(whole, chain[::-1])
        began = time.monotonic()
        self.assertEqual(self.daemon.stop(), -SIGTERM)
        self.assertLess(time.monotonic() - began, 8)
        self.assertFalse(list(self.daemon.state_dir.rglob("postmaster.pid")), "it still runs")
        self.daemon.start()
        await self.wait_for(self.lists_answer, 20, "lists answer")
        self.daemon.kill()
        self.daemon.start()
        await self.wait_for(self.lists_answer, 20, "lists answer after a crash")
        self.assertEqual(await self.ask("orderHistory", order_id="15"), chain)
        self.assertGreater(await self.make_call("1041", "380670000118"), call_id)

    async def lists_answer(self) -> bool:
        """Whether Postgres is asked."""
        return bool((await self.api("callHistory"))["status"] == "ok")
