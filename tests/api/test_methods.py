"""What the methods about calls and operators answer, asked over HTTP."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from ccdaemon.errors import Code, Refused
from ccdaemon.operators import Status
from ccdaemon.switchboard.call_options import CallOptions
from tests.api.asking import CALL_KEYS, MAKE, STATE_KEYS, MethodsTestCase
from tests.api.parts import MOMENT


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
                    "address": "127.0.0.1",
                    "options": CallOptions(),
                }
            ],
        )

    def test_options(self) -> None:
        """Each reaches the switchboard."""
        self.ok(
            f"{MAKE}&caller_id=%2B380440000000&operator_timeout=5&client_timeout=6&max_duration=7"
            "&auto_answer=1&record=0&note=VIP"
        )
        options = self.world.calls.asked[0]["options"]
        self.assertEqual(options, CallOptions("+380440000000", 5, 6, 7, True, False, "VIP"))

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

    def test_nobody_is_known_yet(self) -> None:
        """Before Asterisk was looked at it is refused: an empty list says that all are gone."""
        self.world.operators.are_known = False
        self.refused("/api/sipList.json?status=online", 503, "not_ready")
        self.assertEqual(self.world.ask("/api/sipList.json").headers["retry-after"], "5")

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
                "paused": False,
                "pause_reason": None,
            },
        )
        self.assertEqual(
            list(response["data"][1]),
            [
                "sip",
                "status",
                "device_state",
                "since",
                "call_id",
                "stale",
                "paused",
                "pause_reason",
            ],
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
            [
                "event_id",
                "sip",
                "state",
                "device_state",
                "call_id",
                "date",
                "detail",
                "paused",
                "pause_reason",
            ],
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
