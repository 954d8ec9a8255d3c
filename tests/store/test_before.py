"""What version 0.1.0 left behind opens: its journal, its file of webhooks, its database.

``before/`` is what that version wrote, as text: three calls (one ended and recorded, one missed,
one that was open), two operators, an attached order, a webhook's message. A name in the code may
change, what stands in a file or a table may not.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFromThreads

from ccdaemon.calls.model import State
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile
from ccdaemon.store.facts import ActionFact, RecordFact
from ccdaemon.store.journal import Journal
from ccdaemon.store.migrate import migrate, migrations
from tests.store.history_parts import HistoryCase

BEFORE = Path(__file__).parent / "before"
#: Of these the migrations take care: a table of their own, and sums that triggers keep.
TABLES = ("call", "state", "record", "action", "operator_change", "missed", "node")


def restore(dump: str, path: Path) -> None:
    """Make a SQLite file of its dump."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript((BEFORE / dump).read_text("utf8"))


class BeforeTests(HistoryCase):
    """Nothing is lost or told anew."""

    def before(self) -> Journal:
        """The journal as that version left it."""
        restore("journal.sql", self.state_dir / "journal.sqlite")
        return self.journal()

    async def test_journal(self) -> None:
        """It is the same node and goes on where it stopped."""
        journal = self.before()
        self.assertTrue(journal.begun)
        self.assertIsNone(journal.not_ready)
        self.assertEqual("00e4d8", journal.node)
        self.assertIsNone(journal.health.set_aside)
        events = await journal.after(0, 100)
        self.assertEqual(list(range(1, 15)), [event.event_id for event in events])
        self.assertIsInstance(events[6].fact, RecordFact)
        self.assertIsInstance(events[11].fact, ActionFact)
        (live,) = await journal.open_calls()
        self.assertEqual((3, "key-3"), (live.call.call_id, live.call.external_key))
        self.assertEqual(4, journal.take_call_id())
        changes = await journal.last_operator_changes()
        self.assertEqual({"1000", "1001"}, set(changes))

    async def test_webhooks(self) -> None:
        """What waits is still to be sent."""
        restore("webhooks.sql", self.state_dir / "webhooks.sqlite")
        file = DeliveryFile(IReactorFromThreads(reactor), self.state_dir)
        self.assertFalse(file.open())
        self.addCleanup(file.close)
        (due,), _ = await file.read(deliveries.due, "crm", 2_000_000_000_000, 10)
        self.assertEqual(("msg_1", 0), (due.webhook_id, due.attempts))

    async def test_database(self) -> None:
        """Its migrations are ours, its rows are read, and what it lacks is shipped to it."""
        rows = [json.loads(line) for line in (BEFORE / "postgres.jsonl").open("rb")]
        applied = {row["number"]: row["checksum"] for table, row in rows if table == "migration"}
        link = await self.link()
        done = await migrate(link, migrations()[: len(applied)])
        self.assertEqual(applied, {one.number: one.checksum for one in done})
        for table in TABLES:
            for row in (row for name, row in rows if name == table):
                keys = ", ".join(row)
                self.sql(
                    f"SET session_replication_role = replica; INSERT INTO {table} ({keys})"
                    f" SELECT {keys} FROM json_populate_record(NULL::public.{table}, %s)",
                    json.dumps(row),
                )
        link.close()
        restore("journal.sql", self.state_dir / "journal.sqlite")
        daemon = await self.ready()
        await daemon.shipped()
        chain = await daemon.history.call(1)
        assert chain is not None
        self.assertEqual(State.FINISH, chain.states[-1].state.state)
        self.assertEqual(
            [(14, 3)],
            self.sql("SELECT max(event_id), count(DISTINCT call_id) FROM state"),
        )
        (told,) = self.sql("SELECT last_event_id FROM node WHERE node = '00e4d8'")
        self.assertEqual(14, cast(int, told[0]))
