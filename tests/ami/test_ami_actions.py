"""Actions of an AMI session, their answers, their bounds, and those with names of their own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from ccdaemon.ami.ami_errors import (
    ActionRefused,
    ActionTimeout,
    ListTooLong,
    TooManyActions,
)
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings
from ccdaemon.ami.ami_wire import BadHeader
from tests.ami.far_end import FarEnd
from tests.ami.session_case import SessionCase


class ActionTests(SessionCase):
    """Actions and their answers."""

    settings = AMISettings(most_pending=3, most_pending_bytes=400, most_entries=2)

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
        self.far_end.answer()
        self.assertNoResult(self.session.setVar(None, "A", "x" * 100))

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
        self.far_end.say(
            f"Event: OriginateResponse\nPrivilege: call,all\nActionID: {action_id}\n"
            "Response: Failure\nChannel: PJSIP/1\nContext: \nExten: \nReason: 0\n"
            "Uniqueid: <null>\nCallerIDNum: <unknown>\nCallerIDName: <unknown>\n\n"
        )
        self.assertEqual([event.get("ActionID") for event in events], [action_id])

    def test_response_to_nobody(self) -> None:
        """A response without an ActionID of ours is counted and dropped."""
        self.far_end.say("Response: Error\nMessage: Missing action in request\n\n")
        self.assertEqual(self.session.counters.unmatched, 1)


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
