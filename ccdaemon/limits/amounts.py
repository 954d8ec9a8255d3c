"""How often something may be dialled, for how long, and how dearly: by operator, client and number.

Pure but for its alarms: takes time as a value, and is told when a call is over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from math import ceil

from ccdaemon.config.limits import LimitSettings as Settings
from ccdaemon.errors import Code, Refused
from ccdaemon.limits.budget import Budget
from ccdaemon.limits.counters import Alarms, who_asks
from ccdaemon.limits.countries import COSTS_EXTRA, CountriesCalled, all_of
from ccdaemon.limits.rates import DAY, HOUR, MINUTE, Rates
from ccdaemon.limits.trunks import Dialled
from ccdaemon.numbers import Kind, Number, Numbers, Place, place_abroad, place_by

#: Seconds without which a call that costs extra is not begun.
_LEAST = 60


@dataclass(frozen=True, slots=True)
class Permit:
    """A call that was counted.

    :ivar longest: seconds that the talk may last; None: as long as they like.
    :ivar extra: how many of them are reserved of the budget for what costs extra.
    """

    longest: int | None = None
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Before:
    """A call of before the daemon's start: so many seconds ago, and for so many they talked."""

    dialled: Dialled
    sip: str | None
    age: float
    talked: float


@dataclass(frozen=True, slots=True)
class _Window:
    """How often something may be done within some time: by operator, client and prefix.

    ``name`` is how the keys of ``[limits]`` end, ``words`` how long it is.
    """

    name: str
    words: str
    rates: Rates
    operator: int
    client: int
    prefixes: list[tuple[str, int]]


class Amounts:
    """Counts what is dialled.

    :param numbers: reads numbers as this house means them.
    :param spellings: a number in every way in which a prefix may mean it.
    :param alarms: are told what was refused, and of a country that is called for the first time.
    :param countries: where somebody was called before.
    """

    def __init__(
        self,
        settings: Settings,
        numbers: Numbers,
        spellings: Callable[[Dialled], set[str]],
        alarms: Alarms,
        countries: CountriesCalled,
    ) -> None:
        self._settings = settings
        self._numbers = numbers
        self._spellings = spellings
        self._alarms = alarms
        per_minute = self._by_beginning(settings.prefix_per_minute)
        per_hour = self._by_beginning(settings.prefix_per_hour)
        per_day = self._by_beginning(settings.prefix_per_day)
        of = settings
        self._windows = (
            _Window(
                *("per_minute", "a minute", Rates(MINUTE)),
                *(of.operator_per_minute, of.client_per_minute, per_minute),
            ),
            _Window(
                *("per_hour", "an hour", Rates(HOUR)),
                *(of.operator_per_hour, of.client_per_hour, per_hour),
            ),
            _Window(
                *("per_day", "a day", Rates(DAY)),
                *(of.operator_per_day, of.client_per_day, per_day),
            ),
        )
        self._durations = self._by_beginning(settings.prefix_max_duration)
        self._budget = Budget(settings.extra_minutes_per_day * 60)
        self._countries = countries
        self._usual = all_of([*settings.countries, *filter(None, [numbers.country])])

    def take(
        self,
        dialled: Dialled,
        sip: str | None,
        client: str | None,
        now: float,
        asked: int | None = None,
    ) -> Permit:
        """Count a call that is about to be made, if there is room for it.

        :param sip, client: as :class:`Limits` has them.
        :param now: seconds of a clock that nobody sets.
        :param asked: for how many seconds they want to talk, if they have said so.
        :returns: how long the two may talk, and what is to be kept for it by :meth:`bind`.
        :raises Refused: with ``too_many_calls``; then it counts for nothing.
        """
        buckets = list(self._buckets(dialled, sip, client))
        for window, kind, whose, limit in buckets:
            if wait := window.rates.wait(f"{kind} {whose}", limit, now):
                key = f"limits.{kind}_{window.name}"
                words = f"{limit} calls within {window.words}, as many as {key} allows"
                self._too_many(kind, whose, words, ceil(wait), now)
        permit = self._permit(dialled, asked, sip, client, now)
        for window, kind, whose, _ in buckets:
            window.rates.done(f"{kind} {whose}", now)
        return permit

    def _buckets(
        self, dialled: Dialled, sip: str | None, client: str | None
    ) -> Iterator[tuple[_Window, str, str, int]]:
        """Under what a call counts: the window, the kind of limit, whose, and how many."""
        spellings = self._spellings(dialled)
        for window in self._windows:
            prefix, most = _of_beginning(window.prefixes, spellings)
            for kind, whose, limit in (
                ("operator", sip, window.operator),
                ("client", client, window.client),
                ("prefix", prefix, most),
            ):
                if whose is not None and limit:
                    yield window, kind, whose, limit

    def _by_beginning(self, limits: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        found = {self._numbers.beginning(prefix): most for prefix, most in limits}
        return sorted(found.items(), key=lambda one: (-len(one[0]), one[0]))

    # How long, and how dear

    def _permit(
        self, dialled: Dialled, asked: int | None, sip: str | None, client: str | None, now: float
    ) -> Permit:
        phone = dialled.number
        _, by_prefix = _of_beginning(self._durations, self._spellings(dialled))
        allowed = [each for each in (asked, self._settings.max_duration, by_prefix) if each]
        place = self._place(dialled)
        extra = 0
        if self._budget.most and self._costs_extra(place):
            left = self._budget.left(now)
            if left < _LEAST:
                words = "limits.extra_minutes_per_day are used up, and this number costs extra"
                wait = ceil(self._budget.wait(_LEAST, now))
                self._too_many("budget", who_asks(sip, client), f"{phone.form}: {words}", wait, now)
            allowed.append(left)
            extra = min(allowed)
        self._tell_of(place, phone, sip, client, now)
        return Permit(min(allowed, default=None), extra)

    def _place(self, dialled: Dialled) -> Place:
        """Where a number rings, as far as that can be said."""
        if self._numbers.is_internal(dialled.number.form):
            return Place(None, Kind.INTERNAL)
        if self._numbers.country is not None or dialled.ends is not None:
            return place_abroad(dialled.ends or dialled.number.form)
        places = [place_by(country, dialled.digits) for country in self._settings.countries]
        at_home = (place for place in places if self._is_usual(place))
        return next(at_home, None) or place_abroad(dialled.number.form)

    def _costs_extra(self, place: Place) -> bool:
        if place.kind is Kind.INTERNAL:
            return False
        if not self._usual:
            return place.kind in COSTS_EXTRA or place.kind is Kind.SATELLITE
        return not self._is_usual(place)

    def _is_usual(self, place: Place) -> bool:
        return place.kind is Kind.ORDINARY and place.country in self._usual

    def _tell_of(
        self, place: Place, phone: Number, sip: str | None, client: str | None, now: float
    ) -> None:
        """Say aloud that somebody is called in a country for the first time."""
        country = place.country
        if country is None or country in self._usual or not self._countries.is_new(country):
            return
        words = f"{who_asks(sip, client)}: {phone.form} is the first call ever to this country"
        self._alarms.alarm("country", country, words, now)

    def bind(self, permit: Permit, anchor: str) -> None:
        """Keep what a permit reserves until the call that began with channel ``anchor`` is over."""
        if permit.extra:
            self._budget.reserve(anchor, permit.extra)

    def over(self, anchor: str, talked: float, now: float) -> None:
        """A call is over, or never began; it talked for so many seconds."""
        self._budget.settle(anchor, talked, now)

    def remember(self, calls: Iterable[Before], now: float) -> None:
        """Count the calls of the last day, the oldest first, as if they had just been made."""
        for call in calls:
            then = now - call.age
            for window, kind, whose, _ in self._buckets(call.dialled, call.sip, None):
                window.rates.done(f"{kind} {whose}", then)
            place = self._place(call.dialled)
            if self._budget.most and self._costs_extra(place):
                self._budget.spend(call.talked, then)
            if place.country is not None and place.country not in self._usual:
                self._countries.is_new(place.country)

    def _too_many(self, kind: str, whose: str, words: str, wait: int, now: float) -> None:
        self._alarms.refuse(kind, whose, words, now)
        raise Refused(Code.TOO_MANY_CALLS, words, retry_after=wait)


def _of_beginning(
    limits: Iterable[tuple[str, int]], spellings: Collection[str]
) -> tuple[str | None, int]:
    # The longest comes first, and counts alone.
    fitting = (one for one in limits if any(each.startswith(one[0]) for each in spellings))
    return next(fitting, (None, 0))
