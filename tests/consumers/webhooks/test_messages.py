"""Tests of the messages: their names, their ordering keys, and who wants them."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.messages import WebhookMessage, message_of, wants
from ccdaemon.event_schema import announcement
from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.facts import Event, Fact, OperatorFact
from ccdaemon.store.records import RecordRow, StateRow
from tests.store.parts import ANSWERED, NOON, chain, change, recording, view

BASE = "https://calls.example"


def made(event: Event) -> WebhookMessage:
    """The message of an event that has one."""
    message = message_of(event, "abcdef", BASE, view(12))
    assert message is not None
    return message


class Messages(SynchronousTestCase):
    """From events to messages."""

    def test_state(self) -> None:
        """A state is named by its call and its place in the chain."""
        fact = chain(view(12, note="a gift"))[2]
        message = made(Event(77, fact))
        self.assertEqual((message.webhook_id, message.ordering_key), ("12-3", "call-12"))
        self.assertEqual((message.type, message.state), ("call.state", "OPERATOR_PICKUP"))
        self.assertEqual((message.call_id, message.seq), (12, 3))
        row = StateRow(77, fact.state, "order-12", "key-12", "a gift")
        self.assertEqual(message.tree, msgspec.to_builtins(announcement(row, BASE)))

    def test_operator(self) -> None:
        """A row of the operators' log is named by the journal it is in, and in order by sip."""
        message = made(Event(78, change("1000", Status.ONLINE)))
        self.assertEqual(message.webhook_id, "operator-abcdef-78")
        self.assertEqual((message.ordering_key, message.state), ("sip-1000", "online"))
        self.assertEqual((message.call_id, message.seq), (None, None))
        talking = OperatorChange("1000", Status.INUSE, "INUSE", 12, NOON, None)
        self.assertEqual(made(Event(79, OperatorFact(talking))).call_id, 12)

    def test_recording(self) -> None:
        """A recording comes in the order of its call, with what the call says."""
        message = made(Event(80, recording(12)))
        self.assertEqual((message.webhook_id, message.ordering_key), ("record-12-80", "call-12"))
        row = RecordRow(80, recording(12).record, view(12))
        self.assertEqual(message.tree, msgspec.to_builtins(announcement(row, BASE)))

    def test_recording_of_a_forgotten_call(self) -> None:
        """Without its call a recording cannot be told."""
        self.assertIsNone(message_of(Event(80, recording(12)), "abcdef", BASE, None))

    def test_names_differ(self) -> None:
        """No two messages have one name."""
        again = [recording(12), recording(12)]
        facts: list[Fact] = [*chain(view(12)), *chain(view(1)), *again, change("1000")]
        names = {made(Event(id_, fact)).webhook_id for id_, fact in enumerate(facts, 1)}
        self.assertEqual(len(names), 2 * len(ANSWERED) + 3)


class Filters(SynchronousTestCase):
    """Which webhook is told what."""

    def wanted(self, **keys: tuple[str, ...]) -> list[str]:
        """What of a call, its recording and its operator a webhook wants."""
        webhook = Webhook(url="https://a.example", secret=("whsec_YWJj",), **keys)  # type: ignore[arg-type]
        facts: list[Fact] = [*chain(view(12)), recording(12), change("1000")]
        messages = [made(Event(id_, fact)) for id_, fact in enumerate(facts, 1)]
        return [one.state or one.type for one in messages if wants(webhook, one)]

    def test_every_state(self) -> None:
        """Unless told otherwise a webhook wants every state of every call, and nothing else."""
        self.assertEqual(self.wanted(), [state.value for state in ANSWERED])

    def test_some_states(self) -> None:
        """States restrict the states of calls."""
        self.assertEqual(self.wanted(states=("CALL", "FINISH")), ["CALL", "FINISH"])

    def test_types(self) -> None:
        """Types restrict what is told of; states do not speak of operators."""
        types = ("operator.state", "record.ready")
        self.assertEqual(self.wanted(types=types), ["record.ready", "online"])
        both = self.wanted(types=("call.state", "operator.state"), states=("FINISH",))
        self.assertEqual(both, ["FINISH", "online"])
