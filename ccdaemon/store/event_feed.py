"""What was told, in that order, from a place on: out of Postgres as far as the journal has
forgotten it, then out of the journal, with what other daemons have put into the same Postgres
in between. Complete and without a gap for every node, whatever comes meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import merge

import psycopg2
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from ccdaemon.calls.model import CallView
from ccdaemon.clocks import WallClock
from ccdaemon.store.cursor import Cursor
from ccdaemon.store.facts import Event, OperatorFact, RecordFact, StateFact
from ccdaemon.store.failures import BelowLowWatermark
from ccdaemon.store.journal import Journal
from ccdaemon.store.postgres import Database, DatabaseDown
from ccdaemon.store.queries import Queries
from ccdaemon.store.read_barrier import ReadBarrier
from ccdaemon.store.records import (
    STATES_ALONE,
    EventKind,
    EventRow,
    Filter,
    OperatorRow,
    RecordRow,
    StateRow,
)

#: Seconds that an answer out of Postgres waits until the shipper has got there.
BARRIER = 3.0
#: Events that Postgres looks at in one go where a filter picks from them.
WINDOW = 100_000
#: Seconds in which Postgres says how far other daemons are to whoever begins to follow now.
NOW = 2.0
#: Seconds after which a search for what a filter picks is broken off, to go on from the next
#: place.
SEARCH = 2.0

_KIND_OF = {
    StateFact: EventKind.STATE,
    OperatorFact: EventKind.OPERATOR,
    RecordFact: EventKind.RECORD,
}

Found = tuple[list[EventRow], int]
Placed = tuple[EventRow, Cursor]


class EventFeed:
    """What was told, and when there is more."""

    def __init__(
        self,
        clock: IReactorTime,
        wall: WallClock,
        journal: Journal,
        database: Database,
        barrier: ReadBarrier,
        queries: Queries,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._journal = journal
        self._database = database
        self._barrier = barrier
        self._queries = queries
        self._changed: dict[Deferred[None], frozenset[EventKind]] = {}
        self._nodes: dict[str, int] = {}
        self._nodes_as_of = (0, 0)
        self._notes = 0
        journal.subscribe(self._hear)
        barrier.subscribe(self._hear_others)

    async def after(
        self,
        place: Cursor,
        limit: int,
        filter: Filter,
        kinds: frozenset[EventKind] = STATES_ALONE,
    ) -> tuple[list[Placed], Cursor, bool]:
        """At most ``limit`` things told after a place, each with the place after it; the place
        after all that was looked at; and whether that is all there was just now.

        :raise DatabaseDown: if the journal has forgotten some, and Postgres cannot be asked.
        :raise Behind: if Postgres does not have in time what the journal has forgotten.
        """
        mine = self._journal.node
        until = self._clock.seconds() + SEARCH
        asked = (limit, filter, kinds, until)
        found = {mine: await self._own_events(place.of(mine), *asked)}
        for node, upto in (await self._others()).items():
            if upto > place.of(node):
                since = place.since_of(node)
                # Begun while this node could not be asked how far it was: then by the clock.
                theirs = filter if since is None else _since(filter, since)
                found[node] = await self._search(
                    node, place.of(node), upto, limit, theirs, kinds, until
                )
        placed, place = _merged(place, found, limit)
        return placed, place, len(placed) < limit and self._clock.seconds() <= until

    async def now(self) -> Cursor:
        """The place after everything told so far."""
        place = Cursor({self._journal.node: self._journal.high_watermark})
        try:
            others = Deferred.fromCoroutine(self._others()).addTimeout(NOW, self._clock)
            for node, upto in (await others).items():
                place = place.moved(node, upto)
        except (DatabaseDown, TimeoutError, psycopg2.OperationalError):
            pass
        else:
            if self._database.up:
                return place
        return replace(place, since=int(self._wall.seconds() * 1000))

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

    async def _own_events(
        self, checkpoint: int, limit: int, filter: Filter, kinds: frozenset[EventKind], until: float
    ) -> Found:
        rows: list[EventRow] = []
        more: list[EventRow] = []
        while len(rows) < limit:
            room = limit - len(rows)
            try:
                if checkpoint < self._journal.low_watermark:
                    # All of it: an order that was just attached is put to what is older, too.
                    await self._barrier.passed(self._journal.high_watermark, BARRIER)
                    mine, upto = self._journal.node, self._barrier.checkpoint
                    more, checkpoint = await self._search(
                        mine, checkpoint, upto, room, filter, kinds, until
                    )
                elif events := await self._journal.after(checkpoint, max(room, 100)):
                    more, checkpoint = await self._pick(events, room, filter, kinds)
                else:
                    break
            except BelowLowWatermark:
                continue  # It rose just now, and the journal will say so.
            rows += more
            if self._clock.seconds() > until:
                break
        return rows, checkpoint

    async def _pick(
        self, events: Sequence[Event], room: int, filter: Filter, kinds: frozenset[EventKind]
    ) -> Found:
        """The rows that are wanted of events, and the last event that was looked at."""
        rows: list[EventRow] = []
        position = 0
        wanted = filter.kinds(kinds)
        for event in events:
            position = event.event_id
            if _KIND_OF.get(type(event.fact)) not in wanted:
                continue
            row = await self._row(event, filter)
            if row is not None:
                rows.append(row)
                if len(rows) == room:
                    break
        return rows, position

    async def _row(self, event: Event, filter: Filter) -> EventRow | None:
        """An event as a row of the history; None where the filter leaves it out."""
        fact, id_ = event.fact, event.event_id
        if isinstance(fact, StateFact):
            if not (filter.wants(fact.state) and filter.wants_call(fact.call)):
                return None
            return StateRow(
                id_, fact.state, fact.call.order_id, fact.call.external_key, fact.call.note
            )
        if isinstance(fact, OperatorFact):
            change = fact.change
            return OperatorRow(id_, change) if filter.wants(change) else None
        assert isinstance(fact, RecordFact)
        if filter.call_id not in (None, fact.call_id):
            return None
        call = await self._call(fact.call_id)
        if call is None or not (filter.wants_call(call) and filter.sip in (None, call.sip)):
            return None
        return RecordRow(id_, fact.record, call) if filter.is_in_time(fact.date) else None

    async def _search(
        self,
        node: str,
        checkpoint: int,
        upto: int,
        limit: int,
        filter: Filter,
        kinds: frozenset[EventKind],
        until: float,
    ) -> Found:
        """What a node told out of Postgres, which has everything up to ``upto``."""
        # Without a filter, or by the index of one that picks few, one look is enough.
        step = WINDOW if filter.picks_anywhere else upto
        rows: list[EventRow] = []
        while checkpoint < upto and len(rows) < limit:
            edge = min(upto, checkpoint + step)
            room = limit - len(rows)
            rows += await self._queries.after(node, checkpoint, edge, room, filter, kinds)
            checkpoint = rows[-1].event_id if len(rows) == limit else edge
            if self._clock.seconds() > until:
                break
        return rows, checkpoint

    def changed(self, kinds: frozenset[EventKind] = STATES_ALONE) -> Deferred[None]:
        """Fires when one of these has been told, here or by another daemon; can be cancelled."""
        waiting: Deferred[None] = Deferred(self._forget)
        self._changed[waiting] = kinds
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        self._changed.pop(waiting, None)

    def _hear(self, events: Sequence[Event]) -> None:
        kinds = (_KIND_OF.get(type(event.fact)) for event in events)
        self._fire(frozenset(kind for kind in kinds if kind is not None))

    def _hear_others(self) -> None:
        self._notes += 1
        self._fire(frozenset(EventKind))

    def _fire(self, kinds_committed: frozenset[EventKind]) -> None:
        for waiting, kinds in tuple(self._changed.items()):
            # Whoever was woken before may have given up on others.
            if kinds & kinds_committed and self._changed.pop(waiting, None) is not None:
                waiting.callback(None)

    async def _call(self, call_id: int) -> CallView | None:
        """The call of a recording, as it was told last."""
        view = self._journal.newest_view(call_id)
        if view is not None:
            return view
        chain = await self._journal.chain(call_id) or await self._queries.call(call_id)
        return chain.call if chain else None


def _since(filter: Filter, moment: int) -> Filter:
    return replace(filter, from_ms=max(moment, filter.from_ms or 0))


def _merged(place: Cursor, found: dict[str, Found], limit: int) -> tuple[list[Placed], Cursor]:
    """The oldest of several nodes' rows; each node's stay in its order, whatever their dates."""
    streams = [[(node, row) for row in rows] for node, (rows, _) in found.items()]
    placed: list[Placed] = []
    taken = dict.fromkeys(found, 0)
    for node, row in list(merge(*streams, key=lambda one: one[1].date))[:limit]:
        place = place.moved(node, row.event_id)
        placed.append((row, place))
        taken[node] += 1
    for node, (rows, upto) in found.items():
        if taken[node] == len(rows):
            place = place.moved(node, upto)
    return placed, place
