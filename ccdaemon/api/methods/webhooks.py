"""The methods that speak of webhooks: the log of deliveries, and having them sent once more."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.param_types import SomeOf, Text, Whole
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.consumers.webhooks.delivery_log import DeliveryRow, LogFilter
from ccdaemon.consumers.webhooks.retry_policy import DeliveryStatus
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.errors import Code, Refused
from ccdaemon.schema import iso

DELIVERY_ID = Parameter(
    "delivery_id", Whole(1, 2**53 - 1), "the delivery's number, as webhookLog gives it"
)
STATUS = Parameter(
    "status", SomeOf(tuple(DeliveryStatus)), "only deliveries that stand like one of these"
)
WEBHOOK = Parameter(
    "webhook", Text(r"[A-Za-z0-9_.:-]{1,80}", "a webhook's name"), "only those to this webhook"
)


class DeliveryObject(msgspec.Struct, frozen=True):
    """A message on its way to one webhook, or what came of it.

    ``webhook_id`` is what the receiver reads; ``date`` is when it was told, ``first`` and ``last``
    when it was tried, ``next`` when it is tried again, ``delivered`` when it arrived.
    """

    delivery_id: int
    webhook: str
    webhook_id: str
    type: str
    call_id: int | None
    seq: int | None
    state: str | None
    status: DeliveryStatus
    attempts: int
    http_status: int | None
    error: str | None
    date: str
    first: str | None
    last: str | None
    next: str | None
    delivered: str | None


def delivery_object(row: DeliveryRow) -> DeliveryObject:
    """Make the ``delivery`` object of a row."""
    arrived = row.ended if row.status is DeliveryStatus.DELIVERED else None
    first, last, following, delivered = (
        None if moment is None else iso(moment)
        for moment in (row.first, row.last, row.next, arrived)
    )
    return DeliveryObject(
        delivery_id=row.delivery_id,
        webhook=row.webhook,
        webhook_id=row.webhook_id,
        type=row.type,
        call_id=row.call_id,
        seq=row.seq,
        state=row.state,
        status=row.status,
        attempts=row.attempts,
        http_status=row.http_status,
        error=row.error,
        date=iso(row.told),
        first=first,
        last=last,
        next=following,
        delivered=delivered,
    )


def _filter_of(values: Values) -> LogFilter:
    return LogFilter(
        delivery_id=values.get(DELIVERY_ID),
        call_id=values.get(p.CALL_ID),
        statuses=values.get(STATUS),
        webhook=values.get(WEBHOOK),
        from_ms=values.get(p.FROM),
        to_ms=values.get(p.TO),
    )


_WHICH = (DELIVERY_ID, p.CALL_ID, STATUS, WEBHOOK, p.FROM, p.TO)


class WebhookMethods:
    """Shows and repeats deliveries."""

    def __init__(self, webhooks: Webhooks) -> None:
        self._webhooks = webhooks

    async def _webhook_log(self, values: Values, request: ApiRequest) -> Answer:
        """List deliveries, newest first."""
        page, per_page = p.paging_of(values)
        found = await self._webhooks.page(page, per_page, _filter_of(values))
        total = found.total
        paging = {
            "page": page,
            "per_page": per_page,
            "total": total,
            "pages": -(-total // per_page),
        }
        return Answer({**paging, "data": [delivery_object(row) for row in found.rows]})

    async def _redeliver(self, values: Values, request: ApiRequest) -> Answer:
        """Have deliveries sent once more, a thousand at most; what waits anyhow is sent at once."""
        wanted = _filter_of(values)
        if wanted.delivery_id is None and wanted.call_id is None and wanted.statuses is None:
            raise Refused(
                Code.MISSING_PARAMETER,
                "delivery_id, call_id or status has to say what is sent once more",
                field=DELIVERY_ID.name,
            )
        rows: Sequence[DeliveryRow] = await self._webhooks.redeliver(wanted)
        if not rows and wanted.delivery_id is not None:
            raise Refused(
                Code.DELIVERY_UNKNOWN, "there is no such delivery, or its webhook is not configured"
            )
        return Answer([delivery_object(row) for row in rows])

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "webhookLog",
                Permission.READ,
                self._webhook_log,
                rows=(DeliveryObject,),
                data=True,
                optional=(*p.PAGING, *_WHICH),
                refusals=(),
            ),
            Method(
                "redeliver",
                Permission.WEBHOOKS,
                self._redeliver,
                rows=(DeliveryObject,),
                acts=True,
                optional=_WHICH,
                refusals=(Code.MISSING_PARAMETER, Code.DELIVERY_UNKNOWN),
            ),
        )
