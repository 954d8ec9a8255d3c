"""Files and folders: may this user read and write what the daemon has to?"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ccdaemon.check.findings import Finding, fail, ok, warn
from ccdaemon.check.unit import unit_that_shuts
from ccdaemon.config import Config
from ccdaemon.limits.do_not_call import Listed
from ccdaemon.numbers import Numbers
from ccdaemon.pbx import cel_signals

_TAIL = 65536


def try_files(config: Config, file: Path, user: int) -> Iterator[Finding]:
    """Look at the configuration file and at every folder that it names.

    :param user: the effective user id; root may read everything, so it learns nothing.
    """
    if user == 0:
        yield warn("user", "this is root, who may read everything; ask as the daemon's own user")
    yield _configuration(file)
    yield _state_dir(config.state_dir)
    if config.asterisk.record:
        yield _recordings(config.asterisk.recordings_mount, config.writes_recordings)
    yield _cel_file(config.asterisk.cel_file)
    if config.limits.do_not_call_file is not None:
        numbers = Numbers(config.numbers.country, config.numbers.internal.text)
        yield _do_not_call(config.limits.do_not_call_file, numbers)


def _configuration(file: Path) -> Finding:
    mode = file.stat().st_mode
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        return warn(str(file), f"holds secrets and is open to everybody: chmod 600 {file}")
    return ok(str(file), "sound")


def _state_dir(folder: Path) -> Finding:
    part = f"state_dir {folder}"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return fail(part, f"{there} is no folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return fail(part, f"{there} cannot be written: {error.strerror}")
    return ok(part, "can be written" if there == folder else "will be made")


def _recordings(folder: Path, needed_by: Sequence[str]) -> Finding:
    part = f"recordings_mount {folder}"
    if not folder.is_dir():
        return fail(part, "is no folder here")
    if not os.access(folder, os.R_OK | os.X_OK):
        return fail(part, "cannot be read by this user")
    if not needed_by:
        return ok(part, "can be read")
    shut = _not_writable(folder)
    if shut is not None:
        words = f"{shut} cannot be written by this user, as {', '.join(needed_by)} needs"
        return fail(part, f'{words}: see "Who removes recordings" in docs/install.md')
    unit = unit_that_shuts(folder)
    if unit is not None:
        words = f"is shut by {unit}, and {', '.join(needed_by)} needs to write there"
        return fail(part, f"{words}: systemctl edit {unit.name}, ReadWritePaths={folder}")
    return ok(part, "can be read and written")


def _not_writable(folder: Path) -> Path | None:
    """The folder, or the newest of its days, where files cannot be made and removed."""
    newest = folder
    while True:
        if not os.access(newest, os.W_OK | os.X_OK):
            return newest
        below = [each for each in newest.iterdir() if each.name.isdecimal() and each.is_dir()]
        if not below:
            return None
        newest = max(below, key=lambda each: each.name)


def _do_not_call(file: Path, reading: Numbers) -> Finding:
    part = f"do_not_call_file {file}"
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            numbers = Listed(reading, lines)
    except OSError as error:
        return fail(part, f"cannot be read: {error.strerror}")
    if numbers.nonsense:
        return warn(part, f"{len(numbers)} numbers, and {numbers.nonsense} lines that are none")
    return ok(part, f"{len(numbers)} numbers")


def _cel_file(file: Path) -> Finding:
    part = f"cel_file {file}"
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL))
            # The last line may be just being written.
            whole, _, _ = stream.read().rpartition(b"\n")
            lines = whole.decode("utf-8", "replace").split("\n") if whole else []
    except FileNotFoundError:
        return warn(part, "is not there; Asterisk makes it with the first call, if CEL is set up")
    except OSError as error:
        return fail(part, f"cannot be read: {error.strerror}")
    if lines and next(cel_signals.read_rows(lines[-1:])) is None:
        words = "has other columns than cel_custom_ccdaemon.conf asks for, or another dateformat"
        return fail(part, words)
    return ok(part, "can be read")
