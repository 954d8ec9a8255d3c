"""Pauses: who wants no calls from clients, since when and for how long.

A pause is a row of the operator's log, so it outlives the daemon. Pausing is asked for, or comes
by itself after a talk and ends by itself (wrap-up). What a pause means to inbound calls is
decided elsewhere. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.calls.model import CallView
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused, no_session, not_ready, operator_unknown
from ccdaemon.operators import WRAP_UP, OperatorChange, Operators, OperatorView, Status
from ccdaemon.store.facts import Event, OperatorFact, StateFact
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain
from ccdaemon.tracking.presence import Presence

#: What a session with Asterisk is needed for.
WHO_KNOWS = ", which alone knows this operator"
#: Seconds until the end of a wrap-up is tried again whose operator Asterisk has not told of yet.
LOOK_AGAIN = 5.0


class OperatorPauses(Service):
    """The pauses of all operators.

    :param wrap_up: seconds that an operator is paused after each talk; 0: they are not.
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
        self._talking: dict[str, int] = {}
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
            self._note_talk(chain.call)
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
        if reason == WRAP_UP:
            raise Refused(
                Code.BAD_PARAMETER,
                f"reason must not be {WRAP_UP}: that is a pause that ends by itself",
                field="reason",
            )
        await self._refuse_unknown(sip)
        self._drop_end(sip)
        words = f"paused by {client}"
        await self._keep(
            self._operators.pause(sip, reason, self._now(), words, self._presence.call_of(sip))
        )
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

    def _view(self, sip: str) -> OperatorView:
        return next(view for view in self._presence.operators() if view.sip == sip)

    # By itself

    def _hear(self, events: Sequence[Event]) -> None:
        for fact in (event.fact for event in events):
            if isinstance(fact, StateFact):
                self._note_talk(fact.call)
            elif isinstance(fact, OperatorFact):
                self._note_idle(fact.change)

    def _note_talk(self, call: CallView) -> None:
        if call.answered is None or call.final:
            return
        for leg in call.legs:
            if leg.sip is not None and leg.answered is not None and leg.ended is None:
                self._talking[leg.sip] = call.call_id

    def _note_idle(self, change: OperatorChange) -> None:
        if change.state in (Status.INUSE, Status.UNKNOWN):
            return
        call_id = self._talking.pop(change.sip, None)
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

    def _append(self, changes: Sequence[OperatorChange]) -> None:
        self._presence.record(changes).addErrback(
            lambda failure: self.log.error(
                "a pause could not be kept: {error}", error=failure.value
            )
        )

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
