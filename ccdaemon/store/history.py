"""Everything that was told, as one: the journal's recent events and what Postgres has.

What the journal holds is answered from it, also while Postgres is away. Lists are Postgres',
behind a read barrier: they wait until everything that had been told when they were asked for
is there, so there is no second engine for queries. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused, history_away
from ccdaemon.store.cursor import Cursor
from ccdaemon.store.event_feed import BARRIER, EventFeed
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal import Journal
from ccdaemon.store.postgres import Database, DatabaseDown
from ccdaemon.store.queries import LISTENED, MISSED, OPERATORS, RECORDS, STATES, Queries
from ccdaemon.store.read_barrier import Behind, ReadBarrier
from ccdaemon.store.records import (
    STATES_ALONE,
    ActionRow,
    Chain,
    EventKind,
    EventRow,
    Filter,
    MissedRow,
    OperatorRow,
    Page,
    RecordRow,
    StateRow,
)

T = TypeVar("T")

#: Seconds in which an answer comes or is given up, whatever it waits for: the barrier, a
#: connection, several statements. With what else a request may wait for, it is answered in ten.
DEADLINE = 7.0
#: How much of one order is answered at once: nothing else is done meanwhile.
MOST_CALLS, MOST_STATES = 2_000, 12_000


class History:
    """What the API reads.

    Every method raises ``Refused`` with ``history_unavailable`` where it cannot answer now, or
    has not within ``DEADLINE`` seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall: WallClock,
        journal: Journal,
        database: Database,
        barrier: ReadBarrier,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._barrier = barrier
        self._queries = Queries(database)
        self._feed = EventFeed(clock, wall, journal, database, barrier, self._queries)

    async def call(self, call_id: int, within: float = DEADLINE) -> Chain | None:
        """A call's whole chain; None if there is no such call.

        :param within: seconds in which the answer is wanted.
        """
        return await self._answered(self._call(call_id), within)

    async def by_key(self, external_key: str) -> Chain | None:
        """The chain of the call that has the key; None if none has."""
        return await self._answered(self._by_key(external_key))

    async def by_recording(self, uniqueid: str) -> Chain | None:
        """The chain of the call with a recording on this channel; None if there is none."""
        return await self._answered(self._by_recording(uniqueid))

    async def _call(self, call_id: int) -> Chain | None:
        held = await self._journal.chain(call_id)
        return held or await self._behind_barrier(lambda: self._queries.call(call_id))

    async def _by_key(self, external_key: str) -> Chain | None:
        call_id = await self._journal.find_key(external_key)
        if call_id is not None:
            return await self._call(call_id)
        # Another daemon may have given it to a call of its own.
        return await self._behind_barrier(lambda: self._queries.by_key(external_key))

    async def _by_recording(self, uniqueid: str) -> Chain | None:
        asked = self._behind_barrier(lambda: self._queries.call_of_recording(uniqueid))
        call_id = await asked
        return None if call_id is None else await self._call(call_id)

    async def last_operator(self, phone: str) -> str | None:
        """The operator who last talked with a phone; None if none did."""
        return await self._answered(self._last_operator(phone))

    async def _last_operator(self, phone: str) -> str | None:
        # What is not in Postgres yet is newer than all that is; so it waits for no barrier.
        newest = await self._journal.last_operator(phone, self._barrier.checkpoint)
        return newest or await self._queries.last_operator(phone)

    async def order_chains(self, order_id: str, filter: Filter) -> list[Chain]:
        """The chains of an order's calls, by number; the filter is put to the calls.

        :raise Refused: with ``too_deep`` if there are more than ``MOST_CALLS``.
        """
        ask = self._queries.of_order
        found = await self._listed(lambda: ask(order_id, filter, MOST_CALLS))
        return _not_too_many(found, f"{MOST_CALLS} calls")

    async def order_states(self, order_id: str, filter: Filter) -> list[StateRow]:
        """The states of an order's calls, oldest first; the filter is put to the states.

        :raise Refused: with ``too_deep`` if there are more than ``MOST_STATES``.
        """
        ask = self._queries.states_of_order
        found = await self._listed(lambda: ask(order_id, filter, MOST_STATES))
        return _not_too_many(found, f"{MOST_STATES} states")

    async def missed_page(self, page: int, per_page: int, filter: Filter) -> Page[MissedRow]:
        """Inbound calls that nobody took, newest first."""
        return await self._listed(lambda: self._queries.page(MISSED, page, per_page, filter))

    async def missed_call(self, call_id: int, within: float = DEADLINE) -> MissedRow | None:
        """A missed call; None if it was not missed, or there is no such call.

        :param within: seconds in which the answer is wanted.
        """
        only = Filter(call_id=call_id)
        asked = self._behind_barrier(lambda: self._queries.page(MISSED, 1, 1, only))
        rows = (await self._answered(asked, within)).rows
        return rows[0] if rows else None

    async def listened_page(self, page: int, per_page: int, filter: Filter) -> Page[ActionRow]:
        """Who listened to a call or to its recording, newest first."""
        return await self._listed(lambda: self._queries.page(LISTENED, page, per_page, filter))

    async def states_page(self, page: int, per_page: int, filter: Filter) -> Page[StateRow]:
        """States of all calls, newest first; pages are counted from 1."""
        return await self._listed(lambda: self._queries.page(STATES, page, per_page, filter))

    async def records_page(self, page: int, per_page: int, filter: Filter) -> Page[RecordRow]:
        """Recordings, newest first."""
        return await self._listed(lambda: self._queries.page(RECORDS, page, per_page, filter))

    async def operator_page(self, page: int, per_page: int, filter: Filter) -> Page[OperatorRow]:
        """The operators' log, newest first; it has no phones, orders and directions."""
        return await self._listed(lambda: self._queries.page(OPERATORS, page, per_page, filter))

    async def states_after(
        self, cursor: str, limit: int, filter: Filter
    ) -> tuple[Sequence[StateRow], str]:
        """States that were told after a place, oldest first, and the next place.

        There may be fewer than ``limit`` although more will come, where a filter picks few: if
        the next place is another than ``cursor``, it is worth asking again at once.

        :param cursor: ``0`` or the next place of an earlier answer.
        :raise Refused: with ``bad_parameter`` for a cursor that is none.
        """
        asked = self._feed.after(Cursor.read(cursor), limit, filter)
        rows, place, _ = await self._answered(asked)
        return [row for row, _ in rows if isinstance(row, StateRow)], str(place)

    async def events_after(
        self, cursor: str, limit: int, filter: Filter, kinds: frozenset[EventKind]
    ) -> tuple[Sequence[tuple[EventRow, str]], str, bool]:
        """What was told after a place, oldest first, each with the place after it; the next
        place; and whether that is all there was just now.

        :raise Refused: with ``bad_parameter`` for a cursor that is none.
        """
        asked = self._feed.after(Cursor.read(cursor), limit, filter, kinds)
        rows, place, is_all = await self._answered(asked)
        return [(row, str(after)) for row, after in rows], str(place), is_all

    async def now(self) -> str:
        """The place after everything told so far."""
        return str(await self._feed.now())

    def changed(self, kinds: frozenset[EventKind] = STATES_ALONE) -> Deferred[None]:
        """Fires when something new of these has been told; cancelling forgets it."""
        return self._feed.changed(kinds)

    async def _listed(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await self._answered(self._behind_barrier(ask))

    async def _behind_barrier(self, ask: Callable[[], Awaitable[T]]) -> T:
        # What operators do is shown from memory before it is committed.
        await self._journal.settled()
        await self._barrier.passed(self._journal.high_watermark, BARRIER)
        return await ask()

    async def _answered(self, asked: Coroutine[Any, Any, T], within: float = DEADLINE) -> T:
        try:
            # Who is given up closes its connection: no cancel gets through to the server.
            return await Deferred.fromCoroutine(asked).addTimeout(within, self._clock)
        except TimeoutError as error:
            raise history_away(f"there was no answer in {within:g} s") from error
        except (DatabaseDown, Behind, JournalBroken, psycopg2.OperationalError) as error:
            raise history_away(error) from error


def _not_too_many(found: list[T] | None, most: str) -> list[T]:
    if found is None:
        raise Refused(
            Code.TOO_DEEP,
            f"the order has more than {most}; narrow it with from= and to=",
            field="from",
        )
    return found
