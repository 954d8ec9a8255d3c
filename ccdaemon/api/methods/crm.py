"""The methods about what a CRM enters and asks for around the calls themselves: all that is known
of one, those that were missed, orders and results, and operators' pauses.

What is kept, and when it is refused, the use cases know.
"""

from __future__ import annotations

from collections.abc import Sequence

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.chains import chain_asked_for
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.retention import Retention
from ccdaemon.schema import (
    ActionObject,
    Forgotten,
    KnownCall,
    MissedCall,
    OperatorObject,
    action_object,
    known_call,
    missed_call,
    operator_object,
)
from ccdaemon.store.history import History
from ccdaemon.store.records import Filter
from ccdaemon.switchboard.annotations import Annotations
from ccdaemon.tracking.operator_pauses import OperatorPauses

_OF_CALL = (Code.CALL_UNKNOWN, Code.NOT_READY, Code.HISTORY_UNAVAILABLE)
_OF_OPERATOR = (Code.OPERATOR_UNKNOWN, Code.ASTERISK_UNAVAILABLE, Code.NOT_READY)


class CrmMethods:
    """Keeps what a CRM enters, and tells it."""

    def __init__(
        self, entries: Annotations, pauses: OperatorPauses, retention: Retention, history: History
    ) -> None:
        self._entries = entries
        self._pauses = pauses
        self._retention = retention
        self._history = history

    async def _call(self, values: Values, request: ApiRequest) -> Answer:
        """Tell everything that is known of a call, live or past."""
        if values.get(p.CALL_ID) is None and values.get(p.EXTERNAL_KEY) is None:
            raise Refused(
                Code.MISSING_PARAMETER, "call_id or external_key has to say which", field="call_id"
            )
        return Answer(known_call(await chain_asked_for(self._history, values), request.base_url))

    async def _missed_calls(self, values: Values, request: ApiRequest) -> Answer:
        """List inbound calls that nobody took, newest first."""
        page, per_page = p.paging_of(values)
        filter = Filter(
            from_ms=values.get(p.FROM),
            to_ms=values.get(p.TO),
            sip=values.get(p.SIP),
            phone=p.phone_of(values),
            order_id=values.get(p.ORDER_ID),
            result=values.get(p.RESULT),
            did=values.get(p.DID),
            open=values[p.OPEN],
        )
        found = await self._history.missed_page(page, per_page, filter)
        data = [missed_call(row) for row in found.rows]
        return Answer({**p.paging(page, per_page, found.total), "data": data})

    async def _claim_missed(self, values: Values, request: ApiRequest) -> Answer:
        """Give a missed call to an operator for some minutes, so that nobody else calls back."""
        claimed = await self._entries.claim_missed(
            call_id=values[p.CALL_ID],
            sip=values[p.SIP],
            minutes=values[p.MINUTES],
            client=request.client,
        )
        return Answer(missed_call(claimed))

    async def _attach_order(self, values: Values, request: ApiRequest) -> Answer:
        """Put a call, with all that was told of it, under an order."""
        await self._entries.attach_order(
            call_id=values[p.CALL_ID],
            order_id=values[p.ORDER_ID],
            replace=values[p.REPLACE],
            client=request.client,
        )
        return Answer(known_call(await chain_asked_for(self._history, values), request.base_url))

    async def _set_result(self, values: Values, request: ApiRequest) -> Answer:
        """Say what came of a call."""
        await self._entries.set_result(
            call_id=values[p.CALL_ID],
            result=values[p.RESULT],
            note=values.get(p.NOTE),
            client=request.client,
        )
        return Answer(known_call(await chain_asked_for(self._history, values), request.base_url))

    async def _pause_operator(self, values: Values, request: ApiRequest) -> Answer:
        """Keep clients' calls from an operator until they are resumed."""
        paused = await self._pauses.pause(
            sip=values[p.SIP], reason=values.get(p.REASON), client=request.client
        )
        return Answer(operator_object(paused))

    async def _resume_operator(self, values: Values, request: ApiRequest) -> Answer:
        """Let clients' calls reach an operator again."""
        resumed = await self._pauses.resume(sip=values[p.SIP], client=request.client)
        return Answer(operator_object(resumed))

    async def _forget_order(self, values: Values, request: ApiRequest) -> Answer:
        """Remove an order's calls with their recordings."""
        removed = await self._retention.forget_order(values[p.ORDER_ID], request.client)
        return Answer(Forgotten(removed.calls, removed.recordings))

    async def _forget_phone(self, values: Values, request: ApiRequest) -> Answer:
        """Remove a client's calls with their recordings, however the number was spelled."""
        removed = await self._retention.forget_phone(values[p.PHONE], request.client)
        return Answer(Forgotten(removed.calls, removed.recordings))

    async def _listen_log(self, values: Values, request: ApiRequest) -> Answer:
        """List who listened to calls and to recordings, newest first."""
        page, per_page = p.paging_of(values)
        found = await self._history.listened_page(page, per_page, p.filter_of(values))
        data = [action_object(row) for row in found.rows]
        return Answer({**p.paging(page, per_page, found.total), "data": data})

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "call",
                Permission.READ,
                self._call,
                rows=(),
                answers=KnownCall,
                optional=(p.CALL_ID, p.EXTERNAL_KEY),
                refusals=(Code.MISSING_PARAMETER, Code.CALL_UNKNOWN, Code.HISTORY_UNAVAILABLE),
            ),
            Method(
                "missedCalls",
                Permission.READ,
                self._missed_calls,
                rows=(MissedCall,),
                data=True,
                optional=(
                    *(p.OPEN, p.DID, p.PHONE, p.SIP, p.ORDER_ID, p.RESULT),
                    *(p.FROM, p.TO, *p.PAGING),
                ),
            ),
            Method(
                "claimMissed",
                Permission.CALL,
                self._claim_missed,
                rows=(),
                answers=MissedCall,
                acts=True,
                required=(p.CALL_ID, p.SIP),
                optional=(p.MINUTES,),
                refusals=(*_OF_CALL, Code.WRONG_STATE, Code.TOO_MANY_ACTIONS),
            ),
            Method(
                "attachOrder",
                Permission.ATTACH,
                self._attach_order,
                rows=(),
                answers=KnownCall,
                acts=True,
                required=(p.CALL_ID, p.ORDER_ID),
                optional=(p.REPLACE,),
                refusals=(*_OF_CALL, Code.WRONG_STATE, Code.TOO_MANY_ACTIONS),
            ),
            Method(
                "setResult",
                Permission.RESULT,
                self._set_result,
                rows=(),
                answers=KnownCall,
                acts=True,
                required=(p.CALL_ID, p.RESULT),
                optional=(p.NOTE,),
                refusals=(*_OF_CALL, Code.TOO_MANY_ACTIONS),
            ),
            Method(
                "pauseOperator",
                Permission.PAUSE,
                self._pause_operator,
                rows=(),
                answers=OperatorObject,
                acts=True,
                required=(p.SIP,),
                optional=(p.REASON,),
                refusals=_OF_OPERATOR,
            ),
            Method(
                "forgetOrder",
                Permission.FORGET,
                self._forget_order,
                rows=(),
                answers=Forgotten,
                acts=True,
                required=(p.ORDER_ID,),
                refusals=(Code.WRONG_STATE, Code.NOT_READY, Code.HISTORY_UNAVAILABLE),
            ),
            Method(
                "forgetPhone",
                Permission.FORGET,
                self._forget_phone,
                rows=(),
                answers=Forgotten,
                acts=True,
                required=(p.PHONE,),
                refusals=(Code.WRONG_STATE, Code.NOT_READY, Code.HISTORY_UNAVAILABLE),
            ),
            Method(
                "listenLog",
                Permission.AUDIT,
                self._listen_log,
                rows=(ActionObject,),
                data=True,
                optional=(p.CALL_ID, p.SIP, p.FROM, p.TO, *p.PAGING),
            ),
            Method(
                "resumeOperator",
                Permission.PAUSE,
                self._resume_operator,
                rows=(),
                answers=OperatorObject,
                acts=True,
                required=(p.SIP,),
                refusals=_OF_OPERATOR,
            ),
        )
