"""Recordings sent as files, whole or in ranges, by twisted.web's own file resource.

What that resource gets wrong about ranges is put right before it sees the request. Knows neither
folders nor calls.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO, cast

from twisted.web.http import CACHED
from twisted.web.server import Request
from twisted.web.static import File

from ccdaemon.errors import Code, Refused

#: Who asks for more pieces of a file at once than this is sent the whole file.
_MOST_RANGES = 8

_RANGES = re.compile(r"bytes=\s*([0-9]*-[0-9]*(?:\s*,\s*[0-9]*-[0-9]*)*)\s*", re.ASCII)


def plain_ranges(header: str, size: int) -> str | None:
    """Spell a ``Range`` header so that nothing in it needs interpretation.

    :param size: the file's size in bytes.
    :return: None where the header says nothing, and the whole file is to be sent.
    """
    found = _RANGES.fullmatch(header)
    wanted = [item.strip() for item in found[1].split(",")] if found else []
    if not 0 < len(wanted) <= _MOST_RANGES or any(len(item) > 40 for item in wanted):
        return None
    plain = [_plain(item, size) for item in wanted]
    return None if None in plain else "bytes=" + ",".join(filter(None, plain))


def _plain(item: str, size: int) -> str | None:
    first, _, last = item.partition("-")
    if first:
        return None if last and int(last) < int(first) else f"{int(first)}-{last}"
    # twisted.web would begin before the file where its last 100 of 50 bytes are wanted.
    return f"-{min(int(last), size)}" if last else None


def _is_there(item: str, size: int) -> bool:
    first, _, last = item.partition("-")
    return int(first) < size if first else min(int(last), size) > 0


class SentFile(File):
    """A file that is complete and stays as it is, as the answer to one request."""

    isLeaf = True

    def __init__(self, path: Path, content_type: str) -> None:
        File.__init__(self, str(path))
        self.type = content_type
        self.encoding = None

    def render_GET(self, request: Request) -> bytes | int:
        """Send what is asked for; blocks only for reads from disk, a piece at a time."""
        # A player in the browser is subject to the policy of what it plays.
        request.responseHeaders.removeHeader("Content-Security-Policy")
        request.setHeader("Cache-Control", "private, no-cache")
        seen = self._seen()
        etag = f'"{seen.st_size:x}-{seen.st_mtime_ns:x}"'.encode("ascii")
        if request.setETag(etag) is CACHED:
            return b""
        self._settle_ranges(request, seen.st_size, etag)
        sent: bytes | int = File.render_GET(self, request)
        return sent

    def _seen(self) -> os.stat_result:
        try:
            return os.stat(self.path)
        except FileNotFoundError:
            raise Refused(Code.RECORD_UNKNOWN, "the recording was just removed") from None

    def openForReading(self) -> BinaryIO:
        """Open the file; what is in the way is a fault of ours, not a page of twisted.web's."""
        try:
            return cast(BinaryIO, File.openForReading(self))
        except OSError as error:
            raise RuntimeError(f"a recording cannot be read: {error}") from error

    render_HEAD = render_GET
    render_POST = render_GET

    def _settle_ranges(self, request: Request, size: int, etag: bytes) -> None:
        headers = request.requestHeaders
        given = headers.getRawHeaders(b"range")
        if given is None:
            return
        condition = request.getHeader(b"if-range")
        plain = plain_ranges(given[0].decode("latin-1"), size)
        headers.removeHeader(b"range")
        if plain is None or condition not in (None, etag) or request.method == b"HEAD":
            return
        if not any(_is_there(item, size) for item in plain.removeprefix("bytes=").split(",")):
            request.setHeader("Content-Range", f"bytes */{size}")
            raise Refused(Code.BAD_RANGE, f"the file has {size} bytes, none of them in this range")
        headers.setRawHeaders(b"range", [plain.encode("ascii")])
