"""Which Debian mirror this machine itself uses, read from its apt sources.

Knows the two spellings of apt's lists; opens no connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_ONE_LINE = re.compile(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+\S+")
_DEBIAN = re.compile(r"^https?://\S+/debian/?$")


def host_mirror(apt: Path = Path("/etc/apt")) -> str | None:
    """The first mirror of Debian itself that apt is told of; None: there is none.

    Mirrors of security updates and of other people's packages are not what is sought.
    """
    for uri in _uris(apt):
        for plain in _resolve(uri):
            if _DEBIAN.match(plain):
                return plain.rstrip("/")
    return None


def _uris(apt: Path) -> Iterator[str]:
    folder = apt / "sources.list.d"
    for path in sorted(folder.glob("*.sources")):
        yield from deb822_uris(path.read_text(errors="replace"))
    for path in [apt / "sources.list", *sorted(folder.glob("*.list"))]:
        if path.exists():
            yield from one_line_uris(path.read_text(errors="replace").splitlines())


def one_line_uris(lines: Iterable[str]) -> Iterator[str]:
    """The addresses of ``deb`` lines."""
    for line in lines:
        if match := _ONE_LINE.match(line.strip()):
            yield match[1]


def deb822_uris(text: str) -> Iterator[str]:
    """The addresses of the stanzas that are enabled and have binary packages."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                fields[name] = f"{fields.get(name, '')} {line.strip()}"
            else:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if (
            fields.get("enabled", "yes").lower() != "no"
            and "deb" in fields.get("types", "").split()
        ):
            yield from fields.get("uris", "").split()


def _resolve(uri: str) -> list[str]:
    """``mirror+file:`` names a list of mirrors, as on the cloud images."""
    if not uri.startswith("mirror+file:"):
        return [uri]
    path = Path("/" + uri.removeprefix("mirror+file:").lstrip("/"))
    if not path.exists():
        return []
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
