"""Pauses: who wants no calls from clients, since when and for how long.

A pause is a row of the operator's log, so it outlives the daemon. Pausing is asked for, comes by
itself after a talk and ends by itself (wrap-up), or was made in Asterisk's queues. What queues are
to make of an operator is said here; what a pause means to other inbound calls is decided elsewhere.
Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.calls.model import CallView, Direction
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused, no_session, not_ready, operator_unknown
from ccdaemon.operators import WRAP_UP, OperatorChange, Operators, OperatorView, Status
from ccdaemon.queues import BUSY, FREE, Pause
from ccdaemon.store.facts import Event, OperatorFact, StateFact
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain
from ccdaemon.tracking.presence import Presence

#: What a session with Asterisk is needed for.
WHO_KNOWS = ", which alone knows this operator"
#: Seconds until the end of a wrap-up is tried again whose operator Asterisk has not told of yet.
LOOK_AGAIN = 5.0
#: Seconds after the end of a call within which it is told that its operator is idle.
IDLE_WITHIN = 5.0


class TakesPauses(Protocol):
    """Asterisk's queues, as far as pauses are to reach them."""

    def changed(self, sip: str) -> None:
        """What is wanted of an operator may be something else now."""
        ...

    async def pushed(self, sip: str) -> None:
        """Wait a moment until the queues have it."""
        ...


class NoQueues:
    """Nobody is in any queue."""

    def changed(self, sip: str) -> None:
        """It makes no difference."""

    async def pushed(self, sip: str) -> None:
        """There is nothing to wait for."""


class OperatorPauses(Service):
    """The pauses of all operators.

    :param wrap_up: seconds that an operator is paused after each talk; 0: they are not.
    :ivar queues: are told of what is wanted of operators.
    """

    log = Logger()

    def __init__(
        self,
        operators: Operators,
        presence: Presence,
        journal: Journal,
        clock: WallClock,
        wrap_up: int,
    ) -> None:
        self._operators = operators
        self._presence = presence
        self._journal = journal
        self._clock = clock
        self._wrap_up = wrap_up
        self.queues: TakesPauses = NoQueues()
        self._talking: dict[str, int] = {}
        # When the call was over of which it is not told yet that the operator is idle.
        self._over: dict[str, float] = {}
        # Whom a call out has, from its first state on.
        self._calling: dict[int, str] = {}
        self._ends: dict[str, IDelayedCall] = {}

    def startService(self) -> None:
        """Follow the talks."""
        super().startService()  # type: ignore[no-untyped-call]
        self._unsubscribe = self._journal.subscribe(self._hear)

    def stopService(self) -> None:
        """Follow them no longer; a wrap-up that goes on is ended after the next start."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._unsubscribe()
        for end in self._ends.values():
            end.cancel()
        self._ends.clear()

    def remember(self, last: Mapping[str, OperatorChange], chains: Sequence[Chain]) -> None:
        """Go on after a start, from each operator's newest row and the calls that are open."""
        for chain in chains:
            self._note_call(chain.call)
        for sip, row in last.items():
            if row.paused and row.pause_reason == WRAP_UP:
                left = row.date / 1000 + self._wrap_up - self._clock.seconds()
                # No longer than that, wherever the clock was put meanwhile.
                self._end_later(sip, min(max(0.0, left), self._wrap_up))

    # Asked for

    async def pause(self, *, sip: str, reason: str | None, client: str) -> OperatorView:
        """Keep clients' calls from an operator until they are resumed.

        :param client: the name of the API client that asks.
        :returns: the operator as they stand then.
        :raises Refused: if Asterisk has no such operator, or it cannot be kept.
        """
        if reason in (WRAP_UP, BUSY):
            raise Refused(
                Code.BAD_PARAMETER,
                f"reason must not be {reason}: that is a pause that ends by itself",
                field="reason",
            )
        await self._refuse_unknown(sip)
        self._drop_end(sip)
        words = f"paused by {client}"
        await self._keep(
            self._operators.pause(sip, reason, self._now(), words, self._presence.call_of(sip))
        )
        await self._tell_queues(sip)
        return self._view(sip)

    async def resume(self, *, sip: str, client: str) -> OperatorView:
        """Let clients' calls reach an operator again, also before their wrap-up is over.

        :raises Refused: as :meth:`pause` does.
        """
        await self._refuse_unknown(sip)
        self._drop_end(sip)
        words = f"resumed by {client}"
        await self._keep(
            self._operators.resume(sip, self._now(), words, self._presence.call_of(sip))
        )
        await self._tell_queues(sip)
        return self._view(sip)

    async def _refuse_unknown(self, sip: str) -> None:
        if self._journal.health.broken is not None:
            raise not_ready(self._journal.health.broken)
        try:
            status = await self._presence.status(sip)
        except AMIError as error:
            raise no_session(WHO_KNOWS) from error
        if status is None:
            if not self._presence.can_look:
                raise no_session(WHO_KNOWS)
            raise operator_unknown(sip)

    async def _keep(self, changes: Sequence[OperatorChange]) -> None:
        try:
            await self._presence.record(changes)
        except (JournalFull, JournalBroken) as error:
            for change in changes:
                self._operators.not_kept(change.sip)
            raise not_ready(error) from error

    async def _tell_queues(self, sip: str) -> None:
        self.queues.changed(sip)
        await self.queues.pushed(sip)

    # Queues

    def wanted(self, sip: str) -> Pause:
        """What queues are to make of an operator.

        Who is paused is paused there. So is who has a call of ours, for a queue may ring a member
        who is on the phone; and after a talk until wrap-up has begun, so that nobody slips through.
        """
        paused, reason = self._operators.pause_of(sip)
        if paused:
            return Pause(True, reason)
        return Pause(True, BUSY) if self._is_busy(sip) else FREE

    def _is_busy(self, sip: str) -> bool:
        if sip in self._calling.values():
            return True
        if not self._wrap_up or sip not in self._talking:
            return False
        over = self._over.get(sip)
        is_over = over is not None and self._clock.seconds() - over > IDLE_WITHIN
        return not is_over or self._operators.status(sip) is Status.INUSE

    def changed_in_asterisk(self, sip: str, pause: Pause) -> None:
        """An operator was paused, or resumed, in all the queues they are in, by their phone's code
        or whatever else."""
        if sip not in self._operators:
            return
        self._drop_end(sip)
        call_id, now = self._presence.call_of(sip), self._now()
        if pause.paused:
            reason = None if pause.reason == WRAP_UP else pause.reason
            words = "paused in Asterisk's queues"
            self._append(self._operators.pause(sip, reason, now, words, call_id))
        else:
            words = "resumed in Asterisk's queues"
            self._append(self._operators.resume(sip, now, words, call_id))

    def _view(self, sip: str) -> OperatorView:
        return next(view for view in self._presence.operators() if view.sip == sip)

    # By itself

    def _hear(self, events: Sequence[Event]) -> None:
        touched: set[str] = set()
        for fact in (event.fact for event in events):
            if isinstance(fact, StateFact):
                touched |= self._note_call(fact.call)
            elif isinstance(fact, OperatorFact):
                self._note_idle(fact.change)
                touched.add(fact.change.sip)
        for sip in touched:
            self.queues.changed(sip)

    def _note_call(self, call: CallView) -> set[str]:
        """Note whom a call has; the operators of whom it changes something."""
        touched = self._note_talk(call)
        before = self._calling.pop(call.call_id, None)
        if call.direction is Direction.OUTBOUND and call.sip is not None and not call.final:
            self._calling[call.call_id] = call.sip
        return touched.union(sip for sip in (before, call.sip) if sip is not None)

    def _note_talk(self, call: CallView) -> set[str]:
        touched = {sip for sip, call_id in self._talking.items() if call_id == call.call_id}
        if call.final:
            self._over.update(dict.fromkeys(touched, self._clock.seconds()))
        elif call.answered is not None:
            for leg in call.legs:
                if leg.sip is not None and leg.answered is not None and leg.ended is None:
                    self._talking[leg.sip] = call.call_id
                    self._over.pop(leg.sip, None)
                    touched.add(leg.sip)
        return touched

    def _note_idle(self, change: OperatorChange) -> None:
        if change.state in (Status.INUSE, Status.UNKNOWN):
            return
        call_id = self._talking.pop(change.sip, None)
        self._over.pop(change.sip, None)
        if call_id is None or not self._wrap_up or change.sip not in self._operators:
            return
        if change.paused and change.pause_reason != WRAP_UP:
            return
        words = f"{self._wrap_up} s after call {call_id}"
        self._append(self._operators.pause(change.sip, WRAP_UP, self._now(), words))
        self._end_later(change.sip, self._wrap_up)

    def _end_later(self, sip: str, seconds: float) -> None:
        self._drop_end(sip)
        self._ends[sip] = self._clock.callLater(seconds, self._end, sip)

    def _drop_end(self, sip: str) -> None:
        end = self._ends.pop(sip, None)
        if end is not None:
            end.cancel()

    def _end(self, sip: str) -> None:
        del self._ends[sip]
        if sip not in self._operators:
            self._end_later(sip, LOOK_AGAIN)
            return
        call_id = self._presence.call_of(sip)
        self._append(self._operators.resume(sip, self._now(), "wrap-up is over", call_id))
        self.queues.changed(sip)

    def _append(self, changes: Sequence[OperatorChange]) -> None:
        self._presence.record(changes).addErrback(
            lambda failure: self.log.error(
                "a pause could not be kept: {error}", error=failure.value
            )
        )

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
