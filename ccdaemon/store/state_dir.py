"""One daemon per ``state_dir``: a file lock that says who holds it.

The lock is the kernel's: it goes with the process, however that ends. The pid in the file is
only for people.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ccdaemon.store.failures import StateDirBusy


class StateDirLock:
    """The right to use a ``state_dir``, held from :meth:`acquire` to :meth:`release`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        :raise StateDirBusy: if another process has it.
        :raise OSError: if the folder cannot be made or written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            written = os.read(fd, 32).strip()
            os.close(fd)
            pid = int(written) if written.isdigit() else None
            raise StateDirBusy(str(self._path.parent), pid) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Give the lock back, if it is held. The file stays: unlinking it would race."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
