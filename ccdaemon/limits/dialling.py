"""Whether a number may be dialled now: for makeCall, by hand and by transfer alike.

Takes time as a value, and knows no calls: it is told how many are up.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from math import ceil
from typing import Protocol

from ccdaemon.config.countries import COUNTRIES
from ccdaemon.config.hours import DAY
from ccdaemon.config.limits import Limits as Settings
from ccdaemon.errors import RETRY_AFTER, Code, Refused
from ccdaemon.limits.counters import Alarms
from ccdaemon.limits.rates import Rates

_MINUTE = 60


class NotToBeCalled(Protocol):
    """Who does not want to be called."""

    def __contains__(self, phone: object) -> bool: ...


class Limits:
    """What may be dialled.

    :param do_not_call: numbers, without a plus, that are not to be called.
    """

    def __init__(self, settings: Settings, do_not_call: NotToBeCalled = frozenset()) -> None:
        self._settings = settings
        self._do_not_call = do_not_call
        countries = [COUNTRIES[name] for name in settings.countries]
        self._allowed = _Numbers(
            settings.allowed_prefixes,
            [
                *(pattern.text for pattern in settings.allowed_patterns),
                *(country.allowed for country in countries),
            ],
        )
        self._forbidden = _Numbers(
            settings.forbidden_prefixes,
            [
                *(pattern.text for pattern in settings.forbidden_patterns),
                *(country.forbidden for country in countries),
            ],
        )
        self._rates = Rates()
        self.alarms = Alarms()

    def refuse_phone(self, phone: str, sip: str | None, client: str | None, now: float) -> None:
        """Refuse a number that may not be dialled, or not now.

        :param sip: the operator who calls; None where nobody can say.
        :param client: the API client that asks for it; None where the operator dials by hand.
        :param now: seconds since 1970.
        :raises Refused: with ``phone_not_allowed``, ``do_not_call`` or ``quiet_hours``.
        """
        if self._forbidden.has(phone) or (self._allowed and not self._allowed.has(phone)):
            kind, code, words = (
                "forbidden",
                Code.PHONE_NOT_ALLOWED,
                "this number may not be dialled: see [limits] in the configuration",
            )
        elif phone in self._do_not_call:
            kind, code, words = (
                "do_not_call",
                Code.DO_NOT_CALL,
                "this number is on the do-not-call list",
            )
        elif wait := self._quiet_for(now):
            words = "limits.quiet_hours: nobody is to be called now"
            self.alarms.refuse("quiet_hours", _who(sip, client), words, now)
            raise Refused(Code.QUIET_HOURS, words, retry_after=wait)
        else:
            return
        self.alarms.refuse(kind, _who(sip, client), f"{phone}: {words}", now)
        raise Refused(code, words, field="phone")

    def take(self, phone: str, sip: str | None, client: str | None, up: int, now: float) -> None:
        """Count a call that is about to be made, if there is room for it.

        :param sip, client: as :meth:`refuse_phone` has them.
        :param up: how many calls are up without it.
        :param now: seconds of a clock that nobody sets.
        :raises Refused: with ``too_many_calls``; then it counts for nothing.
        """
        most = self._settings.max_calls
        if up >= most:
            words = f"{up} calls are up, as many as limits.max_calls allows"
            self._too_many("max_calls", "", words, RETRY_AFTER, now)
        buckets = self._buckets(phone, sip, client)
        for kind, whose, limit in buckets:
            if wait := self._rates.wait(f"{kind} {whose}", limit, now):
                words = f"{limit} calls within a minute, as many as limits.{kind}_per_minute allows"
                self._too_many(kind, whose, words, ceil(wait), now)
        for kind, whose, _ in buckets:
            self._rates.done(f"{kind} {whose}", now)

    def _buckets(
        self, phone: str, sip: str | None, client: str | None
    ) -> list[tuple[str, str, int]]:
        """Under what a call counts: the kind of limit, whose, and how many a minute."""
        settings = self._settings
        # The longest comes first, and counts alone.
        rates = (rate for rate in settings.prefix_per_minute if phone.startswith(rate[0]))
        prefix, most = next(rates, (None, 0))
        return [
            (kind, whose, limit)
            for kind, whose, limit in (
                ("operator", sip, settings.operator_per_minute),
                ("client", client, settings.client_per_minute),
                ("prefix", prefix, most),
            )
            if whose is not None and limit
        ]

    def _too_many(self, kind: str, whose: str, words: str, wait: int, now: float) -> None:
        self.alarms.refuse(kind, whose, words, now)
        raise Refused(Code.TOO_MANY_CALLS, words, retry_after=wait)

    def _quiet_for(self, now: float) -> int:
        """Seconds until the quiet hours are over; 0 outside of them."""
        if not self._settings.quiet_hours:
            return 0
        # Minute by minute, for the clock on the wall may be put forward or back meanwhile.
        for passed in range(2 * DAY):
            if not self._is_quiet(now - now % _MINUTE + passed * _MINUTE):
                return passed * _MINUTE - int(now % _MINUTE) if passed else 0
        return 2 * DAY * _MINUTE

    def _is_quiet(self, now: float) -> bool:
        local = datetime.fromtimestamp(now, self._settings.timezone)
        minute = local.hour * 60 + local.minute
        return any(
            span.begin <= minute < span.end or span.begin <= minute + DAY < span.end
            for span in self._settings.quiet_hours
        )


def _who(sip: str | None, client: str | None) -> str:
    asks = "by hand" if client is None else f"for {client}"
    return asks if sip is None else f"{sip} {asks}"


class _Numbers:
    """Numbers by how they begin and by what they look like as a whole."""

    def __init__(self, prefixes: tuple[str, ...], patterns: Collection[str]) -> None:
        self._prefixes = prefixes
        self._patterns = [re.compile(pattern, re.ASCII) for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._prefixes or self._patterns)

    def has(self, phone: str) -> bool:
        """Say whether the number is one of them."""
        return phone.startswith(self._prefixes) or any(
            pattern.fullmatch(phone) for pattern in self._patterns
        )
