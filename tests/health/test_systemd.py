"""Tests of what systemd is told, on a real socket."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.health.systemd import Notify, interval, sender


class Systemd:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        """What was said since the last time."""
        lines = []
        while True:
            try:
                lines.append(self.socket.recv(1000).decode())
            except BlockingIOError:
                return lines


class Told(SynchronousTestCase):
    """The daemon's life, as systemd hears of it."""

    def setUp(self) -> None:
        """Listen at a path."""
        path = Path(self.mktemp()).absolute()
        short = Path("/tmp") / f"ccdaemon-{path.name[-12:]}-{id(self)}"
        self.systemd = Systemd(str(short))
        self.addCleanup(short.unlink)
        self.addCleanup(self.systemd.socket.close)
        self.environment = {"NOTIFY_SOCKET": str(short), "WATCHDOG_USEC": "10000000"}
        self.clock = Clock()
        self.answers: list[Deferred[None]] = []

    def notify(self, **environment: str) -> Notify:
        """Start to tell."""
        given = {**self.environment, **environment}
        made = Notify(self.settled, self.clock, given, pid=7)
        made.startService()
        return made

    def settled(self) -> Deferred[None]:
        """The journal's writer, which answers when the test lets it."""
        return self.answers.pop(0) if self.answers else succeed(None)

    def test_a_life(self) -> None:
        """Ready, alive every five of ten seconds, stopping."""
        notify = self.notify()
        self.assertEqual(self.systemd.heard(), ["READY=1\nSTATUS=serving", "WATCHDOG=1"])
        for _ in range(3):
            self.clock.advance(5)
        self.assertEqual(self.systemd.heard(), ["WATCHDOG=1"] * 3)
        notify.stopService()
        self.clock.advance(60)
        self.assertEqual(self.systemd.heard(), ["STOPPING=1\nSTATUS=stopping"])

    def test_a_writer_that_hangs(self) -> None:
        """No sign of life while the journal's writer does not answer."""
        hangs: Deferred[None] = Deferred()
        self.answers = [succeed(None), hangs]
        notify = self.notify()
        self.systemd.heard()
        self.clock.advance(5)
        self.clock.advance(60)
        self.assertEqual(self.systemd.heard(), [])
        hangs.callback(None)
        self.clock.advance(5)
        self.assertEqual(self.systemd.heard()[0], "WATCHDOG=1")
        notify.stopService()

    def test_a_writer_that_is_gone(self) -> None:
        """Nor where it answers that there is none."""
        self.answers = [fail(ValueError("gone")), fail(ValueError("gone"))]
        notify = self.notify()
        self.clock.advance(5)
        self.assertEqual(self.systemd.heard(), ["READY=1\nSTATUS=serving"])
        notify.stopService()

    def test_no_watchdog(self) -> None:
        """Without one, or with another process's, nothing but the two moments is told."""
        for environment in ({"WATCHDOG_USEC": "0"}, {"WATCHDOG_PID": "8"}):
            notify = self.notify(**environment)
            self.clock.advance(60)
            notify.stopService()
            self.assertEqual([line[:5] for line in self.systemd.heard()], ["READY", "STOPP"])

    def test_systemd_is_gone(self) -> None:
        """A socket that nobody reads is no reason to fail."""
        notify = self.notify(NOTIFY_SOCKET="/nowhere/socket")
        self.clock.advance(5)
        notify.stopService()

    def test_without_systemd(self) -> None:
        """Started by hand, the daemon tells nobody, and no timer runs."""
        notify = self.notify(NOTIFY_SOCKET="")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        notify.stopService()
        self.assertIsNone(sender({"NOTIFY_SOCKET": "tcp:1"}))

    def test_an_abstract_socket(self) -> None:
        """A name that begins with @ is in no folder."""
        systemd = Systemd(f"\0ccdaemon-test-{id(self)}")
        self.addCleanup(systemd.socket.close)
        send = sender({"NOTIFY_SOCKET": f"@ccdaemon-test-{id(self)}"})
        assert send is not None
        send(b"READY=1")
        self.assertEqual(systemd.heard(), ["READY=1"])

    def test_intervals(self) -> None:
        """Half of what is allowed; None for what is no number."""
        self.assertEqual(interval({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "7"}, 7), 5.0)
        self.assertIsNone(interval({"WATCHDOG_USEC": "soon"}, 7))
        self.assertIsNone(interval({}, 7))
