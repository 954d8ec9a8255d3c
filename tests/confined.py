"""Runs a program under the filter of system calls that the systemd unit has.

    python -m tests.confined USER PROGRAM ARGUMENTS…

What a unit says is read by systemd's own tools, and held by the kernel. Of the rest of the unit
(its view of the file system, its limits) it knows nothing.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).resolve().parent.parent / "conf" / "ccdaemon.service"

_NO_NEW_PRIVILEGES = 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def settings(unit: Path = UNIT) -> list[tuple[str, str]]:
    """The unit's lines, in their order."""
    lines = unit.read_text("utf-8").splitlines()
    return [
        (name, value)
        for name, _, value in (line.partition("=") for line in lines if line[:1] not in "#[")
    ]


def why_not() -> str | None:
    """What is missing on this machine; None if nothing is."""
    if shutil.which("systemd-analyze") is None:
        return "there is no systemd-analyze: apt-get install systemd"
    if ctypes.util.find_library("seccomp") is None:
        return "there is no libseccomp: apt-get install libseccomp2"
    return "root is needed to become another user" if os.geteuid() else None


def _members(name: str) -> set[str]:
    """The system calls of a group of systemd's."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    found: set[str] = set()
    for line in said.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= _members(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed(unit: Path = UNIT) -> set[str]:
    """The system calls that a unit lets through."""
    found = _members("@default")
    for name, value in settings(unit):
        if name == "SystemCallFilter":
            denies = value.startswith("~")
            for group in value.lstrip("~").split():
                calls = _members(group) if group.startswith("@") else {group}
                found = found - calls if denies else found | calls
    return found


def confine(calls: set[str]) -> None:
    """Let this process, and what it begins, do nothing but ``calls``; the rest fails with EPERM."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp"))
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | errno.EPERM))
    for call in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            seccomp.seccomp_rule_add(context, _ALLOW, number, 0)
    if seccomp.seccomp_load(context) != 0:
        raise OSError("the filter is not taken")


def main(user: str, *program: str) -> None:
    """Become the user, be confined, and be the program."""
    calls = allowed()
    who = pwd.getpwnam(user)
    os.setgroups([])
    os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
    os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
    confine(calls)
    os.execv(program[0], program)


if __name__ == "__main__":
    main(*sys.argv[1:])
