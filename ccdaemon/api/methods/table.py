"""The methods of the API: one table, and what each of them does.

Knows parameters, objects and the ports; neither HTTP nor the spelling of answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.interfaces import (
    ControlsCalls,
    Delivers,
    EntersOnCalls,
    ForgetsOrders,
    KnowsOperators,
    MakesCalls,
    PausesOperators,
    ReadsHistory,
)
from ccdaemon.api.long_poll import Waiters
from ccdaemon.api.methods.control import CONTROLLING
from ccdaemon.api.methods.crm import ENTERING
from ccdaemon.api.methods.health import HEALTH, Watches
from ccdaemon.api.methods.links import LINKING
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.methods.webhooks import DELIVERING
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.api.signed_urls import Links
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused, not_ready
from ccdaemon.schema import (
    CallWithRecords,
    CallWithStates,
    OperatorChangeObject,
    OperatorObject,
    RecordObject,
    StateObject,
    call_with_records,
    call_with_states,
    known_call,
    operator_change_object,
    operator_object,
    record_object,
    state_object,
)
from ccdaemon.store.records import Chain, StateRow
from ccdaemon.switchboard.call_options import CallOptions

#: Seconds within which one more look is begun where the filter leaves out what is found: so long,
#: and the history's ``DEADLINE``, may an answer take.
LONGEST_SEARCH = 2.0


class Methods:
    """What the methods do; each takes checked values and answers, or raises ``Refused``."""

    def __init__(
        self,
        calls: MakesCalls,
        operators: KnowsOperators,
        history: ReadsHistory,
        waiters: Waiters,
        clock: IReactorTime,
        wall: WallClock,
        control: ControlsCalls,
        webhooks: Delivers,
        entries: EntersOnCalls,
        pauses: PausesOperators,
        retention: ForgetsOrders,
        watch: Watches,
        links: Links,
    ) -> None:
        self.watch = watch
        self.control = control
        self.links = links
        self.wall = wall
        self.webhooks = webhooks
        self.entries = entries
        self.pauses = pauses
        self.retention = retention
        self._calls = calls
        self._operators = operators
        self.history = history
        self._waiters = waiters
        self._clock = clock

    async def make_call(self, values: Values, request: ApiRequest) -> Answer:
        """Connect an operator with a client."""
        call_id = await self._calls.make_call(
            sip=values[p.SIP],
            phone=values[p.PHONE],
            order_id=values[p.ORDER_ID],
            external_key=values[p.EXTERNAL_KEY],
            client=request.client,
            options=CallOptions(
                caller_id=values.get(p.CALLER_ID),
                operator_timeout=values.get(p.OPERATOR_TIMEOUT),
                client_timeout=values.get(p.CLIENT_TIMEOUT),
                max_duration=values.get(p.MAX_DURATION),
                auto_answer=values[p.AUTO_ANSWER],
                record=values[p.RECORD],
                note=values.get(p.NOTE),
            ),
        )
        return Answer({"call_id": call_id})

    async def as_it_is(self, call_id: int, request: ApiRequest) -> Answer:
        """Answer with a call as it stands now."""
        chain = await self.history.call(call_id)
        if chain is None:
            raise Refused(Code.CALL_UNKNOWN, "there is no such call")
        return Answer(known_call(chain, request.base_url))

    async def record_list(self, values: Values, request: ApiRequest) -> Answer:
        """List recordings, newest first."""
        page, per_page = p.paging_of(values)
        found = await self.history.records_page(page, per_page, p.filter_of(values))
        data = [record_object(row.record, row.call, request.base_url) for row in found.rows]
        return Answer({**p.paging(page, per_page, found.total), "data": data})

    async def order_records(self, values: Values, request: ApiRequest) -> Answer:
        """List an order's calls with their recordings, newest first."""
        chains = await self._order_chains(values)
        return Answer([call_with_records(chain, request.base_url) for chain in reversed(chains)])

    async def order_history(self, values: Values, request: ApiRequest) -> Answer:
        """List an order's states, oldest first, call by call if so asked."""
        filter = p.filter_of(values)
        if values[p.GROUP_BY_CALL]:
            return Answer([call_with_states(chain) for chain in await self._order_chains(values)])
        # The rows are states here: what restricts them is put to each, not to its call.
        filter = replace(filter, order_id=None)
        rows = await self.history.order_states(values[p.ORDER_ID], filter)
        return Answer([state_object(row) for row in rows])

    async def _order_chains(self, values: Values) -> Sequence[Chain]:
        chains = await self.history.order_chains(values[p.ORDER_ID], p.filter_of(values))
        return sorted(chains, key=lambda chain: (chain.call.date, chain.call.call_id))

    async def call_history(self, values: Values, request: ApiRequest) -> Answer:
        """Tell one call's chain; or what came after a cursor; or all states, newest first."""
        if values.get(p.CALL_ID) is not None or values.get(p.EXTERNAL_KEY) is not None:
            return Answer([call_with_states(await self.chain(values))])
        if values.get(p.AFTER) is not None:
            _refuse_result(values)
            return await self._told_after(values, request)
        page, per_page = p.paging_of(values)
        found = await self.history.states_page(page, per_page, p.filter_of(values))
        rows = [state_object(row) for row in found.rows]
        return Answer(rows, p.paging(page, per_page, found.total))

    async def chain(self, values: Values) -> Chain:
        """Find the call that is asked for by its number or its key.

        :raises Refused: with ``call_unknown``.
        """
        call_id, external_key = values.get(p.CALL_ID), values.get(p.EXTERNAL_KEY)
        if call_id is not None:
            chain = await self.history.call(call_id)
        else:
            chain = await self.history.by_key(values[p.EXTERNAL_KEY])
        if chain is None or external_key not in (None, chain.call.external_key):
            raise Refused(Code.CALL_UNKNOWN, "there is no such call")
        return chain

    async def _told_after(self, values: Values, request: ApiRequest) -> Answer:
        filter, limit, cursor = p.filter_of(values), values[p.LIMIT], values[p.AFTER]
        began = self._clock.seconds()
        until, search_until = began + values[p.WAIT], began + LONGEST_SEARCH
        while True:
            # Asked for before the look, so that nothing can happen unseen between the two.
            changed = self.history.changed()
            try:
                rows, reached = await self.history.states_after(cursor, limit, filter)
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
            return self._states(rows, cursor, crowded=now < until and not rows)

    def _states(self, rows: Sequence[StateRow], cursor: str, crowded: bool) -> Answer:
        states = [state_object(row) for row in rows]
        # Who was not allowed to wait is asked not to come back at once.
        return Answer(states, {"next": cursor}, retry_after=1 if crowded else None)

    async def sip_list(self, values: Values, request: ApiRequest) -> Answer:
        """List the operators as they stand now."""
        if not self._operators.are_known:
            raise not_ready("Asterisk has not been asked for its operators yet")
        page, per_page = p.paging_of(values)
        sip, statuses = values.get(p.SIP), values.get(p.STATUS)
        found = [
            operator
            for operator in self._operators.operators()
            if sip in (None, operator.sip) and (statuses is None or operator.status in statuses)
        ]
        shown = found[(page - 1) * per_page : page * per_page]
        data = [operator_object(operator) for operator in shown]
        return Answer({**p.paging(page, per_page, len(found)), "data": data})

    async def operator_history(self, values: Values, request: ApiRequest) -> Answer:
        """List the operators' log, newest first."""
        page, per_page = p.paging_of(values)
        found = await self.history.operator_page(page, per_page, p.filter_of(values))
        rows = [operator_change_object(row) for row in found.rows]
        return Answer(rows, p.paging(page, per_page, found.total))


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


_OF_AN_ORDER = (p.FROM, p.TO, p.SIP, p.PHONE, p.DIRECTION, p.RESULT)

METHODS: Sequence[Method] = (
    Method(
        "makeCall",
        Permission.CALL,
        Methods.make_call,
        rows=(),
        acts=True,
        required=(p.SIP, p.PHONE, p.ORDER_ID, p.EXTERNAL_KEY),
        optional=(
            p.CALLER_ID,
            p.OPERATOR_TIMEOUT,
            p.CLIENT_TIMEOUT,
            p.MAX_DURATION,
            p.AUTO_ANSWER,
            p.RECORD,
            p.NOTE,
        ),
        refusals=(
            Code.PHONE_NOT_ALLOWED,
            Code.OPERATOR_UNKNOWN,
            Code.OPERATOR_OFFLINE,
            Code.OPERATOR_BUSY,
            Code.EXTERNAL_KEY_USED,
            Code.TOO_MANY_CALLS,
            Code.ASTERISK_UNAVAILABLE,
            Code.ASTERISK_REFUSED,
            Code.NOT_READY,
        ),
    ),
    Method(
        "recordList",
        Permission.READ,
        Methods.record_list,
        rows=(RecordObject,),
        data=True,
        optional=(*p.PAGING, *p.FILTER, p.RESULT),
    ),
    Method(
        "orderRecords",
        Permission.READ,
        Methods.order_records,
        rows=(CallWithRecords,),
        required=(p.ORDER_ID,),
        optional=_OF_AN_ORDER,
    ),
    Method(
        "orderHistory",
        Permission.READ,
        Methods.order_history,
        rows=(StateObject, CallWithStates),
        required=(p.ORDER_ID,),
        optional=(p.GROUP_BY_CALL, *_OF_AN_ORDER),
    ),
    Method(
        "callHistory",
        Permission.READ,
        Methods.call_history,
        rows=(StateObject, CallWithStates),
        optional=(
            *(p.CALL_ID, p.EXTERNAL_KEY, p.AFTER, p.LIMIT, p.WAIT, p.RESULT),
            *(*p.PAGING, *p.FILTER),
        ),
        refusals=(Code.HISTORY_UNAVAILABLE, Code.CALL_UNKNOWN),
    ),
    Method(
        "sipList",
        Permission.READ,
        Methods.sip_list,
        rows=(OperatorObject,),
        data=True,
        optional=(p.STATUS, p.SIP, *p.PAGING),
        refusals=(Code.NOT_READY,),
    ),
    Method(
        "operatorHistory",
        Permission.READ,
        Methods.operator_history,
        rows=(OperatorChangeObject,),
        optional=(p.SIP, *p.PAGING, p.FROM, p.TO),
    ),
    *CONTROLLING,
    *LINKING,
    *DELIVERING,
    *ENTERING,
    HEALTH,
)

#: The headings of the customer's brief that differ from the methods' names by more than case.
ALIASES: Mapping[str, str] = {"RecordsList": "recordList"}


def _by_name() -> Mapping[str, Method]:
    methods = {method.name.lower(): method for method in METHODS}
    return methods | {alias.lower(): methods[name.lower()] for alias, name in ALIASES.items()}


#: Every method by its name, and by its alias, in lower case.
BY_NAME: Mapping[str, Method] = _by_name()
