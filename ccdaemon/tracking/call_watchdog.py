"""The watchdog of calls: closes what stays as it is for longer than any call does.

It closes the call in the history alone. What still goes on in Asterisk goes on: a talk is nothing
to cut off by a clock. A call is as it is since it was first looked at in that state, and not since
the date of the state: no clock that is set closes a call.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ccdaemon.calls.call import Call
from ccdaemon.tracking.calls import LiveCalls


@dataclass(frozen=True, slots=True)
class Longest:
    """Seconds for which a call may ring or wait before anybody talks, and talk."""

    ringing: int
    talking: int


def overdue(phase: str, since: float, now: float, longest: Longest) -> str | None:
    """Say in words why a call is to be closed; None if it is not.

    :param phase: ``ringing``, ``talking`` or ``ended``.
    :param since: since when it is so, ``now`` what time it is; in seconds of one clock.
    """
    limits = {"ringing": longest.ringing, "talking": longest.talking}
    limit = limits.get(phase)
    if limit is None or now - since <= limit:
        return None
    return f"closed by the watchdog: {phase} for more than {limit} s"


#: Seconds between two looks at all live calls.
LOOK_EVERY = 10.0


class CallWatchdog(Service):
    """Looks after the live calls.

    :ivar closed: how many calls it has closed.
    """

    log = Logger()

    def __init__(self, live: LiveCalls, longest: Longest, clock: IReactorTime) -> None:
        self._live = live
        self._longest = longest
        self._clock = clock
        self._looks = LoopingCall(self.look)
        self._looks.clock = clock
        # Since when each call is seen to have told so many states, and no more.
        self._since: dict[tuple[int, int], float] = {}
        self.closed = 0

    def startService(self) -> None:
        """Begin to look."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looks.start(min(LOOK_EVERY, self._longest.ringing), now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looks.running:
            self._looks.stop()

    def look(self) -> None:
        """Close every call that is overdue."""
        now = self._clock.seconds()
        before, self._since = self._since, {}
        for call in self._live.asked():
            stands = call.call_id, len(call.states)
            since = self._since[stands] = before.get(stands, now)
            try:
                words = overdue(call.phase, since, now, self._longest)
                if words is not None:
                    self._close(call, words)
            except Exception:
                self.log.failure("call_id={call_id} cannot be closed", call_id=call.call_id)

    def _close(self, call: Call, words: str) -> None:
        self.log.error("call_id={call_id} {words}", call_id=call.call_id, words=words)
        # Where what was seen of one leg decides how the call ended, nothing else would say so.
        self._live.note(call, words)
        for channel in tuple(call.looked_for):
            self._live.lose(call, channel, words)
        if not call.final:
            # What its last leg left open waits for a word of Asterisk's that never came.
            self._live.fail(call, words)
        self.closed += 1
