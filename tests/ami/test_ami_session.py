"""One AMI session: login, events, ping, and every way in which it ends."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone

from ccdaemon.ami.ami_errors import (
    AMIError,
    BootedLate,
    ConnectionLost,
    LoginRefused,
    Malformed,
    NotConnected,
    Silent,
)
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings, Credentials
from ccdaemon.ami.ami_wire import Message, MessageTooLarge, NotAsterisk, WireLimits
from tests.ami.far_end import FarEnd
from tests.ami.session_case import SessionCase

CREDENTIALS = Credentials("user", "s3cret")


class LoginTests(SessionCase):
    """From the greeting to FullyBooted."""

    def test_challenge(self) -> None:
        """The secret is proved by MD5 over the challenge, and never sent."""
        done = Deferred.fromCoroutine(self.session.login(CREDENTIALS))
        challenge = self.far_end.answer("Challenge: 123\n")
        self.assertEqual((challenge["Action"], challenge["AuthType"]), ("Challenge", "MD5"))
        login = self.far_end.answer()
        key = hashlib.md5(b"123s3cret").hexdigest()
        self.assertEqual(
            {name: value for name, value in login.items() if name != "ActionID"},
            {"Action": "Login", "Username": "user", "AuthType": "MD5", "Key": key},
        )
        self.assertIsNone(self.successResultOf(done))

    def test_plain(self) -> None:
        """A plain login sends the secret in one action."""
        credentials = Credentials("user", "s3cret", challenge=False)
        done = Deferred.fromCoroutine(self.session.login(credentials))
        login = self.far_end.answer()
        self.assertEqual((login["Username"], login["Secret"]), ("user", "s3cret"))
        self.assertIsNone(self.successResultOf(done))

    def test_secret_is_not_shown(self) -> None:
        """The secret is in no repr."""
        self.assertNotIn("s3cret", repr(CREDENTIALS))

    def test_refused(self) -> None:
        """A refused login says so in Asterisk's words."""
        done = Deferred.fromCoroutine(self.session.login(CREDENTIALS))
        self.far_end.answer("Challenge: 1\n")
        self.far_end.answer("Message: Authentication failed\n", "Error")
        self.assertEqual(
            str(self.failureResultOf(done, LoginRefused).value), "Authentication failed"
        )

    def test_nothing_is_sent_before_the_greeting(self) -> None:
        """Nothing, least of all a secret, goes to a peer that has not greeted."""
        session = AMIProtocol(self.clock)
        far_end = FarEnd(session)
        done = Deferred.fromCoroutine(session.login(Credentials("u", "s", challenge=False)))
        self.assertEqual(far_end.heard(), "")
        far_end.greet()
        far_end.answer()
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(session.version, "11.0.0")

    def test_no_greeting(self) -> None:
        """A peer that does not greet in time is given up."""
        session = AMIProtocol(self.clock)
        FarEnd(session)
        done = Deferred.fromCoroutine(session.login(CREDENTIALS))
        self.clock.advance(self.settings.banner_timeout)
        self.assertEqual(self.failureResultOf(done, Silent).value.awaited, "greeting")

    def test_link_lost_before_the_greeting(self) -> None:
        """A link lost before the greeting (authlimit) fails the login at once."""
        session = AMIProtocol(self.clock)
        far_end = FarEnd(session)
        done = Deferred.fromCoroutine(session.login(CREDENTIALS))
        far_end.hang_up()
        self.failureResultOf(done, ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_fully_booted(self) -> None:
        """FullyBooted tells when Asterisk started, wherever in the stream it comes."""
        self.far_end.say("Event: FullyBooted\nUptime: 275\n\n")
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.session.booted())))
        self.assertEqual(self.session.booted_at, 1000 - 275)

    def test_still_booting(self) -> None:
        """While Asterisk boots its lists are empty, so FullyBooted is waited for."""
        done = Deferred.fromCoroutine(self.session.booted())
        self.clock.advance(self.settings.boot_wait - 0.1)
        self.assertNoResult(done)
        self.far_end.say("Event: FullyBooted\nUptime: 0\n\n")
        self.assertTrue(self.successResultOf(done))

    def test_link_lost_while_booting(self) -> None:
        """A link lost before FullyBooted ends the wait at once."""
        done = Deferred.fromCoroutine(self.session.booted())
        self.far_end.hang_up()
        self.failureResultOf(done, ConnectionLost)

    def test_never_fully_booted(self) -> None:
        """A user without read class system is told nothing: the session goes on without."""
        done = Deferred.fromCoroutine(self.session.booted())
        self.clock.advance(self.settings.boot_wait)
        self.assertFalse(self.successResultOf(done))
        self.assertIsNone(self.session.booted_at)
        self.assertFalse(self.far_end.dropped)

    def test_fully_booted_too_late(self) -> None:
        """FullyBooted after all means that too much was believed: the session starts anew."""
        Deferred.fromCoroutine(self.session.booted())
        self.clock.advance(self.settings.boot_wait)
        self.far_end.say("Event: FullyBooted\nUptime: 0\n\n")
        self.assertTrue(self.far_end.dropped)
        self.assertIsInstance(self.session.why_lost, BootedLate)

    def test_uptime_that_is_none(self) -> None:
        """FullyBooted with no number in it still says that Asterisk has booted."""
        for uptime in ("soon", "9" * 5000):
            self.far_end.say(f"Event: FullyBooted\nUptime: {uptime}\n\n")
            self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.session.booted())))
            self.assertIsNone(self.session.booted_at)


class EventTests(SessionCase):
    """Events and their subscribers."""

    def test_order(self) -> None:
        """Events of one chunk are told in their order."""
        events = self.heard("E")
        self.far_end.say("Event: E\nN: 1\n\nEvent: E\nN: 2\n\nEvent: E\nN: 3\n\n")
        self.assertEqual([event.get("N") for event in events], ["1", "2", "3"])

    def test_unwanted(self) -> None:
        """What nobody subscribed to is counted as unwanted."""
        self.heard("E")
        self.far_end.say("Event: E\n\nEvent: F\n\nEvent: F\n\n")
        counters = self.session.counters
        self.assertEqual((counters.events, counters.unwanted), (1, 2))

    def test_every_event(self) -> None:
        """None stands for every event."""
        events = self.heard(None)
        self.far_end.say("Event: E\n\nEvent: F\n\n")
        self.assertEqual([event.name for event in events], ["E", "F"])

    def test_deregister_one(self) -> None:
        """One function is deregistered, the other still hears; the rest is not even parsed."""
        heard: list[str] = []

        def one(session: AMIProtocol, event: Message) -> None:
            heard.append("one")

        def two(session: AMIProtocol, event: Message) -> None:
            heard.append("two")

        self.session.registerEvent("E", one)
        self.session.registerEvent("E", two)
        self.session.deregisterEvent("E", one)
        self.far_end.say("Event: E\n\n")
        self.assertEqual(heard, ["two"])
        self.session.deregisterEvent("E")
        self.session.deregisterEvent("E", two)
        self.far_end.say("Event: E\n\n")
        self.assertEqual(heard, ["two"])
        self.assertEqual(self.session.counters.unwanted, 1)

    def test_subscriber_gets_the_session(self) -> None:
        """A subscriber is called with the session, as in starpy."""
        sessions: list[AMIProtocol] = []
        self.session.registerEvent("E", lambda session, event: sessions.append(session))
        self.far_end.say("Event: E\n\n")
        self.assertEqual(sessions, [self.session])


class EndTests(SessionCase):
    """Every way in which a session ends."""

    settings = AMISettings(limits=WireLimits(message_bytes=1000))

    def test_link_lost(self) -> None:
        """When the link goes every unanswered action fails, its fate unknown, in order."""
        failed: list[Any] = []
        for name in ("One", "Two"):
            self.session.sendAction(name).addErrback(failed.append)
        self.session.sendList("Three").addErrback(failed.append)
        self.far_end.hang_up()
        self.assertEqual(
            [str(failure.value).split(":")[0] for failure in failed], ["One", "Two", "Three"]
        )
        for failure in failed:
            failure.trap(ConnectionLost)
            self.assertTrue(failure.value.written)
        self.assertIsInstance(self.session.why_lost, ConnectionDone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_no_action_without_a_link(self) -> None:
        """Before and after the link an action fails at once, unwritten."""
        self.far_end.hang_up()
        for session in (self.session, AMIProtocol(self.clock)):
            error = self.failureResultOf(session.ping(), NotConnected).value
            self.assertFalse(error.written)
            self.assertIsInstance(error, AMIError)

    def test_watchers(self) -> None:
        """Watchers hear of the end after the actions have failed."""
        told: list[str] = []
        self.session.ping().addErrback(lambda _: told.append("action"))
        self.session.when_lost(lambda: told.append("watcher"))
        self.far_end.hang_up()
        self.assertEqual(told, ["action", "watcher"])

    def test_ping(self) -> None:
        """After the login a ping goes out in each interval while answers come."""
        self.log_in()
        for _ in range(3):
            self.clock.advance(self.settings.ping_interval)
            self.assertEqual(self.far_end.answer()["Action"], "Ping")
        self.assertFalse(self.far_end.dropped)

    def test_half_open(self) -> None:
        """A ping without an answer drops the link, whatever is still unsent."""
        self.log_in()
        self.clock.advance(self.settings.ping_interval)
        self.clock.advance(self.settings.ping_timeout)
        self.assertTrue(self.far_end.dropped)
        self.assertIsInstance(self.session.why_lost, Silent)
        self.far_end.hang_up()
        self.assertIsInstance(self.session.why_lost, Silent)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refused_ping_is_a_sign_of_life(self) -> None:
        """Any answer to a ping will do."""
        self.log_in()
        self.clock.advance(self.settings.ping_interval)
        self.far_end.answer("Message: no\n", "Error")
        self.assertFalse(self.far_end.dropped)

    def test_no_ping_after_the_end(self) -> None:
        """The end of the link ends the pings."""
        self.log_in()
        self.far_end.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_asterisk(self) -> None:
        """A peer that is no Asterisk is dropped and counted; nothing more of it is read."""
        session = AMIProtocol(self.clock)
        far_end = FarEnd(session)
        far_end.say("SSH-2.0-OpenSSH_9.2\n")
        far_end.say("Asterisk Call Manager/1\n")
        self.assertTrue(far_end.dropped)
        self.assertIsInstance(session.why_lost, NotAsterisk)
        self.assertEqual((session.counters.garbage, session.version), (1, None))

    def test_message_too_large(self) -> None:
        """A message past its bound drops the link, after what came before it was told."""
        events = self.heard("E")
        self.far_end.say("Event: E\n\nEvent: F\nA: " + "x" * 2000)
        self.assertTrue(self.far_end.dropped)
        self.assertIsInstance(self.session.why_lost, MessageTooLarge)
        self.assertEqual(len(events), 1)

    def test_nothing_is_read_after_the_decision(self) -> None:
        """A session that was aborted tells no more events."""
        events = self.heard("E")
        self.session.abort(Silent("x", 1))
        self.session.abort(Silent("y", 1))
        self.far_end.say("Event: E\n\n")
        self.assertEqual(events, [])
        self.assertEqual(str(self.session.why_lost), "no x within 1 s")

    def test_abort_before_the_link(self) -> None:
        """A session that never had a link can be given up."""
        session = AMIProtocol(self.clock)
        session.abort(Silent("x", 1))
        self.failureResultOf(session.ping(), NotConnected)


class GarbledTests(SessionCase):
    """Something comes that is no AMI, and the next session reads up what it may have hidden."""

    def test_ends(self) -> None:
        """A message that is none, or a NUL, ends a session that has stood for a while."""
        for garbage in ("junk\n\n", "Event: E\nA: b\0c\n\n"):
            self.setUp()
            self.clock.advance(self.settings.garbled_after)
            self.far_end.say(garbage)
            self.clock.advance(0)
            self.assertTrue(self.far_end.dropped)
            self.assertIsInstance(self.session.why_lost, Malformed)
            self.assertEqual(self.session.counters.garbage, 1)

    def test_not_at_once(self) -> None:
        """A session that has just begun goes on for a while, so that there is no storm of them."""
        events = self.heard("E")
        self.far_end.say("junk\n\nmore\n\nEvent: E\n\n")
        self.clock.advance(self.settings.garbled_after - 0.1)
        self.assertFalse(self.far_end.dropped)
        self.assertEqual(len(events), 1)
        self.clock.advance(0.1)
        self.assertTrue(self.far_end.dropped)

    def test_lost_before(self) -> None:
        """Where the link goes before, nothing is left to be done."""
        self.far_end.say("junk\n\n")
        self.far_end.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_asterisk_says(self) -> None:
        """Caller names in another alphabet, and lines without a colon, are no garbage."""
        self.clock.advance(self.settings.garbled_after)
        self.session.dataReceived(b"Event: E\r\nCallerIDName: M\xfcller\r\nbare\r\n\r\n")
        self.clock.advance(0)
        self.assertFalse(self.far_end.dropped)
