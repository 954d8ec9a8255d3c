"""The dialplan's choice between old and new Asterisk, by a table of how versions are spelled."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import ccdaemon

DIALPLAN = Path(ccdaemon.__file__).parent / "conf/asterisk/extensions_ccdaemon.conf"
#: Whether Queue() takes its subroutine after one argument more.
VERSIONS = {
    "16.28.0~dfsg-0+deb11u4": True,
    "18.9-cert2": True,
    "19.8.1": True,
    "20.7.0": True,
    "certified-20.7-cert1": True,
    "GIT-18-a1b2c3d4M": True,
    "GIT-20-20.7.0-12-gabc1234M": True,
    "21.0.0": False,
    "22.10.1~dfsg+~cs6.15.60671435-1": False,
    "22.8.0-rc1": False,
    "23.2.0": False,
    "certified-22.8": False,
    "certified-22.8-cert1": False,
    "GIT-22-22.8.0-12-gabc1234M": False,
    "GIT-master-1a2b3c": False,
}


class VersionTests(SynchronousTestCase):
    """What the dialplan asks of VERSION(); calls into queues ask it of Asterisk itself."""

    def test_every_spelling(self) -> None:
        """Release, certified and git builds are told apart by their numbers."""
        (pattern,) = re.findall(r'"\$\{VERSION\(\)\}" =~ "([^"]+)"', self.text())
        for version, is_old in VERSIONS.items():
            self.assertEqual(re.search(pattern, version) is not None, is_old, version)

    def test_nothing_else_asks(self) -> None:
        """No other line makes a number of a version that may begin with letters."""
        self.assertEqual(self.text().count("VERSION("), 1)

    def text(self) -> str:
        """The dialplan without comments."""
        lines = DIALPLAN.read_text("utf-8").splitlines()
        return "\n".join(line for line in lines if not line.startswith(";"))
