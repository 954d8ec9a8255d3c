"""Looks at a folder now and then: is it there, may it be read and written, how much room is left.

A network file system that is dead blocks whoever looks, so that is done in a thread, and a look
that does not come back is itself what there is to say.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from ccdaemon.recordings.mp3 import InThread

#: Seconds between two looks.
LOOK_EVERY = 10.0
#: Seconds after which a look that has not come back is said to hang.
HANGS = 5.0


@dataclass(frozen=True, slots=True)
class Room:
    """What a look at a folder found; bytes that are ``free`` to us, and in ``total``.

    ``trouble`` says why the folder cannot be used, None if it can.
    """

    trouble: str | None
    writable: bool
    free: int
    total: int


def look_at(folder: Path) -> Room:
    """Look at a folder. Blocks."""
    try:
        there = os.statvfs(folder)
        if not folder.is_dir():
            return Room("is not a folder", False, 0, 0)
        free, total = there.f_bavail * there.f_frsize, there.f_blocks * there.f_frsize
        if not os.access(folder, os.R_OK | os.X_OK):
            return Room("may not be read by the daemon's user", False, free, total)
        return Room(None, os.access(folder, os.W_OK), free, total)
    except OSError as error:
        return Room(error.strerror or str(error), False, 0, 0)


class FolderWatch(Service):
    """Keeps what the last look at a folder found."""

    def __init__(self, folder: Path, in_thread: InThread, clock: IReactorTime) -> None:
        self.folder = folder
        self._in_thread = in_thread
        self._clock = clock
        self._found: Room | None = None
        self._asked: float | None = None
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock

    def startService(self) -> None:
        """Look, and go on looking."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looks.start(LOOK_EVERY)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looks.running:
            self._looks.stop()

    @property
    def room(self) -> Room | None:
        """What the last look found; None before the first one is over."""
        if self._asked is not None and self._clock.seconds() - self._asked > HANGS:
            return Room("does not answer: a look at it hangs", False, 0, 0)
        return self._found

    def _look(self) -> None:
        if self._asked is not None:
            return
        self._asked = self._clock.seconds()
        asked = self._in_thread(look_at, self.folder)
        asked.addCallbacks(self._seen, lambda failure: self._seen(_failed(failure)))

    def _seen(self, room: Room) -> None:
        self._found, self._asked = room, None


def _failed(failure: object) -> Room:
    return Room(f"cannot be looked at: {failure}", False, 0, 0)
