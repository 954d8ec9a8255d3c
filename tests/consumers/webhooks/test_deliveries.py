"""Tests of the table of deliveries: order, turns, stopping, the log, redelivery, forgetting.

On SQLite in memory; the statements are the same.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.consumers.webhooks import deliveries, delivery_log
from ccdaemon.consumers.webhooks.deliveries import SCHEMA, Backlog, Due, QueuedMessage
from ccdaemon.consumers.webhooks.delivery_log import LogFilter
from ccdaemon.consumers.webhooks.retry_policy import Attempt, DeliveryStatus, RetryDecision
from tests.depth import examples

DELIVERED = RetryDecision(DeliveryStatus.DELIVERED)
FAILED = RetryDecision(DeliveryStatus.FAILED)
STOPPED = RetryDecision(DeliveryStatus.STOPPED)


def told(call_id: int, seq: int, *webhooks: str) -> QueuedMessage:
    """A state of a call."""
    return QueuedMessage(
        webhook_id=f"{call_id}-{seq}",
        type="call.state",
        ordering_key=f"call-{call_id}",
        call_id=call_id,
        seq=seq,
        state="CALL" if seq == 1 else "FINISH",
        body=b"{}",
        webhooks=webhooks or ("crm",),
    )


class TableCase(SynchronousTestCase):
    """A test with an empty table."""

    def setUp(self) -> None:
        """Make it."""
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(SCHEMA)
        self.addCleanup(self.db.close)

    def take(self, *messages: QueuedMessage, now: int = 0) -> None:
        """Take messages in."""
        deliveries.take(self.db, messages, 1, now)

    def due(self, webhook: str = "crm", now: int = 0) -> list[str]:
        """What may be sent, by webhook-id."""
        return [due.webhook_id for due in self.found(webhook, now)]

    def found(self, webhook: str = "crm", now: int = 0, limit: int = 100) -> list[Due]:
        """What may be sent."""
        return deliveries.due(self.db, webhook, now, limit)[0]

    def settle(
        self, webhook_id: str, verdict: RetryDecision, *, webhook: str = "crm", now: int = 0
    ) -> None:
        """Let an attempt have come to something."""
        (due,) = [one for one in self.found(webhook, now) if one.webhook_id == webhook_id]
        attempt = Attempt(200 if verdict is DELIVERED else 500)
        deliveries.settle(self.db, due.delivery_id, attempt, verdict, now)

    def log(self, **filter: object) -> list[delivery_log.DeliveryRow]:
        """The whole log, newest first."""
        wanted = LogFilter(**filter)  # type: ignore[arg-type]
        return list(delivery_log.page(self.db, 1, 1000, wanted).rows)

    def statuses(self, **filter: object) -> dict[str, str]:
        """By webhook-id how each stands."""
        return {row.webhook_id: row.status.value for row in self.log(**filter)}


class Orders(TableCase):
    """What was attached to a call holds for all that is and was said of it."""

    def told(self, call_id: int, seq: int, order: str, text: str = "x") -> QueuedMessage:
        """A state of a call under an order."""
        body = f'{{"type":"call.state","data":{{"order_id":{order},"x":"{text}","n":1.50}}}}'
        return replace(told(call_id, seq), body=body.encode())

    def attach(self, call_id: int, order_id: str, *messages: QueuedMessage) -> None:
        """Take an order in."""
        deliveries.take(self.db, messages, 2, 0, {call_id: order_id})

    def test_of_this_call(self) -> None:
        """What waits, and what comes with it; no other call, and no other letter of a body."""
        text = 'Ю \\"order_id\\":null'
        self.take(self.told(1, 1, "null", text), self.told(2, 1, '"12"'))
        self.attach(1, 'a"15', self.told(1, 2, "null"))
        first, other = (due.body for due in self.found())
        self.assertEqual(first, self.told(1, 1, '"a\\"15"', text).body)
        self.assertEqual(other, self.told(2, 1, '"12"').body)
        self.settle("1-1", DELIVERED)
        [second] = [due.body for due in self.found() if due.webhook_id == "1-2"]
        self.assertEqual(second, self.told(1, 2, '"a\\"15"').body)

    def test_sent_once_more(self) -> None:
        """What was delivered under the old one is sent once more under the new one."""
        self.take(self.told(1, 1, '"14"'))
        self.settle("1-1", DELIVERED)
        self.attach(1, "15")
        self.assertEqual(self.due(), [])
        delivery_log.redeliver(self.db, LogFilter(call_id=1), frozenset({"crm"}), 0)
        [again] = self.found()
        self.assertEqual(again.body, self.told(1, 1, '"15"').body)

    def test_that_has_none(self) -> None:
        """An operator's status speaks of a call, and of no order."""
        self.take(replace(told(1, 1), body=b'{"data":{"sip":"1000"}}'))
        self.attach(1, "15")
        self.assertEqual([due.body for due in self.found()], [b'{"data":{"sip":"1000"}}'])


class Order(TableCase):
    """Nothing of one ordering key overtakes, and ordering keys do not wait for each other."""

    def test_one_of_a_lane(self) -> None:
        """Of each call only the first state is due."""
        self.take(told(1, 1), told(1, 2), told(2, 1), told(1, 3), told(2, 2))
        self.assertEqual(self.due(), ["1-1", "2-1"])

    def test_the_next_one(self) -> None:
        """When a state is through, delivered or given up, the one after it is due."""
        self.take(told(1, 1), told(1, 2), told(1, 3))
        self.settle("1-1", DELIVERED)
        self.assertEqual(self.due(), ["1-2"])
        self.settle("1-2", FAILED)
        self.assertEqual(self.due(), ["1-3"])

    def test_a_pause(self) -> None:
        """A state that failed holds up its own call until its time, and no other."""
        self.take(told(1, 1), told(1, 2), told(2, 1))
        self.settle("1-1", RetryDecision(DeliveryStatus.WAITING, 500))
        self.assertEqual(self.due(now=499), ["2-1"])
        self.assertEqual(deliveries.due(self.db, "crm", 499, 9)[1], 500)
        self.assertEqual(self.due(now=500), ["2-1", "1-1"])
        self.settle("2-1", DELIVERED, now=500)
        self.assertEqual(deliveries.due(self.db, "crm", 500, 9)[1], None)

    def test_webhooks_apart(self) -> None:
        """What one webhook does not take is delivered to the other."""
        self.take(told(1, 1, "crm", "wall"), told(1, 2, "crm", "wall"))
        self.settle("1-1", DELIVERED, webhook="wall")
        self.settle("1-1", RetryDecision(DeliveryStatus.WAITING, 500))
        self.assertEqual((self.due("wall"), self.due("crm")), (["1-2"], []))

    def test_taken_once(self) -> None:
        """What is read from the journal a second time is not taken a second time."""
        self.take(told(1, 1), told(1, 2))
        self.settle("1-1", DELIVERED)
        self.take(told(1, 1), told(1, 2), told(1, 3))
        self.assertEqual(self.due(), ["1-2"])
        self.assertEqual(len(self.log()), 3)

    def test_longest_due_first(self) -> None:
        """Of what is due the longest due comes first, and only as many as asked for."""
        self.take(told(1, 1), now=5)
        self.take(told(2, 1), now=3)
        self.take(told(3, 1), now=4)
        self.assertEqual([due.webhook_id for due in self.found(now=9, limit=2)], ["2-1", "3-1"])

    @settings(max_examples=examples(150))
    @given(st.integers(0, 2**32), st.integers(1, 4))
    def test_any_failures(self, seed: int, parallel: int) -> None:
        """Whatever fails, is killed in the middle or sent anew: each call's order is kept."""
        chance = Random(seed)
        self.db.executescript("DELETE FROM message; DELETE FROM delivery; DELETE FROM position")
        chains = [[told(call, seq) for seq in range(1, 5)] for call in range(1, 4)]
        arrived: dict[str, list[int]] = defaultdict(list)
        under_way: dict[str, Due] = {}
        now = 0
        while (
            any(chains) or self.db.execute("SELECT 1 FROM delivery WHERE ended IS NULL").fetchone()
        ):
            now += chance.randrange(3)
            what = chance.randrange(8)
            if what == 0 and any(chains):
                chain = chance.choice([chain for chain in chains if chain])
                self.take(chain.pop(0), now=now)
            elif what == 1:
                under_way.clear()  # The daemon was killed.
            elif what <= 4:
                for due in self.found(now=now, limit=2 * parallel):
                    if due.ordering_key not in under_way and len(under_way) < parallel:
                        under_way[due.ordering_key] = due
            elif under_way:
                due = under_way.pop(chance.choice(sorted(under_way)))
                self.attempt(due, arrived, chance, now)
        for seqs in arrived.values():
            self.assertEqual(sorted(set(seqs)), [1, 2, 3, 4])
            first = [seqs.index(seq) for seq in (1, 2, 3, 4)]
            self.assertEqual(first, sorted(first), seqs)
            self.assertEqual(seqs, sorted(seqs), "a repetition came after what follows it")

    def attempt(self, due: Due, arrived: dict[str, list[int]], chance: Random, now: int) -> None:
        """The receiver has it; it fails or not, and that is noted or the daemon is killed."""
        arrived[due.ordering_key].append(int(due.webhook_id.partition("-")[2]))
        became = chance.randrange(5)
        if became == 0:
            return
        verdict = DELIVERED
        if became <= 2:
            verdict = RetryDecision(DeliveryStatus.WAITING, now + chance.randrange(5))
        deliveries.settle(self.db, due.delivery_id, Attempt(200), verdict, now)


class Stopping(TableCase):
    """A receiver that wants nothing any more."""

    def test_stopped(self) -> None:
        """After 410 nothing is due: neither what waited, nor what comes, nor what was under way."""
        self.take(told(1, 1), told(1, 2), told(2, 1), told(3, 1, "wall"))
        under_way = self.found()[1]
        self.settle("1-1", STOPPED)
        deliveries.settle(
            self.db,
            under_way.delivery_id,
            Attempt(500),
            RetryDecision(DeliveryStatus.WAITING, 9),
            1,
        )
        self.take(told(2, 2), told(4, 1))
        self.assertEqual((self.due(now=99), self.due("wall")), ([], ["3-1"]))
        self.assertEqual(set(self.statuses(webhook="crm").values()), {"stopped"})
        self.assertEqual(len(self.log(webhook="crm")), 5)

    def test_a_new_start(self) -> None:
        """A start lets a webhook go on, with what comes then."""
        self.take(told(1, 1), told(1, 2))
        self.settle("1-1", STOPPED)
        deliveries.begin(self.db, {"crm"}, 1)
        self.take(told(1, 3))
        self.assertEqual(self.due(), ["1-3"])

    def test_gone(self) -> None:
        """What waits for a webhook that is not configured any more is given up, and says so."""
        self.take(told(1, 1, "old", "crm"))
        deliveries.begin(self.db, {"crm"}, 7)
        (row,) = self.log(webhook="old")
        self.assertEqual((row.status, row.ended), (DeliveryStatus.FAILED, 7))
        self.assertEqual(row.error, "the webhook is not configured any more")
        self.assertEqual(self.due(), ["1-1"])

    def test_back(self) -> None:
        """When a receiver is back, what waited for it goes at once; but not what it put off."""
        self.take(told(1, 1), told(2, 1), told(3, 1), told(4, 1))
        for due, status in zip(self.found(), (None, 503, 429, 404), strict=True):
            verdict = RetryDecision(DeliveryStatus.WAITING, 500)
            deliveries.settle(self.db, due.delivery_id, Attempt(status), verdict, 0)
        self.assertEqual([deliveries.failing(self.db, "crm", limit) for limit in (9, 2)], [4, 2])
        deliveries.hasten(self.db, "crm", 10)
        self.assertEqual(self.due(now=10), ["1-1", "2-1", "4-1"])


class Log(TableCase):
    """What is told of deliveries."""

    def test_row(self) -> None:
        """A row says what was sent where, how often, when, and what came back."""
        self.take(told(1, 1), now=5)
        due = self.found(now=6)[0]
        error = Attempt(500, "answered 500")
        deliveries.settle(
            self.db, due.delivery_id, error, RetryDecision(DeliveryStatus.WAITING, 9), 7
        )
        (row,) = self.log()
        self.assertEqual((row.webhook, row.webhook_id, row.state), ("crm", "1-1", "CALL"))
        self.assertEqual((row.call_id, row.seq, row.type), (1, 1, "call.state"))
        self.assertEqual((row.attempts, row.http_status, row.error), (1, 500, "answered 500"))
        self.assertEqual((row.told, row.first, row.last, row.next, row.ended), (5, 7, 7, 9, None))
        deliveries.settle(self.db, due.delivery_id, Attempt(204), DELIVERED, 9)
        (row,) = self.log()
        self.assertEqual((row.attempts, row.http_status, row.error), (2, 204, None))
        self.assertEqual((row.first, row.last, row.next, row.ended), (7, 9, None, 9))

    def test_pages(self) -> None:
        """Pages are newest first, complete, and empty beyond the end."""
        self.take(*[told(call, 1) for call in range(1, 6)])
        pages = [delivery_log.page(self.db, page, 2, LogFilter()) for page in (1, 2, 3, 4)]
        self.assertEqual([page.total for page in pages], [5, 5, 5, 5])
        shown = [[row.call_id for row in page.rows] for page in pages]
        self.assertEqual(shown, [[5, 4], [3, 2], [1], []])

    def test_filters(self) -> None:
        """Each filter restricts, and together they restrict together."""
        self.take(told(1, 1, "crm", "wall"), told(1, 2), now=10)
        self.take(told(2, 1), now=20)
        self.settle("2-1", DELIVERED, now=20)
        waiting = frozenset({DeliveryStatus.WAITING})
        for filter, count in (
            ({"call_id": 1}, 3),
            ({"call_id": 3}, 0),
            ({"webhook": "wall"}, 1),
            ({"statuses": waiting}, 3),
            ({"statuses": frozenset({*waiting, DeliveryStatus.DELIVERED})}, 4),
            ({"call_id": 2, "statuses": waiting}, 0),
            ({"from_ms": 11}, 1),
            ({"from_ms": 10, "to_ms": 10}, 3),
            ({"delivery_id": self.log(call_id=2)[0].delivery_id}, 1),
        ):
            with self.subTest(filter=filter):
                self.assertEqual(len(self.log(**filter)), count)

    def test_backlog(self) -> None:
        """What waits is counted by webhook, with the age of the oldest."""
        self.take(told(1, 1, "crm", "wall"), now=10)
        self.take(told(2, 1), now=20)
        self.settle("1-1", DELIVERED, webhook="wall", now=20)
        self.assertEqual(deliveries.backlog(self.db), {"crm": Backlog(2, 2, 10)})

    def test_put_back_while_nobody_looked(self) -> None:
        """What was touched at a moment that is yet to come waits its pause, from now on."""
        waits = RetryDecision(DeliveryStatus.WAITING, 10_060)
        for number, now in enumerate((10_000, 10_000, 10, 10_000), 1):
            self.take(told(number, 1), now=now)
        self.settle("1-1", waits, now=10_000)
        self.settle("3-1", RetryDecision(DeliveryStatus.WAITING, 4_000), now=3_000)
        self.settle("4-1", DELIVERED, now=10_000)
        deliveries.begin(self.db, {"crm"}, 5_000)
        self.assertEqual(self.due(now=5_000), ["3-1", "2-1"])
        self.assertEqual(self.due(now=5_060), ["3-1", "2-1", "1-1"])
        self.assertEqual([due.since for due in self.found(now=9_999)], [10, 5_000, 5_000])

    def test_put_back_and_sent_once_more(self) -> None:
        """What is to be sent once more is sent, however long ago it was tried last."""
        self.take(told(1, 1), told(1, 2), now=10)
        self.settle("1-1", DELIVERED, now=20)
        delivery_log.redeliver(self.db, LogFilter(), frozenset({"crm"}), 10_000)
        deliveries.begin(self.db, {"crm"}, 5_000)
        self.assertEqual(self.due(now=5_000), ["1-1"])

    def test_forgetting(self) -> None:
        """What was through before a moment is forgotten, with its message when nobody needs it."""
        self.take(told(1, 1, "crm", "wall"), told(2, 1))
        self.settle("1-1", DELIVERED, now=5)
        self.settle("2-1", DELIVERED, now=6)
        self.assertEqual(deliveries.named(self.db), ["crm"])
        self.assertFalse(deliveries.prune(self.db, "crm", 6))
        self.assertEqual(self.statuses(), {"1-1": "waiting", "2-1": "delivered"})
        self.assertEqual(self.due("wall"), ["1-1"])
        deliveries.prune(self.db, "crm", 7)
        self.settle("1-1", DELIVERED, webhook="wall", now=8)
        self.assertEqual(deliveries.named(self.db), ["wall"])
        deliveries.prune(self.db, "wall", 9)
        self.assertEqual(self.db.execute("SELECT count(*) FROM message").fetchone(), (0,))
        self.assertEqual(deliveries.named(self.db), [])

    def test_forgetting_a_call(self) -> None:
        """A call that is to be forgotten leaves nothing, whether it was sent or waits."""
        self.take(told(1, 1, "crm", "wall"), told(1, 2), told(2, 1), told(3, 1))
        self.settle("1-1", DELIVERED)
        deliveries.forget(self.db, [1, 2])
        self.assertEqual(self.statuses(), {"3-1": "waiting"})
        self.assertEqual(self.due("wall"), [])
        self.assertEqual(self.db.execute("SELECT count(*) FROM message").fetchone(), (1,))

    def test_ids_are_not_used_again(self) -> None:
        """A delivery's number is its own also after it was forgotten."""
        self.take(told(1, 1))
        (before,) = self.log()
        self.settle("1-1", DELIVERED, now=5)
        deliveries.prune(self.db, "crm", 6)
        self.take(told(2, 1))
        self.assertGreater(self.log()[0].delivery_id, before.delivery_id)


class Redelivery(TableCase):
    """Sending once more."""

    def redeliver(self, now: int = 50, **filter: object) -> Sequence[str]:
        """Ask for it; what will be sent."""
        wanted = LogFilter(**filter)  # type: ignore[arg-type]
        rows = delivery_log.redeliver(self.db, wanted, frozenset({"crm", "wall"}), now)
        self.assertEqual({row.status for row in rows} - {DeliveryStatus.WAITING}, set())
        return [row.webhook_id for row in rows]

    def test_a_call(self) -> None:
        """A call is sent again in its order, with a day of its own for retries."""
        self.take(told(1, 1), told(1, 2), told(2, 1))
        for webhook_id in ("1-1", "1-2", "2-1"):
            self.settle(webhook_id, DELIVERED)
        self.assertEqual(self.redeliver(call_id=1), ["1-1", "1-2"])
        (due,) = self.found(now=50)
        self.assertEqual((due.webhook_id, due.attempts, due.since), ("1-1", 1, 50))
        self.settle("1-1", DELIVERED, now=51)
        self.assertEqual(self.due(now=51), ["1-2"])

    def test_before_what_waits(self) -> None:
        """A state sent again takes its turn before the later ones that still wait."""
        self.take(told(1, 1), told(1, 2))
        first = self.found()[0].delivery_id
        self.settle("1-1", FAILED)
        self.settle("1-2", RetryDecision(DeliveryStatus.WAITING, 500))
        self.assertEqual(self.redeliver(delivery_id=first), ["1-1"])
        self.assertEqual(self.due(now=900), ["1-1"])
        self.settle("1-1", DELIVERED, now=900)
        self.assertEqual(self.due(now=900), ["1-2"])

    def test_what_waits_goes_at_once(self) -> None:
        """What waits anyhow does not wait any longer."""
        self.take(told(1, 1))
        self.settle("1-1", RetryDecision(DeliveryStatus.WAITING, 9000))
        self.assertEqual(self.redeliver(call_id=1), ["1-1"])
        self.assertEqual(self.due(now=50), ["1-1"])

    def test_stopped(self) -> None:
        """A webhook that had stopped goes on."""
        self.take(told(1, 1), told(2, 1))
        self.settle("1-1", STOPPED)
        self.assertEqual(
            self.redeliver(statuses=frozenset({DeliveryStatus.STOPPED})), ["1-1", "2-1"]
        )
        self.take(told(3, 1), now=50)
        self.assertEqual(self.due(now=50), ["1-1", "2-1", "3-1"])

    def test_nothing(self) -> None:
        """Where nothing fits nothing is sent; nor to a webhook that is not configured."""
        self.take(told(1, 1, "old"))
        self.assertEqual(self.redeliver(call_id=1), [])
        self.assertEqual(self.redeliver(delivery_id=99), [])

    def test_bounded(self) -> None:
        """No more are sent again in one go than a thousand, the oldest first."""
        self.take(*[told(call, 1) for call in range(1, 1100)])
        deliveries.stop(self.db, "crm", 1)
        stopped = frozenset({DeliveryStatus.STOPPED})
        self.assertEqual(len(self.redeliver(statuses=stopped)), 1000)
        self.assertEqual(len(self.redeliver(statuses=stopped)), 99)


class Values(SynchronousTestCase):
    """The small things."""

    def test_nobody_wants_it(self) -> None:
        """A message that goes to nobody leaves no delivery."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        db.executescript(SCHEMA)
        deliveries.take(db, [replace(told(1, 1), webhooks=())], 8, 0)
        self.assertEqual(deliveries.checkpoint(db), 8)
        self.assertEqual(deliveries.due(db, "crm", 99, 9), ([], None))
        db.close()
