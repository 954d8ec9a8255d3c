"""What an expression of Prometheus asks for: metrics, matchers, and labels that it groups by.

Reads as much of the language as dashboards and rules need, and refuses what it does not know.
https://prometheus.io/docs/prometheus/latest/querying/basics/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

FUNCTIONS = frozenset(
    (
        *("count", "deriv", "histogram_quantile", "increase", "max", "min", "rate", "sum"),
        *("time", "vector"),
    )
)
#: Words before a list of labels in brackets.
GROUPING = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
OPERATORS = frozenset(("and", "or", "unless", "bool", "offset"))

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<range>\[(?:\d+[smhdw]|\$__rate_interval)\])
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])
    )""",
    re.VERBOSE,
)


class NotUnderstoodError(Exception):
    """No expression, or one with what this reader does not know."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric with its matchers: label, operator, and the value as it is written."""

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()
    range: str | None = None


@dataclass(slots=True)
class Asked:
    """All that an expression asks for."""

    selectors: list[Selector] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    grouped_by: set[str] = field(default_factory=set)


def tokens(expression: str) -> list[tuple[str, str]]:
    """Cut an expression up into kinds and texts."""
    cut, end, text = [], 0, expression.rstrip()
    while end < len(text):
        found = _TOKEN.match(text, end)
        if found is None:
            raise NotUnderstoodError(f"{expression!r} at {end}: {text[end:]!r}")
        end = found.end()
        cut.append((str(found.lastgroup), found[str(found.lastgroup)]))
    return cut


def read(expression: str) -> Asked:
    """Read an expression."""
    left = tokens(expression)[::-1]
    asked = Asked()
    while left:
        kind, text = left.pop()
        if kind != "word" or text in OPERATORS:
            continue
        if text in GROUPING:
            asked.grouped_by.update(_labels(left))
        elif text in FUNCTIONS:
            asked.functions.add(text)
        elif left and left[-1][1] == "(":
            raise NotUnderstoodError(f"{text}() in {expression!r}")
        else:
            asked.selectors.append(_selector(text, left))
    return asked


def _selector(name: str, left: list[tuple[str, str]]) -> Selector:
    matchers = []
    if left and left[-1][1] == "{":
        left.pop()
        while left[-1][1] != "}":
            label, operator, value = (left.pop()[1] for _ in range(3))
            matchers.append((label, operator, value.strip('"')))
            if left[-1][1] == ",":
                left.pop()
        left.pop()
    is_over = left and left[-1][0] == "range"
    return Selector(name, tuple(matchers), left.pop()[1] if is_over else None)


def _labels(left: list[tuple[str, str]]) -> list[str]:
    if left.pop()[1] != "(":
        raise NotUnderstoodError("no labels after a word that groups")
    labels = []
    while (token := left.pop())[1] != ")":
        if token[0] == "word":
            labels.append(token[1])
    return labels
