"""The job that runs a program, which is right if it ends with 0."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass

from tests.pool.trial import LONGEST_TEXT, Told
from tests.pool.workers import ROOT, Tell


@dataclass(frozen=True)
class Program:
    """A program, by the name under which it is told of."""

    name: str
    argv: tuple[str, ...]

    def run(self, tell: Tell) -> None:
        """Run it in the checkout."""
        begun = time.monotonic()
        done = subprocess.run(
            self.argv,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        text = (done.stdout + done.stderr)[-LONGEST_TEXT:]
        sys.stdout.write(text)
        why = f"it ended with {done.returncode}" if done.returncode else ""
        outcome = "failed" if why else "passed"
        tell(Told(self.name, outcome, time.monotonic() - begun, why=why, text=text))  # type: ignore[arg-type]
