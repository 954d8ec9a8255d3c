"""A journal that is gone, or has lost its end, beside a Postgres that has it all."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from time import time
from typing import Any

from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import again
from ccdaemon.calls.model import Action, CallView, Direction, LegView, State
from ccdaemon.store import recovery
from ccdaemon.store.facts import ActionFact, Fact, StateFact
from ccdaemon.store.failures import JournalBroken, KeyTaken
from ccdaemon.store.records import Chain
from ccdaemon.store.recovery import GAP, MARGIN
from tests.store.history_parts import ALL, Daemon, HistoryCase
from tests.store.parts import ANSWERED, chain, change, recording, view
from tests.store.pg_parts import until

DAY = 24 * 3600 * 1000
LEGS = (
    LegView("operator-1", "1000", None, 1, 2, None, None, None, None, "cc-abcdef-1-o"),
    LegView("client", None, "380639920000", 3, None, None, None, None, None, "1700000000.1"),
)


def now() -> int:
    """This moment, in ms."""
    return int(time() * 1000)


def unfinished(call: CallView) -> list[StateFact]:
    """A call whose client is rung, as it stands then."""
    facts = chain(call, ANSWERED[:5])[:4]
    return [replace(fact, call=replace(fact.call, final=False)) for fact in facts]


class GoneTests(HistoryCase):
    """The journal's file is gone."""

    async def told(self, *facts: Fact) -> Daemon:
        """A daemon that has told something, and is gone with its journal."""
        daemon = await self.ready()
        await daemon.journal.append(facts)
        await daemon.shipped()
        await daemon.stop()
        return daemon

    async def anew(self) -> Daemon:
        """A daemon with a new journal."""
        return await self.ready(self.folder())

    async def test_open_calls_come_back(self) -> None:
        """A call that was open is open again, with its own event ids, legs and anchor."""
        known = {"did": "380440000000", "caller_name": "Ann", "note": "n", "legs": LEGS}
        call = view(1, date=now() - 5000, anchor="cc-abcdef-1-o", **known)
        first = await self.told(*unfinished(call), change("1000"))
        [was] = await self.chains(first, 1)
        second = await self.anew()
        [opened] = await second.journal.open_calls()
        self.assertEqual(was, opened)
        self.assertEqual([1, 2, 3, 4], [row.event_id for row in opened.states])
        states = [row.state for row in opened.states]
        board = again(opened.call, states, "none")
        self.assertEqual("cc-abcdef-1-o", board.anchor)
        self.assertEqual({"cc-abcdef-1-o", "1700000000.1"}, board.channels)
        self.assertIsInstance(board, Call)

    async def chains(self, daemon: Daemon, *ids: int) -> Sequence[Chain]:
        """What the journal of a daemon that has ended held of calls."""
        journal = self.journal(self.state_dir)
        self.assertEqual(daemon.journal.node, journal.node)
        found = [await journal.chain(call_id) for call_id in ids]
        await journal.stopService()
        return [one for one in found if one is not None]

    async def test_the_last_day_comes_back(self) -> None:
        """Calls of the last day are held whole, with recordings and actions; older ones are not."""
        old = chain(view(1, date=now() - 2 * DAY))
        attached = Action(2, now(), "attachOrder", "crm", order_id="order-9")
        young = chain(view(2, date=now() - DAY // 2))
        done = recording(2), ActionFact(attached), change("1000", date=now())
        first = await self.told(*old, *young, *done)
        [was] = await self.chains(first, 2)
        second = await self.anew()
        self.assertIsNone(await second.journal.chain(1))
        held = await second.journal.chain(2)
        assert held is not None
        self.assertEqual((was.call, was.states), (held.call, held.states))
        self.assertEqual((was.records, was.actions), (held.records, held.actions))
        self.assertEqual("order-9", held.call.order_id)
        self.assertEqual([], await second.journal.open_calls())

    async def test_after_days_away(self) -> None:
        """However long ago it was: what was told last is held, for it may be met again."""
        await self.told(*chain(view(1, date=now() - 9 * DAY)))
        self.sql("UPDATE node SET since = since - interval '1 year'")
        second = await self.anew()
        self.assertIsNotNone(await second.journal.chain(1))

    async def test_in_portions(self) -> None:
        """Many calls come back in portions, all of them."""
        self.patch(recovery, "CALLS", 3)
        await self.told(*[fact for n in range(1, 9) for fact in unfinished(view(n, date=now()))])
        second = await self.anew()
        opened = await second.journal.open_calls()
        self.assertEqual([*range(1, 9)], [one.call.call_id for one in opened])

    async def test_nobody_is_told_again(self) -> None:
        """Who reads on hears nothing of what came back, and finds what is told then."""
        await self.told(*unfinished(view(1, date=now())))
        second = await self.anew()
        heard = self.heard(second.journal)
        [event_id] = await second.journal.append([change("1000")])
        self.assertEqual(GAP + 5, event_id)
        await until(lambda: heard)
        self.assertEqual([GAP + 5], [event.event_id for event in heard])
        self.assertEqual(heard, await second.journal.after(second.journal.low_watermark, 100))
        await second.shipped()
        self.assertEqual([(4,)], self.sql("SELECT count(*) FROM state"))

    async def test_a_cursor_from_before(self) -> None:
        """Who has a place of the journal that is gone goes on from there, and misses nothing."""
        first = await self.told(*unfinished(view(1, date=now())))
        second = await self.anew()
        final = chain(view(1, date=now()))[4:]
        await second.journal.append(final)
        cursor = f"{first.journal.node}.3"
        found, place = await second.history.states_after(cursor, 10, ALL)
        told = [(row.event_id, row.state.state) for row in found]
        self.assertEqual(
            [
                (4, State.CLIENT_CALLTO),
                (GAP + 5, State.CLIENT_PICKUP),
                (GAP + 6, State.FINISH),
            ],
            told,
        )
        self.assertEqual(([], place), await second.history.states_after(place, 10, ALL))

    async def test_its_end_is_told_and_shipped(self) -> None:
        """A call that came back is ended as any other, here and in Postgres."""
        call = view(1, date=now())
        await self.told(*unfinished(call))
        second = await self.anew()
        await second.journal.append(chain(call)[4:])
        await second.shipped()
        self.assertEqual([], await second.journal.open_calls())
        self.assertEqual([("FINISH", True)], self.sql("SELECT state, final FROM call"))
        self.assertEqual([(6,)], self.sql("SELECT count(*) FROM state"))

    async def test_a_key_of_it(self) -> None:
        """The key of a call that came back belongs to it."""
        await self.told(*unfinished(view(1, date=now())))
        second = await self.anew()
        number = second.journal.take_call_id()
        taken = await self.fails(
            second.journal.append(chain(view(number, external_key="key-1"))[:1]), KeyTaken
        )
        self.assertEqual(1, taken.call_id)

    async def test_from_when_on_it_lacks_something(self) -> None:
        """What is outside is read again from the oldest open call on, or what was told last."""
        begun = now() - 600_000
        await self.told(*unfinished(view(1, date=begun)), change("1000", date=now()))
        self.sql("UPDATE node SET since = since - interval '1 year'")
        second = await self.anew()
        self.assertEqual(begun - MARGIN, await second.journal.lost_since())
        await second.stop()
        # One that is older than a call can be says nothing.
        self.sql("UPDATE call SET date = date - interval '3 days'")
        newest = now() - 1000
        third = await self.anew()
        await third.journal.append([change("1000", date=newest)])
        await third.shipped()
        await third.stop()
        fourth = await self.anew()
        self.assertEqual(newest - MARGIN, await fourth.journal.lost_since())

    async def test_before_its_first_start(self) -> None:
        """Of what was before that it lacks nothing, whatever is told and whatever is not."""
        first = await self.ready()
        await first.barrier.when_asked()
        await first.stop()
        [(began,)] = self.sql("SELECT ms(since) FROM node")
        second = await self.anew()
        self.assertEqual(began, await second.journal.lost_since())
        await second.journal.append([change("1000", date=now() - 5000)])
        await second.shipped()
        await second.stop()
        third = await self.anew()
        self.assertEqual(began, await third.journal.lost_since())

    async def test_first_starts(self) -> None:
        """On a database that knows nothing of this Asterisk nothing is lost, and no id passed."""
        await self.told(change("1000"))
        other = await self.ready(self.folder(), asterisk="other")
        self.assertIsNone(await other.journal.lost_since())
        self.assertEqual([2], await other.journal.append([change("1000")]))

    async def test_the_node_stays_with_the_asterisk(self) -> None:
        """Each new journal of an Asterisk has the node of the last, however many there were."""
        first = await self.told(change("1000"))
        other = await self.ready(self.folder(), asterisk="other")
        self.assertNotEqual(first.journal.node, other.journal.node)
        await other.stop()
        second = await self.anew()
        self.assertNotEqual(first.journal.file, second.journal.file)
        await second.stop()
        third = await self.anew()
        self.assertEqual({first.journal.node}, {second.journal.node, third.journal.node})
        await third.stop()
        again = self.journal(third.journal._path.parent)
        self.assertEqual(first.journal.node, again.node)

    async def test_broken_off(self) -> None:
        """Where it was broken off it is done once more, and nothing is missing or there twice."""
        await self.told(*[fact for n in range(1, 9) for fact in unfinished(view(n, date=now()))])
        self.patch(recovery, "CALLS", 3)
        folder = self.folder()
        journal = self.journal(folder)
        taken = journal.restore_calls
        broken = [False, True]

        def once(*args: Any) -> Any:
            if broken.pop(0):
                raise JournalBroken("no")
            return taken(*args)

        self.patch(journal, "restore_calls", once)
        database = await self.up()
        await self.fails(recovery.found(journal, database, "pbx:5038", now()), JournalBroken)
        self.assertFalse(journal.begun)
        await journal.stopService()
        await database.stopService()
        second = await self.ready(folder)
        opened = await second.journal.open_calls()
        self.assertEqual([*range(1, 9)], [one.call.call_id for one in opened])
        self.assertEqual([4] * 8, [len(one.states) for one in opened])


class LostEndTests(HistoryCase):
    """The journal's file is older than it was."""

    async def test_the_chains_that_it_lacks(self) -> None:
        """A journal that has lost its end has what Postgres has of it before it goes on."""
        daemon = await self.ready()
        calls = [view(daemon.journal.take_call_id(), date=now()) for _ in range(3)]
        await daemon.journal.append([*unfinished(calls[0]), *chain(calls[1])[:2]])
        await daemon.shipped()
        await daemon.stop()
        old = self.state_dir.with_suffix(".old")
        shutil.copytree(self.state_dir, old)
        daemon = await self.ready()
        rest = [*chain(calls[0])[4:], *chain(calls[1])[2:4], *unfinished(calls[2])]
        await daemon.journal.append(rest)
        await daemon.shipped()
        await daemon.stop()
        daemon = self.daemon(old)
        self.assertEqual(6, daemon.journal.high_watermark)
        await daemon.barrier.when_asked()
        self.assertEqual(GAP + 14, daemon.journal.low_watermark)
        opened = await daemon.journal.open_calls()
        self.assertEqual(
            [(calls[1].call_id, 4), (calls[2].call_id, 4)],
            [(one.call.call_id, len(one.states)) for one in opened],
        )
        ended = await daemon.journal.chain(calls[0].call_id)
        assert ended is not None
        self.assertEqual(list(ANSWERED), [row.state.state for row in ended.states])
        self.assertIsNotNone(await daemon.journal.lost_since())
        for call in calls:
            key = call.external_key or ""
            self.assertEqual(call.call_id, await daemon.journal.find_key(key))
        self.assertGreater(daemon.journal.take_call_id(), calls[2].call_id)

    async def test_inbound_calls(self) -> None:
        """A call without a key comes back like any other."""
        daemon = await self.ready()
        call = view(1, date=now(), external_key=None, order_id=None, direction=Direction.INBOUND)
        await daemon.journal.append(unfinished(call))
        await daemon.shipped()
        await daemon.stop()
        daemon = await self.ready(self.folder())
        [opened] = await daemon.journal.open_calls()
        self.assertEqual(Direction.INBOUND, opened.call.direction)
