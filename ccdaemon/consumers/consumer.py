"""A consumer of the event log: reads it on, in order, and hands what it reads to a sink.

Its checkpoint, its batches, what is done about trouble and about events that cannot be taken
(dead letters), and how far it is behind, are the same whatever the sink does with the events. The
sink alone knows that: it ships them to Postgres, or lines them up for webhooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.store.facts import Event, Unreadable
from ccdaemon.store.failures import BelowLowWatermark
from ccdaemon.store.journal import Journal

#: Seconds between two notes in the log of the checkpoint.
NOTE_EVERY = 10.0
#: Seconds that the last note may take when the daemon stops.
NOTE_WITHIN = 1.0
#: Seconds until something is tried again that failed.
AGAIN = 2.0
#: Letters of the reason that are kept of a dead letter.
REASON = 200
#: Dead letters that are tried again at once.
RETRIED = 1000


class CannotBeRead(Exception):
    """What stands in the log where an event should cannot be read."""


class NobodyWants(Exception):
    """Nobody wants any events: the consumer ends."""


class Sink(Protocol):
    """What is done with events."""

    async def ready(self) -> int | None:
        """Wait until events can be taken.

        :return: the checkpoint to go on from, where the sink has begun (anew); None: just go on.
        :raise NobodyWants: if nobody wants events, now or later.
        """
        ...

    async def take(self, events: Sequence[Event], after: int, upto: int) -> None:
        """Take events, all of them or none.

        :param after: up to here everything was taken before; 0: it says nothing.
        :param upto: with these everything is taken up to here; 0: it says nothing.
        """
        ...

    def blames(self, error: Exception) -> bool:
        """Whether a failure to take events speaks against one of them: then it is found out
        which, and the others go on. Else all are tried again."""
        ...

    async def note(self, checkpoint: int) -> None:
        """Note a checkpoint, before the log does, which may forget what is up to it."""
        ...

    def failed(self, error: Exception, *, is_news: bool) -> None:
        """Hear that nothing can be taken just now, and say so in the log where that is news."""
        ...


@dataclass(frozen=True, slots=True)
class ConsumerHealth:
    """How far a consumer is.

    ``backlog`` counts events that are not taken yet, ``behind`` is for about how many seconds the
    oldest of them has waited. ``dead_letters`` counts those that were passed over;
    ``last_dead_letter`` is the last of them since the start with its reason. ``trouble`` is why
    nothing is taken just now; None where something is. ``last_trouble`` is what it was last.
    """

    name: str
    checkpoint: int
    backlog: int
    behind: float
    dead_letters: int
    last_dead_letter: str | None
    trouble: str | None
    last_trouble: str | None


class Consumer:
    """A reader of the event log.

    :param name: under which its checkpoint and its dead letters are kept.
    :param batch: events that are handed over at once, at most.
    :param gather: seconds for which events are left to gather once some have come.
    :param keeps: dead letters are held in the log, and tried again whenever the sink begins.
    :param leaps: goes on with what is still held where some of it has been forgotten; else it
        begins anew there.
    :ivar checkpoint: everything up to this event is taken, or is a dead letter.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        journal: Journal,
        sink: Sink,
        *,
        batch: int,
        gather: float = 0.0,
        keeps: bool = False,
        leaps: bool = False,
    ) -> None:
        self.name = name
        self._clock = clock
        self._journal = journal
        self._sink = sink
        self._batch = batch
        self._gather = gather
        self._keeps = keeps
        self._leaps = leaps
        self._running = self._is_stopped = False
        self._loop: Deferred[None] = succeed(None)
        self._nap: Deferred[None] | None = None
        self._is_hurried = False
        self._is_begun = False
        self._noted, self._noted_checkpoint = 0.0, -1
        # What the log says of it before it has begun.
        self._last_noted: int | None = None
        self._ignores_news = False
        # The newest event at a moment, and the moment: for how long it has not been taken.
        self._mark: tuple[int, float] | None = None
        self._dead_letters = 0
        self._last_dead_letter: str | None = None
        self._trouble: str | None = None
        self._last_trouble: str | None = None
        self.checkpoint = -1

    # Life

    def start(self) -> None:
        """Begin. The log must be open."""
        self._running = True
        self._unsubscribe = self._journal.subscribe(self._hear)
        self._loop = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Take no more, and note how far it got; what is not taken stays in the log."""
        if self._is_stopped:
            return
        self._running, self._is_stopped = False, True
        self._unsubscribe()
        self._loop.cancel()
        await self._loop
        if self._is_begun and self.checkpoint != self._noted_checkpoint:
            # Not for ever: what the disk does not take now is read from the log again.
            noting = Deferred.fromCoroutine(self._note()).addErrback(lambda _: None)
            await noting.addTimeout(NOTE_WITHIN, self._clock, lambda result, _: None)

    def wake(self) -> None:
        """Go on at once: somebody waits for it, or the sink has begun anew."""
        self._is_hurried = True
        self._stir()

    @property
    def health(self) -> ConsumerHealth:
        """How far it is."""
        head = self._journal.high_watermark
        known = self.checkpoint if self._is_begun else self._last_noted
        backlog = max(head - known, 0) if self._running and known is not None else 0
        behind = self._clock.seconds() - self._mark[1] if backlog and self._mark else 0.0
        return ConsumerHealth(
            self.name,
            self.checkpoint,
            backlog,
            max(behind, 0.0),
            self._dead_letters,
            self._last_dead_letter,
            self._trouble,
            self._last_trouble,
        )

    async def count(self) -> None:
        """Count the dead letters that are held."""
        self._dead_letters = await self._journal.dead_letters(self.name)

    # The loop

    async def _run(self) -> None:
        with suppress(CancelledError):
            while True:
                try:
                    is_at_end = await self._turn()
                except CancelledError:
                    raise
                except NobodyWants:
                    self._running = False
                    return
                except Exception as error:
                    self._fail(error)
                    await self._sleep(AGAIN, ignores_news=True)
                    continue
                self._trouble = None
                if is_at_end:
                    await self._rest()

    def _fail(self, error: Exception) -> None:
        words = f"{type(error).__name__}: {error}"
        self._sink.failed(error, is_news=words != self._trouble)
        self._trouble = self._last_trouble = words

    async def _turn(self) -> bool:
        """Take a batch; true if there was no more."""
        if self._last_noted is None:
            self._last_noted = await self._journal.checkpoint(self.name)
        begun = await self._sink.ready()
        if begun is not None:
            await self._begin(begun)
        events = await self._read()
        if events:
            await self._take(events)
        if self._is_due:
            await self._note()
        return len(events) < self._batch

    async def _begin(self, checkpoint: int) -> None:
        self._advance(checkpoint)
        self._is_begun = True
        if self._keeps:
            for event in await self._journal.quarantined(self.name, RETRIED):
                await self._try_again(event)
        await self.count()
        await self._note()

    async def _read(self) -> list[Event]:
        if self._journal.high_watermark <= self.checkpoint:
            return []
        try:
            return await self._journal.after(self.checkpoint, self._batch)
        except BelowLowWatermark as error:
            if not self._leaps:
                raise
            # It may hold some of that all the same, as calls that Postgres has told it of.
            events = await self._journal.held(self.checkpoint, self._batch)
            if not events:
                self._advance(error.low_watermark)
            return events

    async def _take(self, events: Sequence[Event]) -> None:
        """Take events; if one cannot be, all but that one."""
        upto = events[-1].event_id
        try:
            for event in events:
                if isinstance(event.fact, Unreadable):
                    raise CannotBeRead(event.fact.reason)
            await self._sink.take(events, self.checkpoint, upto)
        except CancelledError:
            raise
        except Exception as error:
            if not (isinstance(error, CannotBeRead) or self._sink.blames(error)):
                raise
            if len(events) > 1:
                middle = len(events) // 2
                await self._take(events[:middle])
                await self._take(events[middle:])
                return
            await self._bury(events[0], error)
        self._advance(upto)

    async def _bury(self, event: Event, error: Exception) -> None:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:REASON]
        await self._journal.dead_letter(self.name, event.event_id, reason, keep=self._keeps)
        await self._sink.take((), self.checkpoint, event.event_id)
        self._dead_letters += 1
        self._last_dead_letter = f"event {event.event_id}: {reason}"
        then = "is tried again when it begins anew" if self._keeps else "is passed over"
        self._log.error(
            "{name} cannot take event {event_id} of call {call_id}, which {then}: {reason}",
            name=self.name,
            event_id=event.event_id,
            call_id=event.fact.call_id,
            then=then,
            reason=reason,
        )

    async def _try_again(self, event: Event) -> None:
        try:
            if isinstance(event.fact, Unreadable):
                return
            await self._sink.take([event], 0, 0)
        except CancelledError:
            raise
        except Exception as error:
            if self._sink.blames(error):
                return
            raise
        await self._journal.requeue(self.name, event.event_id)

    # Where it is

    def _advance(self, checkpoint: int) -> None:
        self.checkpoint = checkpoint
        head = self._journal.high_watermark
        if head <= checkpoint:
            self._mark = None
        elif self._mark is None or self._mark[0] <= checkpoint:
            self._mark = (head, self._clock.seconds())

    @property
    def _is_due(self) -> bool:
        is_new = self.checkpoint != self._noted_checkpoint
        return is_new and self._clock.seconds() - self._noted >= NOTE_EVERY

    async def _note(self) -> None:
        checkpoint = self.checkpoint
        await self._sink.note(checkpoint)
        await self._journal.set_checkpoint(self.name, checkpoint)
        self._noted, self._noted_checkpoint = self._clock.seconds(), checkpoint

    # Waiting

    async def _rest(self) -> None:
        """Wait until something is to be done; then let more gather, if nobody waits."""
        if self._journal.high_watermark <= self.checkpoint and not self._is_hurried:
            is_noted = self.checkpoint == self._noted_checkpoint
            await self._sleep(None if is_noted else NOTE_EVERY)
        is_hurried, self._is_hurried = self._is_hurried, False
        if self._gather and not is_hurried:
            await self._sleep(self._gather, ignores_news=True)
            self._is_hurried = False

    async def _sleep(self, seconds: float | None, *, ignores_news: bool = False) -> None:
        if not self._running:
            raise CancelledError
        nap: Deferred[None] = Deferred()
        self._nap = nap
        self._ignores_news = ignores_news
        later = None if seconds is None else self._clock.callLater(seconds, self._stir)
        try:
            await nap
        finally:
            self._nap = None
            if later is not None and later.active():
                later.cancel()

    def _stir(self) -> None:
        nap, self._nap = self._nap, None
        if nap is not None:
            nap.callback(None)

    def _hear(self, events: Sequence[Event]) -> None:
        if self._mark is None:
            self._mark = (events[-1].event_id, self._clock.seconds())
        if not self._ignores_news:
            self._stir()
