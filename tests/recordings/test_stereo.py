"""Two sides become one stereo file, whatever of them is there and wherever it was broken off."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.recordings import stereo as module
from ccdaemon.recordings.mp3 import Mp3Cache
from ccdaemon.recordings.recordings import SIDES_WITHIN
from ccdaemon.recordings.removal import RecordingFiles
from ccdaemon.recordings.stereo import beside, drop_sides, join_sides, sides
from ccdaemon.recordings.wav import NotComplete, NotSupported, encode_mp3, measure
from ccdaemon.store.facts import RecordFact
from tests.recordings_folder import NAME, PATH, RecordingsTestCase
from tests.sound import tone, unfinished, wav

SAMPLES = st.lists(st.integers(-32768, 32767), min_size=1, max_size=40)


def samples_of(file: Path) -> tuple[list[int], list[int]]:
    """The samples of the left and of the right channel."""
    seen = measure(file)
    data = array("h", file.read_bytes()[seen.data_start :])
    return data[0::2].tolist(), data[1::2].tolist()


class Joining(SynchronousTestCase):
    """The file alone."""

    def setUp(self) -> None:
        """Make a folder with a mixed file."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "1795467600.1.wav"
        self.file.write_bytes(wav(tone(0.5)))
        self.operator, self.client = sides(self.file)

    def names(self) -> list[str]:
        """What lies in the folder."""
        return sorted(path.name for path in self.folder.iterdir())

    def put(self, operator: bytes, client: bytes) -> None:
        """Write both sides."""
        self.operator.write_bytes(operator)
        self.client.write_bytes(client)

    def test_names(self) -> None:
        """The sides are named as the dialplan names them."""
        self.assertEqual(self.operator.name, "1795467600.1-operator.wav")
        self.assertEqual(self.client.name, "1795467600.1-client.wav")

    @given(SAMPLES, SAMPLES, st.integers(1, 50))
    def test_any_lengths(self, left: list[int], right: list[int], block: int) -> None:
        """Each sample is on its side, in its place; the shorter one ends in silence."""
        self.patch(module, "_BLOCK", block)
        self.file.write_bytes(wav(tone(0.1)))
        self.put(wav(array("h", left).tobytes()), wav(array("h", right).tobytes()))
        join_sides(self.file)
        length = max(len(left), len(right))
        expected = tuple(one + [0] * (length - len(one)) for one in (left, right))
        self.assertEqual(samples_of(self.file), expected)
        self.assertEqual(self.file.stat().st_size, 44 + 4 * length)
        self.assertEqual(self.names(), [self.file.name])

    def test_an_odd_byte_and_other_chunks(self) -> None:
        """Half a sample is no sound, and what lies around the data is left out."""
        self.put(wav(b"\1\0\2\0\3"), wav(b"\4\0\5\0", before=b"LIST\4\0\0\0abcd"))
        join_sides(self.file)
        self.assertEqual(samples_of(self.file), ([1, 2], [4, 5]))

    def test_no_sides(self) -> None:
        """A mono recording stays as it is."""
        before = self.file.read_bytes()
        join_sides(self.file)
        self.assertEqual(self.file.read_bytes(), before)

    def test_its_mode(self) -> None:
        """Who could read the mixed file can read this one."""
        self.file.chmod(0o640)
        self.put(wav(tone(0.1)), wav(tone(0.1)))
        join_sides(self.file)
        self.assertEqual(self.file.stat().st_mode & 0o777, 0o640)

    def test_broken_off_while_it_was_written(self) -> None:
        """What was left of it is written over."""
        self.put(wav(b"\1\0"), wav(b"\2\0"))
        beside(self.file)[2].write_bytes(b"RIFF" + bytes(9000))
        join_sides(self.file)
        self.assertEqual(samples_of(self.file), ([1], [2]))
        self.assertEqual(self.names(), [self.file.name])

    def test_broken_off_before_the_sides_were_removed(self) -> None:
        """A stereo file is not made again, also not of the one side that is left."""
        self.put(wav(b"\1\0"), wav(b"\2\0"))
        join_sides(self.file)
        self.client.write_bytes(wav(b"\7\0"))
        join_sides(self.file)
        self.assertEqual(samples_of(self.file), ([1], [2]))
        self.assertEqual(self.names(), [self.file.name])

    def untouched(self, error: type[Exception]) -> str:
        """Join in vain: all files stay as they are."""
        before = {path: path.read_bytes() for path in self.folder.iterdir()}
        with self.assertRaises(error) as caught:
            join_sides(self.file)
        self.assertEqual({path: path.read_bytes() for path in self.folder.iterdir()}, before)
        return str(caught.exception)

    def test_a_side_that_is_missing(self) -> None:
        """Nothing is lost."""
        self.operator.write_bytes(wav(tone(0.1)))
        self.assertIn("-client.wav", self.untouched(FileNotFoundError))

    def test_a_side_that_is_still_written(self) -> None:
        """Nothing is lost."""
        self.put(wav(tone(0.1)), unfinished(tone(0.1)))
        self.untouched(NotComplete)

    def test_sides_that_do_not_fit(self) -> None:
        """Two rates, or two channels in one side."""
        self.put(wav(tone(0.1)), wav(tone(0.1, 16000), rate=16000))
        self.assertIn("one rate", self.untouched(NotSupported))
        self.put(wav(tone(0.1, 8000, 2), channels=2), wav(tone(0.1)))
        self.assertIn("mono", self.untouched(NotSupported))

    def test_too_long(self) -> None:
        """A wav file cannot count more."""
        self.patch(module, "_MOST_BYTES", 1000)
        self.put(wav(tone(0.1)), wav(tone(0.1)))
        self.assertIn("too long", self.untouched(NotSupported))

    def test_a_disk_that_is_full(self) -> None:
        """Nothing is lost, and nothing left lying."""
        self.put(wav(tone(0.1)), wav(tone(0.1)))

        def full(number: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertIn("No space left", self.untouched(OSError))

    def test_mp3(self) -> None:
        """It becomes an mp3 of two channels."""
        self.put(wav(tone(1)), wav(bytes(16000)))
        join_sides(self.file)
        target = self.folder / "it.mp3"
        self.assertTrue(encode_mp3(self.file, target, lambda: False))
        header = target.read_bytes()[:4]
        self.assertEqual(header[0], 0xFF)
        self.assertNotEqual(header[3] >> 6, 3, "mono")
        self.assertApproximates(target.stat().st_size, 64000 / 8, 1500)


class Registering(RecordingsTestCase):
    """From the end of the talk to the fact."""

    def put(self, operator: bytes | None, client: bytes | None) -> None:
        """Write the sides that are there."""
        for file, content in zip(sides(self.root / PATH), (operator, client), strict=True):
            if content is not None:
                file.write_bytes(content)

    def registered(self) -> tuple[float, int, int]:
        """The fact's duration and size, and how many channels the file has."""
        (fact,) = self.kept
        assert isinstance(fact, RecordFact)
        return fact.record.duration, fact.record.size, measure(self.root / PATH).channels

    def test_both_sides(self) -> None:
        """The fact measures the stereo file."""
        self.write(wav(tone(1)))
        self.put(wav(tone(1.5)), wav(tone(1)))
        self.recordings.expect(12, NAME, PATH)
        self.assertEqual(self.registered(), (1.5, 44 + 48000, 2))
        self.assertEqual(list((self.root / PATH).parent.iterdir()), [self.root / PATH])

    def test_a_side_that_is_late(self) -> None:
        """It is waited for; nothing is kept before."""
        self.write(wav(tone(1)))
        self.put(wav(tone(1)), unfinished(tone(1)))
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(SIDES_WITHIN / 2)
        self.assertEqual(self.kept, [])
        self.put(None, wav(tone(1)))
        self.pass_time(6)
        self.assertEqual(self.registered(), (1.0, 44 + 32000, 2))
        self.assertEqual(len(self.lines), 1, self.lines)

    def test_a_side_that_never_comes(self) -> None:
        """The mixed file is taken, the log says so, and nothing stays beside it."""
        self.write(wav(tone(1)))
        self.put(wav(tone(1)), None)
        self.recordings.expect(12, NAME, PATH)
        self.pass_time(SIDES_WITHIN - 2)
        self.assertEqual(self.kept, [])
        self.pass_time(10)
        self.assertEqual(self.registered(), (1.0, 44 + 16000, 1))
        self.assertIn("is not in stereo", self.lines[0])
        self.assertIn("-client.wav", self.lines[0])
        self.assertEqual(list((self.root / PATH).parent.iterdir()), [self.root / PATH])

    def test_removed_with_its_sides(self) -> None:
        """Who has a recording removed has its sides removed."""
        self.write(wav(tone(0.1)))
        self.put(wav(tone(0.1)), wav(tone(0.1)))
        files = RecordingFiles(
            self.root, self.in_thread, Mp3Cache(Path(self.mktemp()), self.in_thread)
        )
        removed = Deferred.fromCoroutine(files.remove([(NAME, PATH)]))
        self.assertEqual(self.successResultOf(removed), set())
        self.assertEqual(list(self.root.iterdir()), [])


class Dropping(SynchronousTestCase):
    """What lies beside a recording."""

    def test_what_is_not_there(self) -> None:
        """Nothing to remove is no error."""
        folder = Path(self.mktemp())
        folder.mkdir()
        drop_sides(folder / "a.wav")
        self.assertEqual(list(folder.iterdir()), [])
