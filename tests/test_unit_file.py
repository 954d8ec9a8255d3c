"""Tests of ``conf/ccdaemon.service``: closed to all but what the daemon needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.confined import UNIT, settings, why_not

#: What `systemd-analyze security` may say, of 10.0 at worst.
EXPOSURE = 1.5

#: What the daemon asks of the kernel beside files, sockets and threads, and what it never does.
NEEDS = """
import os, resource, subprocess, sys, tempfile
from OpenSSL import SSL
SSL.Context(SSL.TLS_METHOD).set_verify(SSL.VERIFY_PEER, lambda *_: True)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
with tempfile.NamedTemporaryFile() as file:
    os.chown(file.name, -1, os.getgid())
    os.fsync(file.fileno())
subprocess.run([sys.executable, "-c", "pass"], start_new_session=True, check=True)
try:
    os.setpriority(os.PRIO_PROCESS, 0, 5)
except PermissionError:
    print("held")
"""


class UnitTests(SynchronousTestCase):
    """The unit, by systemd's own tools."""

    def setUp(self) -> None:
        """Have the tools, and a copy whose program is there."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("there is no systemd-analyze: apt-get install systemd")
        self.unit = Path(self.mktemp()).absolute() / UNIT.name
        self.unit.parent.mkdir()
        self.unit.write_text(UNIT.read_text().replace("/opt/ccdaemon/bin/twistd", "/bin/true"))

    def analyze(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask systemd-analyze about the unit."""
        argv = ["systemd-analyze", *words, str(self.unit)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def test_sound(self) -> None:
        """systemd knows every word of it."""
        said = self.analyze("verify", "--man=no")
        wrong = [line for line in said.stderr.splitlines() if UNIT.name in line]
        self.assertEqual(wrong, [])

    def test_closed(self) -> None:
        """Little of the machine is open to the daemon."""
        threshold = f"--threshold={EXPOSURE * 10:.0f}"
        said = self.analyze("security", "--offline=true", threshold)
        self.assertEqual(said.returncode, 0, said.stdout[-3000:] + said.stderr)

    def test_recordings(self) -> None:
        """Where recordings are put together and removed may be written, if it is there."""
        self.assertIn(("ReadWritePaths", "-/var/spool/asterisk/monitor"), settings())


class FilterTests(SynchronousTestCase):
    """The filter of system calls, held by the kernel."""

    def test_lets_through_what_is_needed(self) -> None:
        """TLS, more open files, a recording's group, programs; and no more than that."""
        if missing := why_not():
            raise SkipTest(missing)
        argv = [sys.executable, "-m", "tests.confined", "root", sys.executable, "-c", NEEDS]
        done = subprocess.run(
            argv,
            cwd=UNIT.parent.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((done.returncode, done.stdout), (0, "held\n"), done.stderr)
