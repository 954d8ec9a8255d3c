"""Tests of what the pages say, where a machine can tell."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.config import ConfigError, parse

ROOT = Path(ccdaemon.__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


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
        for page in PAGES:
            named = re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.M)
            self.assertEqual([target for target in named if target not in there], [])

    def test_service_file(self) -> None:
        """The systemd unit runs the command that the page on installing shows."""
        unit = (ROOT / "conf" / "ccdaemon.service").read_text("utf-8")
        [command] = re.findall(r"^ExecStart=(.*)$", unit, re.M)
        self.assertIn(command, (ROOT / "docs" / "install.md").read_text("utf-8"))
