"""Tests of what is read of the last day at the start, for limits that outlive a restart."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import CallView, Direction
from ccdaemon.store import journal_reads as reads
from ccdaemon.store.facts import StateFact

JOURNAL = Path(__file__).parent / "before" / "journal.sql"


class DialledSinceTests(SynchronousTestCase):
    """Outbound calls, as they stand now."""

    def setUp(self) -> None:
        """Open a journal with calls of every kind."""
        self.db = sqlite3.connect(":memory:")
        self.addCleanup(self.db.close)
        self.db.executescript(JOURNAL.read_text())

    def newest(self) -> dict[int, CallView]:
        """Each outbound call by its newest state, found the long way."""
        found = {}
        for event in reads.held(self.db, 0, 1_000_000):
            if isinstance(event.fact, StateFact):
                found[event.fact.call.call_id] = event.fact.call
        return {
            number: call for number, call in found.items() if call.direction is Direction.OUTBOUND
        }

    def test_all_of_them(self) -> None:
        """Each is there once, with how long they talked."""
        expected = self.newest()
        self.assertGreater(len(expected), 1)
        found = reads.dialled_since(self.db, 0)
        self.assertEqual(len(found), len(expected))
        for call in found:
            known = expected[call.call_id]
            self.assertEqual(
                (call.phone, call.sip, call.date, call.talk_seconds, call.final),
                (known.phone, known.sip, known.date, known.talk_seconds, known.final),
            )

    def test_since(self) -> None:
        """Those that began before are not."""
        dates = sorted(call.date for call in self.newest().values())
        self.assertEqual(reads.dialled_since(self.db, dates[-1]), [])
        self.assertEqual(len(reads.dialled_since(self.db, dates[-1] - 1)), dates.count(dates[-1]))
