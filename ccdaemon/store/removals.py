"""Removes what is not to be kept any longer, out of Postgres and the journal's recent events.

Everything here can be repeated after a failure. Knows no files: who removes a recording's row
has removed its file before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ccdaemon.calls.model import Action, CallView
from ccdaemon.store.event_feed import BARRIER
from ccdaemon.store.facts import FORGET_ORDER, ActionFact
from ccdaemon.store.journal import Journal
from ccdaemon.store.mapping import CALL, call_of
from ccdaemon.store.pg_link import Rows
from ccdaemon.store.postgres import Database, Transaction
from ccdaemon.store.read_barrier import ReadBarrier

#: Seconds that one removal may take.
TIMEOUT = 30.0

_RECORDS = """
SELECT call_id, uniqueid, path FROM record
WHERE date < moment(%s) AND path <> ALL (%s::text[]) ORDER BY date, event_id LIMIT %s
"""
_OF_CALLS = "SELECT call_id, uniqueid, path FROM record WHERE call_id = ANY (%s)"
_VIEWS = f"SELECT {CALL} FROM call c WHERE call_id = ANY (%s)"
# By the index of the states; each call has one that opens it.
_OF_PHONES = """
SELECT c.call_id, c.final FROM state s JOIN call c USING (call_id)
WHERE s.phone = ANY (%s) AND s.seq = 1 ORDER BY c.final, c.call_id LIMIT %s
"""
_ANCHORS = """
SELECT anchor, call_id FROM call WHERE call_id = ANY (%s) AND node = %s AND anchor IS NOT NULL
"""
_CALLS = """
SELECT c.call_id FROM state s JOIN call c USING (call_id)
WHERE s.date < moment(%s) AND s.seq = 1 AND c.final AND c.ended < moment(%s)
AND call_id <> ALL (%s::integer[])
ORDER BY s.date, s.event_id LIMIT %s
"""
_REMOVE_RECORDS = """
DELETE FROM record USING unnest(%s::integer[], %s::text[]) AS gone (call_id, uniqueid)
WHERE record.call_id = gone.call_id AND record.uniqueid = gone.uniqueid
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recording's row: its call, the channel after which it is named, its path."""

    call_id: int
    uniqueid: str
    path: str


class Removals:
    """What can be removed, and its removal.

    Every method raises :class:`~ccdaemon.store.postgres.DatabaseDown` while Postgres cannot be
    asked.
    """

    def __init__(self, journal: Journal, database: Database, barrier: ReadBarrier) -> None:
        self._journal = journal
        self._database = database
        self._barrier = barrier

    async def old_records(self, before: int, most: int, but: Collection[str]) -> list[Recorded]:
        """Recordings from before a moment (ms) but those with these paths, the oldest first."""
        rows = await self._database.query(_RECORDS, (before, list(but), most))
        return [Recorded(*row) for row in rows]

    async def records_of(self, calls: Sequence[int]) -> list[Recorded]:
        """The recordings of calls."""
        rows = await self._database.query(_OF_CALLS, (list(calls),))
        return [Recorded(*row) for row in rows]

    async def calls(self, calls: Sequence[int]) -> list[CallView]:
        """Calls as they were told last."""
        rows = await self._database.query(_VIEWS, (list(calls),))
        return [call_of(row) for row in rows]

    async def old_calls(self, before: int, most: int, but: Collection[int]) -> list[int]:
        """Calls but these that were over before a moment (ms), the oldest first."""
        rows = await self._database.query(_CALLS, (before, before, list(but), most))
        return [call_id for (call_id,) in rows]

    async def calls_of(self, order_id: str, most: int) -> list[tuple[int, bool]]:
        """An order's calls, each with whether it is over, those that go on first.

        :raise Behind: if Postgres does not have all that was told in time.
        """
        await self._journal.settled()
        await self._barrier.passed(self._journal.high_watermark, BARRIER)
        found = await self._database.query(
            "SELECT call_id, final FROM call WHERE order_id = %s ORDER BY final, call_id LIMIT %s",
            (order_id, most),
        )
        return [(call_id, final) for call_id, final in found]

    async def calls_with(self, phones: Collection[str], most: int) -> list[tuple[int, bool]]:
        """The calls with a client who has one of these numbers; else as ``calls_of``."""
        await self._journal.settled()
        await self._barrier.passed(self._journal.high_watermark, BARRIER)
        found = await self._database.query(_OF_PHONES, (list(phones), most))
        return [(call_id, final) for call_id, final in found]

    async def remove_records(self, records: Sequence[Recorded]) -> None:
        """Remove the rows of recordings."""
        calls = [one.call_id for one in records]
        names = [one.uniqueid for one in records]
        await self._run(_REMOVE_RECORDS, (calls, names))

    async def remove_calls(self, calls: Sequence[int]) -> None:
        """Remove calls with their states, recordings and actions; their numbers stay used."""
        await self._run("SELECT remove_calls(%s)", (list(calls),))

    async def forget_calls(self, calls: Sequence[int], by: str, date: int) -> None:
        """Remove calls also where the journal still holds them; that it was done is noted.

        The journal first: what it does not hold cannot be shipped once more.
        """
        actions = [ActionFact(Action(call_id, date, FORGET_ORDER, by)) for call_id in calls]
        begun = await self._database.query(_ANCHORS, (list(calls), self._journal.node))
        await self._journal.forget_calls(
            actions, [(anchor, call_id, date) for anchor, call_id in begun]
        )
        await self._run("SELECT forget_calls(%s)", (list(calls),))

    async def remove_operator_changes(self, before: int, most: int) -> int:
        """Remove rows of the operators' log, but for the last of each; how many there were."""
        rows = await self._run("SELECT remove_operator_changes(moment(%s), %s)", (before, most))
        return int(rows[0][0])

    async def remove_actions(self, before: int, most: int) -> int:
        """Remove what was done to calls that are gone; how many there were."""
        rows = await self._run("SELECT remove_actions(moment(%s), %s)", (before, most))
        return int(rows[0][0])

    async def _run(self, sql: str, params: Sequence[object]) -> Rows:
        async def run(transaction: Transaction) -> Rows:
            return await transaction.query(sql, params)

        return await self._database.transaction(run, TIMEOUT)
