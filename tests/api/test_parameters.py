"""Parameters: which texts are values, and how a request's names and values are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api import params
from ccdaemon.api.param_types import (
    Flag,
    Moment,
    OneOf,
    ParamType,
    Patterns,
    Phone,
    Seconds,
    Sip,
    SomeOf,
    Whole,
)
from ccdaemon.api.param_types import Text as TextKind
from ccdaemon.api.parameters import Parameter, Values, read_values, single
from ccdaemon.calls.model import Direction
from ccdaemon.config.validators import Pattern
from ccdaemon.errors import Code, Refused
from ccdaemon.numbers import Number, Numbers
from ccdaemon.operators import Status
from tests.api.world import PATTERNS

ANY_TEXT = st.text(st.characters(codec=None), min_size=1, max_size=20)
EVERY = [thing for thing in vars(params).values() if isinstance(thing, Parameter)]
#: Words for people: any language.
WORDS = (params.RESULT, params.NOTE, params.REASON)


def parsed(kind: ParamType[Any], text: str, patterns: Patterns = PATTERNS) -> Any:
    """Parse a text; None where it is refused."""
    try:
        return kind.parse(text, patterns)
    except ValueError:
        return None


class Kinds(SynchronousTestCase):
    """Each kind alone."""

    @given(ANY_TEXT)
    @example("١٢")
    @example("12\n")
    @example(" 12")
    @example("1_2")
    @example("-0")
    def test_only_digits_are_a_whole_number(self, text: str) -> None:
        """A whole number is ASCII digits from first to last character, and nothing else."""
        number = parsed(Whole(1, 1000), text)
        if number is not None:
            self.assertTrue(text.isascii() and text.isdigit())
            self.assertEqual(number, int(text))
            self.assertTrue(1 <= number <= 1000)

    @given(st.integers(-5, 1005))
    def test_the_range_of_a_whole_number(self, number: int) -> None:
        """Inside its range every number is allowed, outside none."""
        expected = number if 1 <= number <= 1000 else None
        self.assertEqual(parsed(Whole(1, 1000), str(number)), expected)

    def test_a_number_without_end(self) -> None:
        """Where nothing bounds a number, thousands of digits are read, and more are refused."""
        self.assertEqual(parsed(Whole(1, None), "9" * 4000), 10**4000 - 1)
        self.assertIsNone(parsed(Whole(1, None), "9" * 5000))

    def test_seconds(self) -> None:
        """Plain decimal numbers from nothing to the limit."""
        for text, value in {"0": 0.0, "60": 60.0, "0.5": 0.5, "25.125": 25.125}.items():
            self.assertEqual(parsed(Seconds(60), text), value)
        for text in ("60.001", "61", "-1", "1e1", "inf", "nan", ".5", "5.", "1,5", "٣", "5\n"):
            self.assertIsNone(parsed(Seconds(60), text), text)

    @given(ANY_TEXT)
    @example("a" * 64)
    @example("a" * 65)
    @example("line\n")
    @example("\x7f")
    def test_ids_are_printable_ascii(self, text: str) -> None:
        """An order or a key is 1 to 64 characters from space to tilde."""
        allowed = len(text) <= 64 and all(" " <= character <= "~" for character in text)
        self.assertEqual(parsed(params.ORDER_ID.kind, text), text if allowed else None)

    @given(ANY_TEXT)
    @example("1000\n")
    @example("１０００")
    @example("10000000")
    def test_an_operators_number_matches_as_a_whole(self, text: str) -> None:
        """Nothing but what the configured pattern describes is an operator's number."""
        if parsed(Sip(), text) is not None:
            self.assertTrue(text.isascii() and text.isdigit() and 3 <= len(text) <= 6)

    def test_a_generous_pattern_lets_no_separator_through(self) -> None:
        """Even a pattern that allows everything allows no character that means something."""
        generous = Patterns(sip=Pattern(".*"), phone=Pattern(".*"))
        for text in ("10,00", "10&00", "10/00", "10@00", "10 00", "10\r\n", "${X}", "", "+"):
            if text:
                self.assertIsNone(parsed(Sip(), text, generous), text)
                phone = parsed(Phone(), text, generous)
                if phone is not None:
                    self.assertRegex(phone.form, "^[0-9]+$", text)

    def test_how_people_write_a_phone(self) -> None:
        """With a plus, escaped or not, and with blanks, brackets and dashes; it is one number."""
        for text in (
            *("380639920000", "+380639920000", " 380639920000", "380639920000 "),
            *("+38 (063) 992-00-00", "38.063.992.00.00", "00380639920000"),
        ):
            self.assertEqual(parsed(Phone(), text).form, "380639920000", text)
        for text in ("++380639920000", "3806+39920000", "380639920000+", "+", " ", "3806399200oo"):
            self.assertIsNone(parsed(Phone(), text), text)

    def test_a_phone_of_a_country(self) -> None:
        """Where a country is home it is E.164; what is no number of any country is none."""
        ua = Patterns(Pattern("[0-9]{3,6}"), Pattern("[0-9]{3,15}"), Numbers("ua"))
        self.assertEqual(
            parsed(Phone(), "(063) 992-00-00", ua), Number("380639920000", "(063) 992-00-00")
        )
        self.assertEqual(parsed(Phone(), "1001", ua).form, "1001")
        for text in ("06399200", "+38063992", "06399200001111"):
            self.assertIsNone(parsed(Phone(), text, ua), text)

    def test_what_is_no_number(self) -> None:
        """A pattern may allow what no country has; it is taken as it is."""
        star = Patterns(Pattern("[0-9]{3,6}"), Pattern(r"[0-9*#]{2,6}"), Numbers("ua"))
        self.assertEqual(parsed(Phone(), "*98", star).form, "*98")

    def test_words(self) -> None:
        """Words are taken as they are written, one or several."""
        self.assertEqual(parsed(OneOf(Direction), "inbound"), Direction.INBOUND)
        self.assertIsNone(parsed(OneOf(Direction), "Inbound"))
        some = SomeOf((Status.ONLINE, Status.INUSE))
        self.assertEqual(parsed(some, "inuse,online,inuse"), {Status.ONLINE, Status.INUSE})
        for text in ("offline", "online,", ",", "online inuse", "ONLINE"):
            self.assertIsNone(parsed(some, text), text)

    def test_flags(self) -> None:
        """Yes is 1 and no is 0."""
        self.assertEqual([parsed(Flag(), text) for text in "01"], [False, True])
        for text in ("true", "2", "01", "yes"):
            self.assertIsNone(parsed(Flag(), text), text)


class Moments(SynchronousTestCase):
    """Moments in ISO 8601."""

    def test_spellings(self) -> None:
        """Date, minutes, seconds, fractions; with Z, an offset or no zone at all, which is UTC."""
        noon = 1795435200000
        for text, value in {
            "2026-11-23T12:00:00Z": noon,
            "2026-11-23T12:00:00": noon,
            "2026-11-23 12:00": noon,
            "2026-11-23T12:00Z": noon,
            "2026-11-23T14:00:00+02:00": noon,
            "2026-11-23T14:00:00+0200": noon,
            "2026-11-23T14:00:00+02": noon,
            "2026-11-23T14:00:00 02:00": noon,
            "2026-11-23T08:30:00-03:30": noon,
            "2026-11-23T12:00:00.1Z": noon + 100,
            "2026-11-23T12:00:00,1239Z": noon + 123,
            "2026-11-23": noon - 12 * 3600_000,
            "1969-12-31T23:59:59.999Z": -1,
            "0001-01-01T00:00:00+23:59": -62135596800000 - (23 * 60 + 59) * 60_000,
        }.items():
            self.assertEqual(parsed(Moment(), text), value, text)

    def test_what_is_no_moment(self) -> None:
        """Days that do not exist, other calendars' digits, week dates, seconds since 1970."""
        for text in (
            "2026-02-29",
            "2026-13-01",
            "2026-11-23T24:00:00",
            "2026-11-23T12",
            "2026-11-23T12:00:60Z",
            "2026-11-23T12:00:00+24:00",
            "2026-11-23T12:00:00+01:60",
            "0000-01-01",
            "٢٠٢٦-11-23",
            "2026-W48-1",
            "1795435200",
            "2026-11-23Z",
            "2026-11-23\n",
            "20261123T120000Z",
        ):
            self.assertIsNone(parsed(Moment(), text), text)

    @given(
        st.datetimes(
            timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))
        )
    )
    def test_agrees_with_the_standard_library(self, moment: datetime) -> None:
        """Whatever the standard library writes is read as the same millisecond."""
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        whole = (moment - epoch) // timedelta(milliseconds=1)
        self.assertEqual(parsed(Moment(), moment.isoformat()), whole)

    @given(ANY_TEXT)
    def test_any_text_is_a_moment_or_refused(self, text: str) -> None:
        """No text makes anything else happen."""
        parsed(Moment(), text)


class Reading(SynchronousTestCase):
    """From pairs to values."""

    def refused(self, pairs: list[tuple[str, str]]) -> Refused:
        """Read what has to be refused."""
        with self.assertRaises(Refused) as caught:
            read_values(pairs, (params.SIP,), (params.PAGE, params.PHONE), PATTERNS)
        refused: Refused = caught.exception
        return refused

    def test_values_come_under_their_declarations(self) -> None:
        """What came is a value, what did not is the default or nothing."""
        pairs = [("sip", "1000"), ("page", ""), ("other", "x"), ("other", "y")]
        values = read_values(pairs, (params.SIP,), (params.PAGE, params.PHONE), PATTERNS)
        self.assertEqual(values[params.SIP], "1000")
        self.assertEqual(values[params.PAGE], 1)
        phone = values.get(params.PHONE)
        self.assertIsNone(phone)
        with self.assertRaises(KeyError):
            values[params.PHONE]

    def test_missing_bad_and_repeated(self) -> None:
        """Each refusal has its code, the field's name and words for people."""
        for pairs, code, field in (
            ([], Code.MISSING_PARAMETER, "sip"),
            ([("sip", "")], Code.MISSING_PARAMETER, "sip"),
            ([("SIP", "1000")], Code.MISSING_PARAMETER, "sip"),
            ([("sip", "10")], Code.BAD_PARAMETER, "sip"),
            ([("sip", "1000"), ("sip", "1000")], Code.BAD_PARAMETER, "sip"),
            ([("sip", "1000"), ("page", "0")], Code.BAD_PARAMETER, "page"),
            ([("sip", "1000"), ("page", "1"), ("page", "2")], Code.BAD_PARAMETER, "page"),
        ):
            refused = self.refused(pairs)
            self.assertEqual((refused.code, refused.field), (code, field))
            self.assertIn(field, refused.message)

    def test_an_empty_one_beside_a_value_is_absent(self) -> None:
        """An empty value is no repetition."""
        self.assertEqual(single([("page", ""), ("page", "5"), ("page", "")], "page"), "5")

    def test_the_value_is_never_repeated_to_the_client(self) -> None:
        """A refusal tells what is expected, not what came: that may be anybody's number."""
        self.assertNotIn("38063", self.refused([("sip", "1000"), ("phone", "38063x")]).message)

    def test_no_declaration_is_forgotten(self) -> None:
        """Every parameter says what it expects and describes itself."""
        for parameter in EVERY:
            self.assertTrue(parameter.about)
            self.assertTrue(parameter.kind.expected(PATTERNS))
            self.assertIn("type", parameter.kind.schema(PATTERNS))

    @given(st.sampled_from(EVERY), ANY_TEXT)
    def test_any_text_is_a_value_or_refused(self, parameter: Parameter[Any], text: str) -> None:
        """No text in any parameter makes anything but a value or a refusal that names it."""
        try:
            values = read_values([(parameter.name, text)], (), (parameter,), PATTERNS)
        except Refused as refused:
            self.assertEqual((refused.code, refused.field), (Code.BAD_PARAMETER, parameter.name))
        else:
            self.assertIsInstance(values, Values)
            self.assertTrue(text.isascii() or parameter in WORDS)

    def test_text_without_a_pattern_of_its_own(self) -> None:
        """A pattern speaks of the whole value, also where it has alternatives."""
        kind = TextKind("(?:a|b)", "a or b")
        self.assertEqual(
            [parsed(kind, text) for text in ("a", "b", "ab", "a\n")], ["a", "b", None, None]
        )
