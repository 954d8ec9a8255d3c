"""Tests of what is announced: one spelling for webhooks and events."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import State
from ccdaemon.event_schema import announcement
from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.records import OperatorRow, RecordRow, StateRow
from tests.api.asking import RECORD_KEYS, STATE_KEYS
from tests.api.parts import MOMENT, call_view, record, told


def spelled(row: StateRow | OperatorRow | RecordRow) -> Any:
    """Announce a row, as JSON has it."""
    return msgspec.to_builtins(announcement(row, "https://cc.example"))


class Announced(SynchronousTestCase):
    """Every kind of row has its type, its moment and its object."""

    def test_a_state(self) -> None:
        """A state of a call is the state object of the lists."""
        body = spelled(StateRow(7, told(12, 3, State.CALL), "15", "24"))
        self.assertEqual(list(body), ["type", "timestamp", "data"])
        self.assertEqual(
            (body["type"], body["timestamp"][:19]), ("call.state", body["data"]["date"][:19])
        )
        self.assertEqual(set(STATE_KEYS.split()) - set(body["data"]), set())
        self.assertEqual((body["data"]["event_id"], body["data"]["order_id"]), (7, "15"))

    def test_an_operators_change(self) -> None:
        """A change of an operator is the row of their log."""
        change = OperatorChange("1000", Status.INUSE, "RINGING", 12, MOMENT, None)
        body = spelled(OperatorRow(8, change))
        self.assertEqual(body["type"], "operator.state")
        self.assertEqual(body["timestamp"], "2026-11-23T08:00:00.123Z")
        self.assertEqual((body["data"]["event_id"], body["data"]["state"]), (8, "inuse"))

    def test_a_recording(self) -> None:
        """A recording comes with its call's words and a link that can be fetched."""
        body = spelled(RecordRow(9, record(12), call_view(12)))
        self.assertEqual(body["type"], "record.ready")
        self.assertEqual(set(RECORD_KEYS.split()) - set(body["data"]), set())
        self.assertEqual(body["data"]["url"], "https://cc.example/api/record/12.wav")
