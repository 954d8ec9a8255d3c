"""Ends that one event alone tells of: Asterisk is asked before they count.

A channel leaves its bridge before it ends, so an ordinary end is told twice, and counts at once. A
``Hangup`` of a channel that still is in a bridge may be what a phone has written into an event:
there the talk goes on until Asterisk says that the channel is gone. Knows no calls.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.calls.signals import Ended, Signal
from ccdaemon.pbx.ami_queries import may_be_gone

#: As many ends are asked about at a time; those beyond them are believed.
MOST_ASKED = 500
#: How often it is asked, and seconds between: a channel that ends may be there for a moment.
TRIES, ASK_AGAIN = 3, 0.2


class ConfirmedEnds:
    """Lets signals pass, but for ends that are asked about first.

    :param is_bridged: whether a channel, by its uniqueid, is known to be in a bridge.
    :param hear: takes the signals.
    :param clock: IReactorTime.
    :ivar on_forged: told the channel whose end was none.
    """

    log = Logger()

    def __init__(
        self,
        is_bridged: Callable[[str], bool],
        hear: Callable[[Signal], None],
        clock: IReactorTime,
    ) -> None:
        self._is_bridged = is_bridged
        self._hear = hear
        self._clock = clock
        self._asking: dict[str, Deferred[None]] = {}
        self.on_forged: Callable[[str], object] = lambda channel: None

    def hear(self, session: AMIActions, signal: Signal) -> None:
        """A session has told a signal."""
        is_alone = isinstance(signal, Ended) and self._is_bridged(signal.channel)
        if not is_alone or len(self._asking) >= MOST_ASKED:
            self._hear(signal)
        elif signal.channel not in self._asking:
            asking = Deferred.fromCoroutine(self._ask(session, signal))
            if not asking.called:
                self._asking[signal.channel] = asking
            asking.addErrback(self._failed)
            asking.addBoth(lambda _: self._asking.pop(signal.channel, None))

    def down(self) -> None:
        """The session is over: what it has told last the next one finds out."""
        for asking in tuple(self._asking.values()):
            asking.cancel()

    async def _ask(self, session: AMIActions, signal: Signal) -> None:
        for _ in range(TRIES):
            if await may_be_gone(session, signal.channel):
                self._hear(signal)
                return
            await deferLater(self._clock, ASK_AGAIN)
        self.log.warn("{channel} was told to have ended and is there", channel=signal.channel)
        self.on_forged(signal.channel)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("whether a channel has ended cannot be found out", failure)
