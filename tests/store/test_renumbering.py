"""The numbers of a history from before get their form, on a real Postgres."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet import reactor

from ccdaemon.calls.model import CallView, Direction, LegView, State
from ccdaemon.numbers import INTERNAL, Numbers
from ccdaemon.store import renumbering
from ccdaemon.store.queries import Queries
from ccdaemon.store.records import Filter
from ccdaemon.store.renumbering import Renumbering
from tests.store.history_parts import Daemon, HistoryCase
from tests.store.parts import NOON, chain, recording, view
from tests.store.pg_parts import until

FULL, NATIONAL, ABROAD = "380441234567", "0441234567", "00380441234567"
MISSED = (State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_NOANSWER)


def with_client(call: CallView) -> CallView:
    """The call with its client's leg."""
    leg = LegView("client", None, call.phone, call.date, None, None, None, None, None)
    return replace(call, legs=(leg,))


class RenumberingTests(HistoryCase):
    """At home in Ukraine, where nobody was before."""

    def setUp(self) -> None:
        """Make no pauses."""
        super().setUp()
        self.patch(renumbering, "PAUSE", 0.0)
        self.patch(renumbering, "AGAIN", 0.01)

    async def from_before(self) -> Daemon:
        """A history with a client in three spellings: one call missed, one that called back."""
        daemon = await self.ready()
        inbound = {"direction": Direction.INBOUND, "external_key": None}
        back = {"phone": FULL, "date": NOON + 60_000, "answered": NOON + 64_000}
        for facts in (
            chain(with_client(view(1, phone=NATIONAL, **inbound)), MISSED),
            chain(view(2, **back)),
            chain(view(3, phone=ABROAD, date=NOON + 120_000)),
            [recording(3, NOON + 125_000)],
            chain(view(4, phone="101", date=NOON + 180_000)),
            chain(view(5, phone="anonymous", date=NOON + 240_000, **inbound), MISSED),
        ):
            await daemon.journal.append(facts)
        await daemon.shipped()
        return daemon

    async def renumber(self, daemon: Daemon, country: str | None = "ua") -> Renumbering:
        """Let it come to its end."""
        made = Renumbering(daemon.database, Numbers(country), INTERNAL, daemon.journal, reactor)
        made.startService()
        self.addCleanup(lambda: made.stopService() if made.running else None)
        if country is not None:
            done = f"SELECT done FROM numbering WHERE home LIKE '{country} %'"
            await until(lambda: self.sql(done) == [(True,)])
        return made

    def phones(self, table: str) -> list[tuple[object, ...]]:
        """The numbers of a table's rows, by call."""
        return self.sql(f"SELECT DISTINCT call_id, phone FROM {table} ORDER BY call_id")

    async def test_one_client(self) -> None:
        """All tables have one form; what was sent is kept; who was called back is so."""
        daemon = await self.from_before()
        self.assertEqual((await daemon.history.missed_page(1, 9, Filter(open=True))).total, 2)
        made = await self.renumber(daemon)
        self.assertEqual(made.changed, 2)
        numbers = [(1, FULL), (2, FULL), (3, FULL), (4, "101"), (5, "anonymous")]
        self.assertEqual(self.phones("call"), numbers)
        self.assertEqual(self.phones("state"), numbers)
        self.assertEqual(self.phones("record"), [(3, FULL)])
        self.assertEqual(self.phones("missed"), [(1, FULL), (5, "anonymous")])
        found = await daemon.history.states_page(1, 99, Filter(phone=FULL))
        self.assertEqual({row.state.call_id for row in found.rows}, {1, 2, 3})
        page = await daemon.history.missed_page(1, 9, Filter(open=True))
        self.assertEqual([row.call.call_id for row in page.rows], [5])
        kept = "SELECT legs -> 0 ->> 'phone', legs -> 0 ->> 'sent' FROM call WHERE call_id = 1"
        self.assertEqual(self.sql(kept), [(FULL, NATIONAL)])
        past = await Queries(daemon.database).call(1)
        assert past is not None
        self.assertEqual((past.call.phone, past.call.legs[0].sent), (FULL, NATIONAL))
        self.assertEqual(self.sql("SELECT * FROM renumbered"), [])

    async def test_totals_stay_right(self) -> None:
        """Lists have as many rows as before."""
        daemon = await self.from_before()
        await self.renumber(daemon)
        for table in ("state", "record", "missed"):
            ((counted,),) = self.sql(f"SELECT count(*) FROM {table}")
            ((tallied,),) = self.sql(
                "SELECT n FROM tally WHERE list = %s AND sip = '' AND direction = ''"
                " AND grain = 'all'",
                table,
            )
            self.assertEqual(tallied, counted, table)

    async def test_once(self) -> None:
        """It is done once; another country does it again, and no country does nothing."""
        daemon = await self.from_before()
        await self.renumber(daemon, None)
        self.assertEqual(self.sql("SELECT * FROM numbering"), [])
        await self.renumber(daemon)
        self.sql("UPDATE state SET phone = '0671234567' WHERE call_id = 4")
        again = await self.renumber(daemon)
        self.assertEqual(again.changed, 0)
        await self.renumber(daemon, "pl")

    async def test_many_calls_of_one(self) -> None:
        """In steps, however many calls a client has."""
        self.patch(renumbering, "STEP", 2)
        daemon = await self.ready()
        for call_id in range(1, 8):
            await daemon.journal.append(
                chain(view(call_id, phone=NATIONAL, date=NOON + call_id * 60_000))
            )
        await daemon.shipped()
        made = await self.renumber(daemon)
        self.assertEqual(made.changed, 7)
        self.assertEqual({phone for _, phone in self.phones("state")}, {FULL})

    async def test_new_calls_are_left_alone(self) -> None:
        """What came after it began means what it says."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1, phone=NATIONAL, date=4_000_000_000_000)))
        await daemon.shipped()
        await self.renumber(daemon)
        self.assertEqual(self.phones("call"), [(1, NATIONAL)])

    async def test_another_daemons_calls(self) -> None:
        """Each sees to its own: it may be at home elsewhere."""
        daemon = await self.from_before()
        other = await self.ready(self.folder(), "another")
        await other.journal.append(chain(view(10_001, phone=NATIONAL)))
        await other.shipped()
        await self.renumber(daemon)
        self.assertIn((10_001, NATIONAL), self.phones("call"))

    async def test_postgres_goes_away(self) -> None:
        """It goes on once Postgres is back."""
        daemon = await self.from_before()
        for pid in self.backends():
            self.kill(pid)
        await self.renumber(daemon)
        self.assertEqual(len({phone for _, phone in self.phones("state")}), 3)
