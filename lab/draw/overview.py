"""What stands around the daemon and how they talk: the picture of the README.

Where the boxes stand is said here; an arrow of the daemon's is drawn only where its code has what
the arrow is for.
"""

from __future__ import annotations

from lab.draw.code import reachable, read
from lab.draw.svg import Box, Drawing, Ink

_CRM = Box(20, 30, 190, 118)
_DAEMON = Box(300, 30, 260, 118)
_POSTGRES = Box(650, 30, 190, 52)
_FILE = Box(650, 96, 190, 52)
_ASTERISK = Box(300, 218, 260, 92)
_OPERATORS = Box(20, 218, 190, 92)
_CLIENTS = Box(650, 218, 190, 92)

_SIDE = tuple[tuple[float, float], tuple[float, float]]

#: What of the code an arrow is for, what is written at it, where it goes.
_ARROWS: list[tuple[str, str, _SIDE]] = [
    ("HTTP in", "asks, by HTTP", ((210, 62), (300, 62))),
    ("HTTP out", "is told, asked", ((300, 118), (210, 118))),
    ("AMI", "AMI: acts, hears", ((315, 148), (315, 218))),
    ("FastAGI", "FastAGI: who takes it?", ((410, 218), (410, 148))),
    ("CEL", "CEL: what was missed", ((500, 218), (500, 148))),
    ("Postgres", "afterwards", ((560, 56), (650, 56))),
    ("SQLite", "first", ((560, 122), (650, 122))),
]


def overview() -> str:
    """Draw it."""
    known = read()
    touched = {name for part in reachable(known, "service") for name in known[part].touches}
    drawing = Drawing(860, 330, "ccdaemon between a CRM and an Asterisk")
    drawing.box(
        _CRM,
        "The CRM",
        "“Connect operator 1000 with this client, for order 15.” It hears of every step, has a "
        "hand on every talk, and may say who takes a call.",
        Ink.OUTSIDE,
    )
    drawing.box(
        _DAEMON,
        "ccdaemon",
        "Decides who is rung, has it done, and writes down what happened to every call and what "
        "every operator did, before it tells anybody.",
        Ink.OURS,
    )
    drawing.box(_POSTGRES, "Postgres", "The history, for ever after.", Ink.OUTSIDE)
    drawing.box(_FILE, "The journal", "SQLite beside the daemon.", Ink.OUTSIDE)
    drawing.box(
        _ASTERISK,
        "Asterisk",
        "Rings, bridges, records and ends calls by its dialplan: also while the daemon is away.",
        Ink.OUTSIDE,
    )
    drawing.box(_OPERATORS, "Operators' phones", "PJSIP or chan_sip.", Ink.OUTSIDE)
    drawing.box(_CLIENTS, "Clients", "By a trunk.", Ink.OUTSIDE)
    drawing.line([(210, 264), (300, 264)], both=True)
    drawing.line([(560, 264), (650, 264)], both=True)
    drawing.text(255, 257, "the talk", size=10, anchor="middle")
    drawing.text(605, 257, "the talk", size=10, anchor="middle")
    arrows = [arrow[1:] for arrow in _ARROWS if arrow[0] in touched]
    for words, (start, end) in arrows:
        drawing.line([start, end])
        if start[1] == end[1]:
            drawing.text((start[0] + end[0]) / 2, start[1] - 7, words, size=10, anchor="middle")
            continue
        name, _, purpose = words.partition(": ")
        drawing.text(start[0] + 5, 180, name, size=10, bold=True)
        drawing.text(start[0] + 5, 194, purpose, size=10)
    return drawing.svg()
