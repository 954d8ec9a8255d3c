"""``setResult``: what came of a call, shown in ``call``, and a filter of the lists."""

from __future__ import annotations

import secrets

from tests.integration.desk import BUSY, FIRST, LONG, SECOND, SHORT, DeskTestCase


class Results(DeskTestCase):
    """On calls that go on and that are over."""

    async def test_after_the_talk(self) -> None:
        """The last word counts and is shown with its note; who said what is kept."""
        call_id = await self.called(FIRST, self.new_phone(SHORT))
        await self.ask("setResult", call_id=call_id, result="callback", note="on monday")
        words, note = "продано & <оплачено>", "перший\nдругий"
        shown = await self.both("setResult", call_id=call_id, result=words, note=note)
        self.assertEqual((shown["result"], shown["result_note"]), (words, note))
        self.assertEqual(shown["state"], "FINISH")
        told = await self.both("call", call_id=call_id)
        self.assertEqual((told["result"], told["result_note"]), (words, note))
        actions = [(one["action"], one["by"], one["result"]) for one in told["actions"]]
        # JSON and XML were asked for, so it was said twice: once more is as if it were not.
        self.assertEqual(actions, [("setResult", "crm", "callback"), ("setResult", "crm", words)])

    async def test_during_the_talk(self) -> None:
        """It stands in the detail of the state that follows."""
        call_id = await self.call_in(SECOND, phone=self.new_phone(LONG), talk=2.5)
        await self.reached(call_id, "OPERATOR_PICKUP")
        shown = await self.ask("setResult", call_id=call_id, result="sold")
        self.assertEqual((shown["state"], shown["result"]), ("OPERATOR_PICKUP", "sold"))
        last = (await self.finished(call_id))[-1]
        self.assertIn("setResult by crm: sold", last["detail"])
        self.assertEqual((await self.ask("call", call_id=call_id))["result"], "sold")

    async def test_filters(self) -> None:
        """recordList, callHistory, orderHistory, orderRecords and missedCalls take result."""
        order, result = secrets.token_hex(8), secrets.token_hex(8)
        sold = await self.called(FIRST, self.new_phone(SHORT), order_id=order)
        other = await self.called(SECOND, self.new_phone(SHORT), order_id=order)
        missed = await self.miss()
        for call_id in (sold, other):
            await self.recorded(call_id)
        for call_id, said in ((sold, result), (other, result), (other, "lost"), (missed, result)):
            await self.ask("setResult", call_id=call_id, result=said)
        states = await self.both("callHistory", result=result, per_page=1000)
        self.assertEqual({row["call_id"] for row in states}, {sold, missed})
        records = (await self.both("recordList", result=result))["data"]
        self.assertEqual([row["call_id"] for row in records], [sold])
        for asked in (
            ("orderHistory", {}),
            ("orderHistory", {"group_by_call": 1}),
            ("orderRecords", {}),
        ):
            rows = await self.both(asked[0], order_id=order, result=result, **asked[1])
            self.assertEqual({row["call_id"] for row in rows}, {sold}, asked)
        (row,) = (await self.both("missedCalls", result=result))["data"]
        self.assertEqual(row["call_id"], missed)
        error = await self.refused(400, "bad_parameter", "callHistory", after=0, result=result)
        self.assertEqual(error["field"], "result")

    async def test_over_restarts(self) -> None:
        """After a restart, and out of Postgres alone, it is the same."""
        call_id = await self.called(FIRST, self.new_phone(BUSY))
        before = await self.ask("setResult", call_id=call_id, result="busy", note="later")
        self.daemon.stop()
        self.daemon.start()
        self.assertEqual(await self.ask("call", call_id=call_id), before)
        await self.lose_the_journal()
        self.assertEqual(await self.ask("call", call_id=call_id), before)
        shown = await self.ask("setResult", call_id=call_id, result="reached")
        self.assertEqual(shown["result"], "reached")

    async def test_what_is_refused(self) -> None:
        """An unknown call; no result; one that is too long or of several lines."""
        await self.refused(404, "call_unknown", "setResult", call_id=2_000_000_000, result="sold")
        await self.refused(400, "missing_parameter", "setResult", call_id=1)
        for result in ("x" * 65, "a\nb"):
            error = await self.refused(400, "bad_parameter", "setResult", call_id=1, result=result)
            self.assertEqual(error["field"], "result")
        error = await self.refused(
            400, "bad_parameter", "setResult", call_id=1, result="x", note="x" * 501
        )
        self.assertEqual(error["field"], "note")
