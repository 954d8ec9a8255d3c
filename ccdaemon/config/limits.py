"""The configuration's table ``[limits]``: what may be dialled, when, and how often."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs

from ccdaemon.config import hours as times
from ccdaemon.config import validators
from ccdaemon.config.loader import key
from ccdaemon.config.numbers import country
from ccdaemon.config.validators import Expected
from ccdaemon.numbers import Kind

#: How often something may be done in a minute, an hour, a day; 0: as often as one likes.
_rate = validators.whole(0, 10_000)
_daily = validators.whole(0, 100_000)
#: Seconds that a talk may last; 0: as long as one likes.
_duration = validators.whole(0, 86_400)
_patterns = validators.several(
    validators.number_pattern, "regular expressions for whole numbers such as ['380[0-9]{9}']"
)


def by_prefix(what: str, high: int) -> validators.Rule[tuple[tuple[str, int], ...]]:
    """Build the rule for whole numbers by how a phone begins, the longest beginning first."""

    def rule(value: object) -> tuple[tuple[str, int], ...]:
        if not isinstance(value, dict):
            raise Expected(what)
        for prefix, most in value.items():
            if re.fullmatch(validators.PREFIX, prefix) is None:
                raise Expected(what, f"{prefix} are no digits")
            try:
                validators.whole(1, high)(most)
            except Expected as wrong:
                raise Expected(what, f"{wrong.what} for {prefix}") from wrong
        return tuple(sorted(value.items(), key=lambda pair: (-len(pair[0]), pair[0])))

    return rule


_rates = by_prefix('calls a minute by prefix such as { "380" = 60, "1" = 5 }', 10_000)
_more_rates = by_prefix('calls by prefix such as { "380" = 600, "1" = 50 }', 100_000)
_durations = by_prefix('seconds by prefix such as { "380" = 7200, "1" = 600 }', 86_400)


#: What a country has; what is internal or unknown is none of it.
_KINDS = [one for one in Kind if one not in (Kind.INTERNAL, Kind.UNKNOWN)]


def kind(value: object) -> Kind:
    """A kind of numbers, as far as their price goes."""
    for one in _KINDS:
        if value == one.value:
            return one
    words = " ".join(one.value for one in _KINDS)
    raise Expected("kinds of numbers", f"one of {words}")


@attrs.frozen(kw_only=True)
class LimitSettings:
    """What may be dialled, when, how often and how much at once.

    A number may be dialled if it is one of ``kinds`` of one of ``countries``, begins with one of
    ``allowed_prefixes`` or matches one of ``allowed_patterns`` (all three empty: every number that
    matches ``asterisk.phone_pattern``), and nothing forbids it. ``emergency`` numbers, and those of
    the country, may be dialled by hand whatever limits there are. ``quiet_hours`` are every day's,
    by the clock of ``timezone``. ``max_duration`` and ``prefix_max_duration`` are the seconds that
    a talk may last which is dialled here, ``extra_minutes_per_day`` what may be talked within any
    24 hours with numbers that are no ordinary ones of ``countries`` and of home; 0: no limit.
    ``longest_ringing`` and ``longest_talk`` are the seconds after
    which a call on which nothing happens any more is closed in the history.
    """

    max_calls: int = attrs.field(default=100, metadata=key(validators.whole(1, 10_000)))
    longest_ringing: int = attrs.field(default=14_400, metadata=key(validators.whole(1, 604_800)))
    longest_talk: int = attrs.field(default=86_400, metadata=key(validators.whole(1, 604_800)))
    countries: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(validators.several(country, 'countries such as ["ua", "pl"] (ISO 3166)')),
    )
    kinds: tuple[Kind, ...] = attrs.field(
        default=(Kind.ORDINARY,), metadata=key(validators.several(kind, "kinds of numbers"))
    )
    allowed_prefixes: tuple[str, ...] = attrs.field(default=(), metadata=key(validators.prefixes))
    allowed_patterns: tuple[validators.Pattern, ...] = attrs.field(
        default=(), metadata=key(_patterns)
    )
    forbidden_prefixes: tuple[str, ...] = attrs.field(default=(), metadata=key(validators.prefixes))
    forbidden_patterns: tuple[validators.Pattern, ...] = attrs.field(
        default=(), metadata=key(_patterns)
    )
    do_not_call: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(
                validators.text("a number", r"\+?[0-9][0-9 ().\-/]{0,39}\*?"),
                'numbers such as ["380441234567", "7900*"]',
            )
        ),
    )
    do_not_call_file: Path | None = attrs.field(
        default=None, metadata=key(validators.absolute_path)
    )
    emergency: tuple[str, ...] = attrs.field(
        default=("112",),
        metadata=key(
            validators.several(
                validators.text("digits", r"[0-9]{2,6}"), 'short numbers such as ["112"]'
            )
        ),
    )
    operator_per_minute: int = attrs.field(default=0, metadata=key(_rate))
    operator_per_hour: int = attrs.field(default=0, metadata=key(_daily))
    operator_per_day: int = attrs.field(default=0, metadata=key(_daily))
    client_per_minute: int = attrs.field(default=0, metadata=key(_rate))
    client_per_hour: int = attrs.field(default=0, metadata=key(_daily))
    client_per_day: int = attrs.field(default=0, metadata=key(_daily))
    prefix_per_minute: tuple[tuple[str, int], ...] = attrs.field(default=(), metadata=key(_rates))
    prefix_per_hour: tuple[tuple[str, int], ...] = attrs.field(
        default=(), metadata=key(_more_rates)
    )
    prefix_per_day: tuple[tuple[str, int], ...] = attrs.field(default=(), metadata=key(_more_rates))
    max_duration: int = attrs.field(default=0, metadata=key(_duration))
    prefix_max_duration: tuple[tuple[str, int], ...] = attrs.field(
        default=(), metadata=key(_durations)
    )
    extra_minutes_per_day: int = attrs.field(default=0, metadata=key(_daily))
    quiet_hours: tuple[times.Span, ...] = attrs.field(default=(), metadata=key(times.spans))
    timezone: ZoneInfo | None = attrs.field(default=None, metadata=key(times.zone))

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if self.quiet_hours and self.timezone is None:
            yield "timezone", "missing; whose clock are quiet_hours of?"
