"""``attachOrder``: from then on everything of a call is under the order, its past states too."""

from __future__ import annotations

import secrets
from typing import Any

from tests.integration.desk import FIRST, LONG, SECOND, SHORT, THIRD, DeskTestCase


class AttachOrder(DeskTestCase):
    """On calls that clients began, that go on, and that are long over."""

    async def under(self, order: str, call_id: int) -> dict[str, Any]:
        """What every method says of one call under an order: how many of its rows are there."""
        rows: dict[str, list[Any]] = {
            "orderHistory": await self.ask("orderHistory", order_id=order),
            "orderRecords": await self.ask("orderRecords", order_id=order),
            "callHistory": await self.ask("callHistory", order_id=order, per_page=1000),
            "after": await self.ask("callHistory", order_id=order, after=0, limit=1000),
            "recordList": (await self.ask("recordList", order_id=order))["data"],
        }
        by_call = await self.ask("orderHistory", order_id=order, group_by_call=1)
        rows["by_call"] = by_call
        for name, found in rows.items():
            for row in found:
                self.assertEqual(row["order_id"], order, name)
        return {
            name: sum(row["call_id"] == call_id for row in found) for name, found in rows.items()
        }

    def new_order(self) -> str:
        """An order that nobody else has."""
        return secrets.token_hex(20)

    async def all_states_are_under(self, order: str | None, call_id: int) -> None:
        """Wherever the call's states can be read they are under this order."""
        lists = (
            await self.states(call_id),
            (await self.ask("call", call_id=call_id))["states"],
            await self.ask("callHistory", after=0, limit=1000),
            await self.ask("callHistory", per_page=1000),
        )
        for rows in lists:
            found = {row["order_id"] for row in rows if row["call_id"] == call_id}
            self.assertEqual(found, {order})

    async def test_a_call_that_had_none(self) -> None:
        """A client's call that is over: its states and its recording are under the order."""
        call_id = await self.call_in(FIRST)
        states = await self.finished(call_id)
        await self.recorded(call_id)
        self.assertEqual({state["order_id"] for state in states}, {None})
        order = self.new_order()
        shown = await self.both("attachOrder", call_id=call_id, order_id=order)
        self.assertEqual((shown["call_id"], shown["order_id"]), (call_id, order))
        (done,) = shown["actions"]
        self.assertEqual(
            (done["action"], done["by"], done["order_id"]), ("attachOrder", "crm", order)
        )
        many = len(states)
        self.assertEqual(
            await self.under(order, call_id),
            {
                **dict.fromkeys(("orderHistory", "callHistory", "after"), many),
                **dict.fromkeys(("orderRecords", "recordList", "by_call"), 1),
            },
        )
        await self.all_states_are_under(order, call_id)

    async def test_a_live_call(self) -> None:
        """In the middle of a talk: past and coming states, and its words in the chain."""
        phone = self.new_phone(LONG)
        call_id = await self.call_in(SECOND, phone=phone, talk=3.0)
        await self.reached(call_id, "OPERATOR_PICKUP")
        order = self.new_order()
        shown = await self.ask("attachOrder", call_id=call_id, order_id=order)
        self.assertEqual((shown["state"], shown["final"]), ("OPERATOR_PICKUP", False))
        await self.all_states_are_under(order, call_id)
        last = (await self.finished(call_id))[-1]
        self.assertIn(f"attachOrder by crm: {order}", last["detail"])
        await self.recorded(call_id)
        await self.all_states_are_under(order, call_id)
        self.assertEqual((await self.under(order, call_id))["recordList"], 1)

    async def test_another_order(self) -> None:
        """Refused with 409 wrong_state and the state; replace=1 moves it away from the other."""
        old, new = self.new_order(), self.new_order()
        call_id = await self.called(FIRST, self.new_phone(SHORT), order_id=old)
        await self.recorded(call_id)
        before = await self.under(old, call_id)
        error = await self.refused(409, "wrong_state", "attachOrder", call_id=call_id, order_id=new)
        self.assertEqual((error["call_id"], error["state"]), (call_id, "FINISH"))
        self.assertIn(old, error["message"])
        self.assertEqual(await self.under(old, call_id), before)
        shown = await self.both("attachOrder", call_id=call_id, order_id=new, replace=1)
        self.assertEqual(await self.under(new, call_id), before)
        self.assertEqual(await self.under(old, call_id), dict.fromkeys(before, 0))
        self.assertIn(old, shown["actions"][0]["detail"])
        self.assertEqual(shown["external_key"], (await self.states(call_id))[0]["external_key"])

    async def test_the_same_order(self) -> None:
        """Once more it is no error and leaves no trace."""
        order = self.new_order()
        call_id = await self.called(THIRD, self.new_phone(SHORT), order_id=order)
        shown = await self.both("attachOrder", call_id=call_id, order_id=order)
        self.assertEqual(shown["actions"], [])

    async def test_over_restarts(self) -> None:
        """After a restart, and out of Postgres alone, it is under the order as before."""
        call_id = await self.called(FIRST, self.new_phone(SHORT), order_id=self.new_order())
        order = self.new_order()
        await self.ask("attachOrder", call_id=call_id, order_id=order, replace=1)
        self.daemon.stop()
        self.daemon.start()
        await self.all_states_are_under(order, call_id)
        await self.lose_the_journal()
        await self.all_states_are_under(order, call_id)
        # A call that no journal holds any more.
        last = self.new_order()
        await self.ask("attachOrder", call_id=call_id, order_id=last, replace=1)
        await self.all_states_are_under(last, call_id)

    async def test_nobodys(self) -> None:
        """An unknown call is 404; without a call or an order 400."""
        await self.refused(404, "call_unknown", "attachOrder", call_id=2_000_000_000, order_id="15")
        await self.refused(400, "missing_parameter", "attachOrder", order_id="15")
        await self.refused(400, "missing_parameter", "attachOrder", call_id=1)
