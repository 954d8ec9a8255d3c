"""The Debian package: built as it is shipped, installed, upgraded, used, removed and purged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lab import Unavailable
from lab.debian import cache_folder, ensure_root
from tests.integration.bare_machine import CHECKOUT
from tests.integration.test_install import NAMESPACES, machine_has_what_it_takes


class DebTests(SynchronousTestCase):
    """Its life on a machine beside Asterisk."""

    lasts = 240.0
    # The build alone takes minutes, where others work beside it.
    longest = 1500.0
    nightly = True

    def live(self) -> dict[str, Any]:
        """Build it, and have it live."""
        cache = cache_folder()
        try:
            debian = ensure_root("sid", cache)
            machine_has_what_it_takes(cache)
        except Unavailable as error:
            raise SkipTest(str(error)) from error
        folder = cache / "install" / f"deb-{os.getpid()}"
        (folder / "machine").mkdir(parents=True)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        built = self.run_program(["packaging/deb", str(folder)])
        package = built.splitlines()[-1]
        program = [sys.executable, "-m", "tests.integration.deb_machine", "install"]
        arguments = [str(debian), str(debian), package, str(folder / "machine")]
        result = json.loads(self.run_program([*NAMESPACES, *program, *arguments]).splitlines()[-1])
        assert isinstance(result, dict)
        return result

    def run_program(self, argv: list[str]) -> str:
        """Run a program of the checkout's; it has to succeed."""
        ended = subprocess.run(
            argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=900, check=False
        )
        self.assertEqual(ended.returncode, 0, f"{ended.stdout}{ended.stderr}")
        return ended.stdout

    def test_life(self) -> None:
        """Its configuration outlives upgrade and removal; purged, it says what stays."""
        result = self.live()
        self.assertIn("a configuration is in /etc/ccdaemon", result["installed"])
        self.assertIn("/etc/ccdaemon stays as it is", result["upgraded"])
        self.assertTrue(result["kept"])
        self.assertNotIn("FAIL", result["check"])
        talked = ["OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP"]
        self.assertEqual(result["states"], ["CALL", *talked, "FINISH"])
        self.assertTrue(result["still"])
        self.assertIn("These stay, and are yours to remove", result["purged"])
        self.assertEqual(result["left"], [])
        self.assertTrue(result["history"])
