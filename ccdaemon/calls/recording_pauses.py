"""When a recording is silent because it was told to pause: in seconds of its file.

Pure. A file holds only what its channel heard in a bridge, so the ringing of those whom a call is
transferred to is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ccdaemon.calls.model import Action, CallView, LegView

#: The methods that begin and end a pause.
PAUSE, RESUME = "recordPause", "recordResume"

Spans = tuple[tuple[float, float], ...]


def pauses_of(call: CallView, uniqueid: str, actions: Sequence[Action], duration: float) -> Spans:
    """From when to when a recording is silent.

    :param uniqueid: the channel that the recording is named after.
    :param duration: of the file, in seconds; a pause that nobody ended lasts until there.
    """
    leg = next((leg for leg in call.legs if leg.channel == uniqueid), None)
    of_client = uniqueid == call.anchor
    begun = call.answered if of_client else _begun(call, leg)
    if begun is None:
        return ()
    gaps = list(_gaps(call, None if of_client else leg, begun))

    def place(moment: int) -> float:
        lost = sum(min(end, moment) - start for start, end in gaps if start < moment)
        return round(min(max((moment - begun - lost) / 1000, 0.0), duration), 3)

    asked = _asked(actions)
    spans = [(place(start), duration if end is None else place(end)) for start, end in asked]
    return tuple((start, end) for start, end in spans if end > start)


def _begun(call: CallView, leg: LegView | None) -> int | None:
    """When an operator's recording begins: with their answer, or once who asked them has gone."""
    if leg is None or leg.called is None or leg.answered is None:
        return None
    gone = (
        other.ended
        for other in call.legs
        if other is not leg
        and other.name != "client"
        and other.ended is not None
        and other.answered is not None
        and other.answered <= leg.called
    )
    return max([leg.answered, *gone])


def _asked(actions: Sequence[Action]) -> Iterable[tuple[int, int | None]]:
    """The pauses in milliseconds since 1970; what is asked for twice counts once."""
    start: int | None = None
    for action in sorted(actions, key=lambda action: action.date):
        if action.action == PAUSE and start is None:
            start = action.date
        elif action.action == RESUME and start is not None:
            yield start, action.date
            start = None
    if start is not None:
        yield start, None


def _gaps(call: CallView, recorded: LegView | None, begun: int) -> Iterable[tuple[int, int]]:
    """When somebody else's phone rang, and the recorded channel talked with nobody.

    That is the client's while no operator is there, and an operator's who asks another one.
    """
    for leg in call.legs:
        end = leg.answered or leg.ended
        if leg is recorded or leg.called is None or end is None or leg.called < begun:
            continue
        somebody = any(
            other is not leg
            and other.name != "client"
            and other.answered is not None
            and other.answered <= leg.called
            # Whoever transfers leaves a moment after the next phone rings, or before it.
            and (other.ended is None or other.ended > end)
            for other in call.legs
        )
        if somebody == (recorded is not None):
            yield leg.called, end
