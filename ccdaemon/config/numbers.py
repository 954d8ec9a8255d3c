"""The configuration's table ``[numbers]``: whose numbers are at home, and how trunks want them."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ccdaemon.config import validators
from ccdaemon.config.loader import key, tables
from ccdaemon.config.validators import Expected
from ccdaemon.numbers import COUNTRIES, INTERNAL, Dial


def country(value: object) -> str:
    """A country that has a plan of numbers."""
    if not isinstance(value, str) or value not in COUNTRIES:
        raise Expected('a country in two small letters such as "ua" (ISO 3166)')
    return value


def dial(value: object) -> Dial:
    """How a trunk wants a number."""
    try:
        return Dial(value)
    except ValueError:
        raise Expected(" or ".join(f'"{how.value}"' for how in Dial)) from None


@attrs.frozen(kw_only=True)
class Trunk:
    """How numbers are dialled that begin with one of ``prefixes``, with their country code.

    ``channel`` None: by ``asterisk.client_channel``; ``dial`` None: as ``numbers.dial`` says.
    """

    prefixes: tuple[str, ...] = attrs.field(metadata=key(validators.prefixes))
    dial: Dial | None = attrs.field(default=None, metadata=key(dial))
    channel: str | None = attrs.field(default=None, metadata=key(validators.channel("phone")))


@attrs.frozen(kw_only=True)
class Numbers:
    """What a number means that is written without its country.

    ``country`` None: no country is home, so a number is what its digits are. ``internal``: numbers
    that are what they are. ``dial`` None: ``e164`` where there is a home, else ``as_sent``.
    """

    country: str | None = attrs.field(default=None, metadata=key(country))
    internal: validators.Pattern = attrs.field(
        default=validators.Pattern(INTERNAL), metadata=key(validators.number_pattern)
    )
    dial: Dial | None = attrs.field(default=None, metadata=key(dial))
    trunks: tuple[Trunk, ...] = attrs.field(default=(), metadata=tables(Trunk))

    @property
    def how(self) -> Dial:
        """How a trunk wants a number, unless one of ``trunks`` says otherwise."""
        return self.dial or (Dial.E164 if self.country else Dial.AS_SENT)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if self.country is None:
            if self.how is not Dial.AS_SENT:
                yield "dial", f"{self.how.value} needs a country: whose numbers are without a code?"
            if any(trunk.dial not in (None, Dial.AS_SENT) for trunk in self.trunks):
                yield "trunks", "dial needs numbers.country: whose numbers are without a code?"
