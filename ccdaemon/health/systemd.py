"""Tells systemd that the daemon is ready and alive, as ``sd_notify`` does.

Alive is told only while the journal's writer answers as well as the reactor: a daemon that turns
round and can keep nothing is no daemon, but the disk alone is nothing to be restarted for. Does
nothing where systemd did not start the daemon.
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, MutableMapping

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

Send = Callable[[bytes], None]


def sender(environment: Mapping[str, str]) -> Send | None:
    """What sends a line to systemd; None where it does not listen."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return None
    address = "\0" + path[1:] if path.startswith("@") else path

    def send(line: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            # A full socket is systemd's affair; the reactor does not wait for it.
            out.setblocking(False)
            out.sendto(line, address)

    return send


def interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life: half of what systemd allows; None if it wants none."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        allowed = int(environment.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return allowed / 2_000_000 if allowed > 0 else None


class Notify(Service):
    """Tells systemd.

    :param settled: fires when the journal's writer has answered, whatever its disk does.
    """

    log = Logger()

    def __init__(
        self,
        settled: Callable[[], Deferred[None]],
        clock: IReactorTime,
        environment: MutableMapping[str, str] = os.environ,
        pid: int | None = None,
    ) -> None:
        self._settled = settled
        self._clock = clock
        self._send = sender(environment)
        self._every = interval(environment, os.getpid() if pid is None else pid)
        self._signs: LoopingCall | None = None

    def startService(self) -> None:
        """Say that the daemon serves, and give signs of life if they are wanted."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._send is None:
            return
        self._say(b"READY=1\nSTATUS=serving")
        if self._every is not None:
            self._signs = LoopingCall(self._give_sign)
            self._signs.clock = self._clock
            self._signs.start(self._every)

    def stopService(self) -> None:
        """Say that the daemon ends."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._signs is not None and self._signs.running:
            self._signs.stop()
        self._say(b"STOPPING=1\nSTATUS=stopping")

    def _give_sign(self) -> Deferred[None]:
        # Where the writer hangs the loop does, and no sign is given until systemd has enough.
        answered = self._settled()
        answered.addCallbacks(lambda _: self._say(b"WATCHDOG=1"), self._cannot)
        return answered

    def _cannot(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.warn("no sign of life for systemd: {error}", error=failure.value)

    def _say(self, line: bytes) -> None:
        if self._send is None:
            return
        try:
            self._send(line)
        except OSError as error:
            self.log.warn("systemd cannot be told: {error}", error=error)
