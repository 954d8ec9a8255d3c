"""What Asterisk records, asked for when it begins: whoever began it, and wherever to.

``MixMonitorStart`` has the channel and no file; that is in a variable of the channel. What is not
heard or not answered is in the log of channel events.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls import signals
from ccdaemon.clocks import WallClock
from ccdaemon.pbx.ami_signals import moment
from ccdaemon.pbx.dialplan import Own
from ccdaemon.tracking.calls import LiveCalls

#: As many answers are waited for at a time; what begins meanwhile is read from the log.
MOST_ASKED = 500


class Monitors:
    """Asks where recordings go."""

    log = Logger()

    def __init__(self, ami: AMIActions, live: LiveCalls, wall: WallClock) -> None:
        self._ami = ami
        self._live = live
        self._wall = wall
        self._asked = 0

    def heard(self, session: object, event: Message) -> None:
        """A MixMonitorStart was heard."""
        channel, linkedid = event.get("Uniqueid"), event.get("Linkedid")
        date = moment(event, int(self._wall.seconds() * 1000))
        signal = signals.Recorded(channel, linkedid or channel, date, "")
        if channel and self._live.whose(signal) is not None and self._asked < MOST_ASKED:
            self._asked += 1
            asked = Deferred.fromCoroutine(self._ask(signal))
            asked.addErrback(lambda failure: self.log.failure("a recording is not known", failure))
            asked.addBoth(self._answered)

    async def _ask(self, signal: signals.Recorded) -> None:
        try:
            file = await self._ami.getVar(signal.channel, Own.RECORDED_TO)
        except AMIError as error:
            self.log.debug("where {of} is recorded to: {error}", of=signal.channel, error=error)
            return
        if file:
            ids = signal.channel, signal.linkedid, signal.date
            self._live.hear(signals.Recorded(*ids, file))

    def _answered(self, _: object) -> None:
        self._asked -= 1
