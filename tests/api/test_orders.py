"""What the methods about orders and recordings answer, asked over HTTP."""

from __future__ import annotations

from dataclasses import replace

from ccdaemon.calls.model import Direction, State
from ccdaemon.store.records import Filter
from tests.api.asking import CALL_KEYS, RECORD_KEYS, STATE_KEYS, MethodsTestCase
from tests.api.parts import MOMENT, call_view, record
from tests.api.world import World


class RecordList(MethodsTestCase):
    """recordList."""

    def test_pages_stand_in_the_response_around_data(self) -> None:
        """Paging and data stand side by side, each record with the contract's keys in order."""
        response = self.ok("/api/recordList.json")["response"]
        self.assertEqual(list(response), ["page", "per_page", "total", "pages", "data"])
        self.assertEqual([response[key] for key in list(response)[:4]], [1, 50, 1, 1])
        self.assertEqual(" ".join(response["data"][0]), RECORD_KEYS)

    def test_what_a_record_says(self) -> None:
        """Fields of the file and of its call, the link, and the date in both spellings."""
        found = self.ok("/api/recordList.json")["response"]["data"][0]
        self.assertEqual(found["url"], "http://localhost:8080/api/record/12.wav")
        self.assertEqual(found["path"], "2026/11/23/cc-0a1b2c-12-o.wav")
        self.assertEqual(found["order_id"], "15")
        self.assertEqual(found["date"], "2026-11-23T08:00:10.123Z")
        self.assertEqual(found["add_date"], 1795420810)

    def test_links_begin_with_the_public_url(self) -> None:
        """Where a public address is configured, links begin with it."""
        world = World(public_url="https://calls.example/cc")
        world.history.add(call_view(12), [State.CALL], record(12))
        found = world.ask("/api/recordList.json").json["response"]["data"][0]
        self.assertEqual(found["url"], "https://calls.example/cc/api/record/12.wav")

    def test_every_filter_reaches_the_history(self) -> None:
        """Moments, numbers, order and direction are handed on as the values they mean."""
        self.ok(
            "/api/recordList.json?from=2026-11-23T08:00:00.123Z&to=2026-11-23&sip=1000"
            "&phone=%2B380639920000&order_id=15&direction=inbound"
        )
        self.assertEqual(
            self.world.history.filters,
            [
                Filter(
                    from_ms=MOMENT,
                    to_ms=MOMENT - 8 * 3600_000 - 123,
                    sip="1000",
                    phone="380639920000",
                    order_id="15",
                    direction=Direction.INBOUND,
                )
            ],
        )


class OrderRecords(MethodsTestCase):
    """orderRecords."""

    def test_all_calls_newest_first_with_their_recordings(self) -> None:
        """A call without a recording is there too, with nulls."""
        response = self.ok("/api/orderRecords.json?order_id=15")["response"]
        self.assertEqual([call["call_id"] for call in response], [14, 12])
        self.assertEqual(" ".join(response[0]), f"{CALL_KEYS} uniqueid path records")
        bare, recorded = response
        self.assertEqual((bare["uniqueid"], bare["path"], bare["records"]), (None, None, []))
        self.assertEqual(recorded["uniqueid"], "cc-0a1b2c-12-o")
        self.assertEqual(recorded["path"], "2026/11/23/cc-0a1b2c-12-o.wav")
        self.assertEqual(" ".join(recorded["records"][0]), RECORD_KEYS)

    def test_the_first_recording_gives_uniqueid_and_path(self) -> None:
        """Of several recordings the oldest one names the call's file."""
        second = record(20, uniqueid="cc-0a1b2c-20-b", date=MOMENT + 2)
        first = record(20, uniqueid="cc-0a1b2c-20-a", date=MOMENT + 1)
        self.world.history.add(call_view(20, order_id="17"), [State.CALL], second, first)
        (call,) = self.ok("/api/orderRecords.json?order_id=17")["response"]
        self.assertEqual(call["uniqueid"], "cc-0a1b2c-20-a")
        self.assertEqual(
            [found["uniqueid"] for found in call["records"]], ["cc-0a1b2c-20-a", "cc-0a1b2c-20-b"]
        )

    def test_an_order_nobody_knows_is_an_empty_list(self) -> None:
        """No calls is an answer, not an error."""
        self.assertEqual(self.ok("/api/orderRecords.json?order_id=99")["response"], [])

    def test_the_order_is_required(self) -> None:
        """Without an order there is nothing to list."""
        self.assertEqual(
            self.refused("/api/orderRecords.json", 400, "missing_parameter")["field"], "order_id"
        )


class OrderHistory(MethodsTestCase):
    """orderHistory."""

    def test_flat_by_default_oldest_first(self) -> None:
        """All states of all the order's calls in one list."""
        for path in ("", "&group_by_call=0"):
            response = self.ok(f"/api/orderHistory.json?order_id=15{path}")["response"]
            self.assertEqual(
                [(row["call_id"], row["seq"]) for row in response],
                [(12, 1), (12, 2), (12, 3), (14, 1)],
            )
            self.assertEqual(" ".join(response[0]), STATE_KEYS)

    def test_states_of_calls_that_overlap_are_mixed_by_date(self) -> None:
        """A call's later state stands behind another call's earlier one."""
        both = [State.CALL, State.ERROR]
        slow = call_view(30, order_id="18", date=MOMENT + 30)
        self.world.history.add(slow, both)
        self.world.history.add(call_view(30, order_id="18"), both)
        response = self.ok("/api/orderHistory.json?order_id=18")["response"]
        self.assertEqual([row["seq"] for row in response], [1, 1, 2, 2])

    def test_moments_and_operators_restrict_states_where_states_are_listed(self) -> None:
        """A call that began before the moment has its later states in the flat list."""
        states = [State.CALL, State.OPERATOR_CALLTO, State.FINISH]
        chain = self.world.history.add(call_view(40, order_id="19"), states)
        other = replace(chain.states[2], state=replace(chain.states[2].state, sip="1001"))
        self.world.history.chains[-1] = replace(chain, states=[*chain.states[:2], other])
        for restriction, seqs in [
            ("from=2026-11-23T08:00:00.165Z", [2, 3]),
            ("to=2026-11-23T08:00:00.165Z", [1, 2]),
            ("sip=1000", [1, 2]),
            ("sip=1001", [3]),
        ]:
            path = f"/api/orderHistory.json?order_id=19&{restriction}"
            self.assertEqual([row["seq"] for row in self.ok(path)["response"]], seqs)
        asked = [(one.from_ms, one.to_ms, one.sip) for one in self.world.history.filters]
        moment = MOMENT + 42
        self.assertEqual(
            asked,
            [
                (moment, None, None),
                (None, moment, None),
                (None, None, "1000"),
                (None, None, "1001"),
            ],
        )

    def test_moments_and_operators_restrict_calls_where_calls_are_listed(self) -> None:
        """Grouped, a call is there with its whole chain or not at all."""
        path = "/api/orderHistory.json?order_id=15&group_by_call=1&sip=1000&to=2026-11-23"
        self.ok(path)
        (grouped,) = self.world.history.filters
        self.assertEqual((grouped.sip, grouped.to_ms), ("1000", MOMENT - 8 * 3600_000 - 123))

    def test_grouped_by_call(self) -> None:
        """Calls oldest first, each with its chain."""
        response = self.ok("/api/orderHistory.json?order_id=15&group_by_call=1")["response"]
        self.assertEqual([call["call_id"] for call in response], [12, 14])
        self.assertEqual(" ".join(response[0]), f"{CALL_KEYS} states")
        self.assertEqual([row["seq"] for row in response[0]["states"]], [1, 2, 3])
