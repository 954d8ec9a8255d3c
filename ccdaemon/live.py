"""Live calls: every signal goes to its call, every state it adds goes to the journal.

Joins the board with the journal. What a signal means the call machine decides; what is not
committed is not told. Whether a call may be made at all is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.asterisk.ami_actions import AMIActions
from ccdaemon.asterisk.ami_errors import AMIError
from ccdaemon.asterisk.looks import look_at_channels
from ccdaemon.asterisk.signals import from_event
from ccdaemon.asterisk.wire import Message
from ccdaemon.calls import machine, signals
from ccdaemon.calls.board import Board
from ccdaemon.calls.call import Call, view
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Direction, State, StateTold
from ccdaemon.history.facts import Fact, RecordFact, StateFact
from ccdaemon.history.failures import BelowFloor
from ccdaemon.history.journal import Journal
from ccdaemon.history.rows import Chain
from ccdaemon.recordings import Recordings, relative_path

#: Seconds after which a channel that a look did not find is looked for again.
SECOND_LOOK = 2.0
#: Seconds within which a channel's birth is told after Asterisk said that its originate failed.
BORN_WITHIN = 3.0
#: Seconds between two looks at all live calls.
LOOK_EVERY = 60.0
#: Events read from the journal at one time.
PAGE = 1000


class LiveCalls:
    """The calls that are not over.

    :param journal: keeps every fact before anyone is told.
    :param recordings: waits for the recording of each talk; None where none is made.
    :param clock: IReactorTime.
    """

    log = Logger()

    def __init__(
        self, journal: Journal, recordings: Recordings | None, clock: IReactorTime
    ) -> None:
        self._journal = journal
        self._board = Board()
        self._opening: set[int] = set()
        self._recordings = recordings
        self._clock = clock
        self._looks: LoopingCall | None = None

    def __len__(self) -> int:
        return len(self._board)

    def of_operator(self, sip: str) -> int | None:
        """The number of the live call that operator ``sip`` is on or being rung for, or None."""
        call = self._board.of_operator(sip)
        return call.call_id if call else None

    # Opening a call

    def outbound(self, sip: str, phone: str, order_id: str, external_key: str) -> Call:
        """A new outbound call with a number of its own, not told yet.

        :raises NoLease: if there is no number for it.
        """
        return self._call(
            self._journal.take_call_id(), Direction.OUTBOUND, sip, phone, order_id, external_key
        )

    async def open(self, call: Call) -> None:
        """Tell CALL and put the call on the board; on it from now on, told once this returns.

        :raises KeyTaken: if another call has the external key.
        :raises JournalFull, JournalBroken: if it cannot be kept.
        """
        states = machine.open_call(call, self._now())
        self._board.add(call)
        self._opening.add(call.call_id)
        try:
            await self._commit_opening(call, [StateFact(states[0], view(call))])
        except BaseException:
            self._board.remove(call)
            raise
        finally:
            self._opening.discard(call.call_id)

    async def open_unable(self, call: Call, outcome: Outcome, words: str) -> None:
        """Tell a call that ends before anybody's phone rings.

        :raises KeyTaken, JournalFull, JournalBroken: as ``open`` does.
        """
        facts = []
        for told in machine.open_call(call, self._now()):
            facts.append(StateFact(told, view(call)))
        for told in machine.refuse(call, outcome, words, self._now()):
            facts.append(StateFact(told, view(call)))
        await self._commit_opening(call, facts)

    async def _commit_opening(self, call: Call, facts: list[StateFact]) -> None:
        await self._journal.append(facts)
        self._log_states(call, [fact.state for fact in facts])

    def _call(
        self,
        call_id: int,
        direction: Direction,
        sip: str | None,
        phone: str,
        order_id: str | None,
        external_key: str | None,
    ) -> Call:
        anchor = self._anchor(call_id)
        return Call(call_id, order_id, external_key, direction, sip, phone, anchor)

    # Following calls

    def heard(self, session: object, event: Message) -> None:
        """An AMI event was heard that may speak of a call."""
        signal = from_event(event, self._now())
        if signal is not None:
            self.hear(signal)

    def hear(self, signal: signals.Signal) -> None:
        """Give a signal to the call it belongs to, and have told what it adds to its chain."""
        found = self._board.hear(signal)
        if found is None:
            return
        call, states = found
        if isinstance(signal, signals.OriginateFailed) and call.state is State.CALL:
            self._clock.callLater(BORN_WITHIN, self._end_unborn, call)
        if not states:
            return
        facts: list[Fact] = [StateFact(told, view(call)) for told in states]
        committed = self._journal.append(facts)
        committed.addCallbacks(
            lambda _: self._told(call, states), self._not_kept, errbackArgs=(call,)
        )

    def _end_unborn(self, call: Call) -> None:
        if call.state is State.CALL:
            words = "its channel was never born"
            self.hear(signals.Lost(call.anchor, call.anchor, self._now(), words))

    def _told(self, call: Call, states: Sequence[StateTold]) -> None:
        self._log_states(call, states)
        if states[-1].state is State.FINISH:
            self._expect_recording(call.anchor, call.call_id, call.states[0].date)

    def _log_states(self, call: Call, states: Sequence[StateTold]) -> None:
        for told in states:
            self.log.info(
                "{state} call_id={call_id} order_id={order_id} sip={sip} {detail}",
                state=told.state.value,
                call_id=call.call_id,
                order_id=_word(call.order_id),
                sip=call.sip,
                detail=told.detail or "",
            )

    def _not_kept(self, failure: Failure, call: Call) -> None:
        self.log.failure(
            "call_id={call_id}: what happened could not be kept", failure, call_id=call.call_id
        )

    # Starting, and coming back after a gap

    def restore(self, chains: Sequence[Chain]) -> None:
        """Put calls that were live when the daemon ended back on the board."""
        for chain in chains:
            view = chain.call
            call = self._call(
                view.call_id,
                view.direction,
                view.sip,
                view.phone,
                view.order_id,
                view.external_key,
            )
            machine.restore(call, [row.state for row in chain.states])
            self._board.add(call)
        if chains:
            self.log.info("{count} calls were live at the last end", count=len(chains))

    async def expect_recordings(self) -> None:
        """Wait again for the recordings of talks of which the journal knows no recording."""
        began: dict[int, int] = {}
        position = self._journal.floor
        while True:
            try:
                events = await self._journal.after(position, PAGE)
            except BelowFloor as risen:
                position = risen.floor  # What is forgotten meanwhile is more than a day old.
                continue
            if not events:
                break
            position = events[-1].event_id
            for fact in (event.fact for event in events):
                if isinstance(fact, RecordFact):
                    began.pop(fact.record.call_id, None)
                elif isinstance(fact, StateFact) and fact.state.state is State.FINISH:
                    began[fact.call.call_id] = fact.call.date
        for call_id, date in began.items():
            self._expect_recording(self._anchor(call_id), call_id, date)

    def _expect_recording(self, anchor: str, call_id: int, date: int) -> None:
        if self._recordings is not None:
            self._recordings.expect(call_id, anchor, relative_path(anchor, date))

    def _anchor(self, call_id: int) -> str:
        return f"cc-{self._journal.node}-{call_id}-o"

    async def up(self, session: AMIActions) -> None:
        """A session has begun: bring every call to where its channels are, and keep looking.

        Events tell everything while a session stands, but for an Originate of which neither the
        answer nor a channel ever came: unlooked for, it would keep its operator busy for ever.

        :raises AMIError: if Asterisk cannot be asked.
        """
        await self._catch_up(session)
        self._looks = LoopingCall(lambda: Deferred.fromCoroutine(self._look_again(session)))
        self._looks.clock = self._clock
        self._looks.start(LOOK_EVERY, now=False)

    def down(self) -> None:
        """The session is over; live calls go on in Asterisk."""
        if self._looks is not None and self._looks.running:
            self._looks.stop()

    async def _look_again(self, session: AMIActions) -> None:
        try:
            if len(self):
                await self._catch_up(session)
        except AMIError as error:
            self.log.warn("could not look at the live calls: {error}", error=error)
        except Exception:
            self.log.failure("could not look at the live calls")

    async def _catch_up(self, session: AMIActions) -> None:
        # A call that still waits for the disk has not been asked for: it cannot have a channel.
        asked = [call for call in self._board if call.call_id not in self._opening]
        missing = await self._look(session, asked)
        if not missing:
            return
        # An originate that was just on its way has a channel by then.
        await deferLater(self._clock, SECOND_LOOK)
        for call in await self._look(session, missing):
            words = "its end was not seen: Asterisk no longer has the channel"
            self.hear(signals.Lost(call.anchor, call.anchor, self._now(), words))

    async def _look(self, session: AMIActions, calls: Sequence[Call]) -> list[Call]:
        """Give every live channel to its call; those of ``calls`` without one are returned."""
        seen = await look_at_channels(session, self._now())
        for signal in seen:
            self.hear(signal)
        there = {signal.channel for signal in seen}
        return [call for call in calls if not call.final and call.anchor not in there]

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def _word(text: str | None) -> str:
    """A value as one word of a log line: quoted, where it could be taken for several."""
    plain = text is not None and re.fullmatch(r"[^\s='\"\\]+", text)
    return text if text is not None and plain else repr(text)
