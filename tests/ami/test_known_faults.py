"""Faults that other libraries for Asterisk have, each seen by running them; none of them is ours.

starpy, panoramisk and wazo-amid are meant; which fault is whose stands in
docs/asterisk-protocols.md.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.ami.ami_errors import ActionTimeout, ConnectionLost, NotConnected
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings, Credentials
from ccdaemon.ami.ami_wire import BadHeader, Message
from ccdaemon.fastagi.agi_commands import AGICommandFailure
from ccdaemon.fastagi.agi_server import FastAGIFactory, FastAGIProtocol
from ccdaemon.fastagi.agi_wire import BadCommand
from tests.ami.far_end import FarEnd


class SessionFaults(SynchronousTestCase):
    """Faults within one AMI connection."""

    def setUp(self) -> None:
        """Connects."""
        self.clock = Clock()
        self.session = AMIProtocol(self.clock)
        self.far_end = FarEnd(self.session)
        self.far_end.greet()
        self.heard: list[Message] = []
        self.session.registerEvent("E", lambda session, event: self.heard.append(event))

    def test_repeated_headers_lost(self) -> None:
        """Of a header that repeats every value is there."""
        self.far_end.say("Event: E\nChanVariable: A=1\nChanVariable: B=2\n\n")
        self.assertEqual(self.heard[0].all("ChanVariable"), ("A=1", "B=2"))

    def test_output_repeated(self) -> None:
        """All lines of a command's output are there, in order."""
        done = self.session.command("core show channels")
        self.far_end.answer("Message: Command output follows\nOutput: 1\nOutput: 2\nOutput: 3\n")
        self.assertEqual(self.successResultOf(done), ("1", "2", "3"))

    def test_command_always_fails_on_todays_asterisk(self) -> None:
        """A command is answered by Success and Output lines, not by Follows."""
        done = self.session.command("core show uptime")
        self.assertEqual(self.far_end.answer("Output: System uptime\n")["Action"], "Command")
        self.assertEqual(self.successResultOf(done), ("System uptime",))

    def test_cr_lf_in_a_value_starts_a_second_action(self) -> None:
        """A value with a line break is refused where it is given, and nothing is sent."""
        for breaks in ("\r\n", "\n", "\r"):
            evil = f"x{breaks}{breaks}Action: Originate{breaks}Channel: Local/0900@trunk"
            for done in (
                self.session.hangup(evil),
                self.session.setVar("c", "V", evil),
                self.session.originate("P/1", application="Wait", variable={"V": evil}),
                self.session.sendAction("UserEvent", {"X-" + evil: "1"}),
            ):
                self.failureResultOf(cast("Deferred[Any]", done), BadHeader)
        self.assertEqual(self.far_end.heard(), "")

    def test_one_byte_that_is_not_utf8_raises(self) -> None:
        """A Latin-1 letter costs that letter, not the event, and not the link."""
        self.session.dataReceived(b"Event: E\r\nCallerIDName: Andr\xe9\r\nN: 1\r\n\r\n")
        self.assertEqual(self.heard[0].get("CallerIDName"), "Andr�")
        self.assertEqual(self.heard[0].get("N"), "1")

    def test_a_17_kb_line_drops_the_link(self) -> None:
        """A long value is a value."""
        self.far_end.say("Event: E\nV: " + "x" * 17_000 + "\n\nEvent: E\n\n")
        self.assertEqual([len(event.get("V")) for event in self.heard], [17_000, 0])
        self.assertFalse(self.far_end.dropped)

    def test_a_lost_response_is_never_timed_out(self) -> None:
        """An action without a response fails after a time, by name."""
        done = self.session.getVar(None, "A")
        self.clock.advance(self.session.settings.action_timeout)
        self.assertEqual(self.failureResultOf(done, ActionTimeout).value.action, "Getvar")

    def test_pending_actions_that_never_fire_when_the_link_goes(self) -> None:
        """Actions and lists without an answer fail when the link goes."""
        waiting = [self.session.ping(), self.session.coreShowChannels()]
        self.far_end.hang_up()
        for done in waiting:
            self.failureResultOf(cast("Deferred[Any]", done), ConnectionLost)

    def test_one_handlers_exception_drops_the_rest_of_the_chunk(self) -> None:
        """A subscriber that raises harms neither the next one nor the next event nor the order."""
        told: list[str] = []

        def raising(session: AMIProtocol, event: Message) -> None:
            told.append("raising " + event.get("N"))
            raise ZeroDivisionError

        self.session.deregisterEvent("E")
        self.session.registerEvent("E", raising)
        self.session.registerEvent("E", lambda _, event: told.append("next " + event.get("N")))
        done = self.session.ping()
        action_id = self.far_end.action()["ActionID"]
        self.far_end.say(
            f"Event: E\nN: 1\n\nEvent: E\nN: 2\n\nResponse: Success\nActionID: {action_id}\n\n"
        )
        self.assertEqual(told, ["raising 1", "next 1", "raising 2", "next 2"])
        self.successResultOf(done)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.session.counters.subscriber_errors, 2)
        self.assertFalse(self.far_end.transport.disconnecting)

    def test_a_letter_split_between_two_reads(self) -> None:
        """A letter of several bytes is whole wherever the stream is cut."""
        stream = "Event: E\r\nCallerIDName: Їжак\r\n\r\n".encode()
        for place in range(len(stream)):
            self.session.dataReceived(stream[:place])
            self.session.dataReceived(stream[place:])
        names = {event.get("CallerIDName") for event in self.heard}
        self.assertEqual((len(self.heard), names), (len(stream), {"Їжак"}))

    def test_each_received_batch_in_reverse(self) -> None:
        """The events of one read are told in their order."""
        self.far_end.say("".join(f"Event: E\nN: {number}\n\n" for number in range(5)))
        self.assertEqual([event.get("N") for event in self.heard], ["0", "1", "2", "3", "4"])

    def test_event_with_a_response_header_taken_for_a_response(self) -> None:
        """OriginateResponse is told as an event, and answers no action."""
        self.session.registerEvent("OriginateResponse", lambda _, event: self.heard.append(event))
        done = self.session.ping()
        action_id = self.far_end.action()["ActionID"]
        self.far_end.say(
            f"Event: OriginateResponse\nPrivilege: call,all\nActionID: {action_id}\n"
            "Response: Failure\nChannel: PJSIP/1\nContext: \nExten: \nReason: 0\n"
            "Uniqueid: <null>\nCallerIDNum: <unknown>\nCallerIDName: <unknown>\n\n"
        )
        self.assertEqual(self.heard[0].get("Response"), "Failure")
        self.assertNoResult(done)


class ClientFaults(SynchronousTestCase):
    """Faults between two AMI connections."""

    def setUp(self) -> None:
        """Starts a client."""
        self.reactor = MemoryReactorClock()
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", 5038)
        settings = AMISettings(boot_wait=0)
        self.client = AMIClient(endpoint, self.reactor, Credentials("u", "s", False), settings)
        self.client.startService()

    def bring_up(self) -> FarEnd:
        """The try under way ends in a session."""
        factory: Any = self.reactor.tcpClients[-1][2]
        far_end = FarEnd(cast(IProtocol, factory.buildProtocol(None)))
        far_end.greet()
        far_end.answer()
        self.reactor.advance(0)
        return far_end

    def test_no_retry_after_a_refused_connect(self) -> None:
        """An Asterisk that is not there yet is tried again, until it is."""
        for tries in (1, 2, 3):
            self.assertEqual(len(self.reactor.tcpClients), tries)
            factory: Any = self.reactor.tcpClients[-1][2]
            factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
            self.reactor.advance(10)
        self.bring_up()
        self.assertIsNotNone(self.client.session)

    def test_registrations_lost_on_reconnect(self) -> None:
        """Who registered for an event hears it of the next session too."""
        heard: list[str] = []
        self.client.registerEvent("E", lambda session, event: heard.append(event.get("N")))
        self.bring_up().hang_up()
        self.reactor.advance(10)
        self.bring_up().say("Event: E\nN: 2\n\n")
        self.assertEqual(heard, ["2"])

    def test_originate_queued_during_an_outage_is_sent_again_after_reconnect(self) -> None:
        """No Originate is kept: none from before the outage, none from within it."""
        far_end = self.bring_up()
        before = self.client.originate("PJSIP/1000", application="Wait")
        far_end.hang_up()
        within = self.client.originate("PJSIP/1000", application="Wait")
        self.assertTrue(self.failureResultOf(before, ConnectionLost).value.written)
        self.assertFalse(self.failureResultOf(within, NotConnected).value.written)
        self.reactor.advance(10)
        far_end = self.bring_up()
        self.reactor.advance(5)
        self.assertEqual(far_end.heard(), "")


class FastAGIFaults(SynchronousTestCase):
    """Faults in a FastAGI conversation."""

    def test_fastagi_answers_out_of_step_after_a_520_reply(self) -> None:
        """The usage that follows a 520 belongs to it, and the next reply to the next command."""
        talks: list[FastAGIProtocol] = []

        async def script(agi: FastAGIProtocol) -> None:
            talks.append(agi)
            await Deferred()

        factory = FastAGIFactory({"s": script}, Clock())
        protocol = cast(FastAGIProtocol, factory.buildProtocol(None))
        FarEnd(protocol)
        protocol.dataReceived(b"agi_network: yes\nagi_network_script: s\n\n")
        wrong, right = talks[0].sendCommand("GET VARIABLE"), talks[0].getVariable("A")
        protocol.dataReceived(
            b"520-Invalid command syntax.  Proper usage follows:\n"
            b"Returns 0 if variablename is not set.\n"
            b"Example return code: 200 result=1 (testvariable)\n"
            b"520 End of proper usage.\n"
            b"200 result=1 (a)\n"
        )
        error = self.failureResultOf(wrong, AGICommandFailure).value
        self.assertEqual(error.reply.code, 520)
        self.assertIn("Example return code", error.reply.text)
        self.assertEqual(self.successResultOf(right), "a")

    def test_cr_lf_in_a_value_starts_a_second_command(self) -> None:
        """A value with a line break is refused, and nothing is sent."""
        protocol = FastAGIProtocol(Clock(), lambda path: None)
        far_end = FarEnd(protocol)
        done = protocol.setVariable("A", "x\nEXEC System reboot")
        self.failureResultOf(done, BadCommand)
        self.assertEqual(far_end.heard(), "")
