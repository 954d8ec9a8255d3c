"""The CEL file on the disk: what was written since a place, whatever was rotated meanwhile.

Everything here blocks and belongs into a thread. A place outlives the daemon: it names a file by
its inode and by what stood before the place, so that a file that logrotate renamed or copied away
is found again, and a new file under an old inode is not taken for it. Compressed files are not
read. Knows lines, and not what they say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

#: Bytes read at one time; a longer line is no row.
CHUNK = 128 * 1024
#: Bytes before a place by which its file is known again.
_MARK = 256
#: How logrotate names what it has turned, before it is compressed.
_TURNED = re.compile(r"[.-]\d[\d.-]*")
#: Milliseconds by which the daemon's clock may have been set, or be another than the disk's: so
#: much more is read again of files in which the place is not found.
_SET = 2 * 3600 * 1000
#: How often a file may be gone that was there a moment ago.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class LogOffset:
    """Where somebody is in the file.

    ``mark`` tells what stands before ``offset``; ``date`` is when somebody was there, in
    milliseconds by the daemon's clock. Where there was no file yet all but the date is empty.
    """

    inode: int
    offset: int
    mark: str
    date: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines, none at the end of what there is, and the place after them.

    ``left``: bytes that were not read yet. ``lost``: the file that was read before is gone, and
    with it what was not read of it.
    """

    lines: list[str]
    place: LogOffset
    left: int = 0
    lost: bool = False


def end(path: Path, date: int) -> LogOffset:
    """The place after the last whole line.

    :raise OSError: if the file cannot be read; that it is not there is no error.
    """
    try:
        with path.open("rb") as stream:
            size = _size(stream)
            before = stream.seek(max(0, size - CHUNK))
            last = stream.read(size - before).rfind(b"\n") + 1
            # In a line that is no row no place is better than another.
            return _log_offset(stream, before + last if last or not before else size, date)
    except FileNotFoundError:
        return LogOffset(0, 0, "", date)


def since(path: Path, date: int, date_of: Callable[[str], int | None]) -> LogOffset:
    """The place of the first line that is not older than a moment, in whatever file it is.

    Lines have to be in order of time but for a little: none so much older stands behind it.

    :param date: the moment, in milliseconds.
    :param date_of: when a line was written, in milliseconds; None for one that does not say.
    :raise OSError: if a file cannot be read; that there is none is no error.
    """
    for _ in range(_TRIES):
        try:
            return _offset_since(path, date, date_of)
        except FileNotFoundError:
            continue
    return LogOffset(0, 0, "", date)


def _offset_since(path: Path, date: int, date_of: Callable[[str], int | None]) -> LogOffset:
    files = _files(path)
    place = LogOffset(0, 0, "", date)
    for file in files[_since(files, path, date) :]:
        with file.open("rb") as stream:
            offset = _first(stream, date, date_of)
            place = _log_offset(stream, offset, date)
            if offset < _size(stream):
                break
    return place


def _first(stream: BinaryIO, date: int, date_of: Callable[[str], int | None]) -> int:
    """Where the first line is that is not older than a moment; the end if all are."""
    low, high = 0, _size(stream)
    while low < high:
        middle = (low + high) // 2
        after, found = _dated(stream, middle, date_of)
        if found is None or found >= date:
            high = middle
        else:
            low = after
    return low


def _dated(
    stream: BinaryIO, offset: int, date_of: Callable[[str], int | None]
) -> tuple[int, int | None]:
    """Of the first line from an offset on that says when it was: where it ends, and when."""
    if offset:
        stream.seek(offset - 1)
        stream.readline(CHUNK)
    else:
        stream.seek(0)
    for line in iter(partial(stream.readline, CHUNK), b""):
        found = date_of(line.decode("utf-8", "replace")) if line.endswith(b"\n") else None
        if found is not None:
            return stream.tell(), found
    return stream.tell(), None


def read(path: Path, start: LogOffset, date: int, most: int = CHUNK) -> Chunk:
    """Go on from a place, through the files that were turned since and then the file itself.

    A torn last line waits; in a turned file nobody will complete it, so it is one.

    :param date: now, in milliseconds.
    :raise OSError: if a file cannot be read; that there is none is no error.
    """
    for _ in range(_TRIES):
        try:
            return _read(path, start, date, most)
        except FileNotFoundError:
            continue  # It has just been turned, and is looked for again.
    return Chunk([], start)


def _read(path: Path, start: LogOffset, date: int, most: int) -> Chunk:
    files = _files(path)
    index, offset = _find(files, start), start.offset
    lost = index is None and offset > 0
    if index is None:
        index, offset = _since(files, path, start.date), 0
    left = sum(file.stat().st_size for file in files[index:]) - offset
    for file in files[index:]:
        with file.open("rb") as stream:
            lines, after = _lines(stream, offset, most, whole=file != path)
            if lines:
                left = max(0, left - (after - offset))
                return Chunk(lines, _log_offset(stream, after, date), left, lost)
        left -= after - offset
        offset = 0
    return Chunk([], start, max(0, left))


def _files(path: Path) -> list[Path]:
    """What was turned, the oldest first, and the file itself, if it is there."""
    turned = [
        other
        for other in path.parent.iterdir()
        if other.name.startswith(path.name) and _TURNED.fullmatch(other.name[len(path.name) :])
    ]
    turned.sort(key=lambda file: file.stat().st_mtime_ns)
    return [*turned, *([path] if path.exists() else [])]


def _find(files: list[Path], start: LogOffset) -> int | None:
    """Which of the files the place is in. The beginning of a file is in none for certain."""
    found = None
    for index, file in enumerate(files if start.offset else ()):
        with file.open("rb") as stream:
            if _size(stream) < start.offset or _mark(stream, start.offset) != start.mark:
                continue
            if os.fstat(stream.fileno()).st_ino == start.inode:
                return index
        found = index
    return found


def _since(files: list[Path], path: Path, date: int) -> int:
    """The first of the files that may have been written after a moment, or the file itself."""
    late = (file == path or file.stat().st_mtime * 1000 >= date - _SET for file in files)
    return next((index for index, is_late in enumerate(late) if is_late), len(files))


def _lines(stream: BinaryIO, offset: int, most: int, *, whole: bool) -> tuple[list[str], int]:
    """The lines from ``offset`` on, and where they end; ``whole``: nothing is added any more."""
    stream.seek(offset)
    data = stream.read(most)
    if not whole or len(data) == most:
        # A line that is longer than all that is read at one time is none, and passed over.
        data = data[: data.rfind(b"\n") + 1] or (data if len(data) == most else b"")
    text = data.decode("utf-8", "replace")
    return text.removesuffix("\n").split("\n") if text else [], offset + len(data)


def _log_offset(stream: BinaryIO, offset: int, date: int) -> LogOffset:
    return LogOffset(os.fstat(stream.fileno()).st_ino, offset, _mark(stream, offset), date)


def _mark(stream: BinaryIO, offset: int) -> str:
    before = max(0, offset - _MARK)
    stream.seek(before)
    return sha256(stream.read(offset - before)).hexdigest()[:16]


def _size(stream: BinaryIO) -> int:
    return os.fstat(stream.fileno()).st_size
