"""What a fault leaves for the judge: when something was away, and what it saw itself.

All times are in seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """Something that is not as it should be. ``name``: of the call's kind, or whose it is."""

    name: str
    call_id: int | None
    what: str


@dataclass(frozen=True)
class Cut:
    """Asterisk ended, with all its calls: from when to when.

    ``told``: it hung up its calls before, each for a reason of its own.
    """

    gone: float
    back: float
    told: bool


@dataclass(frozen=True)
class Silence:
    """The daemon was dead or stood still: from when to when it was back at its work."""

    gone: float
    back: float
