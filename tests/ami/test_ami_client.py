"""The AMI client: when its session may be used, and how the service stops."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from ccdaemon.ami.ami_errors import NotConnected
from ccdaemon.ami.ami_settings import AMISettings
from tests.ami.client_case import ClientCase


class UpTests(ClientCase):
    """When a session may be used."""

    def test_up(self) -> None:
        """A session is up once it is logged in, booted and read anew, and not before."""
        self.resync = Deferred()
        self.bring_up()
        self.assertEqual(len(self.up), 1)
        self.assertIsNone(self.client.session)
        self.resync.callback(None)
        self.assertIs(self.client.session, self.up[0])
        self.assertEqual(self.client.counters.sessions, 1)

    def test_actions_go_to_the_session(self) -> None:
        """Actions and lists of the client are its session's."""
        far_end = self.bring_up()
        done = self.client.ping()
        far_end.answer("Ping: Pong\n")
        self.assertEqual(self.successResultOf(done).get("Ping"), "Pong")
        listed = self.client.coreShowChannels()
        action_id = far_end.answer()["ActionID"]
        far_end.say(f"Event: Done\nActionID: {action_id}\nEventList: Complete\n\n")
        self.assertEqual(self.successResultOf(listed), ())

    def test_no_session_no_action(self) -> None:
        """While there is no session actions and lists fail at once, unwritten."""
        for done in (self.client.ping(), self.client.coreShowChannels()):
            error = self.failureResultOf(done, NotConnected).value
            self.assertFalse(error.written)

    def test_nobody_asks_for_up_and_down(self) -> None:
        """Without hooks a session comes and goes all the same."""
        self.client.on_up = self.client.on_down = None
        far_end = self.bring_up()
        self.assertIsNotNone(self.client.session)
        far_end.hang_up()
        self.assertIsNone(self.client.session)

    def test_events_survive_reconnects(self) -> None:
        """Who subscribed once hears every session."""
        heard: list[str] = []
        self.client.registerEvent("E", lambda session, event: heard.append(event.get("N")))
        self.bring_up().hang_up()
        self.reactor.advance(2)
        far_end = self.bring_up()
        far_end.say("Event: E\nN: 2\n\n")
        self.client.deregisterEvent("E")
        far_end.say("Event: E\nN: 3\n\n")
        self.assertEqual(heard, ["2"])

    def test_events_during_on_up(self) -> None:
        """What happens while Asterisk is read anew is told at once."""
        heard: list[str] = []
        self.client.registerEvent("E", lambda session, event: heard.append(event.name))
        self.resync = Deferred()
        self.bring_up().say("Event: E\n\n")
        self.assertEqual(heard, ["E"])

    def test_no_boot_time(self) -> None:
        """A user who is never told FullyBooted has a session after a short wait."""
        far_end = self.connect()
        far_end.greet()
        far_end.answer("Challenge: 1\n")
        far_end.answer()
        self.assertEqual(self.up, [])
        self.reactor.advance(self.settings.boot_wait)
        self.assertIsNotNone(self.client.session)
        self.assertTrue(any("FullyBooted" in line for line in self.lines), self.lines)

    def test_log_lines(self) -> None:
        """Up and down are a line each, and no line ever has the secret."""
        self.bring_up().hang_up()
        self.assertEqual(len(self.lines), 2)
        self.assertIn("session up", self.lines[0])
        # The clock begins at 0, and Asterisk began five seconds before.
        self.assertIn("has run for 0:00:05", self.lines[0])
        self.assertIn("session lost", self.lines[1])
        self.assertNotIn("s3cret", "".join(self.lines) + repr(self.client))


class FilterTests(ClientCase):
    """Event filters, if they are asked for."""

    settings = AMISettings(filters=("Event: (Newchannel|Hangup)", "Event: Reload"))

    def test_filters(self) -> None:
        """Each filter is added after the login; one that is refused is only logged."""
        far_end = self.bring_up()
        first = far_end.answer()
        self.assertEqual(
            (first["Action"], first["Operation"], first["Filter"]),
            ("Filter", "Add", "Event: (Newchannel|Hangup)"),
        )
        self.assertEqual(
            far_end.answer("Message: Permission denied\n", "Error")["Action"], "Filter"
        )
        self.assertIsNotNone(self.client.session)
        self.assertTrue(any("Permission denied" in line for line in self.lines))


class StopTests(ClientCase):
    """The service stops."""

    def stop(self) -> Deferred[Any]:
        """Stops the service."""
        return self.client.stopService()

    def test_stop_when_up(self) -> None:
        """A session that is up is closed, and told to be down; nothing is tried again."""
        far_end = self.bring_up()
        done = self.stop()
        self.assertTrue(far_end.transport.disconnecting)
        self.assertNoResult(done)
        far_end.hang_up()
        self.successResultOf(done)
        self.assertEqual(len(self.down), 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_when_the_peer_does_not_read(self) -> None:
        """A link that does not close by itself is dropped after a time."""
        far_end = self.bring_up()
        done = self.stop()
        self.assertFalse(far_end.dropped)
        self.reactor.advance(self.settings.stop_timeout)
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.successResultOf(done)

    def test_stop_while_logging_in(self) -> None:
        """A login under way is given up at once, and is no failure."""
        far_end = self.connect()
        far_end.greet()
        done = self.stop()
        self.assertTrue(far_end.dropped)
        self.successResultOf(done)
        far_end.hang_up()
        self.assertEqual((self.lines, self.client.counters.failed_connects), ([], 0))

    def test_stop_while_connecting(self) -> None:
        """A try under way is given up."""
        self.successResultOf(self.stop())
        self.assertEqual(self.lines, [])

    def test_stop_between_tries(self) -> None:
        """A pause between tries ends."""
        self.refuse()
        self.successResultOf(self.stop())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_start_again(self) -> None:
        """A service that is started again while it stops connects once the old link is gone."""
        far_end = self.bring_up()
        done = self.stop()
        self.client.startService()
        self.assertEqual(self.tries, 1)
        far_end.hang_up()
        self.successResultOf(done)
        self.bring_up()
        self.assertEqual((self.tries, len(self.up)), (2, 2))
