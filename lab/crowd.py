"""Somebody who has Asterisk tell everybody of events, as many as it can.

Knows of AMI what it takes to log in and to say one thing again and again.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from time import monotonic

from lab.asterisk_files import CROWD

#: Actions that are written at once.
_AT_ONCE = 200
_PIECE = 1 << 16


class Crowd:
    """A session of the lab's talkative AMI user.

    :param port: of AMI on loopback.
    :param event: what the events are called: UserEvents, since these anybody may cause.
    :param rate: events a second at most.
    """

    def __init__(self, port: int, event: str, rate: float) -> None:
        self._event = event
        self._pause = _AT_ONCE / rate
        self._over = threading.Event()
        self._link = socket.create_connection(("127.0.0.1", port), timeout=10.0)
        self._threads = [
            threading.Thread(target=run, daemon=True) for run in (self._talk, self._listen)
        ]
        self._say(f"Action: Login\r\nUsername: {CROWD}\r\nSecret: {CROWD}\r\nEvents: off\r\n\r\n")
        self.said = 0
        for thread in self._threads:
            thread.start()

    def stop(self) -> int:
        """End; how many events were asked for."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._link.close()
        return self.said

    def _say(self, text: str) -> None:
        self._link.sendall(text.encode())

    def _talk(self) -> None:
        words = f"Action: UserEvent\r\nUserEvent: {self._event}\r\nUniqueid: 1.1\r\n\r\n"
        due = monotonic()
        with contextlib.suppress(OSError):
            while not self._over.wait(max(0.0, due - monotonic())):
                self._say(words * _AT_ONCE)
                self.said += _AT_ONCE
                due = max(due, monotonic() - 1) + self._pause

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while self._link.recv(_PIECE):
                pass
