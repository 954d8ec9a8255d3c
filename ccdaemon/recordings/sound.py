"""Recordings in whatever format Asterisk writes, or a script makes of them: how long, and whole?

Which format it is says the end of the name, as it does to Asterisk. What has no lengths in a header
counts as whole once nobody has written to it for a while. Everything here blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import unpack

from ccdaemon.recordings.wav import NotComplete, NotSupported, measure, riff_data

#: Seconds after which a file that nobody has written to is taken to be whole.
QUIET_FOR = 3.0

#: Bytes a second of formats without a header, at 8000 Hz, by the ends of names.
RAW = {
    "gsm": 1650.0,
    "ulaw": 8000.0,
    "ul": 8000.0,
    "pcm": 8000.0,
    "mu": 8000.0,
    "alaw": 8000.0,
    "al": 8000.0,
    "sln": 16000.0,
    "raw": 16000.0,
}
#: What such an end is told as; an end that is not here is told as it is.
FORMATS = {"ul": "ulaw", "pcm": "ulaw", "mu": "ulaw", "al": "alaw", "raw": "sln", "WAV": "wav49"}
#: The ends of names that are recordings, in the order in which they are looked for.
ENDS = ("wav", "WAV", "wav49", "mp3", *RAW)

#: Bytes a second of GSM in a wav file: 65 bytes are two frames of 20 ms.
_WAV49 = 1625.0
_GSM = 49
#: kbit/s of MPEG 1 and 2, layer 3, by the header's four bits; and samples a second by two.
_BITRATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {3: (44100, 48000, 32000, 0), 2: (22050, 24000, 16000, 0), 0: (11025, 12000, 8000, 0)}


@dataclass(frozen=True, slots=True)
class Sound:
    """A whole recording: its format, its bytes and its seconds."""

    format: str
    size: int
    duration: float


def listen(path: Path) -> Sound:
    """Look at a recording.

    :raises OSError: if it cannot be opened.
    :raises NotComplete: if it may still grow, or ended before its time.
    :raises NotSupported: if it is none.
    """
    end = path.suffix[1:]
    format = FORMATS.get(end, end)
    if end in ("wav", "WAV", "wav49"):
        return _riff(path)
    measured: Callable[[Path, int], float] | None = _mp3_seconds if end == "mp3" else None
    if end in RAW:
        measured = _raw_seconds
    if measured is None:
        raise NotSupported(f"nobody knows the format {end or 'of a name without an end'}")
    seen = path.stat()
    if time.time() - seen.st_mtime < QUIET_FOR:
        raise NotComplete("it was written to a moment ago")
    if not seen.st_size:
        raise NotComplete("it holds no sound")
    return Sound(format, seen.st_size, round(measured(path, seen.st_size), 3))


def _riff(path: Path) -> Sound:
    tag, length, size = riff_data(path)
    if tag == _GSM:
        return Sound("wav49", size, round(length / _WAV49, 3))
    wav = measure(path)
    return Sound("wav", wav.size, wav.duration)


def _raw_seconds(path: Path, size: int) -> float:
    return size / RAW[path.suffix[1:]]


def _mp3_seconds(path: Path, size: int) -> float:
    """By its first frame, as if all had the same bit rate."""
    with path.open("rb") as file:
        head = file.read(4096)
        if head[:3] == b"ID3" and len(head) > 10:
            skipped = 0
            for byte in head[6:10]:
                skipped = skipped << 7 | byte & 0x7F
            file.seek(10 + skipped)
            size -= 10 + skipped
            head = file.read(4096)
    for at in range(len(head) - 3):
        (word,) = unpack(">I", head[at : at + 4])
        version, layer = word >> 19 & 3, word >> 17 & 3
        if word >> 21 != 0x7FF or version == 1 or layer != 1:
            continue
        rate = _BITRATES[3 if version == 3 else 2][word >> 12 & 15]
        if rate and _RATES[version][word >> 10 & 3]:
            return size / (rate * 125)
    raise NotSupported("it is no mp3 file")
