"""Where Asterisk and SIPp are run from: a baked Debian, or the machine's own Asterisk.

Knows paths and versions; does not know configurations.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab import Unavailable
from lab.debian import Progress, Suite, cache_folder, ensure_root
from lab.processes import run

_HOST = Path("/")


@dataclass(frozen=True)
class Root:
    """A file system with an ``asterisk`` in it.

    ``path`` is ``/`` for the machine's own; ``base`` is the folder, as seen from within, that the
    lab's instances live in; ``sipp`` is None where no SIPp is installed.
    """

    path: Path
    base: PurePosixPath
    asterisk: str = "/usr/sbin/asterisk"
    sipp: str | None = "/usr/bin/sipp"

    def command(self, *argv: str) -> list[str]:
        """The command line that runs ``argv`` in this root."""
        return list(argv) if self.path == _HOST else ["chroot", str(self.path), *argv]

    def on_host(self, inside: PurePosixPath) -> Path:
        """A path as seen from outside."""
        return self.path / inside.relative_to("/")

    def folder(self, name: str) -> PurePosixPath:
        """The folder of an instance, as seen from within."""
        return self.base / name

    @property
    def version(self) -> str:
        """Such as ``22.10.1``. :raises Unavailable: it does not run."""
        said = run(self.command(self.asterisk, "-V"))
        match = re.search(r"Asterisk (?:certified[-/])?(\d[\d.]*)", said)
        if match is None:
            raise Unavailable(f"{self.asterisk} -V says {said.strip()!r}, no version")
        return match[1].rstrip(".")

    @property
    def modules(self) -> str:
        """Asterisk's folder of modules, as seen from within."""
        for pattern in ("usr/lib/*-linux-gnu*/asterisk/modules", "usr/lib*/asterisk/modules"):
            for found in sorted(self.path.glob(pattern)):
                return f"/{found.relative_to(self.path)}"
        local = PurePosixPath(self.asterisk).parent.parent / "lib/asterisk/modules"
        if not self.on_host(local).is_dir():
            raise Unavailable(f"the folder of modules that belongs to {self.asterisk} is unknown")
        return str(local)

    @property
    def data(self) -> str:
        """Asterisk's folder of sounds and documentation, as seen from within."""
        for folder in ("/usr/share/asterisk", "/var/lib/asterisk"):
            if self.on_host(PurePosixPath(folder) / "documentation").is_dir():
                return folder
        return "/var/lib/asterisk"


def baked(suite: Suite, cache: Path | None = None, progress: Progress = print) -> Root:
    """The baked Debian of a suite. :raises Unavailable: it cannot be had."""
    path = ensure_root(suite, cache or cache_folder(), progress)
    sipp = "/usr/bin/sipp" if (path / "usr/bin/sipp").exists() else None
    return Root(path, PurePosixPath("/srv/ccdaemon"), sipp=sipp)


def find_root(cache: Path | None = None, progress: Progress = print) -> Root:
    """The Asterisk to use: ``CCDAEMON_ASTERISK``, else one on PATH, else the baked Debian sid.

    :raises Unavailable: there is none.
    """
    cache = cache or cache_folder()
    named = os.environ.get("CCDAEMON_ASTERISK")
    if named and not os.access(named, os.X_OK):
        raise Unavailable(f"CCDAEMON_ASTERISK={named} is not a program")
    asterisk = named or shutil.which("asterisk")
    if asterisk is None:
        return baked("sid", cache, progress)
    base = PurePosixPath(cache.absolute() / "instances")
    own = Root(_HOST, base, str(Path(asterisk).absolute()), _own_sipp())
    progress(f"using {own.asterisk}, version {own.version}")
    return own


def _own_sipp() -> str | None:
    """This machine's SIPp, if it is new enough for the phones' scenarios."""
    sipp = shutil.which("sipp")
    if sipp is None:
        return None
    said = subprocess.run([sipp, "-v"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"SIPp v(\d+)\.(\d+)", said)
    return sipp if match and (int(match[1]), int(match[2])) >= (3, 7) else None


def phones_root(root: Root, cache: Path | None = None, progress: Progress = print) -> Root:
    """The root whose SIPp plays the phones: the same one, or else the baked Debian sid.

    :raises Unavailable: no SIPp and no root rights to get one.
    """
    if root.sipp is not None:
        return root
    try:
        return baked("sid", cache, progress)
    except Unavailable as error:
        raise Unavailable(f"there is no SIPp 3.7 or later on PATH, and {error}") from error
