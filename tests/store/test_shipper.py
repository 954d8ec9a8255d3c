"""From the journal to a real Postgres: everything, in order, once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from dataclasses import replace

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from ccdaemon.calls.model import Action, State
from ccdaemon.consumers import consumer
from ccdaemon.consumers import shipper as shipper_module
from ccdaemon.operators import Status
from ccdaemon.store.facts import FORGET_ORDER, ActionFact, RecordFact
from ccdaemon.store.failures import JournalBroken
from ccdaemon.store.migrate import migrate
from ccdaemon.store.postgres import DatabaseDown
from ccdaemon.store.read_barrier import Behind
from ccdaemon.store.recovery import GAP
from tests.store.history_parts import ALL, HistoryCase
from tests.store.parts import NOON, chain, change, recording, view
from tests.store.pg_parts import until


class FirstStartTests(HistoryCase):
    """What a new journal is told by Postgres."""

    async def test_an_empty_database(self) -> None:
        """On an empty database the first call is number 1 and the first event 1."""
        daemon = await self.ready()
        self.assertEqual(1, daemon.journal.take_call_id())
        self.assertEqual(9_999, daemon.journal.numbers_left)
        self.assertEqual([1], await daemon.journal.append([change("1000")]))

    async def test_an_empty_state_dir_beside_a_full_postgres(self) -> None:
        """A new journal knows the used keys, begins above every id, and knows the operators."""
        first = await self.ready()
        call_id = first.journal.take_call_id()
        await first.journal.append([change("1000"), *chain(view(call_id, external_key="k"))])
        await first.journal.append([change("1000", Status.INUSE), change("1001")])
        await first.shipped()
        await first.stop()
        second = self.daemon(self.folder())
        self.assertIn("keys", second.journal.not_ready or "")
        await second.journal.when_begun()
        self.assertEqual(call_id, await second.journal.find_key("k"))
        self.assertEqual(first.journal.node, second.journal.node)
        self.assertEqual([GAP + 10], await second.journal.append([change("1002")]))
        changes = await second.journal.last_operator_changes()
        self.assertEqual(
            {"1000": Status.INUSE, "1001": Status.ONLINE, "1002": Status.ONLINE},
            {sip: one.state for sip, one in changes.items()},
        )
        self.assertIsNone(second.journal.not_ready)
        self.assertEqual(10_001, second.journal.take_call_id())

    async def test_many_keys(self) -> None:
        """Keys are loaded in portions, all of them."""
        from ccdaemon.store import recovery

        self.patch(recovery, "KEYS", 3)
        first = await self.ready()
        for n in range(1, 8):
            await first.journal.append(chain(view(n))[:1])
        await first.journal.append(chain(view(8, external_key=None))[:1])
        await first.shipped()
        await first.stop()
        second = await self.ready(self.folder())
        for n in range(1, 8):
            self.assertEqual(n, await second.journal.find_key(f"key-{n}"))

    async def test_numbers_are_renewed_at_half(self) -> None:
        """A lease is followed by the next before it is used up."""
        daemon = await self.ready()
        for _ in range(5_001):
            last = daemon.journal.take_call_id()
        await daemon.journal.append(chain(view(last))[:1])
        await until(lambda: daemon.journal.numbers_left > 5_000)
        self.assertEqual(14_999, daemon.journal.numbers_left)

    async def test_a_database_older_than_its_leases(self) -> None:
        """Numbers that are in use are not granted again by a database that was restored."""
        # No daemon is there that takes one of its own meanwhile.
        await migrate(await self.link())
        self.assertEqual([(1, 10_000)], self.sql("SELECT * FROM take_lease(0)"))
        self.assertEqual([(30_001, 40_000)], self.sql("SELECT * FROM take_lease(25000)"))
        self.assertEqual([(40_001, 50_000)], self.sql("SELECT * FROM take_lease(40000)"))
        self.assertEqual([(60_001, 70_000)], self.sql("SELECT * FROM take_lease(50001)"))


class LeaseTests(HistoryCase):
    """Two daemons never have the same call numbers."""

    async def test_each_has_an_owner(self) -> None:
        """Postgres says whose they are."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        self.assertEqual(
            [(1, 10_000, first.journal.node), (10_001, 20_000, second.journal.node)],
            self.sql("SELECT lo, hi, node FROM lease ORDER BY lo"),
        )

    async def test_two_at_once(self) -> None:
        """The second waits for the first, whatever the sequence of before says."""
        one, two = await self.link(), await self.link()
        await migrate(one)
        await one.query("BEGIN")
        take = "SELECT lo, hi FROM take_lease(500000)"
        ((lo, _),) = await one.query(take)
        waiting = Deferred.fromCoroutine(two.query(take))
        await deferLater(reactor, 0.1)
        self.assertNoResult(waiting)
        await one.query("COMMIT")
        self.assertEqual([(lo + 10_000, lo + 19_999)], await waiting)

    async def test_a_database_that_knows_nothing_of_a_lease(self) -> None:
        """Who has numbers that it does not know says so; all that is granted then is far above."""
        first = await self.ready(asterisk="a")
        last = first.journal.top_number
        second = await self.ready(self.folder(), asterisk="b")
        await first.stop()
        await second.stop()
        other = self.server.database()
        again = await self.ready(asterisk="a", url=other)
        await again.barrier.when_asked()
        self.assertEqual([(1, last)], again.journal.leases)
        # It may use them before it has said so.
        there = "SELECT count(*) FROM pg_class WHERE relname = 'lease'"
        await until(lambda: self.server.run(other, there) != [(0,)])
        await until(lambda: self.server.run(other, "SELECT lo FROM lease"))
        third = await self.ready(self.folder(), asterisk="c", url=other)
        self.assertGreater(third.journal.leases[0][0], last + 500_000)

    async def test_another_has_them(self) -> None:
        """A lease that a database of before granted is given up where it is another node's now."""
        first = await self.ready(asterisk="a")
        call_id = first.journal.take_call_id()
        await first.journal.append(chain(view(call_id)))
        await first.shipped()
        # It was put back from a copy of before, and another daemon came first.
        self.sql("TRUNCATE node, call, state, record, operator_change, lease")
        second = self.daemon(self.folder(), asterisk="b")
        await until(lambda: second.journal.not_ready is None)
        self.assertEqual([(1, 10_000)], second.journal.leases)
        await first.journal.append([change("1000")])
        await until(lambda: [lo for lo, _ in first.journal.leases if lo > 10_000])
        self.flushLoggedErrors(psycopg2.DatabaseError)

    async def test_a_call_of_another_node(self) -> None:
        """Of two calls of one number neither is merged into the other: the second is kept aside."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        await first.journal.append([*chain(view(1, external_key="a")), recording(1)])
        await first.shipped()
        await second.journal.append([*chain(view(1, external_key="b")), recording(1)])
        await second.journal.append(chain(view(10_001)))
        await second.shipped()
        self.assertEqual(7, second.shipper.health.dead_letters)
        self.assertIn(
            f"is of node {first.journal.node}", second.shipper.health.last_dead_letter or ""
        )
        rows = self.sql("SELECT call_id, node, external_key FROM call ORDER BY call_id")
        self.assertEqual((1, first.journal.node, "a"), rows[0])
        self.assertEqual((10_001, second.journal.node), rows[1][:2])
        self.assertEqual([(12,)], self.sql("SELECT count(*) FROM state"))


class ShippingTests(HistoryCase):
    """Everything arrives, once."""

    async def test_every_row_as_it_was_told(self) -> None:
        """States, call, recording and operator changes stand in Postgres as in the journal."""
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1)), recording(1), change("1000")])
        await daemon.shipped()
        states = self.sql("SELECT event_id, seq, state, ms(date), node FROM state ORDER BY seq")
        self.assertEqual(
            [
                (n, n, fact.state.state.value, fact.state.date, daemon.journal.node)
                for n, fact in enumerate(chain(view(1)), 1)
            ],
            states,
        )
        self.assertEqual(
            [("FINISH", True, "key-1", 6)],
            self.sql("SELECT state, final, external_key, event_id FROM call"),
        )
        self.assertEqual(
            [("cc-abcdef-1-o", "1000", 7)], self.sql("SELECT uniqueid, sip, event_id FROM record")
        )
        self.assertEqual([("1000", 8)], self.sql("SELECT sip, event_id FROM operator_change"))
        self.assertEqual([(8,)], self.sql("SELECT last_event_id FROM node"))

    async def test_many_batches(self) -> None:
        """A long absence is made up in batches, and the position is noted for the journal."""
        self.patch(shipper_module, "BATCH", 7)
        self.patch(consumer, "NOTE_EVERY", 0.0)
        daemon = await self.ready()
        await daemon.journal.append([f for n in range(1, 31) for f in chain(view(n))])
        await daemon.shipped()
        self.assertEqual(
            [(30, 180)], self.sql("SELECT count(DISTINCT call_id), count(*) FROM state")
        )
        await until(lambda: daemon.shipper.health.backlog == 0)
        while await daemon.journal.checkpoint("postgres") != 180:
            pass

    async def test_shipping_twice_is_shipping_once(self) -> None:
        """What is shipped again changes nothing, and a call does not go back."""
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1)), recording(1), change("1000")])
        await daemon.shipped()
        before = self.everything()
        for start in (0, 3):
            events = (await daemon.journal.after(start, 100))[:3]
            await daemon.shipper.take(events, 0, events[-1].event_id)
        self.assertEqual(before, self.everything())

    def everything(self) -> list[object]:
        """All that is in the tables of the history."""
        tables = ("call", "state", "record", "operator_change", "tally", "node")
        return [self.sql(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]

    async def test_an_operator_who_becomes_known_later(self) -> None:
        """A recording is found under the operator its call has in the end."""
        daemon = await self.ready()
        facts = chain(view(1, sip=None))
        await daemon.journal.append([*facts[:3], recording(1)])
        await daemon.shipped()
        known = [replace(f, call=replace(f.call, sip="1001")) for f in facts[3:]]
        await daemon.journal.append(known)
        await daemon.shipped()
        self.assertEqual([("1001",)], self.sql("SELECT sip FROM record"))
        self.assertEqual(
            [("1001", 1)],
            self.sql(
                "SELECT sip, n FROM tally WHERE list = 'record' AND grain = 'all' AND n > 0"
                " AND sip <> '' AND direction = ''"
            ),
        )

    async def test_one_uniqueid_of_two_asterisks(self) -> None:
        """Two PBXs may name a channel alike: both recordings arrive, each once."""
        daemon = await self.ready()
        same = [replace(recording(n).record, uniqueid="1700000000.12") for n in (1, 2)]
        facts = [RecordFact(one) for one in (*same, same[0])]
        await daemon.journal.append([*chain(view(1)), *chain(view(2)), *facts])
        await daemon.shipped()
        self.assertEqual([(1,), (2,)], self.sql("SELECT call_id FROM record ORDER BY 1"))
        self.assertEqual(2, (await daemon.history.records_page(1, 10, ALL)).total)

    async def test_nothing_is_forgotten_before_it_is_there(self) -> None:
        """While Postgres is away its position in the journal stays where it was."""
        daemon = await self.ready()
        while await daemon.journal.checkpoint("postgres") is None:
            pass
        self.server.postgres.stop(immediate=True)
        await until(lambda: not daemon.database.up)
        await daemon.journal.append(chain(view(1)))
        self.assertEqual(0, await daemon.journal.checkpoint("postgres"))
        self.assertEqual(6, daemon.shipper.health.backlog)
        self.server.postgres.start()
        await daemon.shipped()
        self.assertEqual([(6,)], self.sql("SELECT count(*) FROM state"))
        self.assertEqual(0, daemon.shipper.health.backlog)

    async def test_killed_at_any_moment(self) -> None:
        """With backends killed again and again, everything arrives once and in order."""
        self.patch(shipper_module, "BATCH", 5)
        daemon = await self.ready()
        for n in range(1, 41):
            await daemon.journal.append(chain(view(n)))
            if n % 4 == 0:
                for pid in self.backends():
                    self.kill(pid)
        await daemon.shipped()
        self.assertEqual(
            [(240, 240, 240)],
            self.sql("SELECT count(*), count(DISTINCT event_id), max(event_id) FROM state"),
        )

    async def test_a_daemon_killed_at_any_moment(self) -> None:
        """A daemon that starts again ships what was left, and nothing twice."""
        self.patch(shipper_module, "BATCH", 5)
        for n in range(1, 9):
            daemon = await self.ready()
            await daemon.journal.append(chain(view(n)))
            await daemon.stop()
        daemon = await self.ready()
        await daemon.shipped()
        self.assertEqual([(48, 48)], self.sql("SELECT count(*), max(event_id) FROM state"))
        self.assertEqual(
            [(48,)],
            self.sql(
                "SELECT n FROM tally WHERE list='state' AND sip='' AND direction='' AND grain='all'"
            ),
        )


class PoisonTests(HistoryCase):
    """A fact that Postgres refuses."""

    async def test_it_stops_nobody_and_is_told(self) -> None:
        """All but that fact arrive; it is kept, counted, logged and tried again."""
        daemon = await self.ready()
        facts = chain(view(1))
        bad = replace(facts[3], state=replace(facts[3].state, cause=2**40))
        await daemon.journal.append([*facts[:3], bad, *facts[4:], *chain(view(2))])
        await daemon.shipped()
        self.assertEqual([(11,)], self.sql("SELECT count(*) FROM state"))
        self.assertEqual(1, daemon.shipper.health.dead_letters)
        self.assertIn("event 4", daemon.shipper.health.last_dead_letter or "")
        (event,) = await daemon.journal.quarantined("postgres", 10)
        self.assertEqual(4, event.event_id)
        self.assertIn("out of range", daemon.shipper.health.last_dead_letter or "")
        # Later the database can take it.
        self.sql("ALTER TABLE state ALTER cause TYPE bigint")
        ((body,),) = self.sql("SELECT pg_get_functiondef('ship'::regproc)")
        self.sql(str(body).replace("cause integer", "cause bigint"))
        await self.reconnect()
        await until(lambda: daemon.shipper.health.dead_letters == 0)
        self.assertEqual([(12,)], self.sql("SELECT count(*) FROM state"))
        self.assertEqual([], await daemon.journal.quarantined("postgres", 10))

    async def reconnect(self) -> None:
        """Have all connections made anew."""
        for pid in self.backends():
            self.kill(pid)

    async def test_a_key_that_two_daemons_gave(self) -> None:
        """A call whose key another daemon's call has is kept aside, not lost and not merged."""
        first = await self.ready(asterisk="a")
        second = await self.ready(self.folder(), asterisk="b")
        one, two = first.journal.take_call_id(), second.journal.take_call_id()
        await first.journal.append(chain(view(one, external_key="k")))
        await first.shipped()
        await second.journal.append(chain(view(two, external_key="k")))
        await second.shipped()
        self.assertEqual(
            [(one, 6)], self.sql("SELECT call_id, count(*) FROM state GROUP BY call_id")
        )
        self.assertEqual(6, second.shipper.health.dead_letters)
        held = await second.history.call(two)
        assert held is not None
        self.assertEqual(6, len(held.states))


class OtherDatabaseTests(HistoryCase):
    """A journal that meets a database it does not expect."""

    async def test_what_comes_late_of_a_call_that_was_forgotten(self) -> None:
        """A recording of it is passed over, and does not wait for ever."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        await daemon.shipped()
        forgotten = ActionFact(Action(1, NOON, FORGET_ORDER, "crm"))
        await daemon.journal.forget_calls([forgotten])
        self.sql("SELECT remove_calls(ARRAY[1])")
        await daemon.journal.append([recording(1), *chain(view(2))])
        await daemon.shipped()
        self.assertEqual(0, daemon.shipper.health.dead_letters)
        self.assertEqual([(0,)], self.sql("SELECT count(*) FROM record"))
        self.assertEqual([(2,)], self.sql("SELECT call_id FROM call"))

    async def test_an_older_copy(self) -> None:
        """What a restored database lacks is shipped again as far as it is still held."""
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1)), *chain(view(2))])
        await daemon.shipped()
        await daemon.stop()
        self.sql("DELETE FROM state WHERE call_id = 2")
        self.sql("DELETE FROM call WHERE call_id = 2")
        self.sql("UPDATE node SET last_event_id = 6")
        daemon = await self.ready()
        await daemon.shipped()
        self.assertEqual([(12,)], self.sql("SELECT count(*) FROM state"))

    async def test_an_older_copy_beneath_a_connection(self) -> None:
        """The same where it is put in while the daemon is connected: nothing is passed over."""
        daemon = await self.ready()
        await daemon.journal.append([*chain(view(1)), *chain(view(2))])
        await daemon.shipped()
        for lost in (
            "DELETE FROM state WHERE call_id = 2; DELETE FROM call WHERE call_id = 2;"
            " UPDATE node SET last_event_id = 6",
            "TRUNCATE node, call, state, record, operator_change",
        ):
            self.sql(lost)
            head = (await daemon.journal.append([change("1000")]))[0]
            await until(lambda: self.sql("SELECT last_event_id FROM node") == [(head,)])  # noqa: B023
            self.assertEqual([(12,)], self.sql("SELECT count(*) FROM state"))
            self.assertEqual(0, daemon.shipper.health.dead_letters)
        told = self.flushLoggedErrors(psycopg2.DatabaseError)
        self.assertEqual(["CC001", "CC001"], [failure.value.pgcode for failure in told])

    async def test_an_empty_database_beside_a_full_journal(self) -> None:
        """A new database gets what the journal still holds, and no number is used again."""
        daemon = await self.ready()
        number = daemon.journal.take_call_id()
        await daemon.journal.append(chain(view(number)))
        await daemon.shipped()
        await daemon.stop()
        other = self.server.database()
        daemon = await self.ready(url=other)
        await daemon.shipped()
        self.assertEqual([(6,)], self.server.run(other, "SELECT count(*) FROM state"))
        self.assertEqual(number + 1, daemon.journal.take_call_id())

    async def test_what_is_forgotten_is_missed_aloud(self) -> None:
        """If the journal has forgotten what a database lacks, the log says so, and it goes on."""
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        await daemon.shipped()
        await daemon.stop()
        from ccdaemon.store import journal_writes

        journal = self.journal()
        await journal.set_checkpoint("postgres", 6)
        await journal._sqlite.write(lambda db: journal_writes.prune(db, NOON * 2))
        await journal.stopService()
        self.sql("UPDATE node SET last_event_id = 3")
        daemon = await self.ready()
        self.assertEqual([7], await daemon.journal.append([change("1000")]))
        await daemon.shipped()
        self.assertEqual([("1000",)], self.sql("SELECT sip FROM operator_change"))

    async def test_a_journal_that_is_an_older_copy(self) -> None:
        """Ids and numbers that Postgres has from this journal are not used again."""
        import shutil

        daemon = await self.ready()
        await daemon.journal.append(chain(view(daemon.journal.take_call_id())))
        await daemon.shipped()
        await daemon.stop()
        shutil.copytree(self.state_dir, self.state_dir.with_suffix(".old"))
        daemon = await self.ready()
        await daemon.journal.append(chain(view(daemon.journal.take_call_id())))
        await daemon.shipped()
        await daemon.stop()
        daemon = await self.ready(self.state_dir.with_suffix(".old"))
        await until(lambda: daemon.journal.high_watermark == GAP + 12 and daemon.journal.begun)
        number = daemon.journal.take_call_id()
        self.assertEqual(10_001, number)
        self.assertEqual(GAP + 13, (await daemon.journal.append(chain(view(number))))[0])
        await daemon.shipped()
        self.assertEqual([(18,)], self.sql("SELECT count(*) FROM state"))


class TenancyTests(HistoryCase):
    """One daemon per Asterisk."""

    async def test_the_second_is_told_who_holds_it(self) -> None:
        """A second daemon for the same Asterisk learns who has it; another's does not mind."""
        first = await self.ready()
        second = self.daemon(self.folder())
        held = await second.tenancy.held
        self.assertIn(f"ccdaemon {first.journal.node}", held.who)
        self.assertIn(str(os.getpid()), held.who)
        await until(lambda: second.database.health.last_error)
        self.assertFalse(second.database.up)
        self.assertIn("one daemon per Asterisk", second.database.health.last_error or "")
        await self.ready(self.folder(), asterisk="other")
        await first.stop()
        await second.database.when_up()

    async def test_the_asterisk_of_this_machine(self) -> None:
        """Every machine's own is another; on one machine it is the same by all its names."""
        await self.ready(self.folder(), asterisk="127.0.0.1")
        second = self.daemon(self.folder(), asterisk="localhost")
        await second.tenancy.held
        self.patch(socket, "gethostname", lambda: "pbx2")
        await self.ready(self.folder(), asterisk="127.0.0.1")

    async def test_the_ghost_of_a_journal_that_is_gone(self) -> None:
        """A new journal waits for a daemon whose process has ended, and ends nobody."""
        process = subprocess.Popen(["true"])
        process.wait()
        self.patch(os, "getpid", lambda: process.pid)
        first = await self.ready()
        self.patch(os, "getpid", lambda: 1)
        second = self.daemon(self.folder())
        await until(lambda: second.database.health.last_error)
        self.assertIn("has ended, and still has", second.database.health.last_error or "")
        self.assertFalse(second.tenancy.held.called)
        self.assertTrue(first.database.up)
        await first.stop()
        await second.database.when_up()

    async def test_our_own_ghost(self) -> None:
        """A former connection of this very journal, not yet gone at the server, is ended."""
        daemon = await self.ready()
        ghost = self.backends()[0]
        os.kill(ghost, signal.SIGSTOP)
        try:
            await daemon.stop()
            again = self.daemon()
            # A stopped process cannot be ended; let it go on once the order has been given.
            await until(lambda: again.database.health.last_error)
        finally:
            os.kill(ghost, signal.SIGCONT)
        await again.database.when_up()
        self.assertFalse(again.tenancy.held.called)


class BarrierTests(HistoryCase):
    """Waiting for Postgres to have something."""

    async def test_it_hurries(self) -> None:
        """Whoever waits does not wait for the batch to gather."""
        self.patch(shipper_module, "EVERY", 1000.0)
        daemon = await self.ready()
        await daemon.journal.append(chain(view(1)))
        await daemon.barrier.passed(6, 5.0)
        self.assertEqual([(6,)], self.sql("SELECT count(*) FROM state"))
        await daemon.barrier.passed(3, 0.0)

    async def test_it_gives_up(self) -> None:
        """What does not come in time is refused by name."""
        daemon = await self.ready()
        await self.fails(daemon.barrier.passed(99, 0.05), Behind)
        self.server.postgres.stop(immediate=True)
        await until(lambda: not daemon.database.up)
        await self.fails(daemon.barrier.passed(99, 5.0), DatabaseDown)
        self.server.postgres.start()

    async def test_a_broken_journal_is_tried_again(self) -> None:
        """If the journal cannot be read, shipping goes on when it can."""
        daemon = await self.ready()
        after = daemon.journal.after
        broken = [JournalBroken("no"), ValueError("odd"), ValueError("odd")]

        def failing(position: int, limit: int) -> object:
            if broken:
                raise broken.pop(0)
            return after(position, limit)

        self.patch(daemon.journal, "after", failing)
        await daemon.journal.append(chain(view(1), (State.CALL, State.ERROR)))
        await daemon.shipped()
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))
        self.assertEqual("ValueError: odd", daemon.shipper.health.last_trouble)
