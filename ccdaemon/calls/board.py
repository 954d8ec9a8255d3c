"""The board: every live call, found by its number, by its channels or by its operator.

Pure. It routes signals to the calls they belong to and forgets a call once its last state is
told. It knows nothing of where signals come from or who is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import StateTold


class Board:
    """Live calls. A call is keyed by its own id; Asterisk's ids only lead to it."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._by_linkedid: dict[str, Call] = {}
        self._by_sip: dict[str, list[Call]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def add(self, call: Call) -> None:
        """Put up a call that has told its first state."""
        self._calls[call.call_id] = call
        # The anchor's uniqueid is the linkedid of every leg that follows.
        self._by_linkedid[call.anchor] = call
        if call.sip is not None:
            self._by_sip.setdefault(call.sip, []).append(call)

    def of_operator(self, sip: str) -> Call | None:
        """The newest live call that operator ``sip`` is on or being rung for, or None."""
        calls = self._by_sip.get(sip)
        return calls[-1] if calls else None

    def hear(self, signal: signals.Signal) -> tuple[Call, list[StateTold]] | None:
        """Give a signal to its call; None if it belongs to no live call of ours."""
        call = self._by_linkedid.get(signal.linkedid) or self._by_linkedid.get(signal.channel)
        if call is None:
            return None
        told = machine.advance(call, signal)
        if call.final:
            self.remove(call)
        return call, told

    def remove(self, call: Call) -> None:
        """Take down a call that is over, or that never came to be."""
        del self._calls[call.call_id]
        del self._by_linkedid[call.anchor]
        if call.sip is not None:
            calls = self._by_sip[call.sip]
            calls.remove(call)
            if not calls:
                del self._by_sip[call.sip]
