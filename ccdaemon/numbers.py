"""One number, one form: what people, trunks and CRMs write becomes E.164, by the home country.

Pure, and without any state but a bounded memory of what was read last. Knows the plans of all
countries from Google's libphonenumber; knows nothing of calls, lists and limits.

A *form* is the digits of a number with its country code and without a plus (``380671234567``), or
an internal number as it is (``1001``, ``112``). Without a home country a form is what was written,
without its punctuation, its plus and an international ``00``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import phonenumbers
from phonenumbers import (
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)
from phonenumbers.shortnumberinfo import is_emergency_number

#: What may stand between digits.
PUNCTUATION = " ().-/"
#: Letters of a text that is looked at; a number has 15 digits at most, and is written with blanks.
LONGEST = 40
#: Readings that are remembered, by each of the functions below.
REMEMBERED = 10_000
#: What stands before an international number nearly everywhere.
ABROAD = "00"
#: Digits that an international number has at least, with its country code.
SHORTEST = 7
#: What is dialled within the house, or is a service of the network, unless it is said otherwise.
INTERNAL = "[0-9]{2,5}"

#: All regions that have a plan of their own, in lower case as a configuration names them.
COUNTRIES = tuple(sorted(region.lower() for region in phonenumbers.SUPPORTED_REGIONS))

_WRITTEN = re.compile(r"(\+?)([0-9]{1,20})", re.ASCII)
_REMOVED = str.maketrans("", "", PUNCTUATION)


class Kind(Enum):
    """What a number is, as far as its price goes."""

    ORDINARY = "ordinary"
    PREMIUM = "premium"
    SHARED_COST = "shared_cost"
    PERSONAL = "personal"
    PAGER = "pager"
    SATELLITE = "satellite"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


_KINDS: dict[int, Kind] = {
    PhoneNumberType.FIXED_LINE: Kind.ORDINARY,
    PhoneNumberType.MOBILE: Kind.ORDINARY,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: Kind.ORDINARY,
    PhoneNumberType.TOLL_FREE: Kind.ORDINARY,
    PhoneNumberType.VOIP: Kind.ORDINARY,
    # One number for a whole company, at the price of a call to a city.
    PhoneNumberType.UAN: Kind.ORDINARY,
    PhoneNumberType.PREMIUM_RATE: Kind.PREMIUM,
    PhoneNumberType.SHARED_COST: Kind.SHARED_COST,
    PhoneNumberType.PERSONAL_NUMBER: Kind.PERSONAL,
    PhoneNumberType.PAGER: Kind.PAGER,
}

#: Inmarsat, Iridium, Globalstar, Thuraya and their like: libphonenumber takes them for mobiles.
_SATELLITES = frozenset({870, 881, 882, 883})

#: Premium in North America by its exchange, of which libphonenumber does not know.
_EXCHANGE_976 = re.compile("[0-9]{3}976[0-9]{4}", re.ASCII)

#: Matches no number.
_NONE = "(?!)"

#: What libphonenumber calls the region of a number that is no country's.
_NOBODYS = "001"


class Dial(Enum):
    """How a trunk wants a number."""

    AS_SENT = "as_sent"
    E164 = "e164"
    PLUS_E164 = "+e164"
    INTERNATIONAL = "international"
    NATIONAL = "national"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it was sent, and what it means: ``form`` decides, ``sent`` is kept beside it."""

    form: str
    sent: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number rings: a country in lower case (None: no country's), and its kind."""

    country: str | None
    kind: Kind


class Numbers:
    """Reads numbers as somebody in ``country`` means them.

    :param country: the home country, two letters in lower case; None: there is none.
    :param internal: a regular expression in ASCII for whole numbers that are what they are.
    """

    def __init__(self, country: str | None = None, internal: str = INTERNAL) -> None:
        self.country = country
        self._region = country.upper() if country else None
        self._internal = re.compile(internal, re.ASCII)
        self._home = _Home.of(self._region) if self._region else None
        self._forms = lru_cache(REMEMBERED)(self._form)
        self._places = lru_cache(REMEMBERED)(self._place)

    def is_internal(self, form: str) -> bool:
        """Whether a number is dialled within the house, or is a service of the network."""
        return self._internal.fullmatch(form) is not None

    def form(self, text: str) -> str | None:
        """The form of the number that a text is; None if it is none."""
        # What is too long is not even remembered.
        return self._forms(text) if len(text) <= LONGEST else None

    def place(self, form: str) -> Place:
        """Where a number rings."""
        return self._places(form) if len(form) <= LONGEST else Place(None, Kind.UNKNOWN)

    def read(self, text: str) -> Number | None:
        """What a text means; None if it is no number."""
        form = self.form(text)
        return None if form is None else Number(form, text)

    def spellings(self, number: Number) -> frozenset[str]:
        """The form of a number, and how it may stand where it was kept before it had its form."""
        form, home = number.form, self._home
        digits = {form, *filter(None, [(_written(number.sent) or (False, ""))[1]])}
        digits |= {prefix + form for prefix in (ABROAD, *([home.abroad] if home else []))}
        if home is not None and form.startswith(home.code):
            rest = form[len(home.code) :]
            digits |= {rest, home.trunk + rest}
        written = {*digits, f"+{form}"}
        return frozenset({form, *(one for one in written if self.form(one) == form)})

    def plain(self, number: Number) -> str:
        """A number as a pattern of the configuration speaks of it: without home, as it was sent."""
        written = _written(number.sent)
        return number.form if self._home is not None or written is None else written[1]

    def _form(self, text: str) -> str | None:
        written = _written(text)
        if written is None:
            return None
        plus, digits = written
        if not plus and self.is_internal(digits):
            return digits
        if self._home is None:
            return digits if plus else _without_abroad(digits)
        readings = [one for one in self._readings(plus, digits) if one is not None]
        best = next(filter(phonenumbers.is_valid_number, readings), None)
        # A range that was opened after the plans were written down is a number all the same.
        best = best or next(filter(_is_possible, readings), None)
        return None if best is None else _e164(best)

    def _readings(self, plus: bool, digits: str) -> Iterator[PhoneNumber | None]:
        """What digits may mean, the likeliest first."""
        home = self._home
        assert home is not None
        if plus:
            yield _parsed("+" + digits, None)
            return
        for prefix in (home.abroad, ABROAD):
            if digits.startswith(prefix):
                yield _parsed("+" + digits[len(prefix) :], None)
        if home.trunk == "" or digits.startswith(home.trunk):
            yield _parsed(digits, home.region)
        yield _parsed("+" + digits, None)
        # Nobody leaves the prefix out and puts the country before it.
        if not digits.startswith(home.code):
            yield _parsed(digits, home.region)

    def beginning(self, text: str) -> str:
        """How the forms of those numbers begin that are written with this beginning."""
        written = _written(text)
        if written is None:
            return text
        plus, digits = written
        home = self._home
        for prefix in (ABROAD, *([home.abroad] if home else [])):
            if not plus and digits.startswith(prefix):
                # All that is dialled abroad has no beginning in common but this.
                return digits[len(prefix) :] or digits
        # No country's code begins with a zero; with an 8, as Russia has it, some do.
        if home is not None and not plus and home.trunk == "0" and digits.startswith("0"):
            return home.code + digits[1:]
        return digits

    def _place(self, form: str) -> Place:
        if self.is_internal(form):
            return Place(None, Kind.INTERNAL)
        return _place_of(_parsed("+" + form, None))

    def dialled(self, number: Number, how: Dial) -> str:
        """What is sent to a trunk: digits, with a plus before them where the trunk wants it."""
        if how is Dial.AS_SENT or self.is_internal(number.form):
            written = _written(number.sent)
            return written[1] if written else number.sent
        if how is Dial.E164:
            return number.form
        if how is Dial.PLUS_E164:
            return "+" + number.form
        home = self._home
        if how is Dial.NATIONAL and home is not None and number.form.startswith(home.code):
            parsed = _parsed("+" + number.form, None)
            if parsed is not None and parsed.country_code == int(home.code):
                return _digits(phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL))
        return (home.abroad if home else ABROAD) + number.form


@dataclass(frozen=True, slots=True)
class _Home:
    """How a country dials: ``trunk`` stands before each of its numbers, empty where none has to."""

    region: str
    code: str
    abroad: str
    trunk: str

    @classmethod
    def of(cls, region: str) -> _Home:
        plan = PhoneMetadata.metadata_for_region(region)
        if plan is None:
            raise ValueError(f"no country {region}")
        # 8~10: the tilde is where a tone is waited for.
        abroad = (plan.preferred_international_prefix or plan.international_prefix or "").replace(
            "~", ""
        )
        trunk = plan.national_prefix or ""
        example = phonenumbers.example_number(region)
        if example is not None and trunk:
            # Many have a prefix that nobody has to dial any more.
            written = _digits(phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL))
            trunk = trunk if written == trunk + str(example.national_number) else ""
        return cls(region, str(plan.country_code), abroad if abroad.isdigit() else ABROAD, trunk)


#: Where no country is home.
NO_HOME = Numbers()


@lru_cache(len(COUNTRIES))
def _in(country: str) -> Numbers:
    return Numbers(country, internal=_NONE)


def form_by(country: str, text: str) -> str | None:
    """The form of a number that is dialled in a country, whatever country is home."""
    return _in(country).form(text)


def place_by(country: str, text: str) -> Place:
    """Where a number rings that is dialled in a country, whatever country is home."""
    form = form_by(country, text)
    return Place(None, Kind.UNKNOWN) if form is None else place_abroad(form)


def place_abroad(digits: str) -> Place:
    """Where a number rings that is dialled with its country code."""
    return _place_of(_parsed("+" + digits.removeprefix("+"), None))


def is_emergency(digits: str, country: str) -> bool:
    """Whether a country's emergency services answer this number."""
    return digits.isascii() and digits.isdigit() and is_emergency_number(digits, country.upper())


def _place_of(number: PhoneNumber | None) -> Place:
    if number is None or not phonenumbers.is_valid_number(number):
        return Place(None, Kind.UNKNOWN)
    if number.country_code in _SATELLITES:
        return Place(None, Kind.SATELLITE)
    if number.country_code == 1 and _EXCHANGE_976.fullmatch(str(number.national_number)):
        return Place("us", Kind.PREMIUM)
    kind = _KINDS.get(phonenumbers.number_type(number), Kind.UNKNOWN)
    region = phonenumbers.region_code_for_number(number)
    return Place(None if region in (None, _NOBODYS) else region.lower(), kind)


def _written(text: str) -> tuple[bool, str] | None:
    """Whether there is a plus, and the digits; None where there is anything else."""
    if len(text) > LONGEST:
        return None
    found = _WRITTEN.fullmatch(text.translate(_REMOVED))
    return None if found is None else (bool(found[1]), found[2])


def _without_abroad(digits: str) -> str:
    rest = digits.removeprefix(ABROAD)
    return rest if len(rest) >= SHORTEST and not rest.startswith("0") else digits


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _is_possible(number: PhoneNumber) -> bool:
    """Whether a number is as long as one of its country, with its area.

    A zero that is left before it was meant to be a prefix, and the rest is too short.
    """
    return (
        not number.italian_leading_zero
        and phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    )


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164).removeprefix("+")


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text, flags=re.ASCII)
