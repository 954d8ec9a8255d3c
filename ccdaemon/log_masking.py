"""Hides phone numbers in the log, all but their last two digits.

What looks like a phone number: 7 to 15 digits that stand by themselves. Numbers of calls, events
and operators are shorter; uniqueids and paths are no bare digits.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import provider

_NUMBER = re.compile(r"(?<![\w.:/-])(\+?)([0-9]{5,13})([0-9]{2})(?![\w-]|[.:/][0-9])", re.ASCII)


def masked(text: str) -> str:
    """The text with its phone numbers hidden: ``380639920000`` is ``**********00``."""
    return _NUMBER.sub(lambda found: found[1] + "*" * len(found[2]) + found[3], text)


class MaskedFailure(Failure):
    """A failure that hides phone numbers in its traceback, at the end of which the words stand."""

    def __init__(self, failure: Failure) -> None:
        # Failure's own would look for an exception that is being handled now.
        self.__dict__.update(failure.__dict__)

    def getTraceback(self, *args: Any, **kwargs: Any) -> str:
        """The same, with its phone numbers hidden."""
        return masked(super().getTraceback(*args, **kwargs))

    def __str__(self) -> str:
        return masked(super().__str__())

    __repr__ = __str__


@provider(ILogObserver)
def mask(event: dict[str, Any]) -> None:
    """Hide the phone numbers in what is to be logged, in place."""
    for name, value in event.items():
        if isinstance(value, str) and not name.startswith("log_"):
            event[name] = masked(value)
        elif isinstance(value, Failure):
            event[name] = MaskedFailure(value)
        elif isinstance(value, BaseException):
            words = masked(str(value))
            if words != str(value):
                event[name] = words


class LogMasking(Service):
    """Hides phone numbers from all who write logs, for as long as the daemon runs."""

    def __init__(self, publisher: LogPublisher = globalLogPublisher) -> None:
        self._publisher = publisher

    def startService(self) -> None:
        """Stand before everybody who hears of an event."""
        super().startService()  # type: ignore[no-untyped-call]
        # addObserver puts last, when twistd's own has written the line already.
        self._publisher._observers.insert(0, mask)

    def stopService(self) -> None:
        """Hide nothing any more."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._publisher.removeObserver(mask)
