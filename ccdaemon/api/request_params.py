"""What a request brings: names and values out of the query string and the body.

Pure. A value is text or, from JSON, a number or a truth value spelled as text; what it means is
not known here. Text that is not UTF-8 keeps a replacement character, which no parameter allows.
Reading takes a time that grows with the size alone, whatever is sent: ``tests.api.test_dearest``
measures it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import parse_qsl

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from ccdaemon.errors import Code, Refused

#: Fields that a query string or a body may have; the method that takes most has 15.
MOST_FIELDS = 200
#: Objects and lists that a JSON body may hold, side by side or in one another; no parameter is one.
MOST_STRUCTURES = 20
#: A value that was structured where text is expected: no parameter allows it.
STRUCTURED = "\ufffd"

Pairs = Sequence[tuple[str, str]]


def query_pairs(query: bytes) -> Pairs:
    """Read a query string or an ``application/x-www-form-urlencoded`` body.

    :raises Refused: with ``bad_parameter`` if it has too many fields, or is none.
    """
    if query.count(b"&") >= MOST_FIELDS:
        raise _too_many_fields()
    # Each escape takes three bytes: so many are dear to read, and most of them are none.
    if query.count(b"%") > max(len(query) // 3, MOST_FIELDS):
        raise Refused(Code.BAD_PARAMETER, "what is sent is not application/x-www-form-urlencoded")
    return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")


def body_pairs(content_type: str | None, body: bytes) -> Pairs:
    """Read the body of a POST.

    :raises Refused: with ``bad_parameter`` if it is not what its content type says.
    """
    if not body:
        return ()
    media_type = (content_type or "application/x-www-form-urlencoded").partition(";")[0]
    match media_type.strip().lower():
        case "application/x-www-form-urlencoded":
            return query_pairs(body)
        case "application/json":
            return _json_pairs(body)
        case "multipart/form-data":
            return _multipart_pairs(content_type or "", body)
        case _:
            raise Refused(
                Code.BAD_PARAMETER,
                "the body must be application/x-www-form-urlencoded, multipart/form-data"
                " or application/json",
            )


class _Object(list[tuple[str, object]]):
    """A JSON object as its pairs, so that a repeated key stays visible."""


#: A JSON string, or what is left of one that does not end.
_JSON_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def _json_pairs(body: bytes) -> Pairs:
    if _structures(body) > MOST_STRUCTURES and _structures(_JSON_STRING.sub(b"", body)) > (
        MOST_STRUCTURES
    ):
        raise Refused(
            Code.BAD_PARAMETER, f"the body holds more than {MOST_STRUCTURES} objects and lists"
        )
    try:
        read = json.loads(body, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise Refused(Code.BAD_PARAMETER, "the body is not JSON") from error
    if not isinstance(read, _Object):
        raise Refused(Code.BAD_PARAMETER, "the body is not a JSON object")
    if len(read) > MOST_FIELDS:
        raise _too_many_fields()
    return [(name, _as_text(value)) for name, value in read]


def _structures(body: bytes) -> int:
    return body.count(b"{") + body.count(b"[")


def _as_text(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "1" if value else "0"
        case int() | float():
            return repr(value)
        case _:
            return STRUCTURED


def _multipart_pairs(content_type: str, body: bytes) -> Pairs:
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    try:
        encoded = boundary.encode("latin-1", "replace")
        with PushMultipartParser(encoded, max_segment_count=MOST_FIELDS) as parser:
            return [*_part_pairs(parser.parse(body))]
    except MultipartError as error:
        raise Refused(
            Code.BAD_PARAMETER, f"the body is not multipart/form-data, or too much of it: {error}"
        ) from error


def _part_pairs(
    events: Iterable[MultipartSegment | bytearray | bytes | None],
) -> Iterator[tuple[str, str]]:
    name, content = "", b""
    for event in events:
        if isinstance(event, MultipartSegment):
            _check_part(event)
            name, content = event.name or "", b""
        elif event is not None:
            content += event
        elif name:
            yield name, content.decode("utf-8", "replace")


def _check_part(part: MultipartSegment) -> None:
    """Refuse a part whose content would have to be read once more, as a body of its own.

    https://www.rfc-editor.org/rfc/rfc7578#section-4.3 has no nested parts any more, and 4.7 no
    encoded ones.
    """
    if (part.content_type or "").startswith("multipart/"):
        raise Refused(Code.BAD_PARAMETER, "a part of the body has parts itself")
    if part.header("Content-Transfer-Encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
        raise Refused(Code.BAD_PARAMETER, "a part of the body is encoded")


def _too_many_fields() -> Refused:
    return Refused(Code.BAD_PARAMETER, f"there are more than {MOST_FIELDS} fields")
