"""The AMI client: when its session is gone, and when the next one is tried."""

from __future__ import annotations

import contextlib

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone

from ccdaemon.ami.ami_errors import ConnectionLost, Silent
from ccdaemon.ami.ami_session import AMIProtocol
from tests.ami.client_case import SETTINGS, ClientCase


class DownTests(ClientCase):
    """When a session is gone, and when the next one is tried."""

    def test_down(self) -> None:
        """A lost session is told once, with its reason, after its actions have failed."""
        far_end = self.bring_up()
        done = self.client.ping()
        far_end.hang_up()
        self.failureResultOf(done, ConnectionLost)
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
        """After refused credentials tries come ever more rarely; another failure ends that."""
        pauses = (5, 10, 20, 40, 60, 60)
        for tries, pause in enumerate(pauses, 1):
            far_end = self.connect()
            far_end.greet()
            far_end.answer("Challenge: 1\n")
            far_end.answer("Message: Authentication failed\n", "Error")
            self.assertTrue(far_end.dropped)
            far_end.hang_up()
            self.assertEqual(self.client.counters.refused_logins, tries)
            self.reactor.advance(pause - 0.1)
            self.assertEqual(self.tries, tries)
            self.reactor.advance(0.1)
            self.assertEqual(self.tries, tries + 1)
        self.refuse()
        self.reactor.advance(20)
        self.assertEqual(self.tries, len(pauses) + 2)

    def test_secret_that_is_right_at_last(self) -> None:
        """Once a login was taken, a lost session is tried again as soon as any."""
        far_end = self.connect()
        far_end.greet()
        far_end.answer("Message: Authentication failed\n", "Error")
        far_end.hang_up()
        self.reactor.advance(5)
        self.bring_up().hang_up()
        self.reactor.advance(2)
        self.assertEqual(self.tries, 3)
        self.assertEqual(self.client.trouble, None)

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
