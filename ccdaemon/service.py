"""The composition root: from a configuration to the running daemon.

Reads like a list of parts and says in what order they begin and end. Every part gets what it
needs through its constructor; nothing is decided here that is not about their lives.
"""

from __future__ import annotations

import atexit
import os
from functools import partial
from random import random
from typing import Any

from twisted.application import strports
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.api.app import Api
from ccdaemon.api.clients import Clients
from ccdaemon.api.connections import Connections, room_for
from ccdaemon.api.long_poll import MOST_WAITING, Waiters
from ccdaemon.api.methods.calls import CallMethods
from ccdaemon.api.methods.control import ControlMethods
from ccdaemon.api.methods.crm import CrmMethods
from ccdaemon.api.methods.health import HealthMethods
from ccdaemon.api.methods.history import HistoryMethods
from ccdaemon.api.methods.links import LinkMethods
from ccdaemon.api.methods.operators import OperatorMethods
from ccdaemon.api.methods.streams import StreamMethods
from ccdaemon.api.methods.webhooks import WebhookMethods
from ccdaemon.api.param_types import Patterns
from ccdaemon.api.playback import Playback
from ccdaemon.api.rendering import Format, render
from ccdaemon.api.shares import Shares
from ccdaemon.api.signed_urls import Links
from ccdaemon.api.sse import EventStreams
from ccdaemon.api.tickets import Tickets
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.config.validators import with_backlog
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.consumers.webhooks.sender import sender
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.health.collectors import of_connections, of_streams
from ccdaemon.health.systemd import Notify
from ccdaemon.health.wiring import Observed, Observing
from ccdaemon.log_lines import LogLines
from ccdaemon.log_masking import LogMasking
from ccdaemon.numbers import Numbers
from ccdaemon.recordings.mp3 import Mp3Cache
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.recordings.removal import RecordingFiles
from ccdaemon.recordings.retention import Retention
from ccdaemon.sighup import Sighup
from ccdaemon.store.asterisk_lock import AsteriskLock, HeldBy
from ccdaemon.store.embedded import Embedded, EmbeddedPostgres
from ccdaemon.store.failures import JournalDamaged, StateDirBusy
from ccdaemon.store.history import History
from ccdaemon.store.journal import Journal
from ccdaemon.store.pg_address import Address, look_up
from ccdaemon.store.postgres import Database
from ccdaemon.store.read_barrier import ReadBarrier
from ccdaemon.store.removals import Removals
from ccdaemon.store.renumbering import Renumbering
from ccdaemon.switchboard.annotations import Annotations
from ccdaemon.switchboard.assembly import CallHandling
from ccdaemon.switchboard.playback_log import PlaybackLog
from ccdaemon.threads import Threads
from ccdaemon.tracking.tracking import Tracking

#: Seconds that one part may take to stop; then the next one stops all the same.
STOP_WITHIN = 8.0
#: Seconds for which Postgres is waited for: it may know more than a journal that has lost its end.
#: Where it is away, the journal is believed.
ASKED_WITHIN = 3.0


def make_service(config: Config, reactor: Any = None) -> Daemon:
    """The daemon, ready to be started.

    :param reactor: one for tests; else it is the one that is installed.
    :raises SystemExit: if what a value names cannot be used, such as ``tls_ca``.
    """
    if reactor is None:
        from twisted.internet import reactor
    try:
        return Daemon(config, reactor)
    except (OSError, ValueError) as error:
        raise SystemExit(f"ccdaemon cannot start: {error}") from error


class Daemon(MultiService):
    """All parts. Started in the order in which they stand here, stopped in the reverse."""

    log = Logger()

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        clock: IReactorTime = reactor
        wall = WallClock(clock)
        asterisk = config.asterisk
        numbers = Numbers(config.numbers.country, config.numbers.internal.text)

        threads, names, log_thread = Threads(reactor), Threads(reactor), Threads(reactor)
        embedded = EmbeddedPostgres(config.state_dir) if config.database.embedded else None
        address = Address(embedded.url if embedded else config.database.url)
        self._journal = Journal(reactor, clock, wall, config.state_dir)
        database = Database(reactor, clock, wall, address, partial(names.run, look_up))
        tenancy = AsteriskLock(asterisk.host, asterisk.port)
        self._barrier = barrier = ReadBarrier(clock, database)
        shipper = Shipper(clock, wall, self._journal, database, tenancy, barrier)
        history = History(clock, wall, self._journal, database, barrier)
        mp3 = Mp3Cache(config.state_dir / "mp3", threads.run)
        webhooks = Webhooks(
            reactor,
            clock,
            wall,
            self._journal,
            config.state_dir,
            config.webhooks,
            base_url=config.http.public_url or "",
            sends=lambda webhook: sender(webhook, reactor),
            spell=lambda tree, form: render(tree, Format(form), "webhook"),
            random=random,
        )
        files = RecordingFiles(asterisk.recordings_mount, threads.run, mp3)
        recordings = Recordings(
            asterisk.recordings_mount,
            partial(self._journal.append, may_wait=True),
            self._journal.chain,
            clock,
            wall,
            threads.run,
            mp3,
            files.remove,
        )
        renumbering = Renumbering(
            database, numbers, config.numbers.internal.text, self._journal, clock
        )
        retention = Retention(
            config.retention,
            Removals(self._journal, database, barrier),
            files,
            webhooks.forget,
            recordings.forget,
            wall,
            numbers,
        )
        self._tracking = tracking = Tracking(
            config, reactor, wall, self._journal, recordings, numbers, log_thread.run
        )
        self._handling = handling = CallHandling(
            config, reactor, wall, self._journal, history, tracking, numbers, threads.run
        )
        observing = Observing(
            config,
            Observed(
                ami=tracking.ami,
                in_doubt=lambda: tracking.in_doubt,
                channel_log=tracking.channel_log,
                agi=handling.agi,
                journal=self._journal,
                database=database,
                shipper=shipper,
                live=tracking.live,
                presence=tracking.presence,
                recordings=recordings,
                webhooks=webhooks,
                routing=handling.routing.counters,
                alarms=handling.limits.alarms,
                overdue=tracking.watchdog,
                retention=retention,
            ),
            clock,
            wall,
            threads.run,
        )
        clients, http = Clients(config.clients), config.http
        waiters = Waiters(clock, Shares(MOST_WAITING, len(clients)))
        streams = EventStreams(
            history, clock, Shares(http.max_streams, len(clients)), http.events_heartbeat
        )
        connections = Connections(clock, room_for(http.max_connections))
        signed, tickets = Links(http.link_secret), Tickets(http.link_secret)
        entries = Annotations(self._journal, tracking.live, history, wall)
        api = Api(
            families=(
                CallMethods(handling.switchboard),
                HistoryMethods(history, waiters, clock),
                OperatorMethods(tracking.presence, history),
                ControlMethods(handling.control, history),
                LinkMethods(signed, entries, history, wall),
                StreamMethods(tickets, wall),
                WebhookMethods(webhooks),
                CrmMethods(entries, tracking.pauses, retention, history),
                HealthMethods(observing.watch),
            ),
            streams=streams,
            waiters=waiters,
            connections=connections,
            playback=Playback(history, recordings, PlaybackLog(self._journal.append, clock, wall)),
            links=signed,
            tickets=tickets,
            watch=observing.watch,
            metrics=observing.metrics,
            clients=clients,
            patterns=Patterns(asterisk.operator_pattern, asterisk.phone_pattern, numbers),
            clock=clock,
            wall=wall,
            hosts=http.hosts,
            public_url=http.public_url,
            trusted_proxies=http.trusted_proxies,
            request_timeout=http.request_timeout,
        )
        observing.metrics.add(of_streams(streams))
        observing.metrics.add(of_connections(connections))
        parts = [
            *([LogMasking()] if config.log.mask_phones else []),
            LogLines(),
            Sighup(reactor),
            threads,
            names,
            log_thread,
            # First of what can fail, before anything is touched or has a thread of its own.
            self._journal,
            *([Embedded(reactor, reactor, embedded)] if embedded else []),
            database,
            shipper,
            renumbering,
            tracking.pauses,
            retention,
            webhooks,
            recordings,
            observing,
            api,
            strports.service(with_backlog(config.http.listen), api.site(), reactor),
            handling,
            strports.service(with_backlog(config.fastagi.listen), handling.agi, reactor),
            tracking,
            # Last: systemd is told when everything serves.
            Notify(self._journal.alive, clock),
        ]
        for part in parts:
            part.setServiceParent(self)
        tenancy.held.addCallback(self._held)

    # Beginning

    def privilegedStartService(self) -> None:
        """Listen; what cannot be had is said in a line, without a traceback."""
        self._or_exit(super().privilegedStartService)

    def startService(self) -> None:
        """Begin. Asterisk is asked once the journal can keep what it says."""
        self._journal.hold("Postgres has not said yet what it has of this journal")
        self._or_exit(super().startService)
        beginning = Deferred.fromCoroutine(self._begin())
        beginning.addErrback(self._cannot_begin)

    def _or_exit(self, start: Any) -> None:
        try:
            start()
        except (CannotListenError, StateDirBusy, JournalDamaged, OSError) as error:
            raise SystemExit(f"ccdaemon cannot start: {error}") from error

    async def _begin(self) -> None:
        asking = self._barrier.when_asked()
        await asking.addTimeout(ASKED_WITHIN, self._reactor, lambda result, _: None)
        self._journal.hold(None)
        if not self._journal.begun:
            self.log.warn("{why}; Asterisk is asked after that", why=self._journal.not_ready)
        await self._journal.when_begun()
        last_changes = await self._journal.last_operator_changes()
        open_calls = await self._journal.open_calls()
        await self._handling.begin()
        await self._tracking.begin(open_calls, last_changes)

    def _cannot_begin(self, failure: Failure) -> None:
        if self.running:
            self._end(f"the journal cannot be read: {failure.value}")

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
        self._handling.switchboard.down()
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
