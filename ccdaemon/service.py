"""The composition root: from a configuration to the running daemon.

Reads like a list of parts and says in what order they begin and end. Every part gets what it
needs through its constructor; nothing is decided here that is not about their lives.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from random import random
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

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings
from ccdaemon.ami.ami_wire import Message
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
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.health.collectors import of_connections, of_streams
from ccdaemon.health.systemd import Notify
from ccdaemon.health.wiring import Observed, Observing
from ccdaemon.limits.countries import NAME as COUNTRIES_CALLED
from ccdaemon.limits.countries import CountriesCalled
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.do_not_call import DoNotCall
from ccdaemon.limits.rates import DAY
from ccdaemon.limits.trunks import Trunks
from ccdaemon.log_masking import LogMasking
from ccdaemon.numbers import Numbers
from ccdaemon.operators import Operators
from ccdaemon.pbx.ami_connection import ami_endpoint, credentials
from ccdaemon.pbx.ami_queries import Endpoints, has_channel, tells_of_bridges
from ccdaemon.pbx.ami_signals import EVENTS
from ccdaemon.pbx.dialplan import HEADERS
from ccdaemon.recordings.mp3 import Mp3Cache
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.recordings.removal import RecordingFiles
from ccdaemon.recordings.retention import Retention
from ccdaemon.routing.parts import make_routing
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
from ccdaemon.switchboard.agi_scripts import REFUSAL as AGI_REFUSAL
from ccdaemon.switchboard.agi_scripts import SETTINGS as AGI_SETTINGS
from ccdaemon.switchboard.agi_scripts import AgiScripts
from ccdaemon.switchboard.annotations import Annotations
from ccdaemon.switchboard.call_actions import CallActions
from ccdaemon.switchboard.call_control import CallControl
from ccdaemon.switchboard.playback_log import PlaybackLog
from ccdaemon.switchboard.recording_pause import RecordingPause
from ccdaemon.switchboard.refer import ReferScript
from ccdaemon.switchboard.switchboard import Switchboard
from ccdaemon.tracking.call_watchdog import CallWatchdog, Longest
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.looking_anew import LookingAnew
from ccdaemon.tracking.monitors import Monitors
from ccdaemon.tracking.operator_pauses import OperatorPauses
from ccdaemon.tracking.presence import Presence
from ccdaemon.tracking.resync import Resync

#: Seconds that one part may take to stop; then the next one stops all the same.
STOP_WITHIN = 8.0
#: Seconds for which Postgres is waited for: it may know more than a journal that has lost its end.
#: Where it is away, the journal is believed.
ASKED_WITHIN = 3.0
#: Seconds in which a session may read Asterisk's own log, of a day if need be.
UP_TIMEOUT = 600.0
#: Threads that read recordings, as many that look up names, and as many for Asterisk's own log:
#: where the one hangs, on a dead network file system, the others go on.
THREADS = 4


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
        clock: IReactorTime = reactor
        self._wall = wall = WallClock(clock)
        asterisk = config.asterisk
        numbers = Numbers(config.numbers.country, config.numbers.internal.text)
        trunks = Trunks(asterisk.client_channel, config.numbers, numbers)

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
            self._journal.append,
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
        )
        endpoints = Endpoints(asterisk.operator_channel, asterisk.operator_pattern)
        self._live = LiveCalls(
            self._journal,
            recordings,
            wall,
            endpoints.sip_of_channel,
            asterisk.phone_pattern.matches,
            numbers,
            records=asterisk.record,
            recordings_dir=PurePosixPath(asterisk.recordings_dir),
        )
        self._channel_log = CelReader(asterisk.cel_file, self._journal, log_thread.run, clock, wall)
        self._catching_up = Resync(self._live, self._channel_log, clock, wall)
        operators = Operators()
        self._presence = Presence(
            endpoints,
            operators,
            self._journal.append,
            self._live.of_operator,
            wall,
        )
        self._pauses = OperatorPauses(
            operators, self._presence, self._journal, wall, config.operators.wrap_up
        )
        self._ami = AMIClient(
            ami_endpoint(reactor, asterisk),
            clock,
            credentials(asterisk),
            AMISettings(
                ping_interval=asterisk.ping_interval,
                up_timeout=UP_TIMEOUT,
                user_events=HEADERS,
            ),
            on_up=self._session_up,
            on_down=self._session_down,
        )
        self._looking_anew = LookingAnew(
            (self._catching_up.look_anew, self._presence.look_anew), clock
        )
        limits = config.limits
        do_not_call = DoNotCall(
            limits.do_not_call, limits.do_not_call_file, threads.run, clock, numbers
        )
        self._countries = CountriesCalled(config.state_dir / COUNTRIES_CALLED, threads.run)
        guard = DialLimits(limits, numbers, trunks, do_not_call, self._countries)
        self._switchboard = Switchboard(
            config,
            self._ami,
            self._journal,
            self._live,
            self._presence,
            guard,
            trunks,
            clock,
            wall,
        )
        actions = CallActions(
            config,
            self._ami,
            self._live,
            self._presence,
            self._switchboard,
            trunks,
            history.call,
            wall,
        )
        control = CallControl(actions)
        referring = ReferScript(numbers, actions)
        routing, links = make_routing(
            config,
            reactor,
            wall,
            self._presence,
            history.last_operator,
            self._live.of_operator,
            numbers,
        )
        incoming = AgiScripts(
            asterisk,
            self._live,
            routing,
            self._journal.append,
            self._switchboard.refuse_phone,
            guard,
            trunks,
            numbers,
            wall,
            partial(has_channel, self._ami),
        )
        agi_settings = replace(AGI_SETTINGS, secret=config.fastagi.secret)
        agi = FastAGIFactory(
            {**incoming.scripts, **referring.scripts},
            clock,
            agi_settings,
            config.fastagi.admits,
            AGI_REFUSAL,
        )
        longest = Longest(config.limits.longest_ringing, config.limits.longest_talk)
        overdue = CallWatchdog(self._live, longest, clock)
        observing = Observing(
            config,
            Observed(
                ami=self._ami,
                in_doubt=lambda: self._looking_anew.in_doubt,
                channel_log=self._channel_log,
                agi=agi,
                journal=self._journal,
                database=database,
                shipper=shipper,
                live=self._live,
                presence=self._presence,
                recordings=recordings,
                webhooks=webhooks,
                routing=routing.counters,
                alarms=guard.alarms,
                overdue=overdue,
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
        entries = Annotations(self._journal, self._live, history, wall)
        api = Api(
            families=(
                CallMethods(self._switchboard),
                HistoryMethods(history, waiters, clock),
                OperatorMethods(self._presence, history),
                ControlMethods(control, history),
                LinkMethods(signed, history, wall),
                StreamMethods(tickets, wall),
                WebhookMethods(webhooks),
                CrmMethods(entries, self._pauses, retention, history),
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
            self._pauses,
            retention,
            webhooks,
            recordings,
            observing,
            api,
            strports.service(with_backlog(config.http.listen), api.site(), reactor),
            do_not_call,
            *links,
            strports.service(with_backlog(config.fastagi.listen), agi, reactor),
            overdue,
            # Last: systemd is told when everything serves.
            Notify(self._journal.alive, clock),
        ]
        for part in parts:
            part.setServiceParent(self)
        tenancy.held.addCallback(self._held)
        self._listen_to_asterisk()

    def _listen_to_asterisk(self) -> None:
        for name in EVENTS:
            self._ami.registerEvent(name, self._catching_up.heard)
        self._ami.registerEvent("UserEvent", RecordingPause(self._ami).heard)
        self._ami.registerEvent(
            "MixMonitorStart", Monitors(self._ami, self._live, self._wall).heard
        )
        self._ami.registerEvent("DeviceStateChange", self._device_changed)
        self._ami.registerEvent("Reload", self._reloaded)
        self._ami.on_forged = self._looking_anew.forged
        self._catching_up.ends.on_forged = self._presence.on_forged = self._forged

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
        self._presence.remember(last_changes)
        self._pauses.remember(last_changes, open_calls)
        self._live.restore(open_calls)
        self._countries.begin()
        a_day_ago = self._wall.seconds() - DAY
        self._switchboard.remember(await self._journal.dialled_since(int(a_day_ago * 1000)))
        self._journal.subscribe(self._switchboard.heard)
        await self._live.expect_recordings()
        await self._channel_log.begin()
        self._ami.setServiceParent(self)  # type: ignore[no-untyped-call]

    def _cannot_begin(self, failure: Failure) -> None:
        if self.running:
            self._end(f"the journal cannot be read: {failure.value}")

    # Asterisk

    async def _session_up(self, session: AMIProtocol) -> None:
        try:
            await self._look_at_filters(session)
            await self._catching_up.up(session, session.booted_at)
            await self._presence.up(session)
        except Exception as error:
            # The client tells of the end of a session only if it was up.
            self._session_down(error)
            raise
        self._switchboard.up()

    async def _look_at_filters(self, session: AMIProtocol) -> None:
        told = await tells_of_bridges(session, self._config.asterisk.username)
        self._live.bridges = bool(told)
        if not told:
            self.log.warn(
                "Asterisk does not tell of bridges: whoever is up is taken to talk, be it a bot."
                " Take the new manager_ccdaemon.conf; 'ccdaemon check' says what is missing"
            )

    def _session_down(self, why: BaseException) -> None:
        self._switchboard.down()
        self._looking_anew.end()
        self._catching_up.down()
        if self.running:
            self._presence.down(f"no session with Asterisk: {why}")
        else:
            self._presence.end()

    def _forged(self, channel: str) -> None:
        """An event that was spelled well was none."""
        self._ami.counters.forged += 1
        self._looking_anew.forged(channel)

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
