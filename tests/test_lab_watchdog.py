"""Tests of the lab's stand-in for systemd's watchdog."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGABRT, SIGCONT, SIGKILL

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.health.systemd import sender
from lab.daemon import Daemon
from lab.watchdog import Unit, Watchdog

UNIT = Unit(watchdog=10.0, stop=30.0, restart=1.0)


class WatchdogTests(SynchronousTestCase):
    """This process is the daemon: it alone may speak for it."""

    def setUp(self) -> None:
        """A daemon that runs, watched."""
        self.now = 100.0
        self.sent: list[int] = []
        self.starts = 0
        self.pid: int | None = None
        # A checkout may lie anywhere.
        self.daemon = Daemon(Path(self.mktemp()).absolute() / ("deep" * 30), {})
        self.patch(Daemon, "pid", property(lambda _: self.pid))
        self.patch(Daemon, "send", lambda _, number: self.sent.append(number))
        self.patch(Daemon, "start", self.start)
        self.watchdog = Watchdog(self.daemon, UNIT, lambda: self.now)
        self.addCleanup(self.watchdog.close)
        self.start()
        self.look(0.0)

    def start(self, daemon: object = None, wait: bool = True) -> None:
        """It runs, as this process."""
        self.starts += 1
        self.pid = os.getpid()

    def say(self, line: bytes) -> None:
        """What the daemon says to systemd."""
        send = sender(self.daemon.environment)
        assert send is not None
        send(line)

    def look(self, after: float) -> None:
        """Time passes."""
        self.now += after
        self.watchdog.look()

    def test_whoever_gives_signs_lives(self) -> None:
        """The daemon is told to give them, and left alone."""
        self.assertEqual(self.daemon.environment["WATCHDOG_USEC"], "10000000")
        self.say(b"READY=1\nSTATUS=serving")
        for _ in range(5):
            self.say(b"WATCHDOG=1")
            self.look(9.0)
        self.assertEqual(self.sent, [])

    def test_whoever_gives_none_is_ended(self) -> None:
        """SIGABRT, which ends what is stopped, too; SIGKILL if that does not."""
        self.say(b"READY=1")
        self.look(0.0)
        self.look(10.1)
        self.assertEqual(self.sent, [SIGABRT, SIGCONT])
        self.look(29.0)
        self.assertEqual(self.sent, [SIGABRT, SIGCONT])
        self.look(1.1)
        self.assertEqual(self.sent, [SIGABRT, SIGCONT, SIGKILL])

    def test_starting_may_take_longer(self) -> None:
        """Before READY=1 no sign is wanted."""
        self.look(89.0)
        self.assertEqual(self.sent, [])
        self.look(2.0)
        self.assertEqual(self.sent, [SIGABRT, SIGCONT])

    def test_stopping_may_take_longer(self) -> None:
        """After STOPPING=1 no sign is wanted for TimeoutStopSec."""
        self.say(b"READY=1")
        self.say(b"STOPPING=1")
        self.look(0.0)
        self.look(29.0)
        self.assertEqual(self.sent, [])
        self.look(2.0)
        self.assertEqual(self.sent, [SIGABRT, SIGCONT])

    def test_what_has_ended_is_started_again(self) -> None:
        """After RestartSec, once."""
        self.pid = None
        self.look(0.0)
        self.look(0.9)
        self.assertEqual(self.starts, 1)
        self.look(0.2)
        self.look(0.1)
        self.assertEqual(self.starts, 2)
        self.assertEqual([end.why for end in self.watchdog.ends], ["by itself"])

    def test_others_do_not_speak_for_it(self) -> None:
        """NotifyAccess=main."""
        self.pid = 1
        self.look(0.0)
        self.say(b"READY=1")
        self.look(0.0)
        self.look(11.0)
        self.assertEqual(self.sent, [])


class UnitTests(SynchronousTestCase):
    """What the unit file says."""

    def test_reads_ours(self) -> None:
        """Its three times."""
        unit = Unit.read()
        self.assertGreater(unit.watchdog, 0)
        self.assertGreater(unit.stop, unit.watchdog)
        self.assertGreater(unit.restart, 0)

    def test_another_kind_is_refused(self) -> None:
        """What it does not know it does not play."""
        path = Path(self.mktemp())
        path.write_text("[Service]\nType=simple\nNotifyAccess=main\nRestart=always\n")
        with self.assertRaisesRegex(ValueError, "Type=simple"):
            Unit.read(path)
