"""Tests that a line of the log is what Twisted would write."""

from __future__ import annotations

from io import StringIO
from typing import Any

from twisted.logger import LogEvent, Logger, LogPublisher, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.log_lines import LogLines

#: What is said, with its values.
SAID: list[tuple[str, dict[str, Any]]] = [
    ("{state} call_id={call_id} {detail}", {"state": "CALL", "call_id": 7, "detail": ""}),
    ("two\nlines of {what!r}", {"what": "a\nb"}),
    ("{seconds:.1f} s of {part.__name__}", {"seconds": 1.26, "part": str}),
    ("called: {now()}", {"now": lambda: 5}),
    ("{missing}", {}),
    ("{error}", {"error": ValueError("no")}),
    ("", {}),
    ("braces {{}} and {x}", {"x": None}),
]


class LineTests(SynchronousTestCase):
    """Cheap lines beside Twisted's."""

    def test_the_same(self) -> None:
        """Whatever is said reads the same."""
        ours, theirs = StringIO(), StringIO()
        publisher, plain = LogPublisher(), LogPublisher(textFileLogObserver(theirs))
        publisher.addObserver(textFileLogObserver(ours))
        lines = LogLines(publisher)
        lines.startService()
        publisher.addObserver(plain)
        log = Logger("some.where", observer=publisher)
        for words, values in SAID:
            log.info(words, **values)
            log.error(words, **values)
        log.failure("it failed: {x}", Failure(ValueError("no")), x=1)
        log.info("in a system", log_system="-")
        publisher({"log_format": "no more", "log_time": 1.0})
        publisher({"message": ("an old one",), "time": 1.0, "system": "-", "isError": 0})
        self.assertGreater(len(theirs.getvalue()), 500)
        self.assertEqual(theirs.getvalue(), ours.getvalue())
        lines.stopService()
        log.info("and then")
        self.assertEqual(theirs.getvalue(), ours.getvalue())

    def test_the_second(self) -> None:
        """The date goes on with the clock, also back."""
        ours, theirs = StringIO(), StringIO()
        publisher = LogPublisher(textFileLogObserver(ours))
        lines = LogLines(publisher)
        lines.startService()
        publisher.addObserver(textFileLogObserver(theirs))
        events: list[LogEvent] = []
        said = LogPublisher()
        said.addObserver(events.append)  # type: ignore[arg-type]
        Logger("x", observer=said).info("now")
        for when in (100.2, 100.9, 101.0, 3600.5, 100.3):
            publisher({**events[0], "log_time": when})
        self.assertEqual(theirs.getvalue(), ours.getvalue())
        lines.stopService()
