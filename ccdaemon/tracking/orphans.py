"""Calls of ours that nobody knows: they were told, and the journal that had them is gone.

The operator's channel is named after us and the call's number, and says what makeCall was given.
What Asterisk tells of it before that is kept here. Whether a call is known is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from twisted.logger import Logger

from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Direction
from ccdaemon.store.journal import Journal

#: Channels that are kept until they say what call they are of.
MOST = 10_000

_ANCHOR = re.compile(r"cc-([0-9a-f]{6})-([1-9][0-9]{0,9})-o", re.ASCII)


class Orphans:
    """What is known of them.

    :param journal: says which node we are.
    :param sip_of: the operator whose channel has a name, None if it is nobody's.
    :param is_phone: whether a client may have this number.
    """

    log = Logger()

    def __init__(
        self,
        journal: Journal,
        sip_of: Callable[[str], str | None],
        is_phone: Callable[[str], bool],
    ) -> None:
        self._journal = journal
        self._sip_of = sip_of
        self._is_phone = is_phone
        self._started: dict[str, signals.Started] = {}

    def call_id_of(self, channel: str) -> int | None:
        """The number of the call that begins on a channel; None if it is none of ours."""
        found = _ANCHOR.fullmatch(channel)
        return int(found[2]) if found and found[1] == self._journal.node else None

    def add(self, signal: signals.Started) -> None:
        """The channel of a call that is not known was born; the oldest are forgotten."""
        self._started[signal.channel] = signal
        while len(self._started) > MOST:
            del self._started[next(iter(self._started))]

    def opened(self, signal: signals.Tagged) -> tuple[Call, signals.Started] | None:
        """The call that a label speaks of, not told yet, and how its channel was born.

        None if it names what could be no call of ours: anybody may have written it.
        """
        call_id, sip = self.call_id_of(signal.channel), self._sip_of(signal.name)
        if call_id is None or sip is None or not self._is_phone(signal.phone):
            self.log.warn("{name} has a label that is not believed", name=signal.name)
            return None
        call = Call(
            call_id,
            signal.order_id,
            signal.external_key,
            Direction.OUTBOUND,
            sip,
            signal.phone,
            signal.channel,
        )
        ids = signal.channel, signal.linkedid, signal.date
        born = self._started.get(signal.channel, signals.Started(*ids, signal.name))
        self.log.info("call {call_id} was told before, and is told again", call_id=call_id)
        return call, born
