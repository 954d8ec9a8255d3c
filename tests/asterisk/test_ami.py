"""The AMI client: when a session is up, when it is down, and when the next one is tried."""

from __future__ import annotations

import contextlib
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.asterisk.ami import AMIClient
from ccdaemon.asterisk.ami_errors import LinkLost, NotConnected, Silent
from ccdaemon.asterisk.ami_session import AMIProtocol
from ccdaemon.asterisk.ami_settings import Credentials, Settings
from tests.asterisk.far_end import FarEnd

CREDENTIALS = Credentials("user", "s3cret")
SETTINGS = Settings(retry_first=1, retry_longest=20, retry_refused=60)


class ClientCase(SynchronousTestCase):
    """A client whose service runs."""

    settings = SETTINGS

    def setUp(self) -> None:
        """Starts the service."""
        self.reactor = MemoryReactorClock()
        self.up: list[AMIProtocol] = []
        self.down: list[BaseException] = []
        self.resync: Deferred[None] | None = None
        self.cancelled = 0
        self.client = AMIClient(
            TCP4ClientEndpoint(self.reactor, "127.0.0.1", 5038),
            self.reactor,
            CREDENTIALS,
            self.settings,
            self.on_up,
            self.down.append,
            jitter=lambda: 0.0,
        )
        self.lines: list[str] = []
        observer = cast(ILogObserver, self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.client.startService()

    def observe(self, event: LogEvent) -> None:
        """Keeps what the client and its sessions log."""
        if event.get("log_namespace", "").startswith("ccdaemon"):
            self.lines.append(event["log_format"].format(**event))

    async def on_up(self, session: AMIProtocol) -> None:
        """Stands for a resync that ends when the test says so."""
        self.up.append(session)
        if self.resync is not None:
            try:
                await self.resync
            except CancelledError:
                self.cancelled += 1
                raise

    @property
    def tries(self) -> int:
        """How often the client has tried to connect."""
        return len(self.reactor.tcpClients)

    @property
    def factory(self) -> Any:
        """What the try under way builds its protocol with."""
        return self.reactor.tcpClients[-1][2]

    def connect(self) -> FarEnd:
        """The try under way succeeds."""
        return FarEnd(cast(IProtocol, self.factory.buildProtocol(None)))

    def refuse(self, why: Exception | None = None) -> None:
        """The try under way fails."""
        self.factory.clientConnectionFailed(None, Failure(why or ConnectionRefusedError()))

    def log_in(self, far_end: FarEnd) -> None:
        """Asterisk takes the login and has booted."""
        far_end.greet()
        far_end.answer("Challenge: 1\n")
        far_end.answer()
        far_end.say("Event: FullyBooted\nUptime: 5\n\n")

    def bring_up(self) -> FarEnd:
        """A session comes up."""
        far_end = self.connect()
        self.log_in(far_end)
        return far_end


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
        self.assertIn("session lost", self.lines[1])
        self.assertNotIn("s3cret", "".join(self.lines) + repr(self.client))


class FilterTests(ClientCase):
    """Event filters, if they are asked for."""

    settings = Settings(filters=("Event: (Newchannel|Hangup)", "Event: Reload"))

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


class DownTests(ClientCase):
    """When a session is gone, and when the next one is tried."""

    def test_down(self) -> None:
        """A lost session is told once, with its reason, after its actions have failed."""
        far_end = self.bring_up()
        done = self.client.ping()
        far_end.hang_up()
        self.failureResultOf(done, LinkLost)
        self.assertEqual([type(why) for why in self.down], [ConnectionDone])
        self.assertIsNone(self.client.session)

    def test_on_down_that_raises(self) -> None:
        """What ``on_down`` raises is logged, and the next session is tried all the same."""

        def raising(why: BaseException) -> None:
            raise ZeroDivisionError

        self.client.on_down = raising
        self.bring_up().hang_up()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reactor.advance(2)
        self.assertEqual(self.tries, 2)

    def test_nothing_is_sent_again(self) -> None:
        """The next session sends nothing that the last one had sent, or that found none."""
        far_end = self.bring_up()
        self.client.originate("PJSIP/1", application="Wait").addErrback(lambda _: None)
        far_end.hang_up()
        self.client.originate("PJSIP/2", application="Wait").addErrback(lambda _: None)
        self.reactor.advance(2)
        far_end = self.bring_up()
        self.assertEqual(far_end.heard(), "")

    def test_reconnect(self) -> None:
        """After a loss the next try comes soon, and is counted."""
        self.bring_up().hang_up()
        self.assertEqual(self.tries, 1)
        self.reactor.advance(2)
        self.bring_up()
        self.assertEqual(len(self.up), 2)
        self.assertEqual((self.client.counters.sessions, self.client.counters.reconnects), (2, 1))

    def test_backoff(self) -> None:
        """Tries that fail come in growing pauses, up to the longest, and are logged once."""
        pauses = []
        for _ in range(10):
            self.refuse()
            (call,) = self.reactor.getDelayedCalls()
            pauses.append(call.getTime() - self.reactor.seconds())
            self.reactor.advance(pauses[-1])
        self.assertEqual(pauses, sorted(pauses))
        self.assertEqual((pauses[0], pauses[-1]), (1.5, 20))
        self.assertEqual(self.client.counters.failed_connects, 10)
        self.assertEqual(len(self.lines), 1)

    def test_wrong_secret(self) -> None:
        """After refused credentials the next try is far away; another failure ends that."""
        far_end = self.connect()
        far_end.greet()
        far_end.answer("Challenge: 1\n")
        far_end.answer("Message: Authentication failed\n", "Error")
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertEqual(self.client.counters.refused_logins, 1)
        self.reactor.advance(59.9)
        self.assertEqual(self.tries, 1)
        self.reactor.advance(0.1)
        self.assertEqual(self.tries, 2)
        self.refuse()
        self.reactor.advance(5)
        self.assertEqual(self.tries, 3)

    def test_link_lost_while_logging_in(self) -> None:
        """A link that goes during the login is a failed try, and nothing raises."""
        far_end = self.connect()
        far_end.greet()
        far_end.hang_up()
        self.assertEqual(self.down, [])
        self.assertEqual(self.client.counters.failed_connects, 1)
        self.reactor.advance(2)
        self.bring_up()
        self.assertIsNotNone(self.client.session)

    def test_link_lost_during_on_up(self) -> None:
        """A link that goes while Asterisk is read anew cancels the reading."""
        self.resync = Deferred()
        far_end = self.bring_up()
        far_end.hang_up()
        self.assertEqual((self.cancelled, self.down, self.client.session), (1, [], None))
        self.resync = None
        self.reactor.advance(2)
        self.bring_up()
        self.assertIsNotNone(self.client.session)

    def test_link_lost_unnoticed_by_on_up(self) -> None:
        """A session whose link went while ``on_up`` looked away does not come up."""

        async def deaf(session: AMIProtocol) -> None:
            far_end.hang_up()

        self.client.on_up = deaf
        far_end = self.connect()
        self.log_in(far_end)
        self.assertIsNone(self.client.session)
        self.assertEqual(self.client.counters.failed_connects, 1)

    def test_on_up_swallows_its_cancellation(self) -> None:
        """Not even an ``on_up`` that will not be cancelled brings up a link that is gone."""

        async def stubborn(session: AMIProtocol) -> None:
            with contextlib.suppress(CancelledError):
                await waiting

        waiting: Deferred[None] = Deferred()
        self.client.on_up = stubborn
        self.bring_up().hang_up()
        self.assertIsNone(self.client.session)
        self.assertEqual(self.client.counters.failed_connects, 1)

    def test_on_up_raises(self) -> None:
        """If Asterisk cannot be read anew the session is dropped, and tried again."""
        self.resync = Deferred()
        far_end = self.bring_up()
        self.resync.errback(ValueError("no channels"))
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertTrue(any("no channels" in line for line in self.lines))
        self.resync = None
        self.reactor.advance(2)
        self.bring_up()
        self.assertIsNotNone(self.client.session)

    def test_on_up_never_ends(self) -> None:
        """All that comes before a session is up has one time limit more."""
        self.resync = Deferred()
        far_end = self.bring_up()
        for _ in range(5):
            self.reactor.advance(self.settings.ping_interval)
            far_end.answer()
        self.assertFalse(far_end.dropped)
        self.reactor.advance(self.settings.up_timeout - 50)
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertEqual((self.cancelled, self.client.counters.failed_connects), (1, 1))

    def test_half_open(self) -> None:
        """A peer that has gone silent is dropped after a ping, and another session tried."""
        far_end = self.bring_up()
        self.reactor.advance(self.settings.ping_interval)
        self.reactor.advance(self.settings.ping_timeout)
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertEqual([type(why) for why in self.down], [Silent])
        self.reactor.advance(2)
        self.assertEqual(self.tries, 2)

    def test_garbage(self) -> None:
        """A peer that is no Asterisk is dropped, counted, and tried again later."""
        far_end = self.connect()
        far_end.say("HTTP/1.1 400 Bad Request\n\n")
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertEqual(self.client.counters.garbage, 1)
        self.reactor.advance(2)
        self.assertEqual(self.tries, 2)

    def test_garbage_of_a_session_that_is_up(self) -> None:
        """A message past every bound ends the session with its reason."""
        far_end = self.bring_up()
        far_end.say("Event: " + "x" * (SETTINGS.limits.message_bytes + 10))
        self.assertTrue(far_end.dropped)
        far_end.hang_up()
        self.assertEqual([type(why).__name__ for why in self.down], ["MessageTooLarge"])


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
