"""The do-not-call list: numbers of the configuration, and of a file that may change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from os import stat_result
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

#: Seconds between two looks at the file.
LOOK_EVERY = 30.0
_ENTRY = re.compile(r"\+?([0-9]{1,20}\*?)")


class Numbers:
    """Numbers, and beginnings of numbers (``7900*``), each with or without a plus.

    :ivar nonsense: lines that are neither; they count for nothing.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._prefixes: set[str] = set()
        self._lengths: set[int] = set()
        self.nonsense = 0
        for line in lines:
            # As people write them: 38 (044) 123-45-67 # asked on 3 May
            plain = re.sub(r"[ \t\r\n().-]", "", line.partition("#")[0])
            if found := _ENTRY.fullmatch(plain):
                self._add(found[1])
            elif plain:
                self.nonsense += 1

    def _add(self, entry: str) -> None:
        if entry.endswith("*"):
            self._prefixes.add(entry[:-1])
            self._lengths.add(len(entry) - 1)
        else:
            self._exact.add(entry)

    def __len__(self) -> int:
        return len(self._exact) + len(self._prefixes)

    def __contains__(self, phone: object) -> bool:
        return isinstance(phone, str) and (
            phone in self._exact or any(phone[:n] in self._prefixes for n in self._lengths)
        )


class DoNotCall(Service):
    """The list as it stands.

    :param listed: the configuration's numbers.
    :param file: a number in each line; None: there is none.
    :param run: runs a function that blocks in a thread.
    :raises OSError: if the file cannot be read now. Later the numbers last read stay.
    """

    log = Logger()

    def __init__(
        self,
        listed: Iterable[str],
        file: Path | None,
        run: Callable[..., Deferred[Any]],
        clock: IReactorTime,
    ) -> None:
        self._listed = Numbers(listed)
        self._file = file
        self._run = run
        self._read = Numbers()
        self._seen: tuple[int, int, int] | None = None
        self._failing = False
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock
        if file is not None:
            try:
                self._take(_read(file))
            except OSError as error:
                raise OSError(f"limits.do_not_call_file: {error}") from error

    def __contains__(self, phone: object) -> bool:
        return phone in self._listed or phone in self._read

    def __len__(self) -> int:
        return len(self._listed) + len(self._read)

    def startService(self) -> None:
        """Look at the file from now on."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._file is not None:
            self._looks.start(LOOK_EVERY, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looks.running:
            self._looks.stop()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._look_again())

    async def _look_again(self) -> None:
        assert self._file is not None
        try:
            read = await self._run(_read, self._file, self._seen)
        except Exception as error:
            # Nobody is called who was on it while nobody can say who is.
            if not self._failing:
                self.log.error(
                    "limits.do_not_call_file cannot be read, what was read last stays: {error}",
                    error=error,
                )
            self._failing = True
            return
        self._failing = False
        if read is not None:
            self._take(read)

    def _take(self, read: tuple[Numbers, tuple[int, int, int]] | None) -> None:
        assert read is not None
        self._read, self._seen = read
        self.log.info(
            "limits.do_not_call_file: {count} numbers, {nonsense} lines that are none",
            count=len(self._read),
            nonsense=self._read.nonsense,
        )


def _read(
    file: Path, seen: tuple[int, int, int] | None = None
) -> tuple[Numbers, tuple[int, int, int]] | None:
    """Read the file, unless it looks as it did."""
    looks = _looks(file.stat())
    if looks == seen:
        return None
    with file.open(encoding="utf-8", errors="replace") as lines:
        return Numbers(lines), looks


def _looks(found: stat_result) -> tuple[int, int, int]:
    return found.st_mtime_ns, found.st_size, found.st_ino
