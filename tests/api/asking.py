"""What tests of methods share: a world with some calls, and the keys of the contract's objects."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import State
from tests.api.parts import call_view, record
from tests.api.world import World

MAKE = "/api/makeCall.json?sip=1000&phone=380639920000&order_id=15&external_key=24"

CALL_KEYS = (
    "call_id order_id external_key direction sip phone state final date answered ended"
    " ring_seconds talk_seconds hung_up_by cause detail did caller_name note phone_sent"
)
STATE_KEYS = "event_id call_id order_id external_key seq state final leg sip date cause detail note"
RECORD_KEYS = (
    "call_id order_id external_key sip phone direction uniqueid path url format size duration"
    " add_date date note pauses"
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
