"""Recordings: where they belong, when they are registered, and what is never served."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from ccdaemon import recordings as module
from ccdaemon.calls.model import Record
from ccdaemon.errors import Code, Refused
from ccdaemon.history.facts import Fact, RecordFact
from ccdaemon.history.failures import JournalBroken, JournalFull
from ccdaemon.mp3 import Mp3Cache
from ccdaemon.recordings import Recordings, call_id_of, relative_path
from tests.sound import tone, unfinished, wav

#: 2026-11-23T08:00:00.123Z.
MOMENT = 1795420800123
NAME = "cc-0a1b2c-12-o"
PATH = f"2026/11/23/{NAME}.wav"


def a_record(path: str, uniqueid: str = NAME) -> Record:
    """Make a recording of the history."""
    return Record(12, uniqueid, path, "wav", 1, 1.0, MOMENT)


class RecordingsTestCase(SynchronousTestCase):
    """Has a recordings folder and a journal in memory."""

    def setUp(self) -> None:
        """Start with both empty."""
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.clock = Clock()
        self.clock.advance(MOMENT / 1000)
        self.kept: list[Fact] = []
        self.journal: list[Deferred[list[int]]] = []
        self.lines: list[str] = []
        self.looks = 0
        cache = Mp3Cache(Path(self.mktemp()), self.in_thread)
        self.recordings = Recordings(
            self.root, self.append, cast(Any, self.clock), self.in_thread, cache
        )
        cast(Any, self.recordings).startService()

        @implementer(ILogObserver)
        def note(event: Any) -> None:
            if event["log_namespace"] == "ccdaemon.recordings":
                self.lines.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def in_thread(self, work: Any, *args: Any) -> Deferred[Any]:
        """Work at once."""
        self.looks += work.__name__ == "_look"
        return maybeDeferred(work, *args)

    def append(self, facts: Sequence[Fact]) -> Deferred[list[int]]:
        """Keep facts, unless told what to answer next."""
        if self.journal:
            return self.journal.pop(0)
        self.kept += facts
        return succeed(list(range(len(facts))))

    def write(self, content: bytes, path: str = PATH) -> Path:
        """Write a file into the recordings folder."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)


class Names(SynchronousTestCase):
    """Where a recording belongs."""

    def test_a_folder_for_each_day_in_utc(self) -> None:
        """The call's beginning names the folder, its channel the file."""
        self.assertEqual(relative_path(NAME, MOMENT), PATH)
        self.assertEqual(relative_path("1795420800.12", 0), "1970/01/01/1795420800.12.wav")
        self.assertEqual(relative_path("a", 951782399999), "2000/02/28/a.wav")

    @given(st.text())
    def test_no_uniqueid_leaves_its_folder(self, uniqueid: str) -> None:
        """Whatever a channel is called, its file is in the day's folder or there is none."""
        try:
            path = relative_path(uniqueid, MOMENT)
        except ValueError:
            return
        self.assertEqual(Path(path).parent, Path("2026/11/23"))
        self.assertTrue(path.isascii() and path.isprintable())
        self.assertNotIn("/.", path)

    def test_the_call_in_a_channels_name(self) -> None:
        """Channels that we named tell their call, others do not."""
        self.assertEqual(call_id_of(NAME), 12)
        self.assertEqual(call_id_of("cc-ffffff-2147483647-c1"), 2147483647)
        for other in (
            "1795420800.12",
            "cc-0a1b2c-x-o",
            "cc-0a1b2c-12",
            "cc-0A1B2C-12-o",
            NAME + "\n",
        ):
            self.assertIsNone(call_id_of(other), other)


class Expecting(RecordingsTestCase):
    """From the end of the talk to the fact."""

    def test_a_complete_file_is_registered_at_once(self) -> None:
        """The fact holds what the file says, and the moment it was found."""
        file = self.write(wav(tone(4.5)))
        self.recordings.expect(12, NAME, PATH)
        expected = Record(12, NAME, PATH, "wav", file.stat().st_size, 4.5, MOMENT)
        self.assertEqual(self.kept, [RecordFact(expected)])
        self.assertEqual(self.recordings.expected, 0)
        self.assertEqual(self.lines, [f"Recording of call 12 is complete: {PATH}, 4.5 s"])

    def test_a_file_that_is_still_being_written(self) -> None:
        """Nothing is kept until the header agrees with the file; then once, and once only."""
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(1)
        self.write(unfinished(tone(1)))
        self.pass_time(3)
        self.write(unfinished(tone(2)))
        self.pass_time(3)
        self.assertEqual(self.kept, [])
        self.assertEqual(self.recordings.expected, 1)
        self.write(wav(tone(2)))
        self.pass_time(200)
        (fact,) = self.kept
        assert isinstance(fact, RecordFact)
        self.assertEqual(fact.record.duration, 2.0)
        self.assertEqual(self.recordings.expected, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_looks_become_rarer(self) -> None:
        """Soon after the talk it looks often, later every few seconds."""
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(3.5)
        self.assertEqual(self.looks, 5)
        self.pass_time(100)
        self.assertLess(self.looks, 30)

    def test_telling_twice(self) -> None:
        """Who is told again of what it waits for does nothing new."""
        self.recordings.expect(12, NAME, PATH)
        self.recordings.expect(12, NAME, PATH)
        self.assertEqual(self.recordings.expected, 1)
        self.write(wav(tone(1)))
        self.pass_time(5)
        self.assertEqual(len(self.kept), 1)

    def give_up(self) -> str:
        """Wait as long as it waits, and take the one line that tells."""
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(170)
        self.assertEqual(self.lines, [])
        self.pass_time(20)
        (line,) = self.lines
        self.assertIn(f"No recording of call 12: {self.root / PATH}", line)
        self.assertEqual((self.kept, self.recordings.expected), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return line

    def test_no_file_ever(self) -> None:
        """It gives up after its time and asks about the folder."""
        self.assertIn("does recordings_mount name the folder", self.give_up())

    def test_a_file_that_is_never_finished(self) -> None:
        """It gives up and asks about Asterisk and its disk."""
        self.write(unfinished(tone(1)))
        self.assertIn("did Asterisk crash, or is its disk full?", self.give_up())

    def test_a_file_of_another_kind(self) -> None:
        """It gives up and names what it found."""
        self.write(wav(tone(0.1), tag=49, bits=0))
        self.assertIn("GSM (wav49)", self.give_up())

    def test_a_file_that_may_not_be_read(self) -> None:
        """It gives up and asks about the daemon's user."""
        self.write(wav(tone(0.1)))

        def may_not(path: Path) -> Any:
            raise PermissionError(13, "Permission denied")

        self.patch(module, "measure", may_not)
        self.assertIn("Permission denied; may the daemon's user read it?", self.give_up())

    def test_a_journal_that_cannot_write(self) -> None:
        """The fact waits for the journal, with one warning, however long that takes."""
        self.journal = [fail(JournalBroken("disk full")) for _ in range(100)]
        self.journal += [fail(JournalFull()) for _ in range(3)]
        self.write(wav(tone(1)))
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(400)
        self.assertEqual(self.kept, [])
        self.assertEqual(self.lines, ["Recording of call 12 waits for the journal: disk full"])
        self.pass_time(200)
        self.assertEqual(len(self.kept), 1)
        self.assertEqual(len(self.lines), 2)

    def test_what_nobody_expected(self) -> None:
        """A journal that fails in another way is logged, and nothing is waited for any more."""
        self.journal = [fail(ValueError())]
        self.write(wav(tone(1)))
        self.recordings.expect(12, NAME, PATH)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.recordings.expected, 0)

    def test_so_many_at_once(self) -> None:
        """Beyond the bound a recording is not waited for, and that is said."""
        self.patch(module, "MOST_EXPECTED", 2)
        for call_id in (1, 2, 3):
            self.recordings.expect(call_id, NAME, PATH)
        self.assertEqual(self.recordings.expected, 2)
        self.assertIn("call 3 is not waited for", self.lines[0])

    def test_stopping(self) -> None:
        """Nothing is waited for any more, in whatever it waits."""
        self.recordings.expect(1, NAME, PATH)
        self.write(wav(tone(1)), "a/b.wav")
        self.journal = [fail(JournalFull()), Deferred()]
        self.recordings.expect(2, "b", "a/b.wav")
        self.write(wav(tone(1)), "a/c.wav")
        self.recordings.expect(3, "c", "a/c.wav")
        self.assertEqual(self.recordings.expected, 3)
        self.successResultOf(self.recordings.stopService())
        self.assertEqual(self.recordings.expected, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])


class Serving(RecordingsTestCase):
    """From a recording of the history to a file."""

    def ask(self, path: str) -> Path | None:
        """Find a file in a coroutine; None where it is refused."""
        outcome: list[Path | None] = []

        async def look() -> None:
            try:
                outcome.append(await self.recordings.wav(a_record(path)))
            except Refused as refused:
                self.assertEqual(refused.code, Code.RECORD_UNKNOWN)
                outcome.append(None)

        self.successResultOf(Deferred.fromCoroutine(look()))
        return outcome[0]

    def test_a_file_that_is_there(self) -> None:
        """It is found, with every link followed."""
        file = self.write(wav(tone(1)))
        self.assertEqual(self.ask(PATH), file.resolve())

    def test_links(self) -> None:
        """A link may lead about inside the folder, and nowhere else."""
        file = self.write(wav(tone(1)))
        outside = Path(self.mktemp())
        outside.mkdir()
        (outside / "secret.wav").write_bytes(b"secret")
        os.symlink(file.resolve(), self.root / "inside.wav")
        os.symlink((outside / "secret.wav").resolve(), self.root / "outside.wav")
        os.symlink(outside.resolve(), self.root / "folder")
        os.symlink("loop.wav", self.root / "loop.wav")
        self.assertEqual(self.ask("inside.wav"), file.resolve())
        for path in ("outside.wav", "folder/secret.wav", "loop.wav"):
            self.assertIsNone(self.ask(path), path)

    def test_a_root_that_is_a_link(self) -> None:
        """The folder itself may be a link."""
        file = self.write(wav(tone(1)))
        link = Path(self.mktemp())
        os.symlink(self.root.resolve(), link)
        self.recordings._root = link
        self.assertEqual(self.ask(PATH), file.resolve())

    def test_what_is_no_file_below_the_folder(self) -> None:
        """Folders, other trees and names that cannot be are not there."""
        self.write(wav(tone(1)))
        beside = self.root.resolve().parent / (self.root.name + "x")
        beside.mkdir()
        (beside / "a.wav").write_bytes(b"x")
        for path in (
            "",
            ".",
            "2026",
            "2026/11/23/",
            "missing.wav",
            "/etc/passwd",
            "../../../../../../../../etc/passwd",
            f"../{beside.name}/a.wav",
            "a\0.wav",
            "x" * 5000,
        ):
            self.assertIsNone(self.ask(path), path)

    @given(
        st.lists(
            st.sampled_from(
                ["..", ".", "", "2026", "etc", "passwd", "/", "a.wav", "~", "\0", "\ud800"]
            ),
            max_size=8,
        )
    )
    def test_no_path_leads_out(self, parts: list[str]) -> None:
        """Whatever a path is made of, what is found lies below the folder."""
        (self.root / "a.wav").write_bytes(b"x")
        found = self.ask("/".join(parts))
        if found is not None:
            self.assertTrue(found.is_relative_to(self.root.resolve()))

    def test_as_mp3(self) -> None:
        """The recording's mp3 is named after its channel."""
        self.write(wav(tone(1)))
        made = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH)))
        self.assertEqual(self.successResultOf(made).name, f"{NAME}.mp3")

    def test_no_mp3_without_a_recording(self) -> None:
        """An mp3 that was made is not served any more when its recording is gone."""
        file = self.write(wav(tone(1)))
        self.successResultOf(Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH))))
        file.unlink()
        again = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH)))
        self.failureResultOf(again, Refused)

    def test_no_mp3_under_any_other_name(self) -> None:
        """A channel that no file can be named after has none."""
        self.write(wav(tone(1)))
        for uniqueid in ("../x", "", ".hidden", "a/b", "a\n"):
            asked = Deferred.fromCoroutine(self.recordings.mp3(a_record(PATH, uniqueid)))
            self.failureResultOf(asked, Refused)
