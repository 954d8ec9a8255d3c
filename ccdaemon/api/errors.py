"""From what went wrong to what the client is told: one table, one funnel.

Pure but for the log of what nobody expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from secrets import token_hex

from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.errors import RETRY_AFTER, Code, Refused

#: The HTTP status of every code that can be refused with.
STATUS: Mapping[Code, int] = {
    Code.MISSING_PARAMETER: 400,
    Code.BAD_PARAMETER: 400,
    Code.TOO_DEEP: 400,
    Code.UNAUTHORIZED: 401,
    Code.FORBIDDEN: 403,
    Code.TOO_MANY_ATTEMPTS: 429,
    Code.PHONE_NOT_ALLOWED: 403,
    Code.DO_NOT_CALL: 403,
    Code.QUIET_HOURS: 429,
    Code.UNKNOWN_METHOD: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.BODY_TOO_LARGE: 413,
    Code.OPERATOR_UNKNOWN: 404,
    Code.OPERATOR_OFFLINE: 409,
    Code.OPERATOR_BUSY: 409,
    Code.EXTERNAL_KEY_USED: 409,
    Code.CALL_UNKNOWN: 404,
    Code.WRONG_STATE: 409,
    Code.TOO_MANY_ACTIONS: 409,
    Code.RECORD_UNKNOWN: 404,
    Code.LINK_UNKNOWN: 404,
    Code.DELIVERY_UNKNOWN: 404,
    Code.BAD_RANGE: 416,
    Code.TOO_MANY_CALLS: 429,
    Code.TOO_MANY_STREAMS: 429,
    Code.TOO_MANY_CONNECTIONS: 503,
    Code.ASTERISK_UNAVAILABLE: 503,
    Code.ASTERISK_REFUSED: 502,
    Code.HISTORY_UNAVAILABLE: 503,
    Code.NOT_READY: 503,
    Code.INTERNAL: 500,
}


#: The statuses by which somebody is refused for the moment.
COME_AGAIN = frozenset({429, 503})


def status_of(refused: Refused) -> int:
    """Give the HTTP status of a refusal."""
    return STATUS[refused.code]


def retry_after(refused: Refused) -> int | None:
    """Give the whole seconds after which to come again; no 429 and no 503 is without any."""
    if refused.retry_after is None and status_of(refused) in COME_AGAIN:
        return RETRY_AFTER
    return refused.retry_after


def error_object(refused: Refused) -> dict[str, object]:
    """Make the ``error`` object: ``field``, ``call_id``, ``state`` only where there is one."""
    error: dict[str, object] = {"code": refused.code.value, "message": refused.message}
    if refused.field is not None:
        error["field"] = refused.field
    if refused.call_id is not None:
        error["call_id"] = refused.call_id
    if refused.state is not None:
        error["state"] = refused.state
    return error


def as_refused(error: Exception, log: Logger) -> Refused:
    """Turn whatever was raised into a refusal.

    What is not a refusal already is logged, once and with its traceback, under an id; the client
    is told the id and nothing else.
    """
    if isinstance(error, Refused):
        return error
    log_id = token_hex(4)
    log.failure("Request failed, id {log_id}", Failure(error), log_id=log_id)
    return Refused(Code.INTERNAL, f"internal error; the daemon's log has it under id {log_id}")
