"""Live tests of times when the daemon or Asterisk was away in the middle of calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from signal import SIGTERM
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory

from lab.sip_files import WITH_PHONE
from tests.live.asking import together
from tests.live.harness import LiveTestCase
from tests.live.story import TALK

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

    async def check_history(self, calls: Mapping[str, int]) -> None:
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
#: And how its chain goes on.
COMES_BACK = {
    "talks on": TALK,
    "talk ends": TALK,
    "client rings out": [*TALK[:4], "ERROR"],
    "client picks up": TALK,
    "operator picks up": TALK,
    "operator rings out": [*TALK[:2], "ERROR"],
}
UNSEEN = ("talk ends", "client rings out", "operator rings out")
SEEN = ("talks on", "client picks up", "operator picks up")


class DaemonGone(GapCase):
    """The daemon ends in the middle of calls; they go on, and so do their chains."""

    async def test_killed(self) -> None:
        """kill -9: no talk drops; each chain goes on to one end, ERROR or FINISH if unseen."""
        await self.check(self.daemon.kill)

    async def test_terminated(self) -> None:
        """SIGTERM: the same."""
        await self.check(self.daemon.stop)

    async def check(self, end: Callable[[], object]) -> None:
        """Let the daemon end, three calls end meanwhile, and the daemon come back."""
        calls = await self.begin(DAEMON_GOES)
        end()
        await self.wait_for(self.three_calls_are_left, 12, "three calls are left")
        self.daemon.start()
        await together(self.finished(calls[name]) for name in UNSEEN)
        await together(self.reach(calls[name], "CLIENT_PICKUP") for name in SEEN)
        self.assertTrue(self.three_calls_are_left())
        self.lab.asterisk.rx("channel request hangup all")
        await together(self.finished(call_id) for call_id in calls.values())
        self.assertEqual({name: await self.chain(calls[name]) for name in calls}, COMES_BACK)
        for name in UNSEEN:
            (call,) = await self.ask("callHistory", call_id=calls[name])
            self.assertIn("its end was not seen", call["detail"], name)
        await self.wait_for(self.four_recordings, 5, "a recording of each talk")
        await self.check_history(calls)

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
        self.assertIn(await self.tries(5), range(2, 6))
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


ORDER = {"order_id": "15", "external_key": "after the storm"}
