"""Tests of health: each part's condition, since when, and what the whole makes of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.health import probes
from ccdaemon.health.disk import HANGS, FolderWatch, Room, look_at
from ccdaemon.health.health import Condition, Seen, Watch

OK, DEGRADED, FAILING = Condition


class WatchTests(SynchronousTestCase):
    """The watch over three parts."""

    def setUp(self) -> None:
        """Have parts that are well, two of them needed."""
        self.clock = Clock()
        self.clock.advance(100)
        self.seen = {"asterisk": Seen(OK), "journal": Seen(OK), "postgres": Seen(OK)}
        look = {name: (lambda name=name: self.seen[name]) for name in self.seen}
        self.watch = Watch(
            look, frozenset({"asterisk", "journal"}), cast(Any, self.clock), cast(Any, self.clock)
        )
        self.said: list[str] = []
        self.patch(Watch, "log", Logger(observer=cast(Any, self._hear)))

    def _hear(self, event: Any) -> None:
        self.said.append(formatEvent(event))

    def test_the_whole(self) -> None:
        """Ready while nothing that is needed fails; as bad as the worst, but for what is not."""
        for part, condition, whole, ready in (
            ("postgres", OK, OK, True),
            ("postgres", DEGRADED, DEGRADED, True),
            ("postgres", FAILING, DEGRADED, True),
            ("asterisk", DEGRADED, DEGRADED, True),
            ("asterisk", FAILING, FAILING, False),
            ("journal", FAILING, FAILING, False),
        ):
            self.seen[part] = Seen(condition, "words")
            health = self.watch.look()
            self.assertEqual((health.condition, health.ready), (whole, ready), (part, condition))
            self.seen[part] = Seen(OK)

    def test_since_when(self) -> None:
        """A condition has the moment at which it began, whatever the words are."""
        self.watch.startService()
        self.clock.advance(10)
        self.seen["postgres"] = Seen(FAILING, "refused")
        self.clock.advance(1)
        self.seen["postgres"] = Seen(FAILING, "no route")
        self.clock.pump([1] * 20)
        part = self.watch.look().parts[2]
        self.assertEqual((part.since, part.seen.detail), (111_000, "no route"))
        self.seen["postgres"] = Seen(OK)
        self.clock.advance(1)
        self.assertEqual(self.watch.look().parts[2].since, 132_000)
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_change_is_said_once(self) -> None:
        """One line when it begins, one when it is over, none for what was well from the start."""
        self.watch.look()
        self.seen["journal"] = Seen(FAILING, "disk full")
        self.watch.look()
        self.watch.look()
        self.seen["journal"] = Seen(OK)
        self.watch.look()
        expected = ["health: journal is failing: disk full", "health: journal is ok again"]
        self.assertEqual(self.said, expected)

    def test_a_look_that_fails(self) -> None:
        """A part that cannot be looked at is failing; the others are told as ever."""

        def broken() -> Seen:
            raise ZeroDivisionError("broken")

        parts = {"broken": broken, "well": lambda: Seen(OK)}
        watch = Watch(parts, frozenset(), cast(Any, self.clock), cast(Any, self.clock))
        first, second = watch.look().parts
        self.assertEqual((first.seen.condition, second.seen.condition), (FAILING, OK))
        self.assertIn("broken", first.seen.detail or "")
        self.flushLoggedErrors(ZeroDivisionError)


class FolderTests(SynchronousTestCase):
    """Looks at folders."""

    def test_a_folder(self) -> None:
        """Its room is the disk's; a file and nothing at all are no folders."""
        folder = Path(self.mktemp())
        self.assertEqual(look_at(folder).trouble, "No such file or directory")
        folder.mkdir()
        room = look_at(folder)
        self.assertEqual((room.trouble, room.writable), (None, True))
        self.assertTrue(0 < room.free <= room.total)
        (folder / "file").touch()
        self.assertEqual(look_at(folder / "file").trouble, "is not a folder")

    def test_a_look_that_hangs(self) -> None:
        """Where the look does not come back, that is said, and nobody looks again meanwhile."""
        clock, asked = Clock(), []

        def in_thread(work: Any, *args: Any) -> Deferred[Any]:
            asked.append(Deferred[Any]())
            return asked[-1]

        watch = FolderWatch(Path("/x"), in_thread, cast(Any, clock))
        watch.startService()
        self.assertIsNone(watch.room)
        clock.pump([10] * 5)
        self.assertEqual(len(asked), 1)
        assert watch.room is not None
        self.assertIn("hangs", watch.room.trouble or "")
        asked[0].callback(Room(None, True, 1, 2))
        self.assertEqual(watch.room, Room(None, True, 1, 2))
        clock.advance(HANGS * 2)
        self.assertEqual(len(asked), 2)
        asked[1].errback(ValueError("no thread"))
        self.assertIn("no thread", (watch.room or Room("", False, 0, 0)).trouble or "")
        watch.stopService()


def shows(**shown: Any) -> Any:
    """Anything with the attributes that a probe reads."""
    return SimpleNamespace(**shown)


def consumes(**shown: Any) -> Any:
    """What a consumer of the log shows that is at its end."""
    well = {"backlog": 0, "behind": 0.0, "dead_letters": 0}
    names = ("trouble", "last_trouble", "last_dead_letter")
    return shows(**(well | dict.fromkeys(names) | shown))


class ProbeTests(SynchronousTestCase):
    """From what a part shows to a condition."""

    def of(self, probe: Any) -> tuple[Condition, str]:
        """What a probe finds."""
        seen = probe()
        return seen.condition, seen.detail or ""

    def test_asterisk(self) -> None:
        """Fails without a session, in the words of the last try."""
        self.assertEqual(self.of(probes.asterisk(shows(session=1))), (OK, ""))
        down = shows(session=None, trouble=ConnectionRefusedError("refused"))
        self.assertEqual(self.of(probes.asterisk(down)), (FAILING, "no session: refused"))
        early = shows(session=None, trouble=None)
        self.assertEqual(self.of(probes.asterisk(early)), (FAILING, "no session yet"))

    def test_journal(self) -> None:
        """Fails when no call can be opened; suffers with its disk, its queue and its numbers."""
        folder = shows(folder=Path("/s"), room=Room(None, True, 9 << 30, 10 << 30))
        health = shows(waiting=0, numbers_left=9000, set_aside=None)
        journal = shows(not_ready=None, health=health)
        probe = probes.journal(journal, folder)
        self.assertEqual(self.of(probe), (OK, ""))
        health.set_aside = "was damaged"
        self.assertEqual(self.of(probe), (DEGRADED, "the journal was damaged"))
        health.numbers_left = 9
        self.assertEqual(self.of(probe)[0], DEGRADED)
        health.waiting = 9000
        self.assertEqual(self.of(probe), (DEGRADED, "9000 facts wait for the disk"))
        folder.room = Room(None, True, 300 << 20, 10 << 30)
        self.assertEqual(self.of(probe), (DEGRADED, "300 MiB left on the disk of /s"))
        folder.room = Room("does not answer", False, 0, 0)
        self.assertEqual(self.of(probe), (DEGRADED, "/s does not answer"))
        journal.not_ready = "disk full"
        self.assertEqual(self.of(probe), (FAILING, "disk full"))

    def test_postgres(self) -> None:
        """Away is failing; far behind, or with refused facts, it is degraded; and how far."""
        shipped = consumes()
        database = shows(up=True, health=shows(last_error="refused"))
        probe = probes.postgres(database, shows(health=shipped))
        self.assertEqual(probe(), Seen(OK, None, 0, 0.0))
        shipped.backlog = 7
        self.assertEqual(probe(), Seen(OK, None, 7, 0.0))
        shipped.behind = 31.0
        self.assertEqual(probe(), Seen(DEGRADED, "7 events behind", 7, 31.0))
        database.up = False
        self.assertEqual(probe(), Seen(FAILING, "cannot be asked: refused", 7, 31.0))
        database.up, shipped.backlog, shipped.behind, shipped.dead_letters = True, 0, 0.0, 2
        shipped.last_dead_letter = "event 9: no"
        self.assertIn("event 9: no", self.of(probe)[1])
        shipped.dead_letters = 0
        self.assertEqual(probe(), Seen(OK, None, 0, 0.0))

    def test_recordings(self) -> None:
        """A folder that cannot be read fails; little room degrades it, none is as bad."""
        watch = shows(folder=Path("/r"), room=None)
        probe = probes.recordings(watch)
        for room, condition in (
            (None, OK),
            (Room("is gone", False, 0, 0), FAILING),
            (Room(None, True, 1 << 20, 1 << 40), FAILING),
            (Room(None, True, 500 << 20, 1 << 40), DEGRADED),
            (Room(None, False, 5 << 30, 1 << 40), OK),
            (Room(None, True, 5 << 30, 1 << 40), OK),
        ):
            watch.room = room
            self.assertEqual(self.of(probe)[0], condition, room)
        needing = probes.recordings(watch, ["asterisk.stereo"])
        self.assertEqual(self.of(needing)[0], OK)
        watch.room = Room(None, False, 5 << 30, 1 << 40)
        condition, words = self.of(needing)[:2]
        self.assertEqual(condition, DEGRADED)
        self.assertIn("/r cannot be written, as asterisk.stereo needs", words)

    def test_webhooks(self) -> None:
        """One that fails or is stopped is named; what waits is counted, and since when."""
        clock = Clock()
        clock.advance(100)
        well = shows(name="a", backlog=2, oldest=90_000, failing_since=None, stopped_since=None)
        bad = shows(name="b", backlog=1, oldest=95_000, failing_since=1, stopped_since=None)
        bad.last_error = "503"
        gone = shows(name="c", backlog=0, oldest=None, failing_since=None, stopped_since=1)
        sent = shows(health=[well], broken=None, reading=consumes())
        probe = probes.webhooks(sent, cast(Any, clock))
        self.assertEqual(probe(), Seen(OK, None, 2, 10.0))
        sent.health = [well, bad, gone]
        words = "b: 503; c: stopped, the receiver answered 410"
        self.assertEqual(probe(), Seen(DEGRADED, words, 3, 10.0))
        sent.health, sent.broken = [], "disk full"
        self.assertEqual(probe(), Seen(FAILING, "disk full", 0, 0.0))

    def test_the_reader_of_webhooks(self) -> None:
        """What it has not read yet counts with what waits; its troubles and dead letters show."""
        reading = consumes(backlog=3)
        probe = probes.webhooks(shows(health=[], broken=None, reading=reading), cast(Any, Clock()))
        self.assertEqual(probe(), Seen(OK, None, 3, 0.0))
        reading.behind = 31.0
        self.assertEqual(probe(), Seen(DEGRADED, "the journal is read 3 events behind", 3, 31.0))
        reading.trouble = "ValueError()"
        words = "the journal cannot be read on: ValueError()"
        self.assertEqual(probe(), Seen(DEGRADED, words, 3, 31.0))
        reading.trouble, reading.backlog, reading.behind = None, 0, 0.0
        reading.dead_letters = 2
        words = "2 events of the last day could not be told"
        self.assertEqual(probe(), Seen(DEGRADED, words, 0, 0.0))
        reading.last_dead_letter = "event 7: ValueError: year"
        words += ", the last one event 7: ValueError: year"
        self.assertEqual(probe(), Seen(DEGRADED, words, 0, 0.0))

    def test_fastagi(self) -> None:
        """Fails where more calls than may be wait for a decision."""
        agi = shows(sessions=[1], settings=shows(most_sessions=2))
        self.assertEqual(probes.fastagi(agi)(), Seen(OK, None, 1))
        agi.sessions = [1, 2]
        self.assertEqual(self.of(probes.fastagi(agi))[0], FAILING)
