"""One AMI session: login, answers, lists, events, ping, and every way in which it ends."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.asterisk.ami_errors import (
    ActionRefused,
    ActionTimeout,
    AMIError,
    BootedLate,
    LinkLost,
    ListTooLong,
    LoginRefused,
    NotConnected,
    Silent,
    TooManyActions,
)
from ccdaemon.asterisk.ami_session import AMIProtocol
from ccdaemon.asterisk.ami_settings import Credentials, Settings
from ccdaemon.asterisk.wire import BadHeader, Limits, Message, MessageTooLarge, NotAsterisk
from tests.asterisk.far_end import FarEnd

CREDENTIALS = Credentials("user", "s3cret")


class SessionCase(SynchronousTestCase):
    """A session that is connected and was greeted."""

    settings = Settings()

    def setUp(self) -> None:
        """Connects."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.session = AMIProtocol(self.clock, self.settings)
        self.far_end = FarEnd(self.session)
        self.far_end.greet()

    def heard(self, name: str | None) -> list[Message]:
        """A list that the events called ``name`` will be put on."""
        events: list[Message] = []
        self.session.registerEvent(name, lambda session, event: events.append(event))
        return events

    def log_in(self) -> None:
        """Logs in with a plain secret."""
        done = Deferred.fromCoroutine(self.session.login(Credentials("u", "s", challenge=False)))
        self.far_end.answer()
        self.successResultOf(done)


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
        self.failureResultOf(done, LinkLost)
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
        self.far_end.say("Event: FullyBooted\nUptime: soon\n\n")
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(self.session.booted())))
        self.assertIsNone(self.session.booted_at)


class ActionTests(SessionCase):
    """Actions and their answers."""

    settings = Settings(most_pending=3, most_pending_bytes=400, most_entries=2)

    def test_answer(self) -> None:
        """An answer finds its action by its ActionID, in whatever order answers come."""
        first, second = self.session.ping(), self.session.ping()
        one, two = self.far_end.actions()
        self.far_end.say(f"Response: Success\nActionID: {two['ActionID']}\nN: 2\n\n")
        self.far_end.say(f"Response: Success\nActionID: {one['ActionID']}\nN: 1\n\n")
        self.assertEqual(self.successResultOf(first).get("N"), "1")
        self.assertEqual(self.successResultOf(second).get("N"), "2")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_action_ids_cannot_be_guessed(self) -> None:
        """Two sessions share no prefix, and no session repeats an ActionID."""
        other = FarEnd(session := AMIProtocol(self.clock))
        for _ in range(2):
            self.session.ping()
            session.ping()
        mine, theirs = self.far_end.actions(), other.actions()
        self.assertEqual(len({action["ActionID"] for action in mine + theirs}), 4)
        prefixes = {action["ActionID"].split("-")[0] for action in mine + theirs}
        self.assertEqual([len(prefix) for prefix in prefixes], [16, 16])

    def test_refused(self) -> None:
        """``Response: Error`` fails the action with Asterisk's words and the whole answer."""
        done = self.session.hangup("PJSIP/1")
        self.far_end.answer("Message: No such channel\n", "Error")
        error = self.failureResultOf(done, ActionRefused).value
        self.assertEqual((error.message, error.written), ("No such channel", True))
        self.assertEqual(error.response.get("Message"), "No such channel")
        self.assertEqual(self.session.counters.refused_actions, 1)

    def test_timeout(self) -> None:
        """An action without an answer fails after its time, and its answer then is counted."""
        done = self.session.sendAction("Ping", timeout=3)
        self.clock.advance(2.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        error = self.failureResultOf(done, ActionTimeout).value
        self.assertEqual((error.action, error.seconds, error.written), ("Ping", 3, True))
        self.far_end.answer()
        counters = self.session.counters
        self.assertEqual((counters.timeouts, counters.unmatched), (1, 1))

    def test_own_timeout(self) -> None:
        """Without a time of its own an action has the one of the settings."""
        done = self.session.ping()
        self.clock.advance(self.settings.action_timeout)
        self.failureResultOf(done, ActionTimeout)

    def test_cancel(self) -> None:
        """A cancelled action is forgotten, with its timer; it is not unsent."""
        done = self.session.ping()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.far_end.answer()
        self.assertEqual(self.session.counters.unmatched, 1)

    def test_bad_header(self) -> None:
        """What may not be sent is not sent, and fails by the field's name."""
        done = self.session.sendAction("Hangup", {"Channel": "x\r\nAction: Originate"})
        self.assertEqual(self.failureResultOf(done, BadHeader).value.field, "Channel")
        self.assertEqual(self.far_end.heard(), "")

    def test_too_many(self) -> None:
        """Past the bound an action is refused unsent; answers make room again."""
        waiting = [self.session.getVar(None, "A") for _ in range(3)]
        error = self.failureResultOf(self.session.getVar(None, "A"), TooManyActions).value
        self.assertFalse(error.written)
        actions = self.far_end.actions()
        self.assertEqual(len(actions), 3)
        self.far_end.say(f"Response: Success\nActionID: {actions[0]['ActionID']}\n\n")
        self.successResultOf(waiting[0])
        self.assertNoResult(self.session.getVar(None, "A"))

    def test_too_many_bytes(self) -> None:
        """The bytes of unanswered actions are bounded too: a peer may not read."""
        self.session.setVar(None, "A", "x" * 300)
        self.failureResultOf(self.session.setVar(None, "A", "x" * 100), TooManyActions)

    def test_ping_when_all_is_full(self) -> None:
        """A ping goes out just then."""
        for _ in range(3):
            self.session.getVar(None, "A")
        self.far_end.heard()
        self.session.ping()
        self.assertEqual(self.far_end.action()["Action"], "Ping")

    def test_list(self) -> None:
        """A list is its entries, in order; subscribers are not told them."""
        events = self.heard("CoreShowChannel")
        done = self.session.coreShowChannels()
        action_id = self.far_end.answer("EventList: start\n")["ActionID"]
        self.far_end.say(f"Event: CoreShowChannel\nActionID: {action_id}\nChannel: a\n\n")
        self.far_end.say("Event: CoreShowChannel\nChannel: somebody else's\n\n")
        self.far_end.say(f"Event: CoreShowChannel\nActionID: {action_id}\nChannel: b\n\n")
        self.assertNoResult(done)
        self.far_end.say(
            f"Event: CoreShowChannelsComplete\nActionID: {action_id}\nEventList: Complete\n\n"
        )
        self.assertEqual([entry.get("Channel") for entry in self.successResultOf(done)], ["a", "b"])
        self.assertEqual(len(events), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_list_refused(self) -> None:
        """A list that is refused fails like any action."""
        done = self.session.sendList("PJSIPShowEndpoints")
        self.far_end.answer("Message: Permission denied\n", "Error")
        self.failureResultOf(done, ActionRefused)

    def test_list_too_long(self) -> None:
        """A list past its bound fails, and what is left of it reaches no subscriber."""
        events = self.heard("E")
        done = self.session.sendList("L")
        action_id = self.far_end.answer()["ActionID"]
        self.far_end.say(f"Event: E\nActionID: {action_id}\n\n" * 3)
        self.failureResultOf(done, ListTooLong)
        self.far_end.say(f"Event: E\nActionID: {action_id}\n\n" * 3)
        self.far_end.say(f"Event: Done\nActionID: {action_id}\nEventList: Complete\n\n")
        self.assertEqual(events, [])
        self.far_end.say(f"Event: E\nActionID: {action_id}\n\n")
        self.assertEqual(len(events), 1)

    def test_list_timeout(self) -> None:
        """A list that does not end in time fails as a whole."""
        done = self.session.sendList("L", timeout=7, most=100)
        action_id = self.far_end.answer()["ActionID"]
        self.far_end.say(f"Event: E\nActionID: {action_id}\n\n" * 3)
        self.clock.advance(7)
        self.failureResultOf(done, ActionTimeout)

    def test_lists_given_up_are_bounded(self) -> None:
        """Not even the lists that were given up are remembered without a bound."""
        events = self.heard("E")
        action_ids = []
        for _ in range(4):
            self.session.sendList("L").addErrback(lambda _: None)
            action_ids.append(self.far_end.action()["ActionID"])
            self.clock.advance(self.settings.list_timeout)
        self.far_end.say("".join(f"Event: E\nActionID: {one}\n\n" for one in action_ids))
        self.assertEqual(len(events), 3)

    def test_originate_response_reaches_subscribers(self) -> None:
        """OriginateResponse has the action's ActionID, and is an event for whoever wants it."""
        events = self.heard("OriginateResponse")
        done = self.session.originate("PJSIP/1", application="Wait")
        action_id = self.far_end.answer()["ActionID"]
        self.successResultOf(done)
        self.far_end.say(f"Event: OriginateResponse\nActionID: {action_id}\n\n")
        self.assertEqual([event.get("ActionID") for event in events], [action_id])

    def test_response_to_nobody(self) -> None:
        """A response without an ActionID of ours is counted and dropped."""
        self.far_end.say("Response: Error\nMessage: Missing action in request\n\n")
        self.assertEqual(self.session.counters.unmatched, 1)


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

    settings = Settings(limits=Limits(message_bytes=1000))

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
            failure.trap(LinkLost)
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


class NamedActionTests(SessionCase):
    """The actions with names of their own."""

    def sent(self, done: Deferred[Any], more: str = "") -> dict[str, str]:
        """The action that was sent, without its id, after it was answered."""
        action = self.far_end.answer(more)
        self.result = self.successResultOf(done)
        del action["ActionID"]
        return action

    def test_originate(self) -> None:
        """Originate sends what it is given, times in milliseconds, always asynchronous."""
        done = self.session.originate(
            "PJSIP/1000",
            context="out",
            exten="380",
            priority=1,
            timeout=30.5,
            callerid="a <1>",
            account="acc",
            channelid="cc-1-o",
            otherchannelid="cc-1-p",
            variable={"A": "1"},
        )
        self.assertEqual(
            self.sent(done),
            {
                "Action": "Originate",
                "Channel": "PJSIP/1000",
                "Context": "out",
                "Exten": "380",
                "Priority": "1",
                "Timeout": "30500",
                "CallerID": "a <1>",
                "Account": "acc",
                "ChannelId": "cc-1-o",
                "OtherChannelId": "cc-1-p",
                "Async": "true",
                "Variable": "A=1",
            },
        )

    def test_originate_application(self) -> None:
        """Originate runs an application instead, and leaves out what it was not given."""
        done = self.session.originate("PJSIP/1", application="Wait", data="5")
        self.assertEqual(
            self.sent(done),
            {
                "Action": "Originate",
                "Channel": "PJSIP/1",
                "Application": "Wait",
                "Data": "5",
                "Async": "true",
            },
        )

    def test_originate_variables(self) -> None:
        """Each variable is a header, escaped so that Asterisk reads back the very value."""
        done = self.session.originate("P/1", variable={"A": 'x,"y" \\(z)', "CALLERID(num)": "[1]"})
        text = self.far_end.transport.value().decode()
        self.assertIn('Variable: A=x\\,\\"y\\" \\\\\\(z\\)\r\n', text)
        self.assertIn("Variable: CALLERID\\(num\\)=\\[1\\]\r\n", text)
        self.sent(done)

    def test_originate_refuses_names(self) -> None:
        """A variable's name that would set another one is refused, and nothing is sent."""
        for name in ("", "A=1,B"):
            done = self.session.originate("P/1", variable={name: "x"})
            self.failureResultOf(done, BadHeader)
        self.assertEqual(self.far_end.heard(), "")

    def test_hangup(self) -> None:
        """Hangup names the channel, and the cause if there is one."""
        self.assertEqual(self.sent(self.session.hangup("c")), {"Action": "Hangup", "Channel": "c"})
        self.assertEqual(self.sent(self.session.hangup("c", 17))["Cause"], "17")

    def test_variables(self) -> None:
        """A variable is read and set, on a channel or globally."""
        action = self.sent(self.session.getVar("c", "V"), "Value: x: y\n")
        self.assertEqual(action, {"Action": "Getvar", "Channel": "c", "Variable": "V"})
        self.assertEqual(self.result, "x: y")
        action = self.sent(self.session.setVar(None, "V", "x"))
        self.assertEqual(action, {"Action": "Setvar", "Variable": "V", "Value": "x"})

    def test_redirect(self) -> None:
        """One leg or two are sent to other places."""
        self.assertEqual(
            self.sent(self.session.redirect("c", "x", "s")),
            {"Action": "Redirect", "Channel": "c", "Context": "x", "Exten": "s", "Priority": "1"},
        )
        action = self.sent(self.session.redirect("c", "x", "s", "here", "d", "y", "t", 2))
        self.assertEqual(
            [action[f"Extra{name}"] for name in ("Channel", "Context", "Exten", "Priority")],
            ["d", "y", "t", "2"],
        )

    def test_command(self) -> None:
        """A command gives the lines it prints, blanks at their start included."""
        self.sent(self.session.command("core show x"), "Output: a\nOutput:   b\n")
        self.assertEqual(self.result, ("a", "  b"))

    def test_logoff(self) -> None:
        """Logoff is answered with Goodbye, which is no error."""
        done = self.session.logoff()
        self.far_end.answer("Message: Thanks for all the fish.\n", "Goodbye")
        self.assertEqual(self.successResultOf(done).name, "Goodbye")
