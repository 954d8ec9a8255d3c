"""SIGHUP, which ends a process unless somebody minds it: the daemon stays, and says so."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger


class Sighup(Service):
    """Outlives the terminal that the daemon was started from, and ``systemctl kill -s HUP``."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._before: Any = None

    def startService(self) -> None:
        """Mind the signal; where it is ignored already, as under nohup, it stays so."""
        super().startService()  # type: ignore[no-untyped-call]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            self._before = signal.signal(signal.SIGHUP, self._hung_up)

    def stopService(self) -> None:
        """Leave the signal as it was, once the daemon has ended."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._before is not None:
            signal.signal(signal.SIGHUP, self._before)
            self._before = None

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        # A signal may come in the middle of a line of the log.
        self._reactor.callFromThread(
            self.log.info,
            "SIGHUP does nothing: the configuration is read at the start, and a new log file is"
            " begun at SIGUSR1",
        )
