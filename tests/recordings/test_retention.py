"""What is kept no longer: on a real journal, a real Postgres and real files."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Action, CallView, Direction, Record, State
from ccdaemon.clocks import WallClock
from ccdaemon.config.retention import RetentionSettings as Days
from ccdaemon.errors import Code, Refused
from ccdaemon.numbers import Numbers
from ccdaemon.recordings import retention as retention_module
from ccdaemon.recordings.mp3 import Mp3Cache
from ccdaemon.recordings.recordings import relative_path
from ccdaemon.recordings.removal import RecordingFiles
from ccdaemon.recordings.retention import DAY, EVERY, FIRST, LastTime, Removed, Retention
from ccdaemon.store.facts import ActionFact, RecordFact
from ccdaemon.store.failures import CallKnown, JournalFull
from ccdaemon.store.journal import Journal
from ccdaemon.store.journal_file import NAME
from ccdaemon.store.postgres import DatabaseDown
from ccdaemon.store.records import Filter
from ccdaemon.store.removals import Removals
from ccdaemon.switchboard.playback_log import MOST, SAME, PlaybackLog
from tests.clocks import HOUR, Wall
from tests.store.history_parts import ALL, Daemon, HistoryCase
from tests.store.parts import NOON, chain, change, view
from tests.store.test_history import forget

NOW = NOON + 100 * DAY


class Later(WallClock):
    """The reactor's timers, in another time."""

    def seconds(self) -> float:
        """A hundred days after ``NOON``."""
        return NOW / 1000


class RetentionCase(HistoryCase):
    """A history with recordings as files; it is a hundred days after ``NOON``."""

    def setUp(self) -> None:
        """Remove little at once, without a pause."""
        super().setUp()
        self.patch(retention_module, "BATCH", 3)
        self.patch(retention_module, "PAUSE", 0.0)
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.mp3 = Path(self.mktemp()).absolute()
        self.mp3.mkdir()

    async def start(self, recordings_days: int = 0, history_days: int = 0) -> None:
        """Have a daemon."""
        self.daemon_: Daemon = await self.ready()
        self.history = self.daemon_.history
        removals = Removals(self.daemon_.journal, self.daemon_.database, self.daemon_.barrier)
        in_thread: Any = deferToThread
        files = RecordingFiles(self.root, in_thread, Mp3Cache(self.mp3, in_thread))
        days = Days(recordings_days=recordings_days, history_days=history_days)
        self.elsewhere: list[int] = []

        async def forget_sent(calls: Sequence[int]) -> None:
            self.elsewhere += calls

        self.unrecorded: list[int] = []
        unrecord = self.unrecorded.extend
        self.retention = Retention(
            days, removals, files, forget_sent, unrecord, Later(reactor), Numbers("ua")
        )
        self.files = files

    async def add(self, call_id: int, age: int, **changes: Any) -> Path:
        """A call of so many days ago with its recording; the file."""
        date = NOW - age * DAY
        name = f"cc-abcdef-{call_id}-o"
        path = relative_path(name, date)
        record = RecordFact(Record(call_id, name, path, "wav", 4, 1.0, date + 6000))
        call = view(call_id, date=date, **changes)
        await self.daemon_.journal.append([*chain(call), record])
        return self.file(path)

    def file(self, path: str) -> Path:
        """Make a recording's file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"RIFF")
        (self.mp3 / f"{file.stem}.mp3").write_bytes(b"mp3")
        return file

    def names(self) -> set[str]:
        """The calls whose files are there, wav and mp3 alike."""
        wavs = {file.stem for file in self.root.rglob("*.wav")}
        self.assertEqual(wavs, {file.stem for file in self.mp3.iterdir()})
        return {name.split("-")[2] for name in wavs}

    async def calls(self) -> list[int]:
        """The calls that there are."""
        rows = (await self.history.states_page(1, 1000, ALL)).rows
        return sorted({row.state.call_id for row in rows})

    async def records(self) -> list[int]:
        """The calls with recordings."""
        rows = (await self.history.records_page(1, 1000, ALL)).rows
        return sorted(row.call.call_id for row in rows)


class DueTests(RetentionCase):
    """By age."""

    async def test_recordings(self) -> None:
        """Old recordings go with their files, wav and mp3, and the folders; calls stay."""
        await self.start(recordings_days=30)
        for call_id, age in enumerate([90, 80, 70, 60, 50, 31, 29, 1], 1):
            await self.add(call_id, age)
        await self.daemon_.shipped()
        await self.retention.remove_due()
        self.assertEqual(self.names(), {"7", "8"})
        self.assertEqual([7, 8], await self.records())
        self.assertEqual([1, 2, 3, 4, 5, 6, 7, 8], await self.calls())
        self.assertEqual(self.retention.removed, Removed(recordings=6))
        self.assertEqual(len([one for one in self.root.rglob("*") if one.is_dir()]), 5)
        await self.retention.remove_due()
        self.assertEqual(self.retention.removed.recordings, 6)

    async def test_history(self) -> None:
        """Old calls go with all that is known of them; nobody's last row goes."""
        await self.start(history_days=30)
        journal = self.daemon_.journal
        for call_id, age in enumerate([90, 80, 70, 60, 31, 29], 1):
            await self.add(call_id, age)
        inbound = view(7, date=NOW - 40 * DAY, direction=Direction.INBOUND, external_key=None)
        await journal.append(chain(inbound, (State.CALL, State.CLIENT_CANCEL)))
        await journal.append(chain(view(8, date=NOW - 95 * DAY))[:2])
        await journal.append(
            [ActionFact(Action(1, NOW - 89 * DAY, "setResult", "crm", result="x"))]
        )
        old = [change("1000", date=NOW - n * DAY) for n in range(99, 30, -10)]
        await journal.append([*old, change("1001", date=NOW - 99 * DAY)])
        self.assertEqual(1, (await self.history.missed_page(1, 1, ALL)).total)
        await forget(self.daemon_)
        await self.retention.remove_due()
        self.assertEqual([6, 8], await self.calls())
        self.assertEqual([1, 2, 3, 4, 5, 7], sorted(self.elsewhere))
        self.assertEqual(self.names(), {"6"})
        self.assertEqual([6], await self.records())
        self.assertEqual(0, (await self.history.missed_page(1, 1, ALL)).total)
        rows = (await self.history.operator_page(1, 50, ALL)).rows
        self.assertEqual(["1000", "1001"], sorted(row.change.sip for row in rows))
        self.assertEqual([(0,)], self.sql("SELECT count(*) FROM action"))
        self.assertEqual(Removed(calls=6, recordings=5, operator_changes=6), self.retention.removed)
        self.assertEqual([], self.sql("SELECT * FROM tally WHERE n < 0"))

    async def test_keys_stay_used(self) -> None:
        """A new journal knows the keys of calls that were removed."""
        await self.start(history_days=30)
        await self.add(1, 90, external_key="spent")
        await self.add(2, 1)
        await self.daemon_.shipped()
        await self.retention.remove_due()
        await self.daemon_.stop()
        other = await self.ready(self.folder())
        self.assertEqual(1, await other.journal.find_key("spent"))
        self.assertEqual(2, await other.journal.find_key("key-2"))

    async def test_nothing_by_default(self) -> None:
        """Without days everything stays, for ever."""
        await self.start()
        await self.add(1, 90)
        await self.daemon_.shipped()
        await self.retention.remove_due()
        self.assertEqual(([1], [1]), (await self.calls(), await self.records()))

    async def test_files_that_nobody_names(self) -> None:
        """What lies in the folders of old days goes; nothing else is touched."""
        await self.start(recordings_days=30)
        gone = self.file(relative_path("cc-abcdef-9-o", NOW - 60 * DAY))
        (self.mp3 / f"{gone.stem}.mp3").unlink()
        outside = Path(self.mktemp()).absolute()
        outside.write_bytes(b"not ours")
        link = gone.parent / "link.wav"
        link.symlink_to(outside)
        stays = [
            self.file(relative_path("cc-abcdef-10-o", NOW - 31 * DAY)),
            self.root / "1999" / "note.txt",
            self.root / "music" / "01" / "01" / "song.wav",
            self.root / "1999" / "99" / "99" / "x.wav",
            gone.parent / "note.txt",
        ]
        for file in stays[1:]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"x")
        await self.retention.remove_due()
        self.assertFalse(gone.exists())
        self.assertTrue(outside.exists())
        for file in stays:
            self.assertTrue(file.exists(), file)
        self.assertEqual(self.retention.removed.unnamed_files, 1)

    async def test_a_recording_that_is_not_registered_yet(self) -> None:
        """Its file goes, too, and nobody waits for it any more."""
        await self.start()
        name = "cc-abcdef-1-o"
        path = relative_path(name, NOW - DAY)
        call = view(1, date=NOW - DAY, order_id="15", anchor=name, answered=NOW - DAY + 4000)
        await self.daemon_.journal.append(chain(call))
        file = self.file(path)
        await self.retention.forget_order("15", "crm")
        self.assertEqual(([1], False), (self.unrecorded, file.exists()))
        self.assertEqual([], await self.calls())

    async def test_a_file_that_cannot_be_removed(self) -> None:
        """Its row and its call stay, the others go, and it comes to an end."""
        await self.start(history_days=30)
        for call_id in (1, 2):
            await self.add(call_id, 90 - call_id)
        stuck = self.root / relative_path("cc-abcdef-1-o", NOW - 89 * DAY)
        stuck.unlink()
        stuck.mkdir()
        (stuck / "x").touch()
        await self.daemon_.shipped()
        await forget(self.daemon_)
        last = await self.run_by_itself()
        self.assertEqual(([1], [1]), (await self.calls(), await self.records()))
        self.assertEqual(last, LastTime(NOW, "1 recordings cannot be removed"))
        (stuck / "x").unlink()
        stuck.rmdir()
        self.assertEqual(await self.run_by_itself(), LastTime(NOW, None))
        self.assertEqual(([], []), (await self.calls(), await self.records()))

    async def test_many_files_that_cannot_be_removed(self) -> None:
        """More than go at once keep nothing behind them from being removed."""
        await self.start(recordings_days=30, history_days=60)
        for call_id in range(1, 11):
            file = await self.add(call_id, 95 - call_id if call_id < 8 else 45 - call_id)
            if call_id not in (7, 10):
                file.unlink()
                (file / "x").mkdir(parents=True)
        await self.daemon_.shipped()
        await forget(self.daemon_)
        last = await self.run_by_itself()
        self.assertEqual(last.trouble, "8 recordings cannot be removed")
        stuck = [1, 2, 3, 4, 5, 6, 8, 9]
        self.assertEqual((await self.calls(), await self.records()), ([*stuck, 10], stuck))

    async def run_by_itself(self) -> LastTime:
        """Have it begin as it does after the daemon's start; what is told of it."""
        self.patch(retention_module, "FIRST", 0.0)
        self.retention.last = None
        self.retention.startService()
        while self.retention.last is None:
            await deferLater(reactor, 0.01)
        self.retention.stopService()
        return self.retention.last

    async def test_a_path_that_leads_out(self) -> None:
        """No row can have a file removed that lies elsewhere."""
        await self.start(recordings_days=30)
        outside = self.root.parent / "outside.wav"
        outside.write_bytes(b"x")
        self.addCleanup(outside.unlink)
        left = await self.files.remove([("a", "../outside.wav"), ("b", "nowhere/x.wav")])
        self.assertEqual(left, {"../outside.wav"})
        self.assertTrue(outside.exists())


class ForgetTests(RetentionCase):
    """When asked for."""

    async def test_an_order(self) -> None:
        """Nothing of it is left: lists, calls, keys' calls, files, the journal's file."""
        await self.start()
        for call_id in range(1, 9):
            order = "secret-order" if call_id % 2 else "other"
            await self.add(call_id, 1, order_id=order, note=f"secret-note-{call_id % 2}")
        self.assertEqual(4, len(await self.history.order_chains("secret-order", ALL)))
        done = await self.retention.forget_order("secret-order", "crm")
        self.assertEqual((4, 4), (done.calls, done.recordings))
        self.assertEqual([1, 3, 5, 7], self.elsewhere)
        self.assertEqual([2, 4, 6, 8], await self.calls())
        self.assertEqual([2, 4, 6, 8], await self.records())
        self.assertEqual(self.names(), {"2", "4", "6", "8"})
        self.assertEqual([], await self.history.order_chains("secret-order", ALL))
        self.assertIsNone(await self.history.call(1))
        self.assertIsNone(await self.history.by_key("key-1"))
        self.assertEqual(1, await self.daemon_.journal.find_key("key-1"))
        rows, _ = await self.history.states_after("0", 1000, ALL)
        self.assertEqual({2, 4, 6, 8}, {row.state.call_id for row in rows})
        await self.daemon_.shipped()
        self.assertEqual(
            [(1, "forgetOrder", "crm", None)],
            self.sql("SELECT call_id, action, by, order_id FROM action WHERE call_id = 1"),
        )
        db = sqlite3.connect(self.state_dir / NAME)
        (found,) = db.execute(
            "SELECT count(*) FROM event WHERE body LIKE '%secret-order%'"
        ).fetchone()
        self.assertEqual(0, found)
        db.close()
        again = await self.retention.forget_order("secret-order", "crm")
        self.assertEqual((0, 0), (again.calls, again.recordings))

    async def test_a_phone(self) -> None:
        """All calls with it, in every spelling that was kept; nobody else's, and no live one."""
        await self.start()
        spelled = ("380671234567", "0671234567", "00380671234567", "671234567")
        others = ("380671234568", "48671234567", "1234567")
        for call_id, phone in enumerate((*spelled, *others), 1):
            await self.add(call_id, 1, phone=phone)
        asked = Numbers("ua").read("+38 (067) 123-45-67")
        assert asked is not None
        live = chain(view(9, phone=spelled[0]))
        await self.daemon_.journal.append(live[:3])
        error = await self.fails(self.retention.forget_phone(asked, "crm"), Refused)
        self.assertEqual((Code.WRONG_STATE, 9, "phone"), (error.code, error.call_id, error.field))
        await self.daemon_.journal.append(live[3:])
        done = await self.retention.forget_phone(asked, "crm")
        self.assertEqual((5, 4), (done.calls, done.recordings))
        self.assertEqual([5, 6, 7], await self.calls())
        self.assertEqual(self.names(), {"5", "6", "7"})
        self.assertEqual([], self.written('"phone":"0671234567"'))
        again = await self.retention.forget_phone(asked, "crm")
        self.assertEqual((0, 0), (again.calls, again.recordings))

    async def forgotten(self) -> CallView:
        """A call that began on a channel, and was forgotten."""
        await self.start()
        await self.add(1, 1, order_id="15", external_key=None, anchor="1796000000.12")
        await self.retention.forget_order("15", "crm")
        return view(2, date=NOW, order_id=None, external_key=None, anchor="1796000000.12")

    async def comes_back(self, journal: Journal, call: CallView) -> bool:
        """Read its channel out of the log once more: whether that opens a call."""
        try:
            await journal.append(chain(call)[:1])
        except CallKnown as error:
            self.assertEqual(1, error.call_id)
            return False
        return True

    async def test_it_does_not_come_back(self) -> None:
        """What is read of it again opens no call, after a restart and without the journal, too."""
        call = await self.forgotten()
        self.assertFalse(await self.comes_back(self.daemon_.journal, call))
        await self.daemon_.shipped()
        await self.daemon_.stop()
        again = await self.ready()
        self.assertFalse(await self.comes_back(again.journal, call))
        await again.stop()
        anew = await self.ready(self.folder())
        await anew.barrier.when_asked()
        self.assertFalse(await self.comes_back(anew.journal, call))
        other = replace(call, call_id=3, anchor="1796000000.13")
        self.assertTrue(await self.comes_back(anew.journal, other))

    async def test_who_listened_stays(self) -> None:
        """When, and to which call, but nothing of the person; nothing else that was done stays."""
        await self.start()
        await self.add(1, 1, order_id="15")
        played = Action(1, NOW, "playRecord", "crm", detail="380639920000-1.2")
        spied = Action(1, NOW + 1, "listen", "crm", sip="1001", phone="380639920000")
        said = Action(1, NOW + 2, "setResult", "crm", result="rude", note="Olena")
        await self.daemon_.journal.append([ActionFact(one) for one in (played, spied, said)])
        await self.retention.forget_order("15", "crm")
        await self.daemon_.shipped()
        rows = [row.action for row in (await self.history.listened_page(1, 10, ALL)).rows]
        self.assertEqual(
            [replace(spied, phone=None), replace(played, detail=None)],
            rows,
        )
        self.assertEqual(
            [("forgetOrder",), ("listen",), ("playRecord",)],
            self.sql("SELECT action FROM action WHERE call_id = 1 ORDER BY action"),
        )

    async def test_in_no_file(self) -> None:
        """Not in the journal's log either, while it is open, nor of what was forgotten before."""
        await self.start()
        await self.add(1, 1, order_id="15", phone="380631112233")
        await self.add(2, 1, order_id="16", phone="380634445566")
        self.assertTrue(self.written("380631112233"))
        # As much as the writer's log keeps of one that went by itself before.
        await forget(self.daemon_)
        await self.retention.forget_order("15", "crm")
        self.assertEqual([], self.written("380631112233"))
        self.assertEqual([], self.written("380634445566"))

    def written(self, text: str) -> list[str]:
        """The files of the daemon that hold a text."""
        files = [file for file in self.state_dir.rglob("*") if file.is_file()]
        return [file.name for file in files if text.encode() in file.read_bytes()]

    async def test_event_ids_are_not_given_again(self) -> None:
        """Although the newest events were removed, what comes is numbered above them."""
        await self.start()
        await self.add(1, 1, order_id="15")
        head = self.daemon_.journal.high_watermark
        await self.retention.forget_order("15", "crm")
        (event_id,) = await self.daemon_.journal.append([change("1000")])
        self.assertGreater(event_id, head)
        await self.daemon_.shipped()
        self.assertEqual(0, self.daemon_.shipper.health.dead_letters)

    async def test_while_a_call_goes_on(self) -> None:
        """It is refused, and nothing is removed."""
        await self.start()
        await self.add(1, 1, order_id="15")
        await self.daemon_.journal.append(chain(view(2, order_id="15"))[:3])
        error = await self.fails(self.retention.forget_order("15", "crm"), Refused)
        self.assertEqual((Code.WRONG_STATE, 2), (error.code, error.call_id))
        self.assertEqual([1, 2], await self.calls())

    async def test_a_call_that_was_moved_to_another_order(self) -> None:
        """What is under another order now stays."""
        await self.start()
        await self.add(1, 1, order_id="15")
        moved = Action(1, NOW, "attachOrder", "crm", order_id="16")
        await self.daemon_.journal.append([ActionFact(moved)])
        done = await self.retention.forget_order("15", "crm")
        self.assertEqual(0, done.calls)
        self.assertEqual(1, len(await self.history.order_chains("16", ALL)))

    async def test_while_postgres_is_away(self) -> None:
        """It is refused, and can be asked for again."""
        await self.start()
        await self.add(1, 1, order_id="15")
        await self.daemon_.shipper.stopService()
        await self.daemon_.database.stopService()
        error = await self.fails(self.retention.forget_order("15", "crm"), Refused)
        self.assertEqual(Code.HISTORY_UNAVAILABLE, error.code)

    async def test_a_file_that_cannot_be_removed(self) -> None:
        """It is refused before anything of the call is removed."""
        await self.start()
        file = await self.add(1, 1, order_id="15")
        file.unlink()
        file.mkdir()
        (file / "x").touch()
        error = await self.fails(self.retention.forget_order("15", "crm"), Refused)
        self.assertEqual(Code.NOT_READY, error.code)
        self.assertEqual([1], await self.calls())


class LifeTests(SynchronousTestCase):
    """When it is done."""

    def started(self, days: Days) -> tuple[Retention, Clock, list[int]]:
        """A job, its clock, and a list that grows each time."""
        clock, ran = Clock(), list[int]()
        job = Retention(days, None, None, None, None, clock)  # type: ignore[arg-type]

        async def remove_due() -> None:
            ran.append(1)
            if len(ran) == 2:
                raise ValueError("a bug")
            if len(ran) == 4:
                raise DatabaseDown("away")

        self.patch(job, "remove_due", remove_due)
        job.startService()
        return job, clock, ran

    def test_every_hour(self) -> None:
        """A minute after the start, then each hour, whatever became of the last time."""
        job, clock, ran = self.started(Days(recordings_days=30))
        self.assertIsNone(job.last)
        clock.advance(FIRST)
        told = [job.last]
        for _ in range(3):
            clock.advance(EVERY)
            told.append(job.last)
        self.assertEqual(len(ran), 4)
        troubles = (None, "ValueError('a bug')", None, "away")
        moments = (int((FIRST + n * EVERY) * 1000) for n in range(4))
        self.assertEqual(told, list(map(LastTime, moments, troubles)))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        job.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_never(self) -> None:
        """Where everything is kept for ever there is nothing to do."""
        job, clock, _ = self.started(Days())
        self.assertEqual(clock.getDelayedCalls(), [])
        job.stopService()

    def test_broken_off(self) -> None:
        """Stopping ends what is under way."""
        job, clock, _ = self.started(Days(history_days=30))
        waiting: Deferred[None] = Deferred()

        async def remove_due() -> None:
            await waiting

        self.patch(job, "remove_due", remove_due)
        clock.advance(FIRST)
        job.stopService()
        self.assertTrue(waiting.called)
        self.assertEqual(clock.getDelayedCalls(), [])


class ListeningTests(SynchronousTestCase):
    """Who was sent which recording."""

    def setUp(self) -> None:
        """Keep what is noted."""
        self.clock = Clock()
        self.kept: list[Any] = []
        self.wall = Wall(self.clock)
        self.listening = PlaybackLog(self.append, self.clock, self.wall)

    def append(self, facts: Any) -> Deferred[list[int]]:
        """Keep facts."""
        self.kept += [fact.action for fact in facts]
        return succeed([1])

    def test_once_for_a_listening(self) -> None:
        """The pieces a player asks for are one; another client, file or time another."""
        for _ in range(3):
            self.listening.played(12, "cc-1", "crm")
        self.listening.played(12, "cc-1", "boss")
        self.listening.played(13, "cc-2", "crm")
        self.clock.advance(SAME)
        self.listening.played(12, "cc-1", "crm")
        self.assertEqual(
            [(one.call_id, one.by, one.detail, one.date) for one in self.kept],
            [
                (12, "crm", "cc-1", 0),
                (12, "boss", "cc-1", 0),
                (13, "crm", "cc-2", 0),
                (12, "crm", "cc-1", int(SAME * 1000)),
            ],
        )
        self.assertEqual({one.action for one in self.kept}, {"playRecord"})

    def test_a_clock_that_is_set(self) -> None:
        """What is one listening remains one; what is another has the wall's date."""
        for by in (HOUR, -HOUR, HOUR):
            self.listening.played(12, "cc-1", "crm")
            self.wall.set(by)
        self.clock.advance(SAME)
        self.listening.played(12, "cc-1", "crm")
        self.assertEqual([one.date for one in self.kept], [0, int((HOUR + SAME) * 1000)])

    def test_bounded(self) -> None:
        """So many are remembered at most."""
        for n in range(MOST + 10):
            self.listening.played(n, str(n), "crm")
        self.assertEqual(len(self.listening._noted), MOST)

    def test_what_cannot_be_kept(self) -> None:
        """It is said in the log; the recording is sent all the same."""

        def full(facts: Any) -> Deferred[list[int]]:
            failed: Deferred[list[int]] = Deferred()
            failed.errback(JournalFull("no room"))
            return failed

        PlaybackLog(full, self.clock, self.wall).played(12, "cc-1", "crm")


class ListenLogTests(RetentionCase):
    """The log out of Postgres."""

    async def test_newest_first(self) -> None:
        """Supervisors and clients, nobody else's actions; by call, supervisor and time."""
        await self.start()
        await self.add(1, 1)
        actions = [
            Action(1, NOW + n, what, "crm", sip=sip)
            for n, (what, sip) in enumerate(
                [("listen", "1900"), ("hold", None), ("barge", "1901"), ("playRecord", None)]
            )
        ]
        await self.daemon_.journal.append([ActionFact(one) for one in actions])
        await self.daemon_.journal.append([ActionFact(replace(actions[0], call_id=2))])

        async def log(filter: Filter) -> list[tuple[int, str]]:
            found = await self.history.listened_page(1, 50, filter)
            self.assertEqual(found.total, len(found.rows))
            return [(row.action.call_id, row.action.action) for row in found.rows]

        whole = await log(ALL)
        self.assertEqual(whole[:2], [(1, "playRecord"), (1, "barge")])
        self.assertEqual(sorted(whole[2:]), [(1, "listen"), (2, "listen")])
        self.assertEqual([(1, "barge")], await log(Filter(sip="1901")))
        self.assertEqual([(2, "listen")], await log(Filter(call_id=2)))
        self.assertEqual([(1, "playRecord")], await log(Filter(from_ms=NOW + 3)))

    async def test_the_call_of_a_recording(self) -> None:
        """A recording that Asterisk has named is found by its name."""
        await self.start()
        record = Record(1, "1700000000.12", "p.wav", "wav", 4, 1.0, NOW)
        await self.daemon_.journal.append([*chain(view(1)), RecordFact(record)])
        found = await self.history.by_recording("1700000000.12")
        assert found is not None
        self.assertEqual((1, [record]), (found.call.call_id, found.records))
        self.assertIsNone(await self.history.by_recording("1700000000.13"))
