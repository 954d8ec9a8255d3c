"""Telling on after the journal is gone: what Postgres has of it, and what Asterisk wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ccdaemon.calls import signals
from ccdaemon.calls.model import CallView, State
from ccdaemon.config import parse
from ccdaemon.pbx.dialplan import Own
from ccdaemon.store.facts import Event, StateFact
from ccdaemon.store.records import Chain
from ccdaemon.store.recovery import GAP
from ccdaemon.tracking import orphans
from tests.gap_case import EMPTY, TALK, GapCase
from tests.switchboard.test_switchboard import CONFIG


class LostCase(GapCase):
    """The journal is gone: what Postgres has of it was taken back, the place was lost."""

    async def anew(self, seconds: float, *calls: int, keys: Sequence[tuple[str, int]] = ()) -> None:
        """A daemon with a new journal, which may lack what happened in the last seconds.

        :param calls: those that Postgres has.
        :param keys: of calls that are over for long.
        """
        before = [await self.log.chain(call_id) for call_id in calls]
        node, numbers = self.log.node, self.log.top_number
        self.catching_up.down()
        journal = self.journal(self.state_dir / f"anew-{self.clock.seconds():.0f}")
        chains = [chain for chain in before if chain is not None]
        kept = [
            [Event(row.event_id, StateFact(row.state, chain.call)) for row in chain.states]
            for chain in chains
        ]
        await journal.load_keys(keys)
        await journal.take_over(node)
        await journal.restore_calls(kept, GAP)
        await journal.lose_offsets(int((self.clock.seconds() - seconds) * 1000))
        await journal.begin(GAP, [])
        await journal.grant(numbers + 1, numbers + 10_000)
        file = self.cel_file
        await self.start(journal, parse(CONFIG))
        self.cel_file = self.channel_log._path = file
        self.live.restore(await journal.open_calls())
        await self.live.expect_recordings()
        await self.begin()

    async def ended(self) -> list[Chain]:
        """The calls that the journal has."""
        await self.wait_until(lambda: not self.log.health.waiting)
        events = await self.log.held(0, 1000)
        ids = sorted({event.fact.call_id for event in events if event.fact.call_id is not None})
        found = [await self.log.chain(call_id) for call_id in ids]
        return [chain for chain in found if chain is not None]


class LostTests(LostCase):
    """What it told is told on."""

    async def test_a_call_that_goes_on(self) -> None:
        """Its end is told from what Asterisk wrote, though no place was known."""
        await self.begin()
        call_id = await self.make_call()
        self.write(self.rows("talk_client_hangs_up", call_id))
        self.clock.advance(60)
        await self.anew(65, call_id)
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)
        self.assertEqual(len(self.live), 0)

    async def test_calls_that_are_over(self) -> None:
        """They are not told again, though their rows are read again; and older rows are not."""
        await self.begin()
        for name in ("16.1", "17.1"):
            self.write([row.replace("17.1", name) for row in self.a_call_in()])
            await self.begin_again()
            self.clock.advance(100)
        [first, second] = [chain.call for chain in await self.ended()]
        await self.anew(120, second.call_id)
        self.assertEqual([second.call_id], [chain.call.call_id for chain in await self.ended()])
        await self.anew(240, second.call_id)
        [again, kept] = sorted([chain.call for chain in await self.ended()], key=when)
        self.assertEqual(second, kept)
        self.assertEqual((first.anchor, first.date), (again.anchor, again.date))

    async def test_a_call_that_nobody_knows(self) -> None:
        """A client's call that was told and not shipped is told from what Asterisk wrote."""
        await self.begin()
        self.write(self.a_call_in())
        self.clock.advance(10)
        await self.anew(15)
        [chain] = await self.ended()
        states = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP, State.FINISH]
        self.assertEqual([row.state.state for row in chain.states], states)
        await self.begin_again()
        self.assertEqual(1, len(await self.ended()))

    async def test_a_file_that_cannot_be_read(self) -> None:
        """Once it can be read it is read from that moment on."""
        await self.begin()
        self.write(self.a_call_in())
        self.clock.advance(10)
        aside = self.cel_file.with_name("aside")
        self.cel_file.rename(aside)
        self.cel_file.mkdir()
        await self.anew(15)
        self.assertEqual([], await self.ended())
        self.cel_file.rmdir()
        aside.rename(self.cel_file)
        self.catching_up.down()
        await self.session_up()
        self.assertEqual(1, len(await self.ended()))


def when(call: CallView) -> int:
    """When it began, in ms."""
    return call.date


class LabelTests(LostCase):
    """A call that makeCall has made, told and not shipped; Asterisk has its label."""

    def labelled(self, rows: list[str], call_id: int) -> list[str]:
        """All rows of the operator's channel but the first have the label."""
        [asked] = self.asterisk.originated()
        variables: Any = asked["Variable"]
        [label] = [one.partition("=")[2] for one in variables if "userfield" in one]
        name = self.anchor(call_id)["Uniqueid"]
        return [
            f'{row[: -len(EMPTY)]}"{label}",""\n' if f'","{name}","{name}"' in row else row
            for row in rows
        ]

    async def test_a_talk(self) -> None:
        """It is told again under its number, with its order, its key and its times."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.write([rows[0], *self.labelled(rows[1:], call_id)])
        began = self.clock.seconds()
        self.clock.advance(10)
        await self.anew(15)
        states = await self.states(call_id)
        self.assertEqual([told.state for told in states], TALK)
        self.assertEqual(round(states[0].date / 1000 - began, 1), 1.0)
        chain = await self.log.chain(call_id)
        assert chain is not None
        call = chain.call
        self.assertEqual((call.sip, call.phone), ("1040", "380639920000"))
        self.assertEqual((call.order_id, call.external_key), ("15", "24"))
        self.assertEqual(call_id, await self.log.find_key("24"))
        await self.begin_again()
        self.assertEqual(1, len(await self.ended()))

    async def test_a_phone_that_rings(self) -> None:
        """The log has no label yet: the channel is asked."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.write(rows[:1])
        [asked] = self.asterisk.originated()
        variables: Any = asked["Variable"]
        [label] = [one.partition("=")[2] for one in variables if "userfield" in one]
        self.has_channel(call_id)
        self.asterisk.variables["PJSIP/1000-1", Own.TAG] = label
        self.clock.advance(10)
        await self.anew(15)
        states = await self.states(call_id)
        self.assertEqual([told.state for told in states], TALK[:2])
        self.assertEqual(call_id, self.live.of_operator("1000"))

    async def test_one_that_is_gone_when_it_is_asked(self) -> None:
        """Nothing comes of it."""
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.asterisk.gone.add("PJSIP/1000-1")
        await self.anew(15)
        self.assertEqual(0, len(self.live))

    async def test_known_calls_are_not_asked(self) -> None:
        """Nor are they told again."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.write([rows[0], *self.labelled(rows[1:], call_id)])
        await self.begin_again()
        self.asterisk.asked.clear()
        self.has_channel(call_id)
        await self.begin_again()
        self.assertNotIn(
            "Getvar", [name for name, headers in self.asterisk.asked if "userfield" in str(headers)]
        )
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    async def test_over_for_long(self) -> None:
        """One of which only the key is known is over, and stays so."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.write([rows[0], *self.labelled(rows[1:], call_id)])
        self.clock.advance(10)
        await self.anew(15, keys=[("24", call_id)])
        self.assertEqual((0, 0), (len(self.live), self.live.unrecorded))
        self.assertEqual([], await self.ended())
        self.assertFalse(self.live.is_unknown(self.anchor(call_id)["Uniqueid"]))

    async def test_a_label_that_names_nobody(self) -> None:
        """What is no operator's channel, no number of a client's or not ours opens nothing."""
        await self.begin()
        name = self.anchor(77)["Uniqueid"]
        words = "380639920000", "o", "k"
        for channel, of, phone in (
            (name, "PJSIP/trunk-1", words[0]),
            (name, "PJSIP/1000-1", "anything"),
            (name.replace(self.log.node, "ffffff"), "PJSIP/1000-1", words[0]),
            ("17.1", "PJSIP/1000-1", words[0]),
        ):
            told = signals.Tagged(channel, channel, 1, of, phone, *words[1:])
            self.live.hear(told)
            self.assertEqual(0, len(self.live), told)

    async def test_most(self) -> None:
        """Of channels that never say what they are few are kept."""
        self.patch(orphans, "MOST", 2)
        await self.begin()
        for number in range(5):
            name = self.anchor(70 + number)["Uniqueid"]
            self.live.hear(signals.Started(name, name, number, "PJSIP/1000-1"))
        self.assertEqual(2, len(self.live._orphans._started))
