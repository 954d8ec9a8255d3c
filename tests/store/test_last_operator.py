"""Who last talked with a phone: the journal's recent events and Postgres as one history."""

from __future__ import annotations

from ccdaemon.calls.model import State
from ccdaemon.errors import Code, Refused
from ccdaemon.store import journal_reads
from tests.store.history_parts import HistoryCase
from tests.store.parts import NOON, chain, view
from tests.store.pg_parts import until
from tests.store.test_history import forget

PHONE = "380639920000"
UNANSWERED = (State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP, State.CLIENT_NOANSWER)


class LastOperatorTests(HistoryCase):
    """The operator who last talked with a phone."""

    async def test_the_last_talk_counts(self) -> None:
        """It is the newest talk's operator, not one who only rang, nor another phone's."""
        daemon = await self.ready()
        self.assertIsNone(await daemon.history.last_operator(PHONE))
        calls = [
            chain(view(1, sip="1000", date=NOON)),
            chain(view(2, sip="1001", date=NOON + 60_000)),
            chain(view(3, sip="1002", date=NOON + 120_000), UNANSWERED),
            chain(view(4, sip="1003", date=NOON + 180_000, phone=f"{PHONE}1")),
        ]
        for facts in calls:
            await daemon.journal.append(facts)
        self.assertEqual(await daemon.history.last_operator(PHONE), "1001")
        await forget(daemon)
        self.assertEqual(await daemon.history.last_operator(PHONE), "1001")
        self.assertEqual(await daemon.history.last_operator(f"{PHONE}1"), "1003")
        self.assertIsNone(await daemon.history.last_operator("0639920000"))

    async def test_what_postgres_does_not_have_yet(self) -> None:
        """A talk that has just ended is known at once, also with Postgres stopped."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1, sip="1000")))
        await daemon.shipped()
        self.server.postgres.stop(immediate=True)
        await daemon.journal.append(chain(view(2, sip="1001", date=NOON + 60_000)))
        self.assertEqual(await daemon.history.last_operator(PHONE), "1001")
        await until(lambda: not daemon.database.up)
        error = await self.fails(daemon.history.last_operator("380440000000"), Refused)
        self.assertEqual(error.code, Code.HISTORY_UNAVAILABLE)
        self.server.postgres.start()

    async def test_a_long_tail_is_not_read_through(self) -> None:
        """Of what Postgres lacks only the newest part is looked at."""
        daemon = await self.ready()
        await daemon.shipped()
        position = daemon.shipper.checkpoint
        await daemon.journal.append(chain(view(1, sip="1000")))
        await daemon.journal.append(chain(view(2, sip="1001", phone="380440000000")))
        self.assertEqual(await daemon.journal.last_operator(PHONE, position), "1000")
        self.patch(journal_reads, "LOOKED_THROUGH", 6)
        self.assertIsNone(await daemon.journal.last_operator(PHONE, position))

    async def test_by_the_index_of_the_phone(self) -> None:
        """Postgres finds it by the phone's index, without reading the table."""
        await self.ready()
        self.sql("SET enable_seqscan = off")
        plan = self.sql(
            "EXPLAIN SELECT r.sip FROM state r WHERE r.phone = '1' AND r.state = 'FINISH'"
            " AND r.sip IS NOT NULL ORDER BY r.date DESC, r.event_id DESC LIMIT 1"
        )
        words = "\n".join(str(row[0]) for row in plan)
        self.assertIn("Index Scan Backward using state_by_phone", words)
        self.assertNotIn("Sort", words)
