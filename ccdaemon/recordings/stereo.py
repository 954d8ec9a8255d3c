"""The two sides of a talk become one stereo recording: the operator left, the client right.

Asterisk writes the mixed file and beside it one for each side. Once all are complete the stereo
file takes the place of the mixed one and the sides go. Whatever is broken off is done again, from
files that are still there. Everything here blocks: not for the reactor's thread.
"""

from __future__ import annotations

import os
from array import array
from contextlib import suppress
from pathlib import Path
from shutil import copymode
from struct import pack
from typing import BinaryIO

from ccdaemon.recordings.wav import NotSupported, Wav, measure

#: How many samples of each side are read at once.
_BLOCK = 64 * 1024
#: A wav file's header counts its bytes in 32 bits.
_MOST_BYTES = 2**32 - 64


def sides(recording: Path) -> tuple[Path, Path]:
    """Name the operator's file and the client's, as the dialplan does."""
    return _named(recording, "operator"), _named(recording, "client")


def beside(recording: Path) -> tuple[Path, ...]:
    """Name all files that may lie beside a recording that is not put together yet."""
    return *sides(recording), _named(recording, "stereo")


def join_sides(recording: Path) -> None:
    """Put the two sides, if there are any, in the place of the complete mixed file.

    The shorter side ends in silence.

    :raises OSError: if one side is missing or nothing can be written.
    :raises NotComplete, NotSupported: as :func:`ccdaemon.recordings.wav.measure` does, for a side.
    """
    operator, client = sides(recording)
    if not operator.exists() and not client.exists():
        return
    if measure(recording).channels == 1:
        target = _named(recording, "stereo")
        try:
            _write(operator, client, target)
            _belong_like(target, recording)
            os.replace(target, recording)
        finally:
            target.unlink(missing_ok=True)
    drop_sides(recording)


def drop_sides(recording: Path) -> None:
    """Remove what lies beside a recording, as far as that can be."""
    for file in beside(recording):
        with suppress(OSError):
            file.unlink()


def _named(recording: Path, what: str) -> Path:
    return recording.with_name(f"{recording.stem}-{what}{recording.suffix}")


def _write(operator: Path, client: Path, target: Path) -> None:
    left, right = measure(operator), measure(client)
    if left.channels != 1 or right.channels != 1 or left.rate != right.rate:
        raise NotSupported("its sides are not two mono files of one rate")
    samples = max(left.data_size, right.data_size) // 2
    if samples * 4 > _MOST_BYTES:
        raise NotSupported("it is too long for a wav file in stereo")
    with open(operator, "rb") as one, open(client, "rb") as other, open(target, "wb") as stereo:
        one.seek(left.data_start)
        other.seek(right.data_start)
        stereo.write(_header(left.rate, samples * 4))
        for begin in range(0, samples, _BLOCK):
            count = min(_BLOCK, samples - begin)
            both = array("h", bytes(4 * count))
            both[0::2] = _samples(one, left, begin, count)
            both[1::2] = _samples(other, right, begin, count)
            both.tofile(stereo)
        stereo.flush()
        # The sides are removed next: what takes their place has to outlive a power cut.
        os.fsync(stereo.fileno())


def _samples(file: BinaryIO, wav: Wav, begin: int, count: int) -> array[int]:
    """Read the next samples of a side; what it does not have is silence."""
    left = max(0, wav.data_size // 2 - begin)
    read = file.read(2 * min(count, left))
    return array("h", read.ljust(2 * count, b"\0"))


def _header(rate: int, size: int) -> bytes:
    shape = pack("<HHIIHH", 1, 2, rate, rate * 4, 4, 16)
    return (
        b"RIFF"
        + pack("<I4s4sI", 36 + size, b"WAVE", b"fmt ", 16)
        + shape
        + pack("<4sI", b"data", size)
    )


def _belong_like(target: Path, recording: Path) -> None:
    """Let the same people read it as the file that it replaces."""
    copymode(recording, target)
    with suppress(OSError):
        os.chown(target, -1, recording.stat().st_gid)
