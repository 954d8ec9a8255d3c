"""A call's chain from signals alone, and what of it the log of channel events cannot know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ccdaemon.calls import machine
from ccdaemon.calls.board import Board
from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import Opening, begin
from ccdaemon.calls.model import Direction, Role
from ccdaemon.calls.observing import Observer
from ccdaemon.calls.signals import Asked, DialledOut, Signal, Started

#: Cause of a phone's decline, and of a refusal by which the phone means the way, not the person.
REJECTED = 21


def derive(anchor: str, stream: Iterable[Signal], *, bridges: bool = True) -> Call:
    """An outbound call, opened before everything, after all that was heard.

    :param bridges: whether it is heard who is in a bridge with whom.
    """
    call = Call(1, "15", "24", Direction.OUTBOUND, "1000", "380639920000", anchor)
    machine.open_call(call, 0)
    board = Board(bridges=bridges)
    board.add(call)
    for signal in stream:
        board.hear(signal)
    return call


def derive_told(
    outbound: Iterable[Call],
    number_of: Callable[[Opening], int | None],
    stream: Iterable[Signal],
    sip_of: Callable[[str], str | None],
    observer: Observer | None = None,
) -> dict[int, Call]:
    """The calls that a daemon has told, by number; without those of which nothing is heard.

    :param outbound: those that makeCall made, not opened yet.
    :param number_of: which of the others begins; None: none of them.
    :param sip_of: the operator whose channel has a name.
    :param observer: sees calls begin that nobody hands over.
    """
    board = Board(sip_of)
    calls = {call.call_id: call for call in outbound}
    for call in calls.values():
        machine.open_call(call, 0)
        board.add(call)

    def open_call(opening: Opening, *, observed: bool) -> None:
        if (number := number_of(opening)) is not None and number not in calls:
            calls[number], _ = begin(number, opening, sip_of, observed=observed)
            board.add(calls[number])

    for signal in stream:
        if isinstance(signal, Opening):
            open_call(signal, observed=False)
            continue
        if isinstance(signal, Started) and observer is not None and board.whose(signal) is None:
            opening = observer.begins(signal)
            if opening is not None:
                open_call(opening, observed=True)
            begun = board.of_channel(opening.channel) if opening is not None else None
            if isinstance(opening, DialledOut) and begun is not None:
                board.link(begun, opening.linkedid)
                ids = opening.channel, opening.linkedid, signal.date
                board.hear(Asked(*ids, Role.CLIENT))
        board.hear(signal)
    return calls


def derive_begun(
    stream: Iterable[Signal], sip_of: Callable[[str], str | None], *, bridges: bool = True
) -> dict[str, Call]:
    """The calls that clients and operators began, by the number of the client.

    :param sip_of: the operator whose channel has a name.
    :param bridges: whether it is heard who is in a bridge with whom.
    """
    board = Board(sip_of, bridges=bridges)
    calls: dict[str, Call] = {}
    for signal in stream:
        if not isinstance(signal, Opening):
            board.hear(signal)
        elif board.of_channel(signal.channel) is None:
            call, _ = begin(len(calls) + 1, signal, sip_of)
            board.add(call)
            calls[call.phone] = call
    return calls


def chain(call: Call) -> list[str]:
    """The names of the states."""
    return [told.state.value for told in call.states]


def without_answers(states: Sequence[str], cause: int | None) -> list[str]:
    """The chain, had nobody been told what the operator's phone answered, nor Originate.

    Where their phone refused, the cause alone decides; who is not registered has no channel.
    """
    *before, last = states
    if last == "OPERATOR_OFFLINE":
        return before
    if before[-1] == "OPERATOR_CALLTO" and last == "ERROR" and cause in (None, REJECTED):
        return [*before, "OPERATOR_BUSY" if cause else "OPERATOR_NOANSWER"]
    return [*states]
