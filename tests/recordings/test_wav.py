"""Wav files: complete or not, how long, and as mp3."""

from __future__ import annotations

from pathlib import Path
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.recordings.wav import NotComplete, NotSupported, encode_mp3, measure
from tests.sound import tone, unfinished, wav

#: Bit rates of MPEG 2 and 2.5, layer III, in kbit/s, and sample rates by version.
BIT_RATES = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160]
SAMPLE_RATES = {0: [11025, 12000, 8000], 2: [22050, 24000, 16000]}


class WavTestCase(SynchronousTestCase):
    """Has a file."""

    def setUp(self) -> None:
        """Name it."""
        self.path = Path(self.mktemp())

    def write(self, content: bytes) -> Path:
        """Write it."""
        self.path.write_bytes(content)
        return self.path

    def reason(self, content: bytes, kind: type[Exception]) -> str:
        """Measure what cannot be measured, and give the words."""
        with self.assertRaises(kind) as caught:
            measure(self.write(content))
        return str(caught.exception)


class Measure(WavTestCase):
    """What a file is."""

    def test_a_complete_file(self) -> None:
        """Mono and stereo, narrow and wide: the length comes from the data."""
        for channels in (1, 2):
            for rate in (8000, 16000):
                data = tone(1.25, rate, channels)
                seen = measure(self.write(wav(data, channels=channels, rate=rate)))
                self.assertEqual((seen.channels, seen.rate, seen.duration), (channels, rate, 1.25))
                self.assertEqual((seen.data_start, seen.data_size), (44, len(data)))
                self.assertEqual(seen.size, self.path.stat().st_size)

    def test_other_chunks(self) -> None:
        """Chunks around the data are passed over, also those of odd length."""
        odd = b"LIST" + pack("<I", 5) + b"hello\0"
        seen = measure(self.write(wav(tone(0.5), before=odd, after=odd)))
        self.assertEqual((seen.duration, seen.data_start), (0.5, 58))

    def test_half_a_frame_at_the_end(self) -> None:
        """What is no whole frame is no sound."""
        seen = measure(self.write(wav(b"\1" * 7, channels=2)))
        self.assertEqual(seen.data_size, 4)

    def test_a_file_that_is_being_written(self) -> None:
        """Until the header knows its lengths, and as long as nothing is in it, it may grow."""
        self.assertIn("has 16044", self.reason(unfinished(tone(1)), NotComplete))
        self.assertIn("not even a header", self.reason(b"", NotComplete))
        self.assertIn("no sound", self.reason(wav(b""), NotComplete))

    def test_a_file_cut_off(self) -> None:
        """However much of a file is missing, it is not complete."""
        whole = wav(tone(0.01))
        for length in range(len(whole)):
            self.reason(whole[:length], NotComplete)

    def test_more_than_the_header_speaks_of(self) -> None:
        """A file longer than it says is not complete either."""
        self.reason(wav(tone(0.1)) + b"\0\0", NotComplete)

    def test_a_data_length_beyond_the_end(self) -> None:
        """The lengths have to agree with each other as well."""
        lying = bytearray(wav(tone(0.1)))
        lying[40:44] = pack("<I", 999_999)
        self.assertIn("data end", self.reason(bytes(lying), NotComplete))
        self.assertIn("before its data", self.reason(_riff(b""), NotComplete))
        self.assertIn("middle of its header", self.reason(_riff(b"fmt \x10\0\0\0"), NotComplete))

    def test_what_cannot_be_served(self) -> None:
        """Each kind of file is named, with what to do about it."""
        for content, words in (
            (wav(tone(0.1), tag=49, bits=0), "GSM (wav49); let Asterisk record 16-bit PCM"),
            (wav(tone(0.1), tag=6, bits=8), "A-law"),
            (wav(tone(0.1), bits=8), "format 1 with 8 bits"),
            (wav(tone(0.1), channels=6), "6 channels"),
            (wav(tone(0.1), rate=0), "0 Hz"),
            (b"OggS" + b"x" * 100, "no wav file"),
            (_riff(b"data" + pack("<I", 4) + b"abcd"), "no format"),
            (_riff((b"LIST" + pack("<I", 0)) * 40), "no data"),
        ):
            self.assertIn(words, self.reason(content, NotSupported))

    def test_no_file(self) -> None:
        """What is not there is told as the system tells it."""
        with self.assertRaises(FileNotFoundError):
            measure(self.path)

    @given(st.binary(max_size=100), st.integers(0, 60))
    def test_any_bytes_are_measured_or_refused(self, junk: bytes, place: int) -> None:
        """Whatever is in a file, nothing else happens, and nothing beyond its end is promised."""
        whole = bytearray(wav(tone(0.01)))
        whole[place : place + len(junk)] = junk
        for content in (junk, bytes(whole), _riff(junk)):
            try:
                seen = measure(self.write(content))
            except (NotComplete, NotSupported):
                continue
            self.assertLessEqual(seen.data_start + seen.data_size, len(content))


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def frames(mp3: bytes) -> list[tuple[int, int, int]]:
    """Walk through the frames: bit rate, sample rate and length of each; the last one ends it."""
    found, position = [], 0
    while position < len(mp3):
        head = int.from_bytes(mp3[position : position + 4], "big")
        assert head >> 21 == 0x7FF, f"no frame at byte {position}"
        rate = SAMPLE_RATES[head >> 19 & 3][head >> 10 & 3]
        bit_rate = BIT_RATES[head >> 12 & 15]
        length = 72 * bit_rate * 1000 // rate + (head >> 9 & 1)
        found.append((bit_rate, rate, length))
        position += length
    assert position == len(mp3)
    return found


class EncodeMp3(WavTestCase):
    """The same talk as mp3."""

    def encoded(self, content: bytes) -> bytes:
        """Encode a file."""
        target = Path(self.mktemp())
        self.assertTrue(encode_mp3(self.write(content), target, lambda: False))
        return target.read_bytes()

    def test_constant_bit_rate_of_the_right_length(self) -> None:
        """Every frame has the same bit rate and the recording's own sample rate."""
        for channels, rate, bit_rate in ((1, 8000, 32), (2, 8000, 64), (1, 16000, 64)):
            data = tone(3, rate, channels)
            found = frames(self.encoded(wav(data, channels=channels, rate=rate)))
            self.assertEqual({(one[0], one[1]) for one in found}, {(bit_rate, rate)})
            self.assertLess(abs(len(found) * 576 / rate - 3), 0.3)

    def test_blocks_leave_no_seam(self) -> None:
        """A recording of many blocks is as long as it is."""
        found = frames(self.encoded(wav(tone(60), after=b"LIST" + pack("<I", 4) + b"junk")))
        self.assertLess(abs(len(found) * 576 / 8000 - 60), 0.3)

    def test_it_can_be_stopped(self) -> None:
        """Between two blocks it looks whether it shall go on."""
        asked: list[None] = []

        def is_stopped() -> bool:
            asked.append(None)
            return len(asked) == 3

        self.assertFalse(encode_mp3(self.write(wav(tone(60))), Path(self.mktemp()), is_stopped))
        self.assertEqual(len(asked), 3)

    def test_a_file_that_shrinks(self) -> None:
        """A file that is cut off while it is read ends the work."""
        path = self.write(wav(tone(60)))

        def cut() -> bool:
            with open(path, "r+b") as file:
                file.truncate(100_000)
            return False

        with self.assertRaises(NotComplete):
            encode_mp3(path, Path(self.mktemp()), cut)
