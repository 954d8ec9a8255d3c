"""The composition root: from a configuration to the running daemon.

Reads like a list of parts and says in what order they begin and end. Every part gets what it
needs through its constructor; nothing is decided here that is not about their lives.
"""

from __future__ import annotations

import atexit
import os
import time
from functools import partial
from threading import Thread
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from ccdaemon.api.app import Api
from ccdaemon.api.clients import Clients
from ccdaemon.api.kinds import Patterns
from ccdaemon.asterisk.ami import AMIClient
from ccdaemon.asterisk.ami_link import ami_endpoint, credentials
from ccdaemon.asterisk.ami_session import AMIProtocol
from ccdaemon.asterisk.ami_settings import Settings
from ccdaemon.asterisk.looks import Endpoints
from ccdaemon.asterisk.signals import EVENTS
from ccdaemon.asterisk.wire import Message
from ccdaemon.config import Config
from ccdaemon.history.embedded import Embedded, EmbeddedPostgres
from ccdaemon.history.failures import JournalDamaged, StateDirBusy
from ccdaemon.history.history import History
from ccdaemon.history.journal import Journal
from ccdaemon.history.pg_address import Address, look_up
from ccdaemon.history.postgres import Database
from ccdaemon.history.shipper import Shipper
from ccdaemon.history.tenancy import HeldBy, Tenancy
from ccdaemon.live import LiveCalls
from ccdaemon.mp3 import Mp3Cache
from ccdaemon.operators import Operators
from ccdaemon.presence import Presence
from ccdaemon.recordings import Recordings
from ccdaemon.switchboard import Switchboard

#: Seconds that one part may take to stop; then the next one stops all the same.
STOP_WITHIN = 8.0
#: Threads that read recordings, and as many that look up names: where the one hangs, on a dead
#: network file system, the other goes on.
THREADS = 4


def make_service(config: Config, reactor: Any) -> Daemon:
    """The daemon, ready to be started.

    :param reactor: the global reactor, or one for tests.
    :raises SystemExit: if what a value names cannot be used, such as ``tls_ca``.
    """
    try:
        return Daemon(config, reactor)
    except (OSError, ValueError) as error:
        raise SystemExit(f"ccdaemon cannot start: {error}") from error


@implementer(IReactorTime)
class WallClock:
    """The date from the wall's clock, and timers from the reactor.

    The reactor counts by a clock that nobody sets (``ccdaemon.tap`` sees to that): an hour that
    is put back would otherwise be an hour without any timer.
    """

    def __init__(self, reactor: Any) -> None:
        self.callLater = reactor.callLater
        self.getDelayedCalls = reactor.getDelayedCalls

    def seconds(self) -> float:
        """Seconds since 1970."""
        return time.time()


class Threads(Service):
    """A few threads for what blocks.

    They keep nobody: what hangs in one of them, on a dead name server or network file system, is
    left to the end of the process.
    """

    def __init__(self, reactor: Any) -> None:
        self._pool = ThreadPool(0, THREADS, "ccdaemon")
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self.run = partial(deferToThreadPool, reactor, self._pool)

    def startService(self) -> None:
        """Take work."""
        super().startService()  # type: ignore[no-untyped-call]
        self._pool.start()

    def stopService(self) -> None:
        """Take no more work, and wait for none."""
        super().stopService()  # type: ignore[no-untyped-call]
        # It joins the threads.
        Thread(target=self._pool.stop, daemon=True).start()


class Daemon(MultiService):
    """All parts. Started in the order in which they stand here, stopped in the reverse."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._config = config
        self._reactor = reactor
        clock = WallClock(reactor)
        asterisk = config.asterisk

        threads, names = Threads(reactor), Threads(reactor)
        embedded = EmbeddedPostgres(config.state_dir) if config.database.embedded else None
        address = Address(embedded.url if embedded else config.database.url)
        self._journal = Journal(reactor, clock, config.state_dir)
        database = Database(reactor, clock, address, partial(names.run, look_up))
        tenancy = Tenancy(asterisk.host, asterisk.port)
        shipper = Shipper(clock, self._journal, database, tenancy)
        history = History(clock, self._journal, database, shipper)
        recordings = Recordings(
            asterisk.recordings_mount,
            self._journal.append,
            clock,
            threads.run,
            Mp3Cache(config.state_dir / "mp3", threads.run),
        )
        self._live = LiveCalls(self._journal, recordings if asterisk.record else None, clock)
        self._presence = Presence(
            Endpoints(asterisk.operator_channel, asterisk.operator_pattern),
            Operators(),
            self._journal.append,
            self._live.of_operator,
            clock,
        )
        self._ami = AMIClient(
            ami_endpoint(reactor, asterisk),
            clock,
            credentials(asterisk),
            Settings(ping_interval=asterisk.ping_interval),
            on_up=self._session_up,
            on_down=self._session_down,
        )
        self._switchboard = Switchboard(
            config, self._ami, self._journal, self._live, self._presence, clock
        )
        api = Api(
            calls=self._switchboard,
            operators=self._presence,
            history=history,
            recordings=recordings,
            clients=Clients(config.clients),
            patterns=Patterns(sip=asterisk.operator_pattern, phone=asterisk.phone_pattern),
            clock=clock,
            hosts=config.http.hosts,
            public_url=config.http.public_url,
        )
        parts = [
            threads,
            names,
            # First of what can fail, before anything is touched or has a thread of its own.
            self._journal,
            *([Embedded(reactor, reactor, embedded)] if embedded else []),
            database,
            shipper,
            recordings,
            api,
            strports.service(config.http.listen, api.site(), reactor),
        ]
        for part in parts:
            part.setServiceParent(self)
        tenancy.held.addCallback(self._held)
        self._listen_to_asterisk()

    def _listen_to_asterisk(self) -> None:
        for name in EVENTS:
            self._ami.registerEvent(name, self._live.heard)
        self._ami.registerEvent("DeviceStateChange", self._device_changed)
        self._ami.registerEvent("Reload", self._reloaded)

    # Beginning

    def privilegedStartService(self) -> None:
        """Listen; what cannot be had is said in a line, without a traceback."""
        self._or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """Begin. Asterisk is asked once the journal can keep what it says."""
        self._or_exit(super().startService)
        beginning = Deferred.fromCoroutine(self._begin())
        beginning.addErrback(self._cannot_begin)

    def _or_exit(self, start: Any) -> None:
        try:
            start()
        except (CannotListenError, StateDirBusy, JournalDamaged, OSError) as error:
            raise SystemExit(f"ccdaemon cannot start: {error}") from error

    async def _begin(self) -> None:
        if not self._journal.begun:
            self.log.warn("{why}; Asterisk is asked after that", why=self._journal.not_ready)
        await self._journal.when_begun()
        self._presence.remember(await self._journal.last_operator_changes())
        self._live.restore(await self._journal.open_calls())
        await self._live.expect_recordings()
        self._ami.setServiceParent(self)  # type: ignore[no-untyped-call]

    def _cannot_begin(self, failure: Failure) -> None:
        if self.running:
            self._end(f"the journal cannot be read: {failure.value}")

    # Asterisk

    async def _session_up(self, session: AMIProtocol) -> None:
        try:
            await self._presence.up(session)
            await self._live.up(session)
        except Exception as error:
            # The client tells of the end of a session only if it was up.
            self._session_down(error)
            raise
        self._switchboard.up()

    def _session_down(self, why: BaseException) -> None:
        self._switchboard.down()
        self._live.down()
        if self.running:
            self._presence.down(f"no session with Asterisk: {why}")
        else:
            self._presence.end()

    def _device_changed(self, session: AMIProtocol, event: Message) -> None:
        self._presence.device_changed(event)

    def _reloaded(self, session: AMIProtocol, event: Message) -> None:
        self._presence.reloaded(event)

    # Ending

    def _held(self, held: HeldBy) -> None:
        self._end(str(held))

    def _end(self, why: str) -> None:
        self.log.critical("ccdaemon ends: {why}", why=why)
        # twistd calls every end of the reactor a success.
        self._reactor.addSystemEventTrigger("after", "shutdown", atexit.register, os._exit, 1)
        self._reactor.stop()

    def stopService(self) -> Deferred[None]:
        """Take no more calls, then end the parts one after the other, each within a time limit."""
        self._switchboard.down()
        self.running = 0
        return Deferred.fromCoroutine(self._stop_in_turn())

    async def _stop_in_turn(self) -> None:
        for part in reversed(list(self)):
            stopping = maybeDeferred(part.stopService)
            stopping.addTimeout(STOP_WITHIN, self._reactor)
            try:
                await stopping
            except Exception as error:
                self.log.error("{part} did not stop: {error!r}", part=type(part), error=error)
