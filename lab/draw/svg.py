"""SVG of boxes, lines and words. Knows sizes and colours, and nothing of what is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from html import escape
from textwrap import wrap

#: Units that a letter of a size of 10 is wide, about; words are wrapped by it.
_LETTER = 5.6


class Ink(Enum):
    """What a box is: its ground and its edge."""

    PLAIN = ("#ffffff", "#5b6770")
    PURE = ("#e6f4ea", "#2e7d4f")
    OUTSIDE = ("#fff4dc", "#a06a00")
    OURS = ("#e4eefb", "#2459a6")
    END = ("#f4e9f7", "#7a3b8f")
    MARK = ("#5b6770", "#5b6770")


@dataclass(frozen=True, slots=True)
class Box:
    """A box with a name and, below it, smaller words."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Its middle from the left."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.y + self.height


@dataclass(slots=True)
class Drawing:
    """What was drawn so far; ``title`` is what a reader hears who sees no picture."""

    width: float
    height: float
    title: str
    _lines: list[str] = field(default_factory=list)

    def box(self, box: Box, name: str, words: str = "", ink: Ink = Ink.PLAIN) -> None:
        """Draw a box with its name in bold and words below, as many lines as there is room for."""
        ground, edge = ink.value
        self._lines.append(
            f'<rect x="{_n(box.x)}" y="{_n(box.y)}" width="{_n(box.width)}" '
            f'height="{_n(box.height)}" rx="5" fill="{ground}" stroke="{edge}" stroke-width="1.3"/>'
        )
        self.text(box.x + 8, box.y + 17, name, size=13, bold=True)
        fits = wrap(words, int((box.width - 16) / _LETTER))[: int((box.height - 22) / 12)]
        for number, line in enumerate(fits):
            self.text(box.x + 8, box.y + 32 + 12 * number, line, size=10)

    def mark(self, right: float, y: float, words: str) -> float:
        """Draw a small dark label that ends at ``right``; answers where it begins."""
        width = len(words) * _LETTER + 8
        ground, _ = Ink.MARK.value
        self._lines.append(
            f'<rect x="{_n(right - width)}" y="{_n(y)}" width="{_n(width)}" height="14" rx="7" '
            f'fill="{ground}"/>'
        )
        self.text(right - width / 2, y + 10.5, words, size=9, colour="#ffffff", anchor="middle")
        return right - width

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 11,
        bold: bool = False,
        colour: str = "#1d2429",
        anchor: str = "start",
    ) -> None:
        """Write a line."""
        weight = ' font-weight="bold"' if bold else ""
        self._lines.append(
            f'<text x="{_n(x)}" y="{_n(y)}" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}>{escape(words)}</text>'
        )

    def line(
        self, points: list[tuple[float, float]], *, dashed: bool = False, both: bool = False
    ) -> None:
        """Draw an arrow through points, or one with two heads."""
        first, *others = points
        path = f"M{_n(first[0])},{_n(first[1])}"
        path += "".join(f" L{_n(x)},{_n(y)}" for x, y in others)
        self._path(path, dashed, both)

    def curve(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw an arrow that leaves and arrives straight down."""
        bend = (end[1] - start[1]) / 2
        self._path(
            f"M{_n(start[0])},{_n(start[1])} C{_n(start[0])},{_n(start[1] + bend)} "
            f"{_n(end[0])},{_n(end[1] - bend)} {_n(end[0])},{_n(end[1])}",
            dashed=False,
            both=False,
        )

    def _path(self, path: str, dashed: bool, both: bool) -> None:
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        start = ' marker-start="url(#head)"' if both else ""
        self._lines.append(
            f'<path d="{path}" fill="none" stroke="#5b6770" stroke-width="1.1"{dash}{start} '
            f'marker-end="url(#head)"/>'
        )

    def svg(self) -> str:
        """The whole file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(self.width)} '
                f'{_n(self.height)}" width="{_n(self.width)}" height="{_n(self.height)}" '
                'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" role="img">',
                f"<title>{escape(self.title)}</title>",
                "<!-- Drawn from the code by `make docs`; changes made here are lost. -->",
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" '
                'fill="#5b6770"/></marker></defs>',
                f'<rect width="{_n(self.width)}" height="{_n(self.height)}" fill="#ffffff"/>',
                *self._lines,
                "</svg>",
                "",
            ]
        )


def _n(number: float) -> str:
    """As short as it can be."""
    return f"{number:.1f}".removesuffix(".0")
