"""Orders and results entered on calls, on a real journal and a real Postgres."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Action, Direction, LegView, State
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused
from ccdaemon.schema import known_call
from ccdaemon.store.facts import ActionFact, StateFact
from ccdaemon.store.failures import JournalFull
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain, ClosedHow, Filter, MissedRow, StateRow
from ccdaemon.switchboard.annotations import FOUND_WITHIN, Annotations
from tests.clocks import Wall
from tests.store.history_parts import ALL, Daemon, HistoryCase, begin
from tests.store.parts import NOON, JournalCase, chain, recording, view
from tests.store.test_history import forget


class LiveCalls:
    """Live calls by number, that keep what is done to them in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.calls: dict[int, Call] = {}
        self.fails = False

    def call(self, call_id: int) -> Call | None:
        """Find one."""
        return self.calls.get(call_id)

    def attach_order(self, call: Call, order_id: str) -> None:
        """Put it under an order."""
        call.order_id = order_id

    async def act(self, action: Action) -> None:
        """Keep what was done."""
        if self.fails:
            raise JournalFull("no room")
        await self._journal.append([ActionFact(action)])


class EntriesCase(HistoryCase):
    """A history, and what is entered into it."""

    async def start(self) -> None:
        """Have a daemon."""
        self.daemon_: Daemon = await self.ready()
        self.journal_, self.history = self.daemon_.journal, self.daemon_.history
        self.live = LiveCalls(self.journal_)
        self.entries = Annotations(self.journal_, self.live, self.history, WallClock(reactor))

    async def attach(self, call_id: int, order_id: str, replace: bool = False) -> None:
        """Attach an order as a CRM does."""
        await self.entries.attach_order(
            call_id=call_id, order_id=order_id, replace=replace, client="crm"
        )

    async def set_result(self, call_id: int, result: str, note: str | None = None) -> None:
        """Set a result as a CRM does."""
        await self.entries.set_result(call_id=call_id, result=result, note=note, client="crm")

    async def after_all(self, filter: Filter = ALL) -> list[StateRow]:
        """Every state from the beginning on."""
        rows: list[StateRow] = []
        place = "0"
        while True:
            more, reached = await self.history.states_after(place, 100, filter)
            rows += more
            if reached == place:
                return rows
            place = reached

    async def seen_under(self, order_id: str) -> list[int]:
        """How many states, calls and recordings are under an order, wherever one can ask."""
        by_order = Filter(order_id=order_id)
        return [
            len(await self.history.order_states(order_id, ALL)),
            (await self.history.states_page(1, 50, by_order)).total,
            len(await self.after_all(by_order)),
            len(await self.history.order_chains(order_id, ALL)),
            (await self.history.records_page(1, 50, by_order)).total,
        ]


class OrderTests(EntriesCase):
    """An order that is attached is the call's from then on, in all that was told of it."""

    async def test_everywhere_at_once(self) -> None:
        """Past states and recordings are under the order, in the journal and in Postgres."""
        await self.start()
        await self.journal_.append([*chain(view(1, order_id=None)), recording(1)])
        await self.attach(1, "15")
        self.assertEqual([6, 6, 6, 1, 1], await self.seen_under("15"))
        (page,) = (await self.history.records_page(1, 50, ALL)).rows
        self.assertEqual("15", page.call.order_id)
        held = await self.history.call(1)
        assert held is not None
        self.assertEqual({"15"}, {held.call.order_id, *(row.order_id for row in held.states)})
        self.assertEqual({"15"}, {row.order_id for row in await self.after_all()})

    async def test_a_call_that_only_postgres_has(self) -> None:
        """The same of a call that the journal has forgotten long ago."""
        await self.start()
        await self.journal_.append([*chain(view(1, order_id=None)), recording(1)])
        await forget(self.daemon_)
        await self.attach(1, "15")
        self.assertEqual([6, 6, 6, 1, 1], await self.seen_under("15"))
        self.assertEqual({"15"}, {row.order_id for row in await self.after_all()})
        held = await self.history.call(1)
        assert held is not None
        self.assertEqual(["attachOrder"], [row.action.action for row in held.actions])

    async def test_replaced(self) -> None:
        """With replace nothing is left under the order before; without it is refused."""
        await self.start()
        await self.journal_.append([*chain(view(1, order_id="15")), recording(1)])
        error = await self.fails(self.attach(1, "16"), Refused)
        self.assertEqual((Code.WRONG_STATE, 1), (error.code, error.call_id))
        self.assertIn("15", error.message)
        self.assertEqual("FINISH", error.state)
        await self.attach(1, "16", replace=True)
        self.assertEqual([6, 6, 6, 1, 1], await self.seen_under("16"))
        self.assertEqual([0] * 5, await self.seen_under("15"))
        held = await self.history.call(1)
        assert held is not None
        (row,) = held.actions
        self.assertEqual(("crm", "16"), (row.action.by, row.action.order_id))
        self.assertIn("15", row.action.detail or "")

    async def test_the_order_it_has(self) -> None:
        """Attached again it is no error, and leaves no trace."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id="15")))
        await self.attach(1, "15")
        held = await self.history.call(1)
        assert held is not None
        self.assertEqual([], list(held.actions))

    async def test_two_at_once(self) -> None:
        """Of two that ask at once one is refused."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None)))
        asked = [begin(self.attach(1, order)) for order in ("15", "16")]
        answers = await gatherResults(
            [one.addErrback(lambda failure: failure.value) for one in asked]
        )
        self.assertEqual([None, Code.WRONG_STATE], [getattr(one, "code", None) for one in answers])
        self.assertEqual(6, (await self.seen_under("15"))[0])

    async def test_states_that_were_on_their_way(self) -> None:
        """A later state that knows nothing of the order does not undo it, here or in Postgres."""
        await self.start()
        facts = chain(view(1, order_id="15"))
        await self.journal_.append(facts[:3])
        await self.attach(1, "16", replace=True)
        await self.journal_.append(facts[3:])
        self.assertEqual([6, 6, 6, 1, 0], await self.seen_under("16"))
        await self.daemon_.shipped()
        self.assertEqual([("16",)], self.sql("SELECT order_id FROM call"))
        await forget(self.daemon_)
        self.assertEqual([6, 6, 6, 1, 0], await self.seen_under("16"))

    async def test_shipped_again(self) -> None:
        """What is shipped once more changes nothing, and an older action undoes no newer one."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None)))
        await self.attach(1, "15")
        await self.attach(1, "16", replace=True)
        await self.set_result(1, "sold")
        await self.set_result(1, "returned")
        await self.daemon_.shipped()
        events = await self.journal_.after(0, 100)
        before = self.sql("SELECT * FROM call"), self.sql("SELECT * FROM action ORDER BY event_id")
        for again in (events, events[:7], events[6:9], events[:6]):
            await self.daemon_.shipper.take(again, 0, 0)
        self.assertEqual(
            before,
            (self.sql("SELECT * FROM call"), self.sql("SELECT * FROM action ORDER BY event_id")),
        )
        self.assertEqual([("16", "returned")], self.sql("SELECT order_id, result FROM call"))

    async def test_a_call_of_another_daemon(self) -> None:
        """What another daemon attaches in the same Postgres is in the lists; the last counts."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None)))
        await self.attach(1, "15")
        await forget(self.daemon_)
        other = await self.ready(self.folder(), asterisk="b")
        entries = Annotations(
            other.journal, LiveCalls(other.journal), other.history, WallClock(reactor)
        )
        await entries.attach_order(call_id=1, order_id="16", replace=True, client="crm")
        await other.shipped()
        self.assertEqual([6, 6], (await self.seen_under("16"))[:2])
        await self.attach(1, "17", replace=True)
        self.assertEqual([6, 6, 6, 1, 0], await self.seen_under("17"))
        self.assertEqual(6, len(await other.history.order_states("17", ALL)))

    async def test_after_a_restart(self) -> None:
        """A live call comes back under the order that was attached to it."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None))[:3])
        await self.attach(1, "15")
        (open_call,) = await self.journal_.open_calls()
        self.assertEqual("15", open_call.call.order_id)
        self.assertEqual(["attachOrder"], [row.action.action for row in open_call.actions])

    async def test_a_live_call(self) -> None:
        """The call itself is put under it, before the fact, so that no state is told without."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None))[:3])
        call = Call(1, None, "k", Direction.OUTBOUND, "1000", "380", "a")
        self.live.calls[1] = call
        await self.attach(1, "15")
        self.assertEqual("15", call.order_id)
        self.live.fails = True
        error = await self.fails(self.attach(1, "16", replace=True), Refused)
        self.assertEqual((Code.NOT_READY, 5), (error.code, error.retry_after))
        self.assertEqual("15", call.order_id)

    async def test_unknown(self) -> None:
        """A call that is nobody's is refused."""
        await self.start()
        for asked in (self.attach(99, "15"), self.set_result(99, "sold")):
            error = await self.fails(asked, Refused)
            self.assertEqual((Code.CALL_UNKNOWN, "call_id"), (error.code, error.field))

    async def test_while_the_disk_takes_nothing(self) -> None:
        """It is refused at once, not kept waiting for the disk."""
        await self.start()
        await self.journal_.append(chain(view(1, order_id=None)))
        cast(Any, self.journal_)._broken = "disk full"
        for asked in (self.attach(1, "15"), self.set_result(1, "sold")):
            error = await self.fails(asked, Refused)
            self.assertEqual(Code.NOT_READY, error.code)
            self.assertIn("disk full", error.message)
        cast(Any, self.journal_)._broken = None


class SlowHistory:
    """Takes as long for every call as it may, and knows each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def call(self, call_id: int, within: float) -> Chain:
        """Find one."""
        await deferLater(self._clock, within)
        return Chain(view(call_id, order_id=None), [], [])

    async def missed_call(self, call_id: int, within: float) -> MissedRow | None:
        """Find none."""
        return None


class SlowTests(JournalCase):
    """While Postgres takes its time."""

    async def attach(self, *calls: int) -> tuple[Clock, list[Deferred[Any]]]:
        """Attach orders to calls at once."""
        clock, journal = Clock(), await self.begun()
        entries = Annotations(journal, LiveCalls(journal), SlowHistory(clock), Wall(clock))
        attach = partial(entries.attach_order, replace=False, client="crm")
        return clock, [
            Deferred.fromCoroutine(attach(call_id=call_id, order_id="15")) for call_id in calls
        ]

    async def test_calls_wait_for_no_others(self) -> None:
        """Twenty calls take as long as one."""
        clock, attached = await self.attach(*range(1, 21))
        clock.advance(FOUND_WITHIN)
        await gatherResults(attached)

    async def test_one_call_waits_for_itself(self) -> None:
        """The second order for a call is looked at after the first has been put down."""
        clock, (first, second) = await self.attach(1, 1)
        clock.advance(FOUND_WITHIN)
        await first
        self.assertNoResult(second)
        clock.advance(FOUND_WITHIN)
        await second


class LinkTests(EntriesCase):
    """Who was given a link to a recording."""

    async def test_given_and_taken_back(self) -> None:
        """Both stand with the call, once each, in the journal and in Postgres."""
        await self.start()
        await self.journal_.append(chain(view(1)))
        await self.entries.link_given(call_id=1, uniqueid="17.1", link="a1", client="crm")
        for _ in range(2):
            await self.entries.revoke_link(call_id=1, link="a1", client="boss")
        for _ in range(2):
            held = await self.history.call(1)
            assert held is not None
            self.assertEqual(
                [("recordLink", "crm", "a1", "17.1"), ("revokeLink", "boss", "a1", None)],
                [
                    (done.action, done.by, done.note, done.detail)
                    for done in (row.action for row in held.actions)
                ],
            )
            await forget(self.daemon_)

    async def test_one_that_nobody_has(self) -> None:
        """It cannot be taken back; nor can one of another call."""
        await self.start()
        await self.journal_.append([*chain(view(1)), *chain(view(2))])
        await self.entries.link_given(call_id=1, uniqueid="17.1", link="a1", client="crm")
        for call_id, link, code in (
            (1, "a2", Code.LINK_UNKNOWN),
            (2, "a1", Code.LINK_UNKNOWN),
            (3, "a1", Code.CALL_UNKNOWN),
        ):
            asked = self.entries.revoke_link(call_id=call_id, link=link, client="crm")
            error = await self.fails(asked, Refused)
            self.assertEqual(code, error.code)


class ResultTests(EntriesCase):
    """What came of a call."""

    async def test_the_last_word_counts(self) -> None:
        """The last one is shown, all are kept; the same from the journal and from Postgres."""
        await self.start()
        await self.journal_.append(chain(view(1)))
        await self.set_result(1, "busy")
        for _ in range(2):
            await self.set_result(1, "продано", "два\nрядки")
        for _ in range(2):
            held = await self.history.call(1)
            assert held is not None
            shown = known_call(held, "http://x")
            self.assertEqual(("продано", "два\nрядки"), (shown.result, shown.result_note))
            self.assertEqual(["busy", "продано"], [one.result for one in shown.actions])
            await forget(self.daemon_)

    async def test_filters(self) -> None:
        """Lists take the result of their calls; the last one, not those before."""
        await self.start()
        for n in (1, 2, 3):
            await self.journal_.append([*chain(view(n, order_id="15")), recording(n)])
        await self.set_result(1, "sold")
        await self.set_result(2, "sold")
        await self.set_result(2, "lost")
        sold = Filter(result="sold")
        self.assertEqual(6, (await self.history.states_page(1, 50, sold)).total)
        (record,) = (await self.history.records_page(1, 50, sold)).rows
        self.assertEqual(1, record.call.call_id)
        (found,) = await self.history.order_chains("15", sold)
        self.assertEqual(1, found.call.call_id)
        self.assertEqual(6, len(await self.history.order_states("15", sold)))

    async def test_a_call_with_everything(self) -> None:
        """Legs, number dialled, name and note are the same from the journal and Postgres."""
        await self.start()
        leg = LegView("operator-1", "1000", None, NOON, NOON + 1, NOON + 2, 1.5, 16, "x", "chan")
        client = replace(leg, name="client", sip=None, phone="380", cause=None)
        call = view(
            1,
            did="380441234567",
            caller_name="Олена",
            note="a note",
            anchor="1700000000.12",
            legs=(leg, client),
            wait_seconds=2.5,
        )
        await self.journal_.append([*chain(call), recording(1)])
        await self.set_result(1, "sold")
        before = await self.history.call(1)
        await forget(self.daemon_)
        self.assertIsNone(await self.journal_.chain(1))
        after = await self.history.call(1)
        assert before is not None
        assert after is not None
        self.assertEqual(known_call(before, "u"), known_call(after, "u"))
        self.assertEqual((leg, client), after.call.legs)
        self.assertEqual("a note", after.states[0].note)


class TooManyTests(EntriesCase):
    """An order with very many calls."""

    async def test_narrowed(self) -> None:
        """Too many are refused with the remedy; from and to narrow in the database."""
        from ccdaemon.store import history

        self.patch(history, "MOST_CALLS", 3)
        self.patch(history, "MOST_STATES", 18)
        await self.start()
        facts: list[StateFact] = []
        for n in range(1, 5):
            facts += chain(view(n, order_id="15", date=NOON + n * 60_000))
        await self.journal_.append(facts)
        for asked in (self.history.order_chains("15", ALL), self.history.order_states("15", ALL)):
            error = await self.fails(asked, Refused)
            self.assertEqual((Code.TOO_DEEP, "from"), (error.code, error.field))
            self.assertIn("from= and to=", error.message)
        narrowed = Filter(from_ms=NOON + 120_000)
        self.assertEqual(3, len(await self.history.order_chains("15", narrowed)))
        states = await self.history.order_states("15", narrowed)
        self.assertEqual(
            [2, 3, 4], sorted({row.state.call_id for row in states}), "18 states of three calls"
        )
        self.assertEqual(State.CALL, states[0].state.state)


MISSED = (State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_NOANSWER)
TALKED = (State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP, State.FINISH)


class ClaimTests(EntriesCase):
    """A missed call is one operator's for some minutes, and is closed by a talk."""

    async def missed(self, call_id: int, phone: str = "380441", ago: int = 60_000) -> int:
        """A missed call, begun so long ago (ms)."""
        date = int(reactor.seconds() * 1000) - ago
        call = view(call_id, phone=phone, date=date, direction=Direction.INBOUND)
        await self.journal_.append(chain(replace(call, external_key=None), MISSED))
        return date

    async def claim(self, call_id: int, sip: str, minutes: int = 10) -> MissedRow:
        """Give it as a CRM does."""
        return await self.entries.claim_missed(
            call_id=call_id, sip=sip, minutes=minutes, client="crm"
        )

    async def holders(self, **asked: Any) -> dict[int, str | None]:
        """Who has each missed call."""
        page = await self.history.missed_page(1, 50, Filter(**asked))
        return {row.call.call_id: row.claim.sip if row.claim else None for row in page.rows}

    async def test_one_has_it(self) -> None:
        """No second one gets it, nor another call of that client; the first may have it longer."""
        await self.start()
        await self.missed(1)
        await self.missed(2)
        await self.missed(3, "380442")
        row = await self.claim(1, "1000")
        assert row.claim is not None
        self.assertEqual(("1000", "crm"), (row.claim.sip, row.claim.by))
        self.assertEqual(600_000, row.claim.until - row.claim.since)
        for call_id in (1, 2):
            error = await self.fails(self.claim(call_id, "1001"), Refused)
            self.assertEqual((Code.WRONG_STATE, call_id), (error.code, error.call_id))
            self.assertIn("with operator 1000 for 10 min", error.message)
        self.assertEqual({1: "1000", 2: "1000", 3: None}, await self.holders())
        longer = (await self.claim(2, "1000", 60)).claim
        assert longer is not None
        self.assertEqual(3_600_000, longer.until - longer.since)
        await self.claim(3, "1001")

    async def test_two_at_once(self) -> None:
        """Of two calls of one client one is given, whichever is asked for first."""
        await self.start()
        await self.missed(1)
        await self.missed(2)
        asked = [
            Deferred.fromCoroutine(self.claim(call_id, sip))
            for call_id, sip in ((1, "1000"), (2, "1001"))
        ]
        done = [await self.outcome(one) for one in asked]
        self.assertEqual(1, done.count(Code.WRONG_STATE), done)
        self.assertEqual(1, len(set((await self.holders()).values())))

    async def outcome(self, asked: Deferred[MissedRow]) -> object:
        """What was answered: the code of the refusal, or the row."""
        try:
            return await asked
        except Refused as error:
            return error.code

    async def test_given_back_and_run_out(self) -> None:
        """With no minutes it is free; after its time it is."""
        await self.start()
        await self.missed(1)
        await self.claim(1, "1000")
        self.assertIsNone((await self.claim(1, "1000", 0)).claim)
        await self.claim(1, "1001")
        self.sql("UPDATE claim SET until = now() - interval '1 second'")
        self.assertEqual({1: None}, await self.holders())
        await self.claim(1, "1002")
        self.assertEqual({1: "1002"}, await self.holders(open=True))

    async def test_what_is_no_work(self) -> None:
        """A call that was taken, one that is closed, nobody's."""
        await self.start()
        date = await self.missed(1)
        await self.claim(1, "1000")
        again = view(2, phone="380441", date=date + 1, direction=Direction.INBOUND)
        again = replace(again, answered=date + 2, external_key=None)
        await self.journal_.append(chain(again, TALKED))
        self.assertEqual({1: None}, await self.holders())
        self.assertEqual({}, await self.holders(open=True))
        error = await self.fails(self.claim(1, "1000"), Refused)
        self.assertIn("closed by call 2", error.message)
        error = await self.fails(self.claim(2, "1000"), Refused)
        self.assertIn("was not missed", error.message)
        error = await self.fails(self.claim(9, "1000"), Refused)
        self.assertEqual(Code.CALL_UNKNOWN, error.code)

    async def test_who_hides_their_number(self) -> None:
        """Two of them are not one client: neither closes, nor claims, what the other has."""
        await self.start()
        date = await self.missed(1, "anonymous")
        await self.missed(2, "anonymous", 30_000)
        talk = view(3, phone="anonymous", date=date + 100, direction=Direction.INBOUND)
        talk = replace(talk, answered=date + 200, external_key=None)
        await self.journal_.append(chain(talk, TALKED))
        await self.claim(1, "1000")
        await self.claim(2, "1001")
        self.assertEqual({1: "1000", 2: "1001"}, await self.holders(open=True))

    async def test_rang_us_while_we_rang(self) -> None:
        """A call out that began before, and was picked up after, has reached the client."""
        await self.start()
        date = await self.missed(1)
        await self.journal_.append(
            chain(view(2, phone="380441", date=date - 5000, answered=date + 1000))
        )
        self.assertEqual({}, await self.holders(open=True))
        row = await self.history.missed_call(1)
        assert row is not None and row.closed is not None
        self.assertEqual((2, ClosedHow.CALLED_BACK), (row.closed.call_id, row.closed.how))
