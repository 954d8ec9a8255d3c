"""Tests of the direction of imports: each part knows only what lies below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon

PACKAGE = Path(ccdaemon.__file__).parent

#: From the top down; parts that share a line may not know each other.
LAYERS = [
    {"cli"},
    {"tap", "check", "scaffold"},
    {"service"},
    {"api"},
    {"switchboard", "health"},
    {"tracking"},
    {"consumers", "routing", "recordings"},
    {"event_schema"},
    {"schema"},
    {"store", "pbx"},
    {"ami", "fastagi"},
    {"calls", "operators", "limits"},
    {"clocks", "config", "errors", "http_client", "log_masking", "numbers", "reactor", "sighup"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}

#: Here the parts of one line may know each other.
FOUNDATIONS = LAYERS[-2] | LAYERS[-1]

#: The one that joins the parts.
MAY_IMPORT_THE_REACTOR = {"ccdaemon.service"}


def modules() -> Iterator[tuple[str, Path]]:
    """Walk the package: a module's full name and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def imports(tree: ast.AST) -> Iterator[str]:
    """Walk all imports of a module, inside functions too, as dotted names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """Name the part of ours that a dotted name lies in; None for others and the package itself."""
    words = name.split(".")
    if words[0] != "ccdaemon" or len(words) == 1 or words[1].startswith("__"):
        return None
    return words[1]


def breaches(name: str, source: str) -> Iterator[str]:
    """Name the imports of a module that go against the direction."""
    own = part_of(name)
    for imported in imports(ast.parse(source)):
        if imported.startswith("twisted.internet.reactor") and name not in MAY_IMPORT_THE_REACTOR:
            yield f"{name} imports the reactor"
        other = part_of(imported)
        if own == other or own not in LEVEL or other not in LEVEL:
            continue
        if LEVEL[other] < LEVEL[own] or (LEVEL[other] == LEVEL[own] and own not in FOUNDATIONS):
            yield f"{name} imports {imported}"


class LayerTests(SynchronousTestCase):
    """Imports run one way."""

    def test_every_module_has_a_place(self) -> None:
        """Every module of the package lies in a known layer."""
        places = {name: part_of(name) for name, _ in modules()}
        unknown = [name for name, part in places.items() if part is not None and part not in LEVEL]
        self.assertEqual(unknown, [])
        self.assertIn("ccdaemon.calls.model", places)

    def test_direction(self) -> None:
        """No module imports upwards or sideways, and none but one imports the reactor."""
        found = [
            breach for name, path in modules() for breach in breaches(name, path.read_text("utf-8"))
        ]
        self.assertEqual(found, [])

    def test_breaches_are_found(self) -> None:
        """Upwards, sideways and the reactor are told from what is allowed."""
        for name, source, count in [
            ("ccdaemon.calls.model", "from ccdaemon.pbx import ami_wire", 1),
            ("ccdaemon.calls.model", "import ccdaemon.errors", 0),
            ("ccdaemon.calls.model", "from ccdaemon.operators import Status", 0),
            ("ccdaemon.store.records", "from ccdaemon import pbx", 1),
            ("ccdaemon.store.records", "from ccdaemon import recordings", 1),
            ("ccdaemon.recordings.mp3", "from ccdaemon import recordings, store", 0),
            ("ccdaemon.store.records", "def f():\n from ccdaemon.store import facts", 0),
            ("ccdaemon.api.app", "from ccdaemon.service import make_service", 1),
            ("ccdaemon.api.app", "from twisted.internet import reactor", 1),
            ("ccdaemon.service", "from twisted.internet import reactor", 0),
            ("ccdaemon.tracking.presence", "from ccdaemon.api.interfaces import Calls", 1),
            ("ccdaemon", "from ccdaemon.config import load", 0),
        ]:
            with self.subTest(name=name, source=source):
                self.assertEqual(len(list(breaches(name, source))), count)
