"""What decides on calls, put together: whom a CRM, a client or an operator's phone may reach.

Makes the use cases with the limits and the routing that they ask, and the FastAGI server by which
the dialplan asks them. Decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.fastagi.agi_server import FastAGIFactory
from ccdaemon.limits.countries import NAME as COUNTRIES_CALLED
from ccdaemon.limits.countries import CountriesCalled
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.do_not_call import DoNotCall
from ccdaemon.limits.rates import DAY
from ccdaemon.limits.trunks import Trunks
from ccdaemon.numbers import Numbers
from ccdaemon.pbx.ami_queries import has_channel
from ccdaemon.routing.parts import make_routing
from ccdaemon.store.history import History
from ccdaemon.store.journal import Journal
from ccdaemon.switchboard.agi_scripts import REFUSAL, SETTINGS, AgiScripts
from ccdaemon.switchboard.call_actions import CallActions
from ccdaemon.switchboard.call_control import CallControl
from ccdaemon.switchboard.recording_pause import RecordingPause
from ccdaemon.switchboard.refer import ReferScript
from ccdaemon.switchboard.switchboard import Switchboard
from ccdaemon.tracking.tracking import Tracking


class CallHandling(MultiService):
    """The use cases, and what of them has a life of its own.

    :param run: runs a function in a thread.
    :ivar switchboard: makes calls.
    :ivar control: acts on live ones.
    :ivar agi: answers what the dialplan asks.
    :ivar limits: what may be dialled.
    :ivar routing: who takes a call that comes in.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        wall: WallClock,
        journal: Journal,
        history: History,
        tracking: Tracking,
        numbers: Numbers,
        run: Callable[..., Deferred[Any]],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._journal, self._wall = journal, wall
        limits, ami, live, presence = config.limits, tracking.ami, tracking.live, tracking.presence
        trunks = Trunks(config.asterisk.client_channel, config.numbers, numbers)
        do_not_call = DoNotCall(limits.do_not_call, limits.do_not_call_file, run, reactor, numbers)
        self._countries = CountriesCalled(config.state_dir / COUNTRIES_CALLED, run)
        self.limits = DialLimits(limits, numbers, trunks, do_not_call, self._countries)
        self.switchboard = Switchboard(
            config, ami, journal, live, presence, self.limits, trunks, reactor, wall
        )
        tracking.on_up, tracking.on_down = self.switchboard.up, self.switchboard.down
        actions = CallActions(
            config, ami, live, presence, self.switchboard, trunks, history.call, wall
        )
        self.control = CallControl(actions)
        self.routing, links = make_routing(
            config, reactor, wall, presence, history.last_operator, live.of_operator, numbers
        )
        incoming = AgiScripts(
            config.asterisk,
            live,
            self.routing,
            journal.append,
            self.switchboard.refuse_phone,
            self.limits,
            trunks,
            numbers,
            wall,
            partial(has_channel, ami),
            tracking.endpoints.sip_of_channel,
            tracking.presence.dialled,
        )
        self.agi = FastAGIFactory(
            {**incoming.scripts, **ReferScript(numbers, actions).scripts},
            reactor,
            replace(SETTINGS, secret=config.fastagi.secret),
            config.fastagi.admits,
            REFUSAL,
        )
        ami.registerEvent("UserEvent", RecordingPause(ami).heard)
        for part in (do_not_call, *links):
            part.setServiceParent(self)

    async def begin(self) -> None:
        """Take up what was dialled within the last day: the rates count it."""
        self._countries.begin()
        a_day_ago = self._wall.seconds() - DAY
        dialled = await self._journal.dialled_since(int(a_day_ago * 1000))
        self.switchboard.remember(dialled)
        self._journal.subscribe(self.switchboard.heard)
