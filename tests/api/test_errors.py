"""Refusals: every code has a status, and what nobody expected becomes one as well."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, Logger
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.errors import STATUS, as_refused, error_object, status_of
from ccdaemon.errors import Code, Refused
from tests.api.world import World

MAKE = "/api/makeCall.json?sip=1000&phone=380639920000&order_id=15&external_key=24"


class Table(SynchronousTestCase):
    """From a code to a status."""

    def test_every_code_has_a_status(self) -> None:
        """No refusal is without a status, and all of them are errors."""
        self.assertEqual(set(STATUS), set(Code))
        self.assertTrue(all(400 <= status <= 599 for status in STATUS.values()))

    def test_the_statuses_of_the_contract(self) -> None:
        """The table of the wire contract, word for word."""
        contract = {
            "missing_parameter": 400,
            "bad_parameter": 400,
            "too_deep": 400,
            "unauthorized": 401,
            "forbidden": 403,
            "operator_unknown": 404,
            "operator_offline": 409,
            "operator_busy": 409,
            "external_key_used": 409,
            "phone_not_allowed": 403,
            "too_many_calls": 429,
            "asterisk_unavailable": 503,
            "asterisk_refused": 502,
            "not_ready": 503,
            "call_unknown": 404,
            "history_unavailable": 503,
        }
        for value, status in contract.items():
            self.assertEqual(status_of(Refused(Code(value), "")), status, value)

    def test_every_code_reaches_the_client(self) -> None:
        """The status of the answer, the one in the envelope and the table agree."""
        world = World()
        for code in Code:
            world.calls.answer = Refused(code, "words", retry_after=3)
            reply = world.ask(MAKE)
            self.assertEqual(reply.status, STATUS[code])
            self.assertEqual(reply.json["status_code"], STATUS[code])
            self.assertEqual(reply.json["error"], {"code": code.value, "message": "words"})
            self.assertEqual(reply.headers["retry-after"], "3")

    def test_when_to_come_again(self) -> None:
        """No 429 and no 503 goes without Retry-After; what will not change has none."""
        world = World()
        for code in Code:
            world.calls.answer = Refused(code, "words")
            headers = world.ask(MAKE).headers
            self.assertEqual(
                headers.get("retry-after"), "5" if STATUS[code] in (429, 503) else None
            )

    def test_field_and_call_only_where_there_are_any(self) -> None:
        """What is not known has no key."""
        self.assertEqual(
            error_object(Refused(Code.CALL_UNKNOWN, "words")),
            {"code": "call_unknown", "message": "words"},
        )
        self.assertEqual(
            error_object(Refused(Code.OPERATOR_BUSY, "words", field="sip", call_id=7)),
            {"code": "operator_busy", "message": "words", "field": "sip", "call_id": 7},
        )


class Unexpected(SynchronousTestCase):
    """What nobody expected."""

    def test_a_refusal_stays_what_it_is(self) -> None:
        """A refusal passes the funnel untouched and unlogged."""
        refused = Refused(Code.OPERATOR_BUSY, "busy")
        self.assertIs(as_refused(refused, Logger()), refused)

    def test_it_is_logged_once_and_told_by_its_id(self) -> None:
        """The client learns an id under which the log has the traceback, and nothing else."""
        world = World()
        for format, place in (
            ("json", b'"code":"internal_error"'),
            ("xml", b"internal_error</code>"),
        ):
            world.calls.answer = ValueError("secret words")
            reply = world.ask(MAKE.replace("json", format))
            self.assertEqual(reply.status, 500)
            self.assertIn(place, reply.body)
            self.assertNotIn(b"secret", reply.body)
            self.assertNotIn(b"Traceback", reply.body)
            (logged,) = self.flushLoggedErrors(ValueError)
            self.assertEqual(str(logged.value), "secret words")

    def test_the_id_is_in_both_places(self) -> None:
        """The id in the answer is the id in the log."""
        events: list[dict[str, object]] = []
        refused = as_refused(ValueError("x"), Logger(observer=cast(ILogObserver, events.append)))
        (event,) = events
        self.assertIn(str(event["log_id"]), refused.message)
        self.assertIn("log_failure", event)
        self.assertEqual(refused.code, Code.INTERNAL)
