"""Kinds of parameters: which texts each allows, what value they become, how OpenAPI calls them.

Pure. Every pattern is ASCII and speaks of the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Generic, Protocol, TypeVar

from ccdaemon.config.validators import Pattern
from ccdaemon.numbers import LONGEST, NO_HOME, Number, Numbers

T_co = TypeVar("T_co", covariant=True)
E = TypeVar("E", bound=Enum)
Schema = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Patterns:
    """What an operator's number and a phone may be, as configured."""

    sip: Pattern
    phone: Pattern
    numbers: Numbers = NO_HOME


class ParamType(Protocol[T_co]):
    """What a parameter may be."""

    def parse(self, text: str, patterns: Patterns) -> T_co:
        """Make the value.

        :raises ValueError: if the text is not allowed; it says nothing of use to a client.
        """
        ...

    def expected(self, patterns: Patterns) -> str:
        """Complete the sentence "<name> must be …"."""
        ...

    def schema(self, patterns: Patterns) -> Schema:
        """Describe the kind as JSON Schema."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in a range; ``high`` None: without an upper bound."""

    low: int
    high: int | None

    def parse(self, text: str, patterns: Patterns) -> int:
        """Read decimal digits and nothing else."""
        if re.fullmatch("[0-9]{1,4000}", text) is None:
            raise ValueError
        number = int(text)
        if number < self.low or (self.high is not None and number > self.high):
            raise ValueError
        return number

    def expected(self, patterns: Patterns) -> str:
        """Name the range."""
        if self.high is None:
            return f"a whole number from {self.low}"
        return f"a whole number from {self.low} to {self.high}"

    def schema(self, patterns: Patterns) -> Schema:
        """Name the range."""
        bounds = {"minimum": self.low} | ({} if self.high is None else {"maximum": self.high})
        return {"type": "integer", **bounds}


@dataclass(frozen=True, slots=True)
class Seconds:
    """Some seconds, from none to a limit, with up to three decimals."""

    high: int

    def parse(self, text: str, patterns: Patterns) -> float:
        """Read a plain decimal number."""
        if re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text) is None:
            raise ValueError
        number = float(text)
        if number > self.high:
            raise ValueError
        return number

    def expected(self, patterns: Patterns) -> str:
        """Name the range."""
        return f"a number of seconds from 0 to {self.high}"

    def schema(self, patterns: Patterns) -> Schema:
        """Name the range, and what is no finer than a clock's."""
        return {"type": "number", "minimum": 0, "maximum": self.high, "multipleOf": 0.001}


@dataclass(frozen=True, slots=True)
class Text:
    """A text that matches a pattern as a whole."""

    pattern: str
    what: str

    def parse(self, text: str, patterns: Patterns) -> str:
        """Take the text as it is."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValueError
        return text

    def expected(self, patterns: Patterns) -> str:
        """Say it in words."""
        return self.what

    def schema(self, patterns: Patterns) -> Schema:
        """Name the pattern."""
        return {"type": "string", "pattern": f"^{self.pattern}$"}


@dataclass(frozen=True, slots=True)
class Sip:
    """An operator's number, by the configured pattern."""

    def parse(self, text: str, patterns: Patterns) -> str:
        """Take the number as it is."""
        if not patterns.sip.matches(text):
            raise ValueError
        return text

    def expected(self, patterns: Patterns) -> str:
        """Name the pattern."""
        return f"an operator's number that matches {patterns.sip.text} as a whole"

    def schema(self, patterns: Patterns) -> Schema:
        """Name the pattern."""
        return {"type": "string", "pattern": f"^(?:{patterns.sip.text})$"}


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone number as people write it; its form is by the configured pattern."""

    def parse(self, text: str, patterns: Patterns) -> Number:
        """Read what it means."""
        # A plus that nobody escaped reaches us from a query string as a space.
        sent = f"+{text[1:]}" if text[0] == " " else text
        number = patterns.numbers.read(sent)
        if number is None:
            # What is dialled and is no number of any country, such as *98.
            number = Number(sent.removeprefix("+"), sent)
            if number.form.isdigit():
                raise ValueError
        if not patterns.phone.matches(patterns.numbers.plain(number)):
            raise ValueError
        return number

    def expected(self, patterns: Patterns) -> str:
        """Name the pattern."""
        return f"a phone number whose digits match {patterns.phone.text} as a whole"

    def schema(self, patterns: Patterns) -> Schema:
        """Name the pattern."""
        if patterns.numbers.country is not None:
            return {"type": "string", "minLength": 1, "maxLength": LONGEST}
        return {"type": "string", "pattern": f"^\\+?(?:{patterns.phone.text})$"}


@dataclass(frozen=True, slots=True)
class OneOf(Generic[E]):
    """One word of an enumeration."""

    words: type[E]

    def parse(self, text: str, patterns: Patterns) -> E:
        """Find the word."""
        return self.words(text)

    def expected(self, patterns: Patterns) -> str:
        """Name the words."""
        return "one of " + ", ".join(word.value for word in self.words)

    def schema(self, patterns: Patterns) -> Schema:
        """Name the words."""
        return {"type": "string", "enum": [word.value for word in self.words]}


@dataclass(frozen=True, slots=True)
class SomeOf(Generic[E]):
    """A comma list of words out of some of an enumeration."""

    words: tuple[E, ...]

    def parse(self, text: str, patterns: Patterns) -> frozenset[E]:
        """Find the words."""
        by_value = {word.value: word for word in self.words}
        try:
            return frozenset(by_value[value] for value in text.split(","))
        except KeyError:
            raise ValueError from None

    def expected(self, patterns: Patterns) -> str:
        """Name the words."""
        return "a comma list of " + ", ".join(word.value for word in self.words)

    def schema(self, patterns: Patterns) -> Schema:
        """Name the words."""
        word = "(" + "|".join(re.escape(word.value) for word in self.words) + ")"
        return {"type": "string", "pattern": f"^{word}(,{word})*$"}


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no, as 1 or 0."""

    def parse(self, text: str, patterns: Patterns) -> bool:
        """Read the digit."""
        if text not in ("0", "1"):
            raise ValueError
        return text == "1"

    def expected(self, patterns: Patterns) -> str:
        """Name the digits."""
        return "0 or 1"

    def schema(self, patterns: Patterns) -> Schema:
        """Name the digits."""
        return {"type": "integer", "enum": [0, 1]}


_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?"
    r"(?:(Z)|([+ -])(\d\d):?(\d\d)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in ISO 8601, to the value in ms since 1970; without a zone it is UTC."""

    def parse(self, text: str, patterns: Patterns) -> int:
        """Read date, time and zone; a date alone is its first moment."""
        found = _MOMENT.fullmatch(text)
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second, fraction = found.groups("0")[:7]
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
        since = (moment - _EPOCH) - _zone(found)
        return since // timedelta(milliseconds=1) + int(fraction.ljust(3, "0")[:3])

    def expected(self, patterns: Patterns) -> str:
        """Give an example."""
        return "a moment in ISO 8601 such as 2026-11-23T08:00:00Z (no zone: UTC)"

    def schema(self, patterns: Patterns) -> Schema:
        """Call it by its format."""
        return {"type": "string", "format": "date-time"}


def _zone(found: re.Match[str]) -> timedelta:
    sign, hours, minutes = found.group(9), int(found.group(10) or 0), int(found.group(11) or 0)
    if hours > 23 or minutes > 59:
        raise ValueError
    east = timedelta(hours=hours, minutes=minutes)
    # A plus that nobody escaped reaches us from a query string as a space.
    return -east if sign == "-" else east
