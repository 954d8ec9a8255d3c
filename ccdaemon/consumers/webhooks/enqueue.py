"""What webhooks do with events: they are made messages and lined up in the table of deliveries.

Goes on where it was, whatever happened to the daemon: the checkpoint is noted with what was taken.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.consumer import Consumer, ConsumerHealth, NobodyWants
from ccdaemon.consumers.webhooks import deliveries
from ccdaemon.consumers.webhooks.clock_steps import ClockSteps
from ccdaemon.consumers.webhooks.deliveries import QueuedMessage
from ccdaemon.consumers.webhooks.delivery_file import DeliveryFile
from ccdaemon.consumers.webhooks.delivery_worker import Spell
from ccdaemon.consumers.webhooks.messages import WebhookMessage, message_of, wants
from ccdaemon.store.facts import ActionFact, Event, RecordFact
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.journal import Journal

READER = "webhooks"
#: What says nothing against an event: the disk, or the daemon's end.
_NOT_THE_EVENTS = (CancelledError, JournalBroken, sqlite3.OperationalError)
#: Events that are read in one go.
BATCH = 200


class Enqueuer:
    """The consumer that is all webhooks.

    An event of which no message can be made keeps nothing up: it becomes a dead letter.

    :param base_url: what links to recordings begin with.
    :param spell: spells an announcement.
    :param queued_for: called with a webhook's name when there is something for it.
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
        queued_for: Callable[[str], None],
    ) -> None:
        self._journal = journal
        self._file = file
        self._due_times = due_times
        self._webhooks = webhooks
        self._base_url = base_url
        self._spell = spell
        self._queued_for = queued_for
        self._consumer = Consumer(READER, clock, journal, self, batch=BATCH, leaps=True)
        self._was_damaged = self._is_new = False
        self._high_watermark = 0
        self._is_begun = False
        self._begun: Callable[[], None] = lambda: None
        self.dropped = 0

    @property
    def health(self) -> ConsumerHealth:
        """How far the log has been read."""
        return self._consumer.health

    async def count(self) -> None:
        """Count the dead letters that are held."""
        await self._consumer.count()

    def start(self, was_damaged: bool, begun: Callable[[], None]) -> None:
        """Begin; the log must be open.

        :param was_damaged: the file had to be begun anew.
        :param begun: called once before the first is taken.
        """
        self._was_damaged = was_damaged
        self._begun = begun
        self._is_new = not self._journal.begun
        # Where the story begins for those who have heard nothing yet: nothing was told so far.
        self._high_watermark = self._journal.high_watermark
        self._consumer.start()

    async def stop(self) -> None:
        """Take no more."""
        await self._consumer.stop()

    # What it does with events

    async def ready(self) -> int | None:
        """Begin once; then there is nothing to wait for."""
        if self._is_begun:
            return None
        checkpoint = await self._begin()
        self._is_begun = True
        self._begun()
        if not self._webhooks:
            # Nobody reads on from there, and nothing may wait to be forgotten for nobody.
            await self._journal.forget_reader(READER)
            raise NobodyWants
        await self._journal.when_begun()
        return checkpoint

    async def _begin(self) -> int:
        await self._file.write(deliveries.begin, {one.name for one in self._webhooks}, self._now())
        noted = await self._journal.checkpoint(READER)
        own = await self._file.read(deliveries.checkpoint)
        return self._where_to_begin(noted, own)

    def _where_to_begin(self, noted: int | None, own: int | None) -> int:
        """Where to read on."""
        if noted is None:
            # A journal that is made anew takes back what its predecessor had told.
            return own if self._is_new and own is not None else self._high_watermark
        if self._was_damaged:
            return self._journal.low_watermark
        # A journal that was put back from a copy is behind what was read of it.
        return min(noted if own is None else own, self._high_watermark)

    async def take(self, events: Sequence[Event], after: int, upto: int) -> None:
        """Line up messages of events."""
        queued = [one for event in events for one in await self._queued(event)]
        orders = {
            event.fact.call_id: event.fact.attached
            for event in events
            if isinstance(event.fact, ActionFact) and event.fact.attached is not None
        }
        if queued or orders:
            await self._file.write(deliveries.take, queued, upto, self._now(), orders)
        for name in {name for one in queued for name in one.webhooks}:
            self._queued_for(name)

    def blames(self, error: Exception) -> bool:
        """Whether no message can be made of an event, or none be kept."""
        return not isinstance(error, _NOT_THE_EVENTS)

    async def note(self, checkpoint: int) -> None:
        """Note it in the file of deliveries: it may be younger than the log, or older."""
        await self._file.write(deliveries.set_checkpoint, checkpoint)

    def failed(self, error: Exception, *, is_news: bool) -> None:
        """Say it."""
        if is_news:
            self._log.failure("webhooks cannot be told of events, and it is tried again")

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

    def _now(self) -> int:
        return self._due_times.now()
