"""Tests of the limits: what may be dialled, when, and how often."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config import parse
from ccdaemon.errors import Code, Refused
from ccdaemon.limits.counters import MANY, QUIET, Alarms
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.rates import Rates
from ccdaemon.numbers import Number
from tests.limits.parts import parts

CONFIG = """
[asterisk]
secret = "x"
client_channel = "PJSIP/{phone}@trunk"
[database]
url = "embedded"
[limits]
"""
NOW = 1_795_412_687.0
PHONE = "380639920000"

#: A country, numbers that are ordinary in it, and numbers that cost extra or are of others.
NUMBERS = [
    (
        "ua",
        "380639920000 0639920000 00380639920000 0800500500",
        "0900123456 380900123456 79161234567 63992000 3806399200001 4921123456 101 00",
    ),
    (
        "ru",
        "79161234567 89161234567 0079161234567 88001234567 84951234567",
        "88091234567 78091234567 77011234567 87011234567 380639920000 8916123456",
    ),
    ("kz", "77011234567 87011234567", "79161234567 380639920000"),
    ("by", "375291234567 80291234567 00375291234567", "375901234567 80901234567 79161234567"),
    ("pl", "48221234567 221234567 0048601234567", "48701234567 701234567 300123456 4822123456"),
    ("de", "4930123456 030123456 015112345678", "0900123456 49137123456 030 1234567890123456"),
    ("gb", "442071234567 02071234567 07400123456", "09061234567 447012345678 08711234567"),
    (
        "us",
        "12125551234 2125551234 0012125551234",
        "19005551234 12425551234 8765551234 12129761234 1112345678 442071234567",
    ),
]


def limits(text: str = "", *do_not_call: str) -> DialLimits:
    """Limits of a configuration."""
    return parts(parse(CONFIG + text), *do_not_call).limits


def number(asked: DialLimits, phone: str) -> Number:
    """Read a number as the API does."""
    return asked._numbers.read(phone) or Number(phone, phone)


class LimitsCase(SynchronousTestCase):
    """Asking whether something may be dialled."""

    def code(
        self,
        asked: DialLimits,
        phone: str = PHONE,
        sip: str | None = "1000",
        client: str | None = "crm",
        up: int = 0,
        now: float = NOW,
    ) -> tuple[Code, int | None] | None:
        """Ask; the code and when to try again, None if it may be dialled."""
        try:
            asked.refuse_phone(number(asked, phone), sip, client, now)
            asked.take(number(asked, phone), sip, client, up, now)
        except Refused as refused:
            return refused.code, refused.retry_after
        return None


class NumberTests(LimitsCase):
    """Which numbers may be dialled."""

    def allowed(self, asked: DialLimits, phone: str) -> bool:
        """Ask for one."""
        found = self.code(asked, phone)
        self.assertIn(found, (None, (Code.PHONE_NOT_ALLOWED, None)))
        return found is None

    def test_nothing_is_configured(self) -> None:
        """Any number may be dialled."""
        self.assertTrue(self.allowed(limits(), "1"))

    def test_prefixes_and_patterns(self) -> None:
        """Each way to allow is enough; each way to forbid wins."""
        asked = limits(
            """
            allowed_prefixes = ["38063"]
            allowed_patterns = ['38044[0-9]{7}', '1(01|02)']
            forbidden_prefixes = ["3806399"]
            forbidden_patterns = ['[0-9]*666']
            """
        )
        for phone, may in [
            ("380631112233", True),
            ("380639920000", False),
            ("380441234567", True),
            ("3804412345678", False),
            ("38044123456", False),
            ("101", True),
            ("1011", False),
            ("380631112666", False),
            ("380501234567", False),
        ]:
            with self.subTest(phone=phone):
                self.assertEqual(self.allowed(asked, phone), may)

    def test_countries(self) -> None:
        """Ordinary numbers in every way they are dialled; none that cost extra."""
        for country, ordinary, others in NUMBERS:
            asked = limits(f'countries = ["{country}"]')
            for phone in ordinary.split():
                with self.subTest(country=country, phone=phone):
                    self.assertTrue(self.allowed(asked, phone))
            for phone in others.split():
                with self.subTest(country=country, phone=phone):
                    self.assertFalse(self.allowed(asked, phone))

    def test_several_countries(self) -> None:
        """Numbers of each of them; what costs extra in one is no ordinary number of another."""
        asked = limits('countries = ["ua", "ru"]')
        for phone, may in [
            ("380639920000", True),
            ("79161234567", True),
            ("0900123456", False),
            ("48221234567", False),
        ]:
            self.assertEqual(self.allowed(asked, phone), may)

    def test_do_not_call(self) -> None:
        """Who does not want to be called is not."""
        asked = limits("", PHONE, "7900*")
        self.assertEqual(self.code(asked), (Code.DO_NOT_CALL, None))
        self.assertEqual(self.code(asked, "79001234567"), (Code.DO_NOT_CALL, None))
        self.assertIsNone(self.code(asked, "79011234567"))


class QuietHoursTests(LimitsCase):
    """When nobody is to be called."""

    def test_table(self) -> None:
        """Refused until they are over, with the seconds until then, also over a changed clock."""
        asked = limits('quiet_hours = ["21:00-08:00", "13:00-13:30"]\ntimezone = "Europe/Kyiv"')
        for moment, wait in [
            ("2026-11-23 08:00:00", None),
            ("2026-11-23 20:59:59", None),
            ("2026-11-23 21:00:00", 11 * 3600),
            ("2026-11-23 23:59:59", 8 * 3600 + 1),
            ("2026-11-24 07:59:30", 30),
            ("2026-11-23 13:15:00", 15 * 60),
            # In spring an hour of the night is left out, in autumn one is there twice.
            ("2026-03-28 22:00:00", 9 * 3600),
            ("2026-10-24 22:00:00", 11 * 3600),
        ]:
            local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo("Europe/Kyiv"))
            with self.subTest(moment=moment):
                found = self.code(asked, now=local.timestamp())
                self.assertEqual(found, wait and (Code.QUIET_HOURS, wait))

    def test_always(self) -> None:
        """Where they never end, it may be tried again in two days, when they may have changed."""
        asked = limits('quiet_hours = ["00:00-24:00"]\ntimezone = "UTC"')
        self.assertEqual(self.code(asked), (Code.QUIET_HOURS, 2 * 86400))


class RateTests(LimitsCase):
    """How often and how much at once."""

    def test_calls_at_once(self) -> None:
        """As many as max_calls allows, and no more."""
        asked = limits("max_calls = 2")
        self.assertIsNone(self.code(asked, up=1))
        self.assertEqual(self.code(asked, up=2), (Code.TOO_MANY_CALLS, 5))

    def test_each_operator(self) -> None:
        """So many in any minute; the seconds until the next one are told."""
        asked = limits("operator_per_minute = 2")
        self.assertIsNone(self.code(asked, now=NOW))
        self.assertIsNone(self.code(asked, now=NOW + 20))
        self.assertEqual(self.code(asked, now=NOW + 20), (Code.TOO_MANY_CALLS, 40))
        self.assertEqual(self.code(asked, now=NOW + 59.5), (Code.TOO_MANY_CALLS, 1))
        self.assertIsNone(self.code(asked, sip="1001", now=NOW + 20))
        self.assertIsNone(self.code(asked, sip=None, now=NOW + 20))
        self.assertIsNone(self.code(asked, now=NOW + 60))
        self.assertEqual(self.code(asked, now=NOW + 60), (Code.TOO_MANY_CALLS, 20))

    def test_each_client(self) -> None:
        """Of the API's clients each has its own count; by hand there is none."""
        asked = limits("client_per_minute = 1")
        self.assertIsNone(self.code(asked))
        self.assertEqual(self.code(asked, sip="1001"), (Code.TOO_MANY_CALLS, 60))
        self.assertIsNone(self.code(asked, client="dashboard"))
        self.assertIsNone(self.code(asked, client=None))
        self.assertIsNone(self.code(asked, client=None))

    def test_each_prefix(self) -> None:
        """The longest prefix counts, and it alone."""
        asked = limits('prefix_per_minute = { "380" = 2, "38063" = 1 }')
        self.assertIsNone(self.code(asked, "380631"))
        self.assertEqual(self.code(asked, "380632"), (Code.TOO_MANY_CALLS, 60))
        self.assertIsNone(self.code(asked, "380441"))
        self.assertIsNone(self.code(asked, "380501"))
        self.assertEqual(self.code(asked, "380671"), (Code.TOO_MANY_CALLS, 60))
        self.assertIsNone(self.code(asked, "7900"))

    def test_a_refused_call_counts_for_nothing(self) -> None:
        """What one limit refuses is not counted by the others."""
        asked = limits("operator_per_minute = 1\nclient_per_minute = 2")
        self.assertIsNone(self.code(asked))
        for _ in range(5):
            self.assertEqual(self.code(asked), (Code.TOO_MANY_CALLS, 60))
        self.assertIsNone(self.code(asked, sip="1001"))
        self.assertEqual(self.code(asked, sip="1002"), (Code.TOO_MANY_CALLS, 60))

    def test_a_clock_that_is_put_back(self) -> None:
        """Nobody is locked out for the hour that comes again."""
        asked = limits("operator_per_minute = 1")
        self.assertIsNone(self.code(asked))
        self.assertIsNone(self.code(asked, now=NOW - 3600))
        self.assertEqual(self.code(asked, now=NOW - 3600), (Code.TOO_MANY_CALLS, 60))

    @given(st.lists(st.floats(min_value=0, max_value=300), max_size=60), st.integers(1, 5))
    def test_in_no_minute_more(self, moments: list[float], most: int) -> None:
        """Whenever calls are asked for, no minute has more of them than are allowed."""
        rates, done = Rates(), []
        for now in sorted(moments):
            if not rates.wait("k", most, now):
                rates.done("k", now)
                done.append(now)
        for moment in done:
            self.assertLessEqual(sum(moment <= other < moment + 60 for other in done), most)

    def test_memory(self) -> None:
        """Operators who did nothing within the last minute are forgotten."""
        rates = Rates()
        for n in range(5000):
            rates.done(str(n), NOW + n)
        self.assertLess(len(rates._moments), 1100)


class AlarmTests(LimitsCase):
    """The first line, and the counts."""

    def test_one_line_each(self) -> None:
        """The first refusal of its kind is a line; more of them are only counted."""
        asked = limits('operator_per_minute = 1\nforbidden_prefixes = ["900"]', "380*")
        with capturedLogs() as logged:
            for _ in range(3):
                self.code(asked, "7900")
                self.code(asked, "900123")
                self.code(asked, "380123", client=None)
        self.assertEqual(
            [formatEvent(event) for event in logged],
            [
                "ALARM limits forbidden 1000 for crm: 900123: this number may not be dialled:"
                " see [limits] in the configuration",
                "ALARM limits do_not_call 1000 by hand: 380123: this number is on the do-not-call"
                " list",
                "ALARM limits operator 1000: 1 calls within a minute, as many as"
                " limits.operator_per_minute allows",
            ],
        )
        alarms = asked.alarms
        self.assertEqual(alarms.refused, {"forbidden": 3, "do_not_call": 3, "operator": 2})
        self.assertEqual(alarms.raised, {"forbidden": 1, "do_not_call": 1, "operator": 1})

    def test_again_after_a_while(self) -> None:
        """What goes on is said again after ten minutes, and what is remembered is bounded."""
        alarms = Alarms()
        with capturedLogs() as logged:
            for now in (NOW, NOW + QUIET - 1, NOW + QUIET, NOW - 3600):
                alarms.refuse("operator", "1000", "words", now)
            self.assertEqual(len(logged), 3)
            for n in range(2 * MANY):
                alarms.refuse("operator", str(n), "words", NOW)
        self.assertEqual(len(alarms._last), MANY)


class HomeTests(LimitsCase):
    """Limits of a house that is at home somewhere: they judge the number, not its spelling."""

    def home(
        self, text: str, *do_not_call: str, channel: str = "PJSIP/{phone}@trunk"
    ) -> DialLimits:
        """Limits of a configuration with a home country."""
        config = CONFIG.replace("PJSIP/{phone}@trunk", channel).replace("[limits]", "")
        return parts(parse(config + text), *do_not_call).limits

    UA = '[numbers]\ncountry = "ua"\n[limits]\n'
    SPELLINGS = ("380441234567", "0441234567", "00380441234567", "+38 (044) 123-45-67")

    def test_forbidden(self) -> None:
        """By a prefix, however it and the number are written."""
        asked = self.home(f'{self.UA}forbidden_prefixes = ["0044"]')
        self.assertEqual(self.code(asked, "+442071234567"), (Code.PHONE_NOT_ALLOWED, None))
        for prefix in ("38044", "+38044", "0038044", "044"):
            asked = self.home(f'{self.UA}forbidden_prefixes = ["{prefix}"]')
            for phone in self.SPELLINGS:
                self.assertEqual(self.code(asked, phone), (Code.PHONE_NOT_ALLOWED, None), phone)
            self.assertIsNone(self.code(asked, "0501234567"))

    def test_forbidden_pattern(self) -> None:
        """A pattern is asked about the form, and about what was sent, too."""
        asked = self.home(f"{self.UA}forbidden_patterns = ['38044.*', '050.*']")
        for phone in (*self.SPELLINGS, "0501234567"):
            self.assertEqual(self.code(asked, phone), (Code.PHONE_NOT_ALLOWED, None), phone)

    def test_do_not_call(self) -> None:
        """Under each spelling in the list and in the call."""
        for entry in (*self.SPELLINGS, "044*", "+38044*"):
            asked = self.home(self.UA, entry)
            for phone in self.SPELLINGS:
                self.assertEqual(self.code(asked, phone), (Code.DO_NOT_CALL, None), (entry, phone))

    def test_prefix_per_minute(self) -> None:
        """Each spelling counts."""
        for prefix in ("38044", "044"):
            asked = self.home(f'{self.UA}prefix_per_minute = {{ "{prefix}" = 4 }}')
            for phone in self.SPELLINGS:
                self.assertIsNone(self.code(asked, phone))
            code, _ = self.code(asked, "0447654321") or (None, None)
            self.assertEqual(code, Code.TOO_MANY_CALLS)

    def test_countries(self) -> None:
        """What the home country's people mean is judged: never a number of another country."""
        asked = self.home('[numbers]\ncountry = "us"\n[limits]\ncountries = ["us"]')
        for phone, may in [
            ("2125550100", True),
            ("+12125550100", True),
            ("9607712345", False),
            ("+3215551234", False),
            ("3215551234", True),
            ("8765551234", False),
            ("8821612345678", False),
            ("101", False),
        ]:
            self.assertEqual(self.code(asked, phone) is None, may, phone)

    def test_what_is_dialled_in_the_end(self) -> None:
        """The plus of a dial string makes another number of it: that one is judged."""
        asked = self.home('[limits]\ncountries = ["us"]', channel="PJSIP/+{phone}@trunk")
        self.assertEqual(self.code(asked, "9607712345"), (Code.PHONE_NOT_ALLOWED, None))
        self.assertEqual(self.code(asked, "2125550100"), (Code.PHONE_NOT_ALLOWED, None))
        self.assertIsNone(self.code(asked, "12125550100"))
        # As it is sent it is a number of Florida, as it is meant one of Belgium.
        sent = self.home(
            '[numbers]\ncountry = "us"\ndial = "as_sent"\n[limits]\ncountries = ["be"]'
        )
        self.assertEqual(self.code(sent, "+3215551234"), (Code.PHONE_NOT_ALLOWED, None))

    def test_nobody_is_at_home(self) -> None:
        """Where countries alone are named a number is guarded as each of them would read it."""
        asked = self.home('[limits]\ncountries = ["ua"]\n', "380441234567")
        for phone in self.SPELLINGS:
            self.assertEqual(self.code(asked, phone), (Code.DO_NOT_CALL, None), phone)
        asked = self.home('[limits]\ncountries = ["ua"]\nprefix_per_minute = { "380" = 4 }')
        for phone in self.SPELLINGS:
            self.assertIsNone(self.code(asked, phone))
        code, _ = self.code(asked, "0501110002") or (None, None)
        self.assertEqual(code, Code.TOO_MANY_CALLS)

    def test_kinds(self) -> None:
        """What costs extra may be dialled where its kind is named; satellites are of no country."""
        more = 'kinds = ["ordinary", "shared_cost", "satellite"]'
        for text, shared, premium, satellite in [
            ('countries = ["de"]', False, False, False),
            (f'countries = ["de"]\n{more}', True, False, True),
            (f'countries = ["ua"]\n{more}', False, False, True),
            ('countries = ["de"]\nallowed_prefixes = ["49", "88"]', False, False, True),
        ]:
            for home in ("", '[numbers]\ncountry = "de"\n'):
                asked = self.home(f"{home}[limits]\n{text}")
                for phone, may in [
                    ("00491805123456", shared),
                    ("00499001234567", premium),
                    ("00881612345678", satellite),
                ]:
                    if not home and phone.startswith("0088") and "prefixes" in text:
                        # Without a home what is allowed is about the digits as they are sent.
                        may = False
                    self.assertEqual(self.code(asked, phone) is None, may, (text, home, phone))

    def test_internal(self) -> None:
        """No trunk dials an internal number, unless a pattern has it."""
        asked = self.home(self.UA)
        self.assertEqual(self.code(asked, "105"), (Code.PHONE_NOT_ALLOWED, None))
        self.assertIsNone(self.code(asked, "0501234567"))
        asked = self.home(f"{self.UA}allowed_patterns = ['105', '380.*']")
        self.assertIsNone(self.code(asked, "105"))
        self.assertIsNone(self.code(asked, "0501234567"))
        self.assertEqual(self.code(asked, "106"), (Code.PHONE_NOT_ALLOWED, None))

    def test_emergency(self) -> None:
        """The country's own and those of the list, digit by digit."""
        asked = self.home(f'{self.UA}emergency = ["02"]')
        for digits, is_one in (("112", True), ("103", True), ("02", True), ("+112", False)):
            self.assertEqual(asked.is_emergency(digits), is_one, digits)
        for digits in ("", "1120", "911", "380441234567"):
            self.assertFalse(asked.is_emergency(digits), digits)
        self.assertTrue(limits().is_emergency("112"))
        self.assertFalse(limits().is_emergency("103"))
        self.assertTrue(limits('countries = ["ua"]').is_emergency("103"))


class TrunkTests(SynchronousTestCase):
    """How a number is dialled."""

    def test_by_prefix(self) -> None:
        """The longest beginning that fits says how, and by which trunk."""
        made = parts(
            parse(
                CONFIG.replace("[limits]", "")
                + """
                [numbers]
                country = "ua"
                [[numbers.trunks]]
                prefixes = ["+7", "375"]
                dial = "+e164"
                channel = "SIP/east/{phone}"
                [[numbers.trunks]]
                prefixes = ["067", "77"]
                dial = "national"
                """
            )
        )
        for phone, channel in [
            ("+7 495 123-45-67", "SIP/east/+74951234567"),
            ("375291234567", "SIP/east/+375291234567"),
            ("+77011234567", "PJSIP/0077011234567@trunk"),
            ("380671234567", "PJSIP/0671234567@trunk"),
            ("0441234567", "PJSIP/380441234567@trunk"),
            ("1001", "PJSIP/1001@trunk"),
        ]:
            dialled = made.trunks.dial(made.read(phone))
            self.assertEqual(dialled.channel, channel)
            self.assertEqual(dialled.ends, made.read(phone).form)
        self.assertEqual(made.trunks.emergency("112"), "PJSIP/112@trunk")

    def test_no_home(self) -> None:
        """Digits are dialled as they were sent; a plus of the dial string says what rings."""
        plain, plus = (
            parts(parse(CONFIG.replace("PJSIP/{phone}", channel)))
            for channel in ("PJSIP/{phone}", "PJSIP/+{phone}")
        )
        for made, phone, channel, ends in [
            (plain, "0441234567", "PJSIP/0441234567@trunk", None),
            (plain, "+38 (044) 123-45-67", "PJSIP/380441234567@trunk", None),
            (plain, "00380441234567", "PJSIP/00380441234567@trunk", "380441234567"),
            (plus, "380441234567", "PJSIP/+380441234567@trunk", "380441234567"),
        ]:
            dialled = made.trunks.dial(made.read(phone))
            self.assertEqual((dialled.channel, dialled.ends), (channel, ends))
        self.assertEqual(plus.trunks.emergency("112"), "PJSIP/112@trunk")
