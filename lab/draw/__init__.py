"""Draws the pictures of ``docs/pictures`` from the code: ``python -m lab.draw``, or ``make docs``.

They are SVG, made of boxes, lines and words alone, so no other program is needed. What is in them
comes from the imports of the package and from the tables of the call machine; a test says when one
of them is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lab.draw.machine import machine
from lab.draw.overview import overview
from lab.draw.parts import parts

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"

#: The name of each file, and what draws it.
PICTURES: dict[str, Callable[[], str]] = {
    "overview.svg": overview,
    "parts.svg": parts,
    "machine.svg": machine,
}
