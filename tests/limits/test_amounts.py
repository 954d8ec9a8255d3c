"""Tests of how often may be dialled, for how long, and how dearly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config import parse
from ccdaemon.errors import Code, Refused
from ccdaemon.limits.amounts import Before, Permit
from ccdaemon.limits.budget import Budget
from ccdaemon.limits.countries import NAME, CountriesCalled
from ccdaemon.limits.rates import DAY
from tests.limits.parts import Parts, parts

CONFIG = """
[asterisk]
secret = "x"
client_channel = "PJSIP/{phone}@trunk"
[database]
url = "embedded"
[numbers]
country = "ua"
[limits]
"""
NOW = 1_000_000.0
HOME, ABROAD, PREMIUM = "380639920000", "48221234567", "380900123456"


class AmountsCase(SynchronousTestCase):
    """Calls that are counted."""

    def limits(self, text: str) -> Parts:
        """The limits of a configuration."""
        return parts(parse(CONFIG + text))

    def take(
        self,
        asked: Parts,
        phone: str = HOME,
        *,
        sip: str | None = "1000",
        client: str | None = "crm",
        now: float = NOW,
        longest: int | None = None,
    ) -> Permit:
        """Count a call."""
        return asked.limits.take(asked.read(phone), sip, client, 0, now, longest)

    def refused(self, asked: Parts, phone: str = HOME, **how: Any) -> Refused:
        """Try to, in vain."""
        error: Refused = self.assertRaises(Refused, self.take, asked, phone, **how)
        self.assertEqual(error.code, Code.TOO_MANY_CALLS)
        return error


class WindowTests(AmountsCase):
    """How often within an hour and a day."""

    def test_hour_and_day(self) -> None:
        """Each has a count of its own, by operator, client and prefix; it says until when."""
        for name, seconds in (("hour", 3600), ("day", 86_400)):
            each: list[tuple[str, str, dict[str, Any]]] = [
                ("operator", "2", {"sip": "1001"}),
                ("client", "2", {"client": "dashboard"}),
                ("prefix", '{ "380" = 2, "48" = 9 }', {"phone": ABROAD}),
            ]
            for kind, limit, other in each:
                asked = self.limits(f"{kind}_per_{name} = {limit}")
                self.take(asked)
                self.take(asked, now=NOW + 100)
                error = self.refused(asked, now=NOW + 200)
                self.assertEqual(error.retry_after, seconds - 200)
                self.assertIn(f"2 calls within a{'n' * (name == 'hour')} {name}", error.message)
                self.assertIn(f"limits.{kind}_per_{name}", error.message)
                self.take(asked, now=NOW + 200, **other)
                self.take(asked, now=NOW + seconds)

    def test_a_restart_forgets_no_day(self) -> None:
        """What was dialled before it counts as if it had been dialled since."""
        asked = self.limits("operator_per_day = 2\noperator_per_minute = 1")
        dialled = asked.trunks.dial(asked.read(HOME))
        before = [Before(dialled, "1000", age, 0.0) for age in (80_000.0, 70_000.0)]
        asked.limits.amounts.remember(before, NOW)
        error = self.refused(asked)
        self.assertEqual(error.retry_after, 6_400)
        self.take(asked, sip="1001")


class DurationTests(AmountsCase):
    """For how long they may talk."""

    def test_the_shortest_holds(self) -> None:
        """Of what is asked for, of everybody's limit and of the number's."""
        asked = self.limits('max_duration = 600\nprefix_max_duration = { "48" = 60, "4822" = 900 }')
        for phone, wished, longest in (
            (HOME, None, 600),
            (HOME, 60, 60),
            (HOME, 900, 600),
            (ABROAD, None, 600),
            ("48501234567", None, 60),
            ("48501234567", 30, 30),
        ):
            permit = self.take(asked, phone, longest=wished)
            self.assertEqual(permit, Permit(longest), (phone, wished))
        self.assertEqual(self.take(self.limits("")), Permit(None))


class BudgetTests(AmountsCase):
    """Minutes a day for what costs extra."""

    def test_what_costs_extra(self) -> None:
        """What is no ordinary number of home and of countries, and no number of the house."""
        asked = self.limits('countries = ["ua", "de"]\nextra_minutes_per_day = 60')
        for phone, extra in (
            (HOME, 0),
            ("4930123456", 0),
            ("101", 0),
            (ABROAD, 3600),
            (PREMIUM, 3600),
            ("881612345678", 3600),
        ):
            self.assertEqual(self.take(asked, phone).extra, extra, phone)

    def test_reserved_and_settled(self) -> None:
        """A call keeps what it may talk for; what it has not is free once it is over."""
        asked = self.limits("extra_minutes_per_day = 10\nmax_duration = 400")
        amounts = asked.limits.amounts
        first = self.take(asked, ABROAD)
        self.assertEqual(first, Permit(400, 400))
        amounts.bind(first, "a")
        second = self.take(asked, ABROAD)
        self.assertEqual(second, Permit(200, 200))
        amounts.bind(second, "b")
        self.refused(asked, ABROAD)
        self.take(asked, HOME)
        amounts.over("a", 100.0, NOW)
        self.assertEqual(self.take(asked, ABROAD), Permit(300, 300))
        amounts.over("b", 999.0, NOW + 10)
        self.assertEqual(self.take(asked, ABROAD, now=NOW + 10), Permit(300, 300))
        amounts.over("nobody's", 999.0, NOW + 10)
        self.assertEqual(self.take(asked, ABROAD, now=NOW + 10), Permit(300, 300))
        self.assertEqual(self.take(asked, ABROAD, now=NOW + DAY), Permit(400, 400))

    def test_used_up(self) -> None:
        """It is refused, with when there will be a minute again, and is an alarm of its own."""
        asked = self.limits("extra_minutes_per_day = 10")
        dialled = asked.trunks.dial(asked.read(ABROAD))
        asked.limits.amounts.remember([Before(dialled, "1000", 3600.0, 580.0)], NOW)
        error = self.refused(asked, ABROAD)
        self.assertIn("limits.extra_minutes_per_day", error.message)
        self.assertEqual(error.retry_after, 86_400 - 3600)
        self.assertEqual(asked.limits.alarms.refused["budget"], 1)

    @given(
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40_000)), max_size=40),
        st.integers(60, 1000),
    )
    def test_in_no_day_more(self, calls: list[tuple[int, int]], most: int) -> None:
        """Whoever talks when, and whenever they end, no day has more than the budget."""
        budget, now, talked = Budget(most), 0.0, list[tuple[float, int]]()
        for number, (seconds, later) in enumerate(calls):
            now += later
            allowed = min(seconds, budget.left(now))
            budget.reserve(str(number), allowed)
            budget.settle(str(number), allowed, now)
            talked.append((now, allowed))
            within = sum(each for then, each in talked if 0 <= now - then < DAY)
            self.assertLessEqual(within, most)


class CountryTests(AmountsCase):
    """The first call ever to a country."""

    def alarms(self, asked: Parts, *phones: str) -> list[str]:
        """Call them; the alarms."""
        with capturedLogs() as logs:
            for phone in phones:
                self.take(asked, phone)
        said = map(formatEvent, logs)
        return [words for words in said if words is not None and words.startswith("ALARM")]

    def test_once(self) -> None:
        """Is said aloud once, and refuses nothing; home and countries are known."""
        asked = self.limits('countries = ["de"]')
        said = self.alarms(asked, HOME, "4930123456", ABROAD, ABROAD, "48501234567", PREMIUM)
        words = f"1000 for crm: {ABROAD} is the first call ever to this country"
        self.assertEqual(said, [f"ALARM limits country pl: {words}"])
        self.assertEqual(asked.limits.alarms.raised["country"], 1)
        self.assertEqual(asked.limits.alarms.refused["country"], 0)

    def test_without_home(self) -> None:
        """Where no country is home, what is written with its country says where it rings."""
        asked = parts(parse(CONFIG.replace('country = "ua"', "")))
        self.assertEqual(len(self.alarms(asked, "00" + ABROAD, "00" + ABROAD)), 1)

    def test_kept(self) -> None:
        """A restart forgets none; a file that cannot be read or written is said."""
        file = Path(self.mktemp())

        def run(work: Any, *what: Any) -> Deferred[Any]:
            try:
                return succeed(work(*what))
            except OSError:
                return fail()

        called = CountriesCalled(file, run)
        called.begin()
        self.assertEqual([called.is_new(name) for name in ("pl", "mv", "pl")], [True, True, False])
        again = CountriesCalled(file, run)
        again.begin()
        self.assertEqual([again.is_new(name) for name in ("pl", "mv", "sc")], [False, False, True])
        self.assertEqual(file.read_text(), "pl\nmv\nsc\n")
        lost = CountriesCalled(file / NAME, run)
        with capturedLogs() as logs:
            lost.begin()
            self.assertTrue(lost.is_new("pl"))
        self.assertEqual(len(logs), 2)
