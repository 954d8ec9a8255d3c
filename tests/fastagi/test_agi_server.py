"""The FastAGI server: a script for each call, and every way in which it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.logger import capturedLogs, formatEvent

from ccdaemon.fastagi.agi_commands import (
    AGIClosed,
    AGICommandFailure,
    AGITimeout,
)
from ccdaemon.fastagi.agi_server import FastAGIFactory, FastAGIProtocol
from tests.fastagi.server_case import SETTINGS, Call, ServerCase


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

    def test_how_long_it_took(self) -> None:
        """Is told of each script, whatever came of it."""
        took: list[tuple[str, float]] = []
        self.counters.observe = lambda path, seconds: took.append((path, seconds))
        self.enter()
        self.clock.advance(0.25)
        self.assertEqual(took, [])
        self.endings[0].errback(ZeroDivisionError())
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(took, [("script", 0.25)])

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
        """HANGUP needs nobody to tell it to, and what the script raises is only logged."""
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


class StrangerTests(ServerCase):
    """Who may connect."""

    def test_only_who_is_admitted(self) -> None:
        """A stranger gets no session, and is counted."""
        self.factory = FastAGIFactory(
            {"script": self.script}, self.clock, SETTINGS, admits="10.0.0.5".__eq__
        )
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "10.0.0.6", 4000)))
        self.assertIsNotNone(self.factory.buildProtocol(IPv4Address("TCP", "10.0.0.5", 4000)))
        self.assertEqual(self.factory.counters.strangers, 1)

    def test_only_who_knows_the_secret(self) -> None:
        """Without it no script runs, and it is in no path that is counted or logged."""
        settings = replace(SETTINGS, secret="s3cret")
        self.factory = FastAGIFactory({"script": self.script}, self.clock, settings)
        with capturedLogs() as logged:
            for path in (
                "script",
                "x/script",
                "s3cre/script",
                "s3cret",
                "/script",
                "s3crét/script",
            ):
                call = self.connect()
                call.enter(path)
                self.assertTrue(call.transport.disconnecting)
                call.hang_up()
        self.assertEqual((self.talks, self.factory.counters.strangers), ([], 5))
        took: list[str] = []
        self.factory.counters.observe = lambda path, _: took.append(path)
        self.connect().enter("s3cret/script")
        self.endings[0].callback(None)
        self.assertEqual(took, ["script"])
        self.assertNotIn("s3cret", repr(settings) + "".join(map(str, map(formatEvent, logged))))


class RefusalTests(ServerCase):
    """What cannot be Asterisk's word of a call is refused, so that the dialplan hears it."""

    TOLD = 'SET VARIABLE "ROUTE" "reject"\n'

    def setUp(self) -> None:
        """Have a server that refuses by a variable."""
        super().setUp()
        self.factory = FastAGIFactory(
            {"script": self.script}, self.clock, SETTINGS, refusal=("ROUTE", "reject")
        )
        self.counters = self.factory.counters

    def assert_refused(self, call: Call) -> None:
        """The dialplan is told once, and the link closed when that is taken."""
        self.assertEqual(call.heard(), self.TOLD)
        self.assertFalse(call.transport.disconnecting)
        call.say("agi_callingpres: 0\nagi_x: 200 result=1\n")
        self.assertFalse(call.transport.disconnecting)
        call.say("200 result=1\n")
        self.assertTrue(call.transport.disconnecting)
        self.assertEqual(call.heard(), "")
        call.hang_up()
        self.assert_idle()

    def test_environment(self) -> None:
        """A name that stands twice."""
        call = self.connect()
        call.say("agi_network: yes\nagi_network_script: script\nagi_callerid: 1\nagi_network: x\n")
        self.assert_refused(call)
        self.assertEqual((self.counters.garbage, self.talks), (1, []))

    def test_unknown_script(self) -> None:
        """A script that is not there."""
        call = self.connect()
        call.enter("other")
        self.assert_refused(call)
        self.assertEqual((self.counters.unknown_scripts, self.counters.garbage), (1, 0))

    def test_environment_that_ends_too_early(self) -> None:
        """What stands behind a forged end of the environment refuses what the script decided."""
        call, agi = self.enter()
        asked = agi.setVariable("ROUTE", "dial")
        call.heard()
        call.say("agi_callingpres: 0\n")
        self.failureResultOf(asked, AGIClosed)
        self.assertEqual((self.ended, self.counters.script_errors), (["CancelledError"], 0))
        self.assert_refused(call)

    def test_nobody_answers(self) -> None:
        """Nobody takes the refusal: the link is closed, and dropped."""
        call = self.connect()
        call.enter("other")
        self.clock.advance(SETTINGS.reply_timeout)
        self.assertTrue(call.transport.disconnecting)
        self.clock.advance(SETTINGS.close_timeout)
        self.assertTrue(call.dropped)
        call.hang_up()
        self.assert_idle()

    def test_no_asterisk(self) -> None:
        """Whoever does not begin as Asterisk does is told nothing."""
        call = self.connect()
        call.say("GET / HTTP/1.0\n")
        self.assertEqual((call.heard(), call.dropped), ("", True))
