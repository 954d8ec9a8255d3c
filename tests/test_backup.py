"""A backup of everything, brought back where there is nothing: with a real Postgres."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.backup import BackupFailed, back_up, restore
from ccdaemon.config import Asterisk, Config, Database
from ccdaemon.limits.countries import NAME as COUNTRIES
from ccdaemon.store.journal_file import StateDirLock
from ccdaemon.store.migrate import migrations
from tests.store.server import server

JOURNAL = Path(__file__).parent / "store" / "before" / "journal.sql"


class BackupTests(SynchronousTestCase):
    """Two houses: one that has something, and one that has nothing yet."""

    def setUp(self) -> None:
        """Have both."""
        self.base = Path(self.mktemp()).absolute()
        self.old, self.new = (self.house(name) for name in ("old", "new"))
        with closing(sqlite3.connect(self.old.state_dir / "journal.sqlite")) as db:
            db.executescript(JOURNAL.read_text())
        with closing(sqlite3.connect(self.old.state_dir / "webhooks.sqlite")) as db:
            db.executescript("CREATE TABLE kept (word); INSERT INTO kept VALUES ('delivery')")
            db.commit()
        (self.old.state_dir / COUNTRIES).write_text("pl\n")
        with closing(psycopg2.connect(self.old.database.url)) as db, db.cursor() as cursor:
            for migration in migrations():
                cursor.execute(migration.sql)
            cursor.execute("INSERT INTO spent_key VALUES ('key', 7)")
            db.commit()
        recording = self.old.asterisk.recordings_mount / "2026/11/30/a.wav"
        recording.parent.mkdir(parents=True)
        recording.write_bytes(b"sound")
        self.file = self.base / "backup.tar"

    def house(self, name: str) -> Config:
        """A configuration with folders and a database of its own."""
        folder = self.base / name
        (folder / "state").mkdir(parents=True)
        (folder / "recordings").mkdir()
        url = server().database()
        self.addCleanup(server().give_back, url)
        asterisk = Asterisk(
            secret="x", client_channel="SIP/{phone}", recordings_mount=folder / "recordings"
        )
        return Config(state_dir=folder / "state", asterisk=asterisk, database=Database(url=url))

    def events(self, config: Config) -> list[object]:
        """What the journal of a house has."""
        with closing(sqlite3.connect(config.state_dir / "journal.sqlite")) as db:
            return db.execute("SELECT * FROM event ORDER BY event_id").fetchall()

    def test_there_and_back(self) -> None:
        """Journal, deliveries, countries and Postgres are the same; a recording is missed."""
        said = back_up(self.old, self.file)
        self.assertIn("a list of 1 recordings, not their sound", said)
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        said = restore(self.new, self.file)
        self.assertIn("1 of 1 recordings are missing; bring them back yourself", said)
        self.assertEqual(self.events(self.new), self.events(self.old))
        self.assertNotEqual(self.events(self.new), [])
        with closing(sqlite3.connect(self.new.state_dir / "webhooks.sqlite")) as db:
            self.assertEqual(db.execute("SELECT word FROM kept").fetchall(), [("delivery",)])
        self.assertEqual((self.new.state_dir / COUNTRIES).read_text(), "pl\n")
        with closing(psycopg2.connect(self.new.database.url)) as db, db.cursor() as cursor:
            cursor.execute("SELECT external_key, call_id FROM spent_key")
            self.assertEqual(cursor.fetchall(), [("key", 7)])

    def test_nothing_is_overwritten(self) -> None:
        """No backup, no journal, no history; and nothing is touched under a daemon."""
        back_up(self.old, self.file)
        again = self.assertRaises(BackupFailed, back_up, self.old, self.file)
        self.assertIn("exists", str(again))
        there = self.assertRaises(BackupFailed, restore, self.old, self.file)
        self.assertIn("is there already", str(there))
        lock = StateDirLock(self.new.state_dir)
        lock.acquire()
        busy = self.assertRaises(BackupFailed, restore, self.new, self.file)
        self.assertIn("the daemon runs", str(busy))
        lock.release()
        restore(self.new, self.file)
        for kept in self.new.state_dir.glob("*.sqlite"):
            kept.unlink()
        history = self.assertRaises(BackupFailed, restore, self.new, self.file)
        self.assertIn("has a history already", str(history))

    def test_no_backup(self) -> None:
        """What is none is said in a line."""
        self.file.write_text("no archive")
        self.assertRaises(BackupFailed, restore, self.new, self.file)
        self.assertRaises(BackupFailed, back_up, self.new, self.base / "other.tar")
