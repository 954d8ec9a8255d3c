"""Every chain derived a second time, from what Asterisk wrote down alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ccdaemon.asterisk import cel
from ccdaemon.asterisk.looks import Endpoints
from ccdaemon.calls import machine
from ccdaemon.calls.beginning import Opening, begin
from ccdaemon.calls.board import Board
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Direction
from ccdaemon.config.rules import Pattern
from tests.derived import without_answers
from tests.faults.history import History
from tests.faults.marks import Wrong


def derived(files: Iterable[Path], history: History, node: str) -> list[Wrong]:
    """What the CEL alone tells otherwise of the calls of this daemon."""
    lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
    board = Board(Endpoints("PJSIP/{sip}", Pattern("[0-9]{3,6}")).sip_of_channel)
    again: dict[str, Call] = {}
    told = {f"cc-{node}-{call['call_id']}-o": call for call in history.calls.values()}
    incoming = {call["phone"]: call for call in told.values() if call["direction"] == "inbound"}
    for anchor, call in told.items():
        if call["direction"] == "outbound":
            one = Call(0, None, None, Direction.OUTBOUND, call["sip"], call["phone"], anchor)
            one.call_id = call["call_id"]
            machine.open_call(one, 0)
            board.add(one)
            again[anchor] = one
    for signal in cel.from_rows(lines):
        if isinstance(signal, Opening):
            if signal.phone in incoming:
                number = incoming[signal.phone]["call_id"]
                one, _ = begin(number, signal, lambda name: None)
                board.add(one)
                again[f"cc-{node}-{number}-o"] = one
        else:
            board.hear(signal)
    return [
        Wrong("as the CEL tells it", call["call_id"], said)
        for anchor, call in told.items()
        for said in _differs(again.get(anchor), call)
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
