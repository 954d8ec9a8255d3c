"""The methods that act on a live call: what they take, who may ask, and what they answer.

What is done, and when it is refused, the use cases of ``ccdaemon.switchboard.call_control`` know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.chains import chain_of_call
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.schema import KnownCall, known_call
from ccdaemon.store.history import History
from ccdaemon.switchboard.call_control import CallControl

Run = Callable[[Values, ApiRequest], Awaitable[Answer]]


_ALWAYS = (
    Code.CALL_UNKNOWN,
    Code.WRONG_STATE,
    Code.TOO_MANY_ACTIONS,
    Code.ASTERISK_UNAVAILABLE,
    Code.ASTERISK_REFUSED,
    Code.NOT_READY,
    Code.HISTORY_UNAVAILABLE,
)
_OPERATOR = (Code.OPERATOR_UNKNOWN, Code.OPERATOR_OFFLINE, Code.OPERATOR_BUSY)


def _method(
    name: str,
    permission: Permission,
    run: Run,
    *more: Parameter[Any],
    optional: Sequence[Parameter[Any]] = (),
    refusals: Sequence[Code] = (),
) -> Method:
    return Method(
        name,
        permission,
        run,
        rows=(),
        answers=KnownCall,
        acts=True,
        required=(p.CALL_ID, *more),
        optional=optional,
        refusals=(*_ALWAYS, *refusals),
    )


class ControlMethods:
    """Acts on live calls."""

    def __init__(self, control: CallControl, history: History) -> None:
        self._control = control
        self._history = history

    async def _hangup(self, values: Values, request: ApiRequest) -> Answer:
        """End a call in any phase, also while a phone rings."""
        await self._control.hangup(values[p.CALL_ID], request.client)
        return await self._as_it_is(values, request)

    async def _transfer(self, values: Values, request: ApiRequest) -> Answer:
        """Send the client to another operator or to a phone outside."""
        sip, phone = values.get(p.SIP), values.get(p.PHONE)
        if (sip is None) == (phone is None):
            code = Code.MISSING_PARAMETER if sip is None else Code.BAD_PARAMETER
            raise Refused(code, "one of sip and phone says where to, not both", field=p.SIP.name)
        await self._control.transfer(values[p.CALL_ID], sip, phone, values[p.MODE], request.client)
        return await self._as_it_is(values, request)

    async def _transfer_complete(self, values: Values, request: ApiRequest) -> Answer:
        """Let the client talk with whom their operator has spoken to first."""
        await self._control.transfer_complete(values[p.CALL_ID], request.client)
        return await self._as_it_is(values, request)

    async def _transfer_cancel(self, values: Values, request: ApiRequest) -> Answer:
        """Bring the operator back to the client."""
        await self._control.transfer_cancel(values[p.CALL_ID], request.client)
        return await self._as_it_is(values, request)

    async def _hold(self, values: Values, request: ApiRequest) -> Answer:
        """Let the client hear music; the operator may hang up meanwhile."""
        await self._control.hold(values[p.CALL_ID], request.client)
        return await self._as_it_is(values, request)

    async def _unhold(self, values: Values, request: ApiRequest) -> Answer:
        """Bring client and operator together again; an operator who has gone is rung."""
        await self._control.unhold(values[p.CALL_ID], request.client)
        return await self._as_it_is(values, request)

    async def _mute(self, values: Values, request: ApiRequest) -> Answer:
        """Let nobody hear what one party says."""
        await self._control.mute(values[p.CALL_ID], values[p.WHO], on=True, client=request.client)
        return await self._as_it_is(values, request)

    async def _unmute(self, values: Values, request: ApiRequest) -> Answer:
        """Let a party be heard again."""
        await self._control.mute(values[p.CALL_ID], values[p.WHO], on=False, client=request.client)
        return await self._as_it_is(values, request)

    async def _listen(self, values: Values, request: ApiRequest) -> Answer:
        """Ring a supervisor, who hears both and is heard by nobody."""
        return await self._spy(values, request, "listen")

    async def _whisper(self, values: Values, request: ApiRequest) -> Answer:
        """Ring a supervisor, who hears both and is heard by the operator."""
        return await self._spy(values, request, "whisper")

    async def _barge(self, values: Values, request: ApiRequest) -> Answer:
        """Ring a supervisor, who hears both and is heard by both."""
        return await self._spy(values, request, "barge")

    async def _spy(self, values: Values, request: ApiRequest, method: str) -> Answer:
        await self._control.spy(values[p.CALL_ID], values[p.SIP], method, request.client)
        return await self._as_it_is(values, request)

    async def _record_pause(self, values: Values, request: ApiRequest) -> Answer:
        """Have silence recorded from now on."""
        await self._control.pause_recording(values[p.CALL_ID], on=True, client=request.client)
        return await self._as_it_is(values, request)

    async def _record_resume(self, values: Values, request: ApiRequest) -> Answer:
        """Have what is said recorded again."""
        await self._control.pause_recording(values[p.CALL_ID], on=False, client=request.client)
        return await self._as_it_is(values, request)

    async def _as_it_is(self, values: Values, request: ApiRequest) -> Answer:
        chain = await chain_of_call(self._history, values[p.CALL_ID])
        return Answer(known_call(chain, request.base_url))

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            _method("hangup", Permission.HANGUP, self._hangup),
            _method(
                "transfer",
                Permission.TRANSFER,
                self._transfer,
                optional=(p.SIP, p.PHONE, p.MODE),
                refusals=(*_OPERATOR, Code.PHONE_NOT_ALLOWED),
            ),
            _method("transferComplete", Permission.TRANSFER, self._transfer_complete),
            _method("transferCancel", Permission.TRANSFER, self._transfer_cancel),
            _method("hold", Permission.HOLD, self._hold),
            _method("unhold", Permission.HOLD, self._unhold, refusals=_OPERATOR),
            _method("mute", Permission.MUTE, self._mute, p.WHO),
            _method("unmute", Permission.MUTE, self._unmute, p.WHO),
            _method("listen", Permission.LISTEN, self._listen, p.SIP, refusals=_OPERATOR),
            _method("whisper", Permission.WHISPER, self._whisper, p.SIP, refusals=_OPERATOR),
            _method("barge", Permission.BARGE, self._barge, p.SIP, refusals=_OPERATOR),
            _method("recordPause", Permission.RECORD, self._record_pause),
            _method("recordResume", Permission.RECORD, self._record_resume),
        )
