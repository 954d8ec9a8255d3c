"""``ccdaemon backup`` and ``ccdaemon restore``: all that the daemon keeps, in one file.

The journal first and Postgres after it: what Postgres has beyond the journal the daemon takes up at
its start, the other way round it would be missing. Of the recordings there is only a list. Blocks.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from ccdaemon import __version__
from ccdaemon.config import Config
from ccdaemon.limits.countries import NAME as COUNTRIES
from ccdaemon.store.embedded import EmbeddedPostgres, find_programs
from ccdaemon.store.failures import StateDirBusy
from ccdaemon.store.journal_file import StateDirLock

#: Names within the file: what it is, Postgres, the recordings.
MANIFEST, DUMP, RECORDINGS = "manifest.json", "history.dump", "recordings.txt"
_FORMAT = 1


class BackupFailed(Exception):
    """It cannot be done; the message says why."""


def back_up(config: Config, file: Path) -> list[str]:
    """Write a backup; the daemon may run meanwhile.

    :returns: what is in it, for people.
    :raises BackupFailed: if it cannot be whole; then there is no file.
    """
    said = []
    with _failures(), tempfile.TemporaryDirectory(dir=file.absolute().parent) as name:
        work = Path(name)
        for database in sorted(config.state_dir.glob("*.sqlite")):
            _copy(database, work / database.name)
            said.append(database.name)
        if not said:
            raise BackupFailed(f"{config.state_dir} has no journal")
        if (config.state_dir / COUNTRIES).exists():
            (work / COUNTRIES).write_bytes((config.state_dir / COUNTRIES).read_bytes())
        with _postgres(config) as (url, programs):
            _run(
                programs / "pg_dump", "--format=custom", "--no-owner", f"--file={work / DUMP}", url
            )
        said.append(f"Postgres {config.database.shown}")
        listed = sorted(_recordings(config.asterisk.recordings_mount))
        lines = (f"{size}\t{path}\n" for path, size in listed)
        (work / RECORDINGS).write_text("".join(lines), "utf-8", "surrogateescape")
        said.append(f"a list of {len(listed)} recordings, not their sound")
        about = {"format": _FORMAT, "version": __version__, "date": int(time.time())}
        (work / MANIFEST).write_text(json.dumps(about))
        _pack(work, file)
    return said


def restore(config: Config, file: Path) -> list[str]:
    """Bring back a backup, where there is nothing yet; the daemon may not run.

    :returns: what was brought back and what is missing, for people.
    :raises BackupFailed: if there is something already, or it is no backup.
    """
    state_dir = config.state_dir
    with _failures(), tempfile.TemporaryDirectory() as name, tarfile.open(file) as archive:
        work = Path(name)
        archive.extractall(work, filter="data")
        about = json.loads((work / MANIFEST).read_text())
        if about.get("format") != _FORMAT:
            raise BackupFailed(f"{file} is of ccdaemon {about.get('version')}, which knows more")
        lock = StateDirLock(state_dir)
        lock.acquire()
        try:
            return _bring_back(config, work)
        finally:
            lock.release()


def _bring_back(config: Config, work: Path) -> list[str]:
    there = sorted(config.state_dir.glob("*.sqlite"))
    if there:
        raise BackupFailed(f"{there[0]} is there already; move {config.state_dir} aside")
    said = []
    with _postgres(config) as (url, programs):
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('call') IS NULL")
            if cursor.fetchone() != (True,):
                raise BackupFailed(f"{config.database.shown} has a history already")
        words = ("--no-owner", "--single-transaction", "--exit-on-error")
        _run(programs / "pg_restore", *words, f"--dbname={url}", str(work / DUMP))
        said.append(f"Postgres {config.database.shown}")
    for kept in sorted([*work.glob("*.sqlite"), *work.glob(COUNTRIES)]):
        (config.state_dir / kept.name).write_bytes(kept.read_bytes())
        said.append(kept.name)
    lines = (work / RECORDINGS).read_text("utf-8", "surrogateescape").splitlines()
    named = [line.partition("\t")[2] for line in lines]
    missing = [path for path in named if not (config.asterisk.recordings_mount / path).is_file()]
    said.append(f"{len(missing)} of {len(named)} recordings are missing; bring them back yourself")
    return said


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except StateDirBusy as error:
        raise BackupFailed(f"the daemon runs: {error}") from error
    except (OSError, ValueError, sqlite3.Error, psycopg2.Error, tarfile.TarError) as error:
        raise BackupFailed(" ".join(str(error).split())) from error


@contextmanager
def _postgres(config: Config) -> Iterator[tuple[str, Path]]:
    """Where Postgres is, and the folder of its programs; one of the daemon's own is started."""
    if not config.database.embedded:
        with closing(psycopg2.connect(config.database.url)) as connection:
            version = connection.server_version // 10_000
        yield config.database.url, find_programs(version)
        return
    embedded = EmbeddedPostgres(config.state_dir)
    programs = embedded.find()
    ran = embedded.running
    embedded.start()
    try:
        yield embedded.url, programs
    finally:
        if not ran:
            embedded.stop()


def _copy(source: Path, target: Path) -> None:
    """A copy of a moment, whoever writes meanwhile."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        old.backup(new)


def _recordings(folder: Path) -> Iterator[tuple[str, int]]:
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.stat().st_size


def _run(program: Path, *words: str) -> None:
    done = subprocess.run([str(program), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupFailed(f"{program.name}: {' '.join(done.stderr.split())}")


def _pack(work: Path, file: Path) -> None:
    """One file that its owner alone may read: there is everything in it."""
    draft = work / "draft"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path in sorted(work.iterdir()):
                if path != draft:
                    archive.add(path, path.name)
        stream.flush()
        os.fsync(stream.fileno())
    os.link(draft, file)
