"""Whatever is appended, in any mixture and over any restarts: every chain once, in order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults

from ccdaemon.calls.model import Action, CallView, Direction, Record, State, StateChange
from ccdaemon.operators import OperatorChange, Status
from ccdaemon.store.facts import (
    ActionFact,
    Event,
    Fact,
    OperatorFact,
    RecordFact,
    StateFact,
    decode,
    encode,
)
from ccdaemon.store.failures import KeyTaken
from ccdaemon.store.journal import Journal
from tests import depth
from tests.store.parts import ANSWERED, JournalCase, chain, change, recording, view

RESTART = "restart"
AGAIN = "the same key again"
OPERATOR = "operator"
RECORDING = "recording"

steps = st.lists(
    st.one_of(
        st.integers(1, 5),
        st.integers(1, 5),
        st.integers(1, 5),
        st.sampled_from([RESTART, AGAIN, OPERATOR, RECORDING]),
    ),
    max_size=60,
)


class MixtureTests(JournalCase):
    """Random work on a real journal, with restarts in the middle."""

    timeout = 300

    def test_every_chain_once_and_in_order(self) -> Deferred[None]:
        """After any mixture of appends and restarts, chains and the log are what was told."""
        examples: list[list[Any]] = []

        @settings(max_examples=depth.examples(40), suppress_health_check=list(HealthCheck))
        @given(steps)
        def collect(example: list[Any]) -> None:
            examples.append(example)

        collect()
        return Deferred.fromCoroutine(self.run_all(examples))

    async def run_all(self, examples: list[list[Any]]) -> None:
        """Run every example in a folder of its own."""
        for example in examples:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    await self.run_one(Path(folder), example)
                except BaseException as error:
                    error.add_note(f"example: {example}")
                    raise

    async def run_one(self, folder: Path, example: list[Any]) -> None:
        """Append, restart, and compare with what was told."""
        journal = await self.begun(folder)
        todo = {n: chain(view(n)) for n in range(1, 6)}
        told: list[Event] = []
        waiting: list[Deferred[Any]] = []
        for step in example:
            if step == RESTART:
                await journal.stopService()
                journal = await self.begun(folder)
            else:
                waiting.append(self.append(journal, step, todo, told))
        await gatherResults(waiting)
        self.assertEqual(told, await journal.after(0, 1000))
        self.assertEqual(list(range(1, len(told) + 1)), [event.event_id for event in told])
        for n in todo:
            await self.compare(journal, n, told)
        await journal.stopService()

    def append(
        self, journal: Journal, step: Any, todo: dict[int, list[StateFact]], told: list[Event]
    ) -> Deferred[Any]:
        """Append what the step asks for."""
        if step == AGAIN:
            used = journal.append(chain(view(99, external_key="key-1"))[:1])
            if len(todo[1]) == len(ANSWERED):
                # Nobody has the key yet: whoever comes first gets it.
                todo[1] = []
                fact: Fact = chain(view(99, external_key="key-1"))[0]
                return used.addCallback(lambda ids: told.append(Event(ids[0], fact)))
            return used.addCallbacks(self.must_not, lambda f: f.trap(KeyTaken) and None)
        if step == OPERATOR:
            fact = change("1000")
        elif step == RECORDING:
            fact = recording(1)
        elif not todo[step]:
            return Deferred.fromCoroutine(nothing())
        else:
            fact = todo[step].pop(0)
        return journal.append([fact]).addCallback(lambda ids: told.append(Event(ids[0], fact)))

    def must_not(self, ids: list[int]) -> None:
        """An append that must fail has not."""
        self.fail(f"a key was taken twice: {ids}")

    async def compare(self, journal: Journal, call_id: int, told: list[Event]) -> None:
        """A call's chain must be its states as told."""
        states = [
            event.fact.state
            for event in told
            if isinstance(event.fact, StateFact) and event.fact.state.call_id == call_id
        ]
        held = await journal.chain(call_id)
        self.assertEqual(states, [row.state for row in held.states] if held else [])


async def nothing() -> None:
    """Do nothing."""


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
moments = st.integers(0, 2**52)
views = st.builds(
    CallView,
    call_id=st.integers(1, 2**31 - 1),
    order_id=texts,
    external_key=texts,
    direction=st.sampled_from(Direction),
    sip=texts,
    phone=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    state=st.sampled_from(State),
    final=st.booleans(),
    date=moments,
    answered=st.none() | moments,
    ended=st.none() | moments,
    ring_seconds=st.none() | st.floats(0, 1e6),
    wait_seconds=st.none() | st.floats(0, 1e6),
    talk_seconds=st.none() | st.floats(0, 1e6),
    hung_up_by=texts,
    cause=st.none() | st.integers(0, 200),
    detail=texts,
)
told_states = st.builds(
    StateChange,
    call_id=st.integers(1, 2**31 - 1),
    seq=st.integers(1, 1000),
    state=st.sampled_from(State),
    final=st.booleans(),
    leg=texts,
    sip=texts,
    date=moments,
    cause=st.none() | st.integers(0, 200),
    detail=texts,
)
facts = st.one_of(
    st.builds(StateFact, told_states, views),
    st.builds(
        OperatorFact,
        st.builds(
            OperatorChange,
            sip=st.text(st.characters(exclude_categories=["Cs"])),
            state=st.sampled_from(Status),
            device_state=texts,
            call_id=st.none() | st.integers(1, 2**31 - 1),
            date=moments,
            detail=texts,
        ),
    ),
    st.builds(
        RecordFact,
        st.builds(
            Record,
            call_id=st.integers(1, 2**31 - 1),
            uniqueid=st.just("u"),
            path=st.just("p"),
            format=st.just("wav"),
            size=moments,
            duration=st.floats(0, 1e6),
            date=moments,
        ),
    ),
    st.builds(
        ActionFact,
        st.builds(
            Action,
            call_id=st.integers(1, 2**31 - 1),
            date=moments,
            action=st.sampled_from(["attachOrder", "setResult", "hold"]),
            by=st.just("crm"),
            order_id=texts,
            note=texts,
        ),
    ),
)


class SpellingTests(JournalCase):
    """Facts are read as they were written."""

    @given(facts)
    def test_there_and_back(self, fact: Fact) -> None:
        """Every fact survives its spelling."""
        self.assertEqual(fact, decode(*encode(fact)))

    @given(facts)
    def test_what_the_journal_asks_of_a_fact(self, fact: Fact) -> None:
        """A fact knows its moment and the call it belongs to; only the first state opens."""
        if isinstance(fact, StateFact):
            self.assertEqual(fact.state.seq == 1, fact.opens)
            self.assertEqual((fact.state.call_id, fact.state.date), (fact.call_id, fact.date))
        elif isinstance(fact, RecordFact):
            self.assertEqual((fact.record.call_id, fact.record.date), (fact.call_id, fact.date))
        elif isinstance(fact, ActionFact):
            self.assertEqual((fact.action.call_id, fact.action.date), (fact.call_id, fact.date))
            self.assertFalse(fact.opens)
        else:
            self.assertEqual((None, fact.change.date), (fact.call_id, fact.date))
            self.assertFalse(fact.opens)

    def test_an_older_journal_lacks_nothing_it_needs(self) -> None:
        """Fields that this daemon does not know are passed over."""
        kind, body = encode(change("1000"))
        more = body.replace(b'{"change":{', b'{"new":1,"change":{"newer":2,')
        self.assertEqual(change("1000"), decode(kind, more))
