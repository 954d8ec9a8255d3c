"""Wav files for the tests, as Asterisk writes them, and as it does not."""

from __future__ import annotations

import math
from struct import pack


def tone(seconds: float, rate: int = 8000, channels: int = 1) -> bytes:
    """Make 16-bit samples of a tone of 400 Hz, the same in every channel."""
    samples = (
        int(8000 * math.sin(2 * math.pi * 400 * index / rate))
        for index in range(int(seconds * rate))
    )
    return b"".join(pack("<h", sample) * channels for sample in samples)


def wav(
    data: bytes,
    *,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    tag: int = 1,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """Put samples into a complete file; ``before`` and ``after`` are chunks around the data."""
    align = channels * bits // 8
    shape = pack("<HHIIHH", tag, channels, rate, rate * align, align, bits)
    padding = b"\0" * (len(data) % 2)
    chunks = (
        b"fmt " + pack("<I", len(shape)) + shape + before
        + b"data" + pack("<I", len(data)) + data + padding + after
    )  # fmt: skip
    return b"RIFF" + pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def unfinished(data: bytes) -> bytes:
    """Make a file as it lies there while Asterisk still writes it: the header knows no lengths."""
    whole = bytearray(wav(data))
    whole[4:8] = whole[40:44] = b"\0\0\0\0"
    return bytes(whole)
