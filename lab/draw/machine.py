"""The call machine: how far a call may come, and how it ends from there; from its tables."""

from __future__ import annotations

from collections import defaultdict

from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Direction, Role, State
from ccdaemon.calls.tables import (
    ANSWERED,
    ASKED,
    BY_API,
    CALLER_LEFT,
    LEG_STAGES,
    OTHERS_FOLLOW,
    STAGES,
    TALK,
    VERDICT,
)
from lab.draw.svg import Box, Drawing, Ink

_RUNG, _END, _HEIGHT, _DOWN = 186.0, 176.0, 56.0, 30.0

_WORDS: dict[Outcome, str] = {
    Outcome.BUSY: "busy",
    Outcome.NOANSWER: "no answer",
    Outcome.OFFLINE: "not reachable",
    Outcome.CANCELLED: "given up",
    Outcome.FAILED: "failed",
}

_HEADINGS = {
    Direction.OUTBOUND: "A call that the CRM asks for, or an operator dials by hand",
    Direction.INBOUND: "A call that a client makes",
}


def machine() -> str:
    """Draw it."""
    ends = {
        (direction, rung): _ends(direction, rung)
        for direction in Direction
        for rung in stages(direction)
    }
    widest = max(map(len, ends.values()))
    lines = len(ends) + 1
    drawing = Drawing(
        width=20 + _RUNG + widest * (_END + 14) + 40,
        height=lines * (_HEIGHT + _DOWN) + 2 * 34 + 20,
        title="The states of a call: on the left how far it has come, on the right how it ends",
    )
    y = 12.0
    for direction in Direction:
        y = _direction(drawing, direction, ends, y)
    _others(drawing, y)
    return drawing.svg()


def stages(direction: Direction) -> tuple[State, ...]:
    """How far a call may come, in order."""
    return STAGES.get(direction, (State.CALL, *LEG_STAGES))


def _ends(direction: Direction, rung: State) -> dict[State, list[str]]:
    """How a call ends that has come as far as ``rung``: the state, and what has to happen."""
    known = VERDICT.get((direction, rung))
    if known is None:
        # Nobody was rung yet: as if whoever comes next had been.
        known = VERDICT[direction, stages(direction)[stages(direction).index(rung) + 1]]
    found: dict[State, list[str]] = defaultdict(list)
    for outcome, state in known.items():
        found[state].append(_WORDS[outcome])
    if len(found) == 1:
        found = defaultdict(list, {state: ["whatever ends it"] for state in found})
    elif direction is Direction.OUTBOUND:
        found[BY_API[rung]].append("hung up by the API")
    if direction in CALLER_LEFT and rung is not TALK[direction]:
        found[CALLER_LEFT[direction]].append("the client hangs up")
    return found


def _direction(
    drawing: Drawing,
    direction: Direction,
    ends: dict[tuple[Direction, State], dict[State, list[str]]],
    y: float,
) -> float:
    drawing.text(20, y + 14, _HEADINGS[direction], size=13, bold=True)
    y += 28
    former: Box | None = None
    for rung in stages(direction):
        box = Box(20, y, _RUNG, _HEIGHT)
        if former is not None:
            drawing.line([(former.middle - 60, former.bottom), (box.middle - 60, box.y)])
            drawing.text(box.middle - 54, box.y - 12, _lifted(direction, rung), size=10)
        both_talk = "both talk" if rung is TALK[direction] else ""
        drawing.box(box, rung.value, both_talk, Ink.OURS)
        for number, (state, words) in enumerate(ends[direction, rung].items()):
            end = Box(20 + _RUNG + 40 + number * (_END + 14), y, _END, _HEIGHT)
            drawing.box(end, state.value, ", ".join(words), Ink.END)
            if number == 0:
                drawing.line([(box.x + box.width, y + _HEIGHT / 2), (end.x, y + _HEIGHT / 2)])
        former = box
        y += _HEIGHT + _DOWN
    return y


def _lifted(direction: Direction, rung: State) -> str:
    """By what a call comes to a rung."""
    for role in Role:
        who = f"the {role.value}"
        if ASKED.get((direction, role)) is rung:
            return f"{who} is rung"
        if ANSWERED.get((direction, role)) is rung:
            return f"{who} picks up"
    return "an operator is rung" if rung is LEG_STAGES[0] else "an operator picks up"


def _others(drawing: Drawing, y: float) -> None:
    """How an operator's leg ends after which another one is asked: the call goes on."""
    found: dict[State, list[str]] = defaultdict(list)
    for outcome, state in OTHERS_FOLLOW.items():
        found[state].append(_WORDS[outcome])
    words = "where another operator is asked then: told, and not final"
    box = Box(20, y, _RUNG, _HEIGHT)
    drawing.box(box, LEG_STAGES[0].value, words, Ink.OURS)
    for number, (state, words_of) in enumerate(found.items()):
        end = Box(20 + _RUNG + 40 + number * (_END + 14), y, _END, _HEIGHT)
        drawing.box(end, state.value, ", ".join(words_of), Ink.PLAIN)
        if number == 0:
            drawing.line(
                [(box.x + box.width, y + _HEIGHT / 2), (end.x, y + _HEIGHT / 2)], dashed=True
            )
