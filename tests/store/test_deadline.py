"""Every answer of the history has one deadline, whatever it waits for."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.methods.history import LONGEST_SEARCH
from ccdaemon.errors import Code, Refused
from ccdaemon.store.event_feed import NOW
from ccdaemon.store.history import DEADLINE, History
from ccdaemon.store.pg_pool import LINKS
from ccdaemon.store.records import EVERYTHING, Chain, Filter
from ccdaemon.switchboard.annotations import FOUND_WITHIN, Annotations
from tests.clocks import Wall
from tests.store.history_parts import ALL, Daemon, HistoryCase, begin
from tests.store.parts import chain, recording, view
from tests.store.pg_parts import until
from tests.store.test_history import forget
from tests.switchboard.test_annotations import LiveCalls

#: Seconds that a statement may take without being late by itself.
_SLOW = 3.9


class DeadlineCase(HistoryCase):
    """A test with a history whose time is the test's own."""

    async def told(self) -> tuple[Daemon, History, Clock]:
        """A daemon with a call that only Postgres has any more, and the history by a clock."""
        daemon, clock = await self.ready(), Clock()
        history = History(clock, Wall(clock), daemon.journal, daemon.database, daemon.barrier)
        await daemon.journal.append([*chain(view(1, order_id="15")), recording(1)])
        await forget(daemon)
        await history.states_page(1, 10, ALL)
        return daemon, history, clock

    def everything(self, history: History) -> Sequence[Awaitable[object]]:
        """Ask for all that may have to be asked of Postgres."""
        return (
            history.call(1),
            history.by_key("key-1"),
            history.by_recording("1700000000.12"),
            history.last_operator("380639920000"),
            history.order_chains("15", ALL),
            history.order_states("15", ALL),
            history.missed_page(1, 10, ALL),
            history.listened_page(1, 10, ALL),
            history.states_page(1, 10, ALL),
            history.records_page(1, 10, ALL),
            history.operator_page(1, 10, ALL),
            history.states_after("0", 10, ALL),
            history.events_after("0", 10, Filter(sip="1000"), EVERYTHING),
        )


class TenSecondsTests(SynchronousTestCase):
    """What a request may wait for, one after the other."""

    def test_together(self) -> None:
        """A place and a first look, a last look of a search, a call found and read once more."""
        for before in (NOW, LONGEST_SEARCH, FOUND_WITHIN):
            self.assertLess(before + DEADLINE, 10.0)


class SlowTests(DeadlineCase):
    """A Postgres of which no statement is late by itself."""

    async def slow(self, seconds: float) -> tuple[History, Clock]:
        """A history of which each statement takes so many seconds."""
        daemon, history, clock = await self.told()
        query = daemon.database.query

        async def slowly(sql: str, params: Sequence[object] = ()) -> object:
            await deferLater(clock, seconds)
            return await query(sql, params)

        self.patch(daemon.database, "query", slowly)
        return history, clock

    async def test_several_statements(self) -> None:
        """A list of two statements and a chain of three are given up at the deadline."""
        history, clock = await self.slow(_SLOW)
        for asked in (history.states_page(1, 10, ALL), history.call(1), history.by_key("key-1")):
            answer = begin(asked)
            await until(lambda: len(clock.getDelayedCalls()) == 2)
            clock.advance(_SLOW)
            await until(lambda: len(clock.getDelayedCalls()) == 2)
            clock.advance(DEADLINE - _SLOW - 0.01)
            self.assertNoResult(answer)
            clock.advance(0.01)
            error = self.failureResultOf(answer, Refused).value
            self.assertEqual((Code.HISTORY_UNAVAILABLE, 5), (error.code, error.retry_after))
            self.assertIn("there was no answer in 7 s", error.message)
            self.assertEqual([], clock.getDelayedCalls())

    async def test_in_time(self) -> None:
        """Three statements that take less together are answered, and the deadline is off."""
        history, clock = await self.slow(DEADLINE / 4)
        answer = begin(history.call(1))
        for _ in range(3):
            await until(lambda: len(clock.getDelayedCalls()) == 2)
            clock.advance(DEADLINE / 4)
        self.assertIsInstance(await answer, Chain)
        self.assertEqual([], clock.getDelayedCalls())


class SilentTests(DeadlineCase):
    """A Postgres that answers nothing at all."""

    def freeze(self) -> None:
        """Let nothing be answered until the test is over."""
        self.server.postgres.freeze()
        self.addCleanup(self.server.postgres.thaw)

    async def test_everything(self) -> None:
        """All that is asked is refused at the deadline, also what waits for a connection, and
        afterwards every connection is there for others."""
        daemon, history, clock = await self.told()
        self.freeze()
        answers = [begin(asked) for asked in self.everything(history)]
        pool = daemon.database._pool
        await until(lambda: len(pool._slots.waiting) == len(answers) - LINKS)
        clock.advance(DEADLINE)
        for answer in answers:
            error = self.failureResultOf(answer, Refused).value
            self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)
        self.assertEqual((0, LINKS), (len(pool._busy), pool._slots.tokens))
        self.assertEqual([], pool._idle)
        self.server.postgres.thaw()
        self.assertEqual(6, (await history.states_page(1, 10, ALL)).total)

    async def test_from_now_on(self) -> None:
        """Who begins to follow now waits less for how far the others are, and has a place."""
        _, history, clock = await self.told()
        self.freeze()
        asked = begin(history.now())
        await until(clock.getDelayedCalls)
        clock.advance(NOW)
        self.assertIn("since.", str(self.successResultOf(asked)))

    async def test_who_wants_it_sooner(self) -> None:
        """Whoever has more to do for the same request gives up sooner, with the same words."""
        daemon, history, clock = await self.told()
        entries = Annotations(daemon.journal, LiveCalls(daemon.journal), history, Wall(clock))
        self.freeze()
        asked = begin(entries.set_result(call_id=1, result="sold", note=None, client="crm"))
        await until(clock.getDelayedCalls)
        clock.advance(FOUND_WITHIN)
        error = self.failureResultOf(asked, Refused).value
        self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)
