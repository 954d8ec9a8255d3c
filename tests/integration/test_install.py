"""docs/install.md, followed as printed on a bare Asterisk, up to calls out and in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lab import Unavailable
from lab.debian import Suite, cache_folder, ensure_root, install_on_host
from tests.integration.bare_machine import CHECKOUT

#: What the page takes for granted on a Debian, by program.
TAKEN_FOR_GRANTED = {"adduser": "adduser", "curl": "curl", "runuser": "util-linux"}
NAMESPACES = ["unshare", "--mount", "--propagation", "private"]
NAMESPACES += ["--pid", "--fork", "--kill-child", "--mount-proc"]


def machine_has_what_it_takes(cache: Path) -> None:
    """Install what a Debian has that people log in to."""
    missing = [package for name, package in TAKEN_FOR_GRANTED.items() if not shutil.which(name)]
    python = ["/usr/bin/python3", "-c", "import ensurepip, venv"]
    if not Path(python[0]).exists() or subprocess.run(python, check=False).returncode != 0:
        missing += ["python3", "python3-venv"]
    if missing:
        install_on_host(missing, cache / "install.log", print)


class InstallTests(SynchronousTestCase):
    """The page, on both ends of what it promises."""

    # Not side by side: what is built is built in the checkout.
    lasts = 25.0

    def follow(self, suite: Suite, flavour: str) -> dict[str, Any]:
        """Follow the page in namespaces of its own; what came of it."""
        cache = cache_folder()
        try:
            debian, phones = ensure_root(suite, cache), ensure_root("sid", cache)
            machine_has_what_it_takes(cache)
        except Unavailable as error:
            raise SkipTest(str(error)) from error
        folder = cache / "install" / f"{suite}-{os.getpid()}"
        folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        program = [sys.executable, "-m", "tests.integration.bare_machine"]
        ended = subprocess.run(
            [*NAMESPACES, *program, "install", str(debian), str(phones), flavour, str(folder)],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        logs = "".join(path.read_text(errors="replace")[-3000:] for path in folder.glob("*.log"))
        self.assertEqual(ended.returncode, 0, f"{ended.stdout}{ended.stderr}{logs}")
        result = json.loads(ended.stdout.splitlines()[-1])
        assert isinstance(result, dict)
        return result

    def holds(self, result: dict[str, Any]) -> None:
        """What the page promises: nothing fails, a whole chain, a recording, rows in the CEL."""
        self.assertNotIn("FAIL", result["check"])
        self.assertIn("rights of the AMI user: all that is needed, and no more", result["check"])
        self.assertIn("dialplan: is this version's: ccdaemon-outbound", result["check"])
        made, story = result["answers"]
        self.assertEqual(made["status"], "ok")
        self.assertEqual(story["response"][0]["states"][0]["state"], "CALL")
        self.assertEqual(
            result["states"],
            [
                "CALL",
                "OPERATOR_CALLTO",
                "OPERATOR_PICKUP",
                "CLIENT_CALLTO",
                "CLIENT_PICKUP",
                "FINISH",
            ],
        )
        self.assertEqual(
            [(state["state"], state["sip"]) for state in result["inbound"]],
            [
                ("CALL", None),
                ("OPERATOR_CALLTO", "1000"),
                ("OPERATOR_PICKUP", "1000"),
                ("FINISH", "1000"),
            ],
        )
        [record] = result["records"]
        self.assertGreater(record["duration"], 2.0)
        self.assertEqual(record["order_id"], "15")
        for event in ("CHAN_START", "ANSWER", "HANGUP", "LINKEDID_END"):
            self.assertIn(f'"{event}"', result["cel"])

    def test_asterisk_22_pjsip(self) -> None:
        """The page's commands bring a call on a bare Asterisk 22 with PJSIP."""
        self.holds(self.follow("sid", "pjsip"))

    def test_asterisk_16_chan_sip(self) -> None:
        """The page's commands bring a call on a bare Asterisk 16 with chan_sip."""
        self.holds(self.follow("bullseye", "chan_sip"))
