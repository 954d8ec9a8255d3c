"""Calls followed to their ends by the list of all states, and what every chain has to be.

Knows no row and no direction: who calls whom, and how, the modules of rounds know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from tests.integration.harness import LiveTestCase

#: A round lasts as long as its longest call, and twice that on a slow machine.
LONGEST = 45.0


class Followed(Protocol):
    """One call: its states as the list of all states had them, and the call object with them."""

    call_id: int
    streamed: list[dict[str, Any]]
    call: dict[str, Any]


async def follow(test: LiveTestCase, calls: Sequence[Followed]) -> None:
    """Wait until every call has told its final state, by the list of all states."""
    waiting = {call.call_id: call for call in calls}
    cursor = "0"
    while waiting:
        page = await test.api("callHistory", after=cursor, limit=1000, wait=LONGEST)
        test.assertTrue(page["response"], f"{len(waiting)} calls have no end: {list(waiting)}")
        cursor = page["next"]
        for state in page["response"]:
            if (call := waiting.get(state["call_id"])) is not None:
                call.streamed.append(state)
                if state["final"]:
                    del waiting[state["call_id"]]
    for call in calls:
        [call.call] = await test.ask("callHistory", call_id=call.call_id)


def out_of_order(states: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Each once, in order, one final: say what is otherwise."""
    if [state["seq"] for state in states] != list(range(1, len(states) + 1)):
        yield "seq does not count 1, 2, 3…"
    if [state["final"] for state in states] != [False] * (len(states) - 1) + [True]:
        yield "not the last state alone is final"
    dates = [state["date"] for state in states]
    if dates != sorted(dates):
        yield f"time runs backwards: {dates}"
