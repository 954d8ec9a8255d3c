"""The journal beside a disk that is full, damaged, not writable or gone."""

from __future__ import annotations

import os
import secrets
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from ccdaemon.store.failures import CallKnown, JournalBroken, JournalDamaged, StateDirBusy
from ccdaemon.store.group_commit import LINGER
from ccdaemon.store.journal import Journal
from ccdaemon.store.journal_file import NAME, PASSED_OVER, StateDirLock, prepare
from ccdaemon.store.sqlite_file import connect, quarantine_file
from tests.clocks import Wall
from tests.store.parts import NOON, JournalCase, chain, change, view


def small_disk(case: JournalCase, kilobytes: int) -> Path:
    """Mount a disk of its own for a test; only root can."""
    if os.geteuid() != 0:
        raise SkipTest("a full disk needs root, to mount a small one")
    disk = Path(case.mktemp())
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "ccdaemon-test", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        raise SkipTest(f"a full disk needs a mount: {mounted.stderr.strip()}")
    case.addCleanup(lambda: subprocess.run(["umount", "--lazy", str(disk)], check=True))
    return disk


class FullDiskTests(JournalCase):
    """A disk that is full, for real."""

    async def test_full_and_free_again(self) -> None:
        """A full disk opens no calls, loses no state of an open one, and heals by itself."""
        disk = small_disk(self, 1024)
        journal = await self.begun(disk / "state")
        facts = chain(view(1))
        await journal.append(facts[:1])
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, self.assertRaises(OSError):
            while True:
                file.write(bytes(4096))
        # What SQLite had reserved is used up first.
        for call_id in range(2, 200):
            try:
                await journal.append(chain(view(call_id, external_key="k" * 60 + str(call_id))))
            except JournalBroken as error:
                self.assertIn("full", error.reason)
                break
        else:
            self.fail("the disk never was full")
        self.assertIn("full", journal.health.broken or "")
        self.assertIn("full", journal.not_ready or "")
        waiting = journal.append(facts[1:3])
        await self.fails(journal.append(chain(view(999))), JournalBroken)
        self.assertNoResult(waiting)
        self.assertTrue(journal.settled().called)
        self.assertEqual(2, journal.health.waiting)
        told = await journal.chain(1)
        assert told is not None
        filler.unlink()
        await waiting
        self.assertIsNone(journal.not_ready)
        await journal.append(facts[3:])
        told = await journal.chain(1)
        assert told is not None
        self.assertEqual([fact.state for fact in facts], [row.state for row in told.states])
        self.assertIsNone(await journal.chain(999))
        self.assertIsNone(await journal.find_key("key-999"))


def as_before_dead_letters(db: sqlite3.Connection) -> None:
    """Make it a journal of format 4: what Postgres had refused had a table of its own."""
    db.execute("DROP TABLE forgotten")
    db.execute("DROP TABLE dead_letter")
    db.execute(
        "CREATE TABLE dead_letter (reader TEXT NOT NULL, event_id INTEGER NOT NULL,"
        " reason TEXT NOT NULL, PRIMARY KEY (reader, event_id)) WITHOUT ROWID"
    )
    db.execute("CREATE TABLE aside (event_id INTEGER PRIMARY KEY, reason TEXT NOT NULL)")


class DamageTests(JournalCase):
    """A file that is not what it should be is told at the start."""

    async def written(self) -> Path:
        """Leave a journal of some size behind."""
        journal = await self.begun()
        await journal.append([fact for n in range(1, 60) for fact in chain(view(n))])
        await journal.stopService()
        return self.state_dir / NAME

    async def refused(self, *words: str) -> None:
        """Starting must fail with words that help."""
        error = self.assertRaises(JournalDamaged, self.journal)
        for word in (str(self.state_dir / NAME), *words):
            self.assertIn(word, str(error))
        # The folder is free again.
        lock = StateDirLock(self.state_dir)
        lock.acquire()
        lock.release()

    async def anew(self) -> Journal:
        """A damaged file is set aside whole, and a new journal begins."""
        before = (self.state_dir / NAME).read_bytes()
        journal = self.journal()
        self.assertFalse(journal.begun)
        self.assertEqual(0, journal.high_watermark)
        [aside] = self.state_dir.glob(f"{NAME}.damaged-*[0-9]")
        self.assertEqual(before, aside.read_bytes())
        self.assertIn(str(aside), journal.health.set_aside or "")
        return journal

    async def test_a_torn_last_page(self) -> None:
        """A file that ends in the middle of a page is set aside."""
        path = await self.written()
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 2048)
        first = await self.anew()
        await first.stopService()
        # The next start has nothing to say about it.
        self.assertIsNone(self.journal().health.set_aside)

    async def test_a_page_of_noise(self) -> None:
        """A page that was overwritten in its half."""
        path = await self.written()
        with path.open("r+b") as file:
            file.seek(2 * 4096)
            file.write(secrets.token_bytes(2048))
        await self.anew()

    async def test_its_log_goes_with_it(self) -> None:
        """Under a name by which SQLite finds it."""
        path = await self.written()
        Path(f"{path}-wal").write_bytes(b"its log")
        aside = quarantine_file(path, "damaged-x")
        self.assertEqual(b"its log", Path(f"{aside}-wal").read_bytes())
        self.assertFalse(path.exists())

    async def test_the_log_says_what_to_do(self) -> None:
        """In one critical line: where it is, and how what is missing can be had."""
        said: list[LogEvent] = []
        observer: Any = said.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        path = await self.written()
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 2048)
        await self.anew()
        [line] = [one for one in said if one["log_level"] is LogLevel.critical]
        words = str(formatEvent(line))
        for word in (f"{NAME}.damaged-", ".recover", "Postgres"):
            self.assertIn(word, words)

    async def test_it_cannot_be_set_aside(self) -> None:
        """Then it is refused, with what to do; and nothing has been moved."""
        path = await self.written()
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 2048)
        before = sorted(self.state_dir.iterdir())

        def rename(self: Path, target: Path) -> Path:
            raise OSError("no")

        self.patch(Path, "rename", rename)
        await self.refused("damaged", "Move", ".recover", "cannot be moved from here: no")
        self.assertEqual(before, sorted(self.state_dir.iterdir()))

    async def test_its_name_is_a_date(self) -> None:
        """The wall's, whatever the clock says that counts from the machine's start."""
        path = await self.written()
        path.write_bytes(path.read_bytes()[:-2048])
        uptime = Clock()
        uptime.advance(3600)
        self.journal(clock=uptime, wall=Wall(uptime, NOON / 1000 - 3600))
        self.assertTrue(Path(f"{path}.damaged-20231114-221320").exists())

    async def test_one_is_there_already(self) -> None:
        """What was set aside before is not written over, nor is what is left of it."""
        path = await self.written()
        before = path.read_bytes()
        Path(f"{path}.damaged-x").touch()
        Path(f"{path}.damaged-x-2-wal").touch()
        aside = quarantine_file(path, "damaged-x")
        self.assertEqual(f"{NAME}.damaged-x-3", aside.name)
        self.assertEqual(before, aside.read_bytes())
        self.assertEqual(b"", Path(f"{path}.damaged-x").read_bytes())

    async def test_noise_instead_of_a_file(self) -> None:
        """A file that is no database is refused."""
        self.state_dir.mkdir()
        (self.state_dir / NAME).write_bytes(secrets.token_bytes(10_000))
        await self.refused("not a database")

    async def test_an_empty_file(self) -> None:
        """An empty file is no journal: something has emptied it."""
        self.state_dir.mkdir()
        (self.state_dir / NAME).touch()
        await self.refused("not a journal")

    async def test_somebody_elses_database(self) -> None:
        """Another program's database is left alone."""
        self.state_dir.mkdir()
        db = sqlite3.connect(self.state_dir / NAME)
        db.execute("CREATE TABLE theirs (n)")
        db.close()
        await self.refused("not a journal")

    async def test_a_newer_journal(self) -> None:
        """A journal of a newer daemon is refused rather than guessed at."""
        path = await self.written()
        db = sqlite3.connect(path)
        db.execute("PRAGMA user_version = 99")
        db.close()
        await self.refused("newer", "99")

    async def test_an_older_journal(self) -> None:
        """One of an older format goes on under its name, as after an end that was not in order."""
        path = await self.written()
        with closing(connect(path)) as db:
            (node,) = db.execute("SELECT node FROM journal").fetchone()
            for column in ("file", "base", "whole"):
                db.execute(f"ALTER TABLE journal DROP COLUMN {column}")
            db.execute("DROP INDEX call_of_anchor")
            db.execute("ALTER TABLE call DROP COLUMN anchor")
            as_before_dead_letters(db)
            db.execute("PRAGMA user_version = 2")
        journal = self.journal()
        self.assertEqual((node, node), (journal.file, journal.node))
        head = journal.high_watermark
        self.assertEqual([head + PASSED_OVER + 1], await journal.append([change("1")]))

    async def test_an_older_journal_with_refused_facts(self) -> None:
        """What Postgres had refused by then is still tried again, and not forgotten."""
        journal = await self.begun()
        await journal.append(chain(view(1)))
        await journal.stopService()
        with closing(connect(self.state_dir / NAME)) as db:
            as_before_dead_letters(db)
            db.execute("INSERT INTO aside VALUES (3, 'too big')")
            db.execute("INSERT INTO dead_letter VALUES ('webhooks', 4, 'no calendar')")
            db.execute("PRAGMA user_version = 4")
        journal = self.journal()
        self.assertEqual([3], [one.event_id for one in await journal.quarantined("postgres", 9)])
        self.assertEqual([], await journal.quarantined("webhooks", 9))
        self.assertEqual(1, await journal.dead_letters("webhooks"))

    async def test_an_older_journal_with_a_call_twice(self) -> None:
        """It opens, and its calls are known by their channels as those of today are."""
        journal = await self.begun()
        await journal.append(chain(view(1, anchor="17.1")))
        await journal.append(chain(view(2, anchor="17.2")))
        await journal.stopService()
        with closing(connect(self.state_dir / NAME)) as db:
            db.execute("DROP INDEX call_of_anchor")
            db.execute("ALTER TABLE call DROP COLUMN anchor")
            db.execute(
                "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), '17.2', '17.1') AS BLOB)"
            )
            as_before_dead_letters(db)
            db.execute("PRAGMA user_version = 3")
        journal = self.journal()
        error = await self.fails(journal.append(chain(view(3, anchor="17.1"))), CallKnown)
        self.assertEqual(1, error.call_id)
        await journal.append(chain(view(3, anchor="17.2")))

    async def test_nothing_is_mapped(self) -> None:
        """The index is no file in a map: on a disk that takes nothing that would end the daemon."""
        journal = await self.begun()
        await journal.append(chain(view(1)))
        self.assertIsNotNone(await journal.chain(1))
        self.assertTrue((self.state_dir / f"{NAME}-wal").exists())
        self.assertFalse((self.state_dir / f"{NAME}-shm").exists())
        self.assertNotIn(NAME, Path("/proc/self/maps").read_text())

    async def test_a_torn_end_of_the_log(self) -> None:
        """A write that the power cut in the middle is as if it had never been begun."""
        journal = await self.begun()
        await journal.append(chain(view(1)))
        path = self.state_dir / NAME
        wal = Path(f"{path}-wal")
        size = wal.stat().st_size
        await journal.append([change("1")])
        other = Path(self.mktemp())
        other.mkdir()
        (other / NAME).write_bytes(path.read_bytes())
        (other / f"{NAME}-wal").write_bytes(wal.read_bytes()[: size + 2000])
        again = self.journal(other)
        self.assertEqual(6, again.high_watermark)
        self.assertEqual([PASSED_OVER + 7], await again.append([change("1")]))

    async def test_no_end_in_order(self) -> None:
        """What may have been told and lost with the end is not given out again; else all is."""
        journal = await self.begun()
        await journal.append(chain(view(journal.take_call_id())))
        other = Path(self.mktemp())
        other.mkdir()
        for name in (NAME, f"{NAME}-wal"):
            (other / name).write_bytes((self.state_dir / name).read_bytes())
        await journal.stopService()
        again = await self.begun()
        self.assertEqual(2, again.take_call_id())
        self.assertEqual([7], await again.append([change("1")]))
        killed = self.journal(other)
        self.assertEqual((6, 0), (killed.high_watermark, killed.low_watermark))
        self.assertEqual(PASSED_OVER + 2, killed.take_call_id())
        self.assertEqual([PASSED_OVER + 7], await killed.append([change("1")]))
        self.assertEqual(7, len(await killed.after(0, 100)))

    async def test_ends_that_were_not_in_order(self) -> None:
        """Each passes over some, whatever was done in between; a lease may be used up by it."""
        path = self.state_dir / NAME
        await (await self.begun()).stopService()
        for left in ([(1001, 1500)], []):
            with closing(connect(path)) as db:
                db.execute("UPDATE lease SET hi = 1500")
                db.execute("UPDATE journal SET whole = 0")
            contents = prepare(path)
            self.assertEqual(0, contents.head)
            self.assertEqual(left, contents.leases)
        journal = self.journal()
        self.assertEqual([3 * PASSED_OVER + 1], await journal.append([change("1")]))

    async def test_a_power_cut_loses_nothing_told(self) -> None:
        """The files as they are on disk at any moment hold everything that was told."""
        journal = await self.begun()
        for n in range(1, 20):
            await journal.append(chain(view(n)))
            other = Path(self.mktemp())
            other.mkdir()
            for name in (NAME, f"{NAME}-wal"):
                (other / name).write_bytes((self.state_dir / name).read_bytes())
            self.assertEqual(6 * n, prepare(other / NAME).head)

    async def test_a_half_made_journal(self) -> None:
        """A first start that was killed in the middle leaves nothing in the way."""
        self.state_dir.mkdir()
        draft = (self.state_dir / NAME).with_suffix(".new")
        draft.write_bytes(b"half")
        journal = await self.begun()
        self.assertEqual([1], await journal.append([change("1")]))
        self.assertFalse(draft.exists())

    def test_a_folder_that_cannot_be_made(self) -> None:
        """A state_dir below a file is an error of the system's own words."""
        self.state_dir.parent.mkdir(exist_ok=True)
        self.state_dir.touch()
        self.assertRaises(OSError, self.journal, self.state_dir / "below")

    def test_a_lock_without_a_name(self) -> None:
        """A lock file that holds no number is still a lock."""
        self.journal()
        (self.state_dir / "lock").write_text("?")
        error = self.assertRaises(StateDirBusy, self.journal)
        self.assertIn("another process", str(error))

    async def test_settings_of_a_connection(self) -> None:
        """Every commit is on the disk, and no page is read through a memory map."""
        await self.written()
        db = connect(self.state_dir / NAME)
        self.addCleanup(db.close)
        for pragma, value in (("synchronous", 2), ("mmap_size", 0), ("journal_mode", "wal")):
            self.assertEqual((value,), db.execute(f"PRAGMA {pragma}").fetchone())


class StopTests(JournalCase):
    """A disk that hangs does not keep the daemon from ending."""

    async def test_a_disk_that_hangs(self) -> None:
        """When the disk takes longer than the time limit, stopping ends and says so."""
        journal = await self.begun(drain=0.05)
        blocker = connect(self.state_dir / NAME)
        blocker.execute("BEGIN IMMEDIATE")
        blocker.execute("UPDATE journal SET probe = 0")
        waiting = journal.append([change("1")])
        await journal.stopService()
        blocker.execute("ROLLBACK")
        blocker.close()
        self.assertEqual([1], await waiting)

    async def test_a_disk_that_fails_at_the_end(self) -> None:
        """What the disk does not take at the end fails, and the journal closes."""
        journal = await self.begun()
        path = self.state_dir / NAME
        await journal.append([change("1")])
        path.rename(path.with_suffix(".away"))
        waiting = journal.append([change("2")])
        await journal.stopService()
        await self.fails(waiting, JournalBroken)
        self.assertEqual("the daemon is stopping", journal.health.broken)


class UpkeepTests(JournalCase):
    """The journal forgets by itself."""

    async def test_it_forgets_every_minute(self) -> None:
        """What has ended a day ago and was read is gone after a minute."""
        clock = Clock()
        clock.advance((NOON + 6 * 1000) / 1000)
        journal = self.journal(clock=clock)
        await journal.begin(0, [])
        await journal.append(chain(view(1)))

        def noted() -> Deferred[None]:
            noting = Deferred.fromCoroutine(journal.set_checkpoint("postgres", 6))
            clock.advance(LINGER)
            return noting

        await noted()
        clock.advance(24 * 3600 - 60)
        await noted()
        self.assertEqual(0, journal.low_watermark)
        clock.advance(60)
        await noted()
        self.assertEqual(6, journal.low_watermark)
        self.assertIsNone(await journal.chain(1))

    async def test_stopping_while_it_forgets(self) -> None:
        """A journal that is stopped while it forgets does not look again."""
        clock = Clock()
        journal = self.journal(clock=clock)
        clock.advance(60)
        await journal.stopService()
        clock.advance(600)
        self.assertEqual([], clock.getDelayedCalls())
