"""Who takes an inbound call: each rule of the routing, on real phones and with a real receiver.

What the CRM names, and how each such call goes, the tests of the inbound table have.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from json import dumps as spelled
from random import randrange
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from lab.processes import free_port
from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

CRM_PORT = free_port(socket.SOCK_STREAM)
URL = f"http://127.0.0.1:{CRM_PORT}/route"
#: Operators whose phones answer and talk.
FIRST, SECOND, THIRD = "1040", "1041", "1042"
#: Seconds that a call may take to its operator beside what the CRM took, on a busy machine.
SLACK = 2.5

_numbers = itertools.count(randrange(10**6))
Answer = Callable[[Request], Any]


class Crm(Resource):
    """Answers each question as a test has it, by the number that was dialled."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._port = reactor.listenTCP(CRM_PORT, Site(self), interface="127.0.0.1")  # type: ignore[arg-type]

    def stop(self) -> Any:
        """Listen no more."""
        return self._port.stopListening()

    def render_GET(self, request: Request) -> Any:
        """Answer."""
        asked = {name.decode(): values[0].decode() for name, values in request.args.items()}
        self.asked.append((request.path.decode(), asked))
        request.setHeader("connection", "close")
        return self.answers[asked["did"]](request)


def json(text: str) -> Answer:
    """An answer that is as it should be."""
    return lambda _: text.encode()


def names(sip: str, more: str = "") -> Answer:
    """An answer that names an operator, or would if it could."""
    return json(spelled({"operators": [sip], "more": more}))


def status(code: int) -> Answer:
    """Another status, with what would count if it were 200, and another place to ask."""

    def answer(request: Request) -> bytes:
        request.setResponseCode(code)
        request.setHeader("location", "/elsewhere")
        return spelled({"operators": [THIRD]}).encode()

    return answer


def hangs(request: Request) -> int:
    """No answer at all."""
    request.notifyFinish().addErrback(lambda _: None)
    return NOT_DONE_YET


def trickles(request: Request) -> int:
    """An answer that never ends, a letter now and then."""
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)

    def more() -> None:
        if not gone:
            request.write(b" ")
            reactor.callLater(0.2, more)

    more()
    return NOT_DONE_YET


def endless(request: Request) -> int:
    """An answer without an end, as fast as it goes."""
    gone: list[object] = []
    request.notifyFinish().addErrback(gone.append)

    def more() -> None:
        if not gone:
            request.write(b" " * 100_000)
            reactor.callLater(0, more)

    more()
    return NOT_DONE_YET


@dataclass
class CalledIn:
    """A call that is over: its states, and the call as the API has it."""

    phone: str
    call: dict[str, Any]

    @property
    def chain(self) -> list[tuple[str, str | None]]:
        """The states, each with its operator."""
        return [(state["state"], state["sip"]) for state in self.call["states"]]

    @property
    def seconds_to_the_operator(self) -> float:
        """From the beginning to the first phone that was rung."""
        began, rung = (datetime.fromisoformat(each["date"]) for each in self.call["states"][:2])
        return (rung - began).total_seconds()


class RoutingTestCase(LiveTestCase):
    """Clients call in."""

    def new_number(self, prefix: str = "38067") -> str:
        """A number that nobody else has."""
        return f"{prefix}{next(_numbers):0{12 - len(prefix)}}"

    async def call_in(self, phone: str = "", did: str = "0800", talk: float = 0.5) -> CalledIn:
        """Call and wait for the end; whoever is answered talks for a moment and hangs up."""
        phone = phone or self.new_number()
        before = {state["call_id"] for state in await self.ask("callHistory", phone=phone)}
        self.lab.clients.call(did, phone, talk=talk)

        async def ended() -> list[int]:
            states = await self.ask("callHistory", phone=phone, per_page=1000)
            return [s["call_id"] for s in states if s["final"] and s["call_id"] not in before]

        [call_id] = await self.wait_for(ended, 40.0, f"the end of the call from {phone}")
        [call] = await self.ask("callHistory", call_id=call_id)
        return CalledIn(phone, call)

    async def counted(self, name: str) -> Counter[str]:
        """A number of /metrics, by its one label; what was never counted is nothing."""
        _, _, body = await self.request("/metrics")
        found = re.findall(rf'^ccdaemon_{name}_total{{\w+="(\w+)"}} (\S+)$', body.decode(), re.M)
        return Counter({label: int(float(value)) for label, value in found})

    def assert_took(self, called: CalledIn, *sips: str) -> None:
        """These were rung one after the other, and the last one took it."""
        *passed, last = sips
        told = [each for sip in passed for each in _passed(sip)]
        self.assertEqual(
            called.chain,
            [
                ("CALL", called.chain[0][1]),
                *told,
                ("OPERATOR_CALLTO", last),
                ("OPERATOR_PICKUP", last),
                ("FINISH", last),
            ],
        )


def _passed(sip: str) -> list[tuple[str, str]]:
    return [("OPERATOR_CALLTO", sip), ("OPERATOR_NOANSWER", sip)]


class CrmTests(RoutingTestCase):
    """The CRM names nobody, errs, is late or down: the list has the call, in time."""

    tables: ClassVar[Mapping[str, Any]] = {
        "routing": {"url": URL, "timeout": 1.0, "operators": [FIRST]}
    }

    def setUp(self) -> None:
        """Have a CRM."""
        super().setUp()
        self.crm = Crm()
        self.addCleanup(self.crm.stop)

    async def asked(self, answer: Answer, did: str) -> CalledIn:
        """A call of which the CRM says this."""
        self.crm.answers[did] = answer
        called = await self.call_in(did=did)
        self.assert_took(called, FIRST)
        return called

    async def test_names_nobody(self) -> None:
        """What else it says of the call counts: its order, and the name on the phone."""
        said = '{"order_id": 1501, "caller_name": "ТОВ \\"Ромашка\\", $x", "operators": []}'
        called = await self.asked(json(said), "0801")
        [(path, asked)] = self.crm.asked
        self.assertEqual(path, "/route")
        self.assertEqual(
            asked,
            {"phone": called.phone, "did": "0801", "call_id": str(called.call["call_id"])},
        )
        self.assertEqual(called.call["order_id"], "1501")
        shown = [
            event.detail
            for event in self.lab.operators.events(FIRST)
            if event.event == "invite" and called.phone in event.detail
        ]
        self.assertEqual(len(shown), 1)
        self.assertIn('"ТОВ Ромашка x"', shown[0])

    async def test_talks_nonsense(self) -> None:
        """HTML, lists, operators that are none, too much of it: counted, and the list is rung."""
        crm, faults = await self.counted("routing_crm"), await self.counted("routing_crm_faults")
        for number, answer in enumerate(
            [
                json("<html>"),
                json("[]"),
                names("boss"),
                names(f"{SECOND}&PJSIP/{THIRD}"),
                json('{"redirect": "0044123456789"}'),
                names(THIRD, "x" * 70_000),
                status(204),
                status(301),
                status(404),
                endless,
            ]
        ):
            called = await self.asked(answer, f"081{number}")
            self.assertLess(called.seconds_to_the_operator, 1.0 + SLACK)
        self.assertEqual({path for path, _ in self.crm.asked}, {"/route"})
        log = self.daemon.log.read_text()
        for kind in ("not_json", "not_object", "bad operators", "bad redirect", "too_large"):
            self.assertEqual(log.count(f"routing.url: {kind}: "), 1, kind)
        self.assertEqual(
            await self.counted("routing_crm") - crm,
            {"not_json": 1, "not_object": 1, "answered": 3, "too_large": 2, "status": 3},
        )
        self.assertEqual(
            await self.counted("routing_crm_faults") - faults, {"operators": 2, "redirect": 1}
        )

    async def test_is_slow(self) -> None:
        """It hangs, or dribbles: the client waits for its time limit and no longer; counted."""
        before = await self.counted("routing_crm")
        for did, answer in (("0821", hangs), ("0822", trickles)):
            called = await self.asked(answer, did)
            self.assertGreater(called.seconds_to_the_operator, 0.9)
            self.assertLess(called.seconds_to_the_operator, 1.0 + SLACK)
        self.assertEqual(await self.counted("routing_crm") - before, {"timeout": 2})

    async def test_is_down(self) -> None:
        """It is asked in vain three times, then rests, and is asked again when it may be back."""
        before = await self.counted("routing_crm")
        await self.crm.stop()
        for _ in range(5):
            called = await self.call_in(did="0831")
            self.assert_took(called, FIRST)
        counted = await self.counted("routing_crm") - before
        self.assertEqual(set(counted), {"unreachable", "not_asked"})
        self.assertEqual((counted["unreachable"] >= 3, counted.total()), (True, 5), counted)
        self.assertIn("routing.url: not_asked: ", self.daemon.log.read_text())
        self.crm = Crm()
        self.addCleanup(self.crm.stop)
        self.crm.answers["0832"] = names(SECOND)

        async def asked_again() -> bool:
            called = await self.call_in(did="0832")
            return ("OPERATOR_PICKUP", SECOND) in called.chain

        await self.wait_for(asked_again, 30.0, "the CRM is asked again")


class NamedTests(RoutingTestCase):
    """The CRM names who cannot take the call just now: told as busy, and not rung."""

    tables: ClassVar[Mapping[str, Any]] = {
        "clients": [
            {"name": "t", "networks": ["127.0.0.1"], "permissions": ["call", "read", "pause"]}
        ],
        "routing": {"url": URL, "timeout": 1.0, "operators": [FIRST]},
    }

    def setUp(self) -> None:
        """Have a CRM that names the operator alone, and with another."""
        super().setUp()
        self.crm = Crm()
        self.addCleanup(self.crm.stop)
        self.crm.answers["0841"] = names(SECOND)
        self.crm.answers["0842"] = json(spelled({"operators": [SECOND, THIRD]}))

    async def passed_over(self, why: str) -> None:
        """They are, alone and before another; their phone does not ring."""
        rung = self.lab.operators.invites(SECOND)
        alone = await self.call_in(did="0841")
        self.assertEqual(alone.chain, [("CALL", None), ("OPERATOR_BUSY", SECOND)])
        self.assertEqual((alone.call["final"], alone.call["talk_seconds"]), (True, None))
        self.assertIn(f"operator {SECOND} {why}", alone.call["detail"])
        before = await self.call_in(did="0842")
        self.assertEqual(
            before.chain,
            [
                ("CALL", None),
                ("OPERATOR_BUSY", SECOND),
                ("OPERATOR_CALLTO", THIRD),
                ("OPERATOR_PICKUP", THIRD),
                ("FINISH", THIRD),
            ],
        )
        self.assertIn(why, before.call["states"][1]["detail"])
        self.assertEqual(self.lab.operators.invites(SECOND), rung)

    async def test_is_on_the_phone(self) -> None:
        """They talk with another client."""
        await self.make_call(SECOND, self.new_number("38044")[:-2] + "40")

        async def in_use() -> bool:
            return bool((await self.ask("sipList", sip=SECOND, status="inuse"))["total"])

        await self.wait_for(in_use, 10.0, f"{SECOND} is in use")
        await self.passed_over("is on the phone")

    async def test_is_paused(self) -> None:
        """They take no calls."""
        await self.ask("pauseOperator", sip=SECOND, reason="lunch")
        try:
            await self.passed_over("is paused")
        finally:
            await self.ask("resumeOperator", sip=SECOND)


class ListTests(RoutingTestCase):
    """The list, without a CRM."""

    tables: ClassVar[Mapping[str, Any]] = {
        "clients": [
            {"name": "t", "networks": ["127.0.0.1"], "permissions": ["call", "read", "pause"]}
        ],
        "routing": {"operators": ["1006", FIRST, [SECOND, THIRD]], "ring_timeout": 2},
    }

    async def test_in_turn(self) -> None:
        """The first rings out, the second takes it."""
        self.assert_took(await self.call_in(), "1006", FIRST)

    async def test_who_is_offline_is_passed_over(self) -> None:
        """Silently; of those who ring together one takes it."""
        self.unregister("1006", FIRST, SECOND)
        self.assert_took(await self.call_in(), THIRD)

    async def test_who_is_paused_is_passed_over(self) -> None:
        """They are registered, and their phone does not ring."""
        for sip in ("1006", FIRST, SECOND):
            await self.ask("pauseOperator", sip=sip, reason="lunch")
        try:
            rung = self.lab.operators.invites(FIRST)
            self.assert_took(await self.call_in(), THIRD)
            self.assertEqual(self.lab.operators.invites(FIRST), rung)
        finally:
            for sip in ("1006", FIRST, SECOND):
                await self.ask("resumeOperator", sip=sip)

    async def test_who_is_on_the_phone_is_passed_over(self) -> None:
        """So is who is being rung for another call: of two clients at once each has their own."""
        self.unregister("1006")
        called = await together(self.call_in(talk=3.0) for _ in range(2))
        took = [sip for each in called for state, sip in each.chain if state == "OPERATOR_PICKUP"]
        self.assertEqual(len(set(took)), 2, took)

    async def test_nobody_is_left(self) -> None:
        """The last one of the list is told, once."""
        self.unregister("1006", FIRST, SECOND, THIRD)
        called = await self.call_in()
        self.assertEqual(called.chain, [("CALL", called.chain[0][1]), ("OPERATOR_OFFLINE", THIRD)])


class StickyTests(RoutingTestCase):
    """The operator who spoke last."""

    tables: ClassVar[Mapping[str, Any]] = {
        "routing": {"sticky": True, "operators": [FIRST, SECOND]}
    }

    async def test_after_a_call_out_and_after_a_call_in(self) -> None:
        """Whoever talked last with a phone is rung first, at once after the talk."""
        phone = self.new_number("38044")[:-2] + "34"
        self.assert_took(await self.call_in(phone), FIRST)
        await self.finished(await self.make_call(THIRD, phone))
        self.assert_took(await self.call_in(phone), THIRD)
        # Who only rang in vain is none who spoke with them.
        self.unregister(THIRD)
        self.assert_took(await self.call_in(phone), FIRST)
        self.assert_took(await self.call_in(), FIRST)

    async def test_while_postgres_is_away(self) -> None:
        """The talk that has just been is known all the same."""
        phone = self.new_number("38044")[:-2] + "34"
        call_id = await self.make_call(SECOND, phone)
        self.lab.postgres.stop()
        try:
            await self.finished(call_id)
            self.lab.clients.call("0800", phone, talk=0.5)
            await self.wait_for(
                lambda: f"by sticky: {SECOND} spoke last" in self.daemon.log.read_text(),
                20.0,
                "the operator who spoke last is rung",
            )
        finally:
            self.lab.postgres.start()


class ClosedTests(RoutingTestCase):
    """Outside the opening hours."""

    tables: ClassVar[Mapping[str, Any]] = {
        "routing": {
            "operators": [FIRST],
            "timezone": "Europe/Kyiv",
            "hours": {"mon": []},
            "closed": "reject",
        }
    }

    async def test_rejected(self) -> None:
        """Nobody's phone rings, and the chain says why."""
        called = await self.call_in()
        self.assertEqual([state for state, _ in called.chain], ["CALL", "ERROR"])
        self.assertRegex(called.call["detail"], r"^rejected: closed on [A-Z]\w+day at \d\d:\d\d")


class ClosedRedirectTests(RoutingTestCase):
    """On a holiday, with an extension for it."""

    tables: ClassVar[Mapping[str, Any]] = {
        "routing": {
            "operators": [FIRST],
            "timezone": "UTC",
            "holidays": [f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
            + [f"{month:02}-{day}" for month in range(1, 13) for day in (29, 30) if month != 2]
            + [f"{month:02}-31" for month in (1, 3, 5, 7, 8, 10, 12)]
            + ["02-29"],
            "closed": SECOND,
        }
    }

    async def test_sent_on(self) -> None:
        """The call goes to the extension."""
        called = await self.call_in()
        states = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "FINISH"]
        self.assertEqual([state for state, _ in called.chain], states)
        self.assertEqual(called.chain[-1][1], SECOND)


class OpenTests(RoutingTestCase):
    """Within the opening hours, and with a blacklist."""

    tables: ClassVar[Mapping[str, Any]] = {
        "routing": {
            "operators": [FIRST],
            "timezone": "Europe/Kyiv",
            "hours": dict.fromkeys(
                ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), ["00:00-12:00", "12:00-24:00"]
            ),
            "closed": "reject",
            "blacklist": ["38066*", "anonymous"],
        }
    }

    async def test_open(self) -> None:
        """The list has the call."""
        self.assert_took(await self.call_in(), FIRST)

    async def test_blacklisted(self) -> None:
        """Nobody's phone rings for them."""
        called = await self.call_in(self.new_number("38066"))
        self.assertEqual([state for state, _ in called.chain], ["CALL", "ERROR"])
        self.assertEqual(called.call["detail"], "rejected: the blacklist has 38066*")
