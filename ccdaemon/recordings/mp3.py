"""Recordings as mp3: made when first asked for, kept in a folder of bounded size.

One file is made once at a time, however many ask for it. Knows nothing of calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.wav import NotComplete, NotSupported, encode_mp3

T = TypeVar("T")
_log = Logger()


class InThread(Protocol):
    """Runs something that blocks where it blocks nobody, such as in a thread pool."""

    def __call__(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        """Start the work; the Deferred fires with its result or its failure."""
        ...


class Mp3Cache:
    """A folder of mp3 files, the least recently used of which go first.

    :param limit: how many bytes are kept, but for the newest file, which is kept in any case.
    :param at_once: how many are made at the same time.
    :param most_waiting: how many different files may be asked for before more are refused.
    """

    def __init__(
        self,
        folder: Path,
        in_thread: InThread,
        limit: int = 1 << 30,
        at_once: int = 2,
        most_waiting: int = 64,
    ) -> None:
        self._folder = folder
        self._in_thread = in_thread
        self._limit = limit
        self._makers = DeferredSemaphore(at_once)
        self._most_waiting = most_waiting
        self._being_made: dict[str, Deferred[Path | Refused]] = {}
        self._stopped = False

    async def get(self, name: str, wav: Path) -> Path:
        """Find the mp3 of a recording, or make it.

        :param name: a plain file name without suffix, the same for the same recording.
        :raises Refused: ``not_ready`` while too many are being made or the disk is full,
            ``record_unknown`` if there is nothing to make it of.
        """
        found = await self._in_thread(self._used, name)
        if found is not None:
            return found
        outcome = await _branch(self._being_made.get(name) or self._make(name, wav))
        if isinstance(outcome, Refused):
            raise outcome
        return outcome

    async def remove(self, name: str) -> None:
        """Remove a recording's mp3, also one that is just being made."""
        if name in self._being_made:
            await _branch(self._being_made[name])
        await self._in_thread(self._path(name).unlink, True)

    def clean(self) -> None:
        """Remove what an earlier process left unfinished. It blocks, for a short time."""
        for part in self._folder.glob("*.part"):
            part.unlink(missing_ok=True)

    def stop(self) -> Deferred[Any]:
        """Break off what is being made; fires when no thread works on it any more."""
        self._stopped = True
        return DeferredList([_branch(made) for made in self._being_made.values()])

    def _make(self, name: str, wav: Path) -> Deferred[Path | Refused]:
        if len(self._being_made) >= self._most_waiting:
            raise Refused(Code.NOT_READY, "too many mp3 files are being made", retry_after=5)
        made: Deferred[Path | Refused] = Deferred()
        self._being_made[name] = made

        def finish(outcome: Path | Refused) -> None:
            del self._being_made[name]
            made.callback(outcome)

        work = self._makers.run(self._in_thread, self._encode, name, wav)
        work.addErrback(_as_refusal, name).addCallback(finish)
        return made

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.mp3"

    # From here on: in a thread.

    def _used(self, name: str) -> Path | None:
        """Give the file if it is there, and note that it was wanted now."""
        path = self._path(name)
        try:
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
        except FileNotFoundError:
            return None
        return path

    def _encode(self, name: str, wav: Path) -> Path:
        path = self._path(name)
        part = path.with_suffix(".part")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            if not encode_mp3(wav, part, lambda: self._stopped):
                raise Refused(Code.NOT_READY, "the daemon is stopping")
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        kept = [(path, path.stat()) for path in self._folder.glob("*.mp3")]
        total = sum(seen.st_size for _, seen in kept)
        for path, seen in sorted(kept, key=lambda one: one[1].st_atime_ns):
            if total <= self._limit:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= seen.st_size


def _branch(made: Deferred[T]) -> Deferred[T]:
    """Wait for something without taking its result away from others who wait for it."""
    branch: Deferred[T] = Deferred()

    def deliver(outcome: T) -> T:
        branch.callback(outcome)
        return outcome

    made.addCallback(deliver)
    return branch


def _as_refusal(failure: Failure, name: str) -> Refused:
    error = failure.value
    match error:
        case Refused():
            return error
        case FileNotFoundError() | NotComplete() | NotSupported():
            _log.warn("No mp3 of {name}: {reason}", name=name, reason=str(error))
            return Refused(Code.RECORD_UNKNOWN, f"no mp3 can be made of this recording: {error}")
        case OSError():
            _log.error("No mp3 of {name} for now: {reason}", name=name, reason=str(error))
            return Refused(Code.NOT_READY, "the mp3 cannot be written just now", retry_after=60)
        case _:
            _log.failure("No mp3 of {name}", failure, name=name)
            return Refused(Code.INTERNAL, "the mp3 cannot be made")
