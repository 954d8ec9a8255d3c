"""Tests of what the pages say, where a machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.config import ConfigError, parse

ROOT = Path(ccdaemon.__file__).parent.parent
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    ROOT / "changes" / "README.md",
]
#: What is run where nobody looks: the workflows and the hooks.
RUN = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class PageTests(SynchronousTestCase):
    """README and docs."""

    def test_links(self) -> None:
        """Every link to a file of the repository leads somewhere."""
        dead = [
            f"{page.name}: {target}"
            for page in PAGES
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
            if not (page.parent / target).exists()
        ]
        self.assertEqual(dead, [])

    def test_headings(self) -> None:
        """Every link to a heading of a page leads to one."""
        dead = [
            f"{page.name}: {file}#{heading}"
            for page in PAGES
            for file, heading in re.findall(
                r"\]\(([^)#:]*)#([^)]+)\)", page.read_text("utf-8"), re.M
            )
            if heading not in anchors(page.parent / file if file else page)
        ]
        self.assertEqual(dead, [])

    def test_paths(self) -> None:
        """Every file of the code that a page names is there."""
        dead = [
            f"{page.name}: {path}"
            for page in PAGES
            if page.name != "CHANGELOG.md"
            for path in re.findall(
                r"`((?:ccdaemon|tests|lab|bench|conf|docs)/[\w./-]+)`", page.read_text("utf-8")
            )
            if not (ROOT / path).exists()
        ]
        self.assertEqual(dead, [])

    def test_decisions(self) -> None:
        """The decisions are numbered without a gap, and each that is named elsewhere is one."""
        page = (ROOT / "docs" / "decisions.md").read_text("utf-8")
        numbers = [int(number) for number in re.findall(r"^### ([0-9]+)\. ", page, re.M)]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        for other in PAGES:
            named = re.findall(r"\bdecision ([0-9]+)\b", other.read_text("utf-8"))
            self.assertEqual([n for n in named if int(n) not in numbers], [], other.name)

    def test_index(self) -> None:
        """Every page is in the index."""
        index = (ROOT / "docs" / "README.md").read_text("utf-8")
        for page in (ROOT / "docs").glob("*.md"):
            if page.name != "README.md":
                self.assertIn(f"({page.name})", index)

    def test_configuration_in_pages(self) -> None:
        """Every TOML that a page shows has known keys and sound values."""
        shown = 0
        for page in PAGES:
            for content in re.findall(
                r"^```toml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S
            ):
                shown += 1
                try:
                    parse(content, page.name)
                except ConfigError as error:
                    wrong = [p for p in error.problems if not p.what.startswith("missing")]
                    self.assertEqual(wrong, [], str(error))
        self.assertGreater(shown, 0)

    def test_make_targets(self) -> None:
        """Every make target that a page names is there."""
        there = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
        for page in [*PAGES, *RUN]:
            named = re.findall(r"(?:^|`|run: )make ([a-z]+)", page.read_text("utf-8"), re.M)
            self.assertEqual([target for target in named if target not in there], [])

    def test_workflows(self) -> None:
        """The public CI runs on the versions of Python that the package names."""
        setup = (ROOT / "setup.py").read_text("utf-8")
        named = re.findall(r"Python :: (3\.[0-9]+)", setup)
        fast = (ROOT / ".github" / "workflows" / "fast.yml").read_text("utf-8")
        [versions] = re.findall(r"^ +python: \[(.*)\]$", fast, re.M)
        self.assertEqual(re.findall(r'"([0-9.]+)"', versions), named)

    def test_hooks(self) -> None:
        """Every test module that a hook or a page runs is there."""
        for page in [*PAGES, *RUN]:
            for name in re.findall(r"\btests\.((?:\w+\.)*test_\w+)", page.read_text("utf-8")):
                path = ROOT / "tests" / f"{name.replace('.', '/')}.py"
                self.assertTrue(path.exists(), f"{page.name}: {name}")

    def test_service_file(self) -> None:
        """The systemd unit runs the command that the page on installing shows."""
        unit = (ROOT / "conf" / "ccdaemon.service").read_text("utf-8")
        [command] = re.findall(r"^ExecStart=(.*)$", unit, re.M)
        self.assertIn(command, (ROOT / "docs" / "install.md").read_text("utf-8"))
