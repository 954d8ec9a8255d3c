"""Countries: which numbers of theirs cost extra, and where somebody was called before.

The first call ever to a country is an alarm.

The countries are kept as lines of a file in ``state_dir``, so that a restart forgets none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.numbers import Kind

#: Countries that a name stands for beside its own: the North American plan without the islands that
#: bill as other countries.
TOGETHER: dict[str, frozenset[str]] = {
    "us": frozenset({"us", "ca", "pr", "vi", "gu", "mp", "as"}),
}
#: What costs extra is no ordinary number, whoever allows the country.
COSTS_EXTRA = frozenset({Kind.PREMIUM, Kind.SHARED_COST, Kind.PERSONAL, Kind.PAGER})


def all_of(countries: Iterable[str]) -> frozenset[str]:
    """Every country that the names stand for."""
    return frozenset().union(*(TOGETHER.get(name, {name}) for name in countries))


#: The file's name.
NAME = "countries-called"


class CountriesCalled:
    """Countries in two small letters.

    :param file: where they are kept; None: nowhere.
    :param run: runs a function that blocks in a thread.
    """

    log = Logger()

    def __init__(self, file: Path | None = None, run: Callable[..., Deferred[Any]] | None = None):
        self._file = file
        self._run = run
        self._known: set[str] = set()

    def begin(self) -> None:
        """Read the file. Blocks. One that cannot be read has nothing in it: alarms come again."""
        if self._file is None:
            return
        try:
            self._known |= set(self._file.read_text("ascii").split())
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.log.error("{file} cannot be read: {error}", file=self._file, error=error)

    def is_new(self, country: str) -> bool:
        """Whether nobody has called there before; from now on somebody has."""
        if country in self._known:
            return False
        self._known.add(country)
        if self._file is not None and self._run is not None:
            writing = self._run(_append, self._file, country)
            writing.addErrback(self._not_kept)
        return True

    def _not_kept(self, failure: Failure) -> None:
        self.log.error("{file} cannot be written: {error}", file=self._file, error=failure.value)


def _append(file: Path, country: str) -> None:
    with file.open("a", encoding="ascii") as lines:
        lines.write(f"{country}\n")
