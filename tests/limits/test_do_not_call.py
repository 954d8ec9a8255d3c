"""Tests of the do-not-call list."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.limits.do_not_call import LOOK_EVERY, DoNotCall, Listed
from ccdaemon.numbers import Numbers


class NumbersTests(SynchronousTestCase):
    """What a line is."""

    def test_lines(self) -> None:
        """Numbers as people write them, beginnings of numbers, and remarks."""
        numbers = Listed(
            Numbers(),
            [
                "380441234567",
                "+38 (063) 111-22-33  # asked on 3 May",
                "7900*",
                "",
                "# all",
                "боб",
                "*",
            ],
        )
        self.assertEqual((len(numbers), numbers.nonsense), (3, 2))
        for phone, listed in [
            ("380441234567", True),
            ("380631112233", True),
            ("79001", True),
            ("7900", True),
            ("7901", False),
            ("3804412345678", False),
            ("", False),
        ]:
            self.assertEqual(phone in numbers, listed, phone)

    @given(
        st.lists(st.from_regex(r"[1-9][0-9]{0,5}\*?", fullmatch=True)),
        st.from_regex("[1-9][0-9]{0,7}", fullmatch=True),
    )
    def test_what_is_listed(self, lines: list[str], phone: str) -> None:
        """A number is listed if a line is it, or is the beginning of it."""
        listed = any(
            phone.startswith(line[:-1]) if line.endswith("*") else phone == line for line in lines
        )
        self.assertEqual(phone in Listed(Numbers(), lines), listed)


def at_once(function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
    """Stands for a thread."""
    return maybeDeferred(function, *arguments)


class FileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        """Have a file with one number."""
        self.file = Path(self.mktemp())
        self.file.write_text("380441234567\n")
        self.clock = Clock()

    def begun(self) -> DoNotCall:
        """The list, looking at the file."""
        made = DoNotCall(["7900*"], self.file, at_once, self.clock, Numbers())
        made.startService()
        self.addCleanup(made.stopService)
        return made

    def test_both(self) -> None:
        """Numbers of the configuration and of the file count."""
        listed = self.begun()
        self.assertEqual(["380441234567" in listed, "79001" in listed, "1" in listed], [1, 1, 0])
        self.assertEqual(len(listed), 2)

    def test_it_changes(self) -> None:
        """A change counts after half a minute; what has not changed is not read."""
        listed = self.begun()
        with capturedLogs() as logged:
            self.clock.advance(LOOK_EVERY)
            self.assertEqual(logged, [])
            self.file.write_text("380631112233\n")
            self.clock.advance(LOOK_EVERY)
        self.assertEqual(["380441234567" in listed, "380631112233" in listed], [0, 1])
        self.assertEqual(len(logged), 1)

    def test_it_is_gone(self) -> None:
        """What was read last stays, which is said once; when it is back, it counts again."""
        listed = self.begun()
        self.file.unlink()
        with capturedLogs() as logged:
            self.clock.advance(LOOK_EVERY)
            self.clock.advance(LOOK_EVERY)
        self.assertIn("380441234567", listed)
        [line] = [formatEvent(event) for event in logged]
        self.assertIn("what was read last stays", str(line))
        self.file.write_text("")
        self.clock.advance(LOOK_EVERY)
        self.assertNotIn("380441234567", listed)

    def test_bytes_that_are_not_text(self) -> None:
        """They are lines that are no numbers; the rest counts."""
        self.file.write_bytes(b"\xff\xfe\n380631112233\n")
        self.assertIn("380631112233", self.begun())

    def test_not_there_at_the_start(self) -> None:
        """A daemon that does not know whom not to call does not start."""
        self.file.unlink()
        error = self.assertRaises(OSError, self.begun)
        self.assertIn("limits.do_not_call_file: ", str(error))

    def test_none(self) -> None:
        """Without a file nothing is looked at."""
        listed = DoNotCall([], None, at_once, self.clock, Numbers())
        listed.startService()
        self.assertEqual((self.clock.getDelayedCalls(), "1" in listed), ([], False))
        listed.stopService()
        self.assertTrue(os.path.exists(self.file))
