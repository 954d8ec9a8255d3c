"""Tests of the whole of the webhooks, on a real journal and a real file; POSTs go to the test."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from random import random
from typing import Any
from unittest import SkipTest

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import deferLater

from ccdaemon.calls.model import State
from ccdaemon.clocks import WallClock
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers import consumer
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks import webhooks as webhooks_module
from ccdaemon.consumers.webhooks.delivery_file import NAME
from ccdaemon.consumers.webhooks.delivery_log import LogFilter
from ccdaemon.consumers.webhooks.enqueue import READER
from ccdaemon.consumers.webhooks.retry_policy import Attempt, DeliveryStatus
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.store import journal_writes
from ccdaemon.store.facts import Fact, StateFact
from ccdaemon.store.journal import Journal
from ccdaemon.store.sqlite_file import connect
from tests.store.parts import ANSWERED, JournalCase, chain, change, recording, turn, view

SECRET = ("whsec_YWJj",)


class Inbox:
    """Receivers by the names of their webhooks; ``status`` is what each answers."""

    def __init__(self) -> None:
        self.got: dict[str, list[str]] = defaultdict(list)
        self.bodies: list[Any] = []
        self.status: dict[str, int | None] = {}

    def sends(self, webhook: Webhook) -> Any:
        """What sends to one."""
        return _Sends(self, webhook.name)


class _Sends:
    def __init__(self, inbox: Inbox, name: str) -> None:
        self._inbox = inbox
        self._name = name

    async def post(self, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Take it, or not."""
        await turn()
        status = self._inbox.status.get(self._name, 200)
        if status == 200:
            self._inbox.got[self._name].append(headers["webhook-id"])
            self._inbox.bodies.append(msgspec.json.decode(body))
        return Attempt(status, None if status == 200 else "no")

    def close(self) -> Deferred[None]:
        """Close."""
        return succeed(None)


class WebhooksCase(JournalCase):
    """A journal, webhooks on it, and receivers."""

    def setUp(self) -> None:
        """Have receivers."""
        super().setUp()
        self.inbox = Inbox()

    def webhooks(self, journal: Journal, *names: str, **keys: Any) -> Webhooks:
        """Start webhooks of these names, that try again soon."""
        soon = {"retry_first": 0.05, "retry_longest": 0.05, "secret": SECRET, **keys}
        made = Webhooks(
            IReactorFromThreads(reactor),
            reactor,
            WallClock(reactor),
            journal,
            self.state_dir,
            [Webhook(url="http://a", name=name, **soon) for name in names],
            base_url="https://calls.example",
            sends=self.inbox.sends,
            spell=lambda tree, form: msgspec.json.encode(tree),
            random=random,
            window=0.0,
        )
        made.startService()
        # Runs before the journal's.
        self.addCleanup(lambda: made.stopService() if made.running else None)
        return made

    async def tell(
        self, journal: Journal, *calls: int, states: tuple[State, ...] = ANSWERED
    ) -> None:
        """Have calls happen from their beginning to their end."""
        for call_id in calls:
            facts: list[StateFact] = chain(view(call_id), states)
            for fact in facts:
                await journal.append([fact])

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something; the test's own time limit ends it."""
        while not true():
            await deferLater(reactor, 0.01)

    def arrived(self, count: int, name: str = "crm") -> Callable[[], bool]:
        """Whether so many have arrived."""
        return lambda: len(self.inbox.got[name]) >= count

    async def log(self, webhooks: Webhooks, **filter: Any) -> list[tuple[str, str]]:
        """The log, oldest first: names and how they stand."""
        page = await webhooks.page(1, 1000, LogFilter(**filter))
        return [(row.webhook_id, row.status.value) for row in reversed(page.rows)]


class DeadLetters(WebhooksCase):
    """Events of which no message can be made."""

    async def test_the_others_are_told(self) -> None:
        """One with a date that no calendar has is passed over, and said in health."""
        self.patch(webhooks_module, "COUNT_EVERY", 0.01)
        self.patch(consumer, "NOTE_EVERY", 0.0)
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm")
        facts = chain(view(1, date=99_999_999_999_999_000))
        await journal.append(facts[:2])
        await self.tell(journal, 2)
        await self.until(self.arrived(6))
        self.assertEqual([f"2-{seq}" for seq in range(1, 7)], self.inbox.got["crm"])
        reading = webhooks.reading
        self.assertEqual((2, 0, None), (reading.dead_letters, reading.backlog, reading.trouble))
        self.assertIn("event 2: ", reading.last_dead_letter or "")
        # The journal may forget what it could not tell; then nothing is left to say of it.
        await self.until(
            lambda: webhooks._enqueuer._consumer._noted_checkpoint == journal.high_watermark
        )
        await journal.append(facts[2:])
        await self.until(
            lambda: webhooks._enqueuer._consumer._noted_checkpoint == journal.high_watermark
        )
        await webhooks.stopService()
        again = self.webhooks(journal, "crm")
        await self.until(lambda: again.reading.dead_letters == 6)
        await journal._sqlite.write(lambda db: journal_writes.prune(db, 10**18))
        await self.until(lambda: again.reading.dead_letters == 0)

    async def test_what_the_file_does_not_take(self) -> None:
        """Of a batch that fails for one event, all others are taken."""
        take = deliveries.take

        def refuses(db: Any, told: Any, *rest: Any) -> None:
            if any(one.webhook_id == "1-2" for one in told):
                raise OverflowError("too large")
            take(db, told, *rest)

        self.patch(deliveries, "take", refuses)
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm")
        await journal.append(chain(view(1)))
        await self.until(self.arrived(5))
        self.assertEqual([f"1-{seq}" for seq in (1, 3, 4, 5, 6)], self.inbox.got["crm"])
        self.assertIn("OverflowError: too large", webhooks.reading.last_dead_letter or "")


class Telling(WebhooksCase):
    """What is told."""

    async def test_a_call(self) -> None:
        """Every state of a call arrives, in order, once."""
        journal = await self.begun()
        self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        self.assertEqual(self.inbox.got["crm"], [f"1-{seq}" for seq in range(1, 7)])
        states = [body["data"]["state"] for body in self.inbox.bodies]
        self.assertEqual(states, [state.value for state in ANSWERED])
        self.assertEqual({body["type"] for body in self.inbox.bodies}, {"call.state"})

    async def test_how_long_it_took(self) -> None:
        """Is told of each attempt, whatever came of it."""
        journal = await self.begun()
        took: list[str] = []
        webhooks = self.webhooks(journal, "crm", "other")
        webhooks.observe(lambda name, seconds: took.append(name))
        self.inbox.status["other"] = 500
        await self.tell(journal, 1)
        await self.until(lambda: took.count("crm") == 6 and took.count("other") > 1)

    async def test_recordings_and_operators(self) -> None:
        """A recording is told after its call's states, with the call's words and a whole link."""
        journal = await self.begun()
        types = ("call.state", "operator.state", "record.ready")
        self.webhooks(journal, "crm", types=types)
        await self.tell(journal, 1)
        facts: list[Fact] = [change("1000"), recording(1)]
        await journal.append(facts)
        await self.until(self.arrived(8))
        by_type = {body["type"]: body["data"] for body in self.inbox.bodies}
        self.assertEqual(by_type["operator.state"]["sip"], "1000")
        record = by_type["record.ready"]
        self.assertEqual((record["order_id"], record["call_id"]), ("order-1", 1))
        self.assertEqual(record["url"], "https://calls.example/api/record/1.wav")
        of_call = [name for name in self.inbox.got["crm"] if not name.startswith("operator")]
        self.assertEqual(of_call[-1], "record-1-8")

    async def test_a_recording_whose_call_is_forgotten(self) -> None:
        """It cannot be told; that is counted, and what comes after it is told."""
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm", types=("call.state", "record.ready"))
        await journal.append([recording(9)])
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        self.assertEqual(webhooks.dropped, 1)

    async def test_one_that_is_down(self) -> None:
        """A receiver that is down holds nobody up, and gets everything in order afterwards."""
        journal = await self.begun()
        self.inbox.status["wall"] = None
        webhooks = self.webhooks(journal, "crm", "wall")
        await self.tell(journal, 1, 2)
        await self.until(self.arrived(12))
        self.assertEqual(self.inbox.got["wall"], [])
        del self.inbox.status["wall"]
        await self.until(self.arrived(12, "wall"))
        for call_id in "12":
            of_call = [name for name in self.inbox.got["wall"] if name.startswith(call_id)]
            self.assertEqual(of_call, [f"{call_id}-{seq}" for seq in range(1, 7)])
        # Counted once it is noted.
        await self.until(lambda: [one.counts.delivered for one in webhooks.health] == [12, 12])
        crm, wall = webhooks.health
        self.assertEqual(crm.counts.errors, 0)
        self.assertGreater(wall.counts.errors, 0)
        self.assertEqual((wall.failing_since, wall.last_error), (None, "no"))

    async def test_health(self) -> None:
        """Health says what waits and since when, and that a receiver fails or is gone."""
        journal = await self.begun()
        self.inbox.status = {"crm": 500, "wall": 410}
        webhooks = self.webhooks(journal, "crm", "wall")
        await self.tell(journal, 1)
        await self.until(lambda: webhooks.health[1].stopped_since)
        # Counted now and then.
        await self.until(lambda: [one.backlog for one in webhooks.health] == [6, 0])
        crm, wall = webhooks.health
        self.assertEqual((crm.name, crm.shown, crm.stopped_since), ("crm", "http://a", None))
        self.assertTrue(crm.oldest and crm.failing_since)
        self.assertEqual(wall.backlog, 0)
        self.assertIsNone(webhooks.broken)

    async def test_redeliver(self) -> None:
        """What was stopped by 410 is sent when it is asked for, in order, and the rest goes on."""
        journal = await self.begun()
        self.inbox.status["crm"] = 410
        webhooks = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(lambda: webhooks.health[0].stopped_since)
        await self.until_logged(webhooks, [(f"1-{seq}", "stopped") for seq in range(1, 7)])
        self.inbox.status.clear()
        rows = await webhooks.redeliver(LogFilter(call_id=1))
        self.assertEqual([row.webhook_id for row in rows], [f"1-{seq}" for seq in range(1, 7)])
        await self.until(self.arrived(6))
        self.assertEqual(self.inbox.got["crm"], [f"1-{seq}" for seq in range(1, 7)])
        await self.tell(journal, 2)
        await self.until(self.arrived(12))

    async def until_logged(self, webhooks: Webhooks, rows: list[tuple[str, str]]) -> None:
        """Wait until the log is so."""
        while await self.log(webhooks) != rows:
            await deferLater(reactor, 0.01)


class Restarts(WebhooksCase):
    """The daemon stops and starts, in every way."""

    async def stop(self, webhooks: Webhooks) -> None:
        """Stop them, with the journal left open."""
        await webhooks.stopService()

    async def test_what_waited(self) -> None:
        """What was told while nobody sent, and what waited, is sent after the start, in order."""
        journal = await self.begun()
        self.inbox.status["crm"] = 503
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(lambda: first.health[0].counts.errors)
        await self.stop(first)
        await self.tell(journal, 2)
        self.inbox.status.clear()
        second = self.webhooks(journal, "crm")
        await self.until(self.arrived(12))
        for call_id in "12":
            of_call = [name for name in self.inbox.got["crm"] if name.startswith(call_id)]
            self.assertEqual(of_call, [f"{call_id}-{seq}" for seq in range(1, 7)])
        self.assertEqual(len(await self.log(second)), 12)

    async def test_the_first_start(self) -> None:
        """Who is configured for the first time is told from then on, not of the day before."""
        journal = await self.begun()
        await self.tell(journal, 1)
        self.webhooks(journal, "crm")
        await self.tell(journal, 2)
        await self.until(self.arrived(6))
        self.assertEqual({name[0] for name in self.inbox.got["crm"]}, {"2"})

    async def test_a_journal_that_is_new(self) -> None:
        """Where the journal begins above others' events, everything from its beginning is told."""
        journal = self.journal()
        self.webhooks(journal, "crm")
        await deferLater(reactor, 0.05)
        await journal.begin(5000, [])
        await journal.grant(1, 100)
        await self.tell(journal, 1)
        await self.until(self.arrived(6))

    async def test_a_journal_that_is_gone(self) -> None:
        """What its calls told, and was not taken from it, is sent once it has taken them back."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        await self.stop(first)
        await self.tell(journal, 2, states=ANSWERED[:4])
        kept = await journal.after(0, 100)
        await journal.stopService()
        for path in self.state_dir.glob("journal*"):
            path.unlink()
        anew = self.journal()
        self.webhooks(anew, "crm")
        await deferLater(reactor, 0.05)
        await anew.restore_calls([kept[6:], kept[:6]], 5000)
        await anew.begin(5000, [])
        await self.tell(anew, 3)
        await self.until(self.arrived(16))
        told = [f"2-{seq}" for seq in range(1, 5)] + [f"3-{seq}" for seq in range(1, 7)]
        self.assertEqual(sorted(self.inbox.got["crm"][6:]), told)

    async def test_none_any_more(self) -> None:
        """Without webhooks nothing holds the journal back, and what waited is given up."""
        journal = await self.begun()
        self.inbox.status["crm"] = 503
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(lambda: first.health[0].counts.errors)
        self.assertIsNotNone(await journal.checkpoint(READER))
        await self.stop(first)
        second = self.webhooks(journal)
        while await journal.checkpoint(READER) is not None:
            await deferLater(reactor, 0.01)
        self.assertEqual({status for _, status in await self.log(second)}, {"failed"})
        self.assertEqual(list(second.health), [])
        await self.tell(journal, 2)
        await self.stop(second)
        self.inbox.status.clear()
        self.webhooks(journal, "crm")
        await self.tell(journal, 3)
        await self.until(self.arrived(6))
        self.assertEqual({name[0] for name in self.inbox.got["crm"]}, {"3"})

    async def test_a_damaged_file(self) -> None:
        """A file that cannot be read is put aside; all that the journal has is told again."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        await self.stop(first)
        file = self.state_dir / NAME
        file.write_bytes(b"garbage" * 1000)
        self.webhooks(journal, "crm")
        await self.until(self.arrived(12))
        self.assertTrue((self.state_dir / "webhooks.damaged").exists())
        self.assertEqual(self.inbox.got["crm"][6:], [f"1-{seq}" for seq in range(1, 7)])

    async def test_a_file_of_another_version(self) -> None:
        """So is one that is none of ours."""
        journal = await self.begun()
        await self.stop(self.webhooks(journal, "crm"))
        with closing(connect(self.state_dir / NAME)) as db:
            db.execute("PRAGMA user_version = 99")
        self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))

    async def test_a_file_that_is_gone(self) -> None:
        """A file that was removed is made anew; it goes on where the journal was read up to."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        await self.stop(first)
        for path in self.state_dir.glob(f"{NAME}*"):
            path.unlink()
        self.webhooks(journal, "crm")
        await self.tell(journal, 2)
        await self.until(lambda: self.inbox.got["crm"][-1] == "2-6")

    async def test_the_journal_keeps_what_is_not_read(self) -> None:
        """The journal forgets nothing that has not been taken from it; then it may."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm")
        while await journal.checkpoint(READER) is None:
            await deferLater(reactor, 0.01)
        await self.stop(first)
        await self.tell(journal, 1)
        self.assertEqual(await journal.checkpoint(READER), 0)
        again = self.webhooks(journal, "crm")
        await self.until(self.arrived(6))
        await self.stop(again)
        self.assertEqual(await journal.checkpoint(READER), journal.high_watermark)


class Erasing(WebhooksCase):
    """What was sent of calls is to be forgotten."""

    async def test_in_no_file(self) -> None:
        """Neither in the table's file nor in its log, while both are open."""
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm")
        for call_id in (1, 2):
            await self.tell(journal, call_id)
        await self.until(self.arrived(12))
        await self.until(lambda: self.written("order-1") and self.written("order-2"))
        await webhooks.forget([1])
        self.assertEqual([], self.written("order-1"))
        self.assertNotEqual([], self.written("order-2"))

    def written(self, text: str) -> list[str]:
        """The files of the deliveries that hold a text."""
        files = self.state_dir.glob("webhooks*")
        return [file.name for file in files if text.encode() in file.read_bytes()]


class Disk(WebhooksCase):
    """The file cannot be written."""

    async def test_nothing_is_lost(self) -> None:
        """While it cannot, calls go on; when it can again everything is told, in order."""
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        file = self.state_dir / NAME
        file.rename(self.state_dir / "elsewhere")
        await self.tell(journal, 2)
        await self.until(lambda: webhooks.broken)
        self.assertIn(NAME, webhooks.broken or "")
        self.assertEqual(len(self.inbox.got["crm"]), 6)
        (self.state_dir / "elsewhere").rename(file)
        await self.until(self.arrived(12))
        self.assertEqual(self.inbox.got["crm"][6:], [f"2-{seq}" for seq in range(1, 7)])
        await self.until(lambda: webhooks.broken is None)

    async def test_not_even_at_the_start(self) -> None:
        """Nor then: what was told meanwhile is sent as soon as it can, whoever has read the log."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm")
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        await first.stopService()
        await self.start_unwritable(journal, 2)
        # And once more, with what SQLite has left beside it.
        await self.start_unwritable(journal, 3)

    async def start_unwritable(self, journal: Journal, call: int) -> None:
        """Start where the file cannot be written, have a call, and let it be written again."""
        files = [str(path) for path in self.state_dir.glob(f"{NAME}*")]
        if subprocess.run(["chattr", "+i", *files], capture_output=True).returncode:
            raise SkipTest("no file can be made unwritable here, for root at least")
        try:
            webhooks = self.webhooks(journal, "crm")
            await self.tell(journal, call)
            await self.until(lambda: webhooks.broken)
            self.assertEqual(len(await self.log(webhooks)), 6 * (call - 1))
        finally:
            subprocess.run(["chattr", "-i", *files], check=True)
        await self.until(self.arrived(6 * call))
        await self.until(lambda: webhooks.broken is None)
        await webhooks.stopService()


class Forgetting(WebhooksCase):
    """The log is kept for some days."""

    async def test_after_its_days(self) -> None:
        """What was through is forgotten after ``log_days``, also of a webhook that is gone."""
        journal = await self.begun()
        first = self.webhooks(journal, "crm", "old", log_days=2)
        await self.tell(journal, 1)
        await self.until(self.arrived(6))
        await self.until(self.arrived(6, "old"))
        await first.stopService()
        day = 24 * 3600 * 1000
        with closing(connect(self.state_dir / NAME)) as db:
            db.execute("UPDATE delivery SET ended = ended - ? WHERE webhook = 'crm'", (3 * day,))
            db.execute("UPDATE delivery SET ended = ended - ? WHERE webhook = 'old'", (8 * day,))
        self.patch(webhooks_module, "PRUNE_EVERY", 0.05)
        second = self.webhooks(journal, "crm", log_days=4)
        while await self.log(second, webhook="old"):
            await deferLater(reactor, 0.01)
        self.assertEqual(len(await self.log(second)), 6)
        await second.stopService()
        third = self.webhooks(journal, "crm", log_days=2)
        while await self.log(third):
            await deferLater(reactor, 0.01)


class Statuses(WebhooksCase):
    """The log of a whole run."""

    async def test_log(self) -> None:
        """Each delivery stands in it once, newest first, with the end it came to."""
        journal = await self.begun()
        webhooks = self.webhooks(journal, "crm", "wall", states=("CALL", "FINISH"))
        await self.tell(journal, 1)
        await self.until(self.arrived(2, "wall"))
        await self.until(self.arrived(2))
        delivered = frozenset({DeliveryStatus.DELIVERED})
        while len(await self.log(webhooks, statuses=delivered)) < 4:
            await deferLater(reactor, 0.01)
        page = await webhooks.page(1, 3, LogFilter())
        self.assertEqual((page.total, len(page.rows)), (4, 3))
        self.assertEqual([row.state for row in page.rows], ["FINISH", "FINISH", "CALL"])
