"""What systemd does for a daemon of ``Type=notify`` with a watchdog, where there is no systemd.

Knows the unit file, the datagrams of ``sd_notify`` and what systemd does when none comes; see
systemd.service(5) and sd_notify(3).
"""

from __future__ import annotations

import configparser
import contextlib
import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGABRT, SIGCONT, SIGKILL
from time import monotonic

from lab.daemon import Daemon

UNIT = Path(__file__).parent.parent / "conf" / "ccdaemon.service"
#: Seconds that a start may take, where the unit does not say.
_START_TIMEOUT = 90.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True)
class Unit:
    """What a unit file says of a service's life, in seconds.

    ``watchdog``: it is ended if it gives no sign of life for so long. ``stop``: then it is killed.
    ``restart``: between its end and its next start.
    """

    watchdog: float
    stop: float
    restart: float

    @classmethod
    def read(cls, path: Path = UNIT) -> Unit:
        """Read the file. :raises ValueError: it wants what is not known here."""
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(path.read_text("utf-8"))
        service = parser["Service"]
        for key, known in (("Type", "notify"), ("NotifyAccess", "main"), ("Restart", "always")):
            if service[key] != known:
                raise ValueError(f"{path}: {key}={service[key]}")
        return cls(
            *(float(service[key]) for key in ("WatchdogSec", "TimeoutStopSec", "RestartSec"))
        )

    def with_watchdog(self, seconds: float) -> Unit:
        """The same with another ``WatchdogSec``."""
        return replace(self, watchdog=seconds)


@dataclass(frozen=True)
class Ended:
    """An end of the daemon: when it was last heard of, when it ended (monotonic), and why."""

    heard: float
    moment: float
    why: str


class Watchdog:
    """Watches a daemon that others start the first time, and starts it again whenever it ends.

    ``look`` is to be called again and again, from the main thread: a child of the lab ends with the
    thread that started it. ``ends``: every end so far.
    """

    def __init__(self, daemon: Daemon, unit: Unit, clock: Callable[[], float] = monotonic) -> None:
        self.unit = unit
        self.ends: list[Ended] = []
        self._daemon = daemon
        self._clock = clock
        self._pid: int | None = None
        self._is_ready = False
        self._heard = clock()
        self._why: str | None = None
        self._asked: float | None = None
        self._gone: float | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        # Not the daemon's folder: a socket's name has 107 bytes at most, wherever the checkout is.
        name = f"ccdaemon-{secrets.token_hex(8)}"
        self._socket.bind(f"\0{name}")
        daemon.environment |= {
            "NOTIFY_SOCKET": f"@{name}",
            "WATCHDOG_USEC": str(round(unit.watchdog * 1_000_000)),
        }

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()

    def look(self) -> None:
        """Hear what the daemon says, and do what is due."""
        now, pid = self._clock(), self._daemon.pid
        if pid is None:
            self._is_gone(now)
            return
        if pid != self._pid:
            self._pid, self._is_ready, self._heard = pid, False, now
            self._why = self._asked = self._gone = None
        self._listen(now)
        limit = self.unit.watchdog if self._is_ready else _START_TIMEOUT
        if self._asked is None and now - self._heard > limit:
            self._why, self._asked = "no sign of life" if self._is_ready else "not ready", now
            self._daemon.send(SIGABRT)
            # As systemd does: what stands still could not end otherwise.
            self._daemon.send(SIGCONT)
        elif self._asked is not None and now - self._asked > self.unit.stop:
            self._daemon.send(SIGKILL)

    def _is_gone(self, now: float) -> None:
        if self._pid is None:
            return
        if self._gone is None:
            self._gone = now
            self.ends.append(Ended(self._heard, now, self._why or "by itself"))
        elif now - self._gone >= self.unit.restart:
            self._daemon.start(wait=False)

    def _listen(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                said, ancillary, _, _ = self._socket.recvmsg(
                    4096, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
                if self._pid in [
                    _CREDENTIALS.unpack(data)[0]
                    for _, kind, data in ancillary
                    if kind == socket.SCM_CREDENTIALS
                ]:
                    self._said(said.split(b"\n"), now)

    def _said(self, lines: list[bytes], now: float) -> None:
        if b"READY=1" in lines:
            self._is_ready, self._heard = True, now
        if b"WATCHDOG=1" in lines:
            self._heard = now
        if b"STOPPING=1" in lines:
            # From here on systemd counts ``TimeoutStopSec``.
            self._heard = now + self.unit.stop - self.unit.watchdog
