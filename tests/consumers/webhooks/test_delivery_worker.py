"""Tests of the worker: turns, pauses, limits, and what the receiver's answers do.

With a clock of its own and a table in memory that answers when it is let.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.clock_steps import ClockSteps
from ccdaemon.consumers.webhooks.deliveries import SCHEMA, QueuedMessage
from ccdaemon.consumers.webhooks.delivery_worker import GRACE, DeliveryWorker
from ccdaemon.consumers.webhooks.retry_policy import Attempt
from ccdaemon.consumers.webhooks.signing import key_of, signature
from tests.clocks import HOUR, Wall

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Table:
    """The file's part, in memory; ``slow`` holds answers back until they are let go.

    ``stuck`` is never written: the disk does not take it.
    """

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.slow = False
        self.held: list[Callable[[], None]] = []
        self.stuck: Callable[..., Any] | None = None

    def read(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Read, as of now, and answer at once or later."""
        return self._answer(function(self.db, *args))

    def write(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Write at once, or wait for the disk."""
        if function is self.stuck:
            return Deferred()
        return succeed(function(self.db, *args))

    def _answer(self, result: Any) -> Deferred[Any]:
        if not self.slow:
            return succeed(result)
        later: Deferred[Any] = Deferred()
        self.held.append(lambda: later.callback(result))
        return later

    def let_go(self) -> None:
        """Give the answers that were held back."""
        held, self.held = self.held, []
        for answer in held:
            answer()


class Receiver:
    """POSTs that are under way, until the test answers them."""

    def __init__(self) -> None:
        self.open: dict[str, Deferred[Attempt]] = {}
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []
        self.cut: list[str] = []
        self.closed = False
        self.breaks: Exception | None = None

    async def post(self, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Take it."""
        name = headers["webhook-id"]
        assert name not in self.open, "twice at once"
        self.got.append((name, headers, body))
        if self.breaks is not None:
            raise self.breaks
        self.open[name] = Deferred(lambda _: self.cut.append(name))
        try:
            return await self.open[name]
        finally:
            del self.open[name]

    def close(self) -> Deferred[None]:
        """Close."""
        self.closed = True
        return succeed(None)

    def answer(self, name: str, status: int | None = 200, retry_after: str | None = None) -> None:
        """Answer one."""
        self.open[name].callback(Attempt(status, None if status == 200 else "no", retry_after))

    @property
    def names(self) -> list[str]:
        """What has arrived."""
        return [name for name, _, _ in self.got]


class CourierCase(SynchronousTestCase):
    """A worker with everything around it."""

    def setUp(self) -> None:
        """Have no chance: the pause is the whole pause."""
        self.clock = Clock()
        self.wall = Wall(self.clock, 1_795_420_800)
        self.table = Table()
        self.due_times = ClockSteps(cast(Any, self.table), cast(Any, self.clock), self.wall)
        self.addCleanup(self.table.db.close)
        self.receiver = Receiver()

    def worker(self, **keys: Any) -> DeliveryWorker:
        """Start one."""
        settings = {"url": "http://a", "name": "crm", "secret": (SECRET,), **keys}
        worker = DeliveryWorker(
            Webhook(**settings),
            self.receiver,
            cast(Any, self.table),
            cast(Any, self.clock),
            self.due_times,
            lambda tree, form: f"<{form}>{tree}".encode(),
            lambda: 1.0,
        )
        worker.start()
        return worker

    def take(self, worker: DeliveryWorker | None, *names: str) -> None:
        """Take messages in, ``<call>-<seq>``."""
        messages = [
            QueuedMessage(
                name, "call.state", name.partition("-")[0], 1, 1, "CALL", b'{"a":1}', ("crm",)
            )
            for name in names
        ]
        deliveries.take(self.table.db, messages, 1, self.due_times.now())
        if worker is not None:
            worker.wake()


class Sending(CourierCase):
    """What is sent, and when."""

    def test_signed(self) -> None:
        """A POST carries its type and the three headers, signed with the moment of the attempt."""
        self.take(None, "1-1")
        self.worker()
        ((_, headers, body),) = self.receiver.got
        self.assertEqual(body, b'{"a":1}')
        expected = signature(key_of(SECRET), "1-1", 1795420800, body)
        self.assertEqual(
            headers,
            {
                "Content-Type": "application/json",
                "webhook-id": "1-1",
                "webhook-timestamp": "1795420800",
                "webhook-signature": expected,
            },
        )

    def test_a_retry_is_signed_anew(self) -> None:
        """Over retries the id stays, and the moment and so the signature are new."""
        worker = self.worker()
        self.take(worker, "1-1")
        self.receiver.answer("1-1", 500)
        self.clock.advance(1)
        (_, first, _), (_, second, _) = self.receiver.got
        self.assertEqual(first["webhook-id"], second["webhook-id"])
        self.assertEqual(int(second["webhook-timestamp"]), int(first["webhook-timestamp"]) + 1)
        self.assertNotEqual(first["webhook-signature"], second["webhook-signature"])

    def test_xml(self) -> None:
        """A webhook that wants XML gets it, and what is signed is what is sent."""
        self.take(None, "1-1")
        self.worker(format="xml")
        ((_, headers, body),) = self.receiver.got
        self.assertEqual(body, b"<xml>{'a': 1}")
        self.assertEqual(headers["Content-Type"], "application/xml; charset=utf-8")
        expected = signature(key_of(SECRET), "1-1", 1795420800, body)
        self.assertEqual(headers["webhook-signature"], expected)

    def test_in_turn(self) -> None:
        """The next state of a call is sent when the one before it is through; others go at once."""
        worker = self.worker()
        self.take(worker, "1-1", "1-2", "2-1")
        self.assertEqual(self.receiver.names, ["1-1", "2-1"])
        self.receiver.answer("1-1")
        self.assertEqual(self.receiver.names, ["1-1", "2-1", "1-2"])

    def test_so_many_at_once(self) -> None:
        """No more are under way than ``parallel`` says."""
        worker = self.worker(parallel=2)
        self.take(worker, "1-1", "2-1", "3-1", "4-1")
        self.assertEqual(set(self.receiver.open), {"1-1", "2-1"})
        self.receiver.answer("2-1")
        self.assertEqual(set(self.receiver.open), {"1-1", "3-1"})

    def test_pauses(self) -> None:
        """What failed is tried again after its pause, and nothing of its call before."""
        worker = self.worker()
        self.take(worker, "1-1", "1-2")
        for pause in (1, 2, 4, 8):
            self.receiver.answer("1-1", 500)
            self.clock.advance(pause - 0.5)
            self.assertEqual(self.receiver.open, {})
            self.clock.advance(0.5)
            self.assertEqual(list(self.receiver.open), ["1-1"])
        self.receiver.answer("1-1")
        self.assertEqual(self.receiver.names, ["1-1"] * 5 + ["1-2"])
        self.assertEqual((worker.receiver.counts.delivered, worker.receiver.counts.errors), (1, 4))

    def test_retry_after(self) -> None:
        """Retry-After is kept to."""
        worker = self.worker()
        self.take(worker, "1-1")
        self.receiver.answer("1-1", 503, "30")
        self.clock.advance(29)
        self.assertEqual(len(self.receiver.got), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.receiver.got), 2)

    def test_given_up(self) -> None:
        """After a day it is given up, and the next one of the call has its turn."""
        worker = self.worker(retry_first=3600.0, retry_longest=3600.0)
        self.take(worker, "1-1", "1-2")
        for _ in range(24):
            self.receiver.answer("1-1", 500)
            self.clock.pump([60] * 60)
        self.receiver.answer("1-1", 500)
        self.assertEqual(list(self.receiver.open), ["1-2"])
        self.assertEqual((worker.receiver.counts.given_up, len(self.receiver.got)), (1, 26))

    def test_what_nobody_foresaw(self) -> None:
        """A POST that cannot even be made waits its time like any other."""
        worker = self.worker()
        self.receiver.breaks = ValueError("no")
        self.take(worker, "1-1")
        self.assertEqual(len(self.receiver.got), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.receiver.breaks = None
        self.clock.advance(1)
        self.receiver.answer("1-1")
        self.assertEqual(worker.receiver.last_error, "ValueError: no")

    def test_an_answer_that_is_old(self) -> None:
        """What was delivered while the table was read is not sent again."""
        worker = self.worker()
        self.take(worker, "1-1")
        self.table.slow = True
        self.take(worker, "2-1")
        self.receiver.answer("1-1")
        self.table.let_go()
        self.table.let_go()
        self.assertEqual(self.receiver.names, ["1-1", "2-1"])

    def test_an_answer_from_between(self) -> None:
        """Nor where the next of its key is under way by then; and what came with it is sent."""
        worker = self.worker()
        self.take(worker, "1-1")
        self.table.slow = True
        self.take(worker, "1-2", "2-1")
        self.receiver.answer("1-1")
        self.table.let_go()
        self.assertEqual(self.receiver.names, ["1-1", "1-2", "2-1"])
        self.receiver.answer("1-2")
        self.table.let_go()
        self.assertEqual(self.receiver.names, ["1-1", "1-2", "2-1"])

    def test_places_are_shared(self) -> None:
        """A call with many states gives its place up to others that wait, and has its turn."""
        worker = self.worker(parallel=1)
        self.take(worker, "1-1", "1-2", "1-3", "2-1")
        for name in ("1-1", "2-1", "1-2", "1-3"):
            self.clock.advance(0.01)
            self.receiver.answer(name)
        self.assertEqual(self.receiver.names, ["1-1", "2-1", "1-2", "1-3"])

    def test_told_while_the_one_before_ends(self) -> None:
        """A state that is taken in just when the one before it has ended does not wait."""
        worker = self.worker()
        self.take(worker, "1-1")
        self.table.slow = True
        self.receiver.answer("1-1")
        self.take(worker, "1-2")
        self.table.let_go()
        self.assertEqual(list(self.receiver.open), ["1-2"])

    def test_the_clock_is_set(self) -> None:
        """What waits for its next attempt waits its seconds, wherever the clock is put."""
        for by in (-HOUR, HOUR, -48 * HOUR, 48 * HOUR):
            self.setUp()
            worker = self.worker()
            self.take(worker, "1-1")
            self.receiver.answer("1-1", 500)
            self.wall.set(by)
            self.take(worker, "2-1")
            self.clock.advance(worker.webhook.retry_first - 0.5)
            self.assertEqual(self.receiver.names, ["1-1", "2-1"])
            self.clock.advance(0.5)
            self.assertEqual(self.receiver.names, ["1-1", "2-1", "1-1"])

    def test_the_clock_is_set_during_an_attempt(self) -> None:
        """What is being sent meanwhile is not given up, and waits no longer than it should."""
        for by in (-48 * HOUR, 48 * HOUR):
            self.setUp()
            worker = self.worker()
            self.take(worker, "1-1")
            self.wall.set(by)
            self.receiver.answer("1-1", 500)
            self.clock.advance(worker.webhook.retry_first)
            self.assertEqual(self.receiver.names, ["1-1", "1-1"])

    def test_the_receiver_is_back_after_the_clock_was_put_back(self) -> None:
        """What waits is sent at once, as always."""
        worker = self.worker(retry_first=3000, retry_longest=3600)
        self.take(worker, "1-1", "2-1", "3-1")
        self.receiver.answer("1-1", 500)
        self.receiver.answer("2-1", 500)
        self.wall.set(-HOUR)
        self.receiver.answer("3-1")
        self.assertEqual(sorted(self.receiver.names), ["1-1", "1-1", "2-1", "2-1", "3-1"])


class Answers(CourierCase):
    """What the receiver says, as a whole."""

    def test_gone(self) -> None:
        """410 stops the webhook, for what waits and what comes, until it is resumed."""
        worker = self.worker()
        self.take(worker, "1-1", "1-2", "2-1")
        self.receiver.answer("1-1", 410)
        self.receiver.answer("2-1", 500)
        self.take(worker, "3-1")
        self.clock.advance(3600)
        self.assertEqual(self.receiver.names, ["1-1", "2-1"])
        self.assertEqual(worker.receiver.stopped_since, 1795420800000)
        self.table.db.execute("DELETE FROM stopped")
        self.take(worker, "4-1")
        self.assertEqual(self.receiver.open, {})
        worker.resume()
        self.assertEqual(list(self.receiver.open), ["4-1"])
        self.assertIsNone(worker.receiver.stopped_since)

    def test_back_again(self) -> None:
        """When a receiver is back after it failed for several calls, all of them are tried."""
        worker = self.worker(retry_first=600.0)
        self.take(worker, "1-1", "2-1", "3-1")
        for name in ("1-1", "2-1", "3-1"):
            self.receiver.answer(name, None)
        self.assertEqual(worker.receiver.failing_since, 1795420800000)
        self.clock.advance(5)
        self.take(worker, "4-1")
        self.assertEqual(list(self.receiver.open), ["4-1"])
        self.receiver.answer("4-1")
        self.assertEqual(set(self.receiver.open), {"1-1", "2-1", "3-1"})
        self.assertIsNone(worker.receiver.failing_since)

    def test_back_after_a_start(self) -> None:
        """So they are where the daemon has been started since."""
        first = self.worker(retry_first=600.0)
        self.take(first, "1-1", "2-1")
        self.receiver.answer("1-1", None)
        self.receiver.answer("2-1", None)
        self.successResultOf(Deferred.fromCoroutine(first.stop()))
        worker = self.worker(retry_first=600.0)
        self.assertEqual(self.receiver.open, {})
        for name in ("3-1", "4-1"):
            self.take(worker, name)
            self.receiver.answer(name)
        self.assertEqual(set(self.receiver.open), {"1-1", "2-1"})
        self.receiver.answer("1-1")
        self.receiver.answer("2-1", None)
        self.take(worker, "5-1")
        self.receiver.answer("5-1")
        self.assertEqual(self.receiver.open, {})

    def test_one_that_it_does_not_like(self) -> None:
        """One call that fails for what it says is not tried each time another goes through."""
        worker = self.worker(retry_first=600.0)
        self.take(worker, "1-1")
        self.receiver.answer("1-1", 500)
        for call in range(2, 9):
            self.take(worker, f"{call}-1")
            self.receiver.answer(f"{call}-1")
        self.assertEqual(self.receiver.names.count("1-1"), 1)

    def test_two_that_it_does_not_like(self) -> None:
        """Nor are several such calls, again and again: once a minute at most."""
        worker = self.worker(retry_first=600.0)
        self.take(worker, "1-1", "2-1")
        for call in range(3, 103):
            for name in ("1-1", "2-1"):
                if name in self.receiver.open:
                    self.receiver.answer(name, 422)
            self.take(worker, f"{call}-1")
            for name in set(self.receiver.open) - {"1-1", "2-1"}:
                self.receiver.answer(name)
            self.clock.advance(1)
        self.assertIn(self.receiver.names.count("1-1"), (2, 3))
        self.assertGreater(worker.receiver.counts.delivered, 90)

    def test_back_twice_within_a_minute(self) -> None:
        """Who is away again at once, and comes back, gets what waits a minute later."""
        worker = self.worker(retry_first=600.0)
        self.take(worker, "1-1", "2-1")
        self.receiver.answer("1-1", None)
        self.receiver.answer("2-1", None)
        self.take(worker, "3-1")
        self.receiver.answer("3-1")
        self.assertEqual(set(self.receiver.open), {"1-1", "2-1"})
        self.receiver.answer("1-1", None)
        self.receiver.answer("2-1", None)
        self.clock.advance(30)
        self.take(worker, "4-1")
        self.receiver.answer("4-1")
        self.assertEqual(self.receiver.open, {})
        self.clock.pump([10] * 3)
        self.assertEqual(set(self.receiver.open), {"1-1", "2-1"})


class Stopping(CourierCase):
    """The daemon stops."""

    def test_under_way(self) -> None:
        """What is under way may end, nothing new begins, and connections are closed."""
        worker = self.worker()
        self.take(worker, "1-1", "1-2")
        stopped = Deferred.fromCoroutine(worker.stop())
        self.assertNoResult(stopped)
        self.receiver.answer("1-1")
        self.successResultOf(stopped)
        self.assertEqual(self.receiver.names, ["1-1"])
        self.assertTrue(self.receiver.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_for_ever(self) -> None:
        """What does not end in time is broken off, and still waits at the next start."""
        worker = self.worker()
        self.take(worker, "1-1")
        stopped = Deferred.fromCoroutine(worker.stop())
        self.clock.advance(GRACE)
        self.successResultOf(stopped)
        self.assertEqual(self.receiver.cut, ["1-1"])
        self.worker()
        self.assertEqual(self.receiver.names, ["1-1", "1-1"])

    def test_while_it_looks(self) -> None:
        """A look that is under way is waited for, and begins nothing."""
        worker = self.worker()
        self.table.slow = True
        self.take(worker, "1-1")
        stopped = Deferred.fromCoroutine(worker.stop())
        self.assertNoResult(stopped)
        self.table.let_go()
        self.successResultOf(stopped)
        self.assertEqual((self.receiver.got, self.clock.getDelayedCalls()), ([], []))

    def test_while_the_disk_takes_nothing(self) -> None:
        """What waits for the disk before anything is looked for is not waited for, for ever."""
        worker = self.worker()
        self.take(worker, "1-1", "2-1", "3-1")
        self.table.stuck = deliveries.hasten
        for name, status in (("1-1", 500), ("2-1", 500), ("3-1", 200)):
            self.receiver.answer(name, status)
        stopped = Deferred.fromCoroutine(worker.stop())
        self.assertNoResult(stopped)
        self.clock.advance(GRACE)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
