"""What a session waits for: answers to its actions, and the few things that happen once in it.

Knows no transport. Everything in here ends: by an answer, by its timeout, by the caller's cancel or
by the loss of the link.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import count

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from ccdaemon.ami.ami_errors import (
    ActionRefused,
    ActionTimeout,
    ConnectionLost,
    ListTooLong,
    Silent,
    TooManyActions,
)
from ccdaemon.ami.ami_settings import AMICounters, AMISettings
from ccdaemon.ami.ami_wire import Message, MessageKind

Answer = Deferred[tuple[Message, ...]]


@dataclass(slots=True)
class _Pending:
    name: str
    size: int
    answer: Answer
    timer: IDelayedCall
    entries: list[Message] | None
    most_entries: int


class PendingActions:
    """The unanswered actions of one session, each with its own timeout.

    An ActionID begins with a random prefix, so that nothing the dialplan writes into an event can
    be taken for an answer.
    """

    def __init__(self, clock: IReactorTime, settings: AMISettings, counters: AMICounters) -> None:
        self._clock = clock
        self._settings = settings
        self._counters = counters
        self._prefix = secrets.token_hex(8)
        self._numbers = count(1)
        self._pending: dict[str, _Pending] = {}
        self._bytes = 0
        self._given_up: set[str] = set()

    def new_id(self) -> str:
        """An ActionID that was never used."""
        return f"{self._prefix}-{next(self._numbers)}"

    def check_room(self, size: int) -> None:
        """Whether one more action of ``size`` bytes may wait.

        :raises TooManyActions: if not.
        """
        settings = self._settings
        if len(self._pending) >= settings.most_pending:
            raise TooManyActions(f"{len(self._pending)} actions are unanswered")
        if self._bytes + size > settings.most_pending_bytes:
            raise TooManyActions(f"{self._bytes} bytes of actions are unanswered")

    def add(
        self, action_id: str, name: str, size: int, timeout: float, most_entries: int | None
    ) -> Answer:
        """Waits for the answer of an action.

        :param timeout: in seconds.
        :param most_entries: None for an action without a list.
        :returns: the response alone, or the list's entries.
        """
        answer: Answer = Deferred(lambda _: self._cancel(action_id))
        timer = self._clock.callLater(timeout, self._time_out, action_id, timeout)
        entries: list[Message] | None = None if most_entries is None else []
        self._pending[action_id] = _Pending(name, size, answer, timer, entries, most_entries or 0)
        self._bytes += size
        return answer

    def take(self, message: Message) -> bool:
        """Whether ``message`` is an answer, awaited or not, and so no event for subscribers."""
        action_id = message.get("ActionID")
        pending = self._pending.get(action_id)
        if message.kind is MessageKind.RESPONSE:
            self._counters.responses += 1
            self._respond(action_id, pending, message)
            return True
        if pending is not None and pending.entries is not None:
            self._collect(action_id, pending, pending.entries, message)
            return True
        if action_id in self._given_up:
            if _ends_list(message):
                self._given_up.discard(action_id)
            return True
        return False

    def lose(self, why: object) -> None:
        """Fails everything that waits: the link went because of ``why``."""
        for action_id, pending in list(self._pending.items()):
            self._remove(action_id)
            pending.answer.errback(ConnectionLost(f"{pending.name}: {why}"))

    def _respond(self, action_id: str, pending: _Pending | None, message: Message) -> None:
        if pending is None:
            self._counters.unmatched += 1
        elif message.name == "Error":
            self._counters.refused_actions += 1
            self._remove(action_id)
            pending.answer.errback(ActionRefused(message.get("Message"), message))
        elif pending.entries is None:
            self._remove(action_id)
            pending.answer.callback((message,))

    def _collect(
        self, action_id: str, pending: _Pending, entries: list[Message], message: Message
    ) -> None:
        if _ends_list(message):
            self._remove(action_id)
            pending.answer.callback(tuple(entries))
        elif len(entries) >= pending.most_entries:
            self._give_up(action_id)
            pending.answer.errback(ListTooLong(f"{pending.name}: over {len(entries)} entries"))
        else:
            entries.append(message)

    def _time_out(self, action_id: str, seconds: float) -> None:
        self._counters.timeouts += 1
        pending = self._give_up(action_id)
        pending.answer.errback(ActionTimeout(pending.name, seconds))

    def _cancel(self, action_id: str) -> None:
        self._give_up(action_id)

    def _give_up(self, action_id: str) -> _Pending:
        pending = self._remove(action_id)
        if pending.entries is not None:
            # The rest of the list may still come, and is no news for subscribers.
            if len(self._given_up) >= self._settings.most_pending:
                self._given_up.clear()
            self._given_up.add(action_id)
        return pending

    def _remove(self, action_id: str) -> _Pending:
        pending = self._pending.pop(action_id)
        self._bytes -= pending.size
        if pending.timer.active():
            pending.timer.cancel()
        return pending


class OneShotEvent:
    """Something that happens at most once in a session."""

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self.name = name
        self.happened = False
        self._clock = clock
        self._waiting: list[Deferred[None]] = []

    def happen(self) -> None:
        """It happens now."""
        self.happened = True
        for waiting in self._taken():
            waiting.callback(None)

    def lose(self, why: object) -> None:
        """It will not happen any more, because of ``why``."""
        for waiting in self._taken():
            waiting.errback(ConnectionLost(f"{self.name}: {why}"))

    def wait(self, seconds: float) -> Deferred[None]:
        """Fires when it happens, at once if it has; fails with ``Silent`` after ``seconds``."""
        if self.happened:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)

        def silent(_: object, timeout: float) -> Failure:
            return Failure(Silent(self.name, timeout))

        return waiting.addTimeout(seconds, self._clock, silent)

    def _taken(self) -> list[Deferred[None]]:
        waiting, self._waiting = self._waiting, []
        return waiting


def _ends_list(message: Message) -> bool:
    return message.get("EventList").lower() == "complete"
