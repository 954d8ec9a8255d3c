"""The board: every live call, found by its number, by its channels or by its operators.

Pure. It routes signals to the calls they belong to and forgets a call once its last state is
told. It knows nothing of where signals come from or who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import StateTold


def nobodys(name: str) -> str | None:
    """No channel is known to be an operator's."""
    return None


class Board:
    """Live calls. A call is keyed by its own id; Asterisk's ids only lead to it.

    :param sip_of: the operator whose phone a channel of this name is, None if it is nobody's.
    """

    def __init__(self, sip_of: Callable[[str], str | None] = nobodys) -> None:
        self._sip_of = sip_of
        self._calls: dict[int, Call] = {}
        # Uniqueids of channels and linkedids: the anchor's uniqueid is the linkedid of every leg
        # that follows, until a channel joins another bridge.
        self._by_id: dict[str, Call] = {}
        self._ids: dict[int, set[str]] = {}
        self._by_sip: dict[str, list[Call]] = {}
        self._busy: dict[int, set[str]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def add(self, call: Call) -> None:
        """Put up a call that has told its first state."""
        self._calls[call.call_id] = call
        self._ids[call.call_id] = set()
        self._busy[call.call_id] = set()
        self._note(call, call.anchor)

    def call(self, call_id: int) -> Call | None:
        """The live call of this number, or None."""
        return self._calls.get(call_id)

    def of_channel(self, channel: str) -> Call | None:
        """The live call that a channel belongs to, by its uniqueid, or None."""
        return self._by_id.get(channel)

    def of_operator(self, sip: str) -> Call | None:
        """The newest live call that operator ``sip`` is on or being rung for, or None."""
        calls = self._by_sip.get(sip)
        return calls[-1] if calls else None

    def whose(self, signal: signals.Signal) -> Call | None:
        """The live call that a signal belongs to, or None."""
        # A channel that joined another bridge may have got another linkedid.
        return self._by_id.get(signal.channel) or self._by_id.get(signal.linkedid)

    def hear(self, signal: signals.Signal) -> tuple[Call, list[StateTold]] | None:
        """Give a signal to its call; None if it belongs to no live call of ours."""
        call = self.whose(signal)
        if call is None:
            return None
        if isinstance(signal, signals.Started):
            signal = replace(signal, sip=self._sip_of(signal.name))
        told = machine.advance(call, signal)
        if call.final:
            self.remove(call)
        else:
            self._note(call, signal.linkedid)
        return call, told

    def _note(self, call: Call, linkedid: str) -> None:
        """Know the call by all its channels, and by its operators as they come and go."""
        ids = self._ids[call.call_id]
        for one in {linkedid, *call.known} - ids:
            if one:
                self._by_id.setdefault(one, call)
                ids.add(one)
        before, now = self._busy[call.call_id], call.busy
        if before != now:
            for sip in now - before:
                self._by_sip.setdefault(sip, []).append(call)
            for sip in before - now:
                self._free(sip, call)
            self._busy[call.call_id] = now

    def _free(self, sip: str, call: Call) -> None:
        # A call that raised may have been noted only half.
        calls = [one for one in self._by_sip.pop(sip, ()) if one is not call]
        if calls:
            self._by_sip[sip] = calls

    def remove(self, call: Call) -> None:
        """Take down a call that is over, or that never came to be."""
        del self._calls[call.call_id]
        for one in self._ids.pop(call.call_id):
            if self._by_id.get(one) is call:
                del self._by_id[one]
        for sip in self._busy.pop(call.call_id):
            self._free(sip, call)
