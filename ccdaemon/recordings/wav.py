"""Wav files as Asterisk writes them: is one complete, what is in it, and the same as mp3.

Asterisk writes the lengths into the header when it closes the file, so a header that agrees with
the file's size says that the recording is complete. Everything here blocks: not for the reactor's
thread. Knows neither calls nor folders.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import BinaryIO

import lameenc

_PCM = 1
#: Names of what Asterisk's other wav-like formats hold, by the format tag.
_OTHERS = {6: "A-law", 7: "µ-law", 49: "GSM (wav49)"}
#: How much is read at once, in bytes: whole frames of one or two channels.
_BLOCK = 64 * 1024
#: A file has few chunks before its data; whatever has more is none of Asterisk's.
_MOST_CHUNKS = 32


class NotComplete(Exception):
    """The file is still being written, or was cut off; the message says what is seen."""


class NotSupported(Exception):
    """The file will never be a recording that can be served; the message says why."""


@dataclass(frozen=True, slots=True)
class Wav:
    """What a complete file holds: 16-bit samples, ``data_size`` bytes from ``data_start`` on."""

    channels: int
    rate: int
    data_start: int
    data_size: int
    size: int

    @property
    def duration(self) -> float:
        """How long it lasts, in seconds, to the millisecond."""
        return round(self.data_size / (2 * self.channels * self.rate), 3)


def measure(path: Path) -> Wav:
    """Look at a file.

    :raises OSError: if it cannot be opened.
    :raises NotComplete: if it may still grow, or ended before its time.
    :raises NotSupported: if it is something else than 16-bit PCM in one or two channels.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 12:
            raise NotComplete(f"{size} bytes, not even a header")
        riff, riff_size, wave = unpack("<4sI4s", file.read(12))
        if riff != b"RIFF" or wave != b"WAVE":
            raise NotSupported("it is no wav file")
        if riff_size != size - 8:
            raise NotComplete(f"its header speaks of {riff_size + 8} bytes, the file has {size}")
        return _chunks(file, size)


def riff_data(path: Path) -> tuple[int, int, int]:
    """The format's tag, the bytes of sound and the bytes of a whole wav file, whatever it holds.

    :raises OSError, NotComplete, NotSupported: as :func:`measure` does.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(4096)
    if len(head) < 44:
        raise NotComplete(f"{len(head)} bytes, not even a header")
    riff, riff_size, wave = unpack("<4sI4s", head[:12])
    if riff != b"RIFF" or wave != b"WAVE":
        raise NotSupported("it is no wav file")
    if riff_size != size - 8:
        raise NotComplete(f"its header speaks of {riff_size + 8} bytes, the file has {size}")
    tag, position = 0, 12
    while position + 10 <= len(head):
        name, length = unpack("<4sI", head[position : position + 8])
        if name == b"fmt ":
            (tag,) = unpack("<H", head[position + 8 : position + 10])
        elif name == b"data":
            return tag, min(length, size - position - 8), size
        position += 8 + length + length % 2
    raise NotSupported("it has no data where they should be")


def _chunks(file: BinaryIO, size: int) -> Wav:
    shape: tuple[int, int] | None = None
    position = 12
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise NotComplete("it ends before its data")
        name, length = unpack("<4sI", head)
        position += 8
        if name == b"fmt ":
            shape = _shape(file.read(16))
        elif name == b"data":
            return _with_data(shape, position, length, size)
        position += length + length % 2
        file.seek(position)
    raise NotSupported("it has no data where they should be")


def _shape(header: bytes) -> tuple[int, int]:
    if len(header) < 16:
        raise NotComplete("it ends in the middle of its header")
    tag, channels, rate, _, _, bits = unpack("<HHIIHH", header)
    if tag != _PCM or bits != 16:
        found = _OTHERS.get(tag, f"format {tag} with {bits} bits")
        raise NotSupported(f"it holds {found}; let Asterisk record 16-bit PCM (.wav)")
    if channels not in (1, 2) or rate == 0:
        raise NotSupported(f"it holds {channels} channels at {rate} Hz")
    return channels, rate


def _with_data(shape: tuple[int, int] | None, start: int, length: int, size: int) -> Wav:
    if shape is None:
        raise NotSupported("its data have no format")
    if start + length > size:
        raise NotComplete(f"its data end at byte {start + length}, the file has {size}")
    if length == 0:
        # A file that was just opened looks like this as well.
        raise NotComplete("it holds no sound")
    channels, rate = shape
    return Wav(channels, rate, start, length - length % (2 * channels), size)


def encode_mp3(source: Path, target: Path, is_stopped: Callable[[], bool]) -> bool:
    """Write the recording as mp3 of constant bit rate, block by block.

    :param is_stopped: asked before each block; true ends the work.
    :return: whether all of it was written.
    :raises OSError: if a file cannot be read or written.
    :raises NotComplete, NotSupported: as :func:`measure` does.
    """
    wav = measure(source)
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(wav.channels)
    encoder.set_in_sample_rate(wav.rate)
    encoder.set_bit_rate((32 if wav.rate <= 8000 else 64) * wav.channels)
    encoder.set_quality(5)
    with open(source, "rb") as pcm, open(target, "wb") as mp3:
        pcm.seek(wav.data_start)
        left = wav.data_size
        while left:
            if is_stopped():
                return False
            block = pcm.read(min(left, _BLOCK))
            if not block:
                raise NotComplete("it has become shorter")
            left -= len(block)
            mp3.write(encoder.encode(block))
        mp3.write(encoder.flush())
    return True
