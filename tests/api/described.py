"""The API as its OpenAPI document describes it: what may be asked, and what an answer has to be.

Knows as much of JSON Schema as the document uses; a keyword that it does not know is an error, so
that nothing is taken for checked that is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

Schema = Mapping[str, Any]
Strategy = st.SearchStrategy[Any]

#: Say nothing about a value.
_WORDS = frozenset({"title", "description", "default", "x-event-data"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class Operation:
    """One way to ask: ``get`` or ``post`` of a path.

    ``where`` names the place of each parameter: ``query``, ``path``, ``header`` or ``body``.
    ``bodies`` are the media types a body may have.
    """

    path: str
    verb: str
    schemas: Mapping[str, Schema]
    where: Mapping[str, str]
    required: frozenset[str]
    responses: Mapping[str, Any]
    bodies: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.verb.upper()} {self.path}"


class Document:
    """An OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def operations(self) -> Iterator[Operation]:
        """Every operation."""
        for path, operations in self._document["paths"].items():
            for verb, told in operations.items():
                yield _operation(path, verb, told)

    def faults(self, value: Any, schema: Schema, at: str = "") -> Iterator[str]:
        """Say where a value is not as a schema wants it."""
        for keyword, wanted in schema.items():
            if keyword not in _WORDS:
                yield from _CHECKS[keyword](self, value, wanted, schema, at)

    def fits(self, value: Any, schema: Schema) -> bool:
        """Whether a value is as a schema wants it."""
        return not any(self.faults(value, schema))

    # A check for each keyword.

    def _ref(self, value: Any, name: str, schema: Schema, at: str) -> Iterator[str]:
        named = self._document["components"]["schemas"][name.rpartition("/")[2]]
        return self.faults(value, named, at)

    def _any_of(self, value: Any, some: list[Schema], schema: Schema, at: str) -> Iterator[str]:
        if not any(self.fits(value, one) for one in some):
            yield f"{at} is none of what it may be: {value!r}"

    def _type(self, value: Any, kind: str, schema: Schema, at: str) -> Iterator[str]:
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            yield f"{at} is no {kind}: {value!r}"

    def _enum(self, value: Any, allowed: list[Any], schema: Schema, at: str) -> Iterator[str]:
        if value not in allowed:
            yield f"{at} is none of {allowed}: {value!r}"

    def _const(self, value: Any, wanted: Any, schema: Schema, at: str) -> Iterator[str]:
        return self._enum(value, [wanted], schema, at)

    def _bound(self, value: Any, bound: float, schema: Schema, at: str) -> Iterator[str]:
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        if _is_number(value) and not low <= value <= high:
            yield f"{at} is out of bounds: {value!r}"

    def _multiple(self, value: Any, of: float, schema: Schema, at: str) -> Iterator[str]:
        if _is_number(value) and abs(value / of - round(value / of)) > 1e-6:
            yield f"{at} is no multiple of {of}: {value!r}"

    def _pattern(self, value: Any, pattern: str, schema: Schema, at: str) -> Iterator[str]:
        if isinstance(value, str) and re.fullmatch(_inner(pattern), value) is None:
            yield f"{at} does not match {pattern}: {value!r}"

    def _format(self, value: Any, name: str, schema: Schema, at: str) -> Iterator[str]:
        is_date = name == "date-time" and isinstance(value, str)
        if is_date and _DATE_TIME.fullmatch(value) is None:
            yield f"{at} is no moment: {value!r}"

    def _properties(
        self, value: Any, known: Mapping[str, Schema], schema: Schema, at: str
    ) -> Iterator[str]:
        for name, one in value.items() if isinstance(value, dict) else ():
            if name in known:
                yield from self.faults(one, known[name], f"{at}.{name}")
            else:
                yield f"{at}.{name} is not described"

    def _required(self, value: Any, names: list[str], schema: Schema, at: str) -> Iterator[str]:
        for name in names:
            if isinstance(value, dict) and name not in value:
                yield f"{at}.{name} is missing"

    def _items(self, value: Any, one: Schema, schema: Schema, at: str) -> Iterator[str]:
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from self.faults(item, one, f"{at}[{number}]")


_Check = Callable[[Document, Any, Any, Schema, str], Iterator[str]]
_CHECKS: Mapping[str, _Check] = {
    "$ref": Document._ref,
    "anyOf": Document._any_of,
    "type": Document._type,
    "enum": Document._enum,
    "const": Document._const,
    "minimum": Document._bound,
    "maximum": Document._bound,
    "multipleOf": Document._multiple,
    "pattern": Document._pattern,
    "format": Document._format,
    "properties": Document._properties,
    "required": Document._required,
    "items": Document._items,
}


def _operation(path: str, verb: str, told: Mapping[str, Any]) -> Operation:
    parameters = told.get("parameters", [])
    schemas = {one["name"]: one["schema"] for one in parameters}
    where = {one["name"]: one["in"] for one in parameters}
    required = {one["name"] for one in parameters if one.get("required")}
    bodies = told.get("requestBody", {}).get("content", {})
    for body in bodies.values():
        schemas |= body["schema"]["properties"]
        required |= set(body["schema"].get("required", ()))
    where = {name: where.get(name, "body") for name in schemas}
    return Operation(
        path, verb, schemas, where, frozenset(required), told["responses"], tuple(bodies)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inner(pattern: str) -> str:
    """A pattern of a whole value without its anchors: Python's ``$`` lets a line's end pass."""
    return pattern.removeprefix("^").removesuffix("$")


# What may be sent


def allowed(schema: Schema) -> Sequence[Any]:
    """Some values that a parameter's schema allows, the same in each run."""
    return _drawn(_allowed, json.dumps(schema))


def forbidden(schema: Schema) -> Sequence[str]:
    """Some texts that it does not allow, and that are no other spelling of one; maybe none."""
    return _drawn(_forbidden, json.dumps(schema)) if set(schema) - {"type"} else ()


@cache
def _drawn(strategy: Callable[[Schema], Strategy], schema: str) -> Sequence[Any]:
    drawn: list[Any] = []

    @settings(max_examples=4, derandomize=True, database=None, deadline=None)
    @given(st.lists(strategy(json.loads(schema)), min_size=8, max_size=8))
    def draw(values: list[Any]) -> None:
        drawn.extend(values)

    draw()
    return drawn


def _allowed(schema: Schema) -> Strategy:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema.get("maximum", 10**12))
    if schema["type"] == "number":
        step = schema.get("multipleOf")
        if step is None:
            return st.floats(schema["minimum"], schema["maximum"])
        return st.integers(0, round(schema["maximum"] / step)).map(lambda n: round(n * step, 6))
    if "pattern" in schema:
        return st.from_regex(re.compile(_inner(schema["pattern"])), fullmatch=True).filter(_spelled)
    if schema.get("format") == "date-time":
        zones = st.integers(-23 * 60, 23 * 60).map(lambda n: timezone(timedelta(minutes=n)))
        return st.datetimes(timezones=zones).map(datetime.isoformat)
    return st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)


def _forbidden(schema: Schema) -> Strategy:
    if schema["type"] in ("integer", "number"):
        small = st.integers(max_value=schema.get("minimum", 0) - 1)
        large = st.integers(min_value=schema.get("maximum", 10**4001) + 1)
        odd = st.sampled_from(["1e2", "0x1", "1_0", "١", "+1", " 1", "1\n", "NaN", "true", "1.2.3"])
        return st.one_of(small.map(str), large.map(str) if "maximum" in schema else odd, odd)
    text = st.one_of(st.text(st.characters(codec="utf-8"), min_size=1, max_size=600), _HOSTILE)
    if "pattern" in schema:
        inner = re.compile(_inner(schema["pattern"]))
        return text.filter(lambda one: inner.fullmatch(one) is None)
    if "enum" in schema:
        return text.filter(lambda one: one not in schema["enum"])
    # What is a moment to the daemon is more than JSON Schema's: a date alone is.
    return text.filter(lambda one: not re.match("[0-9]{4}-", one))


_HOSTILE = st.sampled_from(
    [
        "'; DROP TABLE call; --",
        "${SHELL(id)}",
        "../../etc/passwd",
        "<a>&b;",
        "a\r\nb: c",
        "\0",
        "%00",
    ]
)


def _spelled(value: str) -> bool:
    """Whether UTF-8 can spell it."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)
