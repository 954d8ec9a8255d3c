"""Tests of the direction of imports: each package knows only those that it builds on."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon

PACKAGE = Path(ccdaemon.__file__).parent

#: What anybody may build on, but for the protocol libraries and what is pure.
BASE = {"clocks", "config", "errors", "http_client", "log_masking", "numbers"}

#: Which package may import which, from the bottom up.
MAY_IMPORT: dict[str, set[str]] = {
    "ami": set(),
    "fastagi": set(),
    "reactor": set(),
    "sighup": set(),
    "threads": set(),
    "log_masking": set(),
    "log_lines": set(),
    "errors": set(),
    "clocks": set(),
    "numbers": set(),
    "config": {"numbers"},
    "http_client": {"clocks", "config"},
    "operators": set(),
    "queues": set(),
    "calls": {"numbers"},
    "limits": {"config", "errors", "numbers"},
    "pbx": BASE | {"ami", "calls", "queues"},
    "store": BASE | {"calls", "operators"},
    "schema": {"calls", "operators", "store"},
    "event_schema": {"schema", "store"},
    "consumers": BASE | {"calls", "event_schema", "operators", "schema", "store"},
    "recordings": BASE | {"calls", "store"},
    "routing": BASE | {"calls", "operators", "store"},
    "tracking": BASE | {"ami", "calls", "operators", "pbx", "queues", "recordings", "store"},
    "switchboard": BASE
    | {"ami", "calls", "fastagi", "limits", "operators", "pbx"}
    | {"recordings", "routing", "store", "tracking"},
    "health": BASE
    | {"ami", "calls", "consumers", "fastagi", "limits", "operators", "pbx"}
    | {"recordings", "routing", "store", "tracking"},
    "api": BASE
    | {"calls", "consumers", "event_schema", "health", "operators", "recordings"}
    | {"schema", "store", "switchboard", "tracking"},
    "check": BASE
    | {"ami", "calls", "consumers", "limits", "operators", "pbx", "recordings", "routing", "store"},
    "scaffold": {"pbx"},
    "service": BASE
    | {"ami", "api", "calls", "consumers", "fastagi", "health", "limits", "log_lines"}
    | {"operators", "pbx"}
    | {"recordings", "routing", "sighup", "store", "threads", "switchboard", "tracking"},
    "tap": {"config", "reactor", "service"},
    "questions": {"config", "numbers", "scaffold"},
    "backup": {"config", "limits", "store"},
    "cli": {"backup", "check", "config", "questions", "scaffold", "store"},
}
#: Decides, and reaches for nothing: no Twisted, no file, no clock.
PURE = ("calls", "numbers", "operators", "queues")
#: What the pure packages may import of others.
PURE_MAY_IMPORT = sys.stdlib_module_names - {"asyncio", "os", "socket", "subprocess", "threading"}

#: What knows nothing else of ours, not even what lies below.
LIBRARIES = {"ami", "fastagi"}

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
    """Name the imports of a module that go against the table."""
    own = part_of(name)
    for imported in imports(ast.parse(source)):
        if imported.startswith("twisted.internet.reactor") and name not in MAY_IMPORT_THE_REACTOR:
            yield f"{name} imports the reactor"
        other = part_of(imported)
        if own in (other, None) or other is None:
            continue
        if other not in MAY_IMPORT.get(own or "", ()):
            yield f"{name} imports {imported}"


class LayerTests(SynchronousTestCase):
    """Imports run one way."""

    def test_every_package_has_a_place(self) -> None:
        """Every package and module stands in the table, and nothing else does."""
        parts = {part for name, _ in modules() if (part := part_of(name)) is not None}
        self.assertEqual(parts, set(MAY_IMPORT))

    def test_no_cycles(self) -> None:
        """The table has an order in which nothing comes before what it builds on."""
        order = list(TopologicalSorter(MAY_IMPORT).static_order())
        self.assertLess(order.index("calls"), order.index("tracking"))
        circle = MAY_IMPORT | {"calls": {"tracking"}}
        self.assertRaises(CycleError, list, TopologicalSorter(circle).static_order())

    def test_the_api_is_above_all(self) -> None:
        """Nobody acts through it but its clients: what joins the parts alone knows it."""
        above = {part for part, others in MAY_IMPORT.items() if "api" in others}
        self.assertLessEqual(above, {"service", "web"})

    def test_direction(self) -> None:
        """No module imports what its package may not, and none but one imports the reactor."""
        found = [
            breach for name, path in modules() for breach in breaches(name, path.read_text("utf-8"))
        ]
        self.assertEqual(found, [])

    def test_pure(self) -> None:
        """What decides imports neither Twisted nor what reaches out."""
        found = [
            f"{name} imports {imported}"
            for name, path in modules()
            if part_of(name) in PURE
            for imported in imports(ast.parse(path.read_text("utf-8")))
            if (top := imported.split(".")[0]) not in PURE_MAY_IMPORT | {"ccdaemon", "__future__"}
            and top != "phonenumbers"
        ]
        self.assertEqual(found, [])

    def test_protocol_libraries(self) -> None:
        """AMI and FastAGI can be used without the rest: each imports of ours itself alone."""
        found = [
            f"{name} imports {imported}"
            for name, path in modules()
            if (own := part_of(name)) in LIBRARIES
            for imported in imports(ast.parse(path.read_text("utf-8")))
            if imported.startswith("ccdaemon") and part_of(imported) != own
        ]
        self.assertEqual(found, [])

    def test_breaches_are_found(self) -> None:
        """Upwards, sideways and the reactor are told from what is allowed."""
        for name, source, count in [
            ("ccdaemon.calls.model", "from ccdaemon.pbx import ami_queries", 1),
            ("ccdaemon.calls.model", "import ccdaemon.numbers", 0),
            ("ccdaemon.calls.model", "from ccdaemon.operators import Status", 1),
            ("ccdaemon.ami.ami_wire", "import ccdaemon.errors", 1),
            ("ccdaemon.ami.ami_wire", "from ccdaemon.ami import ami_errors", 0),
            ("ccdaemon.store.records", "from ccdaemon import pbx", 1),
            ("ccdaemon.store.records", "from ccdaemon import recordings", 1),
            ("ccdaemon.recordings.mp3", "from ccdaemon import recordings, store", 0),
            ("ccdaemon.store.records", "def f():\n from ccdaemon.store import facts", 0),
            ("ccdaemon.api.app", "from ccdaemon.service import make_service", 1),
            ("ccdaemon.api.app", "from twisted.internet import reactor", 1),
            ("ccdaemon.check.http", "from ccdaemon.api.app import Api", 1),
            ("ccdaemon.service", "from ccdaemon.api.app import Api", 0),
            ("ccdaemon.service", "from twisted.internet import reactor", 0),
            ("ccdaemon.tracking.presence", "from ccdaemon.api.app import Api", 1),
            ("ccdaemon", "from ccdaemon.config import load", 0),
        ]:
            with self.subTest(name=name, source=source):
                self.assertEqual(len(list(breaches(name, source))), count)
