"""Every chain derived a second time, from what Asterisk wrote down alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Direction
from ccdaemon.config.validators import Pattern
from ccdaemon.pbx import cel_signals
from ccdaemon.pbx.endpoints import Endpoints
from tests.derived import derive_told, without_answers
from tests.faults.history import History
from tests.faults.marks import Wrong


def derived(files: Iterable[Path], history: History, node: str) -> list[Wrong]:
    """What the CEL alone tells otherwise of the calls of this daemon."""
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    told = {call["call_id"]: call for call in history.calls.values()}
    outbound = [
        Call(
            number,
            None,
            None,
            Direction.OUTBOUND,
            call["sip"],
            call["phone"],
            f"cc-{node}-{number}-o",
        )
        for number, call in told.items()
        if call["direction"] == "outbound"
    ]
    # Each client has a number of their own.
    begun = {call["phone"]: n for n, call in told.items() if call["direction"] == "inbound"}
    endpoints = Endpoints(["PJSIP/{sip}"], Pattern("[0-9]{3,6}"))
    again = derive_told(
        outbound,
        lambda opening: begun.get(opening.phone),
        cel_signals.from_rows(lines),
        endpoints.sip_of_channel,
    )
    return [
        Wrong("as the CEL tells it", number, said)
        for number, call in told.items()
        for said in _differs(again.get(number), call)
    ]


def _differs(again: Call | None, call: dict[str, Any]) -> Iterator[str]:
    chain = [state["state"] for state in call["states"]]
    if again is None:
        yield "it does not know it"
        return
    other = [told.state.value for told in again.states]
    # Where Asterisk was cut off, or nobody's phone was asked, there is no end in it.
    if not again.final and other == chain[: len(other)] and len(chain) <= len(other) + 1:
        return
    if other not in (chain, without_answers(chain, call["cause"])):
        yield f"{other} instead of {chain}"
