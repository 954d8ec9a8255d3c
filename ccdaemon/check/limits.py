"""What may be dialled: each limit that is open, with what it could cost."""

from __future__ import annotations

from collections.abc import Iterator

from ccdaemon.check.findings import Finding, ok, warn
from ccdaemon.config.limits import LimitSettings
from ccdaemon.config.numbers import Numbers

_PART = "limits"


def try_limits(limits: LimitSettings, numbers: Numbers) -> Iterator[Finding]:
    """Name what nobody has limited."""
    allowed = limits.countries or limits.allowed_prefixes or limits.allowed_patterns
    open_ = {
        'any number may be dialled, the dearest too: set countries = ["…"] to whom you call': (
            not allowed
        ),
        "no country is home, so each spelling of a number is another one: set [numbers] country": (
            numbers.country is None
        ),
        "a stolen phone may dial as often as it likes: set operator_per_minute, _per_hour and"
        " _per_day": not (
            limits.operator_per_minute and limits.operator_per_hour and limits.operator_per_day
        ),
        "a stolen key may dial as often as it likes: set client_per_minute, _per_hour and"
        " _per_day": not (
            limits.client_per_minute and limits.client_per_hour and limits.client_per_day
        ),
        "a call that nobody hangs up is paid for until somebody does: set max_duration": (
            not limits.max_duration
        ),
        "numbers that cost extra have no budget: set extra_minutes_per_day": (
            not limits.extra_minutes_per_day
        ),
    }
    found = [words for words, is_open in open_.items() if is_open]
    yield from (warn(_PART, words) for words in found)
    if not found:
        yield ok(_PART, "what may be dialled, how often, for how long and how dearly is limited")
