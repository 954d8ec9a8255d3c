"""``ccdaemon check`` on a real Asterisk and a real Postgres, whole and broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lab import Unavailable
from lab.daemon import toml
from tests.integration import harness

COMMAND = "import sys, ccdaemon.cli as c; sys.exit(c.main())"

#: Secrets of FastAGI.
KNOWN, OTHER = "known-to-both-of-them-0001", "known-to-one-of-them-0002"

#: Users that are not as manager_ccdaemon.conf has them.
OTHER_USERS = """
[weak]
secret = weak
read = call,user
write = call
[strong]
secret = strong
read = all
write = all
"""


class CheckTests(SynchronousTestCase):
    """What the command says."""

    def setUp(self) -> None:
        """Have the lab, with two more AMI users."""
        try:
            self.lab = harness.lab()
        except Unavailable as error:
            raise SkipTest(str(error)) from error
        asterisk = self.lab.asterisk
        file = asterisk.root.on_host(asterisk.folder / "etc/manager.conf")
        usual = file.read_text()
        file.write_text(usual + OTHER_USERS)
        asterisk.rx("manager reload")
        self.addCleanup(file.write_text, usual)

    def check(
        self, url: str = "", agi: str = "", knows: str = "", **asterisk: Any
    ) -> tuple[int, dict[str, str]]:
        """Run the command with some keys changed: exit status, and each part's line.

        ``agi``: where the daemon is to listen for FastAGI, if not where Asterisk asks; ``knows``:
        the secret that it has for that.
        """
        base = Path(self.mktemp()).absolute()
        base.mkdir()
        tables = {
            "state_dir": str(base / "state"),
            "http": {"listen": "tcp:0:interface=127.0.0.1"},
            "asterisk": {**self.lab.asterisk_settings(), **asterisk},
            "database": {"url": url or self.lab.postgres.url()},
            "fastagi": {
                "listen": agi or "tcp:4573:interface=127.0.0.1",
                **({"secret": knows} if knows else {}),
            },
        }
        file = base / "ccdaemon.toml"
        file.touch(0o600)
        file.write_text(toml(tables))
        argv = [sys.executable, "-c", COMMAND, "check", str(file)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.stderr, "")
        for secret in (self.lab.asterisk.secret, self.lab.postgres.password, KNOWN, OTHER):
            self.assertNotIn(secret, done.stdout)
        return done.returncode, {line[6:].split()[0]: line for line in done.stdout.splitlines()}

    def test_all_works(self) -> None:
        """On a sound lab every part is ok, and the exit status is 0."""
        status, lines = self.check()
        self.assertEqual(status, 0, lines)
        ours = (
            "Asterisk",
            "rights",
            "dialplan:",
            "systemname:",
            "operators",
            "clients",
            "database",
        )
        self.assertEqual({name: lines[name][:4] for name in ours}, dict.fromkeys(ours, "ok  "))
        self.assertIn("logged in as ccdaemon, Asterisk ", lines["Asterisk"])
        self.assertRegex(lines["operators"], r": \d\d+ seen, \d\d+ of them registered")
        self.assertRegex(lines["database"], r"PostgreSQL \d+\b.*, may make tables in ")

    def test_inbound_calls(self) -> None:
        """That Asterisk asks elsewhere is told, and who is rung while the daemon is silent."""
        self.lab.asterisk.set_globals(CC_AGI=f"127.0.0.1:4573/{KNOWN}", CC_FALLBACK="")
        _, lines = self.check(knows=KNOWN)
        self.assertIn("ok  ", lines["inbound"])
        self.assertIn("refuses them: CC_FALLBACK is empty", lines["inbound"])
        self.lab.asterisk.set_globals(CC_FALLBACK="PJSIP/1050")
        self.assertIn("Asterisk rings PJSIP/1050", self.check(knows=KNOWN)[1]["inbound"])
        status, lines = self.check(agi="tcp:4574:interface=127.0.0.1")
        self.assertEqual(status, 0)
        self.assertIn("asks at 127.0.0.1:4573 (CC_AGI)", lines["inbound"])
        self.assertIn("warn", lines["inbound"])

    def test_secret_of_fastagi(self) -> None:
        """Secrets that differ are told, for no call would be decided; and that there is none."""
        both = "127.0.0.1:4573", f"127.0.0.1:4573/{KNOWN}"
        for asked, knows, words in (
            (both[0], KNOWN, "CC_AGI has not fastagi.secret at its end"),
            (both[1], OTHER, "CC_AGI has not fastagi.secret at its end"),
            (both[1], "", "CC_AGI has a secret, fastagi none"),
            (both[0], "", "whoever reaches that port may ask"),
        ):
            self.lab.asterisk.set_globals(CC_AGI=asked)
            status, lines = self.check(knows=knows)
            self.assertEqual((status, lines["inbound"][:4]), (0, "warn"))
            self.assertIn(words, lines["inbound"])

    def test_wrong_secret(self) -> None:
        """A wrong secret is told with Asterisk's words."""
        status, lines = self.check(secret="wrong")
        self.assertEqual(status, 1)
        self.assertIn("FAIL  Asterisk", lines["Asterisk"])
        self.assertIn("Authentication failed", lines["Asterisk"])

    def test_plain_login(self) -> None:
        """The secret may also be shown as it is."""
        self.assertIn("ok    Asterisk", self.check(auth="plain")[1]["Asterisk"])

    def test_too_few_rights(self) -> None:
        """Rights that are missing are named, each with the class that gives it."""
        status, lines = self.check(username="weak", secret="weak")
        self.assertEqual(status, 1)
        self.assertIn("may not Originate (originate)", lines["rights"])

    def test_too_many_rights(self) -> None:
        """Rights by which a stolen secret could run programs are something to look at."""
        status, lines = self.check(username="strong", secret="strong")
        self.assertEqual(status, 0)
        self.assertIn("warn  rights of the AMI user: may Command", lines["rights"])

    def test_dialplan_not_included(self) -> None:
        """A context of ours that Asterisk has not loaded is named."""
        self.lab.asterisk.rx("dialplan remove context ccdaemon-nowhere")
        self.addCleanup(self.lab.asterisk.rx, "dialplan reload")
        status, lines = self.check()
        self.assertEqual(status, 1)
        self.assertIn("has no ccdaemon-nowhere: include", lines["dialplan:"])

    def test_dialplan_of_another_version(self) -> None:
        """One that says something else is told; it may do, so that is no failure."""
        status, lines = self.check()
        self.assertEqual(status, 0)
        self.assertIn("is this version's: ccdaemon-outbound", lines["dialplan:"])
        self.lab.asterisk.rx("dialplan add extension x,1,NoOp,old into ccdaemon-nowhere")
        try:
            status, lines = self.check()
        finally:
            self.lab.asterisk.rx("dialplan remove extension x@ccdaemon-nowhere")
        self.assertEqual(status, 0)
        self.assertIn("ccdaemon-nowhere: not as in this version's", lines["dialplan:"])
        self.assertIn("is this version's", self.check()[1]["dialplan:"])

    def test_no_such_trunk(self) -> None:
        """A trunk that Asterisk does not know is named."""
        status, lines = self.check(client_channel="PJSIP/{phone}@nonesuch")
        self.assertEqual(status, 1)
        self.assertIn("Asterisk has no PJSIP endpoint nonesuch", lines["clients"])

    def test_no_operators(self) -> None:
        """Where no endpoint looks like an operator, that is something to look at."""
        status, lines = self.check(operator_pattern="9[0-9]{7}")
        self.assertEqual((status, lines["operators"][:4]), (0, "warn"))

    def test_no_such_database(self) -> None:
        """A database that is not there is told with Postgres' words."""
        status, lines = self.check(url=self.lab.postgres.url("nonesuch"))
        self.assertEqual(status, 1)
        self.assertIn('database "nonesuch" does not exist', lines["database"])
