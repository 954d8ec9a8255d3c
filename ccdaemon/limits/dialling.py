"""Whether a number may be dialled now: for makeCall, by hand and by transfer alike.

Takes time as a value, and knows no calls: it is told how many are up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Protocol

from ccdaemon.config.hours import DAY
from ccdaemon.config.limits import LimitSettings as Settings
from ccdaemon.errors import RETRY_AFTER, Code, Refused
from ccdaemon.limits.amounts import Amounts, Permit
from ccdaemon.limits.counters import Alarms, who_asks
from ccdaemon.limits.countries import COSTS_EXTRA, CountriesCalled, all_of
from ccdaemon.limits.trunks import Dialled, Trunks
from ccdaemon.numbers import (
    Kind,
    Number,
    Numbers,
    Place,
    form_by,
    is_emergency,
    place_abroad,
    place_by,
)

_MINUTE = 60


class NotToBeCalled(Protocol):
    """Who does not want to be called."""

    def __contains__(self, phone: object) -> bool: ...


_NOT_ALLOWED = "this number may not be dialled: see [limits] in the configuration"
_IS_INTERNAL = (
    "this number is internal: no trunk is to dial it, unless limits.allowed_patterns has it"
)


class DialLimits:
    """What may be dialled.

    :param numbers: reads numbers as this house means them.
    :param trunks: says how a number is dialled in the end.
    :param do_not_call: numbers, each in its form, that are not to be called.
    :param countries: where somebody was called before.
    :ivar alarms: what was refused, and what looks like fraud.
    :ivar amounts: how often, for how long and how dearly.
    """

    def __init__(
        self,
        settings: Settings,
        numbers: Numbers,
        trunks: Trunks,
        do_not_call: NotToBeCalled = frozenset(),
        countries: CountriesCalled | None = None,
    ) -> None:
        self._settings = settings
        self._numbers = numbers
        self._trunks = trunks
        self._do_not_call = do_not_call
        self._allowed = _Listed(
            _beginnings(numbers, settings.allowed_prefixes),
            [pattern.text for pattern in settings.allowed_patterns],
        )
        self._forbidden = _Listed(
            # What is forbidden is so in each of its spellings.
            {*settings.forbidden_prefixes, *_beginnings(numbers, settings.forbidden_prefixes)},
            [pattern.text for pattern in settings.forbidden_patterns],
        )
        self.alarms = Alarms()
        countries = countries or CountriesCalled()
        self.amounts = Amounts(settings, numbers, self._spellings, self.alarms, countries)

    def is_emergency(self, digits: str) -> bool:
        """Whether a number is dialled whatever limits there are."""
        home = self._numbers.country
        countries = [home] if home is not None else self._settings.countries
        return digits in self._settings.emergency or any(
            is_emergency(digits, country) for country in countries
        )

    def refuse_phone(self, phone: Number, sip: str | None, client: str | None, now: float) -> None:
        """Refuse a number that may not be dialled, or not now.

        :param sip: the operator who calls; None where nobody can say.
        :param client: the API client that asks for it; None where the operator dials by hand.
        :param now: seconds since 1970.
        :raises Refused: with ``phone_not_allowed``, ``do_not_call`` or ``quiet_hours``.
        """
        dialled = self._trunks.dial(phone)
        if words := self._why_forbidden(dialled):
            kind, code = "forbidden", Code.PHONE_NOT_ALLOWED
        elif any(spelling in self._do_not_call for spelling in self._spellings(dialled)):
            kind, code, words = (
                "do_not_call",
                Code.DO_NOT_CALL,
                "this number is on the do-not-call list",
            )
        elif wait := self._quiet_for(now):
            words = "limits.quiet_hours: nobody is to be called now"
            self.alarms.refuse("quiet_hours", who_asks(sip, client), words, now)
            raise Refused(Code.QUIET_HOURS, words, retry_after=wait)
        else:
            return
        self.alarms.refuse(kind, who_asks(sip, client), f"{phone.form}: {words}", now)
        raise Refused(code, words, field="phone")

    def _spellings(self, dialled: Dialled) -> set[str]:
        """A number in every way in which a list may have it."""
        number = dialled.number
        sent = re.sub(r"[^0-9]", "", number.sent)
        spellings = {number.form, dialled.digits.removeprefix("+"), sent, dialled.ends or ""}
        if self._numbers.country is None:
            # Nobody has said who is at home; whoever may be called may be meant.
            spellings |= {form_by(one, number.sent) or "" for one in self._settings.countries}
        return spellings - {""}

    def _why_forbidden(self, dialled: Dialled) -> str | None:
        if any(self._forbidden.has(spelling) for spelling in self._spellings(dialled)):
            return _NOT_ALLOWED
        if self._numbers.country is None:
            # Whether a trunk takes digits for a number at home or abroad nobody has said.
            allowed = [self._is_allowed_anywhere(dialled)]
        else:
            ends = dialled.number.form if dialled.ends is None else dialled.ends
            allowed = [self._is_allowed(form) for form in {dialled.number.form, ends}]
        if all(allowed):
            return None
        return _IS_INTERNAL if self._numbers.is_internal(dialled.number.form) else _NOT_ALLOWED

    def _is_allowed(self, form: str) -> bool:
        """Whether a number may be dialled, where its form says what it is."""
        if self._numbers.is_internal(form):
            return self._allowed.has(form)
        countries = self._settings.countries
        if not self._allowed and not countries:
            return True
        place = self._numbers.place(form)
        if self._costs_extra(place, countries):
            return False
        return self._allowed.has(form) or self._is_one_of(place)

    def _is_allowed_anywhere(self, dialled: Dialled) -> bool:
        """Whether digits may be dialled that are a number in some country that is allowed."""
        countries = self._settings.countries
        if not self._allowed and not countries:
            return True
        if dialled.ends is not None:
            place = place_abroad(dialled.ends)
            listed = self._allowed.has(dialled.digits.removeprefix("+"))
            return listed or self._is_one_of(place)
        places = {country: place_by(country, dialled.digits) for country in countries}
        if any(self._costs_extra(place, [country]) for country, place in places.items()):
            return False
        return self._allowed.has(dialled.digits) or any(map(self._is_one_of, places.values()))

    def _costs_extra(self, place: Place, countries: Iterable[str]) -> bool:
        """Whether a number costs more than the numbers of these countries that may be dialled."""
        may = place.kind not in COSTS_EXTRA or place.kind in self._settings.kinds
        return not may and place.country in all_of(countries)

    def _is_one_of(self, place: Place) -> bool:
        """Whether a number is of a kind and a country that may be dialled; satellites have none."""
        is_at_home = place.country in all_of(self._settings.countries)
        return place.kind in self._settings.kinds and (is_at_home or place.kind is Kind.SATELLITE)

    def take(
        self,
        phone: Number,
        sip: str | None,
        client: str | None,
        up: int,
        now: float,
        asked: int | None = None,
    ) -> Permit:
        """Count a call that is about to be made, if there is room for it.

        :param sip, client: as :meth:`refuse_phone` has them.
        :param up: how many calls are up without it.
        :param now: seconds of a clock that nobody sets.
        :param asked: for how many seconds they want to talk, if they have said so.
        :returns: how long the two may talk, and what is to be kept for it.
        :raises Refused: with ``too_many_calls``; then it counts for nothing.
        """
        most = self._settings.max_calls
        if up >= most:
            words = f"{up} calls are up, as many as limits.max_calls allows"
            self.alarms.refuse("max_calls", "", words, now)
            raise Refused(Code.TOO_MANY_CALLS, words, retry_after=RETRY_AFTER)
        return self.amounts.take(self._trunks.dial(phone), sip, client, now, asked)

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


def _beginnings(numbers: Numbers, prefixes: Iterable[str]) -> set[str]:
    return {numbers.beginning(prefix) for prefix in prefixes}


class _Listed:
    """Numbers by how they begin and by what they look like as a whole."""

    def __init__(self, prefixes: Collection[str], patterns: Collection[str]) -> None:
        self._prefixes = tuple(prefixes)
        self._patterns = [re.compile(pattern, re.ASCII) for pattern in patterns]

    def __bool__(self) -> bool:
        return bool(self._prefixes or self._patterns)

    def has(self, phone: str) -> bool:
        """Say whether the number is one of them."""
        return phone.startswith(self._prefixes) or any(
            pattern.fullmatch(phone) for pattern in self._patterns
        )
