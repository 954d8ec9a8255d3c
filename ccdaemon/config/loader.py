"""From TOML to attrs classes, with every problem kept and named by key and line.

Walks the classes of ``ccdaemon.config`` as a table: an attribute's metadata says which rule its
key follows. Knows no key by name.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from ccdaemon.config.validators import Expected, Rule

T = TypeVar("T")

_KEY = "ccdaemon.key"
_SHOWN = 60


@attrs.frozen
class Problem:
    """One thing that is wrong, and where."""

    file: str
    line: int | None
    key: str
    what: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.key, self.what) if part)


class ConfigError(Exception):
    """The configuration cannot be used; ``problems`` holds all that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@attrs.frozen
class _Value:
    rule: Rule[Any]


@attrs.frozen
class _Table:
    cls: type
    many: bool


def key(rule: Rule[Any]) -> dict[str, object]:
    """Mark an attribute as a key whose value follows ``rule``."""
    return {_KEY: _Value(rule)}


def table(cls: type) -> dict[str, object]:
    """Mark an attribute as a table ``[name]`` that is read into ``cls``."""
    return {_KEY: _Table(cls, many=False)}


def tables(cls: type) -> dict[str, object]:
    """Mark an attribute as a list of tables ``[[name]]``, each read into ``cls``."""
    return {_KEY: _Table(cls, many=True)}


class Reading:
    """One text being read: the raw TOML, and the problems found so far."""

    def __init__(self, content: str, file: str) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._lines = _lines(content)
        try:
            self.raw: Mapping[str, object] = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError([Problem(file, None, "", f"is not TOML: {error}")]) from error

    def refuse(self, where: str, what: str) -> None:
        """Keep a problem with the key at ``where``."""
        line = self._lines.get(where)
        if line is None:
            line = self._lines.get(where.rpartition(".")[0])
        self.problems.append(Problem(self._file, line, where, what))

    def table(self, cls: Callable[..., T], raw: Mapping[str, object], where: str) -> T | None:
        """Read one table; None if anything in it was refused."""
        before = len(self.problems)
        fields: dict[str, attrs.Attribute[Any]] = attrs.fields_dict(cls)  # type: ignore[arg-type]
        for name in raw.keys() - fields.keys():
            self._unknown(_join(where, name), name, fields)
        values: dict[str, object] = {}
        for name, field in fields.items():
            kind = field.metadata[_KEY]
            if name in raw:
                values[name] = self._read(kind, raw[name], _join(where, name))
            elif field.default is attrs.NOTHING:
                self._missing(kind, _join(where, name))
        if len(self.problems) > before:
            return None
        result = cls(**values)
        for name, what in getattr(result, "contradictions", tuple)():
            self.refuse(_join(where, name), what)
        return result

    def _read(self, kind: object, raw: object, where: str) -> object:
        if isinstance(kind, _Table):
            return self._read_tables(kind, raw, where)
        assert isinstance(kind, _Value)
        try:
            return kind.rule(raw)
        except Expected as wrong:
            why = f" ({wrong.why})" if wrong.why else ""
            got = "" if wrong.hide and raw != "" else f", got {_show(raw)}"
            self.refuse(where, f"expected {wrong.what}{got}{why}")
            return None

    def _read_tables(self, kind: _Table, raw: object, where: str) -> object:
        if kind.many:
            if isinstance(raw, list) and all(isinstance(element, dict) for element in raw):
                parts = enumerate(raw, start=1)
                return tuple(self.table(kind.cls, part, f"{where}[{n}]") for n, part in parts)
            self.refuse(where, f"expected tables [[{where}]], got {_show(raw)}")
        elif isinstance(raw, dict):
            return self.table(kind.cls, raw, where)
        else:
            self.refuse(where, f"expected a table [{where}], got {_show(raw)}")
        return None

    def _missing(self, kind: object, where: str) -> None:
        if isinstance(kind, _Table):
            self.table(kind.cls, {}, where)
            return
        assert isinstance(kind, _Value)
        try:
            kind.rule(None)
        except Expected as wrong:
            self.refuse(where, f"missing; expected {wrong.what}")

    def _unknown(self, where: str, name: str, known: Iterable[str]) -> None:
        near = difflib.get_close_matches(name, list(known), n=1)
        self.refuse(where, "unknown key" + (f"; did you mean {near[0]}?" if near else ""))


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _show(raw: object) -> str:
    shown = f'"{raw}"' if isinstance(raw, str) else str(raw)
    if isinstance(raw, bool):
        shown = shown.lower()
    elif isinstance(raw, dict):
        shown = "a table"
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


_HEAD = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]")
_KEY_LINE = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=")


def _lines(content: str) -> dict[str, int]:
    """Find the line of each table and key by their look; a hint for people, no parser."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    where = ""
    for number, line in enumerate(content.splitlines(), start=1):
        if head := _HEAD.match(line):
            where = head[2]
            if head[1] == "[[":
                # A list that nobody knows is refused as a whole, where it begins.
                lines.setdefault(where, number)
                counts[where] = counts.get(where, 0) + 1
                where = f"{where}[{counts[where]}]"
            lines.setdefault(where, number)
        elif found := _KEY_LINE.match(line):
            lines.setdefault(_join(where, found[1]), number)
    return lines
