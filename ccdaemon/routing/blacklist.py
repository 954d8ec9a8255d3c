"""Who is not put through: a caller's number against the blacklist. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ccdaemon.numbers import NO_HOME, Numbers

#: How the blacklist names those who hide their number, and how trunks do.
ANONYMOUS = "anonymous"
_HIDDEN = frozenset({"", ANONYMOUS, "unknown", "restricted", "unavailable", "private"})


class Blacklist:
    """Numbers, and beginnings of numbers (``7900*``), each in its form.

    :param numbers: says what a number means.
    """

    def __init__(self, entries: Iterable[str], numbers: Numbers = NO_HOME) -> None:
        self._numbers = numbers
        plain = [entry.lower() for entry in entries]
        self._exact = frozenset(self._form(entry) for entry in plain if not entry.endswith("*"))
        self._prefixes = tuple(
            numbers.beginning(entry[:-1]) for entry in plain if entry.endswith("*")
        )

    def _form(self, phone: str) -> str:
        number = phone.strip().lower()
        return self._numbers.form(number) or number.removeprefix("+")

    def entry_of(self, phone: str) -> str | None:
        """Give the entry that a caller falls under; None if none."""
        number = self._form(phone)
        if number in _HIDDEN:
            number = ANONYMOUS
        if number in self._exact:
            return number
        return next((f"{prefix}*" for prefix in self._prefixes if number.startswith(prefix)), None)
