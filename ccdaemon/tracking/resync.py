"""Catching up: brings every live call to where its channels are, after a start or a gap.

Once a session begins: what Asterisk wrote down meanwhile, then what the session has told since,
which is held back until then, then what only a look at the channels shows. What any of it means to
a call the call machine decides. A call of which there is no channel and no end written down is
lost.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.signals import Signal
from ccdaemon.clocks import WallClock
from ccdaemon.pbx.ami_queries import query_channels
from ccdaemon.pbx.ami_signals import from_event, moment
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.cel_reader import CelReader
from ccdaemon.tracking.doubt import ConfirmedEnds

#: Seconds after which the log is read once more: Asterisk writes it a little later than it tells.
WRITTEN_WITHIN = 1.0
#: How often it is, for a call of which there is no channel any more.
TRIES = 5
#: Seconds after which the session has told what was before a look: Asterisk lists channels from
#: one thread and tells of them from another.
TOLD_WITHIN = 0.25
#: Seconds between two looks at all live calls.
LOOK_EVERY = 60.0
#: Seconds between two tries to tell of calls that could not be told when they began.
TELL_EVERY = 5.0
#: Signals that are held back at most; where there are more, the log is read instead.
MOST_HELD = 20_000
#: Seconds by which a call may be older than the boot of the Asterisk that it is on.
BOOT_SLACK = 2.0

#: Calls, each with channels that it has or misses.
Missing = list[tuple[Call, set[str]]]


class Resync:
    """Keeps the live calls where Asterisk's channels are.

    :param channel_log: what Asterisk wrote down.
    :param clock: IReactorTime.
    :param wall: WallClock that says what time it is.
    :ivar ends: lets pass what the session tells, but for ends that it asks about first.
    """

    log = Logger()

    def __init__(
        self, live: LiveCalls, channel_log: CelReader, clock: IReactorTime, wall: WallClock
    ) -> None:
        self._live = live
        self.ends = ConfirmedEnds(live.is_bridged, live.hear, clock)
        self._channel_log = channel_log
        self._clock = clock
        self._wall = wall
        self._looks: list[LoopingCall] = []
        self._session: AMIActions | None = None
        self._looking = False
        self._under_way: list[Deferred[None]] = []
        #: What was heard before its turn; None once everything is given as it comes.
        self._held: list[Signal] | None = []
        self._too_much = False
        # When Asterisk was heard of last before it booted anew, and when it did; in ms. When that
        # was by the clock and by the wall, in seconds, and the calls that may be older.
        self._last_sign = 0
        self._booted = 0
        self._boots: tuple[float, float] | None = None
        self._older: set[int] = set()
        # How many of the calls that could not be told have been told since.
        self._unrecorded = 0

    def heard(self, session: AMIActions, event: Message) -> None:
        """An AMI event was heard that may speak of a call."""
        # Dated by Asterisk where it says when that was (``timestampevents``), else now.
        signal = from_event(event, moment(event, self._now()))
        if signal is None:
            return
        if isinstance(signal, signals.Entered):
            self._live.bridges = True
        if self._held is None:
            self.ends.hear(session, signal)
        elif len(self._held) < MOST_HELD:
            self._held.append(signal)
        else:
            self._too_much = True

    async def up(self, session: AMIActions, booted_at: float | None = None) -> None:
        """A session has begun: bring every call to where its channels are, and keep looking.

        Events tell everything while a session stands, but for an Originate of which neither the
        answer nor a channel ever came: unlooked for, it would keep its operator busy for ever.

        :param booted_at: when Asterisk started, in the clock's seconds, if it is known.
        :raises AMIError: if Asterisk cannot be asked.
        :raises CannotResync: if what is told cannot be kept.
        """
        is_another = self._note_boot(booted_at)
        await self._read_log()
        if is_another:
            self._older |= {*self._live.numbers()}
        expected = _expected(self._live.asked())
        seen = await self._see(session)
        self._release(session)
        missing = self._compare(expected, seen)
        self._session = session
        self._every(LOOK_EVERY, lambda: self._look_again(session))
        self._every(TELL_EVERY, self._record_the_unrecorded)
        self._begin(self._settle(session, _calls(missing)))

    def _note_boot(self, booted_at: float | None) -> bool:
        """Note when Asterisk started; whether it is another one than in the session before.

        The same one has started at the same moment by one of the clocks: by ours, if it was our
        wall's that was set, or by the wall's, if Asterisk's is the same.
        """
        if booted_at is None:
            return False
        date = self._wall.seconds() - (self._clock.seconds() - booted_at)
        before, self._boots = self._boots, (booted_at, date)
        apart = (abs(one - other) for one, other in zip(self._boots, before or (), strict=False))
        is_another = all(seconds > BOOT_SLACK for seconds in apart)
        if is_another:
            self._booted, self._older = int(date * 1000), {*self._live.numbers()}
        return is_another

    def _every(self, seconds: float, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        looking = LoopingCall(lambda: self._begin(look()))
        looking.clock = self._clock
        looking.start(seconds, now=False)
        self._looks.append(looking)

    def _begin(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Do it until the session is over; it fires in any case."""
        begun = Deferred.fromCoroutine(work)
        self._under_way.append(begun)
        begun.addErrback(self._failed)
        return begun.addBoth(lambda _: self._under_way.remove(begun))

    def _failed(self, failure: Failure) -> None:
        if failure.check(AMIError):
            self.log.warn("could not look at the live calls: {error}", error=failure.value)
        elif not failure.check(CancelledError):
            self.log.failure("could not look at the live calls", failure)

    def down(self) -> None:
        """The session is over; live calls go on in Asterisk."""
        if self._held is None:
            self._last_sign = self._now()
        self._held, self._too_much, self._session = [], False, None
        self.ends.down()
        while self._looks:
            looking = self._looks.pop()
            if looking.running:
                looking.stop()
        for work in tuple(self._under_way):
            work.cancel()

    async def _read_log(self) -> None:
        await self._channel_log.read(self._take_logged)
        while self._too_much and self._held is not None:
            # All of it is in the log by now.
            self._held, self._too_much = [], False
            await self._channel_log.read_on(self._take_logged)

    def _take_logged(self, signal: Signal) -> None:
        if signal.date <= self._booted:
            self._last_sign = max(self._last_sign, signal.date)
        self._live.hear(signal)

    def _release(self, session: AMIActions) -> None:
        held, self._held = self._held or [], None
        for signal in held:
            self.ends.hear(session, signal)

    async def _look(self, session: AMIActions, calls: Sequence[Call]) -> Missing:
        """Look while the session stands; as ``_compare``."""
        expected = _expected(calls)
        return self._compare(expected, await self._see(session))

    async def _see(self, session: AMIActions) -> list[Signal]:
        """What every live channel shows, once the session has told what was before.

        The session tells in the order in which things happened, which no look shows.
        """
        seen = await query_channels(session, self._now(), self._live.is_unknown)
        await deferLater(self._clock, TOLD_WITHIN)
        return seen

    def _compare(self, expected: Missing, seen: Sequence[Signal]) -> Missing:
        """Give every live channel to its call.

        :param expected: calls with the channels that they had before the look.
        :returns: those that miss channels, with these.
        """
        for signal in seen:
            self._live.hear(signal)
        there = {signal.channel for signal in seen}
        missing = [(call, (call.looked_for & channels) - there) for call, channels in expected]
        return [(call, channels) for call, channels in missing if channels and not call.final]

    async def _settle(self, session: AMIActions, missing: list[Call]) -> None:
        """Read what is written late, and end what has no end and no channel."""
        for _ in range(TRIES):
            # An originate that was just on its way has a channel by then, too.
            await deferLater(self._clock, WRITTEN_WITHIN)
            is_read = await self._channel_log.read_on(partial(self._late, missing))
            # What is written down tells more than two dates, of which one may be a wrong clock's.
            missing = self._died([call for call in missing if not call.final])
            if not missing:
                return
            if not is_read:
                break
        for call, channels in await self._look(session, missing):
            words = "its end was not seen: Asterisk no longer has the channel"
            self._lose(call, channels, self._now(), words)

    def _late(self, missing: Sequence[Call], signal: Signal) -> None:
        """Of the calls that are there the session tells by now, and in its own order."""
        if self._live.whose(signal) in (None, *missing):
            self._live.hear(signal)

    def _died(self, missing: list[Call]) -> list[Call]:
        """End the calls that were up when Asterisk ended; the others are returned."""
        left = []
        for call in missing:
            is_younger = call.states[0].date > self._booted - BOOT_SLACK * 1000
            if is_younger or call.call_id not in self._older:
                left.append(call)
                continue
            words = "Asterisk was started anew, and the call ended with the old one"
            date = min(self._last_sign or self._booted, self._booted)
            self._lose(call, call.looked_for, date, words)
        return left

    def _lose(self, call: Call, channels: AbstractSet[str], date: int, words: str) -> None:
        """End channels of a call that are gone; with the last one the call is over."""
        for channel in sorted(channels):
            self._live.hear(signals.Lost(channel, call.anchor, date, words))

    def look_anew(self) -> None:
        """Compare all live calls with Asterisk now; nothing where no session stands."""
        if self._session is not None:
            self._begin(self._look_again(self._session))

    async def _look_again(self, session: AMIActions) -> None:
        if self._looking:
            return
        self._looking = True
        try:
            await self._look_once(session)
        finally:
            self._looking = False

    async def _look_once(self, session: AMIActions) -> None:
        if self._live.unrecorded == self._unrecorded:
            await self._channel_log.move_on(self._live.numbers())
        missing = await self._look(session, self._live.asked()) if len(self._live) else []
        if missing:
            self._channel_log.again()
            await self._settle(session, _calls(missing))

    async def _record_the_unrecorded(self) -> None:
        """Calls that began while the journal took none: the log has them still."""
        unrecorded = self._live.unrecorded
        if unrecorded == self._unrecorded or not self._channel_log.can_tell:
            return
        recorded: set[int] = set()
        self._channel_log.again()
        if await self._channel_log.read_on(partial(self._record_late, recorded)):
            self._unrecorded = unrecorded
        self.log.info("{count} calls are told that could not be before", count=len(recorded))
        if recorded:
            # What the session told of them in vain may not be written yet.
            self.look_anew()

    def _record_late(self, recorded: set[int], signal: Signal) -> None:
        call = self._live.whose(signal)
        if call is None:
            self._live.hear(signal)
            begun = self._live.whose(signal)
            if begun is not None:
                recorded.add(begun.call_id)
                # The session told of its bridges while there was no call to hear of them.
                for channel in {begun.anchor, signal.channel}:
                    self._live.forget_channel(channel)
        elif call.call_id in recorded:
            if isinstance(signal, signals.Started):
                self._live.forget_channel(signal.channel)
            self._live.hear(signal)

    def _now(self) -> int:
        return int(self._wall.seconds() * 1000)


def _expected(calls: Sequence[Call]) -> Missing:
    return [(call, {*call.looked_for}) for call in calls]


def _calls(missing: Missing) -> list[Call]:
    return [call for call, _ in missing]
