"""What was told may not be so: a phone can write into what Asterisk tells.

A channel leaves its bridge before it ends, so an ordinary end is told twice, and counts at once. A
``Hangup`` of a channel that still is in a bridge may be forged: there the talk goes on until
Asterisk says that the channel is gone. And after whatever was forged Asterisk is looked at anew,
never more often than may be. Knows no calls, and not what a look is: who looks is told to it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
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
#: Seconds between the end of trust and the look: what was cut is followed by more.
SOON = 0.5
#: Seconds between two looks, and two lines, however much is forged.
EVERY = 10.0
#: Seconds for which health speaks of it.
REMEMBERED = 300.0


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
        self.log.debug("{channel} ends out of a bridge: is it there?", channel=signal.channel)
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


class LookingAnew:
    """Looks after an event was dropped that Asterisk cannot have spelled.

    :param looks: have the live calls looked at, the operators…
    :param clock: IReactorTime.
    """

    log = Logger()

    def __init__(self, looks: tuple[Callable[[], object], ...], clock: IReactorTime) -> None:
        self._looks = looks
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._looked = self._forged_at = float("-inf")
        self._since = 0

    @property
    def in_doubt(self) -> bool:
        """Whether something was forged lately."""
        return self._clock.seconds() - self._forged_at < REMEMBERED

    def forged(self, channel: str) -> None:
        """An event of a channel was dropped."""
        now = self._forged_at = self._clock.seconds()
        self._since += 1
        if self._next is None:
            wait = max(SOON, self._looked + EVERY - now)
            self._next = self._clock.callLater(wait, self._look, channel)

    def end(self) -> None:
        """Look no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self, channel: str) -> None:
        self._next = None
        self._looked = self._clock.seconds()
        count, self._since = self._since, 0
        self.log.warn(
            "{count} events were dropped: a phone has written into them, first of {channel!r};"
            " Asterisk is looked at anew",
            count=count,
            channel=channel,
        )
        for look in self._looks:
            look()
