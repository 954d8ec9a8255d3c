"""The parts put together: how they begin, and how they end."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.defer import Deferred, fail
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon import service
from ccdaemon.ami.ami_actions import Headers
from ccdaemon.ami.ami_errors import ConnectionLost
from ccdaemon.ami.ami_wire import Message
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config, parse
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.service import make_service
from ccdaemon.store.asterisk_lock import HeldBy
from ccdaemon.store.journal_file import StateDirLock
from ccdaemon.threads import Threads
from ccdaemon.tracking import tracking
from ccdaemon.tracking.resync import TOLD_WITHIN
from tests.fake_asterisk import FakeAsterisk


class WithoutDevices(FakeAsterisk):
    """The link goes when the operators are asked for."""

    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        """Answer, but for one."""
        if name == "DeviceStateList":
            return fail(ConnectionLost("gone"))
        return super().sendList(name, headers, timeout=timeout, most=most)


class FakeReactor(MemoryReactorClock):
    """Hears nothing of what threads have to tell."""

    def callFromThread(self, function: object, *args: object) -> None:
        """Forget it."""


class ServiceCase(SynchronousTestCase):
    """A daemon that touches nothing outside its state_dir."""

    def setUp(self) -> None:
        """Keep what the daemon is made of."""
        self.reactor: Any = FakeReactor()
        self.state_dir = Path(self.mktemp()).absolute()
        self.made: dict[str, Any] = {}
        for module, name in ((tracking, "AMIClient"), (service, "Api"), (service, "AsteriskLock")):
            self.patch(module, name, self.keeping(name, getattr(module, name)))

    def keeping(self, name: str, part: Any) -> Any:
        """Make the part as it is made, and keep it with its keywords."""

        def make(*args: Any, **kwargs: Any) -> Any:
            made = part(*args, **kwargs)
            self.made |= {name: made, **kwargs}
            return made

        return make

    def config(self, url: str = "postgresql://u@127.0.0.1:2/d", asterisk: str = "") -> Config:
        """A configuration."""
        return parse(
            f'state_dir = "{self.state_dir}"\n[database]\nurl = "{url}"\n'
            f'[asterisk]\nsecret = "x"\nclient_channel = "PJSIP/{{phone}}@t"\n{asterisk}'
        )


class BeginningTests(ServiceCase):
    """What cannot be had is said in a line."""

    def refused(self, asterisk: str) -> str:
        """Why a daemon cannot even be made."""
        config = self.config(asterisk=asterisk)
        return str(self.assertRaises(SystemExit, make_service, config, self.reactor))

    def test_certificates_that_are_none(self) -> None:
        """A tls_ca that is not there, holds no certificate, or a damaged one."""
        path = Path(self.mktemp()).absolute()
        asterisk = f'tls = true\ntls_ca = "{path}"'
        self.assertIn(str(path), self.refused(asterisk))
        path.write_text("no certificate")
        self.assertIn(f"tls_ca: {path} holds no certificate", self.refused(asterisk))
        path.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        self.assertIn(f"tls_ca: {path} holds a certificate that is damaged", self.refused(asterisk))

    def test_an_address_that_postgres_does_not_know(self) -> None:
        """A url that libpq refuses is told without it, for it may hold a password."""
        config = self.config("postgresql://u:sesame@127.0.0.1/d?nonsense=1")
        error = self.assertRaises(SystemExit, make_service, config, self.reactor)
        self.assertIn("database.url", str(error))
        self.assertNotIn("sesame", str(error))

    def test_a_busy_state_dir(self) -> None:
        """Another daemon's state_dir: its Postgres is left alone, and no thread keeps us."""
        lock = StateDirLock(self.state_dir)
        lock.acquire()
        self.addCleanup(lock.release)
        before = set(threading.enumerate())
        daemon = make_service(self.config("embedded"), self.reactor)
        error = self.assertRaises(SystemExit, daemon.startService)
        self.assertIn(f"in use by process {os.getpid()}", str(error))
        self.assertEqual(set(threading.enumerate()), before)
        self.assertFalse((self.state_dir / "postgres").exists())


class KeptSoFar:
    """Stands for a journal with nothing in it; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.held: str | None = "held"
        self.begun = True

    def hold(self, why: str | None) -> None:
        """Take nothing, or go on."""
        self.held = why

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        return lambda: Deferred()


class AskingTests(ServiceCase):
    """What Postgres knows of a journal is asked for before anything is told."""

    def beginning(self) -> KeptSoFar:
        """A daemon begins."""
        self.daemon = make_service(self.config(), self.reactor)
        journal: Any = KeptSoFar()
        self.daemon._journal = journal
        Deferred.fromCoroutine(self.daemon._begin())
        return journal  # type: ignore[no-any-return]

    def test_it_says(self) -> None:
        """Once it has said what it has, the journal is read, and takes what comes."""
        journal = self.beginning()
        self.assertEqual((journal.held, journal.asked), ("held", []))
        [waiting] = self.daemon._barrier._asked
        waiting.callback(None)
        self.assertEqual((journal.held, journal.asked), (None, ["when_begun"]))

    def test_it_is_away(self) -> None:
        """After a few seconds the journal is believed; whoever waited is forgotten."""
        journal = self.beginning()
        self.reactor.advance(service.ASKED_WITHIN - 0.1)
        self.assertEqual((journal.held, journal.asked), ("held", []))
        self.reactor.advance(0.2)
        self.assertEqual((journal.held, journal.asked), (None, ["when_begun"]))
        self.assertEqual([], self.daemon._barrier._asked)

    def test_nothing_is_told_before(self) -> None:
        """From the start on until then the journal takes nothing."""
        daemon = make_service(self.config(), self.reactor)
        self.patch(daemon, "_or_exit", lambda start: None)
        daemon.startService()
        self.assertIn("Postgres has not said", daemon._journal._held or "")


class ClockTests(ServiceCase):
    """Which clock says what."""

    def test_a_new_journal_is_founded_by_the_wall(self) -> None:
        """The calls of the last day are taken back: the reactor's seconds are no date."""
        daemon = make_service(self.config(), self.reactor)
        (shipper,) = (part for part in daemon if isinstance(part, Shipper))
        self.assertIsInstance(shipper._wall, WallClock)


class SessionTests(ServiceCase):
    """A session with Asterisk that goes while it is looked at."""

    def test_what_was_seen_of_it_is_nothing(self) -> None:
        """Channels were read, operators were not: nobody is shown, and nothing goes on."""
        daemon = make_service(self.config(), self.reactor)
        (following,) = (part for part in daemon if isinstance(part, tracking.Tracking))
        following.running = 1
        coming = Deferred.fromCoroutine(self.made["AMIClient"].on_up(WithoutDevices()))
        self.reactor.advance(TOLD_WITHIN)
        self.failureResultOf(coming, ConnectionLost)
        self.assertEqual(following.presence.operators(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ListeningTests(ServiceCase):
    """The ports that others connect to."""

    def test_a_burst_finds_room(self) -> None:
        """Neither port makes the 51st of a burst wait for the kernel to try again."""
        daemon = make_service(self.config(), self.reactor)
        for part in daemon:
            if isinstance(part, StreamServerEndpointService):
                part.privilegedStartService()
        backlogs = {port: backlog for port, _, backlog, _ in self.reactor.tcpServers}
        self.assertEqual(backlogs, {8080: 2048, 4573: 2048})


class EndingTests(ServiceCase):
    """How it ends."""

    def test_another_daemon_has_the_asterisk(self) -> None:
        """It says who, ends, and not as if that were a success."""
        make_service(self.config(), self.reactor)
        self.made["AsteriskLock"].held.callback(HeldBy("ccdaemon abc on pbx2"))
        self.assertTrue(self.reactor.hasStopped)
        (trigger,) = self.reactor.triggers["after"]["shutdown"]
        self.assertEqual(trigger, (atexit.register, (os._exit, 1), {}))

    def test_what_hangs_in_a_thread(self) -> None:
        """A thread that hangs holds up neither the stop nor the end of the process."""
        began, goes_on = threading.Event(), threading.Event()
        self.addCleanup(goes_on.set)

        def hang() -> None:
            began.set()
            goes_on.wait(60)

        threads = Threads(self.reactor)
        threads.startService()
        run: Any = threads.run
        run(hang)
        self.assertTrue(began.wait(10))
        threads.stopService()
        mine = [one for one in threading.enumerate() if "ccdaemon" in one.name]
        self.assertTrue(mine)
        self.assertTrue(all(one.daemon for one in mine))
