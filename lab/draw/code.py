"""What the pictures need to know of the package: its parts, what they import, what they touch.

A part is a folder of the package, or a module that stands in none. Reads the source; imports
nothing of it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "ccdaemon"

#: What of the outside a part touches, and by what in the source that is known: a module that it
#: imports, a class that it defines, or a word of Asterisk's that it knows.
TOUCHES: dict[str, str] = {
    "AMI": "class AMIProtocol",
    "FastAGI": "class FastAGIProtocol",
    "CEL": "word CHAN_START",
    "HTTP in": "import klein",
    "HTTP out": "import twisted.web.client",
    "Postgres": "import txpostgres",
    "SQLite": "import sqlite3",
    "metrics": "import prometheus_client",
    "mp3": "import lameenc",
}


@dataclass(slots=True)
class Part:
    """A part: what it is by its own first sentence, whom it imports, and what it touches.

    ``pure``: it imports neither Twisted nor anything else that talks with the world.
    """

    name: str
    words: str = ""
    imports: set[str] = field(default_factory=set)
    marks: set[str] = field(default_factory=set)
    pure: bool = True

    @property
    def touches(self) -> list[str]:
        """What of the outside it touches."""
        return [name for name, mark in TOUCHES.items() if mark in self.marks]


#: What a part may import and still be pure.
_PURE = frozenset(
    {
        *("__future__", "abc", "array", "attrs", "base64", "binascii", "collections", "contextlib"),
        *("dataclasses", "datetime", "enum", "functools", "hashlib", "heapq", "hmac", "itertools"),
        *("json", "math", "msgspec", "phonenumbers", "re", "types", "typing"),
    }
)


def read(package: Path = PACKAGE) -> dict[str, Part]:
    """Every part of a package, by its name."""
    found: dict[str, Part] = {}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package).with_suffix("").parts
        if inside == ("__init__",):
            continue
        part = found.setdefault(inside[0], Part(inside[0]))
        tree = ast.parse(path.read_text("utf-8"))
        if len(inside) == 1 or inside[1:] == ("__init__",):
            part.words = _first_sentence(ast.get_docstring(tree) or "")
        _note(part, package.name, tree)
    return found


def _note(part: Part, package: str, tree: ast.AST) -> None:
    for name in _imported(tree):
        words = name.split(".")
        if words[0] == package:
            part.imports |= {word for word in words[1:2] if word != part.name and word[0] != "_"}
            continue
        part.marks |= {"import " + ".".join(words[:end]) for end in range(1, len(words) + 1)}
        part.pure = part.pure and words[0] in _PURE
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            part.marks.add(f"class {node.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            part.marks.add(f"word {node.value}")


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _first_sentence(docstring: str) -> str:
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".").replace("``", "")


def reachable(parts: dict[str, Part], start: str) -> dict[str, set[str]]:
    """The parts that ``start`` needs, each with those it imports."""
    found: dict[str, set[str]] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = {other for other in parts[name].imports if other in parts}
            waiting += sorted(found[name])
    return found


def below(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """All that each can reach, itself only where there is a circle."""
    reached = {name: set(others) for name, others in graph.items()}
    while True:
        more = {
            name: others.union(*(reached[other] for other in others))
            for name, others in reached.items()
        }
        if more == reached:
            return reached
        reached = more


def rows(graph: dict[str, set[str]]) -> list[list[str]]:
    """The parts in rows, such that each imports only from lower rows; a circle shares a row."""
    reached = below(graph)
    depth: dict[str, int] = {}

    def level(name: str) -> int:
        if name not in depth:
            lower = [other for other in graph[name] if name not in reached[other]]
            circle = [one for one in graph[name] if name in reached[one]]
            lower += [x for one in circle for x in graph[one] if one not in reached[x]]
            depth[name] = 1 + max(map(level, lower), default=-1)
        return depth[name]

    by_level: dict[int, list[str]] = defaultdict(list)
    for name in sorted(graph):
        by_level[level(name)].append(name)
    return [by_level[number] for number in sorted(by_level, reverse=True)]


def needed(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others; of a circle's, all."""
    reached = below(graph)

    def follows(name: str, other: str, third: str) -> bool:
        in_circle = name in reached[third] or third in reached[other]
        return other in reached[third] and not in_circle

    return [
        (name, other)
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if not any(follows(name, other, third) for third in others - {other})
    ]
