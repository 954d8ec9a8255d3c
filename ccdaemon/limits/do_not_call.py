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

from ccdaemon.numbers import Numbers

#: Seconds between two looks at the file.
LOOK_EVERY = 30.0
_ENTRY = re.compile(r"\+?[0-9]{1,20}\*?", re.ASCII)


class Listed:
    """Numbers, and beginnings of numbers (``7900*``), as people write them; each in its form.

    :param numbers: says what a number means.
    :ivar nonsense: lines that are neither; they count for nothing.
    """

    def __init__(self, numbers: Numbers, lines: Iterable[str] = ()) -> None:
        self._numbers = numbers
        self._exact: set[str] = set()
        self._prefixes: set[str] = set()
        self._lengths: set[int] = set()
        self._count = 0
        self.nonsense = 0
        for line in lines:
            # As people write them: 38 (044) 123-45-67 # asked on 3 May
            plain = re.sub(r"[ \t\r\n()./-]", "", line.partition("#")[0])
            if _ENTRY.fullmatch(plain):
                self._add(plain)
            elif plain:
                self.nonsense += 1

    def _add(self, entry: str) -> None:
        digits = entry.removeprefix("+")
        # As it is written, too: nobody is called because a plan does not know their number.
        if entry.endswith("*"):
            beginnings = {digits[:-1], self._numbers.beginning(entry[:-1])}
            self._prefixes |= beginnings
            self._lengths |= {len(beginning) for beginning in beginnings}
        else:
            self._exact |= {digits, self._numbers.form(entry) or digits}
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __contains__(self, phone: object) -> bool:
        return isinstance(phone, str) and (
            phone in self._exact or any(phone[:n] in self._prefixes for n in self._lengths)
        )


class DoNotCall(Service):
    """The list as it stands.

    :param listed: the configuration's numbers.
    :param numbers: says what a number means.
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
        numbers: Numbers,
    ) -> None:
        self._numbers = numbers
        self._listed = Listed(numbers, listed)
        self._file = file
        self._run = run
        self._read = Listed(numbers)
        self._seen: tuple[int, int, int] | None = None
        self._failing = False
        self._looks = LoopingCall(self._look)
        self._looks.clock = clock
        if file is not None:
            try:
                self._take(_read(file, numbers))
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
            read = await self._run(_read, self._file, self._numbers, self._seen)
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

    def _take(self, read: tuple[Listed, tuple[int, int, int]] | None) -> None:
        assert read is not None
        self._read, self._seen = read
        self.log.info(
            "limits.do_not_call_file: {count} numbers, {nonsense} lines that are none",
            count=len(self._read),
            nonsense=self._read.nonsense,
        )


def _read(
    file: Path, numbers: Numbers, seen: tuple[int, int, int] | None = None
) -> tuple[Listed, tuple[int, int, int]] | None:
    """Read the file, unless it looks as it did."""
    looks = _looks(file.stat())
    if looks == seen:
        return None
    with file.open(encoding="utf-8", errors="replace") as lines:
        return Listed(numbers, lines), looks


def _looks(found: stat_result) -> tuple[int, int, int]:
    return found.st_mtime_ns, found.st_size, found.st_ino
