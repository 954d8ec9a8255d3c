"""Calls, facts and journals for the tests of the history."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from ccdaemon.calls.model import CallView, Direction, Record, State, StateChange
from ccdaemon.clocks import WallClock
from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.facts import Event, OperatorFact, RecordFact, StateFact
from ccdaemon.store.journal import Journal
from tests.clocks import Wall

E = TypeVar("E", bound=Exception)

#: 2023-11-14T22:13:20Z, the moment at which calls of the tests begin unless they say otherwise.
NOON = 1_700_000_000_000

ANSWERED = (
    State.CALL,
    State.OPERATOR_CALLTO,
    State.OPERATOR_PICKUP,
    State.CLIENT_CALLTO,
    State.CLIENT_PICKUP,
    State.FINISH,
)


def view(call_id: int, **changes: object) -> CallView:
    """An outbound call that has just begun."""
    call = CallView(
        call_id=call_id,
        order_id=f"order-{call_id}",
        external_key=f"key-{call_id}",
        direction=Direction.OUTBOUND,
        sip="1000",
        phone="380639920000",
        state=State.CALL,
        final=False,
        date=NOON,
        answered=None,
        ended=None,
        ring_seconds=None,
        wait_seconds=None,
        talk_seconds=None,
        hung_up_by=None,
        cause=None,
        detail=None,
        made_by="crm",
        made_from="192.0.2.7",
    )
    return replace(call, **changes)  # type: ignore[arg-type]


def chain(call: CallView, states: tuple[State, ...] = ANSWERED) -> list[StateFact]:
    """The facts of a whole call, a second apart; the last is final."""
    facts = []
    for seq, state in enumerate(states, 1):
        date = call.date + (seq - 1) * 1000
        final = seq == len(states)
        told = StateChange(call.call_id, seq, state, final, None, call.sip, date, None, None)
        ended = date if final else None
        facts.append(StateFact(told, replace(call, state=state, final=final, ended=ended)))
    return facts


def change(sip: str, state: Status = Status.ONLINE, date: int = NOON) -> OperatorFact:
    """An operator's status changed."""
    return OperatorFact(OperatorChange(sip, state, "NOT_INUSE", None, date, None))


def recording(call_id: int, date: int = NOON) -> RecordFact:
    """A call's recording is complete."""
    uniqueid = f"cc-abcdef-{call_id}-o"
    return RecordFact(Record(call_id, uniqueid, f"{uniqueid}.wav", "wav", 32044, 2.0, date))


class JournalCase(TestCase):
    """A test with journals in a folder of its own; they are stopped at the end."""

    timeout = 30

    def setUp(self) -> None:
        """Make the folder."""
        self.state_dir = Path(self.mktemp())

    def journal(
        self,
        state_dir: Path | None = None,
        clock: IReactorTime = reactor,
        wall: WallClock | None = None,
        **settings: float,
    ) -> Journal:
        """Open a journal, without waiting between commits; ``wall``: another than ``clock``."""
        made = Journal(
            IReactorFromThreads(reactor),
            clock,
            wall or Wall(clock),
            state_dir or self.state_dir,
            window=settings.pop("window", 0.0),
            retry=settings.pop("retry", 0.01),
            **settings,  # type: ignore[arg-type]
        )
        made.startService()
        self.addCleanup(lambda: made.stopService() if made.running else None)
        return made

    async def begun(self, state_dir: Path | None = None, **settings: float) -> Journal:
        """Open a journal that has heard of Postgres and has call numbers."""
        journal = self.journal(state_dir, reactor, None, **settings)
        if not journal.begun:
            await journal.begin(0, [])
            await journal.grant(1, 10_000)
        return journal

    async def fails(self, waited: Awaitable[object], kind: type[E]) -> E:
        """Wait for something that must fail, and return how it did."""
        try:
            result = await waited
        except kind as error:
            return error
        raise self.failureException(f"{kind.__name__} was expected, not {result!r}")

    def heard(self, journal: Journal) -> list[Event]:
        """A list that grows with what the journal tells its listeners."""
        events: list[Event] = []
        journal.subscribe(events.extend)
        return events


def turn() -> Deferred[None]:
    """Fires once everything that is due has run."""
    return deferLater(reactor, 0)
