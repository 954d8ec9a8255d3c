"""Catching up after a gap: what is told, in which order, and with which dates."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.threads import deferToThread

from ccdaemon.calls.model import State, StateChange
from ccdaemon.config import parse
from ccdaemon.store.facts import StateFact
from ccdaemon.store.failures import JournalBroken
from ccdaemon.tracking import cel_reader, resync
from ccdaemon.tracking.cel_reader import READ_TIMEOUT, CannotResync
from ccdaemon.tracking.resync import LOOK_EVERY, TELL_EVERY, TOLD_WITHIN
from tests.clocks import HOUR
from tests.fake_asterisk import event
from tests.gap_case import TALK, TALK_ENDS, GapCase
from tests.switchboard.test_switchboard import CONFIG


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


class ForgedTests(GapCase):
    """Ends of a talk that nothing bears out."""

    async def test_a_talk_goes_on(self) -> None:
        """A hangup alone ends no talk while Asterisk has the channel, and does once it has not."""
        await self.begin()
        call_id = await self.make_call()
        operator, client = self.anchor(call_id), {**self.anchor(call_id), "Uniqueid": "17.2"}
        names = {"Channel": "PJSIP/1000-1"}, {"Channel": "PJSIP/trunk-2"}
        channels = {**operator, **names[0]}, {**client, **names[1]}
        self.tells("Newchannel", channels[0])
        self.tells("Newstate", channels[0], ChannelState="6")
        self.tells("UserEvent", channels[0], UserEvent="ccdaemon-dial", Leg="client")
        self.tells("Newchannel", channels[1])
        self.tells("Newstate", channels[1], ChannelState="6")
        for channel in channels:
            self.tells("BridgeEnter", channel, BridgeUniqueid="b")
        for channel in channels:
            self.tells("Hangup", channel, Cause="16")
        await self.wait_for_the_log()
        states = [told.state for told in await self.states(call_id)]
        self.assertEqual(states[-1], State.CLIENT_PICKUP)
        self.asterisk.gone.update(channel["Uniqueid"] for channel in channels)
        for channel in channels:
            self.tells("Hangup", channel, Cause="16")
        self.assertEqual([told.state for told in await self.states(call_id)], TALK)

    def tells(self, name: str, channel: dict[str, str], **words: str) -> None:
        """An event of a channel."""
        self.catching_up.heard(self.asterisk, event(name, **channel, **words))


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
        self.patch(resync, "MOST_HELD", 1)
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

    async def died(self, name: str, rows: int) -> StateChange:
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

    CLIENT = {"Uniqueid": "17.1", "Linkedid": "17.1", "Channel": "PJSIP/trunk-1"}
    OPERATOR = {"Uniqueid": "17.2", "Linkedid": "17.1", "Channel": "PJSIP/1000-2"}

    async def test_bridges_were_told_meanwhile(self) -> None:
        """Whom they talked with is told, though the session has told of the bridges before."""
        self.assertEqual(await self.untold(ended=True), [*self.TALK, State.FINISH])

    async def test_they_talk_still(self) -> None:
        """And of a talk that goes on, of which the session tells the end."""
        self.assertEqual(await self.untold(ended=False), self.TALK)
        for channel in (self.CLIENT, self.OPERATOR):
            self.tells("Hangup", channel, Cause="16")
        await self.wait_for_the_log()
        states = [told.state for told in await self.told()]
        self.assertEqual(states, [*self.TALK, State.FINISH])

    TALK = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP]

    async def untold(self, *, ended: bool) -> list[State]:
        """What is told of a call of which the session has told everything in vain."""
        await self.begin()
        append = self.log.append
        rows = self.a_call_in()
        bridged = [
            self.row("BRIDGE_ENTER", 2.5, *one, '{"bridge_id":"b"}')
            for one in (("17.1", "PJSIP/trunk-1"), ("17.2", "PJSIP/1000-2"))
        ]
        self.patch(self.log, "append", lambda facts: fail(JournalBroken("full")))
        self.tells("Newchannel", self.CLIENT)
        words = {"Phone": "380639920000", "Did": "380440000000"}
        self.tells("UserEvent", self.CLIENT, UserEvent="ccdaemon-incoming", **words)
        await self.turns()
        self.tells("Newchannel", self.OPERATOR)
        self.clock.advance(4)
        for channel in (self.CLIENT, self.OPERATOR):
            self.tells("BridgeEnter", channel, BridgeUniqueid="b")
        self.asterisk.gone.update({"17.1", "17.2"})
        for channel in (self.CLIENT, self.OPERATOR) if ended else ():
            self.tells("BridgeLeave", channel, BridgeUniqueid="b")
            self.tells("Hangup", channel, Cause="16")
        self.assertEqual((self.live.unrecorded, len(self.live)), (1, 0))
        self.write([*rows[:6], *bridged, *(rows[6:] if ended else [])])
        self.patch(self.log, "append", append)
        for _ in range(3):
            self.clock.advance(TELL_EVERY)
            await self.turns()
        return [told.state for told in await self.told()]

    def tells(self, name: str, channel: dict[str, str], **words: str) -> None:
        """An event of a channel."""
        self.catching_up.heard(self.asterisk, event(name, **channel, **words))

    async def test_told_afterwards(self) -> None:
        """Once it takes something again the call is told, as it was; and once."""
        await self.begin()
        began = self.clock.seconds()
        self.patch(self.log, "append", lambda facts: fail(JournalBroken("full")))
        words = {"UserEvent": "ccdaemon-incoming", "Phone": "380639920000", "Did": "380440000000"}
        ids = {"Uniqueid": "17.1", "Linkedid": "17.1", "Channel": "PJSIP/trunk-1"}
        self.catching_up.heard(self.asterisk, event("UserEvent", **words, **ids))
        await self.turns()
        self.assertEqual((self.live.unrecorded, len(self.live)), (1, 0))
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

    async def told(self) -> list[StateChange]:
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
        self.assertIn("2 of 2 lines are no rows", self.warned[-1])

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
        self.patch(cel_reader, "_read", lambda *_: waiting.wait(20))
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
        self.patch(cel_reader, "MOST_WAITING", -1)
        await self.channel_log.begin()
        await self.fails(self.session_up(), CannotResync)

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
        self.clock.advance(cel_reader.PROGRESS + 1)
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
