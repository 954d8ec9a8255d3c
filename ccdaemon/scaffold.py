"""Writes a configuration and the files for an Asterisk that is already there.

Knows which files of ``conf/`` hold a secret, and which lines follow from what an administrator has
answered; never overwrites anything.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).parent / "conf"

#: A line of a shipped file that becomes another: the file, what stands somewhere above, both lines.
Fill = tuple[str, str, str, str]

_TOML = "ccdaemon.toml"
#: Where a file that is shipped has a place for a secret; one is AMI's, one FastAGI's.
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


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What an administrator says of their house.

    ``country`` is home, in two small letters, ``countries`` are where clients are; None and none:
    that is left open. ``operators`` is how many there are: limits are cut for so many. ``trunk`` is
    what Asterisk calls the clients' trunk, ``database`` a url, or ``embedded``.
    """

    country: str | None = None
    countries: tuple[str, ...] = ()
    operators: int = 20
    trunk: str = "trunk"
    chan_sip: bool = False
    database: str = "postgresql://ccdaemon@/ccdaemon"

    def lines(self) -> Iterator[Fill]:
        """The lines of ``ccdaemon.toml`` that follow."""
        for section, key, before, after in self._keys():
            yield _TOML, f"\n[{section}]", before, f"{key} = {after}"

    def _keys(self) -> Iterator[tuple[str, str, str, str]]:
        """Section, key, the line as shipped, and the value that it gets."""
        client = f"SIP/{{phone}}@{self.trunk}" if self.chan_sip else f"PJSIP/{{phone}}@{self.trunk}"
        shipped = 'client_channel = "PJSIP/{phone}@trunk"'
        yield "asterisk", "client_channel", shipped, f'"{client}"'
        if self.chan_sip:
            shipped = '# operator_channel = "PJSIP/{sip}"'
            yield "asterisk", "operator_channel", shipped, '"SIP/{sip}"'
        shipped = 'url = "postgresql://ccdaemon@/ccdaemon"'
        yield "database", "url", shipped, f'"{self.database}"'
        if self.country is not None:
            yield "numbers", "country", '# country = "ua"', f'"{self.country}"'
        countries = self.countries or tuple(filter(None, [self.country]))
        if countries:
            listed = ", ".join(f'"{country}"' for country in countries)
            yield "limits", "countries", "# countries = []", f"[{listed}]"
        for key, value in self._limits():
            yield "limits", key, f"# {key} = 0", str(value)

    def _limits(self) -> Iterator[tuple[str, int]]:
        """More than anybody dials who means well, and little enough to be paid for."""
        yield "operator_per_minute", 10
        yield "operator_per_hour", 120
        yield "operator_per_day", 600
        yield "client_per_minute", max(30, 4 * self.operators)
        yield "client_per_hour", max(300, 40 * self.operators)
        yield "client_per_day", max(2_000, 300 * self.operators)
        yield "max_duration", 7_200
        yield "extra_minutes_per_day", 60


class FilesExist(Exception):
    """There are files already, so nothing was written."""

    def __init__(self, paths: list[Path]) -> None:
        names = "\n".join(f"  {path}" for path in paths)
        super().__init__(f"Nothing was written, since these are there already:\n{names}")
        self.paths = paths


def write_files(folder: Path, answers: Answers = Answers()) -> list[Path]:
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
    secret = [(name, below, old, new.format(**fresh)) for name, below, old, new in _SECRETS]
    fill(contents, [*secret, *answers.lines()])
    there = [folder / name for name in contents if (folder / name).exists()]
    if there:
        raise FilesExist(there)
    hidden = {name for name, *_ in _SECRETS}
    for name, content in contents.items():
        _write(folder / name, content, 0o600 if name in hidden else 0o644)
    return [folder / name for name in contents]


def fill(contents: dict[str, str], lines: Iterable[Fill]) -> None:
    """Put lines into the files that have their places."""
    for name, below, line, filled in lines:
        start = contents[name].index(below)
        before, there, after = contents[name][start:].partition(f"\n{line}\n")
        assert there, f"{name} has no line {line} below {below}"
        contents[name] = f"{contents[name][:start]}{before}\n{filled}\n{after}"


def _write(path: Path, content: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(file, "w", encoding="utf-8") as stream:
        stream.write(content)
