"""What the CRM's answer may say of a call, value by value. Pure.

A value that is not allowed counts as absent, and is named among the faults: a slip in a name
costs the name, not the operator who was named.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ccdaemon.config.routing import MOST_OPERATORS, Rounds
from ccdaemon.config.validators import Pattern

#: How long a caller's name may be on an operator's phone.
LONGEST_NAME = 40
#: Seconds that the CRM may have a phone ring.
LONGEST_RING = 600

_ORDER = re.compile(r"[ -~]{1,64}")
#: None of these reaches a phone's header, a dial string, AMI or a dialplan expression.
_MEANS_SOMETHING = re.compile(r"""["<>\\,;|&$%^{}\[\]()=`]""")


@dataclass(frozen=True, slots=True)
class Advice:
    """What the CRM says of a call; everything is optional.

    :ivar operators: rounds, one after the other; empty: it names nobody.
    :ivar reject: why the call is refused, None if it is not.
    :ivar redirect: the extension to send the call to.
    :ivar faults: what was not allowed, each as (key, the value as it is shown in a log).
    """

    operators: Rounds = ()
    order_id: str | None = None
    caller_name: str | None = None
    ring_timeout: int | None = None
    reject: str | None = None
    redirect: str | None = None
    faults: tuple[tuple[str, str], ...] = field(default=(), compare=False)


class NotAnObject(Exception):
    """The CRM's answer is not a JSON object; the argument is the kind of its fault."""


class Reads:
    """Reads answers by the configured patterns."""

    def __init__(self, operator_pattern: Pattern, redirect_pattern: Pattern) -> None:
        self._operator_pattern = operator_pattern
        self._redirect_pattern = redirect_pattern
        self._keys: dict[str, Callable[[Any], Any]] = {
            "operators": self._operators,
            "order_id": _order_id,
            "caller_name": _caller_name,
            "ring_timeout": _ring_timeout,
            "reject": _reject,
            "redirect": self._redirect,
        }

    def __call__(self, body: bytes) -> Advice:
        """Read an answer's body.

        :raises NotAnObject: if it is none.
        """
        try:
            answer = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotAnObject("not_json") from error
        if not isinstance(answer, dict):
            raise NotAnObject("not_object")
        values: dict[str, Any] = {}
        faults: list[tuple[str, str]] = []
        for key, read in self._keys.items():
            if answer.get(key) is None:
                continue
            try:
                values[key] = read(answer[key])
            except ValueError:
                faults.append((key, _shown(answer[key])))
        return Advice(**values, faults=tuple(faults))

    def _operators(self, value: Any) -> Rounds:
        if not isinstance(value, list):
            raise ValueError
        rounds = [element if isinstance(element, list) else [element] for element in value]
        named = tuple(tuple(dict.fromkeys(map(_word, together))) for together in rounds)
        sips = [sip for together in named for sip in together]
        if not all(named) or not all(map(self._operator_pattern.matches, sips)):
            raise ValueError
        if len(sips) > MOST_OPERATORS:
            raise ValueError
        return named

    def _redirect(self, value: Any) -> str:
        extension = _word(value)
        if not self._redirect_pattern.matches(extension):
            raise ValueError
        return extension


def _word(value: Any) -> str:
    """A text, or a whole number that the CRM did not write as one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError
    return str(value)


def _order_id(value: Any) -> str:
    order_id = _word(value)
    if _ORDER.fullmatch(order_id) is None:
        raise ValueError
    return order_id


def _caller_name(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError
    return clean_name(value)


def clean_name(name: str) -> str | None:
    """Make a name that a phone can show: printable, nothing with a meaning, not too long.

    None if nothing is left of it.
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    words = _MEANS_SOMETHING.sub(" ", printable).split()
    return " ".join(words)[:LONGEST_NAME].strip() or None


def _ring_timeout(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LONGEST_RING:
        raise ValueError
    return value


def _reject(value: Any) -> str | None:
    if isinstance(value, bool):
        return "the CRM refuses the call" if value else None
    if not isinstance(value, str):
        raise ValueError
    reason = clean_name(value)
    return "the CRM refuses the call" + (f": {reason}" if reason else "")


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
