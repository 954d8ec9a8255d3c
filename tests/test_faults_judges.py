"""Tests of what judges the faults: it finds what is wrong."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lab.phones import PhoneEvent
from tests.faults.arriving import not_as_told
from tests.faults.going_on import left_alone, made_again, not_made
from tests.faults.history import History
from tests.faults.judging import Judge
from tests.faults.marks import Cut, Silence
from tests.faults.probing import answered
from tests.faults.rows import FAULTS
from tests.faults.silences import Seen, dropped, meanwhile
from tests.faults.table import Report, Result
from tests.faults.traffic import FALLBACK, INBOUND, OUTBOUND, Attempt, Repeat
from tests.integration import verdict
from tests.integration.rounds import Told as Outbound
from tests.integration.rows import TALKED

Told = tuple[float, str]
#: When the talk of the dates began, under which order, and what FINISH says of it.
T0 = 1_795_412_687.0
ORDER = "order-1"
WORDS = "hung up by client; ring 0.9 s, wait 1.0 s, talk 3.0 s; Normal Clearing (16)"


def phone(number: str, *told: Told) -> list[PhoneEvent]:
    """A phone's log of one dialog."""
    return [PhoneEvent(time, event, f"dialog of {number}", number, "") for time, event in told]


def call(client: list[PhoneEvent], operator: list[PhoneEvent], *, called_in: bool = False) -> Seen:
    """A call that these two saw."""
    name = "talk_client_hangs_up"
    row: Any = INBOUND[name] if called_in else OUTBOUND[name]
    did = "380440000001" if called_in else None
    return Seen(Attempt(name, row, "380630000001", "order-1", [], did), client, operator)


class DroppedTests(SynchronousTestCase):
    """A talk that ended though neither phone hung up."""

    OPERATOR = ((1.0, "invite"), (1.3, "answered"))
    CLIENT = ((1.4, "invite"), (1.7, "answered"))

    def test_dropped(self) -> None:
        """Both were told that the other hung up."""
        one = call(
            phone("3806", *self.CLIENT, (5.0, "bye")), phone("1000", *self.OPERATOR, (5.0, "bye"))
        )
        [wrong] = dropped([one], [])
        self.assertIn("dropped 3.3 s in", wrong.what)
        self.assertEqual(list(dropped([one], [Cut(4.9, 6.0, False)])), [])

    def test_hung_up(self) -> None:
        """One of them did it, the other was told."""
        one = call(
            phone("3806", *self.CLIENT, (5.0, "hangup")),
            phone("1000", *self.OPERATOR, (5.0, "bye")),
        )
        self.assertEqual(list(dropped([one], [])), [])
        self.assertEqual(one.talk, (1.7, 5.0))

    def test_no_talk(self) -> None:
        """The operator's phone is told when the client's has refused."""
        one = call(
            phone("3806", (1.4, "invite"), (1.5, "refused")),
            phone("1000", *self.OPERATOR, (1.6, "bye")),
        )
        self.assertEqual(list(dropped([one], [])), [])

    def test_is_up(self) -> None:
        """From the first ring to the last end; between two phones' it rings nowhere."""
        one = call(
            phone("3806", *self.CLIENT, (5.0, "hangup")),
            phone("1000", *self.OPERATOR, (5.1, "bye")),
        )
        moments = (0.9, 1.0, 3.0, 5.05, 5.2)
        self.assertEqual(
            [one.is_up(moment) for moment in moments], [False, True, True, True, False]
        )


class DatedTests(SynchronousTestCase):
    """A whole talk by a clock that is an hour ahead of the phones'."""

    def complaints(self, *, dated: bool, ahead: float = 3600.0, **changes: Any) -> list[str]:
        """What is said of it, where the last state but one is of so many seconds later."""
        times = [0.0, 0.1, 1.0, 1.1, 2.0, 5.0]
        states = [
            {
                "seq": seq,
                "state": state,
                "final": state == "FINISH",
                "leg": {"OPERATOR": "operator-1", "CLIENT": "client"}.get(state.partition("_")[0]),
                "sip": "1000",
                "date": datetime.fromtimestamp(T0 + ahead + time, UTC).isoformat(),
                "cause": 16 if state == "FINISH" else None,
                "detail": WORDS if state == "FINISH" else None,
            }
            for seq, (state, time) in enumerate(zip(TALKED, times, strict=True), 1)
        ]
        states[4] |= changes
        operator = phone("1000", (T0 + 0.1, "invite"), (T0 + 1.0, "answered"), (T0 + 5.0, "bye"))
        client = phone("3806", (T0 + 1.1, "invite"), (T0 + 2.0, "answered"), (T0 + 5.0, "hangup"))
        shown = f'"Order {ORDER}" <sip:380630000001@x>'
        operator[0] = replace(operator[0], detail=shown)
        last = states[-1]
        call = {
            "states": states,
            "sip": "1000",
            "phone": "380630000001",
            "order_id": ORDER,
            "direction": "outbound",
            "hung_up_by": "client",
            "ring_seconds": 0.9,
            "talk_seconds": 3.0,
            "ended": last["date"],
            **{key: last[key] for key in ("state", "final", "cause", "detail")},
        }
        row = OUTBOUND["talk_client_hangs_up"]
        told = Outbound(row, "1000", "380630000001", ORDER, 1, states, call)
        told.records, told.operator, told.client = [{"duration": 4.0}], operator, client
        return list(verdict.complaints(told, dated=dated))

    def test_dates_and_lengths_are_left_out(self) -> None:
        """They are wrong, but for such a clock."""
        self.assertEqual(self.complaints(dated=False), [])
        said = self.complaints(dated=True)
        self.assertEqual(len(said), 6, said)
        self.assertEqual(len(self.complaints(dated=True, ahead=0.0)), 1)

    def test_nothing_else_is(self) -> None:
        """Time may not run backwards, and whose state it is is no matter of clocks."""
        early = datetime.fromtimestamp(T0, UTC).isoformat()
        for changes in ({"date": early}, {"sip": "1001"}, {"leg": "operator-1"}, {"seq": 7}):
            self.assertEqual(len(self.complaints(dated=False, **changes)), 1, changes)


class LossTests(SynchronousTestCase):
    """A call of makeCall that is missing after the journal was lost."""

    def said(self, loss: float, *rung: Told) -> list[str]:
        """What is said of one that was asked for at 10.0."""
        row: Any = OUTBOUND["talk_client_hangs_up"]
        attempt = Attempt("talk", row, "380630000001", "order-1", ["1000"], begun=10.0)
        attempt.asked = Future()
        attempt.asked.set_result({"status": "ok"})
        phones: Any = SimpleNamespace(
            operators=defaultdict(dict), clients=defaultdict(list[PhoneEvent])
        )
        if rung:
            phones.operators[attempt.phone]["1000"] = phone("1000", *rung)
        return [wrong.what for wrong in Judge(History(), phones, losses=[loss]).judge([attempt])]

    def test_just_before(self) -> None:
        """Nobody can know of it if Asterisk had not heard of it."""
        self.assertEqual(self.said(12.9), [])

    def test_long_before(self) -> None:
        """Postgres has it by then; what comes after the loss was not in it."""
        for loss in (13.1, 9.9):
            self.assertEqual(self.said(loss), ["is missing, but makeCall said that it is made"])

    def test_a_phone_rang(self) -> None:
        """Then it can be known, and is missed."""
        [wrong] = self.said(12.9, (10.5, "invite"))
        self.assertIn("['1000'] rang", wrong)


class MeanwhileTests(SynchronousTestCase):
    """Clients who call while the daemon is silent."""

    SILENCE = (Silence(10.0, 20.0),)

    def test_in_time(self) -> None:
        """The fallback's phone rings."""
        told = meanwhile(
            [
                call(
                    phone("044", (11.0, "dialled")),
                    phone(FALLBACK, (13.5, "invite")),
                    called_in=True,
                )
            ],
            self.SILENCE,
        )
        self.assertEqual((told.waited, told.wrong), ([2.5], []))

    def test_too_late(self) -> None:
        """It rings after four seconds, or never."""
        for rung in ([(15.0, "invite")], []):
            told = meanwhile(
                [call(phone("044", (11.0, "dialled")), phone(FALLBACK, *rung), called_in=True)],
                self.SILENCE,
            )
            self.assertEqual(len(told.wrong), 1)

    def test_gave_up(self) -> None:
        """Who hangs up at once is owed nothing; who waited is."""
        for gave_up, wrong in ((12.5, 0), (16.0, 1)):
            client = phone("044", (11.0, "dialled"), (gave_up, "cancelled"))
            told = meanwhile([call(client, [], called_in=True)], self.SILENCE)
            self.assertEqual(len(told.wrong), wrong)

    def test_talks(self) -> None:
        """Those that were under way as it began."""
        client = phone("3806", (8.0, "invite"), (9.0, "answered"), (12.0, "hangup"))
        operator = phone("1000", (7.0, "invite"), (8.0, "answered"), (12.0, "bye"))
        self.assertEqual(meanwhile([call(client, operator)], self.SILENCE).talks, 1)


class GoingOnTests(SynchronousTestCase):
    """Calls that no fault may keep from being made, nor make twice."""

    MADE = {"status": "ok", "response": {"call_id": 7}}
    AWAY = {"status": "error", "error": {"code": "not_ready"}}

    def setUp(self) -> None:
        """Nobody's phone has rung."""
        self.phones: Any = SimpleNamespace(operators=defaultdict(dict), clients=defaultdict(list))

    def asked(self, answer: dict[str, Any] | None) -> Future[Any]:
        """What makeCall was answered."""
        future: Future[Any] = Future()
        future.set_result(answer)
        return future

    def attempt(self, answer: dict[str, Any] | None) -> Attempt:
        """A call that was asked for."""
        one = call([], []).attempt
        one.asked = self.asked(answer)
        return one

    def test_not_made(self) -> None:
        """Any answer but a call is wrong, and so is none."""
        for answer, wrong in ((self.MADE, 0), (self.AWAY, 1), (None, 1)):
            self.assertEqual(len([*not_made([self.attempt(answer)])]), wrong)
        self.assertEqual([*not_made([call([], [], called_in=True).attempt])], [])

    def test_left_alone(self) -> None:
        """A client may reach the fallback only where the CRM said nothing."""
        answered = 'ccdaemon_routing_crm_total{outcome="answered"} 3.0\n'
        silent = 'ccdaemon_routing_crm_total{outcome="timeout"} 1.0\n'
        inbound = call([], [], called_in=True).attempt
        self.assertEqual([*left_alone([inbound], self.phones, answered)], [])
        self.phones.operators[inbound.phone][FALLBACK] = phone(FALLBACK, (1.0, "invite"))
        self.assertEqual(len([*left_alone([inbound], self.phones, answered)]), 1)
        self.assertEqual([*left_alone([inbound], self.phones, answered + silent)], [])

    def test_a_key_once_more(self) -> None:
        """It is refused with the call that has it, and no phone rings."""
        first = self.attempt(self.MADE)
        used = {"status": "error", "error": {"code": "external_key_used", "call_id": 7}}
        other = {"status": "error", "error": {"code": "external_key_used", "call_id": 8}}
        for answer, wrong in ((used, 0), (other, 1), (self.AWAY, 1), (self.MADE, 1), (None, 1)):
            again = Repeat(first, "380670000001", self.asked(answer))
            self.assertEqual(len([*made_again([again], self.phones)]), wrong, answer)
        self.phones.operators["380670000001"]["1000"] = phone("1000", (1.0, "invite"))
        again = Repeat(first, "380670000001", self.asked(used))
        self.assertEqual(len([*made_again([again], self.phones)]), 1)


class ArrivingTests(SynchronousTestCase):
    """What was told, and what is in Postgres."""

    def test_once(self) -> None:
        """What is missing or there twice is wrong; what came after the look is not."""
        told = [("state", 1), ("operator", 2), ("state", 3)]
        self.assertEqual([*not_as_told(told, [*told, ("operator", 4)])], [])
        [missing, twice] = not_as_told(told, [("state", 1), ("state", 1), ("state", 3)])
        self.assertEqual(missing.what, "operator, event 2")
        self.assertEqual((twice.name, twice.what), ("twice in Postgres", "state, event 1"))


class AnsweredTests(SynchronousTestCase):
    """What is asked while a fault goes on."""

    def wrong(self, status: int) -> set[str]:
        """What is wrong with a daemon that answers so; 0: not at all."""
        asked = threading.Event()

        class Answering(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.set()
                if status:
                    self.send_response(status)
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        daemon = SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}")
        stage: Any = SimpleNamespace(daemon=daemon, wrong=[])
        with answered(stage, "a fault", 60.0, ("/x",)):
            self.assertTrue(asked.wait(60.0))
        return {wrong.what.partition(":")[0] for wrong in stage.wrong}

    def test_answers(self) -> None:
        """Whatever is plain will do; an error of the daemon's, or nothing, will not."""
        for status in (200, 404, 503):
            self.assertEqual(self.wrong(status), set())
        self.assertEqual(self.wrong(500), {"/x was answered 500"})
        self.assertEqual(self.wrong(0), {"/x was not answered"})


class ReportTests(SynchronousTestCase):
    """What stands in the docs."""

    def test_rows_that_were_not_run_stay(self) -> None:
        """Their line, what was measured, and which run it was."""
        one, other = FAULTS[:2]
        report = Report()
        report.add([Result(one, [20], 5, notes=["a"]), Result(other, [3], 6)], "`one`, seed 1")
        again = Report.read(str(report))
        self.assertEqual(str(again), str(report))
        again.add([Result(other, [4], 7, notes=["b"])], "`two`, seed 2")
        text = str(again)
        self.assertIn(f"| {one.name} | 1 | 20 to 20, 20 on average | 5 | 0 |", text)
        self.assertIn(f"| {other.name} | 1 | 4 to 4, 4 on average | 7 | 0 |", text)
        self.assertIn(f"- **{one.name}**: a.\n- **{other.name}**: b.", text)
        self.assertIn(f"- `one`, seed 1: {one.name}.\n- `two`, seed 2: {other.name}.", text)
