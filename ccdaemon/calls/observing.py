"""Calls that nobody handed over: what a PBX does by itself between operators and the world.

Pure. It sees channels being born and says when a call begins that is to be told: a trunk's channel
calls in, or an operator's phone has a trunk called. What becomes of it then the board follows as it
follows any other call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from ccdaemon.calls import signals
from ccdaemon.calls.factory import Opening
from ccdaemon.calls.topology import is_party

#: As many first channels are remembered: of their calls it is open whether they are to be told.
MOST_OPEN = 20_000
#: Where a channel begins that Asterisk itself has dialled, and no number was.
NOWHERE = ("", "s", "h", "i", "t")


class Observer:
    """Sees calls begin.

    :param trunks: patterns of the names of channels that are the world outside.
    :param inbound_contexts: patterns of the contexts in which a client's channel begins; empty:
        wherever a number was dialled.
    :param sip_of: the operator whose channel has a name, None if it is nobody's.
    """

    def __init__(
        self,
        trunks: Sequence[str],
        inbound_contexts: Sequence[str],
        sip_of: Callable[[str], str | None],
    ) -> None:
        self._trunks = tuple(trunks)
        self._contexts = tuple(inbound_contexts)
        self._sip_of = sip_of
        # The operators' channels that came first under a linkedid.
        self._operators: OrderedDict[str, signals.Started] = OrderedDict()

    def is_trunk(self, name: str) -> bool:
        """Whether a channel of this name is the world outside."""
        device = name.rpartition("-")[0]
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(device, pattern) for pattern in self._trunks
        )

    def begins(self, signal: signals.Started) -> Opening | None:
        """The call that begins with the birth of a channel, which is no known call's."""
        if self.is_trunk(signal.name):
            return self._incoming(signal) or self._dialled(signal)
        is_operator = is_party(signal.name) and self._sip_of(signal.name) is not None
        if is_operator and signal.linkedid not in self._operators:
            self._operators[signal.linkedid] = signal
            while len(self._operators) > MOST_OPEN:
                self._operators.popitem(last=False)
        return None

    def _incoming(self, signal: signals.Started) -> Opening | None:
        if signal.channel != signal.linkedid:
            return None
        if self._contexts:
            if not any(fnmatchcase(signal.context, pattern) for pattern in self._contexts):
                return None
        elif signal.exten in NOWHERE:
            return None
        did = "" if signal.exten in NOWHERE else signal.exten
        ids = signal.channel, signal.linkedid, signal.date
        return signals.Incoming(*ids, signal.name, signal.caller, did)

    def _dialled(self, signal: signals.Started) -> Opening | None:
        """An operator's phone was there first: it dialled, or was rung to be connected."""
        operator = self._operators.pop(signal.linkedid, None)
        if operator is None:
            return None
        dialled = "" if operator.exten in NOWHERE else operator.exten
        ids = operator.channel, operator.linkedid, operator.date
        return signals.DialledOut(*ids, operator.name, dialled or signal.exten)
