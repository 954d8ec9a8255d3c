"""Threads for what blocks: files, names, whatever hangs on a dead network.

Knows nothing of what is run in them.
"""

from __future__ import annotations

from functools import partial
from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

#: As many for each kind of work: where one kind hangs, the others go on.
THREADS = 4


class Threads(Service):
    """A few threads for one kind of work.

    They keep nobody: what hangs in one of them, on a dead name server or network file system, is
    left to the end of the process.
    """

    def __init__(self, reactor: Any) -> None:
        self._pool = ThreadPool(0, THREADS, "ccdaemon")
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self.run = partial(deferToThreadPool, reactor, self._pool)

    def startService(self) -> None:
        """Take work."""
        super().startService()  # type: ignore[no-untyped-call]
        self._pool.start()

    def stopService(self) -> None:
        """Take no more work, and wait for none."""
        super().stopService()  # type: ignore[no-untyped-call]
        # It joins the threads.
        Thread(target=self._pool.stop, daemon=True).start()
