"""The methods that act on a live call: what they take, who may ask, and what they answer.

What is done, and when it is refused, the use cases of ``ccdaemon.switchboard.call_control`` know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.interfaces import ControlsCalls
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.schema import KnownCall

Run = Callable[["Controlling", Values, ApiRequest], Awaitable[Answer]]


class Controlling(Protocol):
    """What these methods need of the others."""

    control: ControlsCalls

    async def as_it_is(self, call_id: int, request: ApiRequest) -> Answer:
        """Answer with a call as it stands now."""
        ...


async def _hangup(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """End a call in any phase, also while a phone rings."""
    await methods.control.hangup(values[p.CALL_ID], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _transfer(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Send the client to another operator or to a phone outside."""
    sip, phone = values.get(p.SIP), values.get(p.PHONE)
    if (sip is None) == (phone is None):
        code = Code.MISSING_PARAMETER if sip is None else Code.BAD_PARAMETER
        raise Refused(code, "one of sip and phone says where to, not both", field=p.SIP.name)
    await methods.control.transfer(values[p.CALL_ID], sip, phone, values[p.MODE], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _transfer_complete(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Let the client talk with whom their operator has spoken to first."""
    await methods.control.transfer_complete(values[p.CALL_ID], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _transfer_cancel(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Bring the operator back to the client."""
    await methods.control.transfer_cancel(values[p.CALL_ID], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _hold(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Let the client hear music; the operator may hang up meanwhile."""
    await methods.control.hold(values[p.CALL_ID], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _unhold(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Bring client and operator together again; an operator who has gone is rung."""
    await methods.control.unhold(values[p.CALL_ID], request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _mute(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Let nobody hear what one party says."""
    await methods.control.mute(values[p.CALL_ID], values[p.WHO], on=True, client=request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _unmute(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Let a party be heard again."""
    await methods.control.mute(values[p.CALL_ID], values[p.WHO], on=False, client=request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _listen(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Ring a supervisor, who hears both and is heard by nobody."""
    return await _spy(methods, values, request, "listen")


async def _whisper(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Ring a supervisor, who hears both and is heard by the operator."""
    return await _spy(methods, values, request, "whisper")


async def _barge(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Ring a supervisor, who hears both and is heard by both."""
    return await _spy(methods, values, request, "barge")


async def _spy(methods: Controlling, values: Values, request: ApiRequest, method: str) -> Answer:
    await methods.control.spy(values[p.CALL_ID], values[p.SIP], method, request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _record_pause(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Have silence recorded from now on."""
    await methods.control.pause_recording(values[p.CALL_ID], on=True, client=request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


async def _record_resume(methods: Controlling, values: Values, request: ApiRequest) -> Answer:
    """Have what is said recorded again."""
    await methods.control.pause_recording(values[p.CALL_ID], on=False, client=request.client)
    return await methods.as_it_is(values[p.CALL_ID], request)


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


CONTROLLING: Sequence[Method] = (
    _method("hangup", Permission.HANGUP, _hangup),
    _method(
        "transfer",
        Permission.TRANSFER,
        _transfer,
        optional=(p.SIP, p.PHONE, p.MODE),
        refusals=(*_OPERATOR, Code.PHONE_NOT_ALLOWED),
    ),
    _method("transferComplete", Permission.TRANSFER, _transfer_complete),
    _method("transferCancel", Permission.TRANSFER, _transfer_cancel),
    _method("hold", Permission.HOLD, _hold),
    _method("unhold", Permission.HOLD, _unhold, refusals=_OPERATOR),
    _method("mute", Permission.MUTE, _mute, p.WHO),
    _method("unmute", Permission.MUTE, _unmute, p.WHO),
    _method("listen", Permission.LISTEN, _listen, p.SIP, refusals=_OPERATOR),
    _method("whisper", Permission.WHISPER, _whisper, p.SIP, refusals=_OPERATOR),
    _method("barge", Permission.BARGE, _barge, p.SIP, refusals=_OPERATOR),
    _method("recordPause", Permission.RECORD, _record_pause),
    _method("recordResume", Permission.RECORD, _record_resume),
)
