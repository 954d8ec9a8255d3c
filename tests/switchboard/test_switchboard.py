"""The switchboard and the live calls, over a real journal and a fake Asterisk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.task import Clock, deferLater

from ccdaemon.ami.ami_errors import ActionRefused, ActionTimeout, ConnectionLost, NotConnected
from ccdaemon.calls.model import Direction, State
from ccdaemon.calls.tables import STAGES
from ccdaemon.config import Config, parse
from ccdaemon.errors import Code, Refused
from ccdaemon.operators import Operators
from ccdaemon.pbx import call_tag
from ccdaemon.pbx.ami_signals import from_event
from ccdaemon.pbx.endpoints import Endpoints
from ccdaemon.store.facts import RecordFact, StateFact
from ccdaemon.store.journal import Journal
from ccdaemon.switchboard.call_options import NO_OPTIONS, CallOptions
from ccdaemon.switchboard.switchboard import Switchboard
from ccdaemon.tracking.calls import BORN_WITHIN, LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.presence import Presence
from ccdaemon.tracking.resync import (
    LOOK_EVERY,
    TOLD_WITHIN,
    TRIES,
    WRITTEN_WITHIN,
    Resync,
)
from tests.clocks import HOUR, Wall
from tests.fake_asterisk import FakeAsterisk, event, response
from tests.limits.parts import parts
from tests.store.parts import JournalCase, recording, turn

CONFIG = """
[asterisk]
secret = "s3cret-of-the-tests"
client_channel = "PJSIP/{phone}@trunk"
recordings_dir = "/rec"
caller_id = "380440000000"
[database]
url = "embedded"
[limits]
max_calls = 3
forbidden_prefixes = ["3809"]
"""


class Waits:
    """Stands for the recordings: keeps which were waited for."""

    def __init__(self) -> None:
        self.expected: list[tuple[int, str, str]] = []

    def expect(self, call_id: int, uniqueid: str, path: str) -> None:
        """Keep it."""
        self.expected.append((call_id, uniqueid, path))


class SwitchboardCase(JournalCase):
    """Operators 1000 to 1003 are there; 1001 is offline, 1002 talks to somebody else."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Everything is up."""
        super().setUp()
        return Deferred.fromCoroutine(self.all_up())

    async def all_up(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.clock.advance(1_795_412_687)
        self.wall = Wall(self.clock)
        self.asterisk = FakeAsterisk()
        states = {"1000": "NOT_INUSE", "1001": "UNAVAILABLE", "1002": "INUSE", "1003": "NOT_INUSE"}
        self.asterisk.endpoints = set(states)
        self.asterisk.devices = {f"PJSIP/{sip}": state for sip, state in states.items()}
        self.recordings = Waits()
        await self.start(await self.begun(), parse(CONFIG))

    async def start(self, journal: Journal, config: Config) -> None:
        """Make the parts and bring the session up."""
        self.log = journal
        endpoints = Endpoints(["PJSIP/{sip}"], config.asterisk.operator_pattern)
        self.live = LiveCalls(
            journal,
            self.recordings,  # type: ignore[arg-type]
            self.wall,
            endpoints.sip_of_channel,
            config.asterisk.phone_pattern.matches,
            parts(config).numbers,
        )
        run: Any = maybeDeferred
        self.cel_file = self.state_dir / "Master.csv"
        self.channel_log = CelReader(self.cel_file, journal, run, self.clock, self.wall)
        self.catching_up = Resync(self.live, self.channel_log, self.clock, self.wall)
        self.presence = Presence(
            endpoints,
            Operators(),
            journal.append,
            self.live.of_operator,
            self.wall,
        )
        self.parts = parts(config)
        self.switchboard = Switchboard(
            config,
            self.asterisk,
            journal,
            self.live,
            self.presence,
            self.parts.limits,
            self.parts.trunks,
            self.clock,
            self.wall,
        )
        await self.presence.up(self.asterisk)
        self.switchboard.up()
        self.addCleanup(self.presence.down, "the test is over")

    async def session_up(self, booted_at: float | None = None) -> None:
        """A session with Asterisk begins."""
        self.addCleanup(self.catching_up.down)
        coming = Deferred.fromCoroutine(self.catching_up.up(self.asterisk, booted_at))
        while not coming.called:
            # Nothing waits but for the journal, and for what the session has still to tell.
            if self.clock.getDelayedCalls():
                self.clock.advance(TOLD_WITHIN)
            await self.turns()
        await coming

    async def wait_for_the_log(self) -> None:
        """Let the time pass in which Asterisk may still write down an end."""
        for wait in (TOLD_WITHIN, *[WRITTEN_WITHIN] * TRIES, TOLD_WITHIN):
            await self.turns()
            self.clock.advance(wait)
        await self.turns()

    async def turns(self) -> None:
        """Let the journal do what it was asked for."""
        for _ in range(3):
            await self.log.settled()
            await turn()

    def make_call(
        self, options: CallOptions = NO_OPTIONS, phone: str = "380639920000", **changes: str
    ) -> Deferred[int]:
        """Ask for a call."""
        asked = {"sip": "1000", "order_id": "15", "external_key": "24"} | changes
        number = self.parts.read(phone)
        made = self.switchboard.make_call(
            **asked, phone=number, client="crm", address="192.0.2.7", options=options
        )
        return Deferred.fromCoroutine(made)

    async def refused(self, **changes: str) -> Refused:
        """Ask for a call that must be refused."""
        return await self.fails(self.make_call(NO_OPTIONS, **changes), Refused)

    def last_variables(self) -> str:
        """The variables of the last call that Asterisk was asked for."""
        return " ".join(self.asterisk.originated()[-1]["Variable"])  # type: ignore[arg-type]

    def hear(self, name: str, **headers: str) -> None:
        """An event comes from Asterisk."""
        heard = from_event(event(name, **headers), int(self.wall.seconds() * 1000))
        if heard is not None:
            self.live.hear(heard)

    async def chain(self, call_id: int) -> list[State]:
        """The states of a call as the journal has them."""
        await self.wait_until(lambda: not self.log.health.waiting)
        kept = await self.log.chain(call_id)
        assert kept is not None
        return [row.state.state for row in kept.states]

    def anchor(self, call_id: int) -> dict[str, str]:
        """The ids of the operator's channel."""
        name = f"cc-{self.log.node}-{call_id}-o"
        return {"Uniqueid": name, "Linkedid": name}

    async def talk(self, call_id: int) -> None:
        """A whole talk, as Asterisk tells it."""
        anchor = self.anchor(call_id)
        client = {"Uniqueid": "17.1", "Linkedid": anchor["Linkedid"]}
        self.hear("Newchannel", Channel="PJSIP/1000-1", **anchor)
        self.hear("Newstate", ChannelState="6", **anchor)
        self.hear("UserEvent", UserEvent="ccdaemon-dial", **anchor)
        self.hear("Newchannel", Channel="PJSIP/trunk-2", **client)
        self.hear("Newstate", ChannelState="6", **client)
        self.hear("HangupRequest", **client)
        self.hear("Hangup", Cause="16", **client)
        self.hear("Hangup", Cause="16", **anchor)
        await self.wait_until(lambda: self.recordings.expected)

    async def wait_until(self, true: Any) -> None:
        """Give the journal its turns until something is so."""
        for _ in range(500):
            if true():
                return
            await deferLater(reactor, 0.01)
        self.fail("it did not come to be")


class MakeCallTests(SwitchboardCase):
    """makeCall."""

    async def test_who_made_it(self) -> None:
        """Client and address are in the call's first fact, also where it is refused."""
        call_id = await self.make_call()
        await self.refused(external_key="25")
        first, second = [
            event.fact.call
            for event in await self.log.after(0, 100)
            if isinstance(event.fact, StateFact) and event.fact.opens
        ]
        self.assertEqual(first.call_id, call_id)
        for call in (first, second):
            self.assertEqual((call.made_by, call.made_from), ("crm", "192.0.2.7"))

    async def test_what_asterisk_is_asked(self) -> None:
        """Channel, context, time limit, whom it is for, and nothing else to dial."""
        call_id = await self.make_call(order_id='1"5<x>,&')
        (asked,) = self.asterisk.originated()
        node, label = self.log.node, call_tag.write("380639920000", '1"5<x>,&', "24")
        self.assertEqual(asked["Channel"], "PJSIP/1000")
        self.assertEqual((asked["Context"], asked["Exten"]), ("ccdaemon-outbound", "s"))
        self.assertEqual((asked["Timeout"], asked["Async"]), ("30000", "true"))
        self.assertEqual(asked["CallerID"], '"Order 1?5?x?,&" <380639920000>')
        self.assertEqual(asked["ChannelId"], f"cc-{node}-{call_id}-o")
        variables = " ".join(asked["Variable"])  # type: ignore[arg-type]
        for part in (
            "__FORWARD_CONTEXT=ccdaemon-nowhere",
            "__TRANSFER_CONTEXT=ccdaemon-nowhere",
            "CC_DIAL=PJSIP/380639920000@trunk",
            f"userfield\\)={label}",
            "CC_TIMEOUT=60",
            "CC_CALLERID=380440000000",
            f"__CC_RECORDING=/rec/2026/11/23/cc-{node}-{call_id}-o.wav",
        ):
            self.assertIn(part.partition("=")[0], variables)
            self.assertIn(part.partition("=")[2], variables)
        self.assertNotIn("CC_STEREO", variables)

    async def test_several_phones_are_rung_by_the_dialplan(self) -> None:
        """Where more than one is registered, half a Local channel rings, the other half them."""
        self.asterisk.contacts["1000"] = "PJSIP/1000/sip:1000@10.0.0.1&PJSIP/1000/sip:x@10.0.0.2"
        call_id = await self.make_call(options=CallOptions(auto_answer=True))
        (asked,) = self.asterisk.originated()
        self.assertEqual(asked["Channel"], "Local/s@ccdaemon-ring/n")
        self.assertEqual((asked["Context"], asked["Exten"]), ("ccdaemon-ring", "over"))
        self.assertEqual(asked["ChannelId"], f"cc-{self.log.node}-{call_id}-o")
        variables = asked["Variable"]
        for part in (
            "CC_PHONES=PJSIP/1000",
            "_CC_AFTER=ccdaemon-outbound",
            "_CC_DIAL=PJSIP/380639920000@trunk",
            "_CC_TIMEOUT=60",
            "_CC_CALLERID=380440000000",
            "_CC_AUTO_ANSWER=1",
        ):
            self.assertIn(part, " ".join(variables).replace("\\", ""))  # type: ignore[arg-type]
        # What the phones have registered is their own word, and goes nowhere.
        self.assertNotIn("sip:", str(asked))

    async def test_the_name_that_the_operator_sees(self) -> None:
        """Order and number stand where the configuration has them, in any alphabet."""
        config = parse(CONFIG)
        named = evolve(config.asterisk, caller_id_name="Заказ {order_id}: {phone}")
        await self.start(self.log, evolve(config, asterisk=named))
        await self.make_call(order_id="{phone}")
        (asked,) = self.asterisk.originated()
        self.assertEqual(asked["CallerID"], '"Заказ {phone}: 380639920000" <380639920000>')

    async def test_in_stereo(self) -> None:
        """The dialplan is told if the configuration wants it."""
        config = parse(CONFIG)
        stereo = evolve(config.asterisk, stereo=True)
        await self.start(self.log, evolve(config, asterisk=stereo))
        await self.make_call()
        (asked,) = self.asterisk.originated()
        self.assertIn("__CC_STEREO=1", " ".join(asked["Variable"]))  # type: ignore[arg-type]

    async def test_the_call_is_kept_before_asterisk_is_asked(self) -> None:
        """CALL is committed before Originate is written."""
        self.asterisk.answer = Deferred()
        asked = self.make_call()
        self.assertEqual(self.asterisk.originated(), [])
        await self.wait_until(self.asterisk.originated)
        self.assertEqual(await self.chain(1), [State.CALL])
        self.asterisk.answer.callback(response())
        self.assertEqual(await asked, 1)

    async def test_a_talk(self) -> None:
        """A call is followed to its FINISH, its recording waited for, its operator freed."""
        call_id = await self.make_call()
        self.assertEqual(self.live.of_operator("1000"), call_id)
        await self.talk(call_id)
        self.assertEqual(await self.chain(call_id), [*STAGES[Direction.OUTBOUND], State.FINISH])
        name = f"cc-{self.log.node}-{call_id}-o"
        self.assertEqual(self.recordings.expected, [(call_id, name, f"2026/11/23/{name}.wav")])
        self.assertIsNone(self.live.of_operator("1000"))

    async def test_no_recording(self) -> None:
        """record = false: the dialplan is given nowhere to record to."""
        config = parse(CONFIG)
        await self.start(self.log, evolve(config, asterisk=evolve(config.asterisk, record=False)))
        await self.make_call()
        self.assertNotIn("/rec", str(self.asterisk.originated()))

    async def test_operators_who_cannot(self) -> None:
        """Offline and busy operators: a call with a chain, refused with its number."""
        for sip, code, state in (
            ("1001", Code.OPERATOR_OFFLINE, State.OPERATOR_OFFLINE),
            ("1002", Code.OPERATOR_BUSY, State.OPERATOR_BUSY),
        ):
            error = await self.refused(sip=sip, external_key=sip)
            self.assertEqual((error.code, error.field), (code, "sip"))
            assert error.call_id is not None
            self.assertEqual(await self.chain(error.call_id), [State.CALL, state])
        self.assertEqual(self.asterisk.originated(), [])
        used = await self.refused(external_key="1001")
        self.assertEqual(used.code, Code.EXTERNAL_KEY_USED)

    async def test_an_originate_under_way_counts_as_busy(self) -> None:
        """Of two calls at once for one operator the second is refused, whatever the phone says."""
        one, two = self.make_call(), self.make_call(external_key="25")
        await one
        self.assertEqual((await self.fails(two, Refused)).code, Code.OPERATOR_BUSY)

    async def test_unknown_operator_leaves_the_key_free(self) -> None:
        """A refusal without a call_id does not use the key up."""
        error = await self.refused(sip="7777")
        self.assertEqual((error.code, error.call_id), (Code.OPERATOR_UNKNOWN, None))
        self.assertEqual(await self.make_call(), 1)

    async def test_a_key_rings_nobody_twice(self) -> None:
        """The same key again, also at the same moment: one call, one Originate, its number told."""
        both = [self.make_call(), self.make_call(sip="1003")]
        results = await gatherResults(
            [made.addErrback(lambda failure: failure.value) for made in both]
        )
        call_id = next(result for result in results if isinstance(result, int))
        error = next(result for result in results if isinstance(result, Refused))
        self.assertEqual((error.code, error.call_id), (Code.EXTERNAL_KEY_USED, call_id))
        self.assertEqual((await self.refused()).call_id, call_id)
        self.assertEqual(len(self.asterisk.originated()), 1)

    async def test_a_known_key_is_told_even_without_asterisk(self) -> None:
        """Whoever asks again after a timeout learns that the call exists."""
        call_id = await self.make_call()
        self.switchboard.down()
        error = await self.refused()
        self.assertEqual((error.code, error.call_id), (Code.EXTERNAL_KEY_USED, call_id))

    async def test_a_clock_that_is_set(self) -> None:
        """How many calls a minute are too many is counted by no clock on a wall."""
        await self.start(self.log, parse(f"{CONFIG}operator_per_minute = 1"))
        await self.make_call()
        for by in (HOUR, -HOUR, -HOUR):
            self.wall.set(by)
            refused = await self.refused(external_key=f"another {self.wall.seconds()}")
            self.assertEqual(refused.code, Code.TOO_MANY_CALLS)
        self.clock.advance(60)
        refused = await self.refused(external_key="a third")
        self.assertEqual(refused.code, Code.OPERATOR_BUSY)

    async def test_phones_that_may_not_be_dialled(self) -> None:
        """A forbidden prefix, and one that is not among the allowed."""
        error = await self.refused(phone="380900000000")
        self.assertEqual((error.code, error.field), (Code.PHONE_NOT_ALLOWED, "phone"))
        config = parse(CONFIG + 'allowed_prefixes = ["38063"]')
        await self.start(self.log, config)
        self.assertEqual((await self.refused(phone="38044")).code, Code.PHONE_NOT_ALLOWED)
        await self.make_call()

    async def test_a_colleague_is_no_client(self) -> None:
        """No trunk is asked for an operator's number; one that is nobody's is a number."""
        error = await self.refused(phone="1003")
        self.assertEqual((error.code, error.field), (Code.PHONE_NOT_ALLOWED, "phone"))
        self.assertIsNone(error.call_id)
        await self.make_call(phone="1099")

    async def test_a_number_as_people_write_it(self) -> None:
        """It is dialled as the trunk wants it, told in its form, and kept as it was sent."""
        home = CONFIG.replace("[limits]", '[numbers]\ncountry = "ua"\ndial = "+e164"\n[limits]')
        await self.start(self.log, parse(home))
        call_id = await self.make_call(phone="(063) 992-00-00")
        (asked,) = self.asterisk.originated()
        variables = " ".join(asked["Variable"])  # type: ignore[arg-type]
        self.assertIn("CC_DIAL=PJSIP/+380639920000@trunk", variables)
        call = self.live.call(call_id)
        assert call is not None
        self.assertEqual((call.phone, call.sent), ("380639920000", "(063) 992-00-00"))

    async def test_a_ceiling(self) -> None:
        """Beyond limits.max_calls: refused, with a time to try again."""
        config = parse(CONFIG.replace("max_calls = 3", "max_calls = 1"))
        await self.start(self.log, config)
        await self.make_call()
        error = await self.refused(sip="1003", external_key="25")
        self.assertEqual((error.code, error.retry_after), (Code.TOO_MANY_CALLS, 5))

    async def test_how_long_is_told_and_given_back(self) -> None:
        """Asterisk ends the talk in time; what a dear call did not talk is free once it is over."""
        keys = "max_calls = 9\nextra_minutes_per_day = 10\nmax_duration = 500"
        home = '[numbers]\ncountry = "ua"\n[limits]'
        config = CONFIG.replace("max_calls = 3", keys).replace("[limits]", home)
        await self.start(self.log, parse(config))
        self.log.subscribe(self.switchboard.heard)
        dear = "48221234567"
        call_id = await self.make_call(phone=dear)
        self.assertIn("__CC_LONGEST=500", self.last_variables())
        asked = CallOptions(max_duration=20)
        await self.make_call(asked, phone=dear, sip="1003", external_key="25")
        self.assertIn("__CC_LONGEST=20", self.last_variables())
        amounts = self.parts.limits.amounts
        self.assertEqual(amounts._budget.left(self.clock.seconds()), 80)
        await self.talk(call_id)
        await self.turns()
        self.assertEqual(amounts._budget.left(self.clock.seconds()), 580)

    async def test_a_call_that_never_was_reserves_nothing(self) -> None:
        """Asterisk refuses it, or its operator is not there."""
        home = '[numbers]\ncountry = "ua"\n[limits]\nextra_minutes_per_day = 10'
        await self.start(self.log, parse(CONFIG.replace("[limits]", home)))
        self.asterisk.answer = ActionRefused("Extension does not exist.", response())
        for sip in ("1000", "1001"):
            made = self.make_call(phone="48221234567", sip=sip, external_key=sip)
            await self.fails(made, Refused)
            left = self.parts.limits.amounts._budget.left(self.clock.seconds())
            self.assertEqual(left, 600, sip)

    async def test_the_day_before_a_restart(self) -> None:
        """What was dialled then counts as long as it is not a day ago."""
        await self.talk(await self.make_call())
        await self.turns()
        config = parse(CONFIG.replace("max_calls = 3", "operator_per_day = 1"))
        await self.start(self.log, config)
        self.switchboard.remember(await self.log.dialled_since(0))
        error = await self.refused(external_key="25")
        self.assertEqual(error.code, Code.TOO_MANY_CALLS)
        self.clock.advance(86_400)
        await self.make_call(external_key="26")

    async def test_without_a_session(self) -> None:
        """No session: refused, no call, no key used."""
        self.switchboard.down()
        self.assertEqual((await self.refused()).code, Code.ASTERISK_UNAVAILABLE)
        self.switchboard.up()
        await self.make_call()

    async def test_what_asterisk_can_answer(self) -> None:
        """Said no, never written, written but unanswered: told as they are, never sent twice."""
        refused = ActionRefused("Extension does not exist.", response())
        for answer, code, end in (
            (refused, Code.ASTERISK_REFUSED, [State.CALL, State.ERROR]),
            (NotConnected("no"), Code.ASTERISK_UNAVAILABLE, [State.CALL, State.ERROR]),
        ):
            self.asterisk.answer = answer
            error = await self.refused(external_key=str(code))
            self.assertEqual(error.code, code)
            assert error.call_id is not None
            self.assertEqual(await self.chain(error.call_id), end)
        for lost in (ConnectionLost("gone"), ActionTimeout("Originate", 10)):
            self.asterisk.answer = lost
            sip = "1000" if isinstance(lost, ConnectionLost) else "1003"
            call_id = await self.make_call(sip=sip, external_key=type(lost).__name__)
            self.assertEqual(await self.chain(call_id), [State.CALL])
        self.assertEqual(len(self.asterisk.originated()), 4)

    async def test_an_unknown_operator_while_the_link_goes(self) -> None:
        """Asterisk cannot be asked about an operator nobody has heard of: unavailable."""
        self.asterisk.trouble = ConnectionLost("gone")
        self.assertEqual((await self.refused(sip="7777")).code, Code.ASTERISK_UNAVAILABLE)

    async def test_a_journal_that_cannot_take_it(self) -> None:
        """No numbers, or a journal that has stopped: not ready, nobody is called."""
        fresh = self.journal(self.state_dir / "fresh")
        await fresh.begin(0, [])
        await self.start(fresh, parse(CONFIG))
        self.assertEqual((await self.refused()).code, Code.NOT_READY)
        await fresh.stopService()
        self.assertEqual((await self.refused()).code, Code.NOT_READY)
        self.assertEqual(self.asterisk.originated(), [])


class OriginateFailedTests(SwitchboardCase):
    """Asterisk says that it could not bring up the operator's channel."""

    async def test_no_channel_was_born(self) -> None:
        """The operator is offline once a channel's birth would have been told."""
        call_id = await self.make_call()
        self.hear("OriginateResponse", Response="Failure", Reason="0", **self.anchor(call_id))
        self.clock.advance(BORN_WITHIN - 0.1)
        self.assertEqual(await self.chain(call_id), [State.CALL])
        self.clock.advance(0.1)
        self.assertEqual(await self.chain(call_id), [State.CALL, State.OPERATOR_OFFLINE])
        self.assertEqual(len(self.live), 0)

    async def test_a_channel_that_is_told_late(self) -> None:
        """Asterisk's own threads overtake each other: a birth told afterwards is one."""
        call_id = await self.make_call()
        anchor = self.anchor(call_id)
        self.hear("OriginateResponse", Response="Failure", Reason="0", **anchor)
        self.hear("Newchannel", Channel="PJSIP/1000-1", **anchor)
        self.clock.advance(BORN_WITHIN)
        self.hear("HangupRequest", **anchor)
        self.hear("Hangup", Cause="17", **anchor)
        self.assertEqual(
            await self.chain(call_id), [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_BUSY]
        )


class GapTests(SwitchboardCase):
    """Starting, and coming back after a gap."""

    def channel(self, ids: dict[str, str], name: str, state: str = "6", app: str = "") -> None:
        """A channel is live in Asterisk."""
        self.asterisk.channels.append(
            event("CoreShowChannel", Channel=name, ChannelState=state, Application=app, **ids)
        )

    async def test_restored_calls_go_on(self) -> None:
        """After a restart a call that is still up is caught up with, and ends as it should."""
        call_id = await self.make_call()
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        anchor = self.anchor(call_id)
        client = {"Uniqueid": "17.1", "Linkedid": anchor["Linkedid"]}
        self.channel(client, "PJSIP/trunk-2")
        self.channel(anchor, "PJSIP/1000-1", app="Dial")
        await self.session_up()
        self.assertEqual((await self.chain(call_id))[-1], State.CLIENT_PICKUP)
        self.hear("Hangup", Cause="16", **client)
        self.hear("Hangup", Cause="16", **anchor)
        self.assertEqual((await self.chain(call_id))[-1], State.FINISH)

    async def test_a_call_that_is_gone(self) -> None:
        """No channel at two looks: its end was not seen, and that is said."""
        call_id = await self.make_call()
        await self.session_up()
        self.assertEqual(await self.chain(call_id), [State.CALL])
        await self.wait_for_the_log()
        self.assertEqual(await self.chain(call_id), [State.CALL, State.ERROR])

    async def test_a_channel_that_was_just_on_its_way(self) -> None:
        """A channel that is there at the second look is not lost."""
        call_id = await self.make_call()
        await self.session_up()
        self.channel(self.anchor(call_id), "PJSIP/1000-1", state="5")
        await self.wait_for_the_log()
        self.assertEqual(await self.chain(call_id), [State.CALL, State.OPERATOR_CALLTO])

    async def test_recordings_are_waited_for_again(self) -> None:
        """After a restart the recordings of talks that have none yet are waited for."""
        one = await self.make_call()
        await self.talk(one)
        kept = replace(recording(one).record, uniqueid=self.anchor(one)["Uniqueid"])
        await self.log.append([RecordFact(kept)])
        self.recordings.expected.clear()
        two = await self.make_call(external_key="25")
        await self.talk(two)
        before = list(self.recordings.expected)
        self.recordings.expected.clear()
        await self.live.expect_recordings()
        self.assertEqual(self.recordings.expected, before)

    async def test_an_originate_that_never_was(self) -> None:
        """While the session stands a call without a channel is found within a minute."""
        await self.session_up()
        self.clock.advance(LOOK_EVERY)
        self.asterisk.answer = ActionTimeout("Originate", 10)
        call_id = await self.make_call()
        self.asterisk.trouble = ConnectionLost("gone")
        self.clock.advance(LOOK_EVERY)
        self.asterisk.trouble = None
        self.assertEqual(await self.chain(call_id), [State.CALL])
        self.clock.advance(LOOK_EVERY)
        await self.wait_for_the_log()
        self.assertEqual(await self.chain(call_id), [State.CALL, State.ERROR])

    async def test_nothing_to_restore(self) -> None:
        """A start without live calls looks once."""
        self.live.restore([])
        await self.session_up()
        self.assertEqual(len(self.live), 0)
