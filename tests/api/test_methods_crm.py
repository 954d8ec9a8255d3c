"""What call, missedCalls, attachOrder, setResult, pauseOperator and resumeOperator answer."""

from __future__ import annotations

from urllib.parse import quote

from ccdaemon.calls.model import Action, LegView, State
from ccdaemon.config import Client
from ccdaemon.config.validators import network
from ccdaemon.errors import Code, Refused
from ccdaemon.operators import Status
from ccdaemon.store.records import (
    ActionRow,
    CalledBack,
    Chain,
    Closed,
    ClosedHow,
    Filter,
    MissedRow,
)
from tests.api.asking import CALL_KEYS, MethodsTestCase
from tests.api.parts import MOMENT, call_view, record
from tests.api.world import World

KNOWN_KEYS = (
    f"{CALL_KEYS} wait_seconds result result_note made_by made_from legs states records actions"
)

MISSED_KEYS = f"{CALL_KEYS} attempts called_back closed_by claimed_by"


class TheCall(MethodsTestCase):
    """call."""

    def test_everything(self) -> None:
        """Legs, chain, recordings and actions of one call, by number or by key."""
        leg = LegView("operator-1", "1000", None, MOMENT, MOMENT + 1, None, 4.5, None, None, "c")
        done = [
            Action(21, MOMENT, "hold", "crm"),
            Action(21, MOMENT, "setResult", "crm", result="busy", note="first"),
            Action(21, MOMENT, "setResult", "boss", result="sold"),
        ]
        rows = [ActionRow(50 + n, action) for n, action in enumerate(done)]
        call = call_view(21, legs=(leg,))
        self.world.history.add_chain(Chain(call, [], [record(21)], rows))
        for asked in ("call_id=21", "external_key=key-21", "call_id=21&external_key=key-21"):
            response = self.ok(f"/api/call.json?{asked}")["response"]
            self.assertEqual(" ".join(response), KNOWN_KEYS)
            self.assertEqual((response["result"], response["result_note"]), ("sold", None))
            self.assertEqual([one["by"] for one in response["actions"]], ["crm", "crm", "boss"])
            self.assertEqual(response["actions"][1]["note"], "first")
            self.assertEqual(response["wait_seconds"], 1.25)
            (shown,) = response["legs"]
            self.assertEqual(
                " ".join(shown), "name sip phone called answered ended talk_seconds cause detail"
            )
            self.assertEqual((shown["called"], shown["ended"]), ("2026-11-23T08:00:00.123Z", None))
            self.assertEqual(len(response["records"]), 1)

    def test_without_result(self) -> None:
        """Nulls and empty lists where there is nothing."""
        response = self.ok("/api/call.json?call_id=12")["response"]
        self.assertEqual(
            (response["result"], response["legs"], response["actions"]), (None, [], [])
        )

    def test_none_and_nobodys(self) -> None:
        """Which call has to be said; nobody's is unknown."""
        error = self.refused("/api/call.json", 400, "missing_parameter")
        self.assertEqual(error["field"], "call_id")
        self.refused("/api/call.json?call_id=99", 404, "call_unknown")
        self.refused("/api/call.json?call_id=12&external_key=key-13", 404, "call_unknown")


class MissedCalls(MethodsTestCase):
    """missedCalls."""

    def test_pages(self) -> None:
        """The paging around data; each a call with who called back, and how often it was tried."""
        back = CalledBack(31, MOMENT + 60_000, "1000")
        missed = self.world.history.missed
        closed = Closed(29, MOMENT + 30_000, "1001", ClosedHow.CALLED_AGAIN)
        missed.append(MissedRow(call_view(30, did="380441234567"), 3, back, closed))
        missed.append(MissedRow(call_view(32), 0, None))
        response = self.ok("/api/missedCalls.json")["response"]
        self.assertEqual(list(response), ["page", "per_page", "total", "pages", "data"])
        newest, oldest = response["data"]
        self.assertEqual(" ".join(newest), MISSED_KEYS)
        for key in ("called_back", "closed_by", "claimed_by"):
            self.assertIsNone(newest[key])
        self.assertEqual((oldest["did"], oldest["attempts"]), ("380441234567", 3))
        date = "2026-11-23T08:00:30.123Z"
        again = {"call_id": 29, "date": date, "sip": "1001", "how": "called_again"}
        self.assertEqual(oldest["closed_by"], again)
        self.assertEqual(
            oldest["called_back"],
            {"call_id": 31, "date": "2026-11-23T08:01:00.123Z", "sip": "1000"},
        )
        self.assertEqual(self.ok("/api/missedCalls.json?open=1")["response"]["total"], 1)

    def test_every_filter_reaches_the_history(self) -> None:
        """As the values they mean."""
        self.ok(
            "/api/missedCalls.json?from=2026-11-23T08:00:00.123Z&to=2026-11-23&phone=380639920000"
            "&did=380441234567&sip=1000&order_id=15&result=sold&open=1"
        )
        (asked,) = self.world.history.filters
        wanted = Filter(
            from_ms=MOMENT,
            to_ms=MOMENT - 8 * 3600_000 - 123,
            sip="1000",
            phone="380639920000",
            order_id="15",
            result="sold",
            did="380441234567",
            open=True,
        )
        self.assertEqual(asked, wanted)


class Entered(MethodsTestCase):
    """attachOrder and setResult."""

    def setUp(self) -> None:
        """Let everything be asked for."""
        super().setUp()
        self.world = allowed("read", "call", "attach", "result", "pause")
        self.world.history.add(call_view(12), [State.CALL, State.FINISH])

    def test_attach(self) -> None:
        """The answer is the call as it is then."""
        response = self.ok("/api/attachOrder.json?call_id=12&order_id=17")["response"]
        self.assertEqual(" ".join(response), KNOWN_KEYS)
        self.ok("/api/attachOrder.json?call_id=12&order_id=17&replace=1")
        self.assertEqual(
            self.world.entries.asked,
            [
                {"call_id": 12, "order_id": "17", "replace": replace, "client": "crm"}
                for replace in (False, True)
            ],
        )

    def test_another_order(self) -> None:
        """The refusal names the call and its state."""
        self.world.entries.refusal = Refused(
            Code.WRONG_STATE, "it has order 15", field="order_id", call_id=12, state="FINISH"
        )
        error = self.refused("/api/attachOrder.json?call_id=12&order_id=17", 409, "wrong_state")
        self.assertEqual((error["call_id"], error["state"]), (12, "FINISH"))

    def test_what_is_missing(self) -> None:
        """Each required parameter is named."""
        for path, field in (
            ("attachOrder.json?order_id=17", "call_id"),
            ("attachOrder.json?call_id=12", "order_id"),
            ("setResult.json?call_id=12", "result"),
            ("setResult.json?result=sold", "call_id"),
            ("claimMissed.json?sip=1000", "call_id"),
            ("claimMissed.json?call_id=12", "sip"),
            ("pauseOperator.json", "sip"),
            ("resumeOperator.json", "sip"),
        ):
            error = self.refused(f"/api/{path}", 400, "missing_parameter")
            self.assertEqual(error["field"], field)

    def test_result(self) -> None:
        """Words of any language, and a note of several lines."""
        words, note = "продано & <оплачено>", "перший\nдругий 🙂"
        self.ok(f"/api/setResult.json?call_id=12&result={quote(words)}&note={quote(note)}")
        (asked,) = self.world.entries.asked
        self.assertEqual(asked, {"call_id": 12, "result": words, "note": note, "client": "crm"})

    def test_claim(self) -> None:
        """A quarter of an hour, or what is said up to a day; the answer shows whose it is."""
        self.world = allowed("call")
        for minutes, said in ((15, ""), (0, "&minutes=0"), (1440, "&minutes=1440")):
            row = self.ok(f"/api/claimMissed.json?call_id=12&sip=1000{said}")["response"]
            self.assertEqual(" ".join(row), MISSED_KEYS)
            self.assertEqual(self.world.entries.asked[-1]["minutes"], minutes)
        self.assertEqual(
            row["claimed_by"],
            {
                "sip": "1000",
                "since": "2026-11-23T08:00:00.123Z",
                "until": "2026-11-23T08:15:00.123Z",
                "by": "crm",
            },
        )
        path = "/api/claimMissed.json?call_id=12&sip=1000&minutes=1441"
        self.assertEqual(self.refused(path, 400, "bad_parameter")["field"], "minutes")

    def test_words_that_are_none(self) -> None:
        """Too long, of several lines, with control characters, half a character: refused."""
        for result in ("x" * 65, "a\nb", "a\x00b", "\x7f", "\u2028"):
            path = f"/api/setResult.json?call_id=12&result={quote(result)}"
            self.assertEqual(self.refused(path, 400, "bad_parameter")["field"], "result")
        self.refused("/api/setResult.json?call_id=12&result=%ff", 400, "bad_parameter")
        for note in ("x" * 501, "a\x00b", "\x1b[0m"):
            path = f"/api/setResult.json?call_id=12&result=x&note={quote(note)}"
            self.assertEqual(self.refused(path, 400, "bad_parameter")["field"], "note")
        body = rb'{"call_id": 12, "result": "\ud800"}'
        headers = {"Content-Type": "application/json"}
        reply = self.world.ask("/api/setResult", "POST", headers, body)
        self.assertEqual(reply.status, 400, reply.body)
        self.assertEqual(self.world.entries.asked, [])

    def test_each_has_its_permission(self) -> None:
        """Who may read may not write; each permission opens its own methods and no others."""
        paths = {
            "call": ["claimMissed.json?call_id=12&sip=1000"],
            "attach": ["attachOrder.json?call_id=12&order_id=17"],
            "result": ["setResult.json?call_id=12&result=x"],
            "pause": ["pauseOperator.json?sip=1000", "resumeOperator.json?sip=1000"],
        }
        for permission in ("read", *paths):
            self.world = allowed(permission)
            self.world.history.add(call_view(12), [State.CALL])
            for needed, asked in paths.items():
                for path in asked:
                    if needed == permission:
                        self.ok(f"/api/{path}")
                    else:
                        self.refused(f"/api/{path}", 403, "forbidden")


class Paused(MethodsTestCase):
    """pauseOperator, resumeOperator, and the list of the paused."""

    def test_the_operator_is_answered(self) -> None:
        """As they stand then."""
        self.world = allowed("pause")
        response = self.ok(f"/api/pauseOperator.json?sip=1000&reason={quote('обід')}")["response"]
        self.assertEqual(
            " ".join(response),
            "sip status device_state since call_id stale paused pause_reason",
        )
        self.assertEqual((response["status"], response["pause_reason"]), ("paused", "обід"))
        response = self.ok("/api/resumeOperator.json?sip=1000")["response"]
        self.assertEqual((response["status"], response["paused"]), ("online", False))
        self.assertEqual(
            self.world.pauses.asked,
            [
                {"sip": "1000", "reason": "обід", "client": "crm"},
                {"sip": "1000", "client": "crm"},
            ],
        )

    def test_status_paused(self) -> None:
        """sipList takes it as any other status."""
        self.world.operators.add("1000", Status.PAUSED)
        self.world.operators.add("1001", Status.ONLINE)
        response = self.ok("/api/sipList.json?status=paused,inuse")["response"]
        self.assertEqual([one["sip"] for one in response["data"]], ["1000"])


class Narrowed(MethodsTestCase):
    """result as a filter of the lists."""

    def test_it_reaches_the_history(self) -> None:
        """In every list that is of calls."""
        for method in ("recordList", "callHistory", "orderHistory", "orderRecords", "missedCalls"):
            self.ok(f"/api/{method}.json?order_id=15&result=sold")
        self.ok("/api/orderHistory.json?order_id=15&result=sold&group_by_call=1")
        self.assertEqual({one.result for one in self.world.history.filters}, {"sold"})

    def test_not_after_a_cursor(self) -> None:
        """What is told after a cursor was told before the result was."""
        path = "/api/callHistory.json?after=0&result=sold"
        self.assertEqual(self.refused(path, 400, "bad_parameter")["field"], "result")


def allowed(*permissions: str) -> World:
    """A world whose one client may do so much."""
    local = network("127.0.0.0/8")
    return World([Client(name="crm", networks=(local,), permissions=permissions)])
