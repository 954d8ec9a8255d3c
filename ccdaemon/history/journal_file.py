"""The journal's SQLite file: its schema, how it is opened, and how damage is told.

Everything here blocks and belongs into a thread, or before the reactor serves anybody.
Knows no facts and no Twisted.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ccdaemon.history.failures import JournalDamaged

NAME = "journal.sqlite"
_APPLICATION = 0x63636A6C  # "ccjl", so that no other program's file is taken for a journal
_VERSION = 1

_SCHEMA = """
-- Every fact, in the order told. call_id is null where the fact belongs to no call held here.
CREATE TABLE event (
    event_id INTEGER PRIMARY KEY,
    kind     TEXT NOT NULL,
    call_id  INTEGER,
    date     INTEGER NOT NULL,
    body     BLOB NOT NULL
);
CREATE INDEX event_of_call ON event (call_id) WHERE call_id IS NOT NULL;
CREATE INDEX event_of_none ON event (date) WHERE call_id IS NULL;

-- Calls whose whole chain is held here; ended is null while the call is open, last_event_id is
-- kept up once it has ended.
CREATE TABLE call (
    call_id       INTEGER PRIMARY KEY,
    last_event_id INTEGER NOT NULL,
    ended         INTEGER,
    order_id      TEXT
);
CREATE INDEX call_open ON call (call_id) WHERE ended IS NULL;
CREATE INDEX call_ended ON call (ended) WHERE ended IS NOT NULL;

-- Every external key ever used, also those of calls that are long gone from here.
CREATE TABLE external_key (
    external_key TEXT PRIMARY KEY,
    call_id      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE operator (sip TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE lease (lo INTEGER PRIMARY KEY, hi INTEGER NOT NULL, next INTEGER NOT NULL);

-- Up to where each reader has got, and what a reader could not digest (never pruned).
CREATE TABLE reader (name TEXT PRIMARY KEY, event_id INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE aside (event_id INTEGER PRIMARY KEY, reason TEXT NOT NULL);

-- floor: everything after this event is still held, and ids begin above it.
-- begun: 1 once Postgres has told the keys in use and where ids begin.
CREATE TABLE journal (
    node  TEXT NOT NULL,
    floor INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    probe INTEGER NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal says about itself when it is opened."""

    node: str
    head: int
    floor: int
    begun: bool
    leases: list[tuple[int, int]]
    """Numbers that are free: first and last, both included, lowest first."""
    top: int
    """The highest number ever granted."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection for the calling thread; transactions are begun by hand.

    :raise sqlite3.Error: if the file is not there or not readable.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA mmap_size = 0")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def prepare(path: Path) -> Contents:
    """Make the journal if there is none, check it, and read what it says about itself.

    :raise JournalDamaged: if the file is not a journal, is a newer one, or is damaged.
    :raise OSError: if the folder cannot be written.
    """
    if not path.exists():
        _create(path)
    try:
        connection = connect(path)
        try:
            _check(connection, path)
            return _contents(connection)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error


def _create(path: Path) -> None:
    """Write the new journal aside and move it into place whole."""
    draft = path.with_suffix(".new")
    for name in (draft, Path(f"{draft}-wal"), Path(f"{draft}-shm")):
        name.unlink(missing_ok=True)
    draft.touch(mode=0o640)
    connection = connect(draft)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    connection.execute("INSERT INTO journal VALUES (?, 0, 0, 0)", (secrets.token_hex(3),))
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.close()
    for stale in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        stale.unlink(missing_ok=True)
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise _damaged(path, "it is not a journal of this daemon")
    if version > _VERSION:
        raise JournalDamaged(
            f"{path} was written by a newer daemon (format {version}, this one knows"
            f" {_VERSION}): start that one, or give this one an empty state_dir"
        )
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, verdict)


def _damaged(path: Path, what: str) -> JournalDamaged:
    what = " ".join(what.split())
    return JournalDamaged(
        f"the journal {path} is damaged: {what}. Move {path.name}, {path.name}-wal and"
        f" {path.name}-shm to another folder and start again: a new journal goes on from what"
        " Postgres has. Facts that had not reached Postgres can be had from the old file with"
        " `sqlite3 FILE .recover`"
    )


def _contents(connection: sqlite3.Connection) -> Contents:
    node, floor, begun = connection.execute("SELECT node, floor, begun FROM journal").fetchone()
    (head,) = connection.execute("SELECT max(event_id) FROM event").fetchone()
    leases = connection.execute("SELECT next, hi FROM lease WHERE next <= hi ORDER BY lo")
    (top,) = connection.execute("SELECT coalesce(max(hi), 0) FROM lease").fetchone()
    return Contents(node, max(head or 0, floor), floor, bool(begun), leases.fetchall(), top)
