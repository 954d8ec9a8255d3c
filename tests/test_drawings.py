"""Tests of the pictures in the docs: they are what the code is today, and show all of it."""

from __future__ import annotations

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import State
from lab.draw import FOLDER, PICTURES
from lab.draw.code import TOUCHES, needed, reachable, read, rows

#: A circle of two, something below and above it, and what stands alone.
GRAPH = {
    "top": {"left", "low", "right"},
    "left": {"right"},
    "right": {"left", "low"},
    "low": set[str](),
    "alone": set[str](),
}


class PictureTests(SynchronousTestCase):
    """docs/pictures."""

    def test_fresh(self) -> None:
        """Each picture is what would be drawn now."""
        there = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.svg")}
        drawn = {name: draw() for name, draw in PICTURES.items()}
        stale = [name for name in {*there, *drawn} if there.get(name) != drawn.get(name)]
        self.assertEqual(stale, [], "`make docs` draws them again")

    def test_xml(self) -> None:
        """Each is XML, and has a title for those who see no picture."""
        for name, draw in PICTURES.items():
            root = ElementTree.fromstring(draw())
            self.assertTrue(root.findtext("{http://www.w3.org/2000/svg}title"), name)

    def test_all_states(self) -> None:
        """The picture of the call machine has every state of a call."""
        drawn = PICTURES["machine.svg"]()
        self.assertEqual([state for state in State if f">{state.value}<" not in drawn], [])

    def test_all_parts(self) -> None:
        """The picture of the parts has every one that the daemon is made of."""
        drawn = PICTURES["parts.svg"]()
        parts = reachable(read(), "service")
        self.assertGreater(len(parts), 10)
        self.assertEqual([name for name in parts if f">{name}<" not in drawn], [])

    def test_all_that_is_touched(self) -> None:
        """Everything of the outside that a picture can show is touched by some part."""
        touched = {name for part in read().values() for name in part.touches}
        self.assertEqual(touched, set(TOUCHES))


class GraphTests(SynchronousTestCase):
    """How the parts are put into rows."""

    def test_rows(self) -> None:
        """Whoever imports stands above; those in a circle stand together."""
        self.assertEqual(rows(GRAPH), [["top"], ["left", "right"], ["alone", "low"]])

    def test_needed(self) -> None:
        """An import that follows from others is left out."""
        self.assertNotIn(("top", "low"), needed(GRAPH))
        self.assertIn(("right", "low"), needed(GRAPH))
