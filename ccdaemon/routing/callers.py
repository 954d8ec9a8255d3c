"""Who is not put through: a caller's number against the blacklist. Pure."""

from __future__ import annotations

from collections.abc import Iterable

#: How the blacklist names those who hide their number, and how trunks do.
ANONYMOUS = "anonymous"
_HIDDEN = frozenset({"", ANONYMOUS, "unknown", "restricted", "unavailable", "private"})


class Blacklist:
    """Numbers, and beginnings of numbers (``7900*``)."""

    def __init__(self, entries: Iterable[str]) -> None:
        plain = [entry.removeprefix("+").lower() for entry in entries]
        self._exact = frozenset(entry for entry in plain if not entry.endswith("*"))
        self._prefixes = tuple(entry[:-1] for entry in plain if entry.endswith("*"))

    def entry_of(self, phone: str) -> str | None:
        """Give the entry that a caller falls under; None if none."""
        number = phone.strip().removeprefix("+").lower()
        if number in _HIDDEN:
            number = ANONYMOUS
        if number in self._exact:
            return number
        return next((f"{prefix}*" for prefix in self._prefixes if number.startswith(prefix)), None)
