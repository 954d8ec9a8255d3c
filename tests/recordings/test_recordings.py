"""Recordings: where they belong, when they are registered, and what is never served."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Record
from ccdaemon.recordings import recordings as module
from ccdaemon.recordings.recordings import call_id_of, recording_name, relative_path
from ccdaemon.store.facts import RecordFact
from ccdaemon.store.failures import JournalBroken, JournalFull
from tests.clocks import HOUR
from tests.recordings_folder import MOMENT, NAME, PATH, RecordingsTestCase
from tests.sound import tone, unfinished, wav


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

    def test_a_system_name(self) -> None:
        """Asterisk may begin uniqueids with anything: a file is named after the rest."""
        for uniqueid, name in {
            "pbx-1.2": "pbx-1.2",
            "my pbx-1.2": "mypbx-1.2",
            "Київ-1.2": "-1.2",
            "\ufffd\ufffd 2-1.2": "2-1.2",
            "a/b,c&d-1.2": "abcd-1.2",
        }.items():
            self.assertEqual(recording_name(uniqueid), name)
            self.assertEqual(relative_path(uniqueid, 0), f"1970/01/01/{name}.wav")
        for uniqueid in ("", "Київ", ".pbx-1.2", "9" * 151):
            self.assertRaises(ValueError, recording_name, uniqueid)

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

    def put_off(self) -> str:
        """Wait for as long as it looks often, and take the one line that tells."""
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(170)
        self.assertEqual(self.lines, [])
        self.pass_time(20)
        (line,) = self.lines
        self.assertIn(f"No recording of call 12 yet: {self.root / PATH}", line)
        self.assertEqual((self.kept, self.recordings.late), ([], 1))
        return line

    def test_a_file_that_is_complete_much_later(self) -> None:
        """It is registered all the same, without a restart: a dead disk may come back."""
        self.put_off()
        self.pass_time(600)
        self.recordings.expect(12, NAME, PATH)
        self.assertEqual(self.recordings.expected, 1)
        self.write(wav(tone(1)))
        self.pass_time(61)
        self.assertEqual(len(self.kept), 1)
        self.assertEqual((self.recordings.expected, self.recordings.given_up), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_file_that_is_late_is_looked_at_rarely(self) -> None:
        """Once a minute, for a day; then it is given up, which is counted and said."""
        self.put_off()
        looks = self.looks
        self.pass_time(600)
        self.assertLessEqual(self.looks - looks, 10)
        for _ in range(24 * 60):
            self.clock.advance(60)
        self.assertEqual((self.recordings.expected, self.recordings.given_up), (0, 1))
        self.assertIn("Recording of call 12 is given up", self.lines[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_clock_that_is_set(self) -> None:
        """It waits as long as ever, and the recording has the wall's date."""
        self.wall.set(HOUR)
        self.put_off()
        self.wall.set(-HOUR)
        self.pass_time(170)
        self.wall.set(HOUR)
        self.write(wav(tone(1)))
        self.pass_time(61)
        (fact,) = self.kept
        self.assertLess(abs(fact.date / 1000 - self.wall.seconds()), 65)

    def test_no_file_ever(self) -> None:
        """It says so after its time and asks about the folder."""
        self.assertIn("does recordings_mount name the folder", self.put_off())

    def test_a_file_that_is_never_finished(self) -> None:
        """It says so and asks about Asterisk and its disk."""
        self.write(unfinished(tone(1)))
        self.assertIn("did Asterisk crash, or is its disk full?", self.put_off())

    def test_a_file_of_another_kind(self) -> None:
        """It says so and names what it found."""
        self.write(wav(tone(0.1), tag=6, bits=8))
        self.assertIn("A-law", self.put_off())

    def test_another_format(self) -> None:
        """What a script has made of it meanwhile, or moved elsewhere, is found."""
        for end, content, format, seconds in (
            ("WAV", wav(bytes(1625), tag=49, bits=0), "wav49", 1.0),
            ("gsm", bytes(3300), "gsm", 2.0),
            ("ulaw", bytes(4000), "ulaw", 0.5),
            ("mp3", bytes.fromhex("fff344c4") + bytes(7996), "mp3", 2.0),
        ):
            file = self.write(content, PATH.replace(".wav", f".{end}"))
            os.utime(file, (1, 1))
            self.recordings.expect(12, NAME, PATH)
            record = self.registered()
            self.assertEqual((record.format, record.duration), (format, seconds), end)
            self.assertEqual(record.path, PATH.replace(".wav", f".{end}"))
            file.unlink()

    def test_moved(self) -> None:
        """It is looked for below the whole folder, once in a while."""
        moved = f"archive/2026/{NAME}.mp3"
        os.utime(self.write(bytes.fromhex("fff344c4") + bytes(7996), moved), (1, 1))
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(5)
        self.assertEqual(self.kept, [])
        self.pass_time(10)
        self.assertEqual(self.registered().path, moved)

    def test_just_written(self) -> None:
        """What has no lengths in it is whole once nobody writes to it."""
        file = self.write(bytes(3300), PATH.replace(".wav", ".gsm"))
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(2)
        self.assertEqual(self.kept, [])
        os.utime(file, (1, 1))
        self.pass_time(2)
        self.assertEqual(self.registered().format, "gsm")

    def registered(self) -> Record:
        """The one recording that is registered now; none is from now on."""
        [fact] = self.kept
        assert isinstance(fact, RecordFact)
        self.kept.clear()
        return fact.record

    def test_a_file_that_may_not_be_read(self) -> None:
        """It says so and asks about the daemon's user."""
        self.write(wav(tone(0.1)))

        def may_not(path: Path) -> Any:
            raise PermissionError(13, "Permission denied")

        self.patch(module, "listen", may_not)
        self.assertIn("Permission denied; may the daemon's user read it?", self.put_off())

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
        """Beyond the bound they are looked at in rounds; beyond that one they are given up."""
        self.patch(module, "MOST_EXPECTED", 2)
        self.patch(module, "MOST_LATE", 2)
        for call_id in range(1, 6):
            self.recordings.expect(call_id, NAME, PATH)
        self.assertEqual((self.recordings.expected, self.recordings.late), (4, 2))
        self.assertIn("call 5 is given up", self.lines[0])
        self.write(wav(tone(1)))
        self.pass_time(61)
        self.assertEqual([1, 2, 3, 4], sorted(fact.call_id or 0 for fact in self.kept))
        self.assertEqual((self.recordings.expected, self.recordings.given_up), (0, 1))

    def test_one_that_fails_keeps_no_other(self) -> None:
        """Of those that are late: it is logged, and the rest are looked at."""
        self.patch(module, "MOST_EXPECTED", 0)
        self.journal = [fail(ValueError())]
        for call_id in (1, 2):
            self.recordings.expect(call_id, NAME, PATH)
        self.write(wav(tone(1)))
        self.pass_time(61)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual([2], [fact.call_id for fact in self.kept])
        self.assertEqual((self.recordings.expected, self.recordings.given_up), (0, 1))

    def test_forgotten(self) -> None:
        """What is complete only after its call was forgotten is removed, and not registered."""
        self.recordings.expect(12, NAME, PATH)
        self.recordings.expect(13, "b", "a/b.wav")
        self.recordings.forget([12])
        for path in (PATH, "a/b.wav"):
            self.write(wav(tone(1)), path)
        self.pass_time(5)
        self.assertEqual([13], [fact.call_id for fact in self.kept])
        self.assertFalse((self.root / PATH).exists())
        self.assertEqual(self.recordings.expected, 0)

    def test_forgotten_and_never_complete(self) -> None:
        """What is left of one is removed as well, soon or when it is late."""
        for early in (True, False):
            self.recordings.expect(12, NAME, PATH)
            self.write(unfinished(tone(1)))
            self.pass_time(0 if early else 190)
            self.recordings.forget([12])
            self.pass_time(190 if early else 61)
            self.assertFalse((self.root / PATH).exists())
            self.assertEqual((self.kept, self.recordings.expected), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_forgotten_while_the_journal_cannot_write(self) -> None:
        """Nothing is written of it once the journal can."""
        self.journal = [fail(JournalFull())]
        self.write(wav(tone(1)))
        self.recordings.expect(12, NAME, PATH)
        self.recordings.forget([12])
        self.pass_time(10)
        self.assertEqual((self.kept, self.removed, self.recordings.expected), ([], [PATH], 0))

    def test_stopping(self) -> None:
        """Nothing is waited for any more, in whatever it waits."""
        self.patch(module, "MOST_EXPECTED", 3)
        self.recordings.expect(4, NAME, PATH)
        self.pass_time(190)
        self.recordings.expect(5, NAME, PATH)
        self.recordings.expect(1, NAME, PATH)
        self.write(wav(tone(1)), "a/b.wav")
        self.journal = [fail(JournalFull()), Deferred()]
        self.recordings.expect(2, "b", "a/b.wav")
        self.write(wav(tone(1)), "a/c.wav")
        self.recordings.expect(3, "c", "a/c.wav")
        self.assertEqual(self.recordings.expected, 5)
        self.successResultOf(self.recordings.stopService())
        self.assertEqual(self.recordings.expected, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
