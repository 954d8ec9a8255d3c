"""Tests of the opening hours and of the blacklist."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config import parse
from ccdaemon.config.routing import RoutingSettings
from ccdaemon.numbers import Numbers
from ccdaemon.routing.decision import Blacklist, why_closed

HOURS = """
[asterisk]
secret = "x"
client_channel = "PJSIP/{phone}@trunk"
[database]
url = "embedded"
[routing]
timezone = "Europe/Kyiv"
holidays = ["2026-12-25", "01-01"]
[routing.hours]
mon = ["09:00-13:00", "14:00-18:00"]
wed = ["00:00-24:00"]
thu = ["22:00-02:00"]
fri = ["22:00-02:00"]
sat = ["22:00-04:30"]
sun = ["03:30-03:45", "10:00-10:01"]
"""

#: The wall's clock in Kyiv, which of two times it shows twice, and whether it is open.
TABLE = [
    # Several spans; the first minute is in, the last is not.
    ("2026-11-23 08:59", 0, False),
    ("2026-11-23 09:00", 0, True),
    ("2026-11-23 12:59", 0, True),
    ("2026-11-23 13:00", 0, False),
    ("2026-11-23 14:00", 0, True),
    ("2026-11-23 18:00", 0, False),
    # A day that is not named.
    ("2026-11-24 12:00", 0, False),
    # A whole day, and nothing of the next.
    ("2026-11-25 00:00", 0, True),
    ("2026-11-25 23:59", 0, True),
    ("2026-11-26 00:00", 0, False),
    # Over midnight: of the day on which it begins.
    ("2026-11-27 21:59", 0, False),
    ("2026-11-27 23:59", 0, True),
    ("2026-11-28 01:59", 0, True),
    ("2026-11-28 02:00", 0, False),
    ("2026-11-26 01:00", 0, False),
    # A holiday that is a Friday: closed all day, and nothing of it after midnight; but what
    # began the day before goes on.
    ("2026-12-25 22:30", 0, False),
    ("2026-12-26 01:00", 0, False),
    ("2026-12-25 01:00", 0, True),
    # In every year: 2027-01-01 is a Friday, 2025-01-01 a Wednesday.
    ("2027-01-01 23:00", 0, False),
    ("2025-01-01 12:00", 0, False),
    ("2025-12-25 23:00", 0, True),
    # On 29 March 2026 the clock goes from 03:00 to 04:00: there is no 03:30.
    ("2026-03-29 02:59", 0, True),
    ("2026-03-29 04:00", 0, True),
    ("2026-03-29 04:29", 0, True),
    ("2026-03-29 04:30", 0, False),
    # On 25 October 2026 it goes from 04:00 back to 03:00: the hour is there twice.
    ("2026-10-25 03:15", 0, True),
    ("2026-10-25 03:15", 1, True),
    ("2026-10-25 04:29", 0, True),
    ("2026-10-25 04:30", 0, False),
]


def routing(text: str = HOURS) -> RoutingSettings:
    """The routing of a configuration."""
    return parse(text).routing


class HoursTests(SynchronousTestCase):
    """When it is open."""

    def test_table(self) -> None:
        """Each moment of the table is open or closed as it says."""
        configured = routing()
        for moment, fold, is_open in TABLE:
            local = datetime.fromisoformat(moment).replace(
                tzinfo=ZoneInfo("Europe/Kyiv"), fold=fold
            )
            with self.subTest(moment=moment, fold=fold):
                why = why_closed(configured, local.timestamp())
                self.assertEqual(why is None, is_open, why)

    def test_how_long_over_a_change_of_the_clock(self) -> None:
        """A span of six and a half hours lasts one less in spring and one more in autumn."""
        configured = routing()
        for saturday, hours in [("2026-03-28", 5.5), ("2026-11-28", 6.5), ("2026-10-24", 7.5)]:
            noon = datetime.fromisoformat(f"{saturday} 12:00").replace(tzinfo=UTC)
            minutes = [noon + timedelta(minutes=n) for n in range(20 * 60)]
            opened = [m for m in minutes if why_closed(configured, m.timestamp()) is None]
            night = [m for m in opened if m.astimezone(ZoneInfo("Europe/Kyiv")).hour not in (10,)]
            self.assertEqual(len(night) / 60, hours, saturday)

    def test_words(self) -> None:
        """Why it is closed is said in words."""
        configured = routing()
        kyiv = ZoneInfo("Europe/Kyiv")
        for moment, words in [
            (datetime(2026, 11, 24, 7, 5, tzinfo=kyiv), "closed on Tuesday at 07:05, Europe/Kyiv"),
            (datetime(2027, 1, 1, 7, 5, tzinfo=kyiv), "closed on 2027-01-01, a holiday"),
        ]:
            self.assertEqual(why_closed(configured, moment.timestamp()), words)

    def test_holidays_alone(self) -> None:
        """Without hours it is open all the time but on holidays, midnight to midnight."""
        configured = routing(HOURS.partition("[routing.hours]")[0])
        utc = UTC
        for moment, is_open in [
            (datetime(2026, 12, 24, 21, 59, tzinfo=utc), True),
            (datetime(2026, 12, 24, 22, 0, tzinfo=utc), False),
            (datetime(2026, 12, 25, 21, 59, tzinfo=utc), False),
            (datetime(2026, 12, 25, 22, 0, tzinfo=utc), True),
        ]:
            self.assertEqual(why_closed(configured, moment.timestamp()) is None, is_open, moment)

    @given(st.floats(min_value=0, max_value=4e9))
    def test_always_open(self, now: float) -> None:
        """Without hours and holidays it is always open."""
        self.assertIsNone(why_closed(RoutingSettings(), now))


class BlacklistTests(SynchronousTestCase):
    """Who is not put through."""

    def test_table(self) -> None:
        """Numbers, beginnings of numbers, and those who hide theirs."""
        blacklist = Blacklist(["+380441234567", "7900*", "anonymous", "spam*"])
        for phone, entry in [
            ("380441234567", "380441234567"),
            ("+380441234567", "380441234567"),
            ("3804412345678", None),
            ("38044123456", None),
            ("7900", "7900*"),
            ("79001234567", "7900*"),
            ("+79001234567", "7900*"),
            ("7901", None),
            ("", "anonymous"),
            ("Anonymous", "anonymous"),
            ("unknown", "anonymous"),
            ("Spam.Caller", "spam*"),
            ("380", None),
        ]:
            with self.subTest(phone=phone):
                self.assertEqual(blacklist.entry_of(phone), entry)

    def test_one_number_in_one_form(self) -> None:
        """However the list and the trunk write it."""
        for entry in ("380441234567", "044 123-45-67", "+38 (044) 123-45-67", "044*", "+38044*"):
            blacklist = Blacklist([entry], Numbers("ua"))
            for phone in ("380441234567", "0441234567", "00380441234567", "+380441234567"):
                self.assertIsNotNone(blacklist.entry_of(phone), (entry, phone))
            for phone in ("0501234567", "", "044", "anonymous"):
                self.assertIsNone(Blacklist(["0441234567"], Numbers("ua")).entry_of(phone), phone)

    @given(st.text(max_size=80))
    def test_nobody(self, phone: str) -> None:
        """An empty blacklist keeps nobody away, whatever the trunk says of them."""
        self.assertIsNone(Blacklist([]).entry_of(phone))
