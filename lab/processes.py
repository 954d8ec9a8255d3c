"""Children that cannot outlive the lab, and what a killed lab has left behind.

Knows processes and folders; does not know what runs in them.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab import Unavailable

_PR_SET_PDEATHSIG = 1
#: Labs side by side ask for ports at the same moment, so each has dice of its own. Above these are
#: the ports of connections that go out, and those of sound, which the phones choose by chance.
_PORTS = {socket.SOCK_STREAM: range(10_000, 32_000), socket.SOCK_DGRAM: range(5_100, 10_000)}
_dice = random.SystemRandom()
_claims: list[int] = []
_claimed: set[int] = set()
_libc = ctypes.CDLL(None, use_errno=True)


class Child:
    """A process that the kernel kills when the lab's own process ends, however it ends.

    Start it from the main thread: the kernel counts the death of the starting thread.
    ``log`` receives stdout and stderr; ``uid`` is whom it runs as (None: the lab's own user).
    """

    def __init__(
        self,
        argv: Sequence[str],
        log: Path,
        *,
        ledger: Ledger | None = None,
        uid: tuple[int, int] | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.argv = tuple(argv)
        self.log = log
        with log.open("ab") as sink:
            self._popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=None if env is None else dict(env),
                user=uid[0] if uid else None,
                group=uid[1] if uid else None,
                extra_groups=[] if uid else None,
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        if ledger is not None:
            ledger.started(self.pid)

    @property
    def pid(self) -> int:
        """The process id; the process may have ended."""
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """The exit status, minus the signal that killed it; None while it runs."""
        return self._popen.poll()

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def wait(self, timeout: float) -> int:
        """The exit status, when it has ended. :raises subprocess.TimeoutExpired: it still runs."""
        return self._popen.wait(timeout)

    def kill(self) -> None:
        """End it at once, as a crash would, with what it has started in its session."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def stop(self, timeout: float = 5.0, number: int = signal.SIGTERM) -> int:
        """Ask it to end, wait ``timeout`` seconds, then kill it; the exit status."""
        self.send(signal.SIGCONT)
        self.send(number)
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._popen.wait()


def die_with(parent: int) -> Callable[[], None]:
    """What a child calls first, so that it ends when its ``parent`` does, however that ends."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended between fork and here
            os._exit(1)
        # Of whom nohup starts the children would ignore it, too, whatever a test sends them.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        # Asterisk and SIPp close every possible descriptor when they start a program.
        resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return prepare


def run(argv: Sequence[str], timeout: float = 30.0, env: Mapping[str, str] | None = None) -> str:
    """Run a short command and return what it says; ``env`` is added to the environment.

    :raises Unavailable: it failed, with its words.
    """
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{argv[0]} could not be run: {error}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise Unavailable(f"{' '.join(argv)} failed with {done.returncode}: {said[-2000:]}")
    return done.stdout


class Ledger:
    """What a lab has started and made, on disk, so that the next one can clear up after it.

    One file per lab in ``folder``, named after its process; a line per child (with its start time,
    since process ids come again) or folder.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        clear_up(folder)
        self.path = folder / f"{os.getpid()}-{time.monotonic_ns()}.jsonl"
        # Whole at once: without its owner another lab would take it for one left behind.
        begun = self.path.with_suffix(".begun")
        begun.write_text(json.dumps({"owner": _identity(os.getpid())}) + "\n")
        begun.rename(self.path)

    def started(self, pid: int) -> None:
        """Remember a child."""
        self._note(child=_identity(pid))

    def made(self, folder: Path) -> None:
        """Remember a folder that goes with the lab."""
        self._note(folder=str(folder))

    def close(self) -> None:
        """Remove what was made; the children have been stopped by whoever started them."""
        _settle(self.path)

    def _note(self, **fact: object) -> None:
        with self.path.open("a") as ledger:
            ledger.write(json.dumps(fact) + "\n")


def clear_up(folder: Path) -> None:
    """Kill and remove what labs whose process is gone have left behind."""
    for path in folder.glob("*.jsonl"):
        facts = _facts(path)
        owner = facts[0].get("owner") if facts else None
        if not (isinstance(owner, dict) and _is_running(owner)):
            _settle(path)


def _settle(path: Path) -> None:
    facts = _facts(path)
    for fact in facts:
        child = fact.get("child")
        if isinstance(child, dict) and _is_running(child):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child["pid"], signal.SIGKILL)
    for fact in facts:
        if "folder" in fact:
            shutil.rmtree(str(fact["folder"]), ignore_errors=True)
    path.unlink(missing_ok=True)


def _facts(path: Path) -> list[dict[str, object]]:
    facts = []
    with contextlib.suppress(OSError):
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # a line that was being written at the kill
                facts.append(json.loads(line))
    return facts


def _identity(pid: int) -> dict[str, object]:
    """What tells a process from a later one with the same id: when it started (clock ticks)."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        started = ""
    return {"pid": pid, "started": started}


def _is_running(identity: dict[str, object]) -> bool:
    pid = identity.get("pid")
    return isinstance(pid, int) and bool(identity["started"]) and _identity(pid) == identity


def free_port(kind: socket.SocketKind, host: str = "127.0.0.1") -> int:
    """A port nobody has just now, nor is given by chance until it is used.

    It is this process's until it ends: labs side by side are given others.
    """
    claims = _claims_file()
    while True:
        port = _dice.choice(_PORTS[kind])
        with socket.socket(socket.AF_INET, kind) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            if port not in _claimed:
                fcntl.lockf(claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                _claimed.add(port)
                return port


def _claims_file() -> int:
    """The file that all labs share, in which a port that is somebody's has its byte locked."""
    if not _claims:
        folder = Path(os.environ.get("CCDAEMON_LAB") or Path(__file__).parent.parent / ".lab")
        folder.mkdir(parents=True, exist_ok=True)
        # Kept open: the kernel lets the locks go with it.
        _claims.append(os.open(folder / "ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return _claims[0]


def wait_until(ready: Callable[[], bool], timeout: float, what: str) -> None:
    """Look every 50 ms until it is so. :raises Unavailable: it was not so in time."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise Unavailable(f"{what}: not within {timeout:g} s")
        time.sleep(0.05)
