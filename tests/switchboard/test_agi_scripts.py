"""The scripts that Asterisk's dialplan asks: what they set, what they tell, and in what order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Action, Direction
from ccdaemon.config import parse
from ccdaemon.errors import Code, Refused
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.numbers import Number
from ccdaemon.pbx.endpoints import endpoints_of
from ccdaemon.routing import Caller, Route
from ccdaemon.routing.route import SkippedOperator
from ccdaemon.store.facts import ActionFact, Fact
from ccdaemon.store.failures import JournalFull, NoLease
from ccdaemon.switchboard.agi_scripts import REFUSAL, SETTINGS, AgiScripts
from ccdaemon.tracking.calls import CallOver
from tests.ami.far_end import FarEnd
from tests.clocks import Wall
from tests.limits.parts import parts

CONFIG = """
[asterisk]
secret = "x"
client_channel = "PJSIP/{phone}@trunk"
caller_id = "380441112233"
record = %s
[database]
url = "embedded"
"""
#: 23 Nov 2026, 21:00 UTC.
NOW = 1795467600.0


class FakeLive:
    """Live calls that note what they are asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.opening: Deferred[None] = succeed(None)
        self.calls: list[Call] = []
        self.known: set[tuple[str, str]] = set()

    def knows(self, channel: str, name: str) -> bool:
        """Whether the test says so."""
        return (channel, name) in self.known

    async def incoming(self, channel: str, name: str, phone: str, did: str, date: int) -> Call:
        """Open a call once the test lets it."""
        self.asked.append(("incoming", channel, name, phone, did, date))
        await self.opening
        call = Call(7, None, None, Direction.INBOUND, None, phone, channel, did=did)
        machine.open_call(call, int(NOW * 1000))
        self.calls.append(call)
        return call

    def pass_over(self, call: Call, sip: str, outcome: Outcome, words: str) -> None:
        """Note it."""
        self.asked.append(("pass_over", sip, outcome, words))

    def attach_order(self, call: Call, order_id: str) -> None:
        """Note it."""
        self.asked.append(("attach_order", order_id))

    def note(self, call: Call, words: str) -> None:
        """Note it."""
        self.asked.append(("note", words))

    def hear(self, signal: signals.Signal) -> None:
        """Note it."""
        self.asked.append(signal)


class StaticRouting:
    """One route for every call."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.callers: list[Caller] = []

    async def decide(self, caller: Caller) -> Route:
        """Say it."""
        self.callers.append(caller)
        return self.route


class Asterisk(FarEnd):
    """Asterisk's end: takes every command, one at a time, and keeps what was set."""

    uniqueid = "1795467600.1"

    def __init__(self, near_end: Any) -> None:
        super().__init__(near_end)
        self.set: dict[str, str] = {}
        self.read = 0

    def enter(self, script: str, *arguments: str) -> None:
        """The call enters a script."""
        lines = ["agi_network: yes", f"agi_network_script: {script}", "agi_channel: PJSIP/t-1"]
        lines.append(f"agi_uniqueid: {self.uniqueid}")
        lines += [f"agi_arg_{number}: {each}" for number, each in enumerate(arguments, 1)]
        self.near_end.dataReceived("\n".join([*lines, "", ""]).encode())

    def take(self, most: int = 100) -> None:
        """Reply to what was asked until nothing is any more."""
        for _ in range(most):
            sent = self.transport.value()[self.read :]
            if not sent:
                return
            self.read += len(sent)
            asked = sent.decode()
            verb, name, between, value, end = asked.split('"')
            assert (verb, between, end) == ("SET VARIABLE ", " ", "\n"), asked
            self.set[name] = value
            self.near_end.dataReceived(b"200 result=1\n")


class ScriptCase(SynchronousTestCase):
    """The scripts in a FastAGI server; live calls and routing are fakes that note what is asked."""

    route = Route("fallback")
    record = "true"
    forbidden = False

    def setUp(self) -> None:
        """Make them."""
        self.clock = Clock()
        self.clock.advance(NOW)
        self.kept: Deferred[list[int]] = succeed([1])
        self.live, self.routing = FakeLive(), StaticRouting(self.route)
        config = parse(CONFIG % self.record + '[limits]\nemergency = ["112", "02"]\n')
        self.looks: list[tuple[str, str]] = []
        self.there: Deferred[bool] = succeed(True)
        endpoints = endpoints_of(config)
        incoming = AgiScripts(
            config.asterisk,
            self.live,
            self.routing,
            self.append,
            self.refuse_phone,
            *parts(config),
            Wall(self.clock),
            self.is_there,
            endpoints.sip_of_channel,
            lambda sip: endpoints.dialled(sip, {}),
        )
        self.factory = FastAGIFactory(incoming.scripts, self.clock, SETTINGS, refusal=REFUSAL)

    async def is_there(self, channel: str, name: str) -> bool:
        """Look for a channel."""
        self.looks.append((channel, name))
        return await self.there

    def append(self, facts: Sequence[Fact]) -> Deferred[list[int]]:
        """Keep them, or not."""
        self.live.asked += facts
        return self.kept

    def refuse_phone(
        self, phone: Number, sip: str | None, client: str | None, anchor: str
    ) -> int | None:
        """Refuse every number, if the test says so."""
        if self.forbidden:
            raise Refused(Code.PHONE_NOT_ALLOWED, "this number may not be dialled")
        return 600

    def ask(self, script: str, *arguments: str, take: bool = True) -> Asterisk:
        """A call enters a script and gets through it."""
        asterisk = Asterisk(self.factory.buildProtocol(None))
        asterisk.enter(script, *arguments)
        if take:
            asterisk.take()
            self.assertTrue(asterisk.transport.disconnecting)
        return asterisk


class StrangerTests(ScriptCase):
    """What asks and is no channel of Asterisk's."""

    route = Route("dial", (("1000",),))
    scripts = (("incoming", "380631234567", "380441112233"), ("dialout", "380631234567"))

    def test_it_counts_for_nothing(self) -> None:
        """No call is told, no number counted, nothing set; the daemon's numbers have it."""
        self.there = succeed(False)
        for asked in self.scripts:
            self.assertEqual(self.ask(*asked).set, {})
        self.assertEqual((self.live.asked, self.routing.callers), ([], []))
        self.assertEqual(self.factory.counters.strangers, len(self.scripts))

    def test_nothing_before_it_is_known(self) -> None:
        """The answer is waited for."""
        for asked in self.scripts:
            self.there, told = Deferred(), len(self.live.asked)
            asterisk = self.ask(*asked, take=False)
            self.assertEqual((len(self.live.asked), asterisk.transport.value()), (told, b""))
            self.there.callback(True)
            asterisk.take()
            self.assertEqual(asterisk.set["CC_ROUTE"], "dial")

    def test_what_is_known_is_not_asked_for(self) -> None:
        """A channel of which AMI has told already costs no question."""
        self.live.known = {(Asterisk.uniqueid, "PJSIP/t-1")}
        self.there = succeed(False)
        for asked in self.scripts:
            self.assertEqual(self.ask(*asked).set["CC_ROUTE"], "dial")
        self.assertEqual(self.looks, [])


class SystemNameTests(ScriptCase):
    """An Asterisk whose uniqueids begin with a name that may be anything."""

    route = Route("dial", (("1000",),))

    def test_it_is_routed_and_recorded(self) -> None:
        """Blanks and other alphabets keep no call from its route; a file is called otherwise."""
        folder = "/var/spool/asterisk/monitor/2026/11/23"
        for uniqueid, file in {
            "my pbx-1.2": f"{folder}/mypbx-1.2.wav",
            "АТС-1.2": f"{folder}/-1.2.wav",
            ".hidden-1.2": "",
        }.items():
            self.patch(Asterisk, "uniqueid", uniqueid)
            asked = self.ask("incoming", "380631234567", "380441112233").set
            self.assertEqual((asked["CC_ROUTE"], asked["__CC_FOLDER"]), ("dial", folder))
            asked = self.ask("dialout", "380631234567").set
            self.assertEqual((asked["CC_ROUTE"], asked["__CC_RECORDING"]), ("dial", file))


class DialTests(ScriptCase):
    """Operators in rounds."""

    route = Route(
        "dial",
        (("1000",), ("1001", "1002")),
        (SkippedOperator("1003", Outcome.OFFLINE, "operator 1003 is not registered"),),
        queue="sales",
        ring_timeout=15,
        order_id="15",
        caller_name="Jane",
        words="named by the CRM",
    )

    def test_variables(self) -> None:
        """The dialplan is told all that it needs, the route itself last."""
        asterisk = self.ask("incoming", "380631234567", "380441112233")
        self.assertEqual(
            list(asterisk.set.items()),
            [
                ("__CC_FOLDER", "/var/spool/asterisk/monitor/2026/11/23"),
                ("CC_ANNOUNCE", ""),
                ("CC_DIAL_1", "PJSIP/1000"),
                ("CC_SIP_1", "1000"),
                ("CC_DIAL_2", "PJSIP/1001&PJSIP/1002"),
                ("CC_SIP_2", "1001&1002"),
                ("CC_TIMEOUT", "15"),
                ("CC_QUEUE", "sales"),
                ("CALLERID(name)", "Jane"),
                ("CC_ROUTE", "dial"),
            ],
        )

    def test_who_asks(self) -> None:
        """The routing is asked for this caller; the call is numbered first."""
        asked = "380631234567", "380441112233"
        self.ask("incoming", *asked, "1795467598.250")
        self.assertEqual(self.routing.callers, [Caller(7, *asked)])
        channel = "1795467600.1", "PJSIP/t-1"
        began = int((NOW - 1.75) * 1000)
        self.assertEqual(self.live.asked[0], ("incoming", *channel, *asked, began))

    def test_a_dialplan_that_does_not_say_when(self) -> None:
        """An older one: it is now."""
        self.ask("incoming", "380631234567", "380441112233")
        self.assertEqual(self.live.asked[0][-1], NOW * 1000)

    def test_what_is_told(self) -> None:
        """The order is kept, who is passed over is told, and why."""
        self.ask("incoming", "380631234567", "")
        self.assertEqual(
            self.live.asked[1:],
            [
                ("attach_order", "15"),
                ActionFact(Action(7, int(NOW * 1000), "attachOrder", "routing", order_id="15")),
                ("pass_over", "1003", Outcome.OFFLINE, "operator 1003 is not registered"),
                ("note", "named by the CRM"),
            ],
        )
        self.assertEqual(self.live.calls[0].caller_name, "Jane")

    def test_order_that_cannot_be_kept(self) -> None:
        """The client is put through all the same; it is logged."""
        self.kept = fail(JournalFull("no place"))
        asterisk = self.ask("incoming", "1", "2")
        self.assertEqual(asterisk.set["CC_ROUTE"], "dial")
        self.assertEqual(len(self.flushLoggedErrors(JournalFull)), 1)

    def test_over_already(self) -> None:
        """A call that was over before anybody asked is routed no more, which is no error."""
        self.live.opening = fail(CallOver("it is over"))
        asterisk = self.ask("incoming", "1", "2", take=False)
        self.assertTrue(asterisk.transport.disconnecting)
        self.assertEqual((self.routing.callers, self.factory.counters.script_errors), ([], 0))

    def test_nothing_is_told_of_a_route_that_is_not_taken(self) -> None:
        """The dialplan went on without us: whom we would have passed over is nobody's business."""
        asterisk = self.ask("incoming", "1", "2", take=False)
        asterisk.take(2)
        asterisk.hang_up()
        self.assertEqual(len(self.live.asked), 1)
        self.assertNotIn("CC_ROUTE", asterisk.set)
        self.assertEqual(self.factory.counters.script_errors, 0)

    def test_numbered_though_the_dialplan_went_on(self) -> None:
        """A call that does not wait for its number has one all the same."""
        self.live.opening = Deferred()
        asterisk = self.ask("incoming", "1", "2", take=False)
        asterisk.hang_up()
        self.live.opening.callback(None)
        self.assertEqual([call.call_id for call in self.live.calls], [7])
        self.assertEqual(self.routing.callers, [])

    def test_too_late(self) -> None:
        """A disk that keeps the call waiting keeps the client waiting no longer than this."""
        self.live.opening = Deferred()
        asterisk = self.ask("incoming", "1", "2", take=False)
        self.clock.advance(SETTINGS.script_timeout)
        self.assertTrue(asterisk.transport.disconnecting)
        self.assertEqual(self.factory.counters.script_errors, 1)
        self.flushLoggedErrors()
        self.live.opening.callback(None)

    def test_cannot_be_numbered(self) -> None:
        """Nothing is set, so that the client is at the fallback."""
        self.live.opening = Deferred()
        asterisk = self.ask("incoming", "1", "2", take=False)
        self.live.opening.errback(NoLease("Postgres was never there"))
        self.assertTrue(asterisk.transport.disconnecting)
        self.assertEqual(asterisk.transport.value(), b"")
        self.assertEqual(self.factory.counters.script_errors, 0)


class RejectTests(ScriptCase):
    """Nobody may be rung."""

    route = Route("reject", words="the blacklist has 7900*")
    record = "false"

    def test_rejected(self) -> None:
        """That nobody may be rung is told, with the reason."""
        asterisk = self.ask("incoming", "anonymous", "")
        self.assertEqual(asterisk.set["CC_ROUTE"], "reject")
        self.assertEqual(asterisk.set["__CC_FOLDER"], "")
        words = "rejected: the blacklist has 7900*"
        self.assertEqual(self.live.asked[1:], [("pass_over", "", Outcome.FAILED, words)])


class RedirectTests(ScriptCase):
    """Away to an extension."""

    route = Route("redirect", extension="700", words="the CRM sends it to 700")

    def test_extension(self) -> None:
        """The dialplan is told where to."""
        asterisk = self.ask("incoming", "", "")
        self.assertEqual(asterisk.set["CC_EXTENSION"], "700")
        self.assertEqual(asterisk.set["CC_ROUTE"], "redirect")


class StereoTests(ScriptCase):
    """Recordings are in stereo."""

    route = Route("dial", (("1000",),))
    record = "true\nstereo = true"

    def test_told(self) -> None:
        """Both who is called and who dials by hand is recorded so; else nothing is told of it."""
        for script, phones in (("incoming", ("380631234567", "1")), ("dialout", ("380631234567",))):
            asterisk = self.ask(script, *phones)
            self.assertEqual(asterisk.set["__CC_STEREO"], "1", script)


class DialoutTests(ScriptCase):
    """An operator dials by hand."""

    def test_allowed(self) -> None:
        """The dialplan dials the client as it does for the CRM."""
        asterisk = self.ask("dialout", "380631234567", "1795467599.5")
        self.assertEqual(
            list(asterisk.set.items()),
            [
                ("CC_DIAL", "PJSIP/380631234567@trunk"),
                ("CC_TIMEOUT", "60"),
                ("CC_CALLERID", "380441112233"),
                ("__CC_LONGEST", "600"),
                ("__CC_RECORDING", "/var/spool/asterisk/monitor/2026/11/23/1795467600.1.wav"),
                ("__CC_ANNOUNCE", ""),
                ("CC_ROUTE", "dial"),
            ],
        )
        [heard] = self.live.asked
        channel = "1795467600.1"
        self.assertEqual(
            heard,
            signals.DialledOut(
                channel, channel, int(NOW * 1000) - 500, "PJSIP/t-1", "380631234567"
            ),
        )

    def test_emergency(self) -> None:
        """It is dialled as it is, whatever the limits and the pattern are."""
        self.forbidden = True
        for number in ("112", "02"):
            asterisk = self.ask("dialout", number)
            self.assertEqual(asterisk.set["CC_DIAL"], f"PJSIP/{number}@trunk")
            self.assertEqual(asterisk.set["CC_ROUTE"], "dial")

    def test_no_number(self) -> None:
        """What the pattern does not allow is not dialled, and the chain says why."""
        for phone in ("", "12", "1" * 16):
            asterisk = self.ask("dialout", phone)
            self.assertEqual(asterisk.set, {"CC_ROUTE": "reject"})
            told = self.live.asked[-1]
            self.assertEqual(told.sip, "")
            self.assertIn("rejected: no number that asterisk.phone_pattern allows", told.words)

    def test_forbidden(self) -> None:
        """Nor what is beyond the limits."""
        self.forbidden = True
        asterisk = self.ask("dialout", "380631234567")
        self.assertEqual(asterisk.set, {"CC_ROUTE": "reject"})
        self.assertIn("rejected: this number may not be dialled", self.live.asked[-1].words)
