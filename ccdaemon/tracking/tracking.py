"""Asterisk's side of the daemon: one session, and what follows live calls and operators on it.

Makes these parts and says in what order a session comes up and goes down. What any event means
they know themselves; what becomes of calls is told to the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings
from ccdaemon.calls.observing import Observer
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.config.observe import ObserveSettings
from ccdaemon.numbers import Numbers
from ccdaemon.operators import OperatorChange, Operators
from ccdaemon.pbx import ami_queues
from ccdaemon.pbx.ami_connection import ami_endpoint, credentials
from ccdaemon.pbx.ami_queries import tells_of_bridges
from ccdaemon.pbx.ami_signals import EVENTS
from ccdaemon.pbx.dialplan import HEADERS
from ccdaemon.pbx.endpoints import Endpoints, endpoints_of
from ccdaemon.queues import Queues, Spelling
from ccdaemon.recordings.recordings import Recordings
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain
from ccdaemon.tracking.call_watchdog import CallWatchdog, Longest
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.doubt import LookingAnew
from ccdaemon.tracking.monitors import Monitors
from ccdaemon.tracking.operator_pauses import OperatorPauses
from ccdaemon.tracking.presence import Presence
from ccdaemon.tracking.queue_pauses import QueuePauses
from ccdaemon.tracking.resync import Resync

#: Seconds in which a session may read Asterisk's own log, of a day if need be.
UP_TIMEOUT = 600.0


def _observer(observe: ObserveSettings, endpoints: Endpoints) -> Observer | None:
    """Who sees calls begin that nobody hands over; None where none are to be told."""
    if not observe.trunks:
        return None
    return Observer(observe.trunks, observe.inbound_contexts, endpoints.sip_of_channel)


class Tracking(MultiService):
    """Follows Asterisk from :meth:`begin` on, while the service runs.

    :param run: runs a function in a thread, for Asterisk's own log.
    :ivar on_up: called once Asterisk has been looked at, ``on_down`` when the session is over.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        wall: WallClock,
        journal: Journal,
        recordings: Recordings,
        numbers: Numbers,
        run: Callable[..., Deferred[Any]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        asterisk = config.asterisk
        self._username = asterisk.username
        self.on_up: Callable[[], object] = lambda: None
        self.on_down: Callable[[], object] = lambda: None
        self.endpoints = endpoints = endpoints_of(config)
        self.live = LiveCalls(
            journal,
            recordings,
            wall,
            endpoints.sip_of_channel,
            asterisk.phone_pattern.matches,
            numbers,
            observer=_observer(config.observe, endpoints),
            records=asterisk.record,
            recordings_dir=PurePosixPath(asterisk.recordings_dir),
        )
        self.channel_log = CelReader(asterisk.cel_file, journal, run, reactor, wall)
        self._resync = Resync(self.live, self.channel_log, reactor, wall)
        operators = Operators()
        # Nobody waits until it is told what an operator's phone does.
        unhurried = partial(journal.append, may_wait=True)
        self.presence = Presence(endpoints, operators, unhurried, self.live.of_operator, wall)
        self.pauses = OperatorPauses(
            operators, self.presence, journal, wall, config.operators.wrap_up
        )
        spelling = Spelling(endpoints.sip, asterisk.operator_pattern.matches)
        self.queues = QueuePauses(Queues(spelling), self.pauses, reactor)
        self.pauses.queues = self.queues
        self.ami = AMIClient(
            ami_endpoint(reactor, asterisk),
            reactor,
            credentials(asterisk),
            AMISettings(
                ping_interval=asterisk.ping_interval, up_timeout=UP_TIMEOUT, user_events=HEADERS
            ),
            on_up=self._up,
            on_down=self._down,
        )
        longest = Longest(config.limits.longest_ringing, config.limits.longest_talk)
        self.watchdog = CallWatchdog(self.live, longest, reactor)
        self.watchdog.setServiceParent(self)  # type: ignore[no-untyped-call]
        self._doubt = LookingAnew((self._resync.look_anew, self.presence.look_anew), reactor)
        self._listen(Monitors(self.ami, self.live, wall))

    def _listen(self, monitors: Monitors) -> None:
        for name in EVENTS:
            self.ami.registerEvent(name, self._resync.heard)
        self.ami.registerEvent("MixMonitorStart", monitors.heard)
        self.ami.registerEvent(
            "DeviceStateChange", lambda _, event: self.presence.device_changed(event)
        )
        for name in ami_queues.EVENTS:
            self.ami.registerEvent(name, lambda _, event: self.queues.heard(event))
        self.ami.registerEvent("Reload", lambda _, event: self.presence.reloaded(event))
        self.ami.on_forged = self._doubt.forged
        self._resync.ends.on_forged = self.presence.on_forged = self._forged

    @property
    def in_doubt(self) -> bool:
        """Whether something was forged lately."""
        return self._doubt.in_doubt

    async def begin(
        self, open_calls: Sequence[Chain], last_changes: Mapping[str, OperatorChange]
    ) -> None:
        """Take up what the journal has, and have a session with Asterisk from now on.

        :param open_calls: the calls that were live at the last end.
        :param last_changes: the newest row of each operator's log.
        """
        self.presence.remember(last_changes)
        self.pauses.remember(last_changes, open_calls)
        self.live.restore(open_calls)
        await self.live.expect_recordings()
        await self.channel_log.begin()
        self.ami.setServiceParent(self)  # type: ignore[no-untyped-call]

    async def _up(self, session: AMIProtocol) -> None:
        try:
            await self._look_at_filters(session)
            await self._resync.up(session, session.booted_at)
            await self.presence.up(session)
        except Exception as error:
            # The client tells of the end of a session only if it was up.
            self._down(error)
            raise
        self.on_up()
        self.queues.up(session)

    async def _look_at_filters(self, session: AMIProtocol) -> None:
        told = await tells_of_bridges(session, self._username)
        self.live.bridges = bool(told)
        if not told:
            self.log.warn(
                "Asterisk does not tell of bridges: whoever is up is taken to talk, be it a bot."
                " Take the new manager_ccdaemon.conf; 'ccdaemon check' says what is missing"
            )

    def _down(self, why: BaseException) -> None:
        self.on_down()
        self._doubt.end()
        self._resync.down()
        self.queues.down()
        if self.running:
            self.presence.down(f"no session with Asterisk: {why}")
        else:
            self.presence.end()

    def _forged(self, channel: str) -> None:
        """An event that was spelled well was none."""
        self.ami.counters.forged += 1
        self._doubt.forged(channel)
