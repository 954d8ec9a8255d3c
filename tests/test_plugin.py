"""Tests of ``twistd ccdaemon``, run as an administrator runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.tap import Options

ROOT = Path(ccdaemon.__file__).parent.parent


class PluginTests(SynchronousTestCase):
    """What Twisted finds and runs."""

    def test_found(self) -> None:
        """Twisted finds the plugin, and its options are ours."""
        makers = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "ccdaemon"]
        self.assertEqual([maker.options for maker in makers], [Options])

    def test_help_teaches(self) -> None:
        """The help names the option, the two commands before it, and the signals."""
        shown = str(Options())
        for word in ("--config", "ccdaemon init DIR", "ccdaemon check FILE", "Signals: TERM"):
            self.assertIn(word, shown)

    def test_no_configuration(self) -> None:
        """Without --config it says so."""
        refused = self.assertRaises(SystemExit, Options().parseOptions, [])
        self.assertIn("--config FILE is missing", str(refused))

    def test_sound_configuration(self) -> None:
        """A sound configuration is there once the options are parsed."""
        path = Path(self.mktemp())
        path.write_text(
            '[asterisk]\nsecret = "x"\nclient_channel = "PJSIP/{phone}@t"\n'
            '[database]\nurl = "embedded"\n'
        )
        options = Options()
        options.parseOptions(["--config", str(path)])
        self.assertEqual(options.config.asterisk.client_channel, "PJSIP/{phone}@t")

    def test_wrong_configuration(self) -> None:
        """Every problem is on stderr, the exit status is 1, and there is no traceback."""
        path = Path(self.mktemp())
        path.write_text('[asterisk]\nport = "x"\n')
        script = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
        ended = subprocess.run(
            [sys.executable, "-c", script, "-n", "ccdaemon", "--config", str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertEqual(
            [line.split(": ")[1] for line in ended.stderr.splitlines()],
            ["database.url", "asterisk.secret", "asterisk.client_channel", "asterisk.port"],
        )

    def test_a_clock_that_is_set_back(self) -> None:
        """Timers go on when the wall's clock is set back an hour, and dates follow it."""
        ended = self.run_with_a_clock(
            "options = Options(); options.parseOptions(['--config', sys.argv[1]])\n"
            "makeService(options)\n"
            "from twisted.internet import reactor\n"
            "from ccdaemon.clocks import WallClock\n"
            "clock = WallClock(reactor); clock.callLater(0.2, reactor.stop)\n"
            "before = clock.seconds(); back[0] = 3600; reactor.run()\n"
            "print(round((before - clock.seconds()) / 600))\n"
        )
        self.assertEqual((ended.returncode, ended.stdout), (0, "6\n"), ended.stderr)

    def test_another_reactor(self) -> None:
        """One whose timers follow the date is refused with words."""
        ended = self.run_with_a_clock(
            "from twisted.internet import reactor\n"
            "options = Options(); options.parseOptions(['--config', sys.argv[1]])\n"
            "makeService(options)\n"
        )
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertIn("leave out --reactor", ended.stderr)

    def run_with_a_clock(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run something in a process where ``back[0]`` sets the wall's clock back."""
        path = Path(self.mktemp()).absolute()
        path.write_text(
            f'state_dir = "{path}.state"\n[asterisk]\nsecret = "x"\n'
            'client_channel = "PJSIP/{phone}@t"\n[database]\nurl = "postgresql://u@127.0.0.1:2/d"\n'
        )
        before = (
            "import sys, time; real, back = time.time, [0]; time.time = lambda: real() - back[0]\n"
            "from ccdaemon.tap import Options, makeService\n"
        )
        return subprocess.run(
            [sys.executable, "-c", before + script, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
