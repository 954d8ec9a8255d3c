"""States in the order told, from a place on: out of Postgres as far as the journal has
forgotten them, then out of the journal, with what other daemons have put into the same Postgres
in between. Complete and without a gap for every node, whatever comes meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ccdaemon.history.cursor import Cursor
from ccdaemon.history.facts import Event, StateFact
from ccdaemon.history.failures import BelowFloor
from ccdaemon.history.journal import Journal
from ccdaemon.history.postgres import Database
from ccdaemon.history.queries import Queries
from ccdaemon.history.rows import Filter, StateRow
from ccdaemon.history.shipper import Shipper

#: Seconds that an answer out of Postgres waits until the shipper has got there.
BARRIER = 3.0
#: Events that Postgres looks at in one go where a filter picks from them.
WINDOW = 100_000
#: Seconds after which a search for what a filter picks is broken off, to go on from the next
#: place.
SEARCH = 2.0

Found = tuple[list[StateRow], int]


class Told:
    """What was told, and when there is more."""

    def __init__(
        self,
        clock: IReactorTime,
        journal: Journal,
        database: Database,
        shipper: Shipper,
        queries: Queries,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._database = database
        self._shipper = shipper
        self._queries = queries
        self._changed: set[Deferred[None]] = set()
        self._nodes: dict[str, int] = {}
        self._nodes_as_of = (0, 0)
        self._notes = 0
        journal.subscribe(self._hear)
        shipper.subscribe(self._hear_others)

    async def after(
        self, place: Cursor, limit: int, filter: Filter
    ) -> tuple[list[StateRow], Cursor]:
        """At most ``limit`` states told after a place, and the place after them.

        :raise DatabaseDown: if the journal has forgotten some, and Postgres cannot be asked.
        :raise Behind: if Postgres does not have in time what the journal has forgotten.
        """
        mine = self._journal.node
        until = self._clock.seconds() + SEARCH
        found = {mine: await self._own(place.of(mine), limit, filter, until)}
        for node, upto in (await self._others()).items():
            if upto > place.of(node):
                found[node] = await self._search(node, place.of(node), upto, limit, filter, until)
        return _merged(place, found, limit)

    async def _others(self) -> dict[str, int]:
        """How far other nodes are in Postgres; while it is away, theirs comes later.

        Asked only after one of them has told that it wrote: a thousand who wait here are woken
        by each state of our own.
        """
        if not self._database.up:
            return {}
        now = (self._database.session, self._notes)
        if self._nodes_as_of != now:
            nodes = await self._queries.nodes()
            nodes.pop(self._journal.node, None)
            self._nodes, self._nodes_as_of = nodes, now
        return self._nodes

    async def _own(self, position: int, limit: int, filter: Filter, until: float) -> Found:
        rows: list[StateRow] = []
        more: list[StateRow] = []
        while len(rows) < limit:
            room = limit - len(rows)
            try:
                if position < self._journal.floor:
                    await self._shipper.passed(self._journal.floor, BARRIER)
                    more, position = await self._search(
                        self._journal.node, position, self._shipper.position, room, filter, until
                    )
                elif events := await self._journal.after(position, max(room, 100)):
                    more, position = _pick(events, room, filter)
                else:
                    break
            except BelowFloor:
                continue  # It rose just now, and the journal will say so.
            rows += more
            if self._clock.seconds() > until:
                break
        return rows, position

    async def _search(
        self, node: str, position: int, upto: int, limit: int, filter: Filter, until: float
    ) -> Found:
        """A node's states out of Postgres, which has everything up to ``upto``."""
        # Without a filter, or by the index of one that picks few, one look is enough.
        step = WINDOW if filter.sip or filter.direction or filter.from_ms or filter.to_ms else upto
        rows: list[StateRow] = []
        while position < upto and len(rows) < limit:
            edge = min(upto, position + step)
            rows += await self._queries.after(node, position, edge, limit - len(rows), filter)
            position = rows[-1].event_id if len(rows) == limit else edge
            if self._clock.seconds() > until:
                break
        return rows, position

    def changed(self) -> Deferred[None]:
        """Fires when a state has been told, here or by another daemon; can be cancelled."""
        waiting: Deferred[None] = Deferred(self._forget)
        self._changed.add(waiting)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._changed.discard(waiting)

    def _hear(self, events: Sequence[Event]) -> None:
        if any(isinstance(event.fact, StateFact) for event in events):
            self._fire()

    def _hear_others(self) -> None:
        self._notes += 1
        self._fire()

    def _fire(self) -> None:
        for waiting in tuple(self._changed):
            # Whoever was woken before may have given up on others.
            if waiting in self._changed:
                self._changed.discard(waiting)
                waiting.callback(None)


def _merged(place: Cursor, found: dict[str, Found], limit: int) -> tuple[list[StateRow], Cursor]:
    """The oldest of several nodes' rows; each node's stay in its order, whatever their dates."""
    streams = [[(node, row) for row in rows] for node, (rows, _) in found.items()]
    taken = list(merge(*streams, key=lambda one: one[1].state.date))[:limit]
    for node, (rows, upto) in found.items():
        ids = [row.event_id for of, row in taken if of == node]
        if len(ids) == len(rows):
            place = place.moved(node, upto)
        elif ids:
            place = place.moved(node, ids[-1])
    return [row for _, row in taken], place


def _pick(events: Sequence[Event], room: int, filter: Filter) -> Found:
    """The states among events that are wanted, and the last event that was looked at."""
    rows: list[StateRow] = []
    position = 0
    for event in events:
        position = event.event_id
        if isinstance(event.fact, StateFact) and _wants(filter, event.fact):
            call = event.fact.call
            rows.append(StateRow(position, event.fact.state, call.order_id, call.external_key))
            if len(rows) == room:
                break
    return rows, position


def _wants(filter: Filter, fact: StateFact) -> bool:
    call = fact.call
    return (
        filter.wants(fact.state)
        and filter.phone in (None, call.phone)
        and filter.order_id in (None, call.order_id)
        and filter.direction in (None, call.direction)
    )
