"""Tests of packaging/Containerfile and compose.yaml, as far as they go without a container runtime.

What the image is built by is what docs/install.md has, and that is run by a test of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from ccdaemon.config import Asterisk, Config, Database
from tests.confined import settings
from tests.test_packaging import ROOT

CONTAINER = (ROOT / "packaging" / "Containerfile").read_text()
COMPOSE = (ROOT / "packaging" / "compose.yaml").read_text()


class ContainerTests(SynchronousTestCase):
    """The image and what it is run with."""

    def test_what_is_sent_to_the_build(self) -> None:
        """All that the wheels are made of is let through, and no more."""
        lines = (ROOT / ".dockerignore").read_text().split()
        sent = {line[1:] for line in lines if line.startswith("!")}
        [copied] = re.findall(r"^cp -R (.*) \S+$", (ROOT / "packaging/wheels").read_text(), re.M)
        self.assertEqual(sent, {*copied.split(), "packaging"})
        self.assertEqual(lines[0], "**")

    def test_built_as_the_page_says(self) -> None:
        """By the wheels, each with its hash, into the same place; the unit starts the same."""
        page = (ROOT / "docs" / "install.md").read_text()
        for step in ("python3 -m venv /opt/ccdaemon", "install --quiet --no-index --no-deps"):
            self.assertIn(step, CONTAINER)
            self.assertIn(step, page)
        [entry] = re.findall(r"^ENTRYPOINT \[(.*)\]$", CONTAINER, re.M)
        [command] = re.findall(r"^CMD \[(.*)\]$", CONTAINER, re.M)
        words = re.findall(r'"([^"]*)"', f"{entry} {command}")
        self.assertEqual(" ".join(words), dict(settings())["ExecStart"])

    def test_folders(self) -> None:
        """Those that a configuration has unless it says otherwise are there."""
        config = Config(
            asterisk=Asterisk(secret="x", client_channel="SIP/{phone}"),
            database=Database(url="embedded"),
        )
        recordings, log = config.asterisk.recordings_mount, config.asterisk.cel_file.parent
        for mount in (f"{recordings}:{recordings}\n", f"{log}:{log}:ro\n"):
            self.assertIn(f"- {mount}", COMPOSE)
        self.assertIn(f"- state:{config.state_dir}\n", COMPOSE)
        self.assertIn(f"VOLUME {config.state_dir}\n", CONTAINER)
        seconds = dict(settings())["TimeoutStopSec"]
        self.assertIn(f"stop_grace_period: {seconds}s", COMPOSE)

    def test_build(self) -> None:
        """Where there is a runtime it is built, and says how it is called."""
        runtime = shutil.which("podman") or shutil.which("docker")
        if runtime is None or subprocess.run([runtime, "info"], capture_output=True).returncode:
            raise SkipTest("NO CONTAINER RUNTIME, NOT TESTED: neither podman nor docker runs here")
        build = [runtime, "build", "-t", "ccdaemon-test", "-f", "packaging/Containerfile", "."]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=900)
        asked = subprocess.run(
            [runtime, "run", "--rm", "ccdaemon-test", "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("--config", asked.stdout)
