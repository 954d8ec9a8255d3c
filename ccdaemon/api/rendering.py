"""Answers in their envelope, as JSON or as XML; both say the same, key by key.

Pure. Whatever text is inside, the result is well-formed: characters that XML 1.0 forbids are
dropped from XML, halves of surrogate pairs from both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import msgspec

Tree = Mapping[str, object]


class Format(str, Enum):
    """How an answer is spelled; the value is the suffix of the path."""

    JSON = "json"
    XML = "xml"


CONTENT_TYPE: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.XML: "application/xml; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a method answers: the ``response``, and what stands in the envelope beside it."""

    response: object
    beside: Tree = field(default_factory=dict)
    retry_after: int | None = None


def envelope(answer: Answer) -> Tree:
    """Wrap what a method answers."""
    return {"status": "ok", "status_code": 200, "response": answer.response, **answer.beside}


def error_envelope(status_code: int, error: Tree) -> Tree:
    """Wrap a refusal."""
    return {"status": "error", "status_code": status_code, "response": None, "error": error}


def render(tree: Tree, format: Format, root: str = "result") -> bytes:
    """Spell an envelope; ``root`` is the name of XML's outermost element."""
    return _xml(tree, root) if format is Format.XML else _json(tree)


_SURROGATES = re.compile("[\ud800-\udfff]")
_encoder = msgspec.json.Encoder()


def _json(tree: Tree) -> bytes:
    try:
        return _encoder.encode(tree)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(msgspec.to_builtins(tree)))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return _SURROGATES.sub("", value)
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value


# A carriage return is legal in XML, but parsers read it as a line feed unless it is escaped.
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_SPECIAL = re.compile("[^\t\n\x20-%\x27-;=?-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escaped(text: str) -> str:
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0], ""), text)


def _xml(tree: Tree, root: str) -> bytes:
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n']
    _element(root, msgspec.to_builtins(tree), parts)
    return "".join(parts).encode("utf-8")


def _element(name: str, value: object, parts: list[str]) -> None:
    # Names are keys of our own objects; text is never a name.
    if value is None:
        parts.append(f"<{name}/>")
        return
    if isinstance(value, dict):
        parts.append(f"<{name}>")
        for key, item in value.items():
            _element(key, item, parts)
        parts.append(f"</{name}>")
    elif isinstance(value, list):
        parts.append(f"<{name}>")
        for item in value:
            _element("item", item, parts)
        parts.append(f"</{name}>")
    elif isinstance(value, str):
        parts.append(f"<{name}>{_escaped(value)}</{name}>")
    else:
        # As JSON spells it: true, false, and the same digits.
        parts.append(f"<{name}>{_encoder.encode(value).decode('ascii')}</{name}>")
