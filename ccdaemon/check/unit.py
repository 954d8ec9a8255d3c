"""The systemd unit: which folders does it let the daemon write?

Knows only the two lines of a unit that say so; asks no systemd, which may not be the one here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

NAME = "ccdaemon.service"
#: Where systemd looks, the administrator's first: the first unit that is there counts.
FOLDERS = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"))


def unit_that_shuts(folder: Path, folders: Sequence[Path] = FOLDERS) -> Path | None:
    """The daemon's unit, if there is one that keeps it from writing in a folder."""
    unit = next((each / NAME for each in folders if (each / NAME).is_file()), None)
    if unit is None:
        return None
    added = [path for each in folders for path in sorted((each / f"{NAME}.d").glob("*.conf"))]
    text = "\n".join(path.read_text("utf-8", "replace") for path in (unit, *added))
    return None if lets_write(text.splitlines(), folder) else unit


def lets_write(lines: Iterable[str], folder: Path) -> bool:
    """Whether a unit's lines, in the order in which systemd reads them, let a folder be written."""
    strict, open_to = False, list[Path]()
    for line in lines:
        name, _, value = line.strip().partition("=")
        if name == "ProtectSystem":
            strict = value == "strict"
        elif name == "ReadWritePaths":
            # An empty one takes back those before it.
            named = [Path(each.lstrip("-+")) for each in value.split()]
            open_to = [*open_to, *named] if named else []
    return not strict or any(folder.is_relative_to(path) for path in open_to)
