"""Whatever a CRM answers and a trunk says of a caller, what reaches Asterisk is harmless."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Action
from ccdaemon.config import parse
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.operators import Status
from ccdaemon.routing import Caller, Routing
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.routing.crm_response import Advice, NotAnObject, Reads
from ccdaemon.switchboard.agi_scripts import SETTINGS, AgiScripts
from tests.clocks import Wall
from tests.depth import examples
from tests.limits.parts import parts
from tests.switchboard.test_agi_scripts import CONFIG, NOW, Asterisk, FakeLive

#: What each variable may hold, whatever anybody said.
PLACES = {
    "__CC_FOLDER": r"/var/spool/asterisk/monitor/\d{4}/\d\d/\d\d",
    # The configuration's, and nobody else's.
    "CC_ANNOUNCE": r"",
    "CC_DIAL_*": r"PJSIP/[0-9]{3,6}(&PJSIP/[0-9]{3,6})*",
    "CC_SIP_*": r"[0-9]{3,6}(&[0-9]{3,6})*",
    "CC_TIMEOUT": r"[1-9][0-9]{0,2}",
    "CC_QUEUE": r"sales",
    "CC_EXTENSION": r"[0-9]{2,5}",
    "CALLERID(name)": r"[^\"<>\\,;|&$%^{}\[\]()=`\x00-\x1f\x7f]{1,40}",
    "CC_ROUTE": r"dial|queue|redirect|reject|fallback",
}

#: Letters that mean something to somebody on the way, and numbers that are allowed.
nasty = st.text(alphabet="0123456789,&|$\"'\\\n\r\0<>{}[]()=;@/:%^`*# aЯé", max_size=24)
number = st.from_regex(r"[0-9]{1,8}", fullmatch=True)
value = nasty | number | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False)
answers = st.fixed_dictionaries(
    {},
    optional={
        "operators": st.lists(value | st.lists(value, max_size=3), max_size=4) | value,
        "order_id": value,
        "caller_name": value,
        "ring_timeout": value,
        "reject": value,
        "redirect": value,
    },
)


class Crm:
    """Answers as a test has it, read as the real one's answers are."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def ask(self, caller: Caller) -> Advice | None:
        """Read it."""
        config = parse(CONFIG % "true")
        reads = Reads(config.asterisk.operator_pattern, config.routing.redirect_pattern)
        try:
            return reads(self._body)
        except NotAnObject:
            return None


class Operators:
    """Everybody is there."""

    stale = False

    async def status(self, sip: str) -> Status | None:
        """They are."""
        return Status.ONLINE


async def nobody(phone: str) -> str | None:
    """Nobody spoke with anybody."""
    return None


class PlacesTests(SynchronousTestCase):
    """A call is routed by what the CRM says."""

    def routed(self, body: bytes, phone: str, did: str) -> tuple[dict[str, str], list[Any]]:
        """What was set on the channel, and what was told of the call."""
        clock = Clock()
        clock.advance(NOW)
        config = parse(CONFIG % "true" + '[routing]\nqueue = "sales"\nsticky = true\n')
        routing = Routing(
            config.routing,
            config.asterisk,
            Crm(body),
            Operators(),
            nobody,
            lambda sip: None,
            clock,
            Wall(clock),
            RoutingCounters(),
        )
        live = FakeLive()

        def append(facts: Any) -> Deferred[list[int]]:
            live.asked += facts
            return succeed([1])

        async def is_there(channel: str, name: str) -> bool:
            return True

        incoming = AgiScripts(
            config.asterisk,
            live,
            routing,
            append,
            lambda phone, sip, client, anchor: None,
            *parts(config),
            Wall(clock),
            is_there,
            lambda name: None,
            lambda sip: [f"PJSIP/{sip}"],
        )
        asterisk = Asterisk(FastAGIFactory(incoming.scripts, clock, SETTINGS).buildProtocol(None))
        asterisk.enter("incoming", phone, did)
        asterisk.take()
        self.assertTrue(asterisk.transport.disconnecting)
        return asterisk.set, live.asked

    def check(self, body: bytes, phone: str = "380441234567", did: str = "0800") -> None:
        """Every variable holds what it may, and so does the order."""
        variables, told = self.routed(body, phone, did)
        self.assertIn("CC_ROUTE", variables)
        for name, content in variables.items():
            place = PLACES[re.sub(r"_[0-9]+$", "_*", name)]
            self.assertIsNotNone(re.fullmatch(place, content, re.ASCII), (name, content))
        for fact in told:
            action = getattr(fact, "action", None)
            if isinstance(action, Action):
                self.assertRegex(action.order_id or "", r"\A[ -~]{1,64}\Z")
            elif isinstance(fact, tuple) and fact[0] in ("note", "pass_over"):
                self.assertTrue(fact[-1].isprintable(), fact)

    @settings(max_examples=examples(300))
    @given(answers)
    def test_whatever_the_crm_says(self, answer: object) -> None:
        """Nothing of it is in a dial string, the dialplan or a header that may not be there."""
        self.check(json.dumps(answer).encode())

    @settings(max_examples=examples(100))
    @given(st.binary(max_size=200))
    def test_whatever_bytes_it_sends(self, body: bytes) -> None:
        """Bytes of any kind route the call somehow."""
        self.check(body)

    @settings(max_examples=examples(100))
    @given(st.from_regex(r"[0-9A-Za-z*#_]{0,40}", fullmatch=True))
    def test_whoever_calls(self, phone: str) -> None:
        """The dialplan lets letters and digits through; with any of them the call is routed."""
        self.check(b"{}", phone, phone)

    def test_each_route_is_met(self) -> None:
        """The answers above do lead everywhere."""
        for answer, kind in [
            ({"operators": ["1000", [1001, "1002"]], "caller_name": 'О"Коннор'}, "dial"),
            ({"redirect": 700}, "redirect"),
            ({"reject": "a\ndebtor"}, "reject"),
            ({"operators": ["1000&1001"]}, "queue"),
        ]:
            body = json.dumps(answer).encode()
            self.check(body)
            self.assertEqual(self.routed(body, "1", "2")[0]["CC_ROUTE"], kind)
