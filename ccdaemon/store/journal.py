"""The journal: one ordered log in ``state_dir`` that every fact is written to first.

Told means committed here. A thread writes (one commit for all that waits), another reads; the
reactor never waits for the disk, and nothing is kept in memory but what waits to be written.
Knows nothing of Postgres: that, the webhooks and the live stream are its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls.model import CallView
from ccdaemon.clocks import WallClock
from ccdaemon.store import journal_reads as reads
from ccdaemon.store import journal_writes as writes
from ccdaemon.store.call_ids import IdAllocator
from ccdaemon.store.facts import Event, Fact, StateFact
from ccdaemon.store.failures import JournalBroken, JournalDamaged, JournalFull, JournalTorn
from ccdaemon.store.group_commit import RETRY, WINDOW
from ccdaemon.store.journal_file import NAME, Contents, StateDirLock, prepare
from ccdaemon.store.journal_founding import JournalFounding
from ccdaemon.store.journal_reading import JournalReading
from ccdaemon.store.records import Chain
from ccdaemon.store.sqlite_file import SqliteFile, quarantine_file

Listener = Callable[[Sequence[Event]], None]

#: Facts that may wait for the disk at once.
WAITING = 10_000
#: Seconds that stopping waits for the disk.
DRAIN = 5.0
#: Seconds between two looks for what can be forgotten.
PRUNE_EVERY = 60.0
#: Ms for which a call is kept here after it has ended.
KEPT = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class JournalHealth:
    """How the journal is.

    ``broken`` says why it cannot be written, None if it can. ``waiting`` counts facts that are
    not committed yet; ``head`` is the newest event, ``floor`` the one after which everything is
    still held; ``refused`` counts appends that failed since the start. ``quarantine_file`` says
    what became of a damaged file that was found at the start.
    """

    broken: str | None
    waiting: int
    refused: int
    head: int
    floor: int
    numbers_left: int
    set_aside: str | None = None


class Journal(JournalReading, JournalFounding, Service):
    """The journal of one ``state_dir``.

    Between :meth:`startService` and the end of :meth:`stopService` it may be used.

    :param reactor: where its threads report to.
    :param clock: the same reactor, for what it does later.
    :param wall: says what is old enough to be forgotten, and names a damaged file.
    :param window: seconds between two commits under load.
    :param retry: seconds between two tries while the disk takes nothing.
    :param waiting: how many facts may wait for the disk, but for the states of open calls.
    :param drain: seconds that stopping waits for the disk.
    :ivar file: six hexadecimal digits, made with the file: its own name.
    :ivar node: the same, or that of the journal that was this Asterisk's before: under this name
        its events are known everywhere else.
    :ivar head: the newest event that is committed.
    :ivar floor: all events after this one are still held.
    :ivar observe: told of each append that is committed how many seconds that took.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFromThreads,
        clock: IReactorTime,
        wall: WallClock,
        state_dir: Path,
        *,
        window: float = WINDOW,
        retry: float = RETRY,
        waiting: int = WAITING,
        drain: float = DRAIN,
    ) -> None:
        file = SqliteFile(
            reactor,
            state_dir / NAME,
            "journal",
            probe=writes.probe,
            writability_changed=self._writability_changed,
            settled=self._notify,
            clock=clock,
            window=window,
            retry=retry,
        )
        JournalReading.__init__(self, file)
        JournalFounding.__init__(self, file)
        self._path = file.path
        self._clock = clock
        self._wall = wall
        self._lock = StateDirLock(state_dir)
        self._limit = waiting
        self._drain = drain
        self.observe: Callable[[float], None] = lambda _: None
        self._listeners: list[Listener] = []
        self._fresh: list[Event] = []
        self._waiting = 0
        self._refused = 0
        self._broken: str | None = "the journal is not open"
        self._pruning: IDelayedCall | None = None
        self._held: str | None = None
        self._set_aside: str | None = None
        self.file = ""

    # Life

    def startService(self) -> None:
        """Lock the folder, check the file and open it. Blocks while it does.

        A journal that is damaged is set aside, and a new one begins.

        :raise StateDirBusy: if another daemon has the folder.
        :raise JournalDamaged: if the file is no journal or cannot be set aside; the message says
            what to do.
        :raise OSError: if the folder cannot be written.
        """
        self._lock.acquire()
        try:
            contents = self._prepare()
        except BaseException:
            self._lock.release()
            raise
        self.file = contents.file
        self.node = contents.node
        self.high_watermark = contents.head
        self.low_watermark = contents.floor
        self._is_begun = contents.begun
        self._leases = IdAllocator(contents.leases, contents.top)
        self._broken = None
        self._sqlite.start()
        self._pruning = self._clock.callLater(PRUNE_EVERY, self._prune)
        super().startService()  # type: ignore[no-untyped-call]

    def _prepare(self) -> Contents:
        try:
            return prepare(self._path)
        except JournalTorn as error:
            now = datetime.fromtimestamp(self._wall.seconds(), UTC)
            try:
                aside = quarantine_file(self._path, f"damaged-{now:%Y%m%d-%H%M%S}")
            except OSError as failed:
                raise JournalDamaged(f"{error} (it cannot be moved from here: {failed})") from error
            self._set_aside = f"was damaged, is {aside} now, and was begun anew"
            self._log.critical(
                "{error}: this was done, it is {aside} now", error=error, aside=aside
            )
            return prepare(self._path)

    def stopService(self) -> Deferred[None]:
        """Write what waits and let go of the folder, within ``drain`` seconds."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._broken = "the daemon is stopping"
        self._give_up_postponed(JournalBroken(self._broken))
        if self._pruning is not None and self._pruning.active():
            self._pruning.cancel()
        self._sqlite.write(writes.end).addErrback(lambda _: None)
        try:
            await self._sqlite.stop_writing().addTimeout(self._drain, self._clock)
        except TimeoutError:
            self._log.error(
                "the journal was left with {waiting} facts unwritten", waiting=self._waiting
            )
        await self._sqlite.stop_reading()
        self._lock.release()

    # Writing

    def append(self, facts: Sequence[Fact], *, may_wait: bool = False) -> Deferred[list[int]]:
        """Write facts, all or none, in the order of the calls of this method.

        An append that opens a call fails at once when the disk does not take it. Any other
        waits until the disk does, and until :meth:`begin` where the journal begins anew: what
        happened to a call must not be missing in its middle. So the states of a call that is
        open are taken however much waits.

        :param may_wait: nobody waits for them: they ride along with the next commit.
        :return: fires with the event ids, once they are committed; fails with
            :class:`KeyTaken`, :class:`CallKnown`, :class:`JournalFull` or :class:`JournalBroken`.
        """
        keep = not any(fact.opens for fact in facts)
        takes = self._is_begun or (keep and self._begins_anew)
        if not self.running or not takes or self._held is not None:
            return self._refuse(JournalBroken(self.not_ready or "the journal is not open"))
        if self._waiting + len(facts) > self._room(facts):
            return self._refuse(JournalFull(f"{self._waiting} facts wait for the disk"))
        entries = [writes.Entry.of(fact) for fact in facts]
        self._waiting += len(facts)
        began = self._clock.seconds()
        if self._is_begun:
            written = self._sqlite.write(
                lambda db: writes.append(db, entries), keep=keep, may_wait=may_wait
            )
        else:
            written = self._postpone(lambda db: writes.append(db, entries))
        return written.addBoth(self._appended, entries, began)

    def _room(self, facts: Sequence[Fact]) -> float:
        """How many facts may wait for the disk, with these."""
        # Nobody would tell the state of an open call a second time, and its chain would lack it
        # for ever. As long as there is no room no call is opened, so these come to an end.
        if all(isinstance(fact, StateFact) and not fact.opens for fact in facts):
            return inf
        # Calls have half of the room to themselves: phones go on changing their states all day.
        is_of_call = any(fact.call_id is not None for fact in facts)
        return self._limit if is_of_call else self._limit // 2

    def forget_calls(
        self, facts: Sequence[Fact], anchors: Sequence[writes.Forgotten] = ()
    ) -> Deferred[list[int]]:
        """Remove all that is held of calls, and write one fact for each of them instead.

        Nothing of it can be read in the file any more.

        :param anchors: the channels with which the calls began.
        :return: fires with the facts' event ids; fails as :meth:`append` does.
        """
        if not self.running or self._broken is not None:
            return self._refuse(JournalBroken(self.not_ready or "the journal is not open"))
        entries = [writes.Entry.of(fact) for fact in facts]
        self._waiting += len(facts)
        written = self._sqlite.write(
            lambda db: writes.forget_calls(db, entries, anchors), scrub=True
        )
        return written.addBoth(self._appended, entries, self._clock.seconds())

    def settled(self) -> Deferred[None]:
        """Fires once all that was appended so far is committed; at once where the disk fails."""
        if not self._waiting or self._broken is not None:
            return succeed(None)
        # Whoever gives up waiting is told so.
        return self._sqlite.write(lambda db: None).addErrback(lambda why: why.trap(JournalBroken))

    def alive(self) -> Deferred[None]:
        """Fires once the writer has answered, whatever its disk does."""
        return self._sqlite.write(lambda db: None).addErrback(lambda _: None)

    def _refuse(self, error: Exception) -> Deferred[Any]:
        self._refused += 1
        return fail(error)

    def _appended(
        self, result: list[int] | Failure, entries: Sequence[writes.Entry], began: float
    ) -> Any:
        self._waiting -= len(entries)
        if isinstance(result, Failure):
            self._refused += 1
            return result
        self.observe(self._clock.seconds() - began)
        for event_id, entry in zip(result, entries, strict=True):
            self._fresh.append(Event(event_id, entry.fact, entry.body))
            self.high_watermark = event_id
        return result

    def _notify(self) -> None:
        """Tell the readers what was committed, once those who appended it have heard."""
        events, self._fresh = self._fresh, []
        self._recent.hear(events)
        for listener in tuple(self._listeners if events else ()):
            with self._log.failureHandler("a reader of the journal failed to listen"):
                listener(events)

    def after(self, checkpoint: int, limit: int) -> Deferred[list[Event]]:
        """At most ``limit`` events after a position, oldest first.

        The newest come out of memory, as they were appended; whoever is further behind reads the
        file.

        :return: fails with :class:`BelowLowWatermark` if some of them may be gone.
        """
        # Those who had something committed hear of it a moment before it is among the newest.
        if self.low_watermark <= checkpoint and self._recent.newest >= self.high_watermark:
            recent = self._recent.after(checkpoint, limit)
            if recent is not None:
                return succeed(recent)
        return self._sqlite.read(reads.after, checkpoint, limit)

    def chain(self, call_id: int) -> Deferred[Chain | None]:
        """A call's whole chain, out of memory if it is young; None if it is not held as a whole."""
        if self._recent.newest >= self.high_watermark:
            events = self._recent.chain(call_id)
            if events and events[0].event_id > self.low_watermark:
                return succeed(reads.chain_of(events, None))
        return super().chain(call_id)

    def newest_view(self, call_id: int) -> CallView | None:
        """A call as it was told last, out of memory; None if that is too far back."""
        return self._recent.view(call_id)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have ``listener`` called with new events once they are committed, in order.

        :return: ends the subscription.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _writability_changed(self, reason: str | None) -> None:
        if not self.running:
            return
        self._broken = reason
        if reason is None:
            self._log.info("the journal can be written again")
        else:
            self._log.error("the journal cannot be written: {reason}", reason=reason)

    # Whether it takes anything

    def hold(self, why: str | None) -> None:
        """Take nothing meanwhile, for a reason in words; None: go on."""
        self._held = why

    @property
    def not_ready(self) -> str | None:
        """Why no call can be opened just now, in words; None if one can."""
        if self._broken is not None:
            return self._broken
        if not self._is_begun:
            return "the keys in use have not been read from Postgres yet"
        if self._held is not None:
            return self._held
        if not self._leases.left:
            return "Postgres has granted no call numbers"
        return None

    async def set_checkpoint(self, reader: str, event_id: int) -> None:
        """Note that a reader has everything up to ``event_id``: it may be forgotten then."""
        await self._sqlite.write(
            lambda db: writes.set_checkpoint(db, reader, event_id), may_wait=True
        )

    async def set_offset(self, name: str, body: bytes) -> None:
        """Note how far something outside was read; after all that was appended before."""
        await self._sqlite.write(lambda db: writes.set_offset(db, name, body), may_wait=True)

    async def forget_reader(self, reader: str) -> None:
        """Forget a reader's place: nothing is held back for it any more."""
        await self._sqlite.write(lambda db: writes.forget_reader(db, reader))

    async def dead_letter(self, reader: str, event_id: int, reason: str, *, keep: bool) -> None:
        """Note that a reader passes over an event.

        :param keep: the event is held until :meth:`requeue`, and not forgotten as others are.
        """
        await self._sqlite.write(lambda db: writes.dead_letter(db, reader, event_id, reason, keep))

    async def requeue(self, reader: str, event_id: int) -> None:
        """Treat an event that a reader had passed over as any other."""
        await self._sqlite.write(lambda db: writes.requeue(db, reader, event_id))

    # Upkeep

    @property
    def health(self) -> JournalHealth:
        """How the journal is just now."""
        return JournalHealth(
            self._broken,
            self._waiting,
            self._refused,
            self.high_watermark,
            self.low_watermark,
            self._leases.left,
            self._set_aside,
        )

    def _prune(self) -> None:
        before = int(self._wall.seconds() * 1000) - KEPT
        pruned = self._sqlite.write(lambda db: writes.prune(db, before))
        pruned.addCallbacks(self._pruned, lambda _: False)
        pruned.addCallback(self._prune_later)

    def _pruned(self, result: tuple[int, bool]) -> bool:
        self.low_watermark, more = result
        return more

    def _prune_later(self, more: bool) -> None:
        if self.running:
            self._pruning = self._clock.callLater(0 if more else PRUNE_EVERY, self._prune)
