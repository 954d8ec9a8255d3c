"""What a CRM enters on a call, while it goes on or long after: its order, its result, who calls
back, who has a link to its recording.

An entry is a fact of its own in the journal, so everything that was told before stays as it was
told, and is shown under the new order all the same. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Action, CallView
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused, not_ready
from ccdaemon.store.facts import (
    ATTACH_ORDER,
    CLAIM_MISSED,
    RECORD_LINK,
    REVOKE_LINK,
    SET_RESULT,
    ActionFact,
)
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.journal import Journal
from ccdaemon.store.records import Chain, MissedRow
from ccdaemon.switchboard.action_limit import check_actions

#: Seconds in which a call is found; what was written is read once more afterwards.
FOUND_WITHIN = 2.0


class FindsCalls(Protocol):
    """The history, as far as entries need it."""

    async def call(self, call_id: int, within: float) -> Chain | None:
        """The call's whole chain, within so many seconds; None if there is no such call."""
        ...

    async def missed_call(self, call_id: int, within: float) -> MissedRow | None:
        """A missed call, within so many seconds; None if it was not missed."""
        ...


class HasLiveCalls(Protocol):
    """The live calls, as far as entries need them."""

    def call(self, call_id: int) -> Call | None:
        """A call that goes on; None if it is over or unknown."""
        ...

    def attach_order(self, call: Call, order_id: str) -> None:
        """Have what the call tells from now on told under another order."""
        ...

    async def act(self, action: Action) -> None:
        """Write down what was done to a call that goes on, and say it with its next state."""
        ...


class Annotations:
    """Writes on calls, live and past."""

    log = Logger()

    def __init__(
        self, journal: Journal, live: HasLiveCalls, history: FindsCalls, clock: WallClock
    ) -> None:
        self._journal = journal
        self._live = live
        self._history = history
        self._clock = clock
        # One after the other: of two orders for one call the second has to find the first, and each
        # entry has to be counted before the next. Each call has a lock for as long as somebody
        # holds it or waits for it.
        self._turns: WeakValueDictionary[int, DeferredLock] = WeakValueDictionary()

    async def attach_order(
        self, *, call_id: int, order_id: str, replace: bool, client: str
    ) -> None:
        """Put a call, with all that was told of it, under an order.

        :param replace: also where the call has another order.
        :param client: the name of the API client that asks.
        :raises Refused: with ``wrong_state`` where it has another order; ``call_unknown``;
            ``too_many_actions``; or where it cannot be kept.
        """
        async with self._one_at_a_time(call_id) as chain:
            before = chain.call.order_id
            if before == order_id:
                return
            if before is not None and not replace:
                raise Refused(
                    Code.WRONG_STATE,
                    f"call {call_id} has order {before}; replace=1 puts it under the other one",
                    field="order_id",
                    call_id=call_id,
                    state=chain.call.state.value,
                )
            check_actions(call_id, ATTACH_ORDER, len(chain.actions))
            was = None if before is None else f"before: order {before}"
            action = Action(
                call_id, self._now(), ATTACH_ORDER, client, order_id=order_id, detail=was
            )
            await self._attach(action, order_id, before)
            self.log.info(
                "call_id={call_id} order_id={order_id!r} attached by {client} {was}",
                call_id=call_id,
                order_id=order_id,
                client=client,
                was=was or "",
            )

    async def _attach(self, action: Action, order_id: str, before: str | None) -> None:
        # First the call, so that no state is told after the order without it.
        live = self._live.call(action.call_id)
        if live is not None:
            self._live.attach_order(live, order_id)
        try:
            await self._keep(action)
        except BaseException:
            if live is not None:
                live.order_id = before
            raise

    async def set_result(self, *, call_id: int, result: str, note: str | None, client: str) -> None:
        """Say what came of a call; the last word counts, all of them are kept.

        The last word once more is as if it had not been said.

        :raises Refused: with ``call_unknown``, ``too_many_actions``, or where it cannot be kept.
        """
        async with self._one_at_a_time(call_id) as chain:
            said = [row.action for row in chain.actions if row.action.action == SET_RESULT]
            if said and (said[-1].result, said[-1].note) == (result, note):
                return
            check_actions(call_id, SET_RESULT, len(chain.actions))
            action = Action(call_id, self._now(), SET_RESULT, client, result=result, note=note)
            await self._keep(action)
        self.log.info(
            "call_id={call_id} result {result!r} set by {client}",
            call_id=call_id,
            result=result,
            client=client,
        )

    async def link_given(self, *, call_id: int, uniqueid: str, link: str, client: str) -> None:
        """Note that somebody was given a link to a recording.

        :param uniqueid: the recording's, ``link`` tells the link from others.
        :raises Refused: with ``call_unknown``, ``too_many_actions``, or where it cannot be kept.
        """
        async with self._one_at_a_time(call_id) as chain:
            check_actions(call_id, RECORD_LINK, len(chain.actions))
            now = self._now()
            await self._keep(Action(call_id, now, RECORD_LINK, client, note=link, detail=uniqueid))
        self._say_link("given to", call_id, link, client)

    async def revoke_link(self, *, call_id: int, link: str, client: str) -> None:
        """Take a link back; once more is as if it had not been asked.

        :raises Refused: with ``link_unknown`` where the call has none of this name; else as
            ``link_given`` does.
        """
        async with self._one_at_a_time(call_id) as chain:
            done = {(row.action.action, row.action.note) for row in chain.actions}
            if (RECORD_LINK, link) not in done:
                raise Refused(Code.LINK_UNKNOWN, f"call {call_id} has no such link", field="link")
            if (REVOKE_LINK, link) in done:
                return
            check_actions(call_id, REVOKE_LINK, len(chain.actions))
            await self._keep(Action(call_id, self._now(), REVOKE_LINK, client, note=link))
        self._say_link("taken back by", call_id, link, client)

    def _say_link(self, what: str, call_id: int, link: str, client: str) -> None:
        self.log.info(
            "call_id={call_id} link {link} {what} {client}",
            call_id=call_id,
            link=link,
            what=what,
            client=client,
        )

    async def claim_missed(self, *, call_id: int, sip: str, minutes: int, client: str) -> MissedRow:
        """Give a missed call, and with it the client, to an operator for some minutes.

        :param minutes: from now on; 0: whoever has it gives it back.
        :returns: the missed call as it stands then.
        :raises Refused: with ``wrong_state`` where it was not missed, is closed, or another
            operator has it or another call of that client; else as :meth:`set_result` does.
        """
        async with self._one_at_a_time(call_id) as chain:
            before = await self._missed(chain)
            self._refuse_claimed(before, sip)
            check_actions(call_id, CLAIM_MISSED, len(chain.actions))
            await self._keep(
                Action(call_id, self._now(), CLAIM_MISSED, client, sip=sip, detail=f"{minutes} min")
            )
            # Another daemon, or a claim of another call of that client, may have been faster.
            claimed = await self._missed(chain)
            self._refuse_claimed(claimed, sip)
        self.log.info(
            "call_id={call_id} missed, given to {sip} for {minutes} min by {client}",
            call_id=call_id,
            sip=sip,
            minutes=minutes,
            client=client,
        )
        return claimed

    async def _missed(self, chain: Chain) -> MissedRow:
        row = await self._history.missed_call(chain.call.call_id, FOUND_WITHIN)
        if row is None:
            raise _wrong_state(chain.call, "was not missed")
        return row

    def _refuse_claimed(self, row: MissedRow, sip: str) -> None:
        """Refuse a missed call that needs no call back, or that another operator has."""
        if row.closed is not None:
            raise _wrong_state(row.call, f"has been closed by call {row.closed.call_id}")
        if row.claim is not None and row.claim.sip != sip:
            left = max(1, -(-(row.claim.until - self._now()) // 60_000))
            raise _wrong_state(row.call, f"is with operator {row.claim.sip} for {left} min more")

    @asynccontextmanager
    async def _one_at_a_time(self, call_id: int) -> AsyncIterator[Chain]:
        """The call's chain, for nobody else who would write on it meanwhile."""
        turn = self._turns.setdefault(call_id, DeferredLock())
        await turn.acquire()
        try:
            yield await self._find(call_id)
        finally:
            turn.release()

    async def _find(self, call_id: int) -> Chain:
        # First: what is appended while the disk takes nothing waits for it.
        if self._journal.health.broken is not None:
            raise not_ready(self._journal.health.broken)
        chain = await self._history.call(call_id, FOUND_WITHIN)
        if chain is None:
            raise Refused(Code.CALL_UNKNOWN, "there is no such call", field="call_id")
        return chain

    async def _keep(self, action: Action) -> None:
        try:
            if self._live.call(action.call_id) is not None:
                await self._live.act(action)
            else:
                await self._journal.append([ActionFact(action)])
        except (JournalFull, JournalBroken) as error:
            raise not_ready(error) from error

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def _wrong_state(call: CallView, words: str) -> Refused:
    return Refused(
        Code.WRONG_STATE,
        f"call {call.call_id} {words}",
        field="call_id",
        call_id=call.call_id,
        state=call.state.value,
    )
