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
    TOO_MANY_ATTEMPTS = "too_many_attempts"
    PHONE_NOT_ALLOWED = "phone_not_allowed"
    DO_NOT_CALL = "do_not_call"
    QUIET_HOURS = "quiet_hours"
    UNKNOWN_METHOD = "unknown_method"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TOO_LARGE = "body_too_large"
    OPERATOR_UNKNOWN = "operator_unknown"
    OPERATOR_OFFLINE = "operator_offline"
    OPERATOR_BUSY = "operator_busy"
    EXTERNAL_KEY_USED = "external_key_used"
    CALL_UNKNOWN = "call_unknown"
    WRONG_STATE = "wrong_state"
    TOO_MANY_ACTIONS = "too_many_actions"
    RECORD_UNKNOWN = "record_unknown"
    LINK_UNKNOWN = "link_unknown"
    DELIVERY_UNKNOWN = "delivery_unknown"
    BAD_RANGE = "bad_range"
    TOO_MANY_CALLS = "too_many_calls"
    TOO_MANY_STREAMS = "too_many_streams"
    TOO_MANY_CONNECTIONS = "too_many_connections"
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
    :param state: where the call stands that cannot be had done what was asked.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        field: str | None = None,
        call_id: int | None = None,
        retry_after: int | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.call_id = call_id
        self.retry_after = retry_after
        self.state = state


#: Seconds after which somebody who was refused for the moment may try again.
RETRY_AFTER = 5


def not_ready(why: object) -> Refused:
    """Make the refusal of what cannot be kept, or done, just now."""
    return Refused(Code.NOT_READY, f"not ready: {why}", retry_after=RETRY_AFTER)


def no_session(words: str = "", *, call_id: int | None = None) -> Refused:
    """Make the refusal of what needs a session with Asterisk; ``words`` say what for."""
    return Refused(
        Code.ASTERISK_UNAVAILABLE,
        f"there is no session with Asterisk{words}; it is tried again all the time",
        call_id=call_id,
        retry_after=RETRY_AFTER,
    )


def history_away(why: object, doing: str = "read") -> Refused:
    """Make the refusal of what needs Postgres."""
    return Refused(
        Code.HISTORY_UNAVAILABLE,
        f"the history cannot be {doing} just now: {why}",
        retry_after=RETRY_AFTER,
    )


def operator_unknown(sip: str) -> Refused:
    """Make the refusal of an operator whom Asterisk does not have."""
    return Refused(
        Code.OPERATOR_UNKNOWN, f"Asterisk has no endpoint for operator {sip}", field="sip"
    )
