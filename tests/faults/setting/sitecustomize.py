"""Lets a daemon's clock on the wall be set from outside: Python runs this before its own code.

The file ``FAULTS_CLOCK`` says by how many seconds it is set, from the next start on and after each
SIGUSR2. All other clocks go as they did, and everybody else's.
"""

from __future__ import annotations

import os
import signal
import time

_now, _now_ns = time.time, time.time_ns
_ahead = 0.0


def look(number: int = 0, frame: object = None) -> None:
    """Read by how many seconds the clock is set."""
    global _ahead
    with open(os.environ["FAULTS_CLOCK"], encoding="ascii") as file:
        _ahead = float(file.read())


look()
signal.signal(signal.SIGUSR2, look)
time.time = lambda: _now() + _ahead
time.time_ns = lambda: _now_ns() + int(_ahead * 1e9)
