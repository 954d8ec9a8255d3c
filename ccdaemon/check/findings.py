"""What a check says: one line on one part."""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class Level(Enum):
    """How bad it is; FAIL: the daemon will not do its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@frozen
class Finding:
    """One line: how bad, which part of the configuration, and what was found."""

    level: Level
    part: str
    what: str

    def __str__(self) -> str:
        return f"{self.level.value:<4}  {self.part}: {self.what}"


def ok(part: str, what: str) -> Finding:
    """Something works."""
    return Finding(Level.OK, part, what)


def warn(part: str, what: str) -> Finding:
    """Something is not as it should be, and the daemon works all the same."""
    return Finding(Level.WARN, part, what)


def fail(part: str, what: str) -> Finding:
    """Something does not work."""
    return Finding(Level.FAIL, part, what)
