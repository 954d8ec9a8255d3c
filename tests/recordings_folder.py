"""What tests of recordings share: a recordings folder and a journal in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ccdaemon.recordings.mp3 import Mp3Cache
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.store.facts import Fact
from ccdaemon.store.records import Chain
from tests.clocks import Wall

#: 2026-11-23T08:00:00.123Z.
MOMENT = 1795420800123
NAME = "cc-0a1b2c-12-o"
PATH = f"2026/11/23/{NAME}.wav"


class RecordingsTestCase(SynchronousTestCase):
    """Has a recordings folder and a journal in memory."""

    def setUp(self) -> None:
        """Start with both empty."""
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.clock = Clock()
        self.clock.advance(MOMENT / 1000)
        self.wall = Wall(self.clock)
        self.kept: list[Fact] = []
        self.journal: list[Deferred[list[int]]] = []
        self.lines: list[str] = []
        self.removed: list[str] = []
        self.looks = 0
        self.chain: Chain | None = None
        cache = Mp3Cache(Path(self.mktemp()), self.in_thread)
        self.recordings = Recordings(
            self.root,
            self.append,
            lambda _: succeed(self.chain),
            cast(Any, self.clock),
            self.wall,
            self.in_thread,
            cache,
            self.remove,
        )
        cast(Any, self.recordings).startService()

        @implementer(ILogObserver)
        def note(event: Any) -> None:
            if event["log_namespace"] == "ccdaemon.recordings.recordings":
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def in_thread(self, work: Any, *args: Any) -> Deferred[Any]:
        """Work at once."""
        self.looks += work.__name__ == "_look"
        return maybeDeferred(work, *args)

    async def remove(self, files: Sequence[tuple[str, str]]) -> None:
        """Remove recordings."""
        for _, path in files:
            self.removed.append(path)
            (self.root / path).unlink(missing_ok=True)

    def append(self, facts: Sequence[Fact]) -> Deferred[list[int]]:
        """Keep facts, unless told what to answer next."""
        if self.journal:
            return self.journal.pop(0)
        self.kept += facts
        return succeed(list(range(len(facts))))

    def write(self, content: bytes, path: str = PATH) -> Path:
        """Write a file into the recordings folder."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)
