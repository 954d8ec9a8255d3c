"""Small disks for parts of Postgres: the tables of the daemon's database, and the log of all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.faults.stage import Stage

#: MB of each: the database is some ten; the log of writes keeps five pieces of sixteen and more,
#: and has to have room for another one once the disk is no longer full.
_TABLES, _WAL = 64, 256


def refusals(stage: Stage) -> int:
    """How often Postgres has said that there is no room."""
    log = stage.lab.postgres.folder / "log"
    return log.read_text(errors="replace").count("No space left on device")


def of_tables(stage: Stage) -> Path:
    """The disk with the tables."""
    return stage.lab.postgres.folder / f"small-{stage.database}"


def of_wal(stage: Stage) -> Path:
    """The disk with the write-ahead log."""
    return stage.lab.postgres.folder / "small-wal"


def mount_for_tables(stage: Stage) -> None:
    """Put the database, which is empty yet, on a disk of its own."""
    space = _mount(stage, of_tables(stage), "space", _TABLES)
    stage.lab.postgres.sql(f"CREATE TABLESPACE \"{stage.database}\" LOCATION '{space}'")
    stage.lab.postgres.sql(f'ALTER DATABASE "{stage.database}" SET TABLESPACE "{stage.database}"')


def mount_for_wal(stage: Stage) -> None:
    """Put the write-ahead log on a disk of its own."""
    postgres = stage.lab.postgres
    # Else it keeps more pieces after each recovery, until there is no room for one.
    postgres.sql("ALTER SYSTEM SET wal_recycle = off")
    postgres.stop()
    log = postgres.folder / "data/pg_wal"
    there = _mount(stage, of_wal(stage), "pg_wal", _WAL)
    for path in log.iterdir():
        subprocess.run(["mv", str(path), str(there)], check=True)
    log.rmdir()
    log.symlink_to(there)
    postgres.start()


def unmount(stage: Stage) -> None:
    """Let go of both; the server may have files open there, and will miss what it wrote."""
    for folder in filter(Path.exists, (of_tables(stage), of_wal(stage))):
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(stage: Stage, folder: Path, name: str, megabytes: int) -> Path:
    """Mount a disk of its own on a folder; a folder in it that is the server's."""
    folder.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    inner = folder / name
    inner.mkdir(mode=0o700)
    owner = stage.lab.postgres.folder.stat()
    for path in (folder, inner):
        os.chown(path, owner.st_uid, owner.st_gid)
    return inner
