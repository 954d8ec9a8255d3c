"""What was refused, and what looks like fraud: counted, and the first of its kind said aloud."""

from __future__ import annotations

from collections import Counter

from twisted.logger import Logger

#: What is refused: by whom it is asked for, by what it is, by how much of it there is; ``country``
#: is an alarm and refuses nothing.
KINDS = (
    *("forbidden", "do_not_call", "quiet_hours", "max_calls", "operator", "client", "prefix"),
    *("budget", "country"),
)
#: Seconds within which the same alarm is not repeated.
QUIET = 600.0
#: Alarms that are remembered; above that the oldest are forgotten.
MANY = 1000


class Alarms:
    """Refusals by kind: see ``KINDS``.

    :ivar refused: how many calls were refused, by kind.
    :ivar raised: how many alarms there were, by kind: each a line in the log.
    """

    log = Logger()

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self.raised: Counter[str] = Counter()
        self._last: dict[tuple[str, str], float] = {}

    def refuse(self, kind: str, whose: str, words: str, now: float) -> None:
        """Count a refusal; the first of its kind for ``whose`` in ten minutes is an alarm."""
        self.refused[kind] += 1
        self.alarm(kind, whose, words, now)

    def alarm(self, kind: str, whose: str, words: str, now: float) -> None:
        """Say something aloud, unless the same of ``whose`` was said in the last ten minutes."""
        last = self._last.pop((kind, whose), None)
        if last is not None and 0 <= now - last < QUIET:
            self._last[kind, whose] = last
            return
        self._last[kind, whose] = now
        while len(self._last) > MANY:
            self._last.pop(next(iter(self._last)))
        self.raised[kind] += 1
        self.log.warn("ALARM limits {kind} {whose}: {words}", kind=kind, whose=whose, words=words)


def who_asks(sip: str | None, client: str | None) -> str:
    """Name an operator and a client of the API; None: nobody knows, and by hand."""
    asks = "by hand" if client is None else f"for {client}"
    return asks if sip is None else f"{sip} {asks}"
