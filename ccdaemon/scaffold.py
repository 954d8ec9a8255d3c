"""Writes a configuration and the files for an Asterisk that is already there.

Knows which files of ``conf/`` hold a secret; never overwrites anything.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_SOURCE = Path(__file__).parent / "conf"

#: Where a file that is shipped has a place for a secret: the first such line after ``below``, and
#: what becomes of it; one secret is AMI's, one FastAGI's.
_SECRETS = (
    ("ccdaemon.toml", "[asterisk]", 'secret = ""', 'secret = "{ami}"'),
    ("ccdaemon.toml", "[fastagi]", '# secret = ""', 'secret = "{agi}"'),
    ("asterisk/manager_ccdaemon.conf", "", "secret = @SECRET@", "secret = {ami}"),
    (
        "asterisk/extensions_ccdaemon_local.conf",
        "[globals]",
        "CC_AGI=127.0.0.1:4573/@SECRET@",
        "CC_AGI=127.0.0.1:4573/{agi}",
    ),
)


class FilesExist(Exception):
    """There are files already, so nothing was written."""

    def __init__(self, paths: list[Path]) -> None:
        names = "\n".join(f"  {path}" for path in paths)
        super().__init__(f"Nothing was written, since these are there already:\n{names}")
        self.paths = paths


def write_files(folder: Path) -> list[Path]:
    """Write all files of ``conf/`` into ``folder``, which is made if need be.

    Those that hold a secret can be read by their owner only.

    :returns: the paths, in order.
    :raises FilesExist: if one of them is there; then none is written.
    :raises OSError: if a file cannot be written.
    """
    fresh = {"ami": secrets.token_urlsafe(32), "agi": secrets.token_urlsafe(32)}
    contents = {
        source.relative_to(_SOURCE).as_posix(): source.read_text(encoding="utf-8")
        for source in sorted(_SOURCE.rglob("*"))
        if source.is_file()
    }
    for name, below, line, filled in _SECRETS:
        content = contents[name]
        before, found, after = content[content.index(below) :].partition(f"\n{line}\n")
        assert found, f"{name} has no line {line}"
        above = content[: content.index(below)]
        contents[name] = f"{above}{before}\n{filled.format(**fresh)}\n{after}"
    there = [folder / name for name in contents if (folder / name).exists()]
    if there:
        raise FilesExist(there)
    secret = {name for name, *_ in _SECRETS}
    for name, content in contents.items():
        _write(folder / name, content, 0o600 if name in secret else 0o644)
    return [folder / name for name in contents]


def _write(path: Path, content: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(content)
