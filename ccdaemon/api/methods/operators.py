"""The methods that tell of operators."""

from __future__ import annotations

from collections.abc import Sequence

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, not_ready
from ccdaemon.schema import (
    OperatorChangeObject,
    OperatorObject,
    operator_change_object,
    operator_object,
)
from ccdaemon.store.history import History
from ccdaemon.tracking.presence import Presence


class OperatorMethods:
    """Tells how operators stand, and stood."""

    def __init__(self, presence: Presence, history: History) -> None:
        self._presence = presence
        self._history = history

    async def _sip_list(self, values: Values, request: ApiRequest) -> Answer:
        """List the operators as they stand now."""
        if not self._presence.are_known:
            raise not_ready("Asterisk has not been asked for its operators yet")
        page, per_page = p.paging_of(values)
        sip, statuses = values.get(p.SIP), values.get(p.STATUS)
        found = [
            operator
            for operator in self._presence.operators()
            if sip in (None, operator.sip) and (statuses is None or operator.status in statuses)
        ]
        shown = found[(page - 1) * per_page : page * per_page]
        data = [operator_object(operator) for operator in shown]
        return Answer({**p.paging(page, per_page, len(found)), "data": data})

    async def _operator_history(self, values: Values, request: ApiRequest) -> Answer:
        """List the operators' log, newest first."""
        page, per_page = p.paging_of(values)
        found = await self._history.operator_page(page, per_page, p.filter_of(values))
        rows = [operator_change_object(row) for row in found.rows]
        return Answer(rows, p.paging(page, per_page, found.total))

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "sipList",
                Permission.READ,
                self._sip_list,
                rows=(OperatorObject,),
                data=True,
                optional=(p.STATUS, p.SIP, *p.PAGING),
                refusals=(Code.NOT_READY,),
            ),
            Method(
                "operatorHistory",
                Permission.READ,
                self._operator_history,
                rows=(OperatorChangeObject,),
                optional=(p.SIP, *p.PAGING, p.FROM, p.TO),
            ),
        )
