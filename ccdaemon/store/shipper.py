"""Carries the journal to Postgres: in order, in batches, nothing lost and nothing twice.

Where it has got to stands in Postgres, in the transaction of the rows, so that a batch is there
with its position or not at all. Knows neither calls nor operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.clocks import WallClock
from ccdaemon.store import recovery
from ccdaemon.store.asterisk_lock import AsteriskLock
from ccdaemon.store.facts import Event, Fact, kind_of
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal import Journal
from ccdaemon.store.migrate import migrate
from ccdaemon.store.pg_link import Link
from ccdaemon.store.postgres import Database, DatabaseDown, Transaction

READER = "postgres"
CHANNEL = "ccdaemon_told"
#: Facts in one statement.
BATCH = 500
#: Facts that were set aside and are tried again after a reconnect.
QUARANTINED = 1000
#: Seconds between two batches when nobody waits for them.
EVERY = 1.0
#: Seconds between two notes in the journal of how far Postgres has got.
NOTE_EVERY = 10.0
#: Seconds until something is tried again that failed.
AGAIN = 2.0
#: Seconds that one batch may take.
SHIP = 30.0


class Behind(Exception):
    """Postgres does not have the event in time."""


@dataclass(frozen=True, slots=True)
class ShipperHealth:
    """How far Postgres is behind.

    ``backlog`` counts events that are not there yet, ``quarantined`` facts that it refused (they
    are kept in the journal); ``last_error`` is what went wrong last, None if nothing has.
    """

    checkpoint: int
    backlog: int
    quarantined: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class _Shipped:
    event_id: int
    kind: str
    fact: Fact


class Shipper(Service):
    """The journal's reader that is Postgres.

    :ivar checkpoint: the event up to which Postgres has everything; -1 until it has been asked.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wall: WallClock,
        journal: Journal,
        database: Database,
        asterisk_lock: AsteriskLock,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._journal = journal
        self._database = database
        self._asterisk_lock = asterisk_lock
        self._loop: Deferred[None] = succeed(None)
        self._nap: Deferred[None] = succeed(None)
        self._idle = False
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._orienting: list[Deferred[None]] = []
        self._elsewhere: list[Callable[[], None]] = []
        self._session = 0
        self._noted = 0.0
        self._quarantined = 0
        self._error: str | None = None
        self.checkpoint = -1
        database.prepare(self._prepare)
        database.subscribe(self._hear)

    # Life

    def startService(self) -> None:
        """Begin to ship. The journal must be open."""
        super().startService()  # type: ignore[no-untyped-call]
        self._unsubscribe = self._journal.subscribe(self._hear)
        self._loop = Deferred.fromCoroutine(self._run())

    def stopService(self) -> Deferred[None]:
        """Stop; what is not in Postgres yet stays in the journal."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._unsubscribe()
        loop = self._loop
        loop.cancel()
        return loop

    async def _prepare(self, link: Link) -> None:
        await migrate(link)
        await self._asterisk_lock.take(link, self._journal.file)
        link.listen(self._note)
        await link.query(f"LISTEN {CHANNEL}")

    # For those who read

    async def passed(self, event_id: int, timeout: float) -> None:
        """Wait until Postgres has everything up to an event.

        :raise DatabaseDown: if it cannot be asked now.
        :raise Behind: if that takes longer than ``timeout`` seconds.
        """
        if not self._database.up:
            raise DatabaseDown(self._database.health.last_error or "not connected yet")
        if self.checkpoint >= event_id:
            return
        waiting: Deferred[None] = Deferred()
        entry = (event_id, waiting)
        self._waiting.append(entry)
        self._wake()
        try:
            await waiting.addTimeout(timeout, self._clock)
        except TimeoutError:
            raise Behind(f"Postgres is {self.health.backlog} events behind") from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when another daemon has written to the same Postgres."""
        self._elsewhere.append(listener)

    @property
    def health(self) -> ShipperHealth:
        """How far Postgres is behind."""
        backlog = self._journal.high_watermark - max(self.checkpoint, 0)
        return ShipperHealth(self.checkpoint, backlog, self._quarantined, self._error)

    # The loop

    async def _run(self) -> None:
        last_logged: str | None = None
        with suppress(CancelledError):
            while True:
                try:
                    await self._database.when_up()
                    await self._ship_some()
                    last_logged = None
                except CancelledError:
                    raise
                except Exception as error:
                    self._error = f"{type(error).__name__}: {error}"
                    if self._error != last_logged:
                        self._say(error)
                    last_logged = self._error
                    # It may be another database by now, also on the same connection.
                    self._session = 0
                    await self._sleep(AGAIN)

    def _say(self, error: Exception) -> None:
        what = "shipping to Postgres failed, and goes on being tried"
        if isinstance(error, DatabaseDown) and not self._database.up:
            return  # That has been said.
        if isinstance(error, DatabaseDown | JournalBroken):
            self._log.error("{what}: {error}", what=what, error=error)
        else:
            self._log.failure(what)

    async def _ship_some(self) -> None:
        if self._session != self._database.session:
            await self._orient()
        await recovery.lease(self._journal, self._database)
        events = await self._journal.after(self.checkpoint, BATCH)
        if events:
            await self._ship(events)
        if self._clock.seconds() - self._noted >= NOTE_EVERY:
            await self._note_checkpoint()
        if len(events) < BATCH:
            await self._rest()

    async def _orient(self) -> None:
        """Find out where this database stands; it may be another one than before."""
        session = self._database.session
        about = (self._asterisk_lock.asterisk, int(self._wall.seconds() * 1000))
        await recovery.found(self._journal, self._database, *about)
        position = await recovery.checkpoint(self._journal, self._database, *about)
        await recovery.hold_leases(self._journal, self._database)
        refused = 0
        for event, _ in await self._journal.quarantined(QUARANTINED):
            refused += not await self._try_again(event)
        self._quarantined = refused
        self._advance(position)
        await self._note_checkpoint()
        self._session = session
        while self._orienting:
            self._orienting.pop(0).callback(None)

    def when_oriented(self) -> Deferred[None]:
        """Fires once Postgres has been asked what it has, for the first time; can be cancelled."""
        if self.checkpoint >= 0:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._orienting.remove)
        self._orienting.append(waiting)
        return waiting

    async def _try_again(self, event: Event) -> bool:
        try:
            await self._send([event], 0, 0)
        except (psycopg2.DataError, psycopg2.IntegrityError):
            return False
        await self._journal.requeue(event.event_id)
        return True

    async def _ship(self, events: Sequence[Event]) -> None:
        """Ship events; if Postgres refuses one for what it says, all but that one."""
        try:
            await self._send(events, self.checkpoint, events[-1].event_id)
        except (psycopg2.DataError, psycopg2.IntegrityError) as error:
            if len(events) > 1:
                middle = len(events) // 2
                await self._ship(events[:middle])
                await self._ship(events[middle:])
                return
            await self._quarantine(events[0], " ".join(str(error).split()))
        self._advance(events[-1].event_id)

    async def _quarantine(self, event: Event, reason: str) -> None:
        await self._journal.quarantine(event.event_id, reason)
        await self._send([], self.checkpoint, event.event_id)
        self._quarantined += 1
        self._error = f"event {event.event_id} was refused: {reason}"
        self._log.error(
            "Postgres refuses event {id} of call {call}: {reason}. It is kept in the journal, and"
            " tried again after the next connection",
            id=event.event_id,
            call=event.fact.call_id,
            reason=reason,
        )

    async def _send(self, events: Sequence[Event], above: int, upto: int) -> None:
        shipped = [_Shipped(one.event_id, kind_of(one.fact), one.fact) for one in events]
        facts = msgspec.json.encode(shipped).decode()
        params = (self._journal.node, above, upto, facts)

        async def ship(transaction: Transaction) -> None:
            await transaction.query("SELECT ship(%s, %s, %s, %s)", params)

        await self._database.transaction(ship, SHIP)

    def _advance(self, checkpoint: int) -> None:
        self.checkpoint = checkpoint
        for event_id, waiting in tuple(self._waiting):
            if event_id <= checkpoint and not waiting.called:
                waiting.callback(None)

    async def _note_checkpoint(self) -> None:
        await self._journal.set_checkpoint(READER, self.checkpoint)
        self._noted = self._clock.seconds()

    async def _rest(self) -> None:
        """Wait until there is something to ship; then let some gather, if nobody waits."""
        while (
            self._journal.high_watermark <= self.checkpoint
            and self._session == self._database.session
        ):
            self._idle = True
            try:
                await self._sleep(None)
            finally:
                self._idle = False
        if not self._waiting:
            await self._sleep(EVERY)

    async def _sleep(self, seconds: float | None) -> None:
        if not self.running:
            raise CancelledError
        self._nap = Deferred()
        if seconds is None:
            await self._nap
            return
        later = self._clock.callLater(seconds, self._wake)
        try:
            await self._nap
        finally:
            if later.active():
                later.cancel()

    def _wake(self) -> None:
        if not self._nap.called:
            self._nap.callback(None)

    def _hear(self, events: Sequence[Event] = ()) -> None:
        if self._idle:
            self._wake()

    def _note(self, node: str) -> None:
        if node != self._journal.node:
            for listener in self._elsewhere:
                listener()
