"""What the journal knows of calls when the daemon starts.

Reads the journal once, from end to end. What follows from it is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ccdaemon.calls.model import CallView, State
from ccdaemon.store.facts import Event, RecordFact, StateFact
from ccdaemon.store.journal import Journal

#: Events read from the journal at one time.
PAGE = 1000


@dataclass
class StartupScan:
    """The calls of the last day.

    ``talks`` are those that ended with a talk, by number; ``recorded`` the uniqueids of the
    recordings that are known of each; ``anchors`` the calls that are over, by their first channel.
    """

    talks: dict[int, CallView] = field(default_factory=dict)
    recorded: dict[int, set[str]] = field(default_factory=dict)
    anchors: dict[str, int] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Take an event in."""
        fact = event.fact
        if isinstance(fact, RecordFact):
            self.recorded.setdefault(fact.call_id, set()).add(fact.record.uniqueid)
        elif isinstance(fact, StateFact) and fact.state.final:
            if fact.state.state is State.FINISH:
                self.talks[fact.call_id] = fact.call
            if fact.call.anchor is not None:
                self.anchors[fact.call.anchor] = fact.call_id


async def read(journal: Journal) -> StartupScan:
    """What the journal holds of calls that are whole; what it has forgotten is a day old."""
    before, position = StartupScan(), 0
    while events := await journal.held(position, PAGE):
        position = events[-1].event_id
        for event in events:
            before.add(event)
    return before
