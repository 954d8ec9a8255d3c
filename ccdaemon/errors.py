"""What can be refused, in the words of the trade.

This module knows no HTTP: ``api.errors`` has the table from a code to a status.
"""

from __future__ import annotations

from enum import Enum


class Code(str, Enum):
    """Every reason for which a request can be refused; the value is what a CRM reads."""

    MISSING_PARAMETER = "missing_parameter"
    BAD_PARAMETER = "bad_parameter"
    TOO_DEEP = "too_deep"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    PHONE_NOT_ALLOWED = "phone_not_allowed"
    UNKNOWN_METHOD = "unknown_method"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    OPERATOR_UNKNOWN = "operator_unknown"
    OPERATOR_OFFLINE = "operator_offline"
    OPERATOR_BUSY = "operator_busy"
    EXTERNAL_KEY_USED = "external_key_used"
    CALL_UNKNOWN = "call_unknown"
    RECORD_UNKNOWN = "record_unknown"
    BAD_RANGE = "bad_range"
    TOO_MANY_CALLS = "too_many_calls"
    ASTERISK_UNAVAILABLE = "asterisk_unavailable"
    ASTERISK_REFUSED = "asterisk_refused"
    HISTORY_UNAVAILABLE = "history_unavailable"
    NOT_READY = "not_ready"
    INTERNAL = "internal_error"


class Refused(Exception):
    """A request that cannot be carried out.

    :param code: why, for programs.
    :param message: why and what to do about it, for people; never holds a secret.
    :param field: the parameter at fault, if one is.
    :param call_id: the call that stands for the attempt, or the call that is in the way.
    :param retry_after: whole seconds after which the same request may succeed.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        field: str | None = None,
        call_id: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.call_id = call_id
        self.retry_after = retry_after
