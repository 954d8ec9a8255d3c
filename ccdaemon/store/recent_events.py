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
        self._of_call: dict[int, deque[Event]] = {}
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
            if event.fact.call_id is not None:
                self._of_call.setdefault(event.fact.call_id, deque()).append(event)
            self._events.append(event)
            while len(self._events) > self._held:
                self._drop()

    def _drop(self) -> None:
        event = self._events.popleft()
        self._low_watermark = event.event_id
        if event.fact.call_id is not None:
            of_call = self._of_call[event.fact.call_id]
            of_call.popleft()
            if not of_call:
                del self._of_call[event.fact.call_id]

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
        self._of_call.clear()
        self._low_watermark = self.newest if self._low_watermark is not None else None

    def chain(self, call_id: int) -> list[Event]:
        """All events of a call from its first on; empty if that is too far back.

        What was done to a call is not among them: where something was, nothing older is held.
        """
        events = list(self._of_call.get(call_id, ()))
        return events if events and events[0].fact.opens else []

    def view(self, call_id: int) -> CallView | None:
        """A call as it was told last; None if that is too far back."""
        for event in reversed(self._of_call.get(call_id, ())):
            if isinstance(event.fact, StateFact):
                return event.fact.call
        return None
