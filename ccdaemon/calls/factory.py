"""How a call comes to be known: one that begins by itself, and one that was known before.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import CallView, Direction, StateChange
from ccdaemon.numbers import NO_HOME, Numbers

#: What stands where no number was sent, or none that can be shown.
ANONYMOUS = "anonymous"

_PUNCTUATION = re.compile(r"[ ().\-]")
_NUMBER = re.compile(r"\+?([0-9]{1,40})", re.ASCII)
_DIALLED = re.compile(r"[!-~]{1,40}", re.ASCII)


def phone_of(sent: str, numbers: Numbers = NO_HOME) -> str:
    """The form of a number, its digits where it has none; ``anonymous`` for whatever is none."""
    found = _NUMBER.fullmatch(_PUNCTUATION.sub("", sent))
    return numbers.form(sent) or found[1] if found else ANONYMOUS


def did_of(sent: str) -> str | None:
    """The number that was dialled, None where it is not known or cannot be shown."""
    return sent if _DIALLED.fullmatch(sent) else None


#: What begins a call that nobody asked for by the API.
Opening = signals.Incoming | signals.DialledOut


def begin(
    call_id: int,
    signal: Opening,
    sip_of: Callable[[str], str | None],
    numbers: Numbers = NO_HOME,
    *,
    observed: bool = False,
) -> tuple[Call, list[StateChange]]:
    """The call that a client or an operator begins, and its first states.

    :param sip_of: the operator whose channel has a name, None if it is nobody's.
    :param numbers: says what a number means.
    :param observed: nobody handed it over: another dialplan makes it.
    """
    phone = phone_of(signal.phone, numbers)
    sent = None if signal.phone == phone or phone == ANONYMOUS else signal.phone
    if isinstance(signal, signals.DialledOut):
        sip = sip_of(signal.name)
        call = Call(call_id, None, None, Direction.OUTBOUND, sip, phone, signal.channel, sent=sent)
        _observe(call, observed)
        return call, machine.open_by_hand(call, signal.name, signal.date)
    call = Call(call_id, None, None, Direction.INBOUND, None, phone, signal.channel, sent=sent)
    _observe(call, observed)
    call.did = did_of(signal.did)
    call.client.channel_name = signal.name
    return call, machine.open_call(call, signal.date)


def _observe(call: Call, observed: bool) -> None:
    if observed:
        # Whoever answers on the way may be the PBX; what is recorded it says itself.
        call.observed, call.by_local, call.recorded = True, True, False


def again(was: CallView, states: Sequence[StateChange], anchor: str) -> Call:
    """A call that was live, as it was told last.

    :param anchor: what its first channel is taken for where that was not kept.
    """
    call = Call(
        was.call_id,
        was.order_id,
        was.external_key,
        was.direction,
        was.sip,
        was.phone,
        was.anchor or anchor,
        did=was.did,
        caller_name=was.caller_name,
        note=was.note,
        made_by=was.made_by,
        made_from=was.made_from,
    )
    _observe(call, was.observed)
    call.recordings = list(was.recordings)
    call.said_before = None if was.said is None else dict(was.said)
    machine.restore(call, states, was.legs)
    return call
