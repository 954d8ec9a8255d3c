"""Tests of SIGHUP: it ends nothing, and the process is left as it was."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.sighup import Sighup


class Reactor:
    """Runs what a signal asks for when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def callFromThread(self, *asked: Any) -> None:
        """Keep it."""
        self.asked.append(asked)


class TerminalTests(SynchronousTestCase):
    """A service started and stopped."""

    def setUp(self) -> None:
        """Have the signal as a process begins with it."""
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.reactor = Reactor()
        self.terminal = Sighup(self.reactor)

    def test_said_and_outlived(self) -> None:
        """The process is there after the signal, and says what it does: nothing."""
        self.terminal.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        ((say, words),) = self.reactor.asked
        say(words)
        self.assertIn("SIGHUP does nothing", words)

    def test_left_as_it_was(self) -> None:
        """Once stopped, it minds no signal."""
        self.terminal.startService()
        self.assertIsNot(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
        self.terminal.stopService()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)

    def test_nohup(self) -> None:
        """What is ignored already stays ignored."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.terminal.startService()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
        self.terminal.stopService()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
