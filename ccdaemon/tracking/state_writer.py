"""Telling: what the call machine adds to chains is committed in order, and then said in the log.

Nothing of a call is committed before its CALL is; if that cannot be, nothing of it ever is. Knows
no Asterisk and no signals.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls.call import Call
from ccdaemon.calls.model import StateChange
from ccdaemon.calls.view import view
from ccdaemon.store.facts import Fact, StateFact
from ccdaemon.store.journal import Journal


@dataclass(slots=True)
class _Opening:
    """A call whose CALL is on its way to the disk: what came after it, and who waits for it."""

    states: list[StateChange] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    waiting: list[Deferred[None]] = field(default_factory=list)


class StateWriter:
    """Has states told.

    :param committed: called with a call and its new states once they are committed.
    """

    log = Logger()

    def __init__(
        self, journal: Journal, committed: Callable[[Call, Sequence[StateChange]], None]
    ) -> None:
        self._journal = journal
        self._committed = committed
        self._openings: dict[int, _Opening] = {}

    def is_opening(self, call: Call) -> bool:
        """Whether the call's CALL is still on its way to the disk."""
        return call.call_id in self._openings

    def open(self, call: Call, facts: Sequence[StateFact]) -> Deferred[None]:
        """Have the first states of a call told.

        :return: fires once they are; fails with ``KeyTaken``, ``CallKnown``, ``JournalFull``,
            ``JournalBroken``.
        """
        self._openings[call.call_id] = _Opening()
        opened = self.opened(call)
        appended = self._journal.append(facts)
        appended.addCallbacks(
            self._opened, self._not_opened, callbackArgs=(call, facts), errbackArgs=(call,)
        )
        return opened

    def opened(self, call: Call) -> Deferred[None]:
        """Fires once the call's CALL is told, at once where it is; fails as :meth:`open` does."""
        waiting: Deferred[None] = Deferred()
        if (opening := self._openings.get(call.call_id)) is not None:
            opening.waiting.append(waiting)
        else:
            waiting.callback(None)
        return waiting

    def _opened(self, _: object, call: Call, facts: Sequence[StateFact]) -> None:
        opening = self._openings.pop(call.call_id)
        self._say(call, [fact.state for fact in facts])
        if opening.facts:
            self._append(call, opening.states, opening.facts)
        for waiting in opening.waiting:
            waiting.callback(None)

    def _not_opened(self, failure: Failure, call: Call) -> None:
        for waiting in self._openings.pop(call.call_id).waiting:
            waiting.errback(failure)

    def write(self, call: Call, states: Sequence[StateChange]) -> None:
        """Have further states of a call told, and with them the call as it stands now."""
        facts = [StateFact(change, view(call)) for change in states]
        if (opening := self._openings.get(call.call_id)) is not None:
            opening.states += states
            opening.facts += facts
        else:
            self._append(call, states, facts)

    def _append(self, call: Call, states: Sequence[StateChange], facts: Sequence[Fact]) -> None:
        committed = self._journal.append(facts)
        committed.addCallbacks(
            lambda _: self._say(call, states), self._not_kept, errbackArgs=(call,)
        )

    def _say(self, call: Call, states: Sequence[StateChange]) -> None:
        for change in states:
            self.log.info(
                "{state} call_id={call_id} order_id={order_id} sip={sip} {detail}",
                state=change.state.value,
                call_id=call.call_id,
                order_id=_word(call.order_id),
                sip=change.sip,
                detail=change.detail or "",
            )
        with self.log.failureHandler("what follows from states that are told failed"):
            self._committed(call, states)

    def _not_kept(self, failure: Failure, call: Call) -> None:
        self.log.failure(
            "call_id={call_id}: what happened could not be kept", failure, call_id=call.call_id
        )


def _word(text: str | None) -> str:
    """A value as one word of a log line: quoted, where it could be taken for several."""
    plain = text is not None and re.fullmatch(r"[^\s='\"\\]+", text)
    return text if text is not None and plain else repr(text)
