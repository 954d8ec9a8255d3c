"""Tests of the command ``ccdaemon``: init."""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import re
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon import __version__
from ccdaemon.check.findings import Level
from ccdaemon.check.limits import try_limits
from ccdaemon.cli import main
from ccdaemon.config import Config, ConfigError, load
from ccdaemon.questions import add_flags, answered
from ccdaemon.scaffold import Answers


class CommandTests(SynchronousTestCase):
    """A command run in this process, with what it printed."""

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Give the exit status, and what went to stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        if not isinstance(sys.stdin, SimpleNamespace):
            self.patch(sys, "stdin", io.StringIO())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = ended.code if isinstance(ended.code, int) else 1
        return status, out.getvalue(), err.getvalue()


class InitTests(CommandTests):
    """``ccdaemon init DIR``."""

    def test_writes_a_configuration(self) -> None:
        """What is written is a sound configuration, with the secrets of daemon and Asterisk."""
        folder = Path(self.mktemp())
        status, out, err = self.run_command("init", str(folder))
        self.assertEqual((status, err), (0, ""))
        config = load(folder / "ccdaemon.toml")
        manager = (folder / "asterisk" / "manager_ccdaemon.conf").read_text()
        self.assertEqual(re.findall(r"^secret = (.*)$", manager, re.M), [config.asterisk.secret])
        self.assertGreaterEqual(len(config.asterisk.secret), 40)
        self.assertNotIn(config.asterisk.secret, out)
        local = (folder / "asterisk" / "extensions_ccdaemon_local.conf").read_text()
        secret = config.fastagi.secret
        assert secret is not None
        self.assertIn(f"\nCC_AGI=127.0.0.1:4573/{secret}\n", local)
        self.assertNotEqual(secret, config.asterisk.secret)
        self.assertNotIn(secret, out)
        for name in ("extensions_ccdaemon.conf", "cel_ccdaemon.conf", "ccdaemon.logrotate"):
            self.assertIn(str(folder / "asterisk" / name), out)
            self.assertTrue((folder / "asterisk" / name).exists())

    def test_secret_is_fresh_and_kept(self) -> None:
        """Every run makes another secret, and only the owner can read it."""
        secrets = set()
        for folder in (Path(self.mktemp()), Path(self.mktemp())):
            self.run_command("init", str(folder))
            config = load(folder / "ccdaemon.toml")
            secrets |= {config.asterisk.secret, config.fastagi.secret}
            for name in (
                "ccdaemon.toml",
                "asterisk/manager_ccdaemon.conf",
                "asterisk/extensions_ccdaemon_local.conf",
            ):
                self.assertEqual(stat.S_IMODE((folder / name).stat().st_mode), 0o600)
        self.assertEqual(len(secrets), 4)

    def test_never_overwrites(self) -> None:
        """Where one file is there already, it is named, and nothing at all is written."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ccdaemon.service").write_text("mine")
        status, out, err = self.run_command("init", str(folder))
        self.assertEqual((status, out), (1, ""))
        self.assertIn("Nothing was written", err)
        self.assertIn(str(folder / "ccdaemon.service"), err)
        self.assertEqual([path.name for path in folder.iterdir()], ["ccdaemon.service"])
        self.assertEqual((folder / "ccdaemon.service").read_text(), "mine")

    def test_folder_that_cannot_be(self) -> None:
        """A folder that cannot be made is named, without a traceback."""
        file = Path(self.mktemp())
        file.write_text("")
        status, _, err = self.run_command("init", str(file / "below"))
        self.assertEqual((status, err), (1, f"{file / 'below' / 'asterisk'}: Not a directory\n"))


class AnswerTests(CommandTests):
    """What an administrator says of their house, by flags and on a terminal."""

    def configured(self, *flags: str) -> Config:
        """The configuration that init writes."""
        folder = Path(self.mktemp())
        status, _, err = self.run_command("init", str(folder), *flags)
        self.assertEqual((status, err), (0, ""))
        return load(folder / "ccdaemon.toml")

    def test_without_answers(self) -> None:
        """Whom to call is open, for nobody can know it; how often and how long is not."""
        config = self.configured()
        self.assertEqual((config.numbers.country, config.limits.countries), (None, ()))
        parts = [finding.what for finding in try_limits(config.limits, config.numbers)]
        self.assertEqual(len(parts), 2, parts)
        self.assertIn("set countries", parts[0])
        self.assertIn("set [numbers] country", parts[1])

    def test_flags(self) -> None:
        """Each is in its place, and `check` has nothing to say against what may be dialled."""
        config = self.configured(
            *("--country", "UA", "--countries", "ua, pl", "--operators", "100"),
            *("--chan-sip", "yes", "--trunk", "kyiv-1", "--database", "embedded"),
        )
        self.assertEqual((config.numbers.country, config.limits.countries), ("ua", ("ua", "pl")))
        self.assertEqual(config.asterisk.client_channel, "SIP/{phone}@kyiv-1")
        self.assertEqual(config.asterisk.operator_channel, "SIP/{sip}")
        self.assertTrue(config.database.embedded)
        self.assertEqual(config.limits.client_per_hour, 4000)
        [finding] = try_limits(config.limits, config.numbers)
        self.assertEqual(finding.level, Level.OK)

    def test_home_alone(self) -> None:
        """Who names no other country calls at home."""
        self.assertEqual(self.configured("--country", "pl").limits.countries, ("pl",))

    def test_nonsense(self) -> None:
        """A flag that cannot be is refused, and nothing is written."""
        for flag, value, words in (
            ("--country", "zz", "zz is no country"),
            ("--operators", "many", "many is no number"),
            ("--trunk", 'a"b', "no quotes"),
            ("--trunk", "a&b", "expected a dial string"),
            ("--database", "mysql://x/y", "postgresql://"),
        ):
            folder = Path(self.mktemp())
            status, _, err = self.run_command("init", str(folder), flag, value)
            self.assertEqual(status, 2)
            self.assertIn(words, err)
            self.assertFalse(folder.exists())

    def test_asked(self) -> None:
        """What no flag says is asked; nonsense is asked again, Enter leaves it as it is."""
        said, lines = [], iter(["zz", "de", "", "7", "", "two words", "berlin", ""])

        def ask(words: str) -> str:
            said.append(words)
            return next(lines)

        parser = argparse.ArgumentParser()
        add_flags(parser)
        self.assertEqual(
            answered(parser.parse_args([]), ask),
            Answers(country="de", countries=("de",), operators=7, trunk="berlin"),
        )
        self.assertEqual(len(said), 8)
        self.assertIn("zz is no country", said[1])
        self.assertIn("Enter: de", said[2])
        flags = ["--country=ua", "--countries=ua", "--operators=1", "--trunk=t", "--chan-sip=no"]
        lines = iter(["embedded"])
        self.assertEqual(answered(parser.parse_args(flags), ask).database, "embedded")

    def test_nobody_answers(self) -> None:
        """A terminal that is closed writes nothing."""
        self.patch(sys, "stdin", SimpleNamespace(isatty=lambda: True))

        def closed(_: str) -> str:
            raise EOFError

        self.patch(builtins, "input", closed)
        folder = Path(self.mktemp())
        status, _, err = self.run_command("init", str(folder))
        self.assertEqual((status, err), (1, "\nNothing was written.\n"))
        self.assertFalse(folder.exists())


class CheckTests(CommandTests):
    """``ccdaemon check FILE``, as far as the file itself is concerned."""

    def test_wrong_configuration(self) -> None:
        """Every problem is named, and nothing is tried."""
        path = Path(self.mktemp())
        path.write_text("[asterisk]\nport = 0\n")
        status, out, err = self.run_command("check", str(path))
        self.assertEqual((status, out), (1, ""))
        error = self.assertRaises(ConfigError, load, path)
        self.assertEqual(err, f"{error}\n")


class CommandLineTests(CommandTests):
    """The command line itself."""

    def test_version(self) -> None:
        """The version is the package's."""
        self.assertEqual(self.run_command("--version"), (0, f"{__version__}\n", ""))

    def test_no_command(self) -> None:
        """Without a command the two are named."""
        status, _, err = self.run_command()
        self.assertEqual(status, 2)
        self.assertIn("COMMAND", err)
