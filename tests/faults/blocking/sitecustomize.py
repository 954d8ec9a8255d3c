"""Lets a daemon's reactor be blocked from outside: Python runs this before the daemon's own code.

On SIGUSR2 the main thread, which is the reactor's, sleeps for ``FAULTS_BLOCKED`` seconds; all other
threads go on.
"""

from __future__ import annotations

import os
import signal
import time


def block(number: int, frame: object) -> None:
    """Stand still."""
    time.sleep(float(os.environ["FAULTS_BLOCKED"]))


signal.signal(signal.SIGUSR2, block)
