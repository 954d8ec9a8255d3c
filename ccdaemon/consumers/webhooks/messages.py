"""From an event of the journal to the message that webhooks carry. Pure.

A message has a name that stays the same over retries, restarts and webhooks, and a ordering key:
messages of one ordering key never overtake each other. The chain of a call and its recordings are
one ordering key, the log of an operator is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from ccdaemon.calls.model import CallView
from ccdaemon.config.webhooks import CALL_STATE, OPERATOR_STATE, RECORD_READY, Webhook
from ccdaemon.event_schema import Announcement, announcement
from ccdaemon.store.facts import Event, OperatorFact, RecordFact, StateFact
from ccdaemon.store.records import OperatorRow, RecordRow, StateRow


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """One thing to tell.

    :ivar webhook_id: the receiver knows a repetition by it.
    :ivar type: ``call.state``, ``operator.state`` or ``record.ready``.
    :ivar state: of a call or an operator, for the filter; None for a recording.
    :ivar tree: the announcement as plain dicts, lists and texts.
    """

    webhook_id: str
    type: str
    ordering_key: str
    call_id: int | None
    seq: int | None
    state: str | None
    tree: dict[str, object]


def message_of(
    event: Event, node: str, base_url: str, call: CallView | None
) -> WebhookMessage | None:
    """Make the message of an event; None for an event that is not told to anybody.

    :param node: the installation's name: operators' events are numbered by each for itself.
    :param call: the call of a recording; of no use to other events.
    """
    fact, event_id = event.fact, event.event_id
    if isinstance(fact, StateFact):
        announced, view = fact.state, fact.call
        row = StateRow(event_id, announced, view.order_id, view.external_key, view.note)
        return WebhookMessage(
            webhook_id=f"{announced.call_id}-{announced.seq}",
            type=CALL_STATE,
            ordering_key=f"call-{announced.call_id}",
            call_id=announced.call_id,
            seq=announced.seq,
            state=announced.state.value,
            tree=_plain(announcement(row, base_url)),
        )
    if isinstance(fact, OperatorFact):
        change = fact.change
        return WebhookMessage(
            webhook_id=f"operator-{node}-{event_id}",
            type=OPERATOR_STATE,
            ordering_key=f"sip-{change.sip}",
            call_id=change.call_id,
            seq=None,
            state=change.state.value,
            tree=_plain(announcement(OperatorRow(event_id, change), base_url)),
        )
    if isinstance(fact, RecordFact) and call is not None:
        return WebhookMessage(
            webhook_id=f"record-{fact.call_id}-{event_id}",
            type=RECORD_READY,
            ordering_key=f"call-{fact.call_id}",
            call_id=fact.call_id,
            seq=None,
            state=None,
            tree=_plain(announcement(RecordRow(event_id, fact.record, call), base_url)),
        )
    return None


def wants(webhook: Webhook, message: WebhookMessage) -> bool:
    """Whether a webhook is to be told; ``states`` speak of calls alone."""
    if message.type not in webhook.types:
        return False
    return message.type != CALL_STATE or not webhook.states or message.state in webhook.states


def _plain(announced: Announcement) -> dict[str, object]:
    tree: dict[str, object] = msgspec.to_builtins(announced)
    return tree
