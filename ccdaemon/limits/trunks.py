"""How a number is dialled: by which trunk, in which form, and where that rings in the end. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ccdaemon.config.numbers import Numbers as Settings
from ccdaemon.numbers import ABROAD, Dial, Number, Numbers

_PLACE = "{phone}"
#: What stands right before the number in a dial string, as far as it is dialled.
_BEFORE = re.compile(r"[+0-9*#]*$")


@dataclass(frozen=True, slots=True)
class Dialled:
    """A number as it is dialled.

    :ivar channel: the dial string.
    :ivar digits: what the trunk is sent of it.
    :ivar ends: the form of the number that rings, with its country code; None where only the trunk
        knows, for the digits are as somebody sent them and no country is home.
    """

    number: Number
    channel: str
    digits: str
    ends: str | None


class Trunks:
    """Dials numbers.

    :param channel: ``asterisk.client_channel``.
    """

    def __init__(self, channel: str, settings: Settings, numbers: Numbers) -> None:
        self._numbers = numbers
        ways = [
            (numbers.beginning(prefix), trunk)
            for trunk in settings.trunks
            for prefix in trunk.prefixes
        ]
        # The longest comes first.
        self._ways = [
            (prefix, trunk.channel or channel, trunk.dial or settings.how)
            for prefix, trunk in sorted(ways, key=lambda way: -len(way[0]))
        ]
        self._usual = channel, settings.how

    def dial(self, number: Number) -> Dialled:
        """Say how a number is dialled."""
        channel, how = self._way(number.form)
        digits = self._numbers.dialled(number, how)
        channel, digits = self._filled(channel, digits)
        return Dialled(number, channel, digits, self._ends(number, how, digits))

    def emergency(self, digits: str) -> str:
        """The dial string of a number that is dialled as it is, without anything before it."""
        channel, _ = self._usual
        before, _, after = channel.partition(_PLACE)
        return _BEFORE.sub("", before) + digits + after

    def _way(self, form: str) -> tuple[str, Dial]:
        if not self._numbers.is_internal(form):
            for prefix, channel, how in self._ways:
                if form.startswith(prefix):
                    return channel, how
        return self._usual

    def _filled(self, channel: str, digits: str) -> tuple[str, str]:
        """The dial string, and all that the trunk is sent of the number."""
        before, _, after = channel.partition(_PLACE)
        found = _BEFORE.search(before)
        if digits.startswith("+") and before.endswith("+"):
            digits = digits[1:]
        return f"{before}{digits}{after}", (found[0] if found else "") + digits

    def _ends(self, number: Number, how: Dial, digits: str) -> str | None:
        if digits.startswith("+"):
            return self._numbers.form(digits)
        if how is Dial.AS_SENT:
            if self._numbers.country is not None:
                return self._numbers.form(digits)
            return digits[len(ABROAD) :] if digits.startswith(ABROAD) else None
        if digits.startswith(ABROAD) and how in (Dial.E164, Dial.INTERNATIONAL):
            return self._numbers.form("+" + digits[len(ABROAD) :])
        return number.form
