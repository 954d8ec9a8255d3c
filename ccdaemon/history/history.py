"""Everything that was told, as one: the journal's tail and what Postgres has.

What the journal holds is answered from it, also while Postgres is away. Lists are Postgres',
behind a read barrier: they wait until everything that had been told when they were asked for
is there, so there is no second engine for queries. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ccdaemon.errors import Code, Refused
from ccdaemon.history.cursor import Cursor
from ccdaemon.history.failures import JournalBroken
from ccdaemon.history.journal import Journal
from ccdaemon.history.postgres import Database, DatabaseDown
from ccdaemon.history.queries import OPERATORS, RECORDS, STATES, Queries
from ccdaemon.history.rows import Chain, Filter, OperatorRow, Page, RecordRow, StateRow
from ccdaemon.history.shipper import Behind, Shipper
from ccdaemon.history.told import BARRIER, Told

T = TypeVar("T")

#: Seconds after which somebody who was refused may try again.
RETRY_AFTER = 5


class History:
    """What the API reads.

    Every method raises ``Refused`` with ``history_unavailable`` where it cannot answer now.
    """

    def __init__(
        self, clock: IReactorTime, journal: Journal, database: Database, shipper: Shipper
    ) -> None:
        self._journal = journal
        self._shipper = shipper
        self._queries = Queries(database)
        self._told = Told(clock, journal, database, shipper, self._queries)

    async def call(self, call_id: int) -> Chain | None:
        """A call's whole chain; None if there is no such call."""
        return await _answered(self._call(call_id))

    async def by_key(self, external_key: str) -> Chain | None:
        """The chain of the call that has the key; None if none has."""
        return await _answered(self._by_key(external_key))

    async def _call(self, call_id: int) -> Chain | None:
        held = await self._journal.chain(call_id)
        return held or await self._behind_barrier(lambda: self._queries.call(call_id))

    async def _by_key(self, external_key: str) -> Chain | None:
        call_id = await self._journal.find_key(external_key)
        if call_id is not None:
            return await self._call(call_id)
        # Another daemon may have given it to a call of its own.
        return await self._behind_barrier(lambda: self._queries.by_key(external_key))

    async def order_chains(self, order_id: str, filter: Filter) -> list[Chain]:
        """The chains of an order's calls, by number; the filter is put to the calls."""
        chains = await self._listed(lambda: self._queries.of_order(order_id))
        return [chain for chain in chains if _wants(filter, chain)]

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
        rows, place = await _answered(self._told.after(Cursor.read(cursor), limit, filter))
        return rows, str(place)

    def changed(self) -> Deferred[None]:
        """Fires when something new has been told; cancelling forgets it."""
        return self._told.changed()

    async def _listed(self, ask: Callable[[], Awaitable[T]]) -> T:
        return await _answered(self._behind_barrier(ask))

    async def _behind_barrier(self, ask: Callable[[], Awaitable[T]]) -> T:
        # What operators do is shown from memory before it is committed.
        await self._journal.settled()
        await self._shipper.passed(self._journal.head, BARRIER)
        return await ask()


async def _answered(asked: Awaitable[T]) -> T:
    try:
        return await asked
    except (DatabaseDown, Behind, JournalBroken, psycopg2.OperationalError) as error:
        raise Refused(
            Code.HISTORY_UNAVAILABLE,
            f"the history cannot be read just now: {error}",
            retry_after=RETRY_AFTER,
        ) from error


def _wants(filter: Filter, chain: Chain) -> bool:
    """Whether a call is wanted: it began in time, and some leg of it was of the operator."""
    call = chain.call
    return (
        (filter.from_ms is None or call.date >= filter.from_ms)
        and (filter.to_ms is None or call.date <= filter.to_ms)
        and (
            filter.sip in (None, call.sip)
            or any(row.state.sip == filter.sip for row in chain.states)
        )
        and filter.phone in (None, call.phone)
        and filter.direction in (None, call.direction)
    )
