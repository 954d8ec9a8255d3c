"""When it is open: the clock on the wall of one time zone against spans and holidays. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from ccdaemon.config.hours import DAY, Span
from ccdaemon.config.routing import RoutingSettings

_WHOLE_DAY = (Span(0, DAY),)


def why_closed(routing: RoutingSettings, now: float) -> str | None:
    """Say why it is closed; None while it is open.

    The wall's clock counts: of an hour that it shows twice both are open, and a span that begins
    in an hour that it leaves out begins after that hour. A span over midnight is of the day on
    which it begins, also where the next day is a holiday.

    :param now: seconds since 1970.
    """
    if routing.timezone is None:
        return None
    local = datetime.fromtimestamp(now, routing.timezone)
    today, minute = local.date(), local.hour * 60 + local.minute
    yesterday = today - timedelta(days=1)
    if _is_open(routing, today, minute) or _is_open(routing, yesterday, minute + DAY):
        return None
    if _is_holiday(routing, today):
        return f"closed on {today}, a holiday"
    return f"closed on {local:%A} at {local:%H:%M}, {routing.timezone.key}"


def _is_open(routing: RoutingSettings, day: date, minute: int) -> bool:
    return any(span.begin <= minute < span.end for span in _spans(routing, day))


def _spans(routing: RoutingSettings, day: date) -> tuple[Span, ...]:
    if _is_holiday(routing, day):
        return ()
    return _WHOLE_DAY if routing.hours is None else routing.hours.of(day.weekday())


def _is_holiday(routing: RoutingSettings, day: date) -> bool:
    return any(
        (holiday.month, holiday.day) == (day.month, day.day) and holiday.year in (None, day.year)
        for holiday in routing.holidays
    )
