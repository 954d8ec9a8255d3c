"""Tests of who takes a call: which rule decides, who is passed over, and how long it may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_errors import NotConnected
from ccdaemon.calls.causes import Outcome
from ccdaemon.config import parse
from ccdaemon.operators import Status
from ccdaemon.routing import Caller, Route, Routing, SkippedOperator, make_routing
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.routing.crm_response import Advice
from tests.clocks import HOUR, Wall

PHONE = "380441234567"
CONFIG = """
[asterisk]
secret = "x"
client_channel = "PJSIP/{phone}@trunk"
[database]
url = "embedded"
[routing]
"""
LIST = 'operators = ["1000", ["1001", "1002"]]'
STATUS = {
    "1000": Status.ONLINE,
    "1001": Status.ONLINE,
    "1002": Status.ONLINE,
    "1003": Status.OFFLINE,
    "1004": Status.INUSE,
    "1005": Status.PAUSED,
}
OFFLINE = SkippedOperator("1003", Outcome.OFFLINE, "operator 1003 is not registered")
BUSY = SkippedOperator("1004", Outcome.BUSY, "operator 1004 is on the phone")
PAUSED = SkippedOperator("1005", Outcome.BUSY, "operator 1005 is paused")
UNKNOWN = SkippedOperator("1009", Outcome.OFFLINE, "operator 1009 is unknown to Asterisk")


@dataclass
class Everybody:
    """The CRM, the operators and the history, as a test has them."""

    advice: Advice | None = None
    status_of: Mapping[str, object] = field(default_factory=lambda: STATUS)
    stale: bool = False
    last: object = None
    calls: Mapping[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def ask(self, caller: Caller) -> Advice | None:
        """The CRM is asked."""
        self.asked.append("crm")
        return self.advice

    async def status(self, sip: str) -> Status | None:
        """An operator's status is asked for."""
        return await _given(self.status_of.get(sip))  # type: ignore[return-value]

    async def last_operator(self, phone: str) -> str | None:
        """The history is asked."""
        self.asked.append(f"history {phone}")
        return await _given(self.last)  # type: ignore[return-value]


async def _given(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return await value if isinstance(value, Deferred) else value


class DecisionCase(SynchronousTestCase):
    """Routes of a configuration and a world."""

    def setUp(self) -> None:
        """Have everybody there."""
        self.clock = Clock()
        self.wall = Wall(self.clock, 1_795_412_687)
        self.everybody = Everybody()

    def routing(self, text: str, *, crm: bool = True) -> Routing:
        """The routing of a configuration."""
        config = parse(CONFIG + text)
        self.counters = RoutingCounters()
        return Routing(
            config.routing,
            config.asterisk,
            self.everybody if crm else None,
            self.everybody,
            self.everybody.last_operator,
            lambda sip: self.everybody.calls.get(sip),
            self.clock,
            self.wall,
            self.counters,
        )

    def decided(self, text: str, phone: str = PHONE, **changes: object) -> Route:
        """The route of one call."""
        self.everybody = Everybody(**changes)  # type: ignore[arg-type]
        return self.successResultOf(self.deciding(self.routing(text), phone))

    def deciding(self, routing: Routing, phone: str = PHONE) -> Deferred[Route]:
        """A route that may not be there yet."""
        return Deferred.fromCoroutine(routing.decide(Caller(12, phone, "0800")))


class RuleTests(DecisionCase):
    """One rule after the other."""

    def test_nothing_is_configured(self) -> None:
        """Without any rule it is the fallback."""
        self.assertEqual(self.decided(""), Route("fallback", words="nobody is named for it"))
        self.assertEqual(self.counters.routes, {("none", "fallback"): 1})

    def test_without_a_crm(self) -> None:
        """Where no CRM is configured the list is asked at once."""
        route = self.successResultOf(self.deciding(self.routing(LIST, crm=False)))
        self.assertEqual(route.operators, (("1000",), ("1001", "1002")))
        self.assertEqual(self.everybody.asked, [])

    def test_the_crm_goes_first(self) -> None:
        """Whom it names is rung, with its order, name and time; nobody else is asked."""
        advice = Advice((("1001", "1002"), ("1000",)), "15", "Олена", 7)
        route = self.decided(f"sticky = true\n{LIST}", advice=advice, last="1002")
        self.assertEqual(
            route,
            Route(
                "dial",
                (("1001", "1002"), ("1000",)),
                ring_timeout=7,
                order_id="15",
                caller_name="Олена",
                words="named by the CRM",
            ),
        )
        self.assertEqual(self.everybody.asked, ["crm"])
        self.assertEqual(self.counters.routes, {("crm", "dial"): 1})

    def test_the_crm_refuses_before_all_else(self) -> None:
        """Reject wins over redirect, and redirect over operators."""
        advice = Advice((("1000",),), "15", reject="a debtor", redirect="700")
        self.assertEqual(
            self.decided(LIST, advice=advice), Route("reject", order_id="15", words="a debtor")
        )
        advice = Advice((("1000",),), redirect="700")
        route = self.decided(LIST, advice=advice)
        self.assertEqual((route.kind, route.extension), ("redirect", "700"))
        self.assertEqual(route.operators, ())

    def test_the_crm_names_nobody(self) -> None:
        """The list is rung; what else the CRM said of the call stays."""
        advice = Advice(order_id="15", caller_name="Олена", ring_timeout=9)
        route = self.decided(LIST, advice=advice)
        self.assertEqual(route.operators, (("1000",), ("1001", "1002")))
        self.assertEqual((route.order_id, route.caller_name), ("15", "Олена"))
        self.assertEqual(route.ring_timeout, 9)

    def test_the_crm_says_nothing(self) -> None:
        """The list is rung for the configured time."""
        route = self.decided(f"{LIST}\nring_timeout = 12")
        self.assertEqual((route.kind, route.ring_timeout), ("dial", 12))
        self.assertEqual(self.counters.routes, {("list", "dial"): 1})

    def test_a_queue(self) -> None:
        """A queue takes everybody for whom nobody else is named."""
        self.assertEqual(
            self.decided('queue = "sales"'),
            Route("queue", queue="sales", words="in the configuration"),
        )


class StickyTests(DecisionCase):
    """The operator who spoke last."""

    def test_first_of_the_list(self) -> None:
        """They are rung first, and not a second time with the list."""
        for last, operators in [
            ("1002", (("1002",), ("1000",), ("1001",))),
            ("1000", (("1000",), ("1001", "1002"))),
            (None, (("1000",), ("1001", "1002"))),
            ("boss", (("1000",), ("1001", "1002"))),
            # Who cannot take it is passed over silently.
            ("1003", (("1000",), ("1001", "1002"))),
            ("1005", (("1000",), ("1001", "1002"))),
        ]:
            with self.subTest(last=last):
                route = self.decided(f"sticky = true\n{LIST}", last=last)
                self.assertEqual((route.kind, route.operators), ("dial", operators))
                self.assertEqual(route.passed, ())

    def test_before_the_queue(self) -> None:
        """They are rung, and then the queue has the call."""
        route = self.decided('sticky = true\nqueue = "sales"', last="1000")
        self.assertEqual(
            (route.kind, route.operators, route.queue), ("dial", (("1000",),), "sales")
        )

    def test_alone(self) -> None:
        """They are the only one where nobody else is configured."""
        route = self.decided("sticky = true", last="1000")
        self.assertEqual((route.kind, route.operators), ("dial", (("1000",),)))
        self.assertEqual(self.counters.routes, {("sticky", "dial"): 1})
        self.assertEqual(self.counters.sticky, {"found": 1})

    def test_whose_phone(self) -> None:
        """Asked for is a number as it is dialled; who hides theirs is nobody's client."""
        for phone, asked in [
            (f"+{PHONE}", [f"history {PHONE}"]),
            (PHONE, [f"history {PHONE}"]),
            ("anonymous", []),
            ("", []),
            ("1' OR 1", []),
        ]:
            self.decided("sticky = true", phone)
            self.assertEqual(self.everybody.asked[1:], asked)

    def test_only_if_wished(self) -> None:
        """Nobody asks the history where it is not configured."""
        self.decided(LIST, last="1002")
        self.assertEqual(self.everybody.asked, ["crm"])

    def test_a_history_that_cannot_be_asked(self) -> None:
        """The list is rung all the same, and it is counted."""
        route = self.decided(f"sticky = true\n{LIST}", last=RuntimeError("away"))
        self.assertEqual(route.operators, (("1000",), ("1001", "1002")))
        self.assertEqual(self.counters.sticky, {"failed": 1})

    def test_a_history_that_is_slow(self) -> None:
        """Nobody waits for it longer than three tenths of a second."""
        self.everybody.last = Deferred()
        deciding = self.deciding(self.routing(f"sticky = true\n{LIST}"))
        self.clock.advance(0.29)
        self.assertNoResult(deciding)
        self.clock.advance(0.02)
        self.assertEqual(self.successResultOf(deciding).kind, "dial")


class ClockTests(DecisionCase):
    """The wall's clock is set."""

    def test_who_was_just_chosen(self) -> None:
        """They are spared for a second, neither an hour nor not at all."""
        for by in (HOUR, -HOUR):
            routing = self.routing(LIST)
            self.successResultOf(self.deciding(routing))
            self.wall.set(by)
            spared = self.successResultOf(self.deciding(routing))
            self.assertEqual(spared.operators, (("1001", "1002"),))
            self.clock.advance(1.0)
            rung = self.successResultOf(self.deciding(routing))
            self.assertEqual(rung.operators[0], ("1000",))
            self.clock.advance(1.0)


class AbleTests(DecisionCase):
    """Who can take a call."""

    def test_whom_the_crm_named(self) -> None:
        """Each who cannot take it is told; the others are rung in their rounds."""
        advice = Advice((("1003", "1000"), ("1004",), ("1005", "1001"), ("1009",)))
        route = self.decided(LIST, advice=advice)
        self.assertEqual(route.operators, (("1000",), ("1001",)))
        self.assertEqual(route.passed, (OFFLINE, BUSY, PAUSED, UNKNOWN))

    def test_nobody_of_those_whom_the_crm_named(self) -> None:
        """The list is not for them: the fallback has the call, and each is told."""
        route = self.decided(LIST, advice=Advice((("1003",), ("1004", "1003"))))
        self.assertEqual((route.kind, route.passed), ("fallback", (OFFLINE, BUSY)))

    def test_those_of_the_list(self) -> None:
        """They are passed over silently."""
        route = self.decided('operators = ["1003", ["1004", "1000"], "1005"]')
        self.assertEqual((route.operators, route.passed), ((("1000",),), ()))

    def test_nobody_of_the_list(self) -> None:
        """Then the last one is told, and the fallback has the call."""
        route = self.decided('operators = ["1004", "1003"]')
        self.assertEqual(route, Route("fallback", passed=(OFFLINE,), words="in the configuration"))

    def test_who_is_being_rung_for_another_call(self) -> None:
        """Our own calls count before Asterisk has told of them."""
        route = self.decided(LIST, calls={"1000": 11, "1002": 10})
        self.assertEqual(route.operators, (("1001",),))

    def test_two_clients_at_the_same_moment(self) -> None:
        """Each gets another operator, though no phone rings yet; a third takes whoever is left."""
        routing = self.routing('operators = ["1000", ["1001", "1002"]]', crm=False)

        def rounds() -> tuple[tuple[str, ...], ...]:
            return self.successResultOf(self.deciding(routing)).operators

        self.assertEqual(rounds(), (("1000",), ("1001", "1002")))
        self.assertEqual(rounds(), (("1001", "1002"),))
        self.assertEqual(rounds(), (("1000",), ("1001", "1002")))
        self.clock.advance(1)
        self.assertEqual(rounds(), (("1000",), ("1001", "1002")))

    def test_while_asterisk_cannot_be_asked(self) -> None:
        """What was known last may be otherwise by now: everybody is rung."""
        route = self.decided('operators = ["1003", "1004", "1009"]', stale=True)
        self.assertEqual(route.operators, (("1003",), ("1004",), ("1009",)))
        status_of = {"1000": NotConnected("no session"), "1001": Status.OFFLINE}
        route = self.decided('operators = ["1000", "1001"]', status_of=status_of)
        self.assertEqual(route.operators, (("1000",),))

    def test_while_asterisk_is_slow(self) -> None:
        """For all together nobody waits longer than for one."""
        self.everybody.status_of = {sip: Deferred() for sip in ("1006", "1007", "1008")}
        deciding = self.deciding(self.routing('operators = ["1006", "1007", "1008"]'))
        self.clock.advance(0.16)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(len(self.successResultOf(deciding).operators), 3)


class ClosedTests(DecisionCase):
    """Who is not put through."""

    def test_the_blacklist(self) -> None:
        """Nobody is asked; the call goes where it is configured to go."""
        for target, route in [
            ("reject", Route("reject", words="the blacklist has 38044*")),
            ("fallback", Route("fallback", words="the blacklist has 38044*")),
            ("700", Route("redirect", extension="700", words="the blacklist has 38044*")),
        ]:
            text = f'blacklist = ["38044*"]\nblacklisted = "{target}"\n{LIST}'
            self.assertEqual(self.decided(text), route)
            self.assertEqual(self.everybody.asked, [])
        self.assertEqual(self.decided(text, "380501234567").kind, "dial")

    def test_closed(self) -> None:
        """Outside the opening hours nobody is asked either."""
        # 2026-11-23 06:44:47 in Berlin, a Monday.
        text = f'timezone = "Europe/Berlin"\nclosed = "%s"\n{LIST}\n[routing.hours]\nmon = ["%s"]'
        words = "closed on Monday at 06:44, Europe/Berlin"
        for target, route in [
            ("reject", Route("reject", words=words)),
            ("fallback", Route("fallback", words=words)),
            ("701", Route("redirect", extension="701", words=words)),
        ]:
            self.assertEqual(self.decided(text % (target, "06:45-18:00")), route)
            self.assertEqual(self.everybody.asked, [])
        self.assertEqual(self.decided(text % ("reject", "06:44-18:00")).kind, "dial")

    def test_the_blacklist_goes_first(self) -> None:
        """Who is blacklisted is that also while it is closed."""
        text = 'timezone = "UTC"\nblacklist = ["38044*"]\n[routing.hours]'
        self.assertEqual(self.decided(text).kind, "reject")
        self.assertEqual(self.counters.routes, {("blacklist", "reject"): 1})


class PartsTests(DecisionCase):
    """The routing as the daemon has it."""

    def made(self, text: str) -> tuple[Routing, list[Service]]:
        """Put together from a configuration."""
        everybody, self.reactor = self.everybody, MemoryReactorClock()
        return make_routing(
            parse(CONFIG + text),
            self.reactor,
            self.wall,
            everybody,
            everybody.last_operator,
            lambda sip: None,
        )

    def test_with_a_crm(self) -> None:
        """Its connections are closed at the end; while it cannot be asked the list is rung."""
        routing, [link] = self.made(f'url = "http://127.0.0.1:9/"\n{LIST}')
        deciding = self.deciding(routing)
        self.assertNoResult(deciding)
        self.reactor.advance(1.0)
        self.assertEqual(self.successResultOf(deciding).kind, "dial")
        self.assertEqual(routing.counters.crm, {"timeout": 1})
        self.assertIsNone(self.successResultOf(maybeDeferred(link.stopService)))

    def test_without(self) -> None:
        """There is nothing to close."""
        routing, links = self.made(LIST)
        self.assertEqual(self.successResultOf(self.deciding(routing)).kind, "dial")
        self.assertEqual(links, [])


class FailureTests(DecisionCase):
    """What nobody foresaw."""

    def test_never_raises(self) -> None:
        """It costs no client their call."""

        async def broken(caller: Caller) -> Advice | None:
            raise RuntimeError("nobody foresaw this")

        self.everybody.ask = broken  # type: ignore[method-assign]
        route = self.successResultOf(self.deciding(self.routing(LIST)))
        self.assertEqual(route.kind, "fallback")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
