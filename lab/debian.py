"""A Debian of another release in a folder, with Asterisk and SIPp in it.

Knows debootstrap, apt and chroot; does not know how Asterisk is configured.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from lab import Unavailable
from lab.apt_sources import host_mirror
from lab.processes import Child

Suite = Literal["sid", "bullseye"]
SUITES: tuple[Suite, ...] = ("sid", "bullseye")
Progress = Callable[[str], None]

_ASTERISK = ("asterisk", "asterisk-modules", "asterisk-core-sounds-en-gsm")
#: SIPp before 3.7, as in older releases, has not what the phones need.
PACKAGES: dict[Suite, tuple[str, ...]] = {
    "sid": (*_ASTERISK, "sip-tester"),
    "bullseye": _ASTERISK,
}
_TITLES = {
    "sid": "Debian sid with Asterisk 22",
    "bullseye": "Debian bullseye with Asterisk 16",
}
#: Seconds that a build took where the lab was made.
_USUAL = {"sid": 35, "bullseye": 40}
_DONE = "etc/ccdaemon-lab"
_STEP_TIMEOUT = 1800.0


def cache_folder() -> Path:
    """Where the lab keeps what is slow to make: ``CCDAEMON_LAB``, or ``.lab`` in the checkout."""
    named = os.environ.get("CCDAEMON_LAB")
    return Path(named).absolute() if named else Path(__file__).parent.parent / ".lab"


def ensure_root(suite: Suite, cache: Path, progress: Progress = print) -> Path:
    """The folder of a Debian ``suite`` with Asterisk and SIPp, built unless it is there.

    A build that was interrupted is started anew; two at once wait for each other.

    :raises Unavailable: no root rights, no debootstrap, no mirror.
    """
    root = cache / suite
    if (root / _DONE).exists():
        return root
    if os.geteuid() != 0:
        raise Unavailable(
            f"{_TITLES[suite]} has to be built with debootstrap and entered with chroot,"
            " which needs root"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f"{suite}.lock", progress):
        if not (root / _DONE).exists():
            _build(suite, root, progress)
    return root


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another build of {path.stem}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(suite: Suite, root: Path, progress: Progress) -> None:
    """Build beside the final name and rename: what has the final name is complete."""
    started = time.monotonic()

    def say(step: str) -> None:
        progress(f"{_TITLES[suite]}: {step}")

    say(f"building it in {root}, about {_USUAL[suite]} s, once")

    unfinished = root.with_name(f"{root.name}.unfinished")
    log = root.with_name(f"{root.name}.log")
    log.unlink(missing_ok=True)
    _need_debootstrap(log, say)
    for mirror in dict.fromkeys((host_mirror(), None)):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _bake(suite, unfinished, mirror, log, say)
            break
        except Unavailable as error:
            failure = error
            say(f"failed with {mirror or 'the default mirror'}")
    else:
        raise failure
    if root.exists():  # of a time before it was finished
        shutil.rmtree(root)
    unfinished.rename(root)
    say(f"built in {time.monotonic() - started:.0f} s")


def _need_debootstrap(log: Path, say: Progress) -> None:
    if shutil.which("debootstrap") is not None:
        return
    if shutil.which("apt-get") is None:
        raise Unavailable("debootstrap is not installed, and there is no apt to install it with")
    install_on_host(["debootstrap"], log, say)


def install_on_host(packages: Sequence[str], log: Path, say: Progress) -> None:
    """Install Debian packages on this machine. :raises Unavailable: apt failed."""
    say(f"installing {' '.join(packages)} on this machine")
    _step(["apt-get", "-qq", "update"], log, say)
    _step([*_APT_INSTALL, *packages], log, say)


_APT_INSTALL = (
    *("apt-get", "-y", "-qq", "-o", "Dpkg::Options::=--force-confold"),
    *("install", "--no-install-recommends"),
)


def _bake(suite: Suite, root: Path, mirror: str | None, log: Path, say: Progress) -> None:
    say("unpacking the base system")
    # A secure mirror is of no use inside without the certificates.
    extra = ["--include=ca-certificates"] if mirror and mirror.startswith("https:") else []
    options = ["--variant=minbase", *extra]
    _step(
        ["debootstrap", *options, suite, str(root), *([mirror] if mirror else [])], log, say, root
    )
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")  # nothing starts by itself
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    say("reading the package lists")
    # The mirror may be a snapshot that is older than its own valid-until.
    _step(
        ["apt-get", "-qq", "-o", "Acquire::Check-Valid-Until=false", "update"],
        log,
        say,
        root,
        inside=True,
    )
    say(f"installing {' '.join(PACKAGES[suite])}")
    _step([*_APT_INSTALL, *PACKAGES[suite]], log, say, root, inside=True)
    _step(["apt-get", "clean"], log, say, root, inside=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
    (root / _DONE).write_text(f"{suite}\n")


#: In a mount namespace of its own, so that nothing stays mounted below a folder that somebody may
#: remove, and in a process namespace whose first process dies with us.
_ALONE = (
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private", "--"),
)


@cache
def _may_be_alone() -> bool:
    """In a container without the right to mount there is no namespace, and no /proc inside."""
    return subprocess.run([*_ALONE, "true"], capture_output=True, check=False).returncode == 0


def _command(argv: Sequence[str], root: Path | None, inside: bool) -> list[str]:
    entered = ["chroot", str(root), *argv] if inside else list(argv)
    if root is None or not _may_be_alone():
        return entered
    if inside:
        mounted = 'mount -t proc proc "$1/proc" && exec chroot "$@"'
        entered = ["sh", "-c", mounted, "sh", *entered[1:]]
    return [*_ALONE, *entered]


def _step(
    argv: Sequence[str], log: Path, say: Progress, root: Path | None = None, inside: bool = False
) -> None:
    """Run one step; its mounts and its processes end with it."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with _ticking(say, argv[0]):
        child = Child(_command(argv, root, inside), log, env=environment)
        try:
            status = child.wait(_STEP_TIMEOUT)
        finally:
            child.kill()
    if status != 0:
        words = " / ".join(log.read_text(errors="replace").splitlines()[-5:])
        raise Unavailable(f"{argv[0]} failed with {status}, see {log}: {words}")


@contextmanager
def _ticking(say: Progress, what: str) -> Iterator[None]:
    """Say something every ten seconds, so that nobody takes a long step for a dead one."""
    over = threading.Event()
    started = time.monotonic()

    def tick() -> None:
        while not over.wait(10):
            say(f"{what} at work, {time.monotonic() - started:.0f} s so far")

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()
