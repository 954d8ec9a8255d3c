"""FastAGI commands: their replies, their order, their time, and those with names of their own."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from ccdaemon.fastagi.agi_commands import (
    MARGIN,
    AGIBusy,
    AGIClosed,
    AGICommandFailure,
    AGITimeout,
    Digits,
    Played,
)
from ccdaemon.fastagi.agi_server import FastAGIProtocol
from ccdaemon.fastagi.agi_wire import BadCommand
from tests.fastagi.server_case import SETTINGS, ServerCase


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
        self.failureResultOf(done, BadCommand)
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
