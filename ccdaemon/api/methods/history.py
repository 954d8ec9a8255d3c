"""The methods that tell what happened to calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.long_poll import Waiters
from ccdaemon.api.methods.chains import chain_asked_for
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.schema import (
    CallWithRecords,
    CallWithStates,
    RecordObject,
    StateObject,
    call_with_records,
    call_with_states,
    record_object,
    state_object,
)
from ccdaemon.store.history import History
from ccdaemon.store.records import Chain, StateRow

#: Seconds within which one more look is begun where the filter leaves out what is found: so long,
#: and the history's ``DEADLINE``, may an answer take.
LONGEST_SEARCH = 2.0

_OF_AN_ORDER = (p.FROM, p.TO, p.SIP, p.PHONE, p.DIRECTION, p.RESULT)


class HistoryMethods:
    """Tells of calls, recordings and orders."""

    def __init__(self, history: History, waiters: Waiters, clock: IReactorTime) -> None:
        self._history = history
        self._waiters = waiters
        self._clock = clock

    async def _record_list(self, values: Values, request: ApiRequest) -> Answer:
        """List recordings, newest first."""
        page, per_page = p.paging_of(values)
        found = await self._history.records_page(page, per_page, p.filter_of(values))
        data = [record_object(row.record, row.call, request.base_url) for row in found.rows]
        return Answer({**p.paging(page, per_page, found.total), "data": data})

    async def _order_records(self, values: Values, request: ApiRequest) -> Answer:
        """List an order's calls with their recordings, newest first."""
        chains = await self._order_chains(values)
        return Answer([call_with_records(chain, request.base_url) for chain in reversed(chains)])

    async def _order_history(self, values: Values, request: ApiRequest) -> Answer:
        """List an order's states, oldest first, call by call if so asked."""
        filter = p.filter_of(values)
        if values[p.GROUP_BY_CALL]:
            return Answer([call_with_states(chain) for chain in await self._order_chains(values)])
        # The rows are states here: what restricts them is put to each, not to its call.
        filter = replace(filter, order_id=None)
        rows = await self._history.order_states(values[p.ORDER_ID], filter)
        return Answer([state_object(row) for row in rows])

    async def _order_chains(self, values: Values) -> Sequence[Chain]:
        chains = await self._history.order_chains(values[p.ORDER_ID], p.filter_of(values))
        return sorted(chains, key=lambda chain: (chain.call.date, chain.call.call_id))

    async def _call_history(self, values: Values, request: ApiRequest) -> Answer:
        """Tell one call's chain; or what came after a cursor; or all states, newest first."""
        if values.get(p.CALL_ID) is not None or values.get(p.EXTERNAL_KEY) is not None:
            return Answer([call_with_states(await chain_asked_for(self._history, values))])
        if values.get(p.AFTER) is not None:
            _refuse_result(values)
            return await self._told_after(values, request)
        page, per_page = p.paging_of(values)
        found = await self._history.states_page(page, per_page, p.filter_of(values))
        rows = [state_object(row) for row in found.rows]
        return Answer(rows, p.paging(page, per_page, found.total))

    async def _told_after(self, values: Values, request: ApiRequest) -> Answer:
        filter, limit, cursor = p.filter_of(values), values[p.LIMIT], values[p.AFTER]
        began = self._clock.seconds()
        until, search_until = began + values[p.WAIT], began + LONGEST_SEARCH
        while True:
            # Asked for before the look, so that nothing can happen unseen between the two.
            changed = self._history.changed()
            try:
                rows, reached = await self._history.states_after(cursor, limit, filter)
            except BaseException:
                _forget(changed)
                raise
            is_searching, cursor = reached != cursor, reached
            now = self._clock.seconds()
            if not rows and not request.gone.called:
                if is_searching and now < max(until, search_until):
                    # All that was looked through was left out by the filter: there may be more.
                    _forget(changed)
                    continue
                if now < until and self._waiters.may_wait(request.client):
                    await self._waiters.wait(request.client, changed, until - now, request.gone)
                    continue
            _forget(changed)
            return self._told(rows, cursor, crowded=now < until and not rows)

    def _told(self, rows: Sequence[StateRow], cursor: str, crowded: bool) -> Answer:
        states = [state_object(row) for row in rows]
        # Who was not allowed to wait is asked not to come back at once.
        return Answer(states, {"next": cursor}, retry_after=1 if crowded else None)

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "recordList",
                Permission.READ,
                self._record_list,
                rows=(RecordObject,),
                data=True,
                optional=(*p.PAGING, *p.FILTER, p.RESULT),
            ),
            Method(
                "orderRecords",
                Permission.READ,
                self._order_records,
                rows=(CallWithRecords,),
                required=(p.ORDER_ID,),
                optional=_OF_AN_ORDER,
            ),
            Method(
                "orderHistory",
                Permission.READ,
                self._order_history,
                rows=(StateObject, CallWithStates),
                required=(p.ORDER_ID,),
                optional=(p.GROUP_BY_CALL, *_OF_AN_ORDER),
            ),
            Method(
                "callHistory",
                Permission.READ,
                self._call_history,
                rows=(StateObject, CallWithStates),
                optional=(
                    *(p.CALL_ID, p.EXTERNAL_KEY, p.AFTER, p.LIMIT, p.WAIT, p.RESULT),
                    *(*p.PAGING, *p.FILTER),
                ),
                refusals=(Code.HISTORY_UNAVAILABLE, Code.CALL_UNKNOWN),
            ),
        )


def _refuse_result(values: Values) -> None:
    if values.get(p.RESULT) is not None:
        raise Refused(
            Code.BAD_PARAMETER,
            "result restricts pages; what is told after a cursor was told before the result was",
            field=p.RESULT.name,
        )


def _forget(changed: Deferred[None]) -> None:
    changed.addErrback(lambda _: None)
    changed.cancel()
