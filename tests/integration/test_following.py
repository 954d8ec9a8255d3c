"""Live tests of after= and wait=: who follows hears of every state once, in order, at once."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

Row = dict[str, Any]

#: Twenty calls at once that end in every way, each with an operator of their own.
CLIENTS = ("34", "05", "18", "07", "11", "13", "09", "17", "01", "20")
CALLS = [
    (f"{hundred}{40 + n}", f"3806300000{client}")
    for n, client in enumerate(CLIENTS)
    for hundred in (11, 12)
]


class Following(LiveTestCase):
    """Programs that follow with after= and wait= while calls run."""

    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 3}}

    async def head(self) -> str:
        """The cursor after everything told so far."""
        cursor, moved = "0", True
        while moved:
            envelope = await self.api("callHistory", after=cursor, limit=1000)
            moved, cursor = envelope["next"] != cursor, envelope["next"]
        return cursor

    async def follow(self, cursor: str, finals: int, **asked: object) -> list[Row]:
        """Collect what comes after a cursor until so many final states have come."""
        rows: list[Row] = []
        while sum(row["final"] for row in rows) < finals:
            envelope = await self.api("callHistory", after=cursor, wait=20, **asked)
            self.assertEqual(envelope["status"], "ok", envelope)
            self.assertTrue(envelope["response"], f"nothing in 20 s after {len(rows)} states")
            self.assertLessEqual(len(envelope["response"]), int(str(asked.get("limit", 50))))
            rows += envelope["response"]
            cursor = envelope["next"]
        return rows

    async def test_twenty_calls(self) -> None:
        """Pollers with any limit collect every state of 20 calls once, in the order told."""
        start = await self.head()
        order = "followed"
        pollers = [
            self.follow(start, len(CALLS)),
            self.follow(start, len(CALLS), limit=1),
            self.follow(start, len(CALLS), limit=7),
            self.follow(start, len(CALLS) // 2, limit=3, order_id=order),
            self.follow(start, 1, sip=CALLS[0][0]),
        ]
        following = [Deferred.fromCoroutine(poller) for poller in pollers]
        made = [
            self.make_call(sip, phone, order_id=order if n % 2 else "other")
            for n, (sip, phone) in enumerate(CALLS)
        ]
        calls = await together(made)
        chains = await together(self.finished(call_id) for call_id in calls)
        told = sorted((row for chain in chains for row in chain), key=lambda row: row["event_id"])
        everything, one_by_one, by_seven, of_order, of_operator = [await each for each in following]
        self.assertEqual(everything, told)
        self.assertEqual(one_by_one, told)
        self.assertEqual(by_seven, told)
        self.assertEqual(of_order, [row for row in told if row["order_id"] == order])
        self.assertEqual(of_operator, chains[0])
        self.assertEqual({chain[-1]["seq"] for chain in chains}, {5, 6})
        pages = await self.ask("callHistory", per_page=1000, page=1)
        ours = [row for row in pages if row["call_id"] in calls]
        self.assertEqual(sorted(row["event_id"] for row in ours), [r["event_id"] for r in told])

    async def test_released_at_once(self) -> None:
        """A held answer comes with the state it waited for, not when the wait is over."""
        start = await self.head()
        held = [
            Deferred.fromCoroutine(self.api("callHistory", after=start, wait=30)) for _ in range(5)
        ]
        await self.sleep(0.5)
        self.assertFalse(any(answer.called for answer in held), "answered before anything was told")
        began = time.monotonic()
        call_id = await self.make_call("1140", "380630000018")
        answers = [await answer for answer in held]
        self.assertLess(time.monotonic() - began, 2.0)
        for answer in answers:
            self.assertEqual(answer["response"][0]["state"], "CALL")
            self.assertEqual(answer["response"][0]["call_id"], call_id)
        await self.finished(call_id)

    async def test_nothing_to_wait_for(self) -> None:
        """Where nothing comes the answer is empty after the wait, and next is where one was."""
        start = await self.head()
        began = time.monotonic()
        envelope = await self.api("callHistory", after=start, wait=1)
        self.assertTrue(0.95 < time.monotonic() - began < 3.0)
        self.assertEqual((envelope["response"], envelope["next"]), ([], start))
        began = time.monotonic()
        self.assertEqual((await self.api("callHistory", after=start))["response"], [])
        self.assertLess(time.monotonic() - began, 0.5)

    async def test_what_a_filter_leaves_out(self) -> None:
        """A held answer that is filtered sleeps through other calls and wakes with its own."""
        start = await self.head()
        held = Deferred.fromCoroutine(
            self.api("callHistory", after=start, wait=30, order_id="the one")
        )
        other = await self.make_call("1141", "380630000018")
        await self.finished(other)
        self.assertFalse(held.called)
        call_id = await self.make_call("1142", "380630000018", order_id="the one")
        envelope = await held
        self.assertEqual({row["call_id"] for row in envelope["response"]}, {call_id})
        await self.finished(call_id)

    async def test_cursors_stay(self) -> None:
        """A cursor of long ago gives the same again, and none that was not given is taken."""
        first = await self.make_call("1143", "380630000018")
        await self.finished(first)
        envelope = await self.api("callHistory", after=0, limit=2)
        again = await self.api("callHistory", after=0, limit=2)
        self.assertEqual(envelope, again)
        more = await self.ask("callHistory", after=envelope["next"], limit=1000)
        whole = await self.ask("callHistory", after=0, limit=1000)
        self.assertEqual(envelope["response"] + more, whole)
        refused = await self.api("callHistory", after="no-cursor")
        error = refused["error"]
        self.assertEqual((refused["status_code"], error["field"]), (400, "after"))
