"""callHistory with after= and wait=: complete, released at once, bounded."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.long_poll import Waiters
from ccdaemon.api.shares import Shares
from ccdaemon.calls.model import State
from ccdaemon.errors import Code, Refused
from ccdaemon.store.records import Filter
from tests.api.parts import call_view
from tests.api.world import Connection, World
from tests.clocks import HOUR

BOTH = [State.CALL, State.ERROR]


class AfterACursor(SynchronousTestCase):
    """What was told after a cursor."""

    def setUp(self) -> None:
        """Have five states of three calls."""
        self.world = World()
        self.world.history.add(call_view(1), BOTH)
        self.world.history.add(call_view(2), BOTH)
        self.world.history.add(call_view(3), BOTH[:1])

    def after(self, query: str) -> Any:
        """Ask for what came after a cursor."""
        reply = self.world.ask(f"/api/callHistory.json?{query}")
        self.assertEqual(reply.status, 200, reply.body)
        return reply.json

    def test_ascending_and_gap_free(self) -> None:
        """Cursor by cursor every state comes once, oldest first, whatever the limit is."""
        for limit in (1, 2, 1000):
            cursor, seen = "0", []
            while True:
                answer = self.after(f"after={cursor}&limit={limit}")
                self.assertEqual(list(answer), ["status", "status_code", "response", "next"])
                if not answer["response"]:
                    break
                self.assertLessEqual(len(answer["response"]), limit)
                seen += [row["event_id"] for row in answer["response"]]
                cursor = answer["next"]
            self.assertEqual(seen, [1, 2, 3, 4, 5])
            self.assertEqual(answer["next"], cursor)

    def test_a_call_outweighs_a_cursor(self) -> None:
        """With a call's number the answer is that call."""
        (call,) = self.after("after=0&call_id=2")["response"]
        self.assertEqual(call["call_id"], 2)

    def test_filters_reach_the_history(self) -> None:
        """The stream can be narrowed as any list."""
        self.after("after=0&sip=1000&order_id=15")
        asked = self.world.history.filters[0]
        self.assertEqual((asked.sip, asked.order_id), ("1000", "15"))

    def test_a_cursor_that_is_none(self) -> None:
        """The history's refusal, and what cannot even be a cursor, name the parameter."""
        for cursor in ("x", "%00", "a b", "1" * 2001, "../1"):
            reply = self.world.ask(f"/api/callHistory.json?after={cursor.replace(' ', '%20')}")
            error = reply.json["error"]
            self.assertEqual((reply.status, error["field"]), (400, "after"))

    def test_bounds(self) -> None:
        """Limit and wait are refused outside their ranges."""
        for query in ("limit=0", "limit=1001", "wait=61", "wait=-1", "wait=x"):
            reply = self.world.ask(f"/api/callHistory.json?after=0&{query}")
            error = reply.json["error"]
            self.assertEqual((reply.status, error["field"]), (400, query.partition("=")[0]))


class Waiting(SynchronousTestCase):
    """wait= holds the answer until there is something."""

    def setUp(self) -> None:
        """Have one call that has been told."""
        self.world = World(max_waiting=3)
        self.world.history.add(call_view(1), BOTH)

    def wait(self, query: str = "after=0a1b2c.2&wait=60") -> Connection:
        """Ask, and keep the connection."""
        connection = self.world.connect()
        connection.send(f"/api/callHistory.json?{query}")
        return connection

    def assert_nothing_is_kept(self) -> None:
        """Nobody waits, nobody listens, no timer runs but those of idle connections."""
        self.assertEqual(len(self.world.waiters), 0)
        self.assertEqual(self.world.history.listeners, set())

    def test_a_clock_that_is_set(self) -> None:
        """Who waits, waits their minute, wherever the wall's clock is put."""
        for by in (HOUR, -HOUR):
            waiting = self.wait()
            self.world.wall.set(by)
            self.world.clock.advance(59)
            self.assertEqual(waiting.received, b"")
            self.world.clock.advance(1)
            self.assertEqual(waiting.reply().json["response"], [])

    def test_what_is_there_is_answered_at_once(self) -> None:
        """Who asks for the past does not wait."""
        self.assertEqual(len(self.wait("after=0&wait=60").reply().json["response"]), 2)
        self.assert_nothing_is_kept()

    def test_the_answer_comes_with_the_news(self) -> None:
        """As soon as something is told, everybody who waits has it."""
        first, second = self.wait(), self.wait()
        self.world.clock.advance(59)
        self.assertEqual((first.received, second.received), (b"", b""))
        self.world.history.add(call_view(2), BOTH)
        for connection in (first, second):
            answer = connection.reply().json
            self.assertEqual([row["call_id"] for row in answer["response"]], [2, 2])
            self.assertEqual(answer["next"], "0a1b2c.4")
        self.assert_nothing_is_kept()

    def test_the_time_is_over(self) -> None:
        """After the seconds asked for, an empty list with the same cursor, and it is no error."""
        connection = self.wait("after=0a1b2c.2&wait=1.5")
        self.world.clock.advance(1.4)
        self.assertEqual(connection.received, b"")
        self.world.clock.advance(0.1)
        reply = connection.reply()
        self.assertEqual((reply.json["response"], reply.json["next"]), ([], "0a1b2c.2"))
        self.assertNotIn("retry-after", reply.headers)
        self.assert_nothing_is_kept()

    def test_without_wait_nobody_waits(self) -> None:
        """An empty list comes at once where waiting was not asked for."""
        for query in ("after=0a1b2c.2", "after=0a1b2c.2&wait=0"):
            self.assertEqual(self.wait(query).reply().json["response"], [])
        self.assert_nothing_is_kept()

    def test_news_that_are_not_wanted(self) -> None:
        """News that the filter leaves out wake nobody for good, and are not looked at again."""
        connection = self.wait("after=0a1b2c.2&wait=60&sip=1001")
        self.world.history.add(call_view(2), BOTH)
        self.assertEqual(connection.received, b"")
        self.world.clock.advance(60)
        self.assertEqual(connection.reply().json["next"], "0a1b2c.4")
        self.assert_nothing_is_kept()

    def test_news_between_the_look_and_the_wait(self) -> None:
        """What is told while the history is being asked is not missed."""
        history = self.world.history
        look = history.states_after
        paused: Deferred[None] = Deferred()

        async def slow_look(*asked: Any) -> Any:
            found = await look(*asked)
            await paused
            return found

        history.states_after = slow_look  # type: ignore[method-assign,assignment]
        connection = self.wait()
        history.add(call_view(2), BOTH)
        paused.callback(None)
        self.assertEqual(len(connection.reply().json["response"]), 2)
        self.assert_nothing_is_kept()

    def search(self, pieces: int) -> None:
        """Have the history take two seconds for each piece of what the filter leaves out."""
        history = self.world.history
        look = history.states_after

        async def slow_look(cursor: str, limit: int, filter: Filter) -> Any:
            self.world.clock.advance(2)
            passed = int(cursor.partition(".")[2] or 0)
            if passed < pieces:
                return [], f"0a1b2c.{passed + 1}"
            return await look("0", limit, filter)

        history.states_after = slow_look  # type: ignore[method-assign]

    def test_a_search_goes_on_until_it_finds(self) -> None:
        """Who waits does not hear of what the filter leaves out."""
        self.search(3)
        self.assertEqual(len(self.wait("after=0&wait=60").reply().json["response"]), 2)
        self.assert_nothing_is_kept()

    def test_a_search_has_an_end(self) -> None:
        """Who does not wait is answered in seconds, and can go on where the search was."""
        self.search(1000)
        answer = self.wait("after=0").reply().json
        self.assertEqual((answer["response"], answer["next"]), ([], "0a1b2c.1"))
        answer = self.wait("after=0&wait=20").reply().json
        self.assertEqual((answer["response"], answer["next"]), ([], "0a1b2c.10"))
        self.assert_nothing_is_kept()

    def test_the_client_goes(self) -> None:
        """Nothing is kept for a client that has gone."""
        connection = self.wait()
        self.assertEqual(len(self.world.waiters), 1)
        connection.close()
        self.assert_nothing_is_kept()

    def test_the_daemon_stops(self) -> None:
        """Everybody is answered when the daemon stops, and nobody begins to wait then."""
        connection = self.wait()
        self.world.api.stopService()
        self.assertEqual(connection.reply().json["response"], [])
        self.assertEqual(self.wait().reply().json["response"], [])
        self.assert_nothing_is_kept()

    def test_room_for_so_many(self) -> None:
        """One more than may wait is answered at once and asked not to come back at once."""
        waiting = [self.wait() for _ in range(3)]
        reply = self.wait().reply()
        self.assertEqual((reply.status, reply.json["response"]), (200, []))
        self.assertEqual(reply.headers["retry-after"], "1")
        waiting[0].close()
        self.assertEqual(self.wait().received, b"")

    def test_the_history_goes_away(self) -> None:
        """A history that fails while somebody waits is told as it is."""
        connection = self.wait()
        self.world.history.away = Refused(Code.HISTORY_UNAVAILABLE, "away")
        self.world.history.tell()
        self.assertEqual(connection.reply().status, 503)
        self.assert_nothing_is_kept()


class Alone(SynchronousTestCase):
    """Waiters without anything around them."""

    def test_a_failed_change_only_wakes(self) -> None:
        """Whoever waits for a change that fails looks again, and the failure is nobody's."""
        changed: Deferred[None] = Deferred()
        waiting = Waiters(Clock(), Shares(1)).wait("crm", changed, 5, Deferred())
        changed.errback(ValueError())
        self.assertIsNone(self.successResultOf(waiting))

    def test_whoever_is_awake_stays_awake(self) -> None:
        """What happens after the first reason to wake is no matter."""
        clock, gone = Clock(), Deferred[None]()
        waiters = Waiters(clock, Shares(1))
        waiting = waiters.wait("crm", Deferred(), 5, gone)
        clock.advance(5)
        gone.callback(None)
        waiters.close()
        self.assertIsNone(self.successResultOf(waiting))
        self.assertEqual(clock.getDelayedCalls(), [])
