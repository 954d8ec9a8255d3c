"""Live calls: every signal goes to its call, every state it adds goes to the journal.

Joins the board with the journal. What a signal means the call machine decides; what is not
committed is not told. Whether a call may be made at all is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls import machine, signals
from ccdaemon.calls.board import GONE_AFTER, Board, Reached, nobodys
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.factory import Opening, again, begin
from ccdaemon.calls.model import Action, CallView, Direction, Role, State, StateChange
from ccdaemon.calls.observing import Observer
from ccdaemon.calls.view import view
from ccdaemon.clocks import WallClock
from ccdaemon.numbers import NO_HOME, Number, Numbers
from ccdaemon.recordings.recordings import (
    Recordings,
    recordings_of,
)
from ccdaemon.store.facts import ActionFact, StateFact
from ccdaemon.store.failures import CallKnown, KeyTaken, NoLease
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain
from ccdaemon.tracking import startup_scan
from ccdaemon.tracking.given_up import GivenUp, last_state
from ccdaemon.tracking.orphans import Orphans
from ccdaemon.tracking.state_writer import StateWriter

#: Seconds within which a channel's birth is told after Asterisk said that its originate failed.
BORN_WITHIN = 3.0
#: As many calls that are over are known by the channel they began with; beyond them the journal is
#: asked, which refuses to open one that it holds.
MOST_OVER = 50_000


class CallOver(LookupError):
    """The call that began with a channel has told its last state already."""


class LiveCalls:
    """The calls that are not over.

    :param journal: keeps every fact before anyone is told.
    :param recordings: waits for the recording of each talk; None where none is made.
    :param clock: says what time it is.
    :param sip_of: the operator whose channel has a name, None if it is nobody's.
    :param is_phone: whether a client may have this number.
    :param numbers: says what a number means.
    :param observer: sees calls begin that nobody hands over; None: they are not told.
    :param records: whether our own dialplan records.
    :param recordings_dir: the recordings folder as Asterisk sees it.
    :ivar unrecorded: calls that came in or were dialled by hand and could not be told.
    :ivar given_up: calls that could not be followed to their end.
    """

    log = Logger()

    def __init__(
        self,
        journal: Journal,
        recordings: Recordings | None,
        clock: WallClock,
        sip_of: Callable[[str], str | None] = nobodys,
        is_phone: Callable[[str], bool] = lambda phone: True,
        numbers: Numbers = NO_HOME,
        *,
        observer: Observer | None = None,
        records: bool = True,
        recordings_dir: PurePosixPath | None = None,
    ) -> None:
        self._journal = journal
        self._sip_of = sip_of
        self._numbers = numbers
        # Until it is known what Asterisk tells us.
        self._board = Board(sip_of, bridges=False)
        self._writer = StateWriter(journal, self._committed)
        self._recordings = recordings
        self._records = records
        self._observer = observer
        self._recordings_dir = recordings_dir
        self._clock = clock
        # The first channels of calls that are over: the log of channel events is read again.
        self._over: dict[str, int] = {}
        # Calls that are to be over in a moment, since their clients have gone.
        self._left: set[int] = set()
        self._orphans = Orphans(journal, sip_of, is_phone)
        self.unrecorded = 0
        self.given_up = GivenUp()

    def __len__(self) -> int:
        return len(self._board)

    def call(self, call_id: int) -> Call | None:
        """The live call of this number, or None."""
        return self._board.call(call_id)

    def of_operator(self, sip: str) -> int | None:
        """The number of the live call that operator ``sip`` is on or being rung for, or None."""
        call = self._board.of_operator(sip)
        return call.call_id if call else None

    @property
    def bridges(self) -> bool:
        """Whether Asterisk tells who is in a bridge with whom; else whoever is up talks."""
        return self._board.bridges

    @bridges.setter
    def bridges(self, change: bool) -> None:
        self._board.bridges = change

    # Opening a call

    def outbound(
        self,
        sip: str,
        phone: Number,
        order_id: str,
        external_key: str,
        *,
        note: str | None = None,
        recorded: bool = True,
        max_duration: int | None = None,
        made_by: str | None = None,
        made_from: str | None = None,
    ) -> Call:
        """A new outbound call with a number of its own, not told yet.

        :param made_by: the client of the API that has it made, ``made_from`` its address.
        :raises NoLease: if there is no number for it.
        """
        call_id = self._journal.take_call_id()
        return Call(
            call_id,
            order_id,
            external_key,
            Direction.OUTBOUND,
            sip,
            phone.form,
            self._anchor(call_id),
            sent=None if phone.sent == phone.form else phone.sent,
            note=note,
            recorded=recorded,
            max_duration=max_duration,
            made_by=made_by,
            made_from=made_from,
        )

    async def open(self, call: Call) -> None:
        """Tell CALL and put the call on the board; on it from now on, told once this returns.

        :raises KeyTaken: if another call has the external key.
        :raises JournalFull, JournalBroken: if it cannot be kept.
        """
        await self._open(call, machine.open_call(call, self._now()))

    async def open_unable(self, call: Call, outcome: Outcome, words: str) -> None:
        """Tell a call that ends before anybody's phone rings.

        :raises KeyTaken, JournalFull, JournalBroken: as ``open`` does.
        """
        facts = []
        for change in machine.open_call(call, self._now()):
            facts.append(StateFact(change, view(call)))
        for change in machine.refuse(call, outcome, words, self._now()):
            facts.append(StateFact(change, view(call)))
        await self._writer.open(call, facts)

    async def incoming(self, channel: str, name: str, phone: str, did: str, date: int) -> Call:
        """The call that a client began on a channel; opened if it is not known yet, and told.

        :param channel: Asterisk's uniqueid of the channel, ``name`` what it is called.
        :param phone: what Asterisk takes for the caller's number; anything.
        :param date: when it began, in ms.
        :raises NoLease: if there is no number for it.
        :raises JournalFull, JournalBroken: if it cannot be kept.
        :raises CallOver: if the call is over already.
        """
        call = self._begin(signals.Incoming(channel, channel, date, name, phone, did))
        if call is None:
            raise CallOver(f"call {self._over[channel]} that began with {name} is over")
        try:
            await self._writer.opened(call)
        except CallKnown as error:
            raise CallOver(f"call {error.call_id} that began with {name} is over") from error
        return call

    def knows(self, channel: str, name: str) -> bool:
        """Whether a channel of this uniqueid and name is a live call's."""
        call = self._board.of_channel(channel)
        leg = None if call is None else call.leg_of(channel)
        return leg is not None and leg.channel_name == name

    def _begin(self, signal: Opening, *, observed: bool = False) -> Call | None:
        """The call that begins on a channel, opened unless it is known; None if it is over."""
        call = self._board.of_channel(signal.channel)
        if call is not None or signal.channel in self._over:
            return call
        call_id = self._journal.take_call_id()
        call, states = begin(call_id, signal, self._sip_of, self._numbers, observed=observed)
        self._open(call, states).addErrback(self._not_opened, call, signal)
        return call

    def _open(self, call: Call, states: Sequence[StateChange]) -> Deferred[None]:
        self._board.add(call)
        opened = self._writer.open(call, [StateFact(change, view(call)) for change in states])
        return opened.addErrback(self._take_down, call)

    def _take_down(self, failure: Failure, call: Call) -> Failure:
        if self._board.call(call.call_id) is call:
            self._board.remove(call)
        return failure

    def _not_opened(self, failure: Failure, call: Call, signal: Opening) -> None:
        error = failure.value
        if isinstance(error, CallKnown):
            self._know_over(signal.channel, error.call_id)
            self._journal.give_back(call.call_id)
        else:
            self._leave_unrecorded(signal, error)

    def _leave_unrecorded(
        self, signal: Opening | signals.Tagged, error: BaseException | None
    ) -> None:
        self.unrecorded += 1
        self.log.error(
            "the call on {name} goes on in Asterisk and is not told: {error}",
            name=signal.name,
            error=error,
        )

    # Following calls

    def is_bridged(self, channel: str) -> bool:
        """Whether a channel of a live call is in any bridge, as far as that is told."""
        return self._board.is_bridged(channel)

    def forget_channel(self, channel: str) -> None:
        """Do not know where a channel is: all of it is told again, to a call begun since."""
        self._board.forget_channel(channel)

    def hear(self, signal: signals.Signal) -> None:
        """Give a signal to the call it belongs to, and have told what it adds to its chain.

        A call that cannot take it is given up, and no other call hears of that.
        """
        call = self._board.whose(signal)
        change = len(call.states) if call is not None else 0
        try:
            self._hear(signal)
        except Exception as error:
            self._give_up(signal, call or self._board.whose(signal), change, error)

    def _hear(self, signal: signals.Signal) -> None:
        if isinstance(signal, Opening):
            self._hear_of(signal)
            return
        if isinstance(signal, signals.Started):
            self._observe(signal)
        for reached in self._board.hear(signal):
            self._tell_reached(reached, signal)
        self._hear_of_unknown(signal)

    def _observe(self, signal: signals.Started) -> None:
        """Open the call that begins with a channel though nobody has handed it over."""
        observer = self._observer
        if observer is None or signal.channel in self._over:
            return
        if self._board.whose(signal) is not None or (opening := observer.begins(signal)) is None:
            return
        try:
            call = self._begin(opening, observed=True)
        except NoLease as error:
            self._leave_unrecorded(opening, error)
            return
        if call is not None and isinstance(opening, signals.DialledOut):
            self._board.link(call, opening.linkedid)
            ids = opening.channel, opening.linkedid, signal.date
            self._hear(signals.Asked(*ids, Role.CLIENT))

    def _tell_reached(self, reached: Reached, signal: signals.Signal) -> None:
        call = reached.call
        try:
            if reached.error is not None:
                raise reached.error
            if isinstance(signal, signals.OriginateFailed) and call.state is State.CALL:
                self._clock.callLater(BORN_WITHIN, self._end_unborn, call)
            if reached.states:
                self._writer.write(call, reached.states)
        except Exception as error:
            self._give_up(signal, call, reached.told, error)
            return
        if call.final:
            self._know_over(call.anchor, call.call_id)
        elif self._board.is_left(call) and call.call_id not in self._left:
            self._left.add(call.call_id)
            self._clock.callLater(GONE_AFTER / 1000, self._end_left, call)

    def _end_left(self, call: Call) -> None:
        """The client has gone, and whatever goes on without them is this call's no more."""
        self._left.discard(call.call_id)
        gone = signals.Gone(call.client.channel or call.anchor, call.anchor, self._now())
        self._tell_reached(self._board.settle(call), gone)

    def _give_up(
        self, signal: signals.Signal, call: Call | None, change: int, error: Exception
    ) -> None:
        """Tell the last state of a call that cannot be followed, as far as that can be.

        :param told: how many of its states were told before the signal.
        """
        call_id = call.call_id if call is not None else None
        what = f"{type(signal).__name__} of channel {signal.channel}"
        self.log.failure(
            "call_id={call_id} cannot be followed any more: it stumbled over {what}",
            call_id=call_id,
            what=what,
        )
        words = f"lost: ccdaemon stumbled over {what}: {type(error).__name__}"
        self.given_up.add(self._now(), f"call {call_id or 'that nobody knows'} was {words}")
        if call is None or call_id is None:
            # Nor does it stumble again where the log is read again.
            self._know_over(signal.channel, 0)
            return
        # What the log has of it, read again, is not to open it anew.
        self._know_over(call.anchor, call_id)
        try:
            if not call.final:
                refused = signals.OriginateRefused(call.anchor, call.anchor, self._now(), words)
                machine.advance(call, refused)
            self._writer.write(call, call.states[change:])
        except Exception:
            self.log.failure("call_id={call_id} cannot tell its own end", call_id=call_id)
            self._end_without_machine(call_id, words)
        if self._board.call(call_id) is call:
            self._board.remove(call)

    def _end_without_machine(self, call_id: int, words: str) -> None:
        ending = Deferred.fromCoroutine(self._end_as_told(call_id, words))
        ending.addErrback(
            lambda failure: self.log.failure(
                "call_id={call_id} has no last state", failure, call_id=call_id
            )
        )

    async def _end_as_told(self, call_id: int, words: str) -> None:
        await self._journal.settled()
        chain = await self._journal.chain(call_id)
        if chain is not None and chain.states and not chain.call.final:
            await self._journal.append([last_state(chain, self._now(), words)])

    def _hear_of(self, signal: Opening) -> None:
        try:
            self._begin(signal)
        except NoLease as error:
            self._leave_unrecorded(signal, error)

    def _hear_of_unknown(self, signal: signals.Signal) -> None:
        """A channel of a call that the journal has lost: told again, once it says what it is."""
        is_heard = isinstance(signal, signals.Started | signals.Tagged)
        if not is_heard or not self.is_unknown(signal.channel):
            return
        if isinstance(signal, signals.Started):
            self._orphans.add(signal)
        elif isinstance(signal, signals.Tagged):
            opened = self._orphans.opened(signal)
            if opened is not None:
                call, started = opened
                opening = self._open(call, machine.open_call(call, started.date))
                opening.addErrback(self._not_opened_again, call, signal)
                self.hear(started)

    def _not_opened_again(self, failure: Failure, call: Call, signal: signals.Tagged) -> None:
        error = failure.value
        if isinstance(error, KeyTaken | CallKnown) and error.call_id == call.call_id:
            # It is over, and that so long ago that only its key is known.
            self._know_over(call.anchor, call.call_id)
        else:
            self._leave_unrecorded(signal, error)

    def is_unknown(self, channel: str) -> bool:
        """Whether a channel is the operator's of a call of ours of which nothing is known."""
        call_id = self._orphans.call_id_of(channel)
        if call_id is None or self._board.call(call_id) is not None:
            return False
        return self._board.of_channel(channel) is None and channel not in self._over

    def pass_over(self, call: Call, sip: str, outcome: Outcome, words: str) -> None:
        """Have told that an operator is not rung; with an empty ``sip``, that nobody may be."""
        self.hear(
            signals.OperatorSkipped(call.anchor, call.anchor, self._now(), sip, outcome, words)
        )

    def note(self, call: Call, words: str) -> None:
        """Have ``words`` told in the detail of the call's next state."""
        self.hear(signals.Noted(call.anchor, call.anchor, self._now(), words))

    def cancelled(self, call: Call) -> None:
        """The API is about to hang the call up."""
        self.hear(signals.Cancelled(call.anchor, call.anchor, self._now()))

    def lose(self, call: Call, channel: str, words: str) -> None:
        """A channel of the call is not there any more, and nobody saw its end."""
        self.hear(signals.Lost(channel, call.anchor, self._now(), words))

    def fail(self, call: Call, words: str) -> None:
        """End a call of which nothing better is known than ``words``."""
        self.hear(signals.OriginateRefused(call.anchor, call.anchor, self._now(), words))

    def attach_order(self, call: Call, order_id: str) -> None:
        """Put a live call under an order; what it tells from now on is under it."""
        call.order_id = order_id

    async def act(self, action: Action) -> None:
        """Keep what somebody did to a call; the call's next state says so, too.

        :raises JournalFull, JournalBroken: if it cannot be kept.
        """
        await self._journal.append([ActionFact(action)])
        self._note_action(action)

    def done(self, action: Action) -> Deferred[list[int]]:
        """Keep what Asterisk has been asked for: the next state says so even if that is at once.

        :returns: as ``act`` does, but fails instead of raising.
        """
        self._note_action(action)
        return self._journal.append([ActionFact(action)])

    def _note_action(self, action: Action) -> None:
        call = self.call(action.call_id)
        if call is not None:
            call.actions += 1
            self.note(call, _in_words(action))

    def asked(self) -> list[Call]:
        """The live calls that Asterisk has been asked for: one that waits for the disk has not."""
        return [call for call in self._board if not self._writer.is_opening(call)]

    def whose(self, signal: signals.Signal) -> Call | None:
        """The live call that a signal belongs to."""
        return self._board.whose(signal)

    def numbers(self) -> list[int]:
        """The numbers of the live calls."""
        return [call.call_id for call in self._board]

    def _end_unborn(self, call: Call) -> None:
        if call.state is State.CALL:
            self.lose(call, call.anchor, "its channel was never born")

    def _committed(self, call: Call, states: Sequence[StateChange]) -> None:
        if states[-1].state is State.FINISH:
            self._expect_recordings(view(call), set(), ours=call.recorded)

    def _know_over(self, anchor: str, call_id: int) -> None:
        self._over[anchor] = call_id
        while len(self._over) > MOST_OVER:
            del self._over[next(iter(self._over))]

    # Starting

    def restore(self, chains: Sequence[Chain]) -> None:
        """Put calls that were live when the daemon ended back on the board."""
        for chain in chains:
            try:
                states = [row.state for row in chain.states]
                call = again(chain.call, states, self._anchor(chain.call.call_id))
                call.actions = len(chain.actions)
                self._board.add(call)
            except Exception as error:
                self._cannot_restore(chain, error)
        if chains:
            self.log.info("{count} calls were live at the last end", count=len(chains))

    def _cannot_restore(self, chain: Chain, error: Exception) -> None:
        call_id = chain.call.call_id
        self.log.failure("call_id={call_id} cannot be taken up again", call_id=call_id)
        words = f"lost: ccdaemon could not take it up after its start: {type(error).__name__}"
        self.given_up.add(self._now(), f"call {call_id} was {words}")
        self._know_over(chain.call.anchor or self._anchor(call_id), call_id)
        self._end_without_machine(call_id, words)

    async def expect_recordings(self) -> None:
        """Know the calls of the last day, and wait again for their recordings that are missing."""
        before = await startup_scan.read(self._journal)
        for anchor, call_id in before.anchors.items():
            self._know_over(anchor, call_id)
        for call_id, call in before.talks.items():
            named = replace(call, anchor=call.anchor or self._anchor(call_id))
            self._expect_recordings(named, before.recorded.get(call_id, set()))

    def _expect_recordings(self, call: CallView, known: set[str], *, ours: bool = True) -> None:
        ours = ours and self._records and not call.observed
        for uniqueid, path in recordings_of(call, self._recordings_dir, ours=ours):
            if self._recordings is not None and uniqueid not in known:
                self._recordings.expect(call.call_id, uniqueid, path)

    def _anchor(self, call_id: int) -> str:
        return f"cc-{self._journal.node}-{call_id}-o"

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def _in_words(action: Action) -> str:
    """An action as the chain tells it: ``transfer by crm: 1001``."""
    about = filter(None, (action.sip, action.phone, action.order_id, action.result, action.detail))
    return ": ".join(filter(None, (f"{action.action} by {action.by}", ", ".join(about))))
