"""The FastAGI server: a script for each call, and every way in which the conversation ends."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.asterisk.agi import FastAGIFactory, FastAGIProtocol
from ccdaemon.asterisk.agi_commands import (
    MARGIN,
    AGIBusy,
    AGIClosed,
    AGICommandFailure,
    AGITimeout,
    Digits,
    Played,
)
from ccdaemon.asterisk.agi_settings import AGISettings
from ccdaemon.asterisk.agi_wire import AGILimits
from ccdaemon.asterisk.wire import BadHeader
from tests.asterisk.far_end import FarEnd

SETTINGS = AGISettings(most_commands=3, most_sessions=2, limits=AGILimits(1000, 1000))


class Call(FarEnd):
    """Asterisk's end of one call inside a script; its lines end with a bare line feed."""

    def say(self, text: str) -> None:
        """Sends ``text`` as it is."""
        self.near_end.dataReceived(text.encode())

    def enter(self, script: str = "script") -> None:
        """The call enters a script."""
        self.say(f"agi_network: yes\nagi_network_script: {script}\nagi_channel: P/1\n\n")


class ServerCase(SynchronousTestCase):
    """A server whose one script waits until the test lets it go."""

    def setUp(self) -> None:
        """Makes the server."""
        self.clock = Clock()
        self.factory = FastAGIFactory({"script": self.script}, self.clock, SETTINGS)
        self.counters = self.factory.counters
        self.talks: list[FastAGIProtocol] = []
        self.endings: list[Deferred[None]] = []
        self.ended: list[str] = []

    async def script(self, agi: FastAGIProtocol) -> None:
        """Waits, and notes how it ended."""
        self.talks.append(agi)
        self.endings.append(Deferred())
        try:
            await self.endings[-1]
            self.ended.append("returned")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise

    def connect(self) -> Call:
        """Asterisk connects."""
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        return Call(protocol)

    def enter(self) -> tuple[Call, FastAGIProtocol]:
        """A call enters the script."""
        call = self.connect()
        call.enter()
        return call, self.talks[-1]

    def assert_idle(self) -> None:
        """Nothing waits any more."""
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.sessions), ([], set()))


class ScriptTests(ServerCase):
    """A script's life."""

    def test_script_gets_the_call(self) -> None:
        """The script of the call's path runs once the environment is there."""
        call = self.connect()
        call.say("agi_network: yes\nagi_network_script: script?x=1\nagi_arg_1: a\n")
        self.assertEqual(self.talks, [])
        self.assertEqual(dict(call.near_end.variables), {})  # type: ignore[attr-defined]
        call.say("\n")
        (agi,) = self.talks
        self.assertEqual(agi.variables["agi_network_script"], "script?x=1")
        assert agi.environment is not None
        self.assertEqual(agi.environment.arguments, ("a",))
        self.assertEqual(self.counters.sessions, 1)

    def test_script_returns(self) -> None:
        """When the script returns the link is closed, and the dialplan goes on."""
        call, _ = self.enter()
        self.assertFalse(call.transport.disconnecting)
        self.endings[0].callback(None)
        self.assertTrue(call.transport.disconnecting)
        call.hang_up()
        self.assert_idle()

    def test_script_raises(self) -> None:
        """A script that raises is logged, counted, and the call is let go."""
        call, _ = self.enter()
        self.endings[0].errback(ZeroDivisionError())
        self.assertTrue(call.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.counters.script_errors, 1)

    def test_script_takes_too_long(self) -> None:
        """A script has a time limit."""
        call, _ = self.enter()
        self.clock.advance(SETTINGS.script_timeout)
        self.assertEqual(self.ended, ["CancelledError"])
        self.assertTrue(call.transport.disconnecting)
        self.assertEqual(len(self.flushLoggedErrors(AGITimeout)), 1)

    def test_function_that_finds_scripts(self) -> None:
        """A function may find the script by the path, without its query."""
        paths: list[str] = []

        def find(path: str) -> Any:
            paths.append(path)
            return self.script

        self.factory = FastAGIFactory(find, self.clock)
        self.connect().enter("a/b?c")
        self.assertEqual((paths, len(self.talks)), (["a/b"], 1))

    def test_unknown_script(self) -> None:
        """A call for a script that is not there is let go at once."""
        call = self.connect()
        call.enter("other")
        self.assertTrue(call.transport.disconnecting)
        self.assertEqual(self.counters.unknown_scripts, 1)

    def test_link_that_does_not_close(self) -> None:
        """A link that does not close by itself is dropped."""
        call, _ = self.enter()
        self.endings[0].callback(None)
        self.clock.advance(SETTINGS.close_timeout)
        self.assertTrue(call.dropped)
        call.hang_up()
        self.assert_idle()

    def test_finish(self) -> None:
        """A script may end the conversation and go on by itself."""
        call, agi = self.enter()
        agi.finish()
        agi.finish()
        self.assertTrue(call.transport.disconnecting)
        self.failureResultOf(agi.answer(), AGIClosed)
        self.assertEqual(self.ended, [])

    def test_too_many_calls(self) -> None:
        """One call more than may be is let go; the others stay."""
        first, _ = self.enter()
        self.connect()
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertEqual(self.counters.too_many, 1)
        first.hang_up()
        self.assertIsNotNone(self.factory.buildProtocol(None))

    def test_server_stops(self) -> None:
        """When the server stops every script is cancelled and every call let go; no error."""
        entered, _ = self.enter()
        waiting = self.connect()
        self.factory.stopFactory()
        self.assertEqual(self.ended, ["CancelledError"])
        for call in (entered, waiting):
            self.assertTrue(call.transport.disconnecting)
            call.hang_up()
        self.assertEqual(self.counters.script_errors, 0)
        self.assert_idle()

    def test_link_lost(self) -> None:
        """A lost link cancels the script, which is no error of the script's."""
        call, _ = self.enter()
        call.hang_up()
        self.assertEqual(self.ended, ["CancelledError"])
        self.assertEqual(self.counters.script_errors, 0)
        self.assert_idle()

    def test_link_lost_before_the_environment(self) -> None:
        """A link that goes at once leaves nothing behind."""
        self.connect().hang_up()
        self.assert_idle()

    def test_no_environment(self) -> None:
        """A peer that does not say what it has to say is dropped."""
        call = self.connect()
        call.say("agi_network: yes\n")
        self.clock.advance(SETTINGS.environment_timeout)
        self.assertTrue(call.dropped)
        self.assertEqual(self.counters.timeouts, 1)
        call.hang_up()
        self.assert_idle()

    def test_protocol_alone(self) -> None:
        """The protocol can be used without the factory."""
        protocol = FastAGIProtocol(self.clock, {"script": self.script}.get)
        Call(protocol).enter()
        self.assertEqual(self.talks, [protocol])


class HangupTests(ServerCase):
    """The caller hangs up."""

    def test_script_is_told(self) -> None:
        """HANGUP is noted and told to the script, which may go on."""
        call, agi = self.enter()
        told: list[bool] = []
        agi.on_hangup = lambda: told.append(agi.hung_up)
        self.assertFalse(agi.hung_up)
        call.say("HANGUP\n")
        self.assertEqual((told, self.ended), ([True], []))

    def test_nobody_is_told(self) -> None:
        """HANGUP needs nobody to tell it to, and what he raises is only logged."""
        call, agi = self.enter()
        call.say("HANGUP\n")

        def raising() -> None:
            raise ZeroDivisionError

        agi.on_hangup = raising
        call.say("HANGUP\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(call.transport.disconnecting)

    def test_commands_after_hangup(self) -> None:
        """A command on a dead channel is refused; a script that ends by that is no error."""
        call, agi = self.enter()
        call.say("HANGUP\n")
        done = agi.answer()
        call.say("511 Command Not Permitted on a dead channel or intercept routine\n")
        failure = self.failureResultOf(done, AGICommandFailure)
        self.assertEqual(failure.value.reply.code, 511)
        self.endings[0].errback(failure)
        self.assertTrue(call.transport.disconnecting)
        self.assertEqual(self.counters.script_errors, 0)


class CommandTests(ServerCase):
    """Commands and their replies."""

    def setUp(self) -> None:
        """A call is inside the script."""
        super().setUp()
        self.call, self.agi = self.enter()

    def done(self, pending: Deferred[Any], reply: str) -> Any:
        """What ``pending`` comes to by ``reply``; the command is kept in ``command``."""
        self.command = self.call.heard()
        self.call.say(reply + "\n")
        return self.successResultOf(pending)

    def test_reply(self) -> None:
        """A command is one line, and its reply is the result."""
        reply = self.done(self.agi.sendCommand("SAY ALPHA", "a b", ""), "200 result=0")
        self.assertEqual(self.command, 'SAY ALPHA "a b" ""\n')
        self.assertEqual((reply.code, reply.result), (200, "0"))

    def test_one_at_a_time(self) -> None:
        """The next command is written when the reply is there: Asterisk might overlook it."""
        first, second = self.agi.getVariable("A"), self.agi.getVariable("B")
        self.assertEqual(self.call.heard(), 'GET VARIABLE "A"\n')
        self.call.say("200 result=1 (a)\n")
        self.assertEqual(self.call.heard(), 'GET VARIABLE "B"\n')
        self.call.say("200 result=1 (b)\n")
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), ("a", "b"))

    def test_command_sent_on_a_reply(self) -> None:
        """What a reply makes a script send goes out once, behind what waits already."""
        self.agi.noop("1").addCallback(lambda _: self.agi.noop("3"))
        self.agi.noop("2")
        self.call.say("200 result=0\n")
        self.call.say("200 result=0\n")
        self.assertEqual(self.call.heard(), 'NOOP "1"\nNOOP "2"\nNOOP "3"\n')

    def test_failures(self) -> None:
        """A negative result and every code but 200 fail the command, with the reply."""
        for reply, code in (
            ("200 result=-1 endpos=0", 200),
            ("200 result=-2", 200),
            ("510 Invalid or unknown command", 510),
            ("520 Invalid command syntax.  Proper usage not available.", 520),
        ):
            done = self.agi.sendCommand("X")
            self.call.say(reply + "\n")
            error = self.failureResultOf(done, AGICommandFailure).value
            self.assertEqual((error.command, error.reply.code), ("X", code))

    def test_bad_argument(self) -> None:
        """What may not be sent is not sent."""
        done = self.agi.setVariable("A", "x\nHANGUP")
        self.failureResultOf(done, BadHeader)
        self.assertEqual(self.call.heard(), "")

    def test_too_many(self) -> None:
        """Past the bound a command is refused unsent."""
        for _ in range(3):
            self.agi.noop()
        self.failureResultOf(self.agi.noop(), AGIBusy)

    def test_timeout(self) -> None:
        """Without a reply in time the link is dropped, and whatever waits fails."""
        first, second = self.agi.sendCommand("X", timeout=3), self.agi.noop()
        self.clock.advance(2.9)
        self.assertNoResult(first)
        self.clock.advance(0.1)
        self.assertTrue(self.call.dropped)
        self.failureResultOf(first, AGITimeout)
        self.call.hang_up()
        self.failureResultOf(second, AGIClosed)
        self.assertEqual(self.counters.timeouts, 1)
        self.assert_idle()

    def test_time_counts_from_the_writing(self) -> None:
        """A command's time begins when it is written, not when it is queued."""
        self.agi.sendCommand("X", timeout=60)
        second = self.agi.noop()
        self.clock.advance(59)
        self.call.say("200 result=0\n")
        self.clock.advance(SETTINGS.reply_timeout - 1)
        self.assertNoResult(second)
        self.clock.advance(1)
        self.failureResultOf(second, AGITimeout)

    def test_cancel_before_it_is_written(self) -> None:
        """A command that is cancelled while it waits is never sent."""
        self.agi.noop("1")
        second = self.agi.noop("2")
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.call.say("200 result=0\n")
        self.assertEqual(self.call.heard(), 'NOOP "1"\n')

    def test_cancel_after_it_was_written(self) -> None:
        """The reply to a command that was cancelled is not the next command's."""
        first = self.agi.getVariable("A")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second = self.agi.getVariable("B")
        self.call.say("200 result=1 (a)\n")
        self.assertNoResult(second)
        self.call.say("200 result=1 (b)\n")
        self.assertEqual(self.successResultOf(second), "b")

    def test_reply_to_no_command(self) -> None:
        """A reply nobody waits for means that the link is out of step: it is dropped."""
        self.call.say("200 result=0\n")
        self.assertTrue(self.call.dropped)
        self.assertEqual(self.counters.garbage, 1)

    def test_garbage(self) -> None:
        """What is no AGI drops the link and fails what waits; nothing more is read."""
        done = self.agi.noop()
        self.call.say("hello\n")
        self.call.say("200 result=0\n")
        self.assertTrue(self.call.dropped)
        self.assertNoResult(done)
        self.call.hang_up()
        self.failureResultOf(done, AGIClosed)
        self.assertEqual(self.ended, ["CancelledError"])
        self.assertEqual(self.counters.garbage, 1)

    def test_nothing_is_taken_after_the_end(self) -> None:
        """What stands in the same chunk behind the end of the conversation is not looked at."""
        self.agi.noop().addCallback(lambda _: self.agi.finish())
        self.call.say("200 result=0\n200 result=0\nHANGUP\n")
        self.assertEqual((self.counters.garbage, self.agi.hung_up), (0, False))

    def test_link_lost(self) -> None:
        """Every command fails when the link goes, and none can be sent then."""
        first, second = self.agi.noop(), self.agi.noop()
        self.call.hang_up()
        self.failureResultOf(first, AGIClosed)
        self.failureResultOf(second, AGIClosed)
        self.failureResultOf(self.agi.noop(), AGIClosed)

    def test_before_the_link(self) -> None:
        """A protocol without a link takes no command."""
        agi = FastAGIProtocol(self.clock, lambda path: None)
        self.failureResultOf(agi.noop(), AGIClosed)
        agi.connectionLost()

    def test_plain_commands(self) -> None:
        """The commands with names of their own, as Asterisk reads them."""
        for pending, line in (
            (lambda: self.agi.answer(), "ANSWER"),
            (lambda: self.agi.hangup(), "HANGUP"),
            (lambda: self.agi.hangup("P/1"), 'HANGUP "P/1"'),
            (lambda: self.agi.execute("Dial", "P/1", "30"), 'EXEC "Dial" "P/1,30"'),
            (lambda: self.agi.execute("NoOp"), 'EXEC "NoOp" ""'),
            (lambda: self.agi.setVariable("__A", "x"), 'SET VARIABLE "__A" "x"'),
            (lambda: self.agi.setContext("c"), 'SET CONTEXT "c"'),
            (lambda: self.agi.setExtension("s"), 'SET EXTENSION "s"'),
            (lambda: self.agi.setPriority("here"), 'SET PRIORITY "here"'),
            (lambda: self.agi.setPriority(2), 'SET PRIORITY "2"'),
            (lambda: self.agi.noop("x"), 'NOOP "x"'),
            (lambda: self.agi.verbose("x", 3), 'VERBOSE "x" "3"'),
        ):
            self.assertEqual(self.done(pending(), "200 result=1").result, "1")
            self.assertEqual(self.command, line + "\n")

    def test_variables(self) -> None:
        """An unset variable is None, an empty one is empty; expressions are evaluated."""
        self.assertIsNone(self.done(self.agi.getVariable("A"), "200 result=0"))
        self.assertEqual(self.done(self.agi.getVariable("A"), "200 result=1 ()"), "")
        self.assertEqual(self.done(self.agi.getVariable("A"), "200 result=1 (x)"), "x")
        full = self.done(self.agi.getFullVariable("${A}"), "200 result=1 (x\ny)")
        self.assertEqual((self.command, full), ('GET FULL VARIABLE "${A}"\n', "x\ny"))

    def test_channel_status(self) -> None:
        """The channel's state is a number."""
        self.assertEqual(self.done(self.agi.channelStatus(), "200 result=6"), 6)

    def test_stream_file(self) -> None:
        """Playing ends at a digit or at the end of the file, within the time it was given."""
        played = self.done(self.agi.streamFile("f", "12", 80), "200 result=49 endpos=480")
        self.assertEqual(self.command, 'STREAM FILE "f" "12" "80"\n')
        self.assertEqual(played, Played("1", 480))
        played = self.done(self.agi.streamFile("f"), "200 result=0 endpos=960")
        self.assertEqual(played, Played("", 960))
        self.assertEqual(self.done(self.agi.streamFile("f"), "200 result=0"), Played("", 0))
        late = self.agi.streamFile("f", timeout=60)
        self.clock.advance(60 + MARGIN - 0.1)
        self.assertNoResult(late)
        self.clock.advance(0.1)
        self.failureResultOf(late, AGITimeout)

    def test_wait_for_digit(self) -> None:
        """A digit, or none in time; the reply may take as long as the caller may."""
        digit = self.agi.waitForDigit(20)
        self.clock.advance(20)
        self.assertEqual(self.done(digit, "200 result=42"), "*")
        self.assertEqual(self.command, 'WAIT FOR DIGIT "20000"\n')
        self.assertEqual(self.done(self.agi.waitForDigit(1), "200 result=0"), "")

    def test_get_data(self) -> None:
        """Digits, and whether they ended by the time limit."""
        digits = self.done(self.agi.getData("f"), "200 result=12")
        self.assertEqual((self.command, digits), ('GET DATA "f" "2000"\n', Digits("12", False)))
        digits = self.done(self.agi.getData("f", 0.5, 4), "200 result= (timeout)")
        self.assertEqual((self.command, digits), ('GET DATA "f" "500" "4"\n', Digits("", True)))
