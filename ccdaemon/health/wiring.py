"""Health and numbers, put together from the daemon's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.application.service import MultiService
from twisted.internet.interfaces import IReactorTime

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.consumers.shipper import Shipper
from ccdaemon.consumers.webhooks.webhooks import Webhooks
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.health import collectors, probes
from ccdaemon.health.disk import FolderWatch
from ccdaemon.health.health import Watch
from ccdaemon.health.metrics import Metrics
from ccdaemon.limits.counters import Alarms
from ccdaemon.recordings.mp3 import InThread
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.recordings.retention import Retention
from ccdaemon.routing.counters import RoutingCounters
from ccdaemon.store.journal import Journal
from ccdaemon.store.postgres import Database
from ccdaemon.tracking.call_watchdog import CallWatchdog
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.presence import Presence

#: Without these no call can be made or taken.
NEEDED = frozenset({"asterisk", "journal", "fastagi"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The parts that have something to show."""

    ami: AMIClient
    in_doubt: Callable[[], bool]
    channel_log: CelReader
    agi: FastAGIFactory
    journal: Journal
    database: Database
    shipper: Shipper
    live: LiveCalls
    presence: Presence
    recordings: Recordings
    webhooks: Webhooks
    routing: RoutingCounters
    alarms: Alarms
    overdue: CallWatchdog
    retention: Retention


class Observing(MultiService):
    """Watches the parts and counts what happens.

    :ivar watch: how everything is.
    :ivar metrics: the numbers.
    """

    def __init__(
        self,
        config: Config,
        parts: Observed,
        clock: IReactorTime,
        wall: WallClock,
        in_thread: InThread,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        state = FolderWatch(config.state_dir, in_thread, clock)
        looks = {
            "asterisk": probes.asterisk(parts.ami, parts.in_doubt),
            "journal": probes.journal(parts.journal, state),
            "fastagi": probes.fastagi(parts.agi),
            "calls": probes.calls(parts.live, wall),
            "postgres": probes.postgres(parts.database, parts.shipper),
            "webhooks": probes.webhooks(parts.webhooks, wall),
        }
        folders = [state]
        if config.asterisk.record:
            recordings = FolderWatch(config.asterisk.recordings_mount, in_thread, clock)
            looks["recordings"] = probes.recordings(recordings, config.writes_recordings)
            folders.append(recordings)
        self.watch = Watch(looks, NEEDED, clock, wall)
        self.metrics = Metrics(
            wall,
            (
                collectors.of_health(self.watch),
                collectors.of_calls(parts.live, parts.overdue),
                collectors.of_operators(parts.presence, parts.recordings),
                collectors.of_asterisk(parts.ami, parts.agi, parts.channel_log),
                collectors.of_history(parts.journal, parts.shipper),
                collectors.of_webhooks(parts.webhooks),
                collectors.of_consumers(lambda: (parts.shipper.health, *parts.webhooks.consumers)),
                collectors.of_routing(parts.routing),
                collectors.of_limits(parts.alarms),
                collectors.of_retention(parts.retention),
            ),
        )
        parts.journal.subscribe(self.metrics.heard)
        parts.journal.observe = self.metrics.committed
        parts.routing.observe = self.metrics.crm_asked
        parts.agi.counters.observe = self.metrics.script_over
        parts.webhooks.observe(self.metrics.posted)
        for service in (*folders, self.watch):
            service.setServiceParent(self)
