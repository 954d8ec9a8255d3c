"""The journal on a real disk, with its real threads."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

from twisted.internet.defer import CancelledError, Deferred, gatherResults

from ccdaemon.calls.model import Action, State
from ccdaemon.operators import Status
from ccdaemon.store import journal_writes
from ccdaemon.store.facts import ATTACH_ORDER, ActionFact, Fact
from ccdaemon.store.failures import (
    BelowLowWatermark,
    JournalBroken,
    JournalFull,
    KeyTaken,
    NoLease,
    StateDirBusy,
)
from ccdaemon.store.journal import KEPT
from ccdaemon.store.journal_file import NAME
from ccdaemon.store.journal_reading import JournalReading
from tests.store.parts import NOON, JournalCase, chain, change, recording, turn, view


class AppendTests(JournalCase):
    """Facts go in, in order, and come out again."""

    async def test_ids_follow_the_order_of_appends(self) -> None:
        """Appends that wait together get ids in the order in which they were made."""
        journal = await self.begun()
        facts = chain(view(1))
        ids = await gatherResults([journal.append([fact]) for fact in facts])
        self.assertEqual([[1], [2], [3], [4], [5], [6]], ids)
        self.assertEqual(facts, [event.fact for event in await journal.after(0, 100)])

    async def test_told_means_readable(self) -> None:
        """A chain that is asked for when CALL has been told holds its CALL."""
        journal = await self.begun()
        facts = chain(view(1))
        await journal.append(facts[:1])
        told = await journal.chain(1)
        assert told is not None
        self.assertEqual([facts[0].state], [row.state for row in told.states])

    async def test_settled(self) -> None:
        """Once settled, all that was appended before is committed; at once if nothing waits."""
        journal = await self.begun()
        self.assertTrue(journal.settled().called)
        appended = journal.append([change("1000")])
        await journal.settled()
        self.assertTrue(appended.called)
        self.assertEqual(1, journal.high_watermark)

    async def test_giving_up_on_what_settles(self) -> None:
        """Whoever gives up waiting for that goes on no further, and the rest is committed."""
        journal = await self.begun()
        appended = journal.append([change("1000")])
        waiting = journal.settled()
        waiting.cancel()
        await self.fails(waiting, CancelledError)
        self.assertEqual([1], await appended)

    async def test_every_kind_of_fact_survives(self) -> None:
        """States, operator changes and recordings are read as they were written."""
        journal = await self.begun()
        facts: list[Fact] = [*chain(view(1)), change("1000"), recording(1)]
        await journal.append(facts)
        self.assertEqual(facts, [event.fact for event in await journal.after(0, 100)])

    async def test_a_key_is_taken_once(self) -> None:
        """A second call with a key is refused by name of the first, and nothing of it stays."""
        journal = await self.begun()
        await journal.append(chain(view(1, external_key="k"))[:1])
        refused = journal.append([change("1000"), *chain(view(2, external_key="k"))[:1]])
        error = await self.fails(refused, KeyTaken)
        self.assertEqual(1, error.call_id)
        self.assertEqual(1, len(await journal.after(0, 100)))
        self.assertIsNone(await journal.chain(2))
        self.assertEqual(1, await journal.find_key("k"))
        self.assertIsNone(await journal.find_key("other"))
        self.assertEqual({}, await journal.last_operator_changes())

    async def test_a_refused_append_leaves_its_neighbours(self) -> None:
        """An append that fails does not touch those committed together with it."""
        journal = await self.begun()
        first = journal.append(chain(view(1, external_key="k"))[:1])
        second = journal.append(chain(view(2, external_key="k"))[:1])
        third = journal.append(chain(view(3))[:1])
        self.assertEqual([1], await first)
        await self.fails(second, KeyTaken)
        self.assertEqual([2], await third)

    async def test_no_key_is_no_key(self) -> None:
        """Calls without an external key do not collide."""
        journal = await self.begun()
        await journal.append(chain(view(1, external_key=None))[:1])
        self.assertEqual([2], await journal.append(chain(view(2, external_key=None))[:1]))

    async def test_an_empty_append_is_nothing(self) -> None:
        """An append without facts fires with no ids and tells nobody."""
        journal = await self.begun()
        heard = self.heard(journal)
        self.assertEqual([], await journal.append([]))
        await turn()
        self.assertEqual([], heard)

    async def test_operators_leave_room_for_calls(self) -> None:
        """What operators do takes half of the room, so that no call lacks its end for it."""
        journal = await self.begun(waiting=4)
        taken = [journal.append([change(sip)]) for sip in ("1000", "1001")]
        await self.fails(journal.append([change("1002")]), JournalFull)
        taken.append(journal.append(chain(view(1))[:2]))
        await self.fails(journal.append([recording(1)]), JournalFull)
        self.assertEqual([[1], [2], [3, 4]], await gatherResults(taken))

    async def test_too_much_at_once_is_refused(self) -> None:
        """More facts than may wait fail with JournalFull, and there is room again later."""
        journal = await self.begun(waiting=3)
        taken = journal.append(chain(view(1))[:3])
        await self.fails(journal.append(chain(view(2))[:1]), JournalFull)
        await taken
        await journal.append(chain(view(2))[:1])
        self.assertEqual(1, journal.health.refused)

    async def test_a_chain_lacks_nothing(self) -> None:
        """However much waits, the states of a call that is open are taken."""
        journal = await self.begun(waiting=3)
        facts = chain(view(1))
        taken = [journal.append(part) for part in (facts[:3], facts[3:4], facts[4:])]
        await self.fails(journal.append(chain(view(2))), JournalFull)
        await gatherResults(taken)
        kept = await journal.chain(1)
        assert kept is not None
        self.assertEqual([fact.state for fact in facts], [row.state for row in kept.states])

    async def test_a_text_that_cannot_be_spelled(self) -> None:
        """Half a surrogate pair in a name is a question mark, in the file and in what is told."""
        journal = await self.begun()
        heard = self.heard(journal)
        await journal.append(chain(view(1, caller_name="A\ud800b")))
        names = {event.fact.call.caller_name for event in await journal.held(0, 9)}  # type: ignore[union-attr]
        self.assertEqual({"A?b"}, names)
        await turn()
        self.assertEqual(await journal.held(0, 9), heard)

    async def test_an_order_attached_later(self) -> None:
        """A call's later order stands in its earlier events and in every row of its chain."""
        journal = await self.begun()
        facts = chain(view(1, order_id=None))
        later = [replace(f, call=replace(f.call, order_id="15")) for f in facts[2:]]
        await journal.append([*facts[:2], *later])
        told = await journal.chain(1)
        assert told is not None
        self.assertEqual({"15"}, {row.order_id for row in told.states})
        orders = {event.fact.call.order_id for event in await journal.held(0, 9)}  # type: ignore[union-attr]
        self.assertEqual({"15"}, orders)

    async def test_a_young_call(self) -> None:
        """Its chain comes out of memory as it would from the file, also after an order's action."""
        journal = await self.begun()
        facts = chain(view(1, order_id=None))
        later = [replace(f, call=replace(f.call, order_id="15")) for f in facts[2:]]
        await journal.append([*facts[:2], change("1"), *later, recording(1), *chain(view(2))[:2]])
        await turn()
        for _ in range(2):
            for call_id in (1, 2, 3):
                young = await journal.chain(call_id)
                self.assertEqual(await JournalReading.chain(journal, call_id), young)
                self.assertEqual(call_id == 3, young is None)
            action = Action(2, NOON, ATTACH_ORDER, "crm", order_id="16")
            await journal.append([ActionFact(action)])
            await turn()

    async def test_while_it_begins_anew(self) -> None:
        """What happens to a call that is open waits, in its order; no other is opened."""
        journal = await self.begun()
        facts = chain(view(1))
        await journal.append(facts[:2])
        await journal.begin_anew()
        waiting = [journal.append([fact]) for fact in facts[2:]]
        await self.fails(journal.append(chain(view(2))[:1]), JournalBroken)
        await turn()
        self.assertNoResult(waiting[0])
        await journal.begin(1000, [])
        self.assertEqual([[1001], [1002], [1003], [1004]], [await one for one in waiting])
        told = await journal.chain(1)
        assert told is not None
        self.assertEqual([1, 2, 3, 4, 5, 6], [row.state.seq for row in told.states])

    async def test_it_ends_before_it_has_begun_anew(self) -> None:
        """Whoever waits is told that it is not kept."""
        journal = await self.begun()
        await journal.append(chain(view(1))[:2])
        await journal.begin_anew()
        waiting = journal.append(chain(view(1))[2:])
        stopping = journal.stopService()
        await self.fails(waiting, JournalBroken)
        await stopping


class ListenTests(JournalCase):
    """Readers hear of what is committed."""

    async def test_listeners_hear_in_order(self) -> None:
        """Every event is told once, in order, after whoever appended it."""
        journal = await self.begun()
        heard = self.heard(journal)
        seen: list[int] = []
        facts = chain(view(1))
        for fact in facts:
            journal.append([fact]).addCallback(lambda _: seen.append(len(heard)))
        await journal.append([change("1000")])
        await turn()
        self.assertEqual(list(range(1, 8)), [event.event_id for event in heard])
        self.assertEqual(0, seen[0])

    async def test_a_failing_listener_harms_nobody(self) -> None:
        """A listener that raises is logged, and the others hear."""
        journal = await self.begun()
        end = journal.subscribe(lambda events: 1 / 0)  # type: ignore[arg-type]
        heard = self.heard(journal)
        await journal.append([change("1000")])
        await turn()
        self.assertEqual(1, len(heard))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        end()
        await journal.append([change("1000")])
        await turn()
        self.assertEqual(2, len(heard))


class NumberTests(JournalCase):
    """Call numbers come from leases and are never given twice."""

    async def test_a_restart_goes_on_where_it_stopped(self) -> None:
        """After a restart the next number is the one after the last call that was opened."""
        journal = await self.begun()
        for expected in (1, 2):
            call_id = journal.take_call_id()
            self.assertEqual(expected, call_id)
            await journal.append(chain(view(call_id))[:1])
        journal.take_call_id()
        await journal.stopService()
        self.assertEqual(3, (await self.begun()).take_call_id())

    async def test_numbers_run_out(self) -> None:
        """Without a lease there is no number, and the journal says it is not ready."""
        journal = self.journal()
        await journal.begin(0, [])
        self.assertRaises(NoLease, journal.take_call_id)
        self.assertIn("call numbers", journal.not_ready or "")
        await journal.grant(5, 6)
        self.assertEqual((2, None), (journal.numbers_left, journal.not_ready))
        self.assertEqual([5, 6], [journal.take_call_id(), journal.take_call_id()])
        self.assertRaises(NoLease, journal.take_call_id)

    async def test_leases_are_used_one_after_the_other(self) -> None:
        """The next lease is begun when the first is used up, also after a restart."""
        journal = self.journal()
        await journal.begin(0, [])
        await journal.grant(1, 2)
        await journal.grant(11, 12)
        for _ in range(3):
            await journal.append(chain(view(journal.take_call_id()))[:1])
        await journal.stopService()
        journal = self.journal()
        self.assertEqual(12, journal.take_call_id())
        await journal.grant(21, 22)
        self.assertEqual(21, journal.take_call_id())


class BeginTests(JournalCase):
    """A new journal waits for Postgres."""

    async def test_a_new_journal_takes_nothing(self) -> None:
        """Until the keys in use are loaded, appends fail and say why."""
        journal = self.journal()
        self.assertFalse(journal.begun)
        begun = journal.when_begun()
        self.assertNoResult(begun)
        error = await self.fails(journal.append([change("1")]), JournalBroken)
        self.assertIn("keys", error.reason)
        await journal.load_keys([("k", 7), ("l", 8)])
        await journal.begin(100, [change("1000", Status.INUSE).change])
        await begun
        await journal.when_begun()
        self.assertEqual([101], await journal.append([change("1")]))
        self.assertEqual(7, await journal.find_key("k"))
        self.assertEqual({"1000", "1"}, set(await journal.last_operator_changes()))

    async def test_held(self) -> None:
        """Meanwhile it takes nothing, and says why; what it has can be read."""
        journal = await self.begun()
        await journal.append(chain(view(1)))
        journal.hold("something is asked first")
        error = await self.fails(journal.append([change("1000")]), JournalBroken)
        self.assertEqual("something is asked first", str(error))
        self.assertEqual("something is asked first", journal.not_ready)
        self.assertIsNotNone(await journal.chain(1))
        journal.hold(None)
        self.assertEqual([7], await journal.append([change("1000")]))

    async def test_loading_keys_twice(self) -> None:
        """Keys that are loaded again stay with the call they had."""
        journal = self.journal()
        await journal.load_keys([("k", 7)])
        await journal.load_keys([("k", 9)])
        self.assertEqual(7, await journal.find_key("k"))

    async def test_whoever_stops_waiting_is_forgotten(self) -> None:
        """A wait for the beginning can be cancelled."""
        journal = self.journal()
        waiting: Deferred[None] = journal.when_begun()
        waiting.cancel()
        await self.fails(waiting, CancelledError)
        await journal.begin(0, [])

    async def test_the_beginning_outlives_a_restart(self) -> None:
        """A journal that has begun needs Postgres no more, and keeps its node."""
        journal = await self.begun()
        node = journal.node
        self.assertRegex(node, "^[0-9a-f]{6}$")
        await journal.stopService()
        again = self.journal()
        self.assertTrue(again.begun)
        self.assertEqual(node, again.node)
        self.assertEqual([1], await again.append([change("1")]))


class ChainTests(JournalCase):
    """Chains are whole or not there."""

    async def test_open_calls(self) -> None:
        """Only chains without a final state are open, and each is whole."""
        journal = await self.begun()
        first, second, third = (chain(view(n)) for n in (1, 2, 3))
        await journal.append([*first, *second[:2], *third[:1]])
        await journal.stopService()
        told = await self.journal().open_calls()
        self.assertEqual([2, 3], [one.call.call_id for one in told])
        self.assertEqual([2, 1], [len(one.states) for one in told])
        self.assertEqual(second[1].call, told[0].call)

    async def test_a_chain_with_its_recording(self) -> None:
        """The recording stands beside the states, which keep their event ids."""
        journal = await self.begun()
        await journal.append([change("1"), *chain(view(1)), recording(1)])
        told = await journal.chain(1)
        assert told is not None
        self.assertEqual(list(range(2, 8)), [row.event_id for row in told.states])
        self.assertEqual([recording(1).record], told.records)
        self.assertEqual(State.FINISH, told.call.state)

    async def test_half_a_chain_is_none(self) -> None:
        """A call whose beginning is elsewhere is not answered from here."""
        journal = await self.begun()
        await journal.append([*chain(view(1))[3:], recording(1)])
        self.assertIsNone(await journal.chain(1))
        self.assertEqual([], await journal.open_calls())
        self.assertEqual(4, len(await journal.after(0, 100)))


class ForgetTests(JournalCase):
    """What is old, ended and read by everyone is forgotten, by whole calls."""

    async def prune(self, before: int) -> tuple[int, bool]:
        """Forget what ended before a moment, at once."""
        result: tuple[int, bool] = await self.opened._sqlite.write(
            lambda db: journal_writes.prune(db, before)
        )
        self.opened.low_watermark, _ = result
        return result

    async def test_nothing_goes_before_it_is_read(self) -> None:
        """Without a reader's position nothing is forgotten, nor beyond it."""
        self.opened = journal = await self.begun()
        await journal.append([*chain(view(1)), change("1"), *chain(view(2))])
        self.assertEqual((0, False), await self.prune(NOON * 2))
        await journal.set_checkpoint("postgres", 6)
        await journal.set_checkpoint("webhooks", 12)
        self.assertEqual((6, False), await self.prune(NOON * 2))
        self.assertIsNone(await journal.chain(1))
        self.assertIsNotNone(await journal.chain(2))
        await self.fails(journal.after(5, 10), BelowLowWatermark)
        self.assertEqual(7, len(await journal.after(6, 10)))
        self.assertEqual(12, await journal.checkpoint("webhooks"))
        self.assertIsNone(await journal.checkpoint("stream"))

    async def test_open_and_young_calls_stay(self) -> None:
        """A call that is open or ended lately stays, whoever has read it."""
        self.opened = journal = await self.begun()
        await journal.append([*chain(view(1))[:3], *chain(view(2)), change("1")])
        await journal.set_checkpoint("postgres", 10)
        self.assertEqual((0, False), await self.prune(NOON))
        self.assertEqual((10, False), await self.prune(NOON * 2))
        still_open = await journal.chain(1)
        assert still_open is not None
        self.assertEqual([1, 2, 3], [row.event_id for row in still_open.states])
        self.assertIsNone(await journal.chain(2))

    async def test_ids_go_on_after_everything_is_forgotten(self) -> None:
        """An id is not used again when its event is gone, also after a restart."""
        self.opened = journal = await self.begun()
        await journal.append(chain(view(1)))
        await journal.set_checkpoint("postgres", 6)
        await self.prune(NOON * 2)
        await journal.stopService()
        journal = self.journal()
        self.assertEqual((6, 6), (journal.high_watermark, journal.low_watermark))
        self.assertEqual([7], await journal.append([change("1")]))
        self.assertEqual(1, await journal.find_key("key-1"))

    async def test_what_was_set_aside_stays(self) -> None:
        """A fact that Postgres refused is kept with its whole call until it is taken back."""
        self.opened = journal = await self.begun()
        await journal.append([*chain(view(1)), change("1"), *chain(view(2))])
        await journal.set_checkpoint("postgres", 13)
        await journal.dead_letter("postgres", 3, "too big", keep=True)
        await journal.dead_letter("postgres", 7, "too odd", keep=True)
        self.assertEqual((13, False), await self.prune(NOON * 2))
        kept = await journal.quarantined("postgres", 10)
        self.assertEqual([3, 7], [event.event_id for event in kept])
        self.assertIsNotNone(await journal.chain(1))
        await journal.requeue("postgres", 3)
        await journal.requeue("postgres", 7)
        await self.prune(NOON * 2)
        self.assertIsNone(await journal.chain(1))
        self.assertEqual([], await journal.quarantined("postgres", 10))

    async def test_a_recording_of_a_forgotten_call(self) -> None:
        """A recording that comes after its call is gone is told, and goes in its time."""
        self.opened = journal = await self.begun()
        await journal.append(chain(view(1)))
        await journal.set_checkpoint("postgres", 7)
        await self.prune(NOON * 2)
        await journal.append([recording(1)])
        self.assertIsNone(await journal.chain(1))
        self.assertEqual([recording(1)], [e.fact for e in await journal.after(6, 9)])
        self.assertEqual((7, False), await self.prune(NOON * 2))

    async def test_forgetting_goes_in_portions(self) -> None:
        """After a long absence of Postgres the writer is not held up by one great deletion."""
        self.opened = journal = await self.begun()
        for start in range(1, 402, 100):
            await journal.append(
                [f for n in range(start, start + 100) for f in chain(view(n), (State.CALL,))]
            )
        await journal.set_checkpoint("postgres", 500)
        self.assertEqual((200, True), await self.prune(NOON * 2))
        self.assertEqual((400, True), await self.prune(NOON * 2))
        self.assertEqual((500, False), await self.prune(NOON * 2))

    def test_a_day_is_kept(self) -> None:
        """An ended call stays for a day."""
        self.assertEqual(24 * 60 * 60 * 1000, KEPT)


class PlaceTests(JournalCase):
    """How far others' files were read."""

    async def test_kept_over_a_restart(self) -> None:
        """The last one noted counts, in a journal of before that had none too."""
        journal = await self.begun()
        self.assertIsNone(await journal.offset("cel"))
        await journal.set_offset("cel", b"one")
        await journal.set_offset("cel", b"two")
        await journal.stopService()
        again = self.journal(self.state_dir)
        self.assertEqual(b"two", await again.offset("cel"))
        await again.stopService()
        with closing(sqlite3.connect(self.state_dir / NAME)) as db:
            db.execute("DROP TABLE place")
        self.assertIsNone(await self.journal(self.state_dir).offset("cel"))


class LifeTests(JournalCase):
    """One daemon per folder; it ends in time."""

    def test_a_second_daemon_is_told_who_holds_it(self) -> None:
        """A folder in use is refused by naming the process that has it."""
        self.journal()
        error = self.assertRaises(StateDirBusy, self.journal)
        self.assertEqual(os.getpid(), error.pid)
        self.assertIn(str(os.getpid()), str(error))

    async def test_stopping_writes_what_waits(self) -> None:
        """Whatever was appended before the stop is committed by its end."""
        journal = await self.begun(window=0.2)
        await journal.append([change("1")])
        last = journal.append(chain(view(1)))
        await journal.stopService()
        self.assertEqual([2, 3, 4, 5, 6, 7], self.successResultOf(last))

    async def test_nothing_is_taken_after_the_stop(self) -> None:
        """A journal that was stopped refuses appends and reads."""
        journal = await self.begun()
        await journal.stopService()
        await self.fails(journal.append([change("1")]), JournalBroken)
        await self.fails(journal.chain(1), JournalBroken)
