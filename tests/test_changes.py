"""Tests of the changelog and of its fragments, so that no release finds out what is misnamed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon

ROOT = Path(ccdaemon.__file__).parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
KINDS = [kind["directory"] for kind in SETTINGS["type"]]
#: The + says that a fragment belongs to no issue, so towncrier gives it no number.
NAME = re.compile(rf"\+[a-z0-9-]+\.({'|'.join(KINDS)})\.md", re.ASCII)


class FragmentTests(SynchronousTestCase):
    """What lies in changes/."""

    def test_names(self) -> None:
        """Each file is named as changes/README.md says, and so as towncrier reads it."""
        files = [path.name for path in (ROOT / SETTINGS["directory"]).iterdir()]
        wrong = [name for name in files if name not in SETTINGS["ignore"]]
        self.assertEqual([name for name in wrong if not NAME.fullmatch(name)], [])

    def test_content(self) -> None:
        """Each says something, and is no heading."""
        for path in (ROOT / SETTINGS["directory"]).glob("+*.md"):
            self.assertRegex(path.read_text("utf-8"), r"\A[^#\s]", path.name)

    def test_kinds_in_the_page(self) -> None:
        """The page on fragments names every kind."""
        page = (ROOT / SETTINGS["directory"] / "README.md").read_text("utf-8")
        self.assertEqual([kind for kind in KINDS if f"`{kind}`" not in page], [])


class ChangelogTests(SynchronousTestCase):
    """CHANGELOG.md."""

    def test_it_can_be_added_to(self) -> None:
        """It has the line behind which towncrier writes, once."""
        content = (ROOT / SETTINGS["filename"]).read_text("utf-8")
        self.assertEqual(content.count(SETTINGS["start_string"]), 1)

    def test_versions(self) -> None:
        """This version is in it; no version is twice."""
        content = (ROOT / SETTINGS["filename"]).read_text("utf-8")
        versions = re.findall(r"^## (\S+) \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$", content, re.M)
        self.assertIn(ccdaemon.__version__, versions)
        self.assertEqual(len(versions), len(set(versions)))
