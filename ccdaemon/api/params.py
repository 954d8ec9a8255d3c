"""The parameters of the wire contract, declared once each."""

from __future__ import annotations

from ccdaemon.api.param_types import Flag, Moment, OneOf, Phone, Seconds, Sip, SomeOf, Text, Whole
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.calls.model import Direction
from ccdaemon.errors import Code, Refused
from ccdaemon.operators import Status
from ccdaemon.store.records import EventKind, Filter
from ccdaemon.switchboard.call_control import Mode, Party

#: How many rows of a list can be reached by pages.
DEEPEST = 100_000

_ID = Text(r"[ -~]{1,64}", "1 to 64 printable ASCII characters")

SIP = Parameter("sip", Sip(), "the operator's number")
PHONE = Parameter("phone", Phone(), "the client's number, as people write it")
ORDER_ID = Parameter("order_id", _ID, "the CRM's order")
EXTERNAL_KEY = Parameter("external_key", _ID, "the CRM's own key of the call, never used twice")
CALL_ID = Parameter("call_id", Whole(1, 2**31 - 1), "the call's number, as makeCall gave it")
PAGE = Parameter("page", Whole(1, None), "which page", 1)
PER_PAGE = Parameter("per_page", Whole(1, 1000), "rows of a page", 50)
LIMIT = Parameter("limit", Whole(1, 1000), "at most so many rows", 50)
AFTER = Parameter(
    "after",
    Text(r"[0-9A-Za-z.~_-]{1,2000}", "a cursor as it stood in next, or 0"),
    "what was told after this cursor, oldest first; 0: from the beginning",
)
WAIT = Parameter("wait", Seconds(60), "with after: hold the answer until there is something", 0.0)
FROM = Parameter("from", Moment(), "rows from this moment on")
TO = Parameter("to", Moment(), "rows up to this moment")
DIRECTION = Parameter("direction", OneOf(Direction), "who began the call")
GROUP_BY_CALL = Parameter("group_by_call", Flag(), "1: the states of each call together", False)
STATUS = Parameter(
    "status",
    SomeOf((Status.OFFLINE, Status.ONLINE, Status.INUSE, Status.PAUSED)),
    "only operators with one of these statuses",
)

TYPES = Parameter("types", SomeOf(tuple(EventKind)), "only what is of these types")

MODE = Parameter(
    "mode",
    OneOf(Mode),
    "blind: at once; attended: the operator speaks with whom he transfers to first",
    Mode.BLIND,
)
WHO = Parameter("who", OneOf(Party), "who is not to be heard")

_LINE = Text(
    r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]{1,64}", "a line of 1 to 64 characters"
)
RESULT = Parameter("result", _LINE, "what came of the call, in the CRM's words")
NOTE = Parameter(
    "note",
    Text(
        r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffd]{1,500}",
        "text of up to 500 characters",
    ),
    "words for people",
)
REASON = Parameter("reason", _LINE, "why the operator is paused")
REPLACE = Parameter("replace", Flag(), "1: also where the call has another order", False)
OPEN = Parameter("open", Flag(), "1: only those whom nobody has talked with since", False)
MINUTES = Parameter(
    "minutes", Whole(0, 1440), "for how long the operator has it; 0: they give it back", 15
)
DID = Parameter("did", _ID, "only calls to this number of ours")
CALLER_ID = Parameter(
    "caller_id",
    Text(r"\+?[0-9]{1,20}", "one of the numbers that clients may be shown"),
    "the number that the client sees, one of caller_ids in the configuration",
)
OPERATOR_TIMEOUT = Parameter(
    "operator_timeout", Whole(1, 600), "seconds that the operator's phone may ring"
)
CLIENT_TIMEOUT = Parameter("client_timeout", Whole(1, 600), "seconds that the client's may ring")
MAX_DURATION = Parameter("max_duration", Whole(1, 86_400), "seconds that the two may talk")
AUTO_ANSWER = Parameter("auto_answer", Flag(), "1: the operator's phone picks up by itself", False)
RECORD = Parameter("record", Flag(), "0: the talk is not recorded", True)

PAGING = (PAGE, PER_PAGE)
FILTER = (FROM, TO, SIP, PHONE, ORDER_ID, DIRECTION)


def paging(page: int, per_page: int, total: int) -> dict[str, object]:
    """Say which page it is, and of how many."""
    return {"page": page, "per_page": per_page, "total": total, "pages": -(-total // per_page)}


def phone_of(values: Values) -> str | None:
    """Give the form of the client's number."""
    number = values.get(PHONE)
    return None if number is None else number.form


def filter_of(values: Values) -> Filter:
    """Gather what restricts a list."""
    return Filter(
        from_ms=values.get(FROM),
        to_ms=values.get(TO),
        sip=values.get(SIP),
        phone=phone_of(values),
        order_id=values.get(ORDER_ID),
        direction=values.get(DIRECTION),
        result=values.get(RESULT),
        call_id=values.get(CALL_ID),
    )


def paging_of(values: Values) -> tuple[int, int]:
    """Give ``page`` and ``per_page``.

    :raises Refused: with ``too_deep`` if the page reaches beyond what pages can reach.
    """
    page, per_page = values[PAGE], values[PER_PAGE]
    if page * per_page > DEEPEST:
        raise Refused(
            Code.TOO_DEEP,
            f"pages reach {DEEPEST} rows deep; narrow the list with from= and to=,"
            " or read everything in turn with callHistory and after=",
            field=PAGE.name,
        )
    return page, per_page
