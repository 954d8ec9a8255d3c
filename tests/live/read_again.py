"""Calls told a second time, from the lab's log of channel events alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ccdaemon.asterisk import cel
from ccdaemon.calls.signals import Signal
from tests.derived import chain, derive, without_answers
from tests.live.harness import LiveTestCase
from tests.live.rounds import Told

#: Seconds until Asterisk has written down the end of a call that is over.
_WRITTEN = 5.0


async def told_otherwise(test: LiveTestCase, calls: Sequence[Told]) -> list[str]:
    """What the log tells otherwise than the daemon did; nothing if all is as it should be.

    Compared are the states in order, the cause and who hung up, but for what the log cannot know.
    One of the calls at least has a recording, which names the daemon's mark on its channels.
    """
    path = test.lab.asterisk.cel_file_on_host
    mark = next(record["uniqueid"] for call in calls for record in call.records)
    mark = mark[: mark.index("-", len("cc-"))]
    anchors = {f"{mark}-{call.call_id}-o": call for call in calls}

    def whole() -> bool:
        ends = [
            line for line in _lines(path.read_text("utf-8")) if line.startswith('"LINKEDID_END')
        ]
        return all(any(f'"{anchor}"' in end for end in ends) for anchor in anchors)

    await test.wait_for(whole, _WRITTEN, "the log is whole")
    lines = _lines(path.read_text("utf-8"))
    # Which rows belong to which call is left to the daemon's own parts.
    stream = list(cel.from_rows(lines))
    return [said for anchor, told in anchors.items() for said in _compare(told, anchor, stream)]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _compare(told: Told, anchor: str, stream: Sequence[Signal]) -> Iterator[str]:
    again = derive(anchor, stream)
    heard = list(told.chain)
    cause, by = told.call["cause"], told.call["hung_up_by"]
    expected = without_answers(heard, cause)
    if chain(again) != expected:
        yield f"call {told.call_id}: {chain(again)} instead of {expected}"
    elif expected == heard and again.states[-1].cause != cause:
        yield f"call {told.call_id}: cause {again.states[-1].cause} instead of {cause}"
    elif expected == heard and len(told.row.by) == 1 and again.hung_up_by != by:
        yield f"call {told.call_id}: hung up by {again.hung_up_by} instead of {by}"
