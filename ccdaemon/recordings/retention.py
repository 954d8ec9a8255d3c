"""What is kept no longer: recordings and history by their age, and an order's when asked for.

Files go before the rows that name them, so no file is left behind that nobody names. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ccdaemon.clocks import WallClock
from ccdaemon.config.retention import RetentionSettings as Days
from ccdaemon.errors import RETRY_AFTER, Code, Refused, history_away, not_ready
from ccdaemon.numbers import NO_HOME, Number, Numbers
from ccdaemon.recordings.recordings import recordings_of
from ccdaemon.recordings.removal import RecordingFiles
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.postgres import DatabaseDown
from ccdaemon.store.read_barrier import Behind
from ccdaemon.store.removals import Recorded, Removals

#: Seconds after the start until what is due is removed first, and between two times.
FIRST, EVERY = 60.0, 3600.0
#: How much is removed at once, and seconds between two batches: whoever asks comes first.
BATCH, PAUSE = 200, 0.2
#: How many recordings that cannot be removed are passed over at a time; what is behind them waits.
MOST_STUCK = 10_000
#: Ms that a recording may lie in the folder of an earlier day than its row tells.
SPARE = 2 * 86_400_000
DAY = 86_400_000


@dataclass
class Removed:
    """How much has been removed since the start."""

    calls: int = 0
    recordings: int = 0
    unnamed_files: int = 0
    operator_changes: int = 0


@dataclass(frozen=True, slots=True)
class LastTime:
    """When it was last tried to remove what is due (ms), and why something of it is left, if so."""

    ended: int
    trouble: str | None


class Retention(Service):
    """Removes what is due, and what is asked for.

    :param elsewhere: removes what else is kept of calls: what was sent of them.
    :param numbers: says how a number may be spelled.
    :param unrecord: has no recording of calls registered that is not complete yet.
    :ivar removed: how much has been removed.
    :ivar last: what came of it the last time; None before the first.
    """

    log = Logger()

    def __init__(
        self,
        days: Days,
        removals: Removals,
        files: RecordingFiles,
        elsewhere: Callable[[Sequence[int]], Awaitable[None]],
        unrecord: Callable[[Collection[int]], None],
        clock: WallClock,
        numbers: Numbers = NO_HOME,
    ) -> None:
        self._numbers = numbers
        self._unrecord = unrecord
        self._elsewhere = elsewhere
        self._days = days
        self._removals = removals
        self._files = files
        self._clock = clock
        self._later: IDelayedCall | None = None
        self._job: Deferred[None] | None = None
        self._turn = DeferredLock()
        self._stuck: set[str] = set()
        self._kept: set[int] = set()
        self.removed = Removed()
        self.last: LastTime | None = None

    def startService(self) -> None:
        """Begin, if anything is not to be kept for ever."""
        super().startService()  # type: ignore[no-untyped-call]
        if self._days.recordings_days or self._days.history_days:
            self._later = self._clock.callLater(FIRST, self._begin)

    def stopService(self) -> None:
        """Break off; the rest is due after the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._later is not None and self._later.active():
            self._later.cancel()
        if self._job is not None:
            self._job.cancel()

    def _begin(self) -> None:
        job = Deferred.fromCoroutine(self._run_once())
        self._job = job
        job.addErrback(lambda failure: failure.trap(CancelledError))
        job.addBoth(self._over)

    def _over(self, result: object) -> object:
        self._job = None
        if self.running:
            self._later = self._clock.callLater(EVERY, self._begin)
        return result

    async def _run_once(self) -> None:
        trouble = None
        try:
            await self.remove_due()
        except (DatabaseDown, psycopg2.Error) as error:
            self.log.error("what is due is not removed now: {error}", error=error)
            trouble = str(error)
        except CancelledError:
            raise
        except Exception as error:
            self.log.failure("what is due is not removed")
            trouble = repr(error)
        if trouble is None and self._stuck:
            trouble = f"{len(self._stuck)} recordings cannot be removed"
            self.log.error("{trouble}; the lines above say why", trouble=trouble)
        self.last = LastTime(int(self._clock.seconds() * 1000), trouble)

    async def remove_due(self) -> None:
        """Remove everything that is too old, in small batches.

        :raises DatabaseDown: while Postgres cannot be asked; what is left is due next time.
        """
        before = Removed(**vars(self.removed))
        self._stuck.clear()
        self._kept.clear()
        now = int(self._clock.seconds() * 1000)
        history = self._cutoff(now, self._days.history_days)
        # A recording never outlives what is known of its call.
        recordings = max(self._cutoff(now, self._days.recordings_days), history)
        if recordings:
            await self._in_batches(lambda: self._old_records(recordings))
            self.removed.unnamed_files += await self._files.sweep(recordings - SPARE)
        if history:
            await self._in_batches(lambda: self._old_calls(history))
            await self._in_batches(lambda: self._old_changes(history))
            await self._in_batches(lambda: self._removals.remove_actions(history, BATCH))
        if self.removed != before:
            self.log.info(
                "removed since the start: {calls} calls, {recordings} recordings, {unnamed}"
                " recordings that nobody named, {changes} rows of operators",
                calls=self.removed.calls,
                recordings=self.removed.recordings,
                unnamed=self.removed.unnamed_files,
                changes=self.removed.operator_changes,
            )

    @staticmethod
    def _cutoff(now: int, days: int) -> int:
        return now - days * DAY if days else 0

    async def _in_batches(self, remove: Callable[[], Awaitable[int]]) -> None:
        while await remove() == BATCH:
            await self._clock.sleep(PAUSE)

    async def _old_records(self, before: int) -> int:
        records = await self._removals.old_records(before, BATCH, self._stuck)
        removed = await self._remove_due_files(records)
        await self._removals.remove_records(removed)
        self.removed.recordings += len(removed)
        # What cannot be removed stays named, and is tried again next time.
        return len(records) if len(self._stuck) < MOST_STUCK else 0

    async def _old_calls(self, before: int) -> int:
        calls = await self._removals.old_calls(before, BATCH, self._kept)
        records = await self._removals.records_of(calls)
        removed = await self._remove_due_files(records)
        self._kept |= {one.call_id for one in records if one.path in self._stuck}
        going = [call_id for call_id in calls if call_id not in self._kept]
        await self._elsewhere(going)
        await self._removals.remove_calls(going)
        self.removed.calls += len(going)
        self.removed.recordings += len(removed)
        return len(calls) if len(self._stuck) < MOST_STUCK else 0

    async def _old_changes(self, before: int) -> int:
        count = await self._removals.remove_operator_changes(before, BATCH)
        self.removed.operator_changes += count
        return count

    async def _remove_due_files(self, records: Sequence[Recorded]) -> list[Recorded]:
        removed = await self._remove_files(records)
        self._stuck |= {one.path for one in records} - {one.path for one in removed}
        return removed

    async def _all_files(
        self, calls: Sequence[int], records: Sequence[Recorded]
    ) -> list[tuple[str, str]]:
        """The recordings that calls have, by uniqueid and path; also those never registered."""
        named = {(one.uniqueid, one.path) for one in records}
        for call in await self._removals.calls(calls):
            named |= {*recordings_of(call)}
        return sorted(named)

    async def _remove_files(self, records: Sequence[Recorded]) -> list[Recorded]:
        left = await self._files.remove([(one.uniqueid, one.path) for one in records])
        return [one for one in records if one.path not in left]

    async def forget_order(self, order_id: str, client: str) -> Removed:
        """Remove an order's calls with their recordings, wherever they are kept.

        Their numbers and external keys stay used. Asked again it goes on where it was broken off.

        :param client: the name of the API client that asks.
        :returns: how much was removed.
        :raises Refused: with ``wrong_state`` while a call of it goes on; where it cannot be done
            now, or a file cannot be removed.
        """
        return await self._forget_in_turn(
            lambda: self._removals.calls_of(order_id, BATCH), "order", "order_id", client
        )

    async def forget_phone(self, phone: Number, client: str) -> Removed:
        """The same of all calls with a client's number, however it was spelled."""
        phones = self._numbers.spellings(phone)
        return await self._forget_in_turn(
            lambda: self._removals.calls_with(phones, BATCH), "phone", "phone", client
        )

    async def _forget_in_turn(self, *asked: Any) -> Removed:
        await self._turn.acquire()
        try:
            return await self._forget(*asked)
        except (DatabaseDown, Behind, psycopg2.OperationalError) as error:
            raise history_away(error, "changed") from error
        except (JournalFull, JournalBroken) as error:
            raise not_ready(error) from error
        finally:
            self._turn.release()

    async def _forget(
        self,
        find: Callable[[], Awaitable[Sequence[tuple[int, bool]]]],
        what: str,
        field: str,
        client: str,
    ) -> Removed:
        done = Removed()
        while calls := await find():
            first, is_over = calls[0]
            if not is_over:
                raise Refused(
                    Code.WRONG_STATE,
                    f"call {first} of the {what} goes on; end it first",
                    field=field,
                    call_id=first,
                )
            numbers = [call_id for call_id, _ in calls]
            # Before the look: of what is registered after it nothing else would be removed.
            self._unrecord(numbers)
            records = await self._removals.records_of(numbers)
            if await self._files.remove(await self._all_files(numbers, records)):
                raise Refused(
                    Code.NOT_READY,
                    "a recording cannot be removed; the daemon's log says why",
                    retry_after=RETRY_AFTER,
                )
            now = int(self._clock.seconds() * 1000)
            await self._elsewhere(numbers)
            await self._removals.forget_calls(numbers, client, now)
            done.calls += len(numbers)
            done.recordings += len(records)
        self.removed.calls += done.calls
        self.removed.recordings += done.recordings
        self.log.info(
            "{what} was forgotten by {client}: {calls} calls, {recordings} recordings",
            what={"order": "an order", "phone": "a phone"}[what],
            client=client,
            calls=done.calls,
            recordings=done.recordings,
        )
        return done
