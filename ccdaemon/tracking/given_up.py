"""Calls that could not be followed: each is given up by itself, and all others go on.

Knows how many there were and the last of them, and how such a call ends where the call machine
cannot say so itself.
"""

from __future__ import annotations

from dataclasses import replace

from ccdaemon.calls.model import State, StateChange
from ccdaemon.store.facts import StateFact
from ccdaemon.store.records import Chain


class GivenUp:
    """The calls that were given up since the start.

    :ivar count: how many.
    :ivar last: when the last one was, in ms, and its words; None while there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.last: tuple[int, str] | None = None

    def add(self, date: int, words: str) -> None:
        """One more."""
        self.count += 1
        self.last = date, words


def last_state(chain: Chain, date: int, words: str) -> StateFact:
    """The end of a call as far as it was told, made without the call machine.

    :param date: what time it is, in ms; the state is not before the one before it.
    """
    before = chain.states[-1].state
    # Whoever talked is told as finished, however that is known.
    state = State.ERROR if chain.call.answered is None else State.FINISH
    told = StateChange(
        call_id=before.call_id,
        seq=before.seq + 1,
        state=state,
        final=True,
        leg=None,
        sip=chain.call.sip,
        date=max(date, before.date),
        cause=None,
        detail=words,
    )
    ended = replace(chain.call, state=state, final=True, ended=told.date, cause=None, detail=words)
    return StateFact(told, ended)
