"""Catching up after a gap, over a real journal, a real file of channel events, a fake Asterisk."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher

from ccdaemon.asterisk import labels
from ccdaemon.calls import signals
from ccdaemon.calls.model import CallView, State, StateTold
from ccdaemon.config import parse
from ccdaemon.history.facts import Event, StateFact
from ccdaemon.history.failures import JournalBroken
from ccdaemon.history.founding import GAP
from ccdaemon.history.rows import Chain
from ccdaemon.live import catching_up, channel_log, unknown_calls
from ccdaemon.live.catching_up import LOOK_EVERY, TELL_EVERY, TOLD_WITHIN
from ccdaemon.live.channel_log import HEARD_WITHIN, READ_TIMEOUT, CannotCatchUp
from tests.clocks import HOUR
from tests.fake_asterisk import event
from tests.switchboard.test_switchboard import CONFIG, SwitchboardCase

TRACES = Path(__file__).parent / "traces" / "22-pjsip"
TALK = [
    State.CALL,
    State.OPERATOR_CALLTO,
    State.OPERATOR_PICKUP,
    State.CLIENT_CALLTO,
    State.CLIENT_PICKUP,
    State.FINISH,
]
#: Milliseconds from the call to the end of the talk in its rows.
TALK_ENDS = 3630
_ANCHOR = re.compile(r"cc-[0-9a-f]+-[0-9]+-o")
#: How a row ends that has neither a userfield nor an accountcode.
EMPTY = '"",""\n'
_TIME = re.compile(r'(?<=",")[0-9]{10}\.[0-9]{6}(?=",")')


class GapCase(SwitchboardCase):
    """A session that comes and goes."""

    def setUp(self) -> Deferred[None]:  # type: ignore[override]
        """Keep what is logged."""
        self.warned: list[str] = []
        observer: Any = self.note
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        return super().setUp()

    def note(self, logged: LogEvent) -> None:
        """A line of the log."""
        if logged["log_namespace"].startswith("ccdaemon.live.channel_log"):
            self.warned.append(logged["log_format"].format(**logged))

    async def begin(self) -> None:
        """The daemon's first session."""
        await self.channel_log.begin()
        await self.session_up()
        await self.wait_for_the_log()

    async def begin_again(self) -> None:
        """The daemon is started anew, with the same journal."""
        self.catching_up.down()
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.live.expect_recordings()
        await self.begin()

    def rows(self, name: str, call_id: int, after: float = 1.0) -> list[str]:
        """What Asterisk writes of a call that begins so many seconds from now."""
        text = (TRACES / f"{name}.cel").read_text("utf-8")
        text = _ANCHOR.sub(self.anchor(call_id)["Linkedid"], text)
        first = float(_TIME.findall(text)[0])
        now = self.clock.seconds()
        text = _TIME.sub(lambda time: f"{now + after + float(time[0]) - first:.6f}", text)
        return text.splitlines(keepends=True)

    def has_channel(self, call_id: int) -> None:
        """Asterisk has the channel of the call's operator, not answered yet."""
        headers = {"Channel": "PJSIP/1000-1", "ChannelState": "5", **self.anchor(call_id)}
        self.asterisk.channels.append(event("CoreShowChannel", **headers))

    def a_call_in(self) -> list[str]:
        """What Asterisk writes of a call that operator 1000 takes."""
        client, operator = ("17.1", "PJSIP/trunk-1"), ("17.2", "PJSIP/1000-2")
        cause = '{"hangupcause":16,"hangupsource":"PJSIP/trunk-1","dialstatus":""}'
        rows = [
            ("CHAN_START", 1.0, *client, ""),
            ("ccdaemon-incoming", 1.0, *client, '{"extra":"380639920000|380440000000"}'),
            ("ccdaemon-ask", 1.1, *client, '{"extra":"1000||1"}'),
            ("CHAN_START", 1.1, *operator, ""),
            ("ANSWER", 2.0, *operator, ""),
            ("ANSWER", 2.0, *client, ""),
            ("HANGUP", 9.0, *operator, cause),
            ("HANGUP", 9.0, *client, cause),
        ]
        return [self.row(*row) for row in rows]

    def row(self, name: str, after: float, uniqueid: str, channel: str, extra: str) -> str:
        """A line of the file."""
        time = f"{self.clock.seconds() + after:.6f}"
        cells = [name, time, uniqueid, "17.1", channel, *[""] * 7, extra, "", ""]
        return ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells) + "\n"

    def write(self, rows: list[str]) -> None:
        """Asterisk writes rows."""
        with self.cel_file.open("a", encoding="utf-8") as stream:
            stream.writelines(rows)

    async def states(self, call_id: int) -> list[StateTold]:
        """The states of a call with their dates."""
        await self.wait_until(lambda: not self.log.health.waiting)
        kept = await self.log.chain(call_id)
        assert kept is not None
        return [row.state for row in kept.states]

    async def minutes(self, count: int) -> None:
        """Let time pass with the session up."""
        for _ in range(count):
            self.clock.advance(LOOK_EVERY)
            await self.wait_for_the_log()


class ReadTests(GapCase):
    """What was written while nobody listened."""

    async def test_killed(self) -> None:
        """After a restart the chain is whole, with Asterisk's own times."""
        await self.begin()
        call_id = await self.make_call()
        began = self.clock.seconds() * 1000
        self.catching_up.down()
        self.write(self.rows("talk_client_hangs_up", call_id))
        self.clock.advance(3600)
        await self.begin_again()
        states = await self.states(call_id)
        self.assertEqual([told.state for told in states], TALK)
        self.assertEqual(states[-1].date - began, TALK_ENDS)
        self.assertIn("hung up by client; ring 0.3 s, wait 0.3 s, talk 2.0 s", states[-1].detail)
        self.assertEqual(len(self.live), 0)

    async def test_killed_again_and_again(self) -> None:
        """Rows that are read anew tell nothing anew, wherever the daemon was killed."""
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        for row in self.rows("talk_client_hangs_up", call_id):
            self.write([row])
            await self.begin_again()
        self.asterisk.channels.clear()
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    async def test_a_session_that_was_lost(self) -> None:
        """The daemon lived on: what it heard before and what it reads make one chain."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.hear("Newchannel", Channel="PJSIP/1000-1", **self.anchor(call_id))
        self.hear("Newstate", ChannelState="6", **self.anchor(call_id))
        self.write(rows)
        self.catching_up.down()
        await self.session_up()
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    async def test_written_late(self) -> None:
        """A call that has just ended is waited for; only then it would be lost."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("client_busy_486", call_id)
        self.write(rows[:4])
        await self.begin_again_with(rows[4:])
        states = await self.states(call_id)
        self.assertEqual(states[-1].state, State.CLIENT_BUSY)

    async def begin_again_with(self, late: list[str]) -> None:
        """The same as ``begin_again``; the rows come after the first look."""
        self.catching_up.down()
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.channel_log.begin()
        await self.session_up()
        self.write(late)
        await self.wait_for_the_log()

    async def test_a_first_start(self) -> None:
        """Of what was there before the first start nothing is told."""
        call_id = await self.make_call()
        self.write(self.rows("talk_client_hangs_up", call_id))
        await self.begin()
        self.assertEqual((await self.states(call_id))[-1].state, State.ERROR)

    async def test_turned_meanwhile(self) -> None:
        """logrotate in the middle of it."""
        await self.begin()
        call_id = await self.make_call()
        rows = self.rows("talk_client_hangs_up", call_id)
        self.write(rows[:6])
        self.cel_file.rename(self.cel_file.with_name("Master.csv.1"))
        self.write(rows[6:])
        await self.begin_again()
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    async def test_while_the_session_stands(self) -> None:
        """A call whose channel is gone without a word of AMI has its end from the file."""
        await self.begin()
        call_id = await self.make_call()
        self.write(self.rows("talk_client_hangs_up", call_id))
        await self.minutes(1)
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)


class PlaceTests(GapCase):
    """From where the file is read again."""

    async def kept(self) -> int:
        """The offset that the journal has."""
        # What was written before is committed by then.
        await self.log.set_place("another", b"")
        body = await self.log.place(channel_log.NAME)
        assert body is not None
        return int(re.findall(rb'"offset":([0-9]+)', body)[0])

    async def test_it_moves_on(self) -> None:
        """A minute late, for AMI may be that late; so a restart reads little."""
        await self.begin()
        self.assertEqual(await self.kept(), 0)
        self.write(["x\n"])
        await self.minutes(1)
        self.assertEqual(await self.kept(), 0)
        self.assertGreaterEqual(LOOK_EVERY, HEARD_WITHIN)
        await self.minutes(1)
        self.assertEqual(await self.kept(), 2)

    async def test_it_waits_for_live_calls(self) -> None:
        """All rows of a live call are read again, since its channels are known from them."""
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.write(["x\n"])
        await self.minutes(3)
        self.assertEqual(await self.kept(), 0)
        self.hear("Hangup", Cause="17", **self.anchor(call_id))
        await self.minutes(1)
        self.assertEqual(await self.kept(), 2)

    async def test_a_clock_that_is_set(self) -> None:
        """Neither does it stop, nor leave a live call behind, nor what may not be heard yet."""
        await self.begin()
        for by in (HOUR, -HOUR, -HOUR, HOUR):
            kept = await self.kept()
            call_id = await self.make_call(external_key=str(self.wall.seconds()))
            self.has_channel(call_id)
            self.write(["x\n"])
            self.wall.set(by)
            await self.minutes(3)
            self.assertEqual(await self.kept(), kept)
            self.hear("Hangup", Cause="17", **self.anchor(call_id))
            self.write(["y\n"])
            await self.minutes(1)
            self.wall.set(by)
            await self.minutes(2)
            self.assertEqual(await self.kept(), kept + 4)
            self.write(["z\n"])
            self.wall.set(HOUR)
            await self.minutes(1)
            self.assertEqual(await self.kept(), kept + 4)
            await self.minutes(1)
            self.assertEqual(await self.kept(), kept + 6)

    async def test_many_places(self) -> None:
        """A call of many hours takes no more memory than one of a few."""
        self.patch(channel_log, "MOST_PLACES", 5)
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.write(["x\n"])
        await self.minutes(12)
        self.assertLess(len(self.channel_log._places), 7)
        self.assertEqual(await self.kept(), 0)

    async def test_not_kept(self) -> None:
        """A disk that takes nothing: said, and tried again."""
        await self.begin()
        self.write(["x\n"])
        await self.minutes(1)
        self.patch(self.log, "set_place", self.refuse)
        await self.minutes(1)
        self.assertIn("was not kept: full", self.warned[-1])

    async def refuse(self, name: str, body: bytes) -> None:
        """The disk is full."""
        raise JournalBroken("full")


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
        await journal.take_back_calls(kept, GAP)
        await journal.lose_places(int((self.clock.seconds() - seconds) * 1000))
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
        self.asterisk.variables["PJSIP/1000-1", labels.VARIABLE] = label
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
        self.assertEqual((0, 0), (len(self.live), self.live.untold))
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
            told = signals.Labelled(channel, channel, 1, of, phone, *words[1:])
            self.live.hear(told)
            self.assertEqual(0, len(self.live), told)

    async def test_most(self) -> None:
        """Of channels that never say what they are few are kept."""
        self.patch(unknown_calls, "MOST", 2)
        await self.begin()
        for number in range(5):
            name = self.anchor(70 + number)["Uniqueid"]
            self.live.hear(signals.Started(name, name, number, "PJSIP/1000-1"))
        self.assertEqual(2, len(self.live._unknown._started))


class HeldTests(GapCase):
    """What the session tells before the file has been read."""

    async def test_it_comes_after(self) -> None:
        """Nothing is told out of order: events wait until the older rows are told."""
        await self.begin()
        call_id = await self.make_call()
        anchor = self.anchor(call_id)
        self.write(self.rows("talk_client_hangs_up", call_id)[:5])
        self.catching_up.down()
        heard = partial(self.catching_up.heard, self.asterisk)
        heard(event("HangupRequest", **anchor))
        heard(event("Hangup", Cause="16", **anchor))
        heard(event("Hangup", Cause="16", Uniqueid="1795426488.361", Linkedid=anchor["Linkedid"]))
        heard(event("UserEvent", UserEvent="somebody's"))
        self.assertEqual((await self.states(call_id))[-1].state, State.CALL)
        await self.session_up()
        states = await self.states(call_id)
        self.assertEqual([told.state for told in states], TALK)
        self.assertIn("hung up by operator", states[-1].detail or "")

    async def test_afterwards_nothing_waits(self) -> None:
        """With the session up an event is given as it comes."""
        await self.begin()
        call_id = await self.make_call()
        name = {"Channel": "PJSIP/1000-1", **self.anchor(call_id)}
        self.catching_up.heard(self.asterisk, event("Newchannel", **name))
        self.assertEqual((await self.states(call_id))[-1].state, State.OPERATOR_CALLTO)

    async def test_too_many(self) -> None:
        """More than can be held: they are read from the file instead."""
        self.patch(catching_up, "MOST_HELD", 1)
        await self.begin()
        call_id = await self.make_call()
        anchor = self.anchor(call_id)
        self.catching_up.down()
        self.write(self.rows("talk_client_hangs_up", call_id))
        for name in ("1", "2", "3"):
            channel = {"Uniqueid": name, "Linkedid": name, "Channel": f"PJSIP/1001-{name}"}
            self.catching_up.heard(self.asterisk, event("Newchannel", **channel))
        self.catching_up.heard(self.asterisk, event("Hangup", Cause="17", **anchor))
        await self.session_up()
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)


class LookTests(GapCase):
    """What a look shows, and what the session tells of the same: only that has an order."""

    #: A client calls in; operator 1000 is busy, 1003 is rung.
    CLIENT = {"Uniqueid": "17.1", "Linkedid": "17.1", "Channel": "PJSIP/trunk-1"}
    FIRST = {"Uniqueid": "17.2", "Linkedid": "17.1", "Channel": "PJSIP/1000-2"}
    SECOND = {"Uniqueid": "17.3", "Linkedid": "17.1", "Channel": "PJSIP/1003-3"}
    CHAIN = [
        (State.CALL, None),
        (State.OPERATOR_CALLTO, "1000"),
        (State.OPERATOR_BUSY, "1000"),
        (State.OPERATOR_CALLTO, "1003"),
    ]

    def is_seen(self) -> None:
        """A look shows the client and the second operator."""
        waits = {"Context": "ccdaemon-incoming", "Application": "Dial", "ChannelState": "4"}
        rings = {"Context": "from-phones", "Application": "AppDial", "ChannelState": "5"}
        self.asterisk.channels += [
            event("CoreShowChannel", **self.CLIENT, **waits, CallerIDNum="380639920000"),
            event("CoreShowChannel", **self.SECOND, **rings),
        ]

    def tell(self) -> None:
        """The session tells of everything, in its order."""
        said = "UserEvent"
        words = {"Phone": "380639920000", "Did": "380440000000"}
        self.tells(said, self.CLIENT, UserEvent="ccdaemon-incoming", **words)
        self.tells(said, self.CLIENT, UserEvent="ccdaemon-ask", Sip="1000", Nr="1")
        self.tells("Newchannel", self.FIRST)
        self.tells("Hangup", self.FIRST, Cause="17")
        self.tells(said, self.CLIENT, UserEvent="ccdaemon-asked", DialStatus="BUSY", Nr="2")
        self.tells(said, self.CLIENT, UserEvent="ccdaemon-ask", Sip="1003", Nr="3")
        self.tells("Newchannel", self.SECOND)

    def tells(self, name: str, channel: dict[str, str], **words: str) -> None:
        """An event of a channel."""
        self.catching_up.heard(self.asterisk, event(name, **channel, **words))

    async def told(self) -> list[tuple[State, str | None]]:
        """The chain of the only call, with the operators of its states."""
        await self.wait_until(lambda: len(self.live.asked()) == 1)
        [call] = self.live.asked()
        return [(told.state, told.sip) for told in await self.states(call.call_id)]

    async def test_told_before_the_look(self) -> None:
        """A call that came while the log was read: one operator after the other."""
        self.is_seen()
        await self.channel_log.begin()
        self.tell()
        await self.session_up()
        self.assertEqual(await self.told(), self.CHAIN)

    async def test_told_a_moment_after_the_look(self) -> None:
        """The list overtakes what the session has still to tell."""
        self.is_seen()
        await self.channel_log.begin()
        self.addCleanup(self.catching_up.down)
        coming = Deferred.fromCoroutine(self.catching_up.up(self.asterisk))
        await self.turns()
        self.assertNoResult(coming)
        self.tell()
        self.clock.advance(TOLD_WITHIN)
        await coming
        self.assertEqual(await self.told(), self.CHAIN)

    async def test_told_a_moment_after_a_look_while_the_session_stands(self) -> None:
        """The look of each minute, too."""
        await self.begin()
        await self.make_call()
        self.is_seen()
        self.clock.advance(LOOK_EVERY)
        await self.turns()
        self.tell()
        await self.wait_for_the_log()
        call_id = self.live.of_operator("1003")
        assert call_id is not None
        states = await self.states(call_id)
        self.assertEqual([(told.state, told.sip) for told in states], self.CHAIN)

    async def test_not_told(self) -> None:
        """What the session does not tell is told as far as it is seen."""
        self.is_seen()
        await self.begin()
        expected = [(State.CALL, None), (State.OPERATOR_CALLTO, "1003")]
        self.assertEqual(await self.told(), expected)

    async def test_the_session_ends_meanwhile(self) -> None:
        """Nothing is made of a look whose session is over."""
        await self.begin()
        call_id = await self.make_call()
        self.clock.advance(LOOK_EVERY)
        await self.turns()
        self.catching_up.down()
        self.tells("Hangup", {**self.anchor(call_id)}, Cause="17")
        await self.wait_for_the_log()
        self.assertEqual((await self.states(call_id))[-1].state, State.CALL)


class BootTests(GapCase):
    """Asterisk was started anew meanwhile, and has written nothing of its end."""

    async def died(self, name: str, rows: int) -> StateTold:
        """How a call ends of which so many rows were written."""
        await self.begin()
        call_id = await self.make_call()
        self.write(self.rows(name, call_id)[:rows])
        other = await self.make_call(sip="1003", external_key="other")
        self.write(self.rows(name, other, after=60.0)[:1])
        self.clock.advance(600)
        self.catching_up.down()
        gone = self.clock.seconds()
        self.clock.advance(5)
        await self.session_up(booted_at=self.clock.seconds() - 3)
        await self.wait_for_the_log()
        told = (await self.states(call_id))[-1]
        self.assertIn("Asterisk was started anew", told.detail or "")
        self.assertEqual(told.date, gone * 1000)
        return told

    async def test_they_talked(self) -> None:
        """FINISH, when the old Asterisk was heard of last."""
        self.assertEqual((await self.died("talk_client_hangs_up", 7)).state, State.FINISH)

    async def test_they_did_not(self) -> None:
        """ERROR."""
        self.assertEqual((await self.died("talk_client_hangs_up", 3)).state, State.ERROR)

    async def test_the_daemon_was_away_too(self) -> None:
        """The last row of any call is the last sign of the old Asterisk."""
        await self.begin()
        call_id = await self.make_call()
        began = self.clock.seconds()
        self.write(self.rows("talk_client_hangs_up", call_id)[:7])
        self.write(self.rows("talk_client_hangs_up", 77, after=60.0)[:1])
        self.catching_up.down()
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.channel_log.begin()
        self.clock.advance(600)
        await self.session_up(booted_at=self.clock.seconds() - 100)
        await self.wait_for_the_log()
        told = (await self.states(call_id))[-1]
        self.assertEqual((told.state, told.date), (State.FINISH, (began + 60) * 1000))


class SetClockTests(GapCase):
    """The clock on the wall is set while a call is up."""

    async def test_asterisk_was_not_started_anew(self) -> None:
        """Whichever of both counts by the clock that is set, the call is looked for as ever."""
        for by in (HOUR, -HOUR):
            # Asterisk on another machine counts its uptime as it did; on the same it does not.
            for more in (0, by):
                booted_at = self.clock.seconds() - 100
                await self.begin_with(booted_at)
                call_id = await self.make_call(external_key=f"{by} {more}")
                self.catching_up.down()
                self.wall.set(by)
                await self.session_up(booted_at - more)
                await self.wait_for_the_log()
                told = (await self.states(call_id))[-1]
                self.assertIn("Asterisk no longer has the channel", told.detail or "")
                self.catching_up.down()

    async def test_a_call_that_began_before_its_asterisk(self) -> None:
        """It did by the dates of a clock that was put back, and is looked for all the same."""
        booted_at = self.clock.seconds() - 100
        await self.begin_with(booted_at)
        self.wall.set(-HOUR)
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.clock.advance(HOUR)
        await self.wait_for_the_log()
        self.catching_up.down()
        self.asterisk.channels.clear()
        # Asterisk counts by the same clock, so it seems to run for an hour less.
        await self.session_up(booted_at + HOUR)
        await self.wait_for_the_log()
        told = (await self.states(call_id))[-1]
        self.assertIn("Asterisk no longer has the channel", told.detail or "")

    async def begin_with(self, booted_at: float) -> None:
        """A session with an Asterisk that was started at a moment."""
        await self.start(self.log, parse(CONFIG))
        await self.channel_log.begin()
        await self.session_up(booted_at)
        await self.wait_for_the_log()

    async def test_what_was_written_late(self) -> None:
        """After a restart the end of a call counts, whatever the dates of boot and call say."""
        await self.begin()
        call_id = await self.make_call()
        self.catching_up.down()
        self.wall.set(HOUR)
        await self.start(self.log, parse(CONFIG))
        self.live.restore(await self.log.open_calls())
        await self.channel_log.begin()
        await self.session_up(booted_at=self.clock.seconds() - 100)
        self.write(self.rows("talk_client_hangs_up", call_id))
        await self.wait_for_the_log()
        told = await self.states(call_id)
        self.assertEqual([one.state for one in told], TALK)
        self.assertNotIn("anew", told[-1].detail or "")


class UntoldTests(GapCase):
    """A call that began while the journal took nothing."""

    async def test_told_afterwards(self) -> None:
        """Once it takes something again the call is told, as it was; and once."""
        await self.begin()
        began = self.clock.seconds()
        self.patch(self.log, "append", lambda facts: fail(JournalBroken("full")))
        words = {"UserEvent": "ccdaemon-incoming", "Phone": "380639920000", "Did": "380440000000"}
        ids = {"Uniqueid": "17.1", "Linkedid": "17.1", "Channel": "PJSIP/trunk-1"}
        self.catching_up.heard(self.asterisk, event("UserEvent", **words, **ids))
        await self.turns()
        self.assertEqual((self.live.untold, len(self.live)), (1, 0))
        self.write(self.a_call_in())
        self.patch(self.log, "_broken", "full")
        await self.minutes(2)
        self.assertEqual(await self.told(), [])
        self.patch(self.log, "_broken", None)
        self.patch(self.log, "append", type(self.log).append.__get__(self.log))
        for _ in range(3):
            self.clock.advance(TELL_EVERY)
            await self.turns()
        told = await self.told()
        states = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP, State.FINISH]
        self.assertEqual([one.state for one in told], states)
        dates = [round(one.date / 1000 - began, 3) for one in told]
        self.assertEqual(dates, [1.0, 1.1, 2.0, 9.0])

    async def told(self) -> list[StateTold]:
        """All states that the journal has."""
        facts = [event.fact for event in await self.log.after(0, 100)]
        return [fact.state for fact in facts if isinstance(fact, StateFact)]


class TroubleTests(GapCase):
    """A file that cannot be read, and a journal that cannot be written."""

    async def test_not_there(self) -> None:
        """Said once; a call that is gone is lost, as far as the channels tell."""
        await self.begin()
        call_id = await self.make_call()
        await self.minutes(3)
        self.assertEqual((await self.states(call_id))[-1].state, State.ERROR)
        self.assertEqual(len(self.warned), 1)
        self.assertIn("Master.csv: is not there", self.warned[0])

    async def test_not_readable(self) -> None:
        """The same; once it can be read it is read from then on."""
        self.cel_file.mkdir()
        await self.begin()
        call_id = await self.make_call()
        await self.minutes(2)
        self.assertEqual((await self.states(call_id))[-1].state, State.ERROR)
        self.assertEqual(len(self.warned), 1)
        self.assertIn("cannot be read", self.warned[0])
        self.cel_file.rmdir()
        self.write(["old\n"])
        self.catching_up.down()
        await self.session_up()
        call_id = await self.make_call(external_key="25")
        self.write(self.rows("talk_client_hangs_up", call_id))
        await self.begin_again()
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    async def test_other_columns(self) -> None:
        """Rows that are not ours are counted and said."""
        await self.begin()
        self.write(["1,2,3\n", "4,5,6\n"])
        self.catching_up.down()
        await self.session_up()
        self.assertIn("2 of 2 lines have not the columns", self.warned[-1])

    async def test_turned_twice_and_compressed(self) -> None:
        """A part that is gone is said to be gone."""
        self.write(["1\n"])
        await self.begin()
        self.cel_file.unlink()
        self.write(["2, and more\n"])
        self.catching_up.down()
        await self.session_up()
        self.assertTrue(any("is gone" in line for line in self.warned), self.warned)

    async def test_a_dead_file_system(self) -> None:
        """The session does not wait for it, and no second thread is lost to it."""
        await self.begin()
        self.write(["1,2,3\n"])
        waiting = threading.Event()
        self.addCleanup(waiting.set)
        self.patch(channel_log, "_read", lambda *_: waiting.wait(20))
        self.channel_log._run = deferToThread
        self.catching_up.down()
        coming = Deferred.fromCoroutine(self.session_up())
        await self.turns()
        self.assertNoResult(coming)
        self.clock.advance(READ_TIMEOUT)
        await coming
        self.assertIn("takes too long", self.warned[-1])
        await self.wait_for_the_log()
        self.assertIn("is still being read", self.warned[-1])
        waiting.set()

    async def test_a_journal_that_takes_nothing(self) -> None:
        """What is read could not be kept: the session has to come again."""
        self.patch(channel_log, "MOST_WAITING", -1)
        await self.channel_log.begin()
        await self.fails(self.session_up(), CannotCatchUp)

    async def test_progress(self) -> None:
        """A long reading says how far it is."""
        await self.begin()
        self.write(["x" * 1000 + "\n"] * 2000)
        self.catching_up.down()
        self.channel_log._run = self.slowly
        await self.session_up()
        self.assertTrue(any("2 MB left to read" in line for line in self.warned), self.warned)

    def slowly(self, function: Any, *args: Any) -> Deferred[Any]:
        """Time passes with every piece."""
        self.clock.advance(channel_log.PROGRESS + 1)
        return maybeDeferred(function, *args)

    async def test_a_look_that_fails(self) -> None:
        """While the late rows are waited for the link goes: it is said, and nothing is lost."""
        await self.begin()
        call_id = await self.make_call()
        self.catching_up.down()
        await self.session_up()
        self.asterisk.trouble = TimeoutError()
        await self.wait_for_the_log()
        self.assertEqual((await self.states(call_id))[-1].state, State.CALL)
        self.flushLoggedErrors(TimeoutError)
