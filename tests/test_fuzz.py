"""Tests of the fuzzing program: it finds what is wrong, says with what, and else nothing is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
#: A parser that cannot take an ``x``.
WRONG = """
import sys
from tests import fuzz

def wrong(dice, data):
    if b"x" in data:
        raise KeyError("x")

fuzz.TARGETS = {"wrong": (wrong, lambda: [b"ax" * 9])}
sys.exit(fuzz.main(["20", "--seed", "7"]))
"""


class FuzzTests(SynchronousTestCase):
    """The program, run as one runs it."""

    def run_it(self, *arguments: str) -> tuple[int, str]:
        """Its exit status and what it says."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": self.folder}
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def setUp(self) -> None:
        """Have a folder for what is kept."""
        self.folder = str(Path(self.mktemp()).absolute())
        Path(self.folder).mkdir()

    def test_all_targets(self) -> None:
        """A few hundred inputs for every target, and nothing is wrong."""
        status, said = self.run_it("-m", "tests.fuzz", "3")
        self.assertEqual(status, 0, said)
        for target in ("ami", "agi", "agi_server", "cel", "cel_file", "sip", "http", "parameters"):
            self.assertRegex(said, rf"\b{target} [1-9]")

    def test_something_wrong(self) -> None:
        """What breaks a parser is printed and kept, with the seed."""
        status, said = self.run_it("-c", WRONG)
        self.assertEqual(status, 1, said)
        self.assertIn("KeyError: 'x'", said)
        self.assertIn("wrong, seed 7, input ", said)
        (kept,) = Path(self.folder).glob("fuzz-wrong-7-*")
        self.assertIn(b"x", kept.read_bytes())
        self.assertIn(str(kept), said)
