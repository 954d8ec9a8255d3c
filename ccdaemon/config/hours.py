"""What times the configuration can name: spans of a day, days, a time zone.

A rule takes what TOML gave, as those of ``config_rules`` do. Says nothing of what is open when.
"""

from __future__ import annotations

import datetime
import re
from zoneinfo import ZoneInfo

import attrs

from ccdaemon.config.validators import Expected, several

#: Minutes of a day.
DAY = 24 * 60

_SPAN = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_DATE = re.compile(r"(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})")
#: A leap year: 29 February is a day that comes back.
_ANY_YEAR = 2000


@attrs.frozen
class Span:
    """A time of the day, in minutes from its midnight: from ``begin`` until before ``end``.

    One that goes over midnight ends above ``DAY``; it is of the day on which it begins.
    """

    begin: int
    end: int


@attrs.frozen
class Holiday:
    """A day of one year, or of every year (``year`` None)."""

    year: int | None
    month: int
    day: int


def span(value: object) -> Span:
    """A span such as ``09:00-18:00``; the second time is the next day's if it is the earlier."""
    what = '"09:00-18:00"'
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Expected(what)
    hour, minute, end_hour, end_minute = map(int, found.groups())
    begin, end = hour * 60 + minute, end_hour * 60 + end_minute
    if begin == end:
        raise Expected(what, "it begins and ends at the same time; the whole day is 00:00-24:00")
    if end > DAY:
        raise Expected(what, "a day ends at 24:00")
    return Span(begin, end if end > begin else end + DAY)


spans = several(span, 'times such as ["09:00-13:00", "14:00-18:00"]')


def zone(value: object) -> ZoneInfo:
    """A time zone by its IANA name."""
    what = 'the name of a time zone such as "Europe/Kyiv"'
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_+/-]{1,60}", value) is None:
        raise Expected(what)
    try:
        return ZoneInfo(value)
    except (LookupError, ValueError, OSError) as error:
        raise Expected(what, "this machine knows no such zone") from error


def holiday(value: object) -> Holiday:
    """A date, or month and day of every year."""
    what = '"2026-12-25" or, for every year, "12-25"'
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return Holiday(value.year, value.month, value.day)
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Expected(what)
    year, month, day = (None if part is None else int(part) for part in found.groups())
    assert month is not None and day is not None
    try:
        datetime.date(_ANY_YEAR if year is None else year, month, day)
    except ValueError as error:
        raise Expected(what, str(error)) from error
    return Holiday(year, month, day)


holidays = several(holiday, 'dates such as ["2026-12-25", "01-01"]')
