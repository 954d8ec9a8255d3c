"""A disk of its own for a state folder: an ext4 file system in a file, on a loop device.

What the device was given is in the file; what the kernel still keeps in memory is not. So a copy
of the file is what a power cut leaves: a drive that loses its own cache is not imitated.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.processes import run

_SIZE = 24 * 1024 * 1024
#: ext4 writes by itself what nobody has asked it to only after so many seconds.
_OPTIONS = "loop,commit=300"
_UNSYNCED = "unsynced"


@dataclass(frozen=True)
class Disk:
    """The disk that is mounted ``at`` a folder; its file lies beside that."""

    at: Path

    @property
    def image(self) -> Path:
        """The file with the file system."""
        return self.at.parent / "disk.img"

    def make(self) -> None:
        """Make and mount it. :raises Unavailable: no loop device is to be had, or no right to."""
        with self.image.open("wb") as image:
            image.truncate(_SIZE)
        run(["mkfs.ext4", "-q", "-F", str(self.image)])
        self._mount()

    def remove(self) -> None:
        """Unmount and remove it, if it is there."""
        subprocess.run(["umount", str(self.at)], check=False)
        self.image.unlink(missing_ok=True)

    def write_unsynced(self) -> None:
        """Write a file that no power cut leaves whole, since nobody waits for the disk."""
        (self.at / _UNSYNCED).write_bytes(b"x" * 65536)

    def cut(self) -> bool:
        """The power fails, and is back: nobody may have the file system in use.

        :return: whether what was written without waiting for the disk is lost.
        """
        left = self.image.with_suffix(".left")
        shutil.copyfile(self.image, left)
        run(["umount", str(self.at)])
        left.rename(self.image)
        self._mount()
        control = self.at / _UNSYNCED
        is_lost = not control.exists() or control.read_bytes() != b"x" * 65536
        control.unlink(missing_ok=True)
        return is_lost

    def _mount(self) -> None:
        run(["mount", "-o", _OPTIONS, str(self.image), str(self.at)])


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Meanwhile the file system of a folder takes nothing any more."""
    filling = folder / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    try:
        yield
    finally:
        filling.unlink()


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Meanwhile nothing in a folder can be written, by root neither, nor by whoever has it open.

    A file system that is in use cannot be remounted read-only.

    :raises Unavailable: the file system has no such attribute.
    """
    with immutable(*(path for path in folder.iterdir() if path.is_file()), folder):
        yield


@contextlib.contextmanager
def immutable(*paths: Path) -> Iterator[None]:
    """Meanwhile these files and folders cannot be written, as above."""
    names = [str(path) for path in paths]
    run(["chattr", "+i", *names])
    try:
        yield
    finally:
        run(["chattr", "-i", *names])
