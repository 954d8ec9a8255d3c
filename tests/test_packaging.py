"""Tests of what ``pip install`` gives: built, installed and run away from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon

ROOT = Path(ccdaemon.__file__).parent.parent
PARTS = [
    "ccdaemon",
    "conf",
    "twisted",
    "docs",
    "lab",
    "packaging",
    "tests",
    "setup.py",
    "pyproject.toml",
]
PARTS += [
    "changes",
    "MANIFEST.in",
    "Makefile",
    "constraints.txt",
    "requirements.txt",
    "tox.ini",
    "LICENSE",
]
PARTS += sorted(path.name for path in ROOT.glob("*.md"))
BUILD = "from setuptools import build_meta as b; b.build_sdist('.'); b.build_wheel('.')"


def run(*argv: str, cwd: Path, path: Path | None = None) -> str:
    """Run a program to its end and give what it printed; it has to succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    done = subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


class PackageTests(SynchronousTestCase):
    """The wheel and the source package, made from a copy of the checkout."""

    def setUp(self) -> None:
        """Build both."""
        self.base = Path(self.mktemp()).absolute()
        source = self.base / "source"
        source.mkdir(parents=True)
        for name in PARTS:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / name)
        run(sys.executable, "-c", BUILD, cwd=source)
        [self.wheel] = source.glob("*.whl")
        [self.sdist] = source.glob("*.tar.gz")

    def test_wheel(self) -> None:
        """Installed, the wheel has the plugin, the command, conf/ and the migrations."""
        target = self.base / "target"
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        run(
            *pip, "--no-deps", "--no-index", "--target", str(target), str(self.wheel), cwd=self.base
        )
        twistd = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
        said = run(sys.executable, "-c", twistd, "ccdaemon", "--help", cwd=self.base, path=target)
        self.assertIn("ccdaemon init DIR", said)
        command = str(target / "bin" / "ccdaemon")
        run(sys.executable, command, "init", "conf", cwd=self.base, path=target)
        shipped = [path for path in (ROOT / "ccdaemon/conf").rglob("*") if path.is_file()]
        migrations = list((ROOT / "ccdaemon/store/migrations").glob("*.sql"))
        self.assertNotEqual(migrations, [])
        for path in (*shipped, *migrations):
            installed = target / path.relative_to(ROOT)
            self.assertEqual(installed.read_bytes(), path.read_bytes())
        self.assertTrue((self.base / "conf" / "ccdaemon.toml").exists())

    def test_metadata(self) -> None:
        """The wheel says whose it is and under which licence, and has its words."""
        with zipfile.ZipFile(self.wheel) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
            said = wheel.read(name).decode()
            words = [name for name in wheel.namelist() if name.endswith("/licenses/LICENSE")]
        for line in (
            "License-Expression: MIT",
            "Author: the ccdaemon authors",
            "Classifier: Framework :: Twisted",
        ):
            self.assertIn(f"\n{line}\n", said)
        self.assertRegex(said, r"\nProject-URL: Documentation, https://\S+\n")
        self.assertEqual(len(words), 1)

    def test_sdist(self) -> None:
        """The source package has the tests, the lab, conf/ and the pins beside the code."""
        with tarfile.open(self.sdist) as package:
            names = {name.partition("/")[2] for name in package.getnames()}
        for name in (
            "CHANGELOG.md",
            "LICENSE",
            "changes/README.md",
            "ccdaemon/conf/asterisk/extensions_ccdaemon.conf",
            "conf/ccdaemon.toml",
            "conf/grafana/alerts.yml",
            "conf/grafana/ccdaemon.json",
            "constraints.txt",
            "packaging/deb",
            "requirements.txt",
            "lab/__init__.py",
            "tests/test_packaging.py",
            "twisted/plugins/ccdaemon_plugin.py",
        ):
            self.assertIn(name, names)


class RequirementsTests(SynchronousTestCase):
    """What is installed with hashes."""

    def test_as_constraints(self) -> None:
        """Each has the version that the tests run with, and at least one hash."""
        pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
        versions = {re.sub(r"[_.]", "-", name.lower()): version for name, version in pins.items()}
        blocks = re.split(r"\n(?=[a-z])", (ROOT / "requirements.txt").read_text())
        found = {}
        for block in blocks[1:]:
            name, version = re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", block)[0]
            self.assertIn("--hash=sha256:", block, name)
            found[name] = version
        self.assertEqual({name: versions.get(name) for name in found}, found)
        self.assertIn("twisted", found)
