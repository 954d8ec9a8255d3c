"""What a request brings: names and values out of the query string and the body.

Pure. A value is text or, from JSON, a number or a truth value spelled as text; what it means is
not known here. Text that is not UTF-8 keeps a replacement character, which no parameter allows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from email.message import Message
from email.parser import BytesParser
from urllib.parse import parse_qsl

from ccdaemon.errors import Code, Refused

#: A value that was structured where text is expected: no parameter allows it.
STRUCTURED = "\ufffd"

Pairs = Sequence[tuple[str, str]]


def query_pairs(query: bytes) -> Pairs:
    """Read a query string or an ``application/x-www-form-urlencoded`` body."""
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


def _json_pairs(body: bytes) -> Pairs:
    try:
        read = json.loads(body, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as error:
        raise Refused(Code.BAD_PARAMETER, "the body is not JSON") from error
    if not isinstance(read, _Object):
        raise Refused(Code.BAD_PARAMETER, "the body is not a JSON object")
    return [(name, _as_text(value)) for name, value in read]


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
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    try:
        message = BytesParser().parsebytes(head + body)
    except RecursionError as error:
        raise Refused(Code.BAD_PARAMETER, "the body is nested too deeply") from error
    parts = message.get_payload()
    if not message.is_multipart() or not isinstance(parts, list):
        raise Refused(Code.BAD_PARAMETER, "the body is not multipart/form-data")
    return [pair for part in parts if isinstance(part, Message) for pair in _part_pairs(part)]


def _part_pairs(part: Message) -> Pairs:
    name = part.get_param("name", header="content-disposition")
    content = part.get_payload(decode=True)
    if not isinstance(name, str) or not isinstance(content, bytes):
        return ()
    return ((name, content.decode("utf-8", "replace")),)
