"""The parts of the daemon, from the top down: who imports whom, and what each touches outside."""

from __future__ import annotations

from lab.draw.code import TOUCHES, needed, reachable, read, rows
from lab.draw.svg import Box, Drawing, Ink

#: The part that joins all the others.
_TOP = "service"
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 172.0, 96.0, 14.0, 40.0
#: Boxes in a row that fit on a page.
_MOST = 8


def parts() -> str:
    """Draw it."""
    known = read()
    graph = reachable(known, _TOP)
    lines = _broken(rows(graph))
    order = _ordered(lines, graph)
    widest = max(map(len, order))
    drawing = Drawing(
        width=widest * (_WIDTH + _ACROSS) + _ACROSS,
        height=len(order) * (_HEIGHT + _DOWN) + 40,
        title="The parts of ccdaemon, each above those it imports",
    )
    boxes = _place(order, drawing.width)
    for name, other in needed(graph):
        upper, lower = boxes[name], boxes[other]
        if upper.y < lower.y:
            drawing.curve((upper.middle, upper.bottom), (lower.middle, lower.y))
        else:
            drawing.line([(upper.middle, upper.y), (lower.middle, lower.bottom)], dashed=True)
    for name, box in boxes.items():
        part = known[name]
        drawing.box(box, name, part.words, Ink.PURE if part.pure else Ink.PLAIN)
        right = box.x + box.width - 6
        for touched in reversed(part.touches):
            right = drawing.mark(right, box.bottom - 19, touched) - 3
    drawing.text(
        _ACROSS,
        drawing.height - 14,
        "Green: pure, without any input or output. Dark: what it touches outside "
        f"({', '.join(TOUCHES)}). Imports that follow from others are not drawn.",
        size=10,
    )
    return drawing.svg()


def _broken(lines: list[list[str]]) -> list[list[str]]:
    """Rows that are too long for a page, in two."""
    return [row[at : at + _MOST] for row in lines for at in range(0, len(row), _MOST)]


def _ordered(lines: list[list[str]], graph: dict[str, set[str]]) -> list[list[str]]:
    """Each row in the order in which its boxes stand best below those that import them."""
    place: dict[str, float] = {}
    ordered = []
    for row in lines:
        above = {
            name: [place[other] for other in place if name in graph[other]] or [0.5] for name in row
        }
        row = sorted(row, key=lambda name: (sum(above[name]) / len(above[name]), name))
        for number, name in enumerate(row):
            place[name] = (number + 0.5) / len(row)
        ordered.append(row)
    return ordered


def _place(order: list[list[str]], width: float) -> dict[str, Box]:
    boxes = {}
    for number, row in enumerate(order):
        left = (width - len(row) * (_WIDTH + _ACROSS) + _ACROSS) / 2
        for column, name in enumerate(row):
            x = left + column * (_WIDTH + _ACROSS)
            boxes[name] = Box(x, 12 + number * (_HEIGHT + _DOWN), _WIDTH, _HEIGHT)
    return boxes
