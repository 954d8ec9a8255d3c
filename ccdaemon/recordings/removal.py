"""Removes the files of recordings: those named, and those of long ago that nobody names.

Never leaves the recordings folder, and never touches what is not laid out as our recordings are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

from twisted.logger import Logger

from ccdaemon.recordings.mp3 import InThread, Mp3Cache
from ccdaemon.recordings.recordings import NAME
from ccdaemon.recordings.stereo import beside

_NUMBER = {4: re.compile(r"[0-9]{4}"), 2: re.compile(r"[0-9]{2}")}
_NAME = re.compile(NAME, re.ASCII)
_EPOCH = datetime(1970, 1, 1)
_log = Logger()


class RecordingFiles:
    """The files below ``recordings_mount``, and the mp3 files made of them.

    :param root: the folder as the daemon sees it.
    """

    def __init__(self, root: Path, in_thread: InThread, mp3: Mp3Cache) -> None:
        self._root = root
        self._in_thread = in_thread
        self._mp3 = mp3

    async def remove(self, files: Sequence[tuple[str, str]]) -> set[str]:
        """Remove recordings by uniqueid and path; what is gone already is as good as removed.

        :return: the paths that could not be removed; the log says why.
        """
        left: set[str] = await self._in_thread(self._remove, [path for _, path in files])
        for uniqueid, path in files:
            if path not in left and _NAME.fullmatch(uniqueid):
                await self._mp3.remove(uniqueid)
        return left

    async def sweep(self, before: int) -> int:
        """Remove what lies in the folders of days that were over before a moment (ms).

        :return: how many files that were.
        """
        day = (_EPOCH + timedelta(milliseconds=before)).date()
        count: int = await self._in_thread(self._sweep, day)
        return count

    # From here on: in a thread.

    def _remove(self, paths: Sequence[str]) -> set[str]:
        return {path for path in paths if not self._removed(path)}

    def _removed(self, path: str) -> bool:
        root = self._root.resolve()
        try:
            found = (root / path).resolve()
            if not found.is_relative_to(root):
                _log.error("{path} lies outside the recordings folder and stays", path=path)
                return False
            for file in (found, *beside(found)):
                file.unlink(missing_ok=True)
        except (OSError, ValueError, RuntimeError) as error:
            _log.error("{path} could not be removed: {error}", path=path, error=error)
            return False
        self._tidy(found.parent)
        return True

    def _tidy(self, folder: Path) -> None:
        """Remove a day's folder if it is empty, and the month's and the year's with it."""
        root = self._root.resolve()
        while folder != root and folder.is_relative_to(root):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    def _sweep(self, before: date) -> int:
        count = 0
        for folder, day in self._days():
            if day < before:
                for file in folder.glob("*.wav"):
                    if file.is_symlink() or file.is_file():
                        count += self._removed(str(file.relative_to(self._root)))
                self._tidy(folder.resolve())
        return count

    def _days(self) -> list[tuple[Path, date]]:
        """The folders that are named after days, with the days."""
        found = []
        for year in _named(self._root, 4):
            for month in _named(year, 2):
                for folder in _named(month, 2):
                    try:
                        day = date(int(year.name), int(month.name), int(folder.name))
                    except ValueError:
                        continue
                    found.append((folder, day))
        return found


def _named(folder: Path, digits: int) -> list[Path]:
    """The folders in a folder whose names are so many digits; links are not followed."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if _NUMBER[digits].fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        )
    except OSError as error:
        _log.error("{folder} cannot be read: {error}", folder=str(folder), error=error)
        return []
