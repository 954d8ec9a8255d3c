"""The journal's SQLite file: its schema, its lock, how it is opened, and how damage is told.

Everything here blocks and belongs into a thread, or before the reactor serves anybody.
Knows no facts and no Twisted.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ccdaemon.store.failures import JournalDamaged, JournalTorn, StateDirBusy
from ccdaemon.store.sqlite_file import connect, create


class StateDirLock:
    """The right to use a ``state_dir``, held from :meth:`acquire` to :meth:`release`."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "lock"
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        :raise StateDirBusy: if another process has it.
        :raise OSError: if the folder cannot be made or written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            written = os.read(fd, 32).strip()
            os.close(fd)
            pid = int(written) if written.isdigit() else None
            raise StateDirBusy(str(self._path.parent), pid) from None
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Give the lock back, if it is held. The file stays: unlinking it would race."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


NAME = "journal.sqlite"
_APPLICATION = 0x63636A6C  # "ccjl", so that no other program's file is taken for a journal

#: Event ids and call numbers that are passed over if the last end was not in order. A file on a
#: disk that lies may have lost them with its end, and they had been told: as much as SQLite keeps
#: in its log, about.
PASSED_OVER = 1000
#: What brings a file of each older format to the next one, in order; the first one is 1.
_UPGRADES = (
    "ALTER TABLE call ADD COLUMN attached INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE journal ADD COLUMN file TEXT NOT NULL DEFAULT ''; UPDATE journal SET file = node;"
    " ALTER TABLE journal ADD COLUMN base INTEGER NOT NULL DEFAULT 0;"
    " ALTER TABLE journal ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;",
    # Of calls that were told twice the first one has it.
    "ALTER TABLE call ADD COLUMN anchor TEXT;"
    " CREATE UNIQUE INDEX call_of_anchor ON call (anchor) WHERE anchor IS NOT NULL;"
    " UPDATE OR IGNORE call SET anchor = (SELECT iif(json_valid(CAST(body AS TEXT)),"
    " json_extract(CAST(body AS TEXT), '$.call.anchor'), NULL) FROM event"
    " WHERE event.call_id = call.call_id AND kind = 'state' ORDER BY event_id LIMIT 1);",
    "ALTER TABLE dead_letter ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;"
    " CREATE INDEX dead_letter_of_event ON dead_letter (event_id);"
    " INSERT OR REPLACE INTO dead_letter (reader, event_id, reason, kept)"
    " SELECT 'postgres', event_id, reason, 1 FROM aside; DROP TABLE aside;",
    "CREATE TABLE forgotten (anchor TEXT PRIMARY KEY, call_id INTEGER NOT NULL,"
    " date INTEGER NOT NULL) WITHOUT ROWID;",
)
_VERSION = 1 + len(_UPGRADES)

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
-- kept up once it has ended. attached: the order was attached to it, and no state changes it.
-- anchor: the channel with which it began; what Asterisk says of it again opens no second call.
CREATE TABLE call (
    call_id       INTEGER PRIMARY KEY,
    last_event_id INTEGER NOT NULL,
    ended         INTEGER,
    order_id      TEXT,
    attached      INTEGER NOT NULL DEFAULT 0,
    anchor        TEXT
);
CREATE UNIQUE INDEX call_of_anchor ON call (anchor) WHERE anchor IS NOT NULL;
CREATE INDEX call_open ON call (call_id) WHERE ended IS NULL;
CREATE INDEX call_ended ON call (ended) WHERE ended IS NOT NULL;

-- The channels with which calls began that were forgotten: what is read of them again, in the log
-- of channel events, opens no second call. Nothing of a person is in it.
CREATE TABLE forgotten (
    anchor  TEXT PRIMARY KEY,
    call_id INTEGER NOT NULL,
    date    INTEGER NOT NULL
) WITHOUT ROWID;

-- Every external key ever used, also those of calls that are long gone from here.
CREATE TABLE external_key (
    external_key TEXT PRIMARY KEY,
    call_id      INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE operator (sip TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE lease (lo INTEGER PRIMARY KEY, hi INTEGER NOT NULL, next INTEGER NOT NULL);

-- Up to where each consumer has got: its checkpoint.
CREATE TABLE reader (name TEXT PRIMARY KEY, event_id INTEGER NOT NULL) WITHOUT ROWID;
-- What a consumer could not take and has passed over. kept: 1 where the event is not forgotten for
-- it, since it is tried again.
CREATE TABLE dead_letter (
    reader   TEXT NOT NULL,
    event_id INTEGER NOT NULL,
    reason   TEXT NOT NULL,
    kept     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (reader, event_id)
) WITHOUT ROWID;
CREATE INDEX dead_letter_of_event ON dead_letter (event_id);

-- floor: everything after this event is still held, and ids begin above it. Of calls that are
-- held, what is older is, too.
-- begun: 1 once Postgres has told the keys in use and where ids begin.
-- file: the name of this very file. node: the same, or taken over from one that is gone.
-- whole: 1 once it was ended in order, so that nothing of it can be lost. base: ids begin above it,
-- too; up to it they may have been given out if something is.
CREATE TABLE journal (
    node  TEXT NOT NULL,
    floor INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    probe INTEGER NOT NULL,
    file  TEXT NOT NULL,
    base  INTEGER NOT NULL,
    whole INTEGER NOT NULL
);
"""
#: What came later: a journal that lacks it gets it when it is opened.
_ADDED = """
-- How far something outside was read that is read again after a gap, such as Asterisk's own log.
CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letter (
    reader TEXT NOT NULL, event_id INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (reader, event_id)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a journal says about itself when it is opened."""

    file: str
    node: str
    head: int
    floor: int
    begun: bool
    leases: list[tuple[int, int]]
    """Numbers that are free: first and last, both included, lowest first."""
    top: int
    """The highest number ever granted."""


def prepare(path: Path) -> Contents:
    """Make the journal if there is none, check it, and read what it says about itself.

    :raise JournalTorn: if the file is a journal, and damaged.
    :raise JournalDamaged: if the file is not a journal, is a newer one, or cannot be used.
    :raise OSError: if the folder cannot be written.
    """
    if not path.exists():
        create(path, _APPLICATION, _VERSION, _fill)
    kind = JournalDamaged
    try:
        connection = connect(path)
        try:
            _recognize(connection, path)
            kind = JournalTorn
            _check(connection, path)
            connection.executescript(f"BEGIN; {_ADDED} COMMIT;")
            _upgrade(connection)
            _begin(connection)
            return _contents(connection)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        is_torn = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT
        raise _damaged(path, str(error), kind if is_torn else JournalDamaged) from error


def _fill(db: sqlite3.Connection) -> None:
    node = secrets.token_hex(3)
    db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    db.execute("INSERT INTO journal VALUES (?, 0, 0, 0, ?, 0, 1)", (node, node))


def _recognize(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise _damaged(path, "it is not a journal of this daemon")
    if version > _VERSION:
        raise JournalDamaged(
            f"{path} was written by a newer daemon (format {version}, this one knows"
            f" {_VERSION}): start that one, or give this one an empty state_dir"
        )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(path, verdict, JournalTorn)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring an older file to this format, all or nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in _UPGRADES[version - 1 :]:
        version += 1
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {version}; COMMIT;")


def _damaged(path: Path, what: str, kind: type[JournalDamaged] = JournalDamaged) -> JournalDamaged:
    what = " ".join(what.split())
    return kind(
        f"the journal {path} is damaged: {what}. Move {path.name}, {path.name}-wal and"
        f" {path.name}-shm to another folder and start again: a new journal goes on from what"
        " Postgres has. Facts that had not reached Postgres can be had from the old file with"
        " `sqlite3 FILE .recover`"
    )


def _begin(connection: sqlite3.Connection) -> None:
    """Note that it is in use; give out nothing once more that its last user may have given out."""
    connection.execute("BEGIN")
    connection.execute(
        "UPDATE journal SET base = ? + max(floor, base, (SELECT coalesce(max(event_id), 0)"
        " FROM event)) WHERE NOT whole",
        (PASSED_OVER,),
    )
    connection.execute(
        "UPDATE lease SET next = min(hi + 1, next + ?) WHERE (SELECT NOT whole FROM journal)"
        " AND lo = (SELECT min(lo) FROM lease WHERE next <= hi)",
        (PASSED_OVER,),
    )
    connection.execute("UPDATE journal SET whole = 0")
    connection.execute("COMMIT")


def _contents(connection: sqlite3.Connection) -> Contents:
    about = "SELECT file, node, floor, begun FROM journal"
    file, node, floor, begun = connection.execute(about).fetchone()
    (head,) = connection.execute("SELECT max(event_id) FROM event").fetchone()
    leases = connection.execute("SELECT next, hi FROM lease WHERE next <= hi ORDER BY lo")
    (top,) = connection.execute("SELECT coalesce(max(hi), 0) FROM lease").fetchone()
    head = max(head or 0, floor)
    return Contents(file, node, head, floor, bool(begun), leases.fetchall(), top)
