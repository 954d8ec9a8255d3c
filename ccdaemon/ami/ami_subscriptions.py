"""Who wants which AMI events.

The register belongs to the client, not to a connection: it survives reconnects. It knows what
events are called, and nothing about how they come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from ccdaemon.ami.ami_wire import Message

if TYPE_CHECKING:
    from ccdaemon.ami.ami_session import AMIProtocol

#: Called with the session on which the event came, and the event; must not block, returns nothing.
Subscriber = Callable[["AMIProtocol", Message], None]


class Subscriptions:
    """Subscribers by event name, in the order in which they came."""

    log = Logger()

    def __init__(self) -> None:
        self._subscribers: dict[str | None, list[Subscriber]] = {}
        self.wanted: frozenset[bytes] | None = frozenset()
        self._note_wanted()

    def register(self, event: str | None, function: Subscriber) -> None:
        """From now on ``function`` hears ``event``; None stands for every event."""
        self._subscribers.setdefault(event, []).append(function)
        self._note_wanted()

    def deregister(self, event: str | None, function: Subscriber | None = None) -> None:
        """``function``, or everybody, hears ``event`` no longer; unknown ones are passed over."""
        subscribers = self._subscribers.get(event, [])
        kept = [one for one in subscribers if function is not None and one != function]
        if kept:
            self._subscribers[event] = kept
        else:
            self._subscribers.pop(event, None)
        self._note_wanted()

    def dispatch(self, session: AMIProtocol, event: Message) -> tuple[int, int]:
        """Tells ``event`` to its subscribers; what one of them raises does not stop the others.

        :returns: how many were told, and how many of them raised.
        """
        told = (*self._subscribers.get(event.name, ()), *self._subscribers.get(None, ()))
        raised = 0
        for function in told:
            try:
                function(session, event)
            except Exception:
                raised += 1
                self.log.failure("a subscriber of AMI event {event} raised", event=event.name)
        return len(told), raised

    def _note_wanted(self) -> None:
        names = {name.encode() for name in self._subscribers if name is not None}
        self.wanted = None if None in self._subscribers else frozenset(names | {b"FullyBooted"})
