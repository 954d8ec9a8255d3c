"""Presence: the operators are what Asterisk says, after a start, a gap and a reload alike."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_errors import ConnectionLost
from ccdaemon.config.validators import Pattern
from ccdaemon.operators import Operators, Status
from ccdaemon.pbx.endpoints import Endpoints
from ccdaemon.store.facts import Fact, OperatorFact
from ccdaemon.store.failures import JournalBroken
from ccdaemon.tracking.presence import AFTER_RELOAD, LOOK_EVERY, Presence
from tests.clocks import Wall
from tests.fake_asterisk import FakeAsterisk, event


class PresenceCase(SynchronousTestCase):
    """A presence over a fake Asterisk with two PJSIP phones."""

    channel = "PJSIP/{sip}"

    def setUp(self) -> None:
        """1000 is registered, 1001 is not; neither a trunk nor a hall phone is an operator."""
        self.clock = Clock()
        self.asterisk = FakeAsterisk()
        self.asterisk.endpoints = {"1000", "1001", "trunk"}
        self.asterisk.devices = {
            "PJSIP/1000": "NOT_INUSE",
            "PJSIP/1001": "UNAVAILABLE",
            "PJSIP/trunk": "NOT_INUSE",
            "SIP/1002": "NOT_INUSE",
        }
        self.facts: list[Fact] = []
        self.broken: Exception | None = None
        self.presence = Presence(
            Endpoints([self.channel], Pattern("[0-9]{4}")),
            Operators(),
            self.keep,
            {"1000": 12}.get,
            Wall(self.clock),
        )

    def keep(self, facts: list[Fact]) -> Deferred[list[int]]:
        """Stand for the journal."""
        if self.broken is not None:
            return fail(self.broken)
        self.facts += facts
        return succeed([])

    def up(self) -> None:
        """Begin a session."""
        self.successResultOf(Deferred.fromCoroutine(self.presence.up(self.asterisk)))

    def now(self) -> dict[str, str]:
        """Every operator's status."""
        return {view.sip: view.status.value for view in self.presence.operators()}

    def told(self) -> list[tuple[str, str]]:
        """What went to the journal since last asked."""
        facts, self.facts[:] = list(self.facts), []
        changes = [fact.change for fact in facts if isinstance(fact, OperatorFact)]
        return [(change.sip, change.state.value) for change in changes]


class PjsipTests(PresenceCase):
    """PJSIP phones."""

    def test_the_first_look(self) -> None:
        """Everybody who matches the pattern is known, with the call they are on."""
        self.up()
        self.assertEqual(self.now(), {"1000": "online", "1001": "offline"})
        self.assertEqual(self.told(), [("1000", "online"), ("1001", "offline")])
        self.assertEqual(self.presence.operators()[0].call_id, 12)

    def test_nobody_is_known_before_it(self) -> None:
        """What is told before the first whole look is no list of the operators; a gap keeps it."""
        self.presence.device_changed(
            event("DeviceStateChange", Device="PJSIP/1000", State="RINGING")
        )
        self.assertFalse(self.presence.are_known)
        self.up()
        self.assertTrue(self.presence.are_known)
        self.presence.down("no session")
        self.assertTrue(self.presence.are_known)

    def test_events_are_followed(self) -> None:
        """A change of a device is one row; an echo or a trunk is none."""
        self.up()
        self.told()
        for device, state in (
            ("PJSIP/1000", "RINGING"),
            ("PJSIP/1000", "RINGING"),
            ("PJSIP/trunk", "INUSE"),
            ("PJSIP/1001", "NOT_INUSE"),
        ):
            self.presence.device_changed(event("DeviceStateChange", Device=device, State=state))
        self.assertEqual(self.told(), [("1000", "inuse"), ("1001", "online")])

    def goes(self, state: str = "UNAVAILABLE") -> None:
        """Operator 1000 is told to have gone offline."""
        gone = event("DeviceStateChange", Device="PJSIP/1000", State=state)
        self.presence.device_changed(gone)

    def test_one_event_takes_nobody_offline(self) -> None:
        """Asterisk is asked: who is there stays, and whoever looks after what is forged is told."""
        forged: list[str] = []
        self.presence.on_forged = forged.append
        self.up()
        self.told()
        for state in ("UNAVAILABLE", "INVALID"):
            self.goes(state)
        self.assertEqual((self.now()["1000"], self.told()), ("online", []))
        self.assertEqual(forged, ["PJSIP/1000", "PJSIP/1000"])

    def test_who_has_gone_is_offline(self) -> None:
        """It is as it was told; who was offline before is not asked about."""
        self.up()
        self.told()
        self.asterisk.devices["PJSIP/1000"] = "UNAVAILABLE"
        self.goes()
        self.assertEqual(self.told(), [("1000", "offline")])
        asked = len(self.asterisk.asked)
        self.goes("INVALID")
        self.assertEqual(len(self.asterisk.asked), asked)

    def test_who_comes_back_meanwhile(self) -> None:
        """A younger event wins over the question; a session that ends leaves nothing behind."""
        self.up()
        self.told()
        self.patch(self.asterisk, "sendAction", lambda *_, **__: Deferred())
        self.goes()
        back = event("DeviceStateChange", Device="PJSIP/1000", State="RINGING")
        self.presence.device_changed(back)
        self.assertEqual(self.told(), [("1000", "inuse")])
        self.goes()
        self.presence.end()
        self.assertEqual(self.told(), [])

    def test_an_answer_that_does_not_come(self) -> None:
        """The event is believed."""
        self.up()
        self.told()
        self.asterisk.trouble = ConnectionLost("gone")
        self.goes()
        self.assertEqual(self.told(), [("1000", "offline")])

    def test_a_stale_cache_is_not_believed(self) -> None:
        """An endpoint that was removed stays in DeviceStateList, but not in sipList."""
        self.asterisk.endpoints.discard("1001")
        self.up()
        self.assertEqual(self.now(), {"1000": "online"})

    def test_a_reload_adds_and_removes(self) -> None:
        """After a reload a new number near the others appears, a removed one goes."""
        self.up()
        self.told()
        self.asterisk.endpoints = {"1000", "1007"}
        self.presence.reloaded(event("Reload", Module="All"))
        self.presence.reloaded(event("Reload", Module="res_pjsip.so"))
        self.clock.advance(AFTER_RELOAD)
        self.assertEqual(self.now(), {"1000": "online", "1007": "offline"})
        self.assertEqual(self.told(), [("1001", "offline"), ("1007", "offline")])

    def test_too_many_places_to_search(self) -> None:
        """Where the known numbers lie far apart, none is guessed at: it would be thousands."""
        far = {f"{number:04d}" for number in range(0, 10_000, 100)}
        self.asterisk.endpoints = far
        self.asterisk.devices = {f"PJSIP/{sip}": "NOT_INUSE" for sip in far}
        self.up()
        self.assertEqual(set(self.now()), far)
        self.assertLess(len(self.asterisk.asked), 200)

    def test_the_minute_look(self) -> None:
        """What nobody told is found within a minute, and looked for ever after."""
        self.up()
        for state in ("INUSE", "NOT_INUSE"):
            self.asterisk.devices["PJSIP/1000"] = state
            self.clock.advance(LOOK_EVERY)
            self.assertEqual(self.now()["1000"], {"INUSE": "inuse"}.get(state, "online"))

    def test_what_is_told_while_asking_is_younger(self) -> None:
        """An event that comes during a look wins over the look's older answer."""
        self.up()
        waiting: Deferred[tuple[object, ...]] = Deferred()
        real = self.asterisk.sendList
        self.patch(self.asterisk, "sendList", lambda *_, **__: waiting)
        self.clock.advance(LOOK_EVERY)
        self.presence.device_changed(
            event("DeviceStateChange", Device="PJSIP/1000", State="RINGING")
        )
        waiting.callback(self.successResultOf(real("DeviceStateList")))
        self.assertEqual(self.now()["1000"], "inuse")

    def test_one_who_appears_during_a_look(self) -> None:
        """A new operator whose phone tells of itself meanwhile is not told as removed."""
        self.up()
        self.told()
        waiting: Deferred[tuple[object, ...]] = Deferred()
        real = self.asterisk.sendList
        self.patch(self.asterisk, "sendList", lambda *_, **__: waiting)
        self.clock.advance(LOOK_EVERY)
        before = self.successResultOf(real("DeviceStateList"))
        self.asterisk.endpoints |= {"4004", "5005"}
        for state in ("UNAVAILABLE", "NOT_INUSE"):
            self.presence.device_changed(
                event("DeviceStateChange", Device="PJSIP/4004", State=state)
            )
        asked_for = Deferred.fromCoroutine(self.presence.status("5005"))
        self.assertIs(self.successResultOf(asked_for), Status.OFFLINE)
        waiting.callback(before)
        self.assertEqual(self.now()["4004"], "online")
        self.assertEqual(self.now()["5005"], "offline")
        rows = [("4004", "offline"), ("4004", "online"), ("5005", "offline")]
        self.assertEqual(self.told(), rows)
        # Whoever is not there after all is gone by the next look.
        self.asterisk.endpoints.discard("4004")
        self.patch(self.asterisk, "sendList", real)
        self.clock.advance(LOOK_EVERY)
        self.assertNotIn("4004", self.now())

    def test_only_one_look_at_a_time(self) -> None:
        """A reload during a look is looked at after it."""
        self.up()
        waiting: Deferred[tuple[object, ...]] = Deferred()
        real = self.asterisk.sendList
        self.patch(self.asterisk, "sendList", lambda *_, **__: waiting)
        self.clock.advance(LOOK_EVERY)
        self.presence.reloaded(event("Reload"))
        self.clock.advance(AFTER_RELOAD)
        self.asterisk.endpoints.add("1003")
        self.patch(self.asterisk, "sendList", real)
        waiting.callback(self.successResultOf(real("DeviceStateList")))
        self.assertNotIn("1003", self.now())
        self.presence.reloaded(event("Reload"))
        self.clock.advance(AFTER_RELOAD)
        self.assertIn("1003", self.now())

    def test_no_session(self) -> None:
        """While nobody can look the last status stands, stale; looking stops; one row says so."""
        self.up()
        self.told()
        self.presence.down("no session")
        self.assertEqual(self.told(), [("1000", "unknown"), ("1001", "unknown")])
        self.assertTrue(all(view.stale for view in self.presence.operators()))
        asked = len(self.asterisk.asked)
        self.presence.reloaded(event("Reload"))
        self.clock.advance(10 * LOOK_EVERY)
        self.assertEqual(len(self.asterisk.asked), asked)
        self.up()
        self.assertEqual(self.told(), [("1000", "online"), ("1001", "offline")])

    def test_the_end(self) -> None:
        """When the daemon ends, looking ends, and no row says so."""
        self.up()
        self.told()
        self.presence.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told(), [])

    def test_the_session_goes_during_a_look(self) -> None:
        """A look that is under way ends with its session."""
        self.up()
        self.patch(self.asterisk, "sendList", lambda *_, **__: Deferred())
        self.clock.advance(LOOK_EVERY)
        self.presence.down("no session")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_look_that_fails(self) -> None:
        """A failed look is tried again; at the start of a session it fails the session."""
        self.up()
        self.asterisk.trouble = ConnectionLost("gone")
        self.clock.advance(LOOK_EVERY)
        self.asterisk.trouble = None
        self.asterisk.devices["PJSIP/1000"] = "INUSE"
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.now()["1000"], "inuse")
        self.asterisk.trouble = ConnectionLost("gone")
        self.failureResultOf(
            Deferred.fromCoroutine(self.presence.up(self.asterisk)), ConnectionLost
        )

    def test_an_operator_nobody_has_heard_of(self) -> None:
        """Asked for by a makeCall they are found, if Asterisk has them."""

        def status(sip: str) -> Status | None:
            return self.successResultOf(Deferred.fromCoroutine(self.presence.status(sip)))

        self.assertIsNone(status("5000"))
        self.up()
        self.asterisk.endpoints.add("5000")
        self.assertIs(status("5000"), Status.OFFLINE)
        self.assertIs(status("1000"), Status.ONLINE)
        self.assertIsNone(status("6000"))
        self.assertIn("5000", self.now())

    def test_an_invalid_stranger(self) -> None:
        """Asking for a device that is not there makes Asterisk tell of it: it is nobody."""
        self.up()
        self.presence.device_changed(
            event("DeviceStateChange", Device="PJSIP/6000", State="INVALID")
        )
        self.assertNotIn("6000", self.now())

    def test_a_journal_that_is_gone(self) -> None:
        """What cannot be kept is still known, and logged."""
        self.broken = JournalBroken("disk full")
        self.up()
        self.assertEqual(self.now(), {"1000": "online", "1001": "offline"})

    def test_a_state_that_is_stuck(self) -> None:
        """In use for a minute and more, and no channel is theirs: they can be dialled."""
        self.asterisk.devices["PJSIP/1001"] = "INUSE"
        self.up()
        self.clock.advance(LOOK_EVERY / 2)
        self.asterisk.channels = [event("CoreShowChannel", Channel="PJSIP/1001-00000001")]
        self.presence.look_anew()
        for _ in range(3):
            self.clock.advance(LOOK_EVERY)
            self.assertEqual(self.now()["1001"], "inuse")
        self.asterisk.channels = []
        for _ in range(2):
            self.clock.advance(LOOK_EVERY)
            self.assertEqual(self.now()["1001"], "online")
        self.assertEqual(self.told()[-1], ("1001", "online"))
        [view] = [one for one in self.presence.operators() if one.sip == "1001"]
        self.assertEqual(view.device_state, "INUSE")
        # Whatever is told of them then is believed again.
        self.presence.device_changed(
            event("DeviceStateChange", Device="PJSIP/1001", State="RINGING")
        )
        self.assertEqual(self.now()["1001"], "inuse")

    def test_who_is_on_a_call_of_ours_is_not_stuck(self) -> None:
        """Whatever their channel is called."""
        self.asterisk.devices["PJSIP/1000"] = "INUSE"
        self.up()
        for _ in range(3):
            self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.now()["1000"], "inuse")


class ChanSipTests(PresenceCase):
    """chan_sip peers."""

    channel = "SIP/{sip}"

    def test_peers_that_are_not_in_the_cache(self) -> None:
        """DeviceStateList knows a chan_sip peer only once it was used: SIPpeers knows them all."""
        self.asterisk.peers = {"1002", "1003", "trunk"}
        self.up()
        self.assertEqual(self.now(), {"1002": "online", "1003": "offline"})

    def test_a_peer_that_was_removed(self) -> None:
        """sip reload tells nothing; the next look finds who is gone."""
        self.asterisk.peers = {"1002", "1003"}
        self.up()
        self.asterisk.peers = {"1003"}
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.now(), {"1003": "offline"})

    def test_a_stranger_among_peers(self) -> None:
        """That there are others says nothing of who is asked for."""
        self.asterisk.peers = {"1002", "1003"}
        self.up()
        stranger = Deferred.fromCoroutine(self.presence.status("6000"))
        self.assertIsNone(self.successResultOf(stranger))


class OtherTechnologyTests(PresenceCase):
    """Extensions of the dialplan, which have device states, too."""

    channel = "Local/{sip}@operators"

    def test_the_cache_is_all_there_is(self) -> None:
        """What DeviceStateList names is there if it is an extension; a stranger, too."""
        self.asterisk.extensions = {"operators,1000,1"}
        self.asterisk.devices = {"Local/1000@operators": "NOT_INUSE", "Local/@operators": "INUSE"}
        self.up()
        self.assertEqual(self.now(), {"1000": "online"})
        stranger = Deferred.fromCoroutine(self.presence.status("6000"))
        self.assertIsNone(self.successResultOf(stranger))


class SeveralPhonesTests(PresenceCase):
    """A desk phone with a prefix, a web phone beside it."""

    channels = ("PJSIP/T2_{sip}", "PJSIP/{sip}-WS")

    def setUp(self) -> None:
        """1000 has both, 1001 a web phone alone."""
        super().setUp()
        self.asterisk.endpoints = {"T2_1000", "1000-WS", "1001-WS"}
        self.asterisk.devices = {"PJSIP/T2_1000": "UNAVAILABLE", "PJSIP/1001-WS": "NOT_INUSE"}
        self.asterisk.devices["Custom:DND1001"] = "INUSE"
        self.presence = Presence(
            Endpoints(self.channels, Pattern("[0-9]{4}"), dnd="Custom:DND{sip}"),
            Operators(),
            self.keep,
            {"1000": 12}.get,
            Wall(self.clock),
        )

    def hear(self, device: str, state: str) -> None:
        """Asterisk tells of a device."""
        self.presence.device_changed(event("DeviceStateChange", Device=device, State=state))

    def test_presence_is_the_sum(self) -> None:
        """An operator is what all their devices are together."""
        self.up()
        self.assertEqual(self.now(), {"1000": "offline", "1001": "paused"})
        for device, state, status in (
            ("PJSIP/1000-WS", "NOT_INUSE", "online"),
            ("PJSIP/T2_1000", "NOT_INUSE", "online"),
            ("PJSIP/T2_1000", "INUSE", "inuse"),
            ("PJSIP/1000-WS", "UNAVAILABLE", "inuse"),
            ("PJSIP/T2_1000", "UNAVAILABLE", "offline"),
        ):
            self.hear(device, state)
            self.assertEqual(self.now()["1000"], status, (device, state))

    def test_what_is_dialled(self) -> None:
        """The phones that are there."""
        self.up()
        self.assertEqual(self.presence.dialled("1001"), ("PJSIP/1001-WS",))
        self.hear("PJSIP/1000-WS", "NOT_INUSE")
        self.assertEqual(self.presence.dialled("1000"), ("PJSIP/1000-WS",))
        self.hear("PJSIP/T2_1000", "NOT_INUSE")
        self.assertEqual(self.presence.dialled("1000"), ("PJSIP/T2_1000", "PJSIP/1000-WS"))

    def test_do_not_disturb(self) -> None:
        """It pauses, and ends its own pause alone."""
        self.up()
        self.hear("Custom:DND1001", "NOT_INUSE")
        self.assertEqual(self.now()["1001"], "online")
        self.hear("Custom:DND1001", "INUSE")
        self.assertEqual(self.now()["1001"], "paused")
        self.assertEqual(self.told()[-1], ("1001", "paused"))

    def test_nothing_is_asked_that_asterisk_logs(self) -> None:
        """Whether an endpoint is there is asked of those alone that have a device state."""
        self.up()
        self.presence.reloaded(event("Reload"))
        self.clock.advance(AFTER_RELOAD)
        asked = [str(headers.get("Variable")) for _, headers in self.asterisk.asked]
        endpoints = {one for one in asked if one.startswith("PJSIP_ENDPOINT")}
        names = ("T2_1000", "1000-WS", "1001-WS")
        self.assertEqual(endpoints, {f"PJSIP_ENDPOINT({name},context)" for name in names})

    def test_a_removed_endpoint_is_asked_for_once(self) -> None:
        """The cache has it for ever; it is asked for again once its state changes."""
        self.asterisk.endpoints.discard("1001-WS")
        self.up()
        self.clock.advance(LOOK_EVERY)
        self.clock.advance(LOOK_EVERY)
        asked = [headers.get("Variable") for _, headers in self.asterisk.asked]
        self.assertEqual(asked.count("PJSIP_ENDPOINT(1001-WS,context)"), 1)
        self.assertEqual(self.now(), {"1000": "offline"})


class ElsewhereTests(PresenceCase):
    """Phones that another server knows."""

    def test_unknown_and_dialled(self) -> None:
        """Who is named is there; whoever else is asked for is, too, and in use while on a call."""
        self.presence = Presence(
            Endpoints(["PJSIP/{sip}@far"], Pattern("[0-9]{4}"), named=["1001"]),
            Operators(),
            self.keep,
            {"1000": 12}.get,
            Wall(self.clock),
        )
        self.up()
        self.assertEqual(self.now(), {"1001": "unknown"})
        for sip, status in (("1005", Status.UNKNOWN), ("1000", Status.INUSE)):
            asking = Deferred.fromCoroutine(self.presence.status(sip))
            self.assertIs(self.successResultOf(asking), status)
        self.assertEqual(self.presence.dialled("1005"), ("PJSIP/1005@far",))
        self.clock.advance(LOOK_EVERY)
        self.assertEqual(self.now()["1005"], "unknown")
