"""Reads the journal on, and takes what is told into the table of deliveries.

Goes on where it was, whatever happened to the daemon: the place is noted with what was taken.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.clock_steps import ClockSteps
from ccdaemon.consumers.webhooks.deliveries import QueuedMessage
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile
from ccdaemon.consumers.webhooks.delivery_worker import Spell
from ccdaemon.consumers.webhooks.messages import WebhookMessage, message_of, wants
from ccdaemon.store.facts import ActionFact, Event, RecordFact
from ccdaemon.store.failures import BelowLowWatermark, JournalBroken
from ccdaemon.store.journal import Journal

READER = "webhooks"
#: What says nothing against an event: the disk, or the daemon's end.
_NOT_THE_EVENTS = (CancelledError, JournalBroken, sqlite3.OperationalError)
#: Events that are read in one go.
BATCH = 200
#: Seconds between two notes in the journal of how far it has been read.
NOTE_EVERY = 10.0
#: Seconds that the last note may take when the daemon stops.
NOTE_WITHIN = 1.0
#: Letters of the reason that are kept of an event that is passed over.
REASON = 200
#: Seconds until something is tried again that failed.
AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class ReaderHealth:
    """How far the journal has been read.

    ``backlog`` counts events that are told and not taken yet, ``dead`` those that were passed over
    because no message could be made of them; ``trouble`` is why nothing is taken just now, None if
    something is; ``last_dead`` is why an event was passed over last, since the start.
    """

    position: int
    backlog: int
    dead: int
    trouble: str | None
    last_dead: str | None


class Enqueuer:
    """The journal's reader.

    An event of which no message can be made keeps nothing up: it becomes a dead letter.

    :param base_url: what links to recordings begin with.
    :param spell: spells an announcement.
    :param taken: called with a webhook's name when there is something for it.
    :ivar dropped: recordings that could not be told, because their call was forgotten.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        journal: Journal,
        file: DeliveryFile,
        due_times: ClockSteps,
        webhooks: Collection[Webhook],
        base_url: str,
        spell: Spell,
        taken: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._file = file
        self._due_times = due_times
        self._webhooks = webhooks
        self._base_url = base_url
        self._spell = spell
        self._taken = taken
        self._loop: Deferred[None] = succeed(None)
        self._news: Deferred[None] | None = None
        self._noted = 0.0
        self._checkpoint = self._noted_checkpoint = 0
        self._was_damaged = self._is_new = False
        self._high_watermark = 0
        self._is_begun = False
        self._trouble: str | None = None
        self._last_dead: str | None = None
        self._dead = 0
        self.dropped = 0

    @property
    def health(self) -> ReaderHealth:
        """How far the journal has been read."""
        is_reading = self._webhooks and self._is_begun
        backlog = max(self._journal.high_watermark - self._checkpoint, 0) if is_reading else 0
        about = self._dead, self._trouble, self._last_dead
        return ReaderHealth(self._checkpoint, backlog, *about)

    async def count(self) -> None:
        """Count the dead letters that are held."""
        self._dead = await self._journal.dead_letters(READER)

    def start(self, was_damaged: bool, ready: Callable[[], None]) -> None:
        """Begin; the journal must be open.

        :param was_damaged: the file had to be begun anew.
        :param ready: called once before the first is taken.
        """
        self._was_damaged = was_damaged
        self._is_new = not self._journal.begun
        # Where the story begins for those who have heard nothing yet: nothing was told so far.
        self._high_watermark = self._journal.high_watermark
        self._unsubscribe = self._journal.subscribe(self._hear)
        self._loop = Deferred.fromCoroutine(self._run(ready))

    async def stop(self) -> None:
        """Take no more."""
        self._unsubscribe()
        self._loop.cancel()
        await self._loop
        if self._checkpoint != self._noted_checkpoint:
            # Not for ever: what the disk does not take now is read from the journal again.
            noting = Deferred.fromCoroutine(self._note()).addErrback(lambda _: None)
            await noting.addTimeout(NOTE_WITHIN, self._clock, lambda result, _: None)

    async def _run(self, ready: Callable[[], None]) -> None:
        with suppress(CancelledError):
            await self._tried("cannot begin", self._begin)
            self._is_begun = True
            ready()
            await self._journal.when_begun()
            while self._webhooks:
                await self._tried("cannot be taken from the journal", self._read_on)

    async def _begin(self) -> None:
        await self._file.write(deliveries.begin, {one.name for one in self._webhooks}, self._now())
        if not self._webhooks:
            # Nobody reads on from there, and nothing may wait to be forgotten for nobody.
            await self._journal.forget_reader(READER)
            return
        noted = await self._journal.checkpoint(READER)
        own = await self._file.read(deliveries.checkpoint)
        self._checkpoint = self._where_to_begin(noted, own)
        await self._note()

    def _where_to_begin(self, noted: int | None, own: int | None) -> int:
        """Where to read on."""
        if noted is None:
            # A journal that is made anew takes back what its predecessor had told.
            return own if self._is_new and own is not None else self._high_watermark
        if self._was_damaged:
            return self._journal.low_watermark
        # A journal that was put back from a copy is behind what was read of it.
        return min(noted if own is None else own, self._high_watermark)

    async def _read_on(self) -> None:
        try:
            events = await self._journal.after(self._checkpoint, BATCH)
        except BelowLowWatermark as error:
            # It may hold some of that all the same, as calls that Postgres has told it of.
            events = await self._journal.held(self._checkpoint, BATCH)
            if not events:
                self._checkpoint = error.low_watermark
        if events:
            await self._take(events)
        if self._clock.seconds() - self._noted >= NOTE_EVERY:
            await self._note()
        if len(events) < BATCH:
            await self._wait()

    async def _take(self, events: Sequence[Event]) -> None:
        last = events[-1].event_id
        queued = [one for event in events for one in await self._told_of(event)]
        orders = {
            event.fact.call_id: event.fact.attached
            for event in events
            if isinstance(event.fact, ActionFact) and event.fact.attached is not None
        }
        try:
            if queued or orders:
                await self._file.write(deliveries.take, queued, last, self._now(), orders)
        except _NOT_THE_EVENTS:
            raise
        except Exception as error:
            if len(events) > 1:
                for event in events:
                    await self._take([event])
                return
            await self._bury(events[0], error)
            queued = []
        self._checkpoint = last
        for name in {name for one in queued for name in one.webhooks}:
            self._taken(name)

    async def _told_of(self, event: Event) -> list[QueuedMessage]:
        try:
            return await self._queued(event)
        except _NOT_THE_EVENTS:
            raise
        except Exception as error:
            await self._bury(event, error)
            return []

    async def _bury(self, event: Event, error: Exception) -> None:
        """Pass over an event of which no message can be made."""
        reason = f"{type(error).__name__}: {error}"[:REASON]
        await self._journal.dead_letter(READER, event.event_id, reason)
        self._dead += 1
        self._last_dead = f"event {event.event_id}: {reason}"
        self._log.failure(
            "webhooks do not tell of event {event_id} of call {call_id}, and go on after it",
            event_id=event.event_id,
            call_id=event.fact.call_id,
        )

    async def _queued(self, event: Event) -> list[QueuedMessage]:
        message = await self._message(event)
        if message is None:
            return []
        names = [one.name for one in self._webhooks if wants(one, message)]
        if not names:
            return []
        return [
            QueuedMessage(
                message.webhook_id,
                message.type,
                message.ordering_key,
                message.call_id,
                message.seq,
                message.state,
                self._spell(message.tree, "json"),
                names,
            )
        ]

    async def _message(self, event: Event) -> WebhookMessage | None:
        call = None
        if isinstance(event.fact, RecordFact):
            chain = await self._journal.chain(event.fact.call_id)
            if chain is None:
                self.dropped += 1
                self._log.error(
                    "webhooks do not tell of a recording: call {call_id} is forgotten",
                    call_id=event.fact.call_id,
                )
                return None
            call = chain.call
        return message_of(event, self._journal.node, self._base_url, call)

    async def _note(self) -> None:
        """Note the place: in our own file first, then in the journal, which may forget up to it."""
        position = self._checkpoint
        await self._file.write(deliveries.set_checkpoint, position)
        await self._journal.set_checkpoint(READER, position)
        self._noted, self._noted_checkpoint = self._clock.seconds(), position

    async def _wait(self) -> None:
        """Wait until something new is told, or there is a place to be noted."""
        if self._journal.high_watermark > self._checkpoint:
            return
        news: Deferred[None] = Deferred()
        self._news = news
        later = None
        if self._checkpoint != self._noted_checkpoint:
            later = self._clock.callLater(NOTE_EVERY, self._hear)
        try:
            await news
        finally:
            self._news = None
            if later is not None and later.active():
                later.cancel()

    def _hear(self, events: Sequence[Event] = ()) -> None:
        news, self._news = self._news, None
        if news is not None:
            news.callback(None)

    async def _tried(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do something until it can be done; each new reason is said once."""
        said = ""
        while True:
            try:
                await work()
                self._trouble = None
                return
            except CancelledError:
                raise
            except Exception as error:
                if repr(error) != said:
                    self._log.failure("webhooks {what}, and it is tried again", what=what)
                said = repr(error)
                self._trouble = said
                await deferLater(self._clock, AGAIN)

    def _now(self) -> int:
        return self._due_times.now()
