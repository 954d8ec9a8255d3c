"""The last of what was told, in memory: for the many who follow and are woken together.

Bounded. Whoever is further behind reads the journal. Knows no files and no Postgres.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ccdaemon.calls.model import CallView
from ccdaemon.store.facts import Event, OperatorFact, RecordFact, StateFact

#: Events that are held.
HELD = 1000


class RecentEvents:
    """The newest events of a journal, from the first that is heard on.

    :ivar newest: the last event that was heard.
    """

    def __init__(self, held: int = HELD) -> None:
        self._held = held
        self._events: deque[Event] = deque()
        self._views: dict[int, CallView] = {}
        # Everything after it is held; None: nothing has been heard yet.
        self._low_watermark: int | None = None
        self.newest = 0

    def hear(self, events: Sequence[Event]) -> None:
        """Take what was just told; no event may be left out."""
        if self._low_watermark is None and events:
            self._low_watermark = events[0].event_id - 1
        for event in events:
            self.newest = event.event_id
            if not isinstance(event.fact, StateFact | OperatorFact | RecordFact):
                # It may change what is shown of a call's past, as another order does.
                self.forget()
                continue
            if isinstance(event.fact, StateFact):
                self._views[event.fact.call.call_id] = event.fact.call
            self._events.append(event)
            while len(self._events) > self._held:
                self._drop()

    def _drop(self) -> None:
        event = self._events.popleft()
        self._low_watermark = event.event_id
        fact = event.fact
        if isinstance(fact, StateFact) and self._views.get(fact.call.call_id) is fact.call:
            del self._views[fact.call.call_id]

    def after(self, checkpoint: int, limit: int) -> list[Event] | None:
        """At most ``limit`` events after a position, oldest first; None if it is too far back."""
        if self._low_watermark is None or checkpoint < self._low_watermark:
            return None
        newer = []
        for event in reversed(self._events):
            if event.event_id <= checkpoint:
                break
            newer.append(event)
        return newer[::-1][:limit]

    def forget(self) -> None:
        """Hold nothing of what was told so far."""
        self._events.clear()
        self._views.clear()
        self._low_watermark = self.newest if self._low_watermark is not None else None

    def view(self, call_id: int) -> CallView | None:
        """A call as it was told last; None if that is too far back."""
        return self._views.get(call_id)
