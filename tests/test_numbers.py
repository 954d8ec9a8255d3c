"""Tests of the form of numbers: one number is one, however somebody writes it."""

from __future__ import annotations

import phonenumbers
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.numbers import (
    COUNTRIES,
    LONGEST,
    NO_HOME,
    Dial,
    Kind,
    Number,
    Numbers,
    is_emergency,
    place_by,
)

UA, US, DE, RU = Numbers("ua"), Numbers("us"), Numbers("de"), Numbers("ru")

#: How people write between digits.
GAPS = st.sampled_from(["", " ", "-", " (", ") ", ".", "/"])


def national(region: str) -> st.SearchStrategy[phonenumbers.PhoneNumber]:
    """Numbers of a region: examples, with other last digits."""
    example = phonenumbers.example_number(region)
    assert example is not None
    digits = str(example.national_number)
    return st.integers(0, 999).map(
        lambda end: phonenumbers.parse(f"+{example.country_code}{digits[:-3]}{end:03}", None)
    )


def written(number: phonenumbers.PhoneNumber, how: int) -> str:
    """A number as libphonenumber writes it."""
    return phonenumbers.format_number(number, how)


class FormTests(SynchronousTestCase):
    """E.164 by the home country."""

    def test_one_person(self) -> None:
        """All spellings of one number are one."""
        for text in (
            *("0671234567", "00380671234567", "+38 (067) 123-45-67", "380671234567", "671234567"),
            *("+380 67 123 45 67", "067.123.45.67", "067/1234567"),
        ):
            self.assertEqual(UA.form(text), "380671234567", text)

    def test_table(self) -> None:
        """What people at home mean by digits."""
        for numbers, text, form in [
            (UA, "74951234567", "74951234567"),
            (UA, "+1 (212) 555-0100", "12125550100"),
            (US, "(212) 555-0100", "12125550100"),
            (US, "1-212-555-0100", "12125550100"),
            (US, "011380671234567", "380671234567"),
            (US, "3215551234", "13215551234"),
            (US, "+3215551234", "3215551234"),
            (DE, "030 123456", "4930123456"),
            (DE, "33123456789", "33123456789"),
            (RU, "8 (495) 123-45-67", "74951234567"),
            (RU, "810380671234567", "380671234567"),
            (RU, "00380671234567", "380671234567"),
            (UA, "+44 (0)20 7946 0018", "442079460018"),
        ]:
            with self.subTest(home=numbers.country, text=text):
                self.assertEqual(numbers.form(text), form)

    def test_spellings(self) -> None:
        """How a number may have been kept: each means it, and none means another."""
        asked = UA.read("+38 (067) 123-45-67")
        assert asked is not None
        found = UA.spellings(asked)
        self.assertLessEqual(
            {"380671234567", "+380671234567", "0671234567", "00380671234567"}, found
        )
        self.assertEqual({UA.form(one) for one in found}, {"380671234567"})
        for numbers, text in ((NO_HOME, "0671234567"), (UA, "+48671234567"), (UA, "101")):
            number = numbers.read(text)
            assert number is not None
            self.assertIn(number.form, numbers.spellings(number))
            self.assertEqual(
                {numbers.form(one) for one in numbers.spellings(number)}, {number.form}
            )

    def test_internal(self) -> None:
        """Internal and short numbers are what they are."""
        for text in ("101", "112", "1001", "10-01"):
            self.assertEqual(UA.form(text), text.replace("-", ""))
        self.assertIsNone(UA.form("+1001"))
        self.assertEqual(Numbers("ua", "[0-9]{7}").form("2345678"), "2345678")

    def test_what_is_no_number(self) -> None:
        """It has no form."""
        for text in ("", "+", "anonymous", "06712345", "+38067", "0671234567x", "0" * 41, "٣٨٠"):
            self.assertIsNone(UA.form(text), text)

    def test_no_home(self) -> None:
        """Without a home country digits stay; punctuation, a plus and 00 go."""
        for text, form in [
            ("380671234567", "380671234567"),
            ("+38 (067) 123-45-67", "380671234567"),
            ("00380671234567", "380671234567"),
            ("0671234567", "0671234567"),
            ("001", "001"),
            ("101", "101"),
        ]:
            self.assertEqual(NO_HOME.form(text), form, text)

    @given(national("UA"), st.data())
    def test_every_spelling_of_a_number_of_home(
        self, number: phonenumbers.PhoneNumber, data: st.DataObject
    ) -> None:
        """Whatever stands between its digits, and whatever before them."""
        form = written(number, phonenumbers.PhoneNumberFormat.E164)[1:]
        for text in (f"+{form}", f"00{form}", form, f"0{number.national_number}"):
            gaps = [data.draw(GAPS) for _ in text]
            spelled = "".join(a + b for a, b in zip(text, gaps, strict=True))
            assume(len(spelled) <= LONGEST)
            self.assertEqual(UA.form(spelled), form, spelled)

    @given(st.sampled_from(COUNTRIES), st.sampled_from(COUNTRIES), st.data())
    def test_every_country(self, home: str, other: str, data: st.DataObject) -> None:
        """A number with its plus is the same one in every country; at home without it, too."""
        number = data.draw(national(other.upper()))
        assume(phonenumbers.is_valid_number(number))
        form = written(number, phonenumbers.PhoneNumberFormat.E164)[1:]
        international = written(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        assume(NO_HOME.form(international) is not None)
        self.assertEqual(Numbers(home).form(international), form)
        at_home = written(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        assume(NO_HOME.form(at_home) is not None)
        # Some are so short that they are internal ones.
        assume(not Numbers(other).is_internal(NO_HOME.form(at_home) or ""))
        self.assertEqual(Numbers(other).form(at_home), form, at_home)

    @given(
        st.sampled_from([UA, US, DE, RU, NO_HOME]), st.text("+0123456789 ()-./*#a٣", max_size=50)
    )
    def test_anything(self, numbers: Numbers, text: str) -> None:
        """A form is digits, read again with a plus it is itself, and nothing raises."""
        form = numbers.form(text)
        numbers.beginning(text)
        if form is None:
            return
        self.assertRegex(form, r"\A[0-9]{1,20}\Z")
        number = Number(form, text)
        for how in Dial:
            self.assertRegex(numbers.dialled(number, how), r"\A\+?[0-9]{1,25}\Z")
        if numbers is not NO_HOME and not numbers.is_internal(form):
            self.assertEqual(numbers.form("+" + form), form)

    def test_bounded(self) -> None:
        """What was read is remembered, and not for ever."""
        numbers = Numbers("ua")
        numbers.form("0671234567")
        numbers.form("0671234567")
        self.assertEqual(numbers._forms.cache_info().hits, 1)
        self.assertIsNotNone(numbers._forms.cache_info().maxsize)

    def test_what_is_too_long_is_not_remembered(self) -> None:
        """Whoever sends long texts fills no memory."""
        numbers = Numbers("ua")
        for text in ("1" * 65_536, "+" + "1" * 65_536, "(" * (LONGEST + 1)):
            self.assertIsNone(numbers.form(text))
            self.assertEqual(numbers.place(text).kind, Kind.UNKNOWN)
        self.assertEqual(numbers._forms.cache_info().currsize, 0)
        self.assertEqual(numbers._places.cache_info().currsize, 0)


class BeginningTests(SynchronousTestCase):
    """How numbers begin."""

    def test_table(self) -> None:
        """A beginning is one of the form."""
        for numbers, text, beginning in [
            (UA, "067", "38067"),
            (UA, "+38067", "38067"),
            (UA, "0038067", "38067"),
            (UA, "7900", "7900"),
            (UA, "0", "380"),
            (UA, "00", "00"),
            (RU, "882", "882"),
            (US, "1900", "1900"),
            (NO_HOME, "067", "067"),
            (NO_HOME, "007900", "7900"),
        ]:
            self.assertEqual(numbers.beginning(text), beginning, (numbers.country, text))


class PlaceTests(SynchronousTestCase):
    """Where a number rings, and what kind it is."""

    def test_kinds(self) -> None:
        """What costs extra is told from what does not, and satellites from countries."""
        for form, country, kind in [
            ("380671234567", "ua", Kind.ORDINARY),
            ("380900212345", "ua", Kind.PREMIUM),
            ("4930123456", "de", Kind.ORDINARY),
            ("491805123456", "de", Kind.SHARED_COST),
            ("447012345678", "gb", Kind.PERSONAL),
            ("12423221234", "bs", Kind.ORDINARY),
            ("19005551234", "us", Kind.PREMIUM),
            ("12129761234", "us", Kind.PREMIUM),
            ("881612345678", None, Kind.SATELLITE),
            ("8821612345678", None, Kind.SATELLITE),
            ("870773123456", None, Kind.SATELLITE),
            ("9607712345", "mv", Kind.ORDINARY),
            ("1001", None, Kind.INTERNAL),
            ("99999999999", None, Kind.UNKNOWN),
        ]:
            place = UA.place(form)
            self.assertEqual((place.country, place.kind), (country, kind), form)

    def test_by_country(self) -> None:
        """The same digits ring in other places, as the country is in which they are dialled."""
        self.assertEqual(place_by("ua", "0441234567").country, "ua")
        self.assertEqual(place_by("us", "9607712345").country, "mv")
        self.assertEqual(place_by("us", "2125550100").country, "us")
        self.assertEqual(place_by("ua", "nobody").kind, Kind.UNKNOWN)

    def test_emergency(self) -> None:
        """Each country has its own."""
        self.assertTrue(is_emergency("112", "ua"))
        self.assertTrue(is_emergency("103", "ua"))
        self.assertTrue(is_emergency("911", "us"))
        for digits in ("02", "911", "1123", "", "x"):
            self.assertFalse(is_emergency(digits, "ua"), digits)


class DialTests(SynchronousTestCase):
    """How a trunk wants a number."""

    def test_ways(self) -> None:
        """At home and abroad."""
        home = Number("380671234567", "067 123-45-67")
        abroad = Number("74951234567", "+7 495 123-45-67")
        for how, at_home, elsewhere in [
            (Dial.AS_SENT, "0671234567", "74951234567"),
            (Dial.E164, "380671234567", "74951234567"),
            (Dial.PLUS_E164, "+380671234567", "+74951234567"),
            (Dial.INTERNATIONAL, "00380671234567", "0074951234567"),
            (Dial.NATIONAL, "0671234567", "0074951234567"),
        ]:
            self.assertEqual(UA.dialled(home, how), at_home)
            self.assertEqual(UA.dialled(abroad, how), elsewhere)
            self.assertEqual(UA.dialled(Number("101", "101"), how), "101")
