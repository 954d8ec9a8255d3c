"""Phone numbers hidden in the log."""

from __future__ import annotations

import io
from typing import Any

from twisted.logger import (
    ILogObserver,
    Logger,
    LogPublisher,
    globalLogPublisher,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from ccdaemon.log_masking import LogMasking, mask, masked


class Masked(SynchronousTestCase):
    """What is hidden, and what is not."""

    def test_numbers(self) -> None:
        """All but the last two digits, wherever a number stands by itself."""
        for text, shown in {
            "380639920000": "**********00",
            "+380639920000 may not": "+**********00 may not",
            "transfer by crm: 380639920000": "transfer by crm: **********00",
            "(0639920,0639921)": "(*****20,*****21)",
            "from=<380639920000>.": "from=<**********00>.",
        }.items():
            self.assertEqual(masked(text), shown)

    def test_what_is_none(self) -> None:
        """Calls, operators, uniqueids, paths, dates, addresses, hashes and keys stay."""
        for text in (
            "call_id=123456",
            "1000",
            "1700000000.12",
            "cc-0a1b2c-1234567-o",
            "2026/11/23/1795420800.12.wav",
            "order-137669928186694",
            "d41d8cd98f00b204e9800998ecf8427e",
            "127.0.0.1:38063",
            "12345678901234567890",
        ):
            self.assertEqual(masked(text), text)

    def test_every_field_of_an_event(self) -> None:
        """Texts and exceptions; what is neither stays as it is."""
        error, plain = ValueError("380639920000 is busy"), ValueError("busy")
        event: dict[str, Any] = {"a": "380639920000", "n": 380639920000, "e": error, "p": plain}
        mask(event)
        self.assertEqual(
            event, {"a": "**********00", "n": 380639920000, "e": "**********00 is busy", "p": plain}
        )

    def test_a_traceback(self) -> None:
        """What an exception says at the end of its traceback is hidden, too; the rest stays."""
        lines = io.StringIO()
        log = Logger(observer=LogPublisher(mask, textFileLogObserver(lines)))
        for _ in range(2):
            try:
                raise ValueError("380639920000 is busy")
            except ValueError:
                log.failure("{phone} cannot be called", phone="380639920001")
        log.error("it is {error}", error=Failure(ValueError("380639920001 is busy")))
        said = lines.getvalue()
        self.assertEqual(said.count("ValueError: **********00 is busy"), 2)
        self.assertEqual(said.count("**********01 cannot be called"), 2)
        self.assertIn("test_a_traceback", said)
        self.assertNotIn("38063992", said)


class Installed(SynchronousTestCase):
    """Before everybody who writes."""

    def test_those_who_were_there_before(self) -> None:
        """A log that was begun earlier shows no number while the daemon runs."""
        lines: list[Any] = []

        @provider(ILogObserver)
        def written(event: Any) -> None:
            lines.append(event["phone"])

        publisher = LogPublisher(written)
        log = Logger(observer=publisher)
        masking = LogMasking(publisher)
        masking.startService()
        log.info("{phone}", phone="380639920000")
        masking.stopService()
        log.info("{phone}", phone="380639920000")
        self.assertEqual(lines, ["**********00", "380639920000"])

    def test_the_log_of_the_process(self) -> None:
        """It is the one that everybody writes to."""
        masking = LogMasking()
        masking.startService()
        self.addCleanup(masking.stopService)
        self.assertIs(globalLogPublisher._observers[0], mask)
