"""Live tests of times when the daemon or Asterisk was away in the middle of calls."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from signal import SIGTERM
from socket import SOCK_STREAM
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory

from lab.line import Line
from lab.processes import free_port
from lab.sip_files import WITH_PHONE
from tests.integration.asking import together
from tests.integration.harness import LiveTestCase
from tests.integration.routing_crm import RoutingCrm
from tests.integration.story import TALK

Row = dict[str, Any]


class GapCase(LiveTestCase):
    """A daemon of its own, short timeouts, and calls by name."""

    shared = False
    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 4}}

    async def begin(self, plot: Mapping[str, tuple[str, str, str]]) -> dict[str, int]:
        """Make calls (operator, client, state to wait for); when all stand so, their ids."""
        made = await together(self.make_call(sip, phone) for sip, phone, _ in plot.values())
        calls = dict(zip(plot, made, strict=True))
        await together(self.reach(calls[name], state) for name, (_, _, state) in plot.items())
        return calls

    async def reach(self, call_id: int, state: str) -> None:
        """Wait until a state is the last of a call."""

        async def has_come() -> bool:
            return (await self.chain(call_id))[-1] == state

        await self.wait_for(has_come, 10, f"call {call_id} is at {state}")

    async def check_history(self, calls: Mapping[Any, int]) -> None:
        """What after= tells from the beginning is the calls' chains, each state once."""
        told = await self.ask("callHistory", after=0, limit=1000)
        chains = [await self.states(call_id) for call_id in calls.values()]
        ids = [row["event_id"] for row in told]
        self.assertEqual(ids, sorted(set(ids)))
        by_id = sorted((row for chain in chains for row in chain), key=lambda row: row["event_id"])
        self.assertEqual(told, by_id)
        for states in chains:
            self.assertEqual([row["seq"] for row in states], list(range(1, len(states) + 1)))
            finals = [row["final"] for row in states]
            self.assertEqual(finals, [False] * (len(states) - 1) + [True])
            dates = [row["date"] for row in states]
            self.assertEqual(dates, sorted(dates))


#: Where each call stands when the daemon goes.
DAEMON_GOES: dict[str, tuple[str, str, str]] = {
    "talks on": ("1040", "380640000100", "CLIENT_PICKUP"),
    "talk ends": ("1041", "380640000203", "CLIENT_PICKUP"),
    "client rings out": ("1042", "380640000306", "CLIENT_CALLTO"),
    "client picks up": ("1043", "380640000402", "CLIENT_CALLTO"),
    "operator picks up": ("1002", "380640000500", "OPERATOR_CALLTO"),
    "operator rings out": ("1006", "380640000600", "OPERATOR_CALLTO"),
}
#: And the whole chain: as if the daemon had been there.
COMES_BACK = {
    "talks on": TALK,
    "talk ends": TALK,
    "client rings out": [*TALK[:4], "CLIENT_NOANSWER"],
    "client picks up": TALK,
    "operator picks up": TALK,
    "operator rings out": [*TALK[:2], "OPERATOR_NOANSWER"],
}
#: Who ended the calls that nobody heard end, and how ``detail`` begins.
UNHEARD = {
    "talk ends": ("client", "hung up by client"),
    "client rings out": ("asterisk", "no answer in time"),
    "operator rings out": ("asterisk", "User alerting, no answer (19)"),
}
ON_THE_LINE = ("talks on", "client picks up", "operator picks up")


class DaemonGone(GapCase):
    """The daemon ends in the middle of calls; they go on, and so do their chains."""

    async def test_killed(self) -> None:
        """kill -9: no talk drops; each chain is whole, with the times of what happened."""
        await self.check(self.daemon.kill)

    async def test_terminated(self) -> None:
        """SIGTERM: the same."""
        await self.check(self.daemon.stop)

    async def check(self, end: Callable[[], object]) -> None:
        """Let the daemon end, three calls end meanwhile, and the daemon come back."""
        calls = await self.begin(DAEMON_GOES)
        end()
        gone = time.time()
        await self.wait_for(self.three_calls_are_left, 12, "three calls are left")
        back = time.time()
        self.daemon.start()
        await together(self.finished(calls[name]) for name in UNHEARD)
        await together(self.reach(calls[name], "CLIENT_PICKUP") for name in ON_THE_LINE)
        self.assertTrue(self.three_calls_are_left())
        for name in UNHEARD:
            ended = (await self.states(calls[name]))[-1]["date"]
            self.assertTrue(gone - 0.5 < seconds(ended) < back, f"{name}: {ended}")
        for name in ("client picks up", "operator picks up"):
            answered = (await self.states(calls[name]))[-1]["date"]
            self.assertTrue(gone < seconds(answered) < back, f"{name}: {answered}")
        self.lab.asterisk.rx("channel request hangup all")
        await together(self.finished(call_id) for call_id in calls.values())
        self.assertEqual({name: await self.chain(calls[name]) for name in calls}, COMES_BACK)
        for name, (by, words) in UNHEARD.items():
            (call,) = await self.ask("callHistory", call_id=calls[name])
            self.assertEqual(call["hung_up_by"], by, name)
            self.assertTrue(call["detail"].startswith(words), call["detail"])
        await self.check_talk(calls["talk ends"], "380640000203")
        await self.wait_for(self.four_recordings, 5, "a recording of each talk")
        await self.check_history(calls)

    async def check_talk(self, call_id: int, phone: str) -> None:
        """The talk lasted as long as the client's phone says, though nobody listened."""
        (call,) = await self.ask("callHistory", call_id=call_id)
        at = {event.event: event.time for event in self.lab.clients.events(phone)}
        talked = at["hangup"] - at["answered"]
        self.assertLess(abs(call["talk_seconds"] - talked), 0.3)
        self.assertLess(abs(seconds(call["ended"]) - at["hangup"]), 0.3)

    def three_calls_are_left(self) -> bool:
        """Two channels for each of the three."""
        return self.lab.asterisk.channels() == 6

    async def four_recordings(self) -> bool:
        """Whatever the daemon has seen of a talk."""
        return bool((await self.ask("recordList"))["total"] == 4)

    async def test_sigterm_is_quick(self) -> None:
        """SIGTERM ends it within seconds, in the middle of calls and with requests held."""
        calls = await self.begin({"talk": ("1040", "380640000700", "CLIENT_PICKUP")})
        cursor = (await self.api("callHistory", after=0, limit=1000))["next"]
        held = [
            Deferred.fromCoroutine(self.api("callHistory", after=cursor, wait=60)) for _ in range(3)
        ]
        await self.sleep(0.5)
        began = time.monotonic()
        self.daemon.send(SIGTERM)
        for answer in held:
            self.assertEqual((await answer)["response"], [])
        await self.wait_for(lambda: self.daemon.pid is None, 5, "the daemon has ended")
        self.assertLess(time.monotonic() - began, 4)
        self.assertEqual(self.lab.asterisk.channels(), 2)
        self.daemon.start()
        self.lab.asterisk.rx("channel request hangup all")
        await self.finished(calls["talk"])
        await self.check_history(calls)


#: Where each call stands when the line goes, and what it does meanwhile.
LINE_GOES: dict[str, tuple[str, str, str]] = {
    "talks on": ("1040", "380641000100", "CLIENT_PICKUP"),
    "talk ends": ("1041", "380641000234", "CLIENT_PICKUP"),
    "client rings out": ("1042", "380641000306", "CLIENT_CALLTO"),
    "client refuses": ("1043", "380641000423", "CLIENT_CALLTO"),
    "operator picks up, client is busy": ("1002", "380641000505", "OPERATOR_CALLTO"),
    "operator declines": ("1023", "380641000600", "OPERATOR_CALLTO"),
}
LINE_BACK = {
    "talks on": TALK[:5],
    "talk ends": TALK,
    "client rings out": [*TALK[:4], "CLIENT_NOANSWER"],
    "client refuses": [*TALK[:4], "CLIENT_BUSY"],
    "operator picks up, client is busy": [*TALK[:4], "CLIENT_BUSY"],
    "operator declines": [*TALK[:2], "OPERATOR_BUSY"],
}


class LineGone(GapCase):
    """The daemon lives and hears nothing: AMI goes through a line that fails."""

    starts_daemon = False
    line: Line
    calls: dict[str, int]

    def setUp(self) -> None:
        """Put a line in between."""
        super().setUp()
        self.line = Line(self.lab.asterisk.ports.ami)
        self.line.start()
        self.addCleanup(self.line.stop)
        # As quick as may be configured: a silent line is noticed by a ping.
        self.daemon.configure(asterisk={"port": self.line.port, "ping_interval": 1})
        self.daemon.start()

    async def check(self, chains: Mapping[str, Sequence[str]], gone: float, back: float) -> None:
        """Everything that happened between two moments is told, as it was and when it was."""
        await together(self.finished(self.calls[name]) for name in chains if name != "talks on")
        self.assertEqual({name: await self.chain(self.calls[name]) for name in chains}, chains)
        for name in chains:
            if name != "talks on":
                ended = (await self.states(self.calls[name]))[-1]["date"]
                self.assertTrue(gone - 0.5 < seconds(ended) < back, f"{name}: {ended}")
        self.lab.asterisk.rx("channel request hangup all")
        await self.finished(self.calls["talks on"])
        await self.check_history(self.calls)

    async def one_call_is_left(self) -> None:
        """Wait for the end of all but the talk that goes on."""
        is_left = self.lab.asterisk.channels
        await self.wait_for(lambda: is_left() == 2, 12, "one call is left")

    async def test_refused(self) -> None:
        """The session is cut and no new one to be had while five calls end."""
        self.calls = await self.begin(LINE_GOES)
        gone = time.time()
        self.line.stop()
        await self.one_call_is_left()
        back = time.time()
        self.line.start()
        await self.check(LINE_BACK, gone, back)

    async def test_rotated_meanwhile(self) -> None:
        """logrotate has turned the channel log in the middle of it."""
        self.calls = await self.begin(LINE_GOES)
        gone = time.time()
        self.line.stop()
        await self.sleep(1.5)
        log = self.lab.asterisk.cel_file_on_host
        log.rename(log.with_name("Master.csv.1"))
        await self.one_call_is_left()
        back = time.time()
        self.line.start()
        await self.check(LINE_BACK, gone, back)

    async def test_half_open(self) -> None:
        """Asterisk's side is gone without a word: a ping finds out."""
        self.calls = await self.begin(LINE_GOES)
        gone = time.time()
        self.line.lose_far_end()
        await self.one_call_is_left()
        back = time.time()
        await self.wait_for(lambda: self.line.links == 1, 30, "a new session")
        await self.check(LINE_BACK, gone, back)

    async def test_cut_again_and_again(self) -> None:
        """Every session ends a moment after it began; each chain is told once all the same."""
        self.calls = await self.begin(LINE_GOES)
        gone = time.time()
        for _ in range(4):
            self.line.cut()
            await self.wait_for(lambda: self.line.links == 1, 10, "a new link")
            await self.sleep(random.random())
        await self.one_call_is_left()
        await self.check(LINE_BACK, gone, time.time())


#: Where each call in stands when the daemon goes: whom the CRM names, for how long the client
#: talks, after how long they give up, the state to wait for.
CALLS_IN: dict[str, tuple[str, float, float | None, str]] = {
    "talks on": ("1040", 60.0, None, "OPERATOR_PICKUP"),
    "talk ends": ("1041", 3.0, None, "OPERATOR_PICKUP"),
    "client gives up": ("1006", 60.0, 3.0, "OPERATOR_CALLTO"),
    "operator picks up": ("1002", 60.0, None, "OPERATOR_CALLTO"),
}
TALK_IN = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "FINISH"]
FALLBACK = "1057"


class DaemonGoneInbound(GapCase):
    """The daemon is killed while clients call in."""

    tables = {**GapCase.tables, "routing": {"url": "http://127.0.0.1:1/", "timeout": 1.5}}
    dialplan = {"CC_FALLBACK": f"PJSIP/{FALLBACK}"}
    starts_daemon = False

    async def test_killed(self) -> None:
        """kill -9: whoever calls meanwhile reaches the fallback; every chain is whole."""
        port = free_port(SOCK_STREAM)
        crm = RoutingCrm(port)
        self.addCleanup(crm.stop)
        self.daemon.configure(routing={"url": f"http://127.0.0.1:{port}/"})
        self.daemon.start()
        for number, (sip, talk, cancel_after, _) in enumerate(CALLS_IN.values()):
            did = f"38044555000{number}"
            crm.answers[did] = ({"operators": [[sip]], "ring_timeout": 15}, 0.0)
            self.call_in(number, talk, cancel_after)
        await self.wait_for(self.all_stand, 15, "every call is where it should be")
        self.daemon.kill()
        gone = time.time()
        self.call_in(9, 1.5, None)
        await self.wait_for(lambda: self.lab.asterisk.channels() == 4, 15, "two calls are left")
        back = time.time()
        self.daemon.start()
        await self.wait_for(self.three_ended, 10, "three calls have their end")
        calls = await self.by_number()
        self.lab.asterisk.rx("channel request hangup all")
        await together(self.finished(call["call_id"]) for call in calls.values())
        told = {name: await self.chain(calls[n]["call_id"]) for n, name in enumerate(CALLS_IN)}
        cancelled = [*TALK_IN[:2], "CLIENT_CANCEL"]
        self.assertEqual(
            told, {name: cancelled if "gives up" in name else TALK_IN for name in CALLS_IN}
        )
        states = await self.states(calls[9]["call_id"])
        self.assertEqual([state["state"] for state in states], TALK_IN)
        self.assertEqual({state["sip"] for state in states[1:]}, {FALLBACK})
        for number in (1, 2, 9):
            ended = (await self.states(calls[number]["call_id"]))[-1]["date"]
            self.assertTrue(gone - 0.5 < seconds(ended) < back, f"{number}: {ended}")
        # Nobody was cut off by it: only phones ended calls.
        for number in (1, 9):
            seen = {event.event for event in self.lab.clients.events(f"38044555000{number}")}
            self.assertIn("hangup", seen)
            self.assertNotIn("bye", seen)
        await self.check_history({n: call["call_id"] for n, call in calls.items()})

    def call_in(self, number: int, talk: float, cancel_after: float | None) -> None:
        """A client calls."""
        did, caller = f"38044555000{number}", f"38050111000{number}"
        self.lab.clients.call(did, caller, talk=talk, cancel_after=cancel_after)

    async def by_number(self) -> dict[int, Row]:
        """The calls by the last digit of the client's number."""
        states = await self.ask("callHistory", after=0, limit=1000)
        found = {}
        for call_id in {state["call_id"] for state in states}:
            [call] = await self.ask("callHistory", call_id=call_id)
            found[int(call["phone"][-1])] = call
        return found

    async def all_stand(self) -> bool:
        """Whether every call has reached its state."""
        calls = await self.by_number()
        wanted = [state for _, _, _, state in CALLS_IN.values()]
        return [calls[n]["state"] for n in sorted(calls)] == wanted

    async def three_ended(self) -> bool:
        """Whether those that ended meanwhile have their end, and the others go on."""
        calls = await self.by_number()
        ended = {number for number, call in calls.items() if call["final"]}
        return ended == {1, 2, 9} and len(calls) == 5


class Tried(Factory):
    """Counts who connects, and hangs up."""

    noisy = False
    count = 0

    def buildProtocol(self, addr: object) -> None:
        """Count, and refuse."""
        self.count += 1


class AsteriskGone(GapCase):
    """Asterisk dies in the middle of calls."""

    async def test_killed(self) -> None:
        """Its calls end with a reason; the session comes back by itself, without a storm."""
        calls = await self.begin(
            {
                "talk": ("1040", "380650000103", "CLIENT_PICKUP"),
                "client rings": ("1042", "380650000206", "CLIENT_CALLTO"),
                "operator rings": ("1006", "380650000300", "OPERATOR_CALLTO"),
            }
        )
        self.lab.asterisk.kill()
        self.addCleanup(self.new_phones)
        refused = await self.api("makeCall", sip="1043", phone="380650000400", **ORDER)
        self.assertEqual(refused["error"]["code"], "asterisk_unavailable")
        self.assertIn(await self.tries(7), range(2, 7))
        self.lab.asterisk.start()
        self.lab.register(WITH_PHONE)
        self.daemon.wait_ready(30)
        await together(self.finished(call_id) for call_id in calls.values())
        expected = [TALK, [*TALK[:4], "ERROR"], [*TALK[:2], "ERROR"]]
        self.assertEqual([await self.chain(call_id) for call_id in calls.values()], expected)
        for call_id in calls.values():
            (call,) = await self.ask("callHistory", call_id=call_id)
            self.assertTrue(call["detail"], call)
        # The refusal above has left the key free.
        again = await self.ask("makeCall", sip="1043", phone="380650000418", **ORDER)
        chain = await self.finished(again["call_id"])
        self.assertEqual([row["state"] for row in chain], TALK)
        await self.check_history({**calls, "again": again["call_id"]})

    async def tries(self, seconds: float) -> int:
        """How many times the daemon connects to where Asterisk was, and finds it useless."""
        tried = Tried()
        port = self.lab.asterisk.ports.ami
        endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        listening = await endpoint.listen(tried)
        await self.sleep(seconds)
        await maybeDeferred(listening.stopListening)
        return tried.count

    def new_phones(self) -> None:
        """Phones that were talking when Asterisk died would talk for ever."""
        for phones in (self.lab.operators, self.lab.clients):
            phones.stop()
            phones.start()


def seconds(date: str) -> float:
    """A date of the API in seconds since 1970."""
    return datetime.fromisoformat(date).timestamp()


ORDER = {"order_id": "15", "external_key": "after the storm"}
