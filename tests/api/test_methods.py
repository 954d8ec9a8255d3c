"""What each method answers, asked over HTTP."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Direction, State
from ccdaemon.errors import Code, Refused
from ccdaemon.history.rows import Filter
from ccdaemon.operators import Status
from tests.api.world import MOMENT, World, call_view, record

MAKE = "/api/makeCall.json?sip=1000&phone=380639920000&order_id=15&external_key=24"

CALL_KEYS = (
    "call_id order_id external_key direction sip phone state final date answered ended"
    " ring_seconds talk_seconds hung_up_by cause detail"
)
STATE_KEYS = "event_id call_id order_id external_key seq state final leg sip date cause detail"
RECORD_KEYS = (
    "call_id order_id external_key sip phone direction uniqueid path url format size duration"
    " add_date date"
)


class MethodsTestCase(SynchronousTestCase):
    """Asks one world."""

    def setUp(self) -> None:
        """Have two calls of order 15, one of order 16."""
        self.world = World()
        history = self.world.history
        both = [State.CALL, State.OPERATOR_CALLTO, State.FINISH]
        history.add(call_view(12), both, record(12))
        history.add(call_view(13, order_id="16"), both)
        history.add(call_view(14), both[:1])

    def ok(self, path: str) -> Any:
        """Ask, and take the whole envelope of what has to be a success."""
        reply = self.world.ask(path)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(reply.json["status"], "ok")
        self.assertEqual(reply.json["status_code"], 200)
        return reply.json

    def refused(self, path: str, status: int, code: str) -> Any:
        """Ask, and take the error of what has to be a refusal."""
        reply = self.world.ask(path)
        self.assertEqual(reply.status, status, reply.body)
        answer = reply.json
        self.assertEqual(answer["status"], "error")
        self.assertEqual(answer["status_code"], status)
        self.assertIsNone(answer["response"])
        self.assertEqual(answer["error"]["code"], code)
        return answer["error"]


class MakeCall(MethodsTestCase):
    """makeCall."""

    def test_answers_the_call_id(self) -> None:
        """The call's number comes back, and the switchboard heard who asked for what."""
        self.assertEqual(self.ok(MAKE)["response"], {"call_id": 12})
        self.assertEqual(
            self.world.calls.asked,
            [
                {
                    "sip": "1000",
                    "phone": "380639920000",
                    "order_id": "15",
                    "external_key": "24",
                    "client": "local",
                }
            ],
        )

    def test_every_parameter_is_required(self) -> None:
        """Each of the four, left out or empty, is named as missing, and nothing is dialled."""
        for name in ("sip", "phone", "order_id", "external_key"):
            for instead in ("x=", f"{name}="):
                error = self.refused(
                    MAKE.replace(f"{name}=", f"{instead}&x="), 400, "missing_parameter"
                )
                self.assertEqual(error["field"], name)
        self.assertEqual(self.world.calls.asked, [])

    def test_refusals_carry_what_they_know(self) -> None:
        """Code, message, field, call_id and Retry-After reach the client."""
        self.world.calls.answer = Refused(
            Code.EXTERNAL_KEY_USED, "the key is used", field="external_key", call_id=7
        )
        error = self.refused(MAKE, 409, "external_key_used")
        self.assertEqual(
            error,
            {
                "code": "external_key_used",
                "message": "the key is used",
                "field": "external_key",
                "call_id": 7,
            },
        )
        self.world.calls.answer = Refused(Code.TOO_MANY_CALLS, "later", retry_after=5)
        reply = self.world.ask(MAKE)
        self.assertEqual((reply.status, reply.headers["retry-after"]), (429, "5"))

    def test_the_answer_may_come_later(self) -> None:
        """The answer goes out when the switchboard has answered, not before."""
        answer: Deferred[int] = Deferred()
        self.world.calls.answer = answer
        connection = self.world.connect()
        connection.send(MAKE)
        self.assertEqual(connection.received, b"")
        answer.callback(99)
        self.assertEqual(connection.reply().json["response"], {"call_id": 99})

    def test_a_call_is_made_although_nobody_waits_for_the_answer(self) -> None:
        """When the client goes, the call that is being made is not cancelled."""
        cancelled: list[object] = []
        answer: Deferred[int] = Deferred(cancelled.append)
        self.world.calls.answer = answer
        connection = self.world.connect()
        connection.send(MAKE)
        connection.close()
        self.assertEqual(cancelled, [])
        answer.callback(99)


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

    def test_grouped_by_call(self) -> None:
        """Calls oldest first, each with its chain."""
        response = self.ok("/api/orderHistory.json?order_id=15&group_by_call=1")["response"]
        self.assertEqual([call["call_id"] for call in response], [12, 14])
        self.assertEqual(" ".join(response[0]), f"{CALL_KEYS} states")
        self.assertEqual([row["seq"] for row in response[0]["states"]], [1, 2, 3])


class CallHistory(MethodsTestCase):
    """callHistory, but for after=, which has tests of its own."""

    def test_one_call_by_number_or_key(self) -> None:
        """A list of one call with its states."""
        for path in ("call_id=12", "external_key=key-12", "call_id=12&external_key=key-12"):
            answer = self.ok(f"/api/callHistory.json?{path}")
            self.assertEqual(list(answer), ["status", "status_code", "response"])
            (call,) = answer["response"]
            self.assertEqual(" ".join(call), f"{CALL_KEYS} states")
            self.assertEqual(
                [row["state"] for row in call["states"]], ["CALL", "OPERATOR_CALLTO", "FINISH"]
            )

    def test_an_unknown_call(self) -> None:
        """No such number, no such key, or a number that has another key."""
        for path in ("call_id=99", "external_key=nokey", "call_id=12&external_key=key-13"):
            self.refused(f"/api/callHistory.json?{path}", 404, "call_unknown")

    def test_all_states_newest_first(self) -> None:
        """Without a call the list is flat, and the paging stands in the envelope beside it."""
        answer = self.ok("/api/callHistory.json?per_page=3")
        self.assertEqual(
            list(answer),
            ["status", "status_code", "response", "page", "per_page", "total", "pages"],
        )
        self.assertEqual([answer[key] for key in list(answer)[3:]], [1, 3, 7, 3])
        self.assertEqual([row["event_id"] for row in answer["response"]], [7, 6, 5])
        self.assertEqual(" ".join(answer["response"][0]), STATE_KEYS)

    def test_empty_parameters_are_absent(self) -> None:
        """A client that sends every attribute gets what it would get without them."""
        self.assertEqual(
            self.ok("/api/callHistory.json?call_id=&page=&external_key=&after="),
            self.ok("/api/callHistory.json"),
        )

    def test_a_history_that_is_away(self) -> None:
        """What the history refuses is refused with its words."""
        self.world.history.away = Refused(Code.HISTORY_UNAVAILABLE, "Postgres is away")
        self.refused("/api/callHistory.json", 503, "history_unavailable")


class SipList(MethodsTestCase):
    """sipList."""

    def setUp(self) -> None:
        """Have three operators."""
        super().setUp()
        self.world.operators.add("1001", Status.INUSE, call_id=12)
        self.world.operators.add("1000", Status.ONLINE)
        self.world.operators.add("1002", Status.OFFLINE)

    def sips(self, query: str) -> list[str]:
        """Ask for a list and give its numbers."""
        data = self.ok(f"/api/sipList.json?{query}")["response"]["data"]
        return [operator["sip"] for operator in data]

    def test_what_an_operator_says(self) -> None:
        """The contract's keys in order."""
        response = self.ok("/api/sipList.json")["response"]
        self.assertEqual(list(response), ["page", "per_page", "total", "pages", "data"])
        self.assertEqual(
            response["data"][1],
            {
                "sip": "1001",
                "status": "inuse",
                "device_state": "INUSE",
                "since": "2026-11-23T08:00:00.123Z",
                "call_id": 12,
                "stale": False,
            },
        )
        self.assertEqual(
            list(response["data"][1]),
            ["sip", "status", "device_state", "since", "call_id", "stale"],
        )

    def test_filters(self) -> None:
        """By one status, by several, by number."""
        self.assertEqual(self.sips(""), ["1000", "1001", "1002"])
        self.assertEqual(self.sips("status=online"), ["1000"])
        self.assertEqual(self.sips("status=offline,online"), ["1000", "1002"])
        self.assertEqual(self.sips("status=offline,online,inuse&sip=1001"), ["1001"])

    def test_pages(self) -> None:
        """Paging counts what the filter left, and a page past the end is empty."""
        response = self.ok("/api/sipList.json?per_page=2&page=2")["response"]
        self.assertEqual([response[key] for key in list(response)[:4]], [2, 2, 3, 2])
        self.assertEqual([operator["sip"] for operator in response["data"]], ["1002"])
        self.assertEqual(self.sips("per_page=2&page=3"), [])

    def test_a_status_outside_the_list(self) -> None:
        """What only the history knows cannot be asked for here, and nothing is half allowed."""
        for status in ("unknown", "online,", "ONLINE", "online,busy", ","):
            error = self.refused(f"/api/sipList.json?status={status}", 400, "bad_parameter")
            self.assertEqual(error["field"], "status")


class OperatorHistory(MethodsTestCase):
    """operatorHistory."""

    def test_newest_first_and_by_operator(self) -> None:
        """The rows are the response; the paging stands beside them."""
        history = self.world.history
        history.add_change("1000", Status.ONLINE, MOMENT)
        history.add_change("1001", Status.ONLINE, MOMENT + 1)
        history.add_change("1000", Status.INUSE, MOMENT + 2)
        answer = self.ok("/api/operatorHistory.json?sip=1000")
        self.assertEqual(answer["response"][0]["state"], "inuse")
        self.assertEqual([row["event_id"] for row in answer["response"]], [3, 1])
        self.assertEqual(
            list(answer["response"][0]),
            ["event_id", "sip", "state", "device_state", "call_id", "date", "detail"],
        )
        self.assertEqual(
            [answer[key] for key in ("page", "per_page", "total", "pages")], [1, 50, 2, 1]
        )


class Paging(MethodsTestCase):
    """The bounds of pages, which all paged methods share."""

    METHODS = ("recordList", "callHistory", "sipList", "operatorHistory")

    def test_a_page_past_the_end_is_empty(self) -> None:
        """Whatever is paged, past its end there is nothing, and that is no error."""
        for method in self.METHODS:
            answer = self.ok(f"/api/{method}.json?page=100&per_page=1000")
            response = answer["response"]
            self.assertEqual(response if isinstance(response, list) else response["data"], [])

    def test_bounds_are_refused_not_clamped(self) -> None:
        """Below, above or no number at all: refused by name."""
        for method in self.METHODS:
            for field, values in {
                "page": ("0", "-1", "1.0", "x", "%D9%A1", "+1", "1%0A"),
                "per_page": ("0", "1001", "all", "1e2"),
            }.items():
                for value in values:
                    path = f"/api/{method}.json?{field}={value}"
                    self.assertEqual(self.refused(path, 400, "bad_parameter")["field"], field)

    def test_the_deepest_page(self) -> None:
        """Row 100,000 can be reached by pages, row 100,001 cannot; the way out is named."""
        for method in self.METHODS:
            for last, per_page in ((100, 1000), (2000, 50), (100_000, 1)):
                self.ok(f"/api/{method}.json?page={last}&per_page={per_page}")
                path = f"/api/{method}.json?page={last + 1}&per_page={per_page}"
                error = self.refused(path, 400, "too_deep")
                self.assertIn("after=", error["message"])
            self.refused(f"/api/{method}.json?page={'9' * 4000}", 400, "too_deep")
