"""One AMI connection: login, actions and their answers, events, ping.

Knows nothing of reconnecting, which is the client's; nor of what the events mean. It can be used
alone, as starpy's protocol could: connect it, ``login``, ``registerEvent``, send actions.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.ami.ami_actions import AMIActions, Headers
from ccdaemon.ami.ami_errors import (
    ActionRefused,
    ActionTimeout,
    BootedLate,
    ConnectionLost,
    ListTooLong,
    LoginRefused,
    Malformed,
    NotConnected,
    Silent,
    TooManyActions,
)
from ccdaemon.ami.ami_settings import AMICounters, AMISettings, Credentials
from ccdaemon.ami.ami_spelling import Judge, Judged, is_listed
from ccdaemon.ami.ami_wire import BadHeader, Message, MessageKind, MessageParser, encode_action

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


class AMIProtocol(Protocol, AMIActions):
    """A session with Asterisk, from its greeting to the loss of the link.

    :param events: who wants which events; may be shared with other sessions.
    :param counters: counted up; may be shared too.
    :param on_forged: told the channel of an event that is not spelled as Asterisk's are; it is
        told to nobody else.
    :ivar booted_at: when Asterisk started, in the clock's seconds to about one; None until
        FullyBooted was seen. Asterisk counts its uptime by the clock on its own wall.
    :ivar why_lost: why the link is gone or going, None while it stands.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: AMISettings | None = None,
        events: Subscriptions | None = None,
        counters: AMICounters | None = None,
        on_forged: Callable[[str], object] = lambda channel: None,
    ) -> None:
        self.settings = settings or AMISettings()
        self.events = events or Subscriptions()
        self.counters = counters or AMICounters()
        self.booted_at: float | None = None
        self.why_lost: BaseException | None = None
        self._clock = clock
        self._on_forged = on_forged
        self._parser = MessageParser(limits=self.settings.limits, strange=True)
        self._judge = Judge(self.settings.user_events)
        self._pending = PendingActions(clock, self.settings, self.counters)
        self._greeted = OneShotEvent("greeting", clock)
        self._booted = OneShotEvent("FullyBooted", clock)
        self._gave_up_booting = False
        self._began = clock.seconds()
        self._garbled: IDelayedCall | None = None
        self._settling: IDelayedCall | None = None
        self._pinging = LoopingCall(self._ping)
        self._pinging.clock = clock
        self._watchers: list[Callable[[], object]] = []

    @property
    def version(self) -> str | None:
        """AMI's own version as greeted, such as ``11.0.0``; None before."""
        return self._parser.version

    def registerEvent(self, event: str | None, function: Subscriber) -> None:
        """``function(session, message)`` hears every ``event`` from now on, or, for None, all."""
        self.events.register(event, function)

    def deregisterEvent(self, event: str | None, function: Subscriber | None = None) -> None:
        """Takes back ``registerEvent`` for one function, or for all that hear ``event``."""
        self.events.deregister(event, function)

    async def login(self, credentials: Credentials) -> None:
        """Logs in once Asterisk has greeted, and keeps the link under watch from then on.

        :raises LoginRefused: if Asterisk says no.
        :raises Silent: if no greeting comes; actions' own errors if an answer does not.
        """
        await self._greeted.wait(self.settings.banner_timeout)
        headers = {"Username": credentials.username}
        try:
            if credentials.challenge:
                answer = await self.sendAction("Challenge", {"AuthType": "MD5"})
                proof = hashlib.md5((answer.get("Challenge") + credentials.secret).encode())
                headers |= {"AuthType": "MD5", "Key": proof.hexdigest()}
            else:
                headers["Secret"] = credentials.secret
            await self.sendAction("Login", headers)
        except ActionRefused as refused:
            raise LoginRefused(refused.message) from None
        self._pinging.start(self.settings.ping_interval, now=False)

    async def booted(self) -> bool:
        """Waits until Asterisk's answers are complete.

        :returns: False if that could not be learnt in ``Settings.boot_wait``. Should FullyBooted
            come after all, the session is aborted, since what was read too early may be missing.
        """
        try:
            await self._booted.wait(self.settings.boot_wait)
        except Silent as silent:
            self._gave_up_booting = True
            self.log.warn(
                "AMI: {reason}; the user may lack read class system: going on without boot time",
                reason=str(silent),
            )
        return not self._gave_up_booting

    def sendAction(
        self, name: str, headers: Headers | None = None, *, timeout: float | None = None
    ) -> Deferred[Message]:
        timeout = self.settings.action_timeout if timeout is None else timeout
        return self._send(name, headers or {}, timeout, None).addCallback(_only)

    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        timeout = self.settings.list_timeout if timeout is None else timeout
        most = self.settings.most_entries if most is None else most
        return self._send(name, headers or {}, timeout, most)

    def abort(self, why: BaseException) -> None:
        """Drops the link at once, whatever is still unsent."""
        if self.why_lost is None:
            self.why_lost = why
            if self.connected:
                cast(ITCPTransport, self.transport).abortConnection()

    def when_lost(self, function: Callable[[], object]) -> None:
        """Calls ``function`` when the link goes, after everything that waited has failed."""
        self._watchers.append(function)

    def dataReceived(self, data: bytes) -> None:
        """Reads at once; after a decision to drop the link nothing is read any more."""
        if self.why_lost is not None:
            return
        parser, counters = self._parser, self.counters
        parser.wanted = self.events.wanted
        skipped, nuls = parser.skipped, parser.nuls
        judged = self._judge.judge(parser.feed(data))
        counters.unwanted += parser.skipped - skipped
        if parser.version is not None and not self._greeted.happened:
            self._greeted.happen()
        self._tell(judged)
        if self._judge.waits and self._settling is None:
            self._settling = self._clock.callLater(self.settings.settled_after, self._settle)
        if judged.strange or parser.nuls > nuls:
            self._doubt()
        if parser.error is not None:
            counters.garbage += 1
            self.log.error("AMI: what the peer sent is no AMI: {reason}", reason=str(parser.error))
            self.abort(parser.error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fails whatever waits, then tells the watchers."""
        why = self.why_lost or reason.value
        self.why_lost = why
        if self._pinging.running:
            self._pinging.stop()
        for timer in (self._garbled, self._settling):
            if timer is not None and timer.active():
                timer.cancel()
        self._pending.lose(why)
        self._greeted.lose(why)
        self._booted.lose(why)
        for function in self._watchers:
            function()

    def _send(self, name: str, headers: Headers, timeout: float, most: int | None) -> Answer:
        if self.transport is None or self.why_lost is not None:
            return fail(NotConnected(f"{name}: no session with Asterisk"))
        action_id = self._pending.new_id()
        try:
            data = encode_action(name, headers, action_id)
            if name != "Ping":
                # A ping must go out just when everything else is stuck.
                self._pending.check_room(len(data))
        except (BadHeader, TooManyActions):
            return fail()
        answer = self._pending.add(action_id, name, len(data), timeout, most)
        self.transport.write(data)
        return answer

    def _doubt(self) -> None:
        """Something may have been lost: the next session reads it up."""
        self.counters.garbage += 1
        if self._garbled is None:
            self.log.error("AMI: what the peer sent is no AMI; the session is begun anew")
            wait = self._began + self.settings.garbled_after - self._clock.seconds()
            why = Malformed("the peer sent what is no AMI")
            self._garbled = self._clock.callLater(max(0.0, wait), self.abort, why)

    def _settle(self) -> None:
        self._settling = None
        if self.why_lost is None:
            self._tell(self._judge.settle())

    def _tell(self, judged: Judged) -> None:
        for message in judged.believed:
            self._take(message)
        for channel in judged.forged:
            self.counters.forged += 1
            self._on_forged(channel)

    def _take(self, message: Message) -> None:
        if self._pending.take(message) or is_listed(message):
            return
        self.counters.events += 1
        if message.name == "FullyBooted":
            self._note_boot(message)
        told, raised = self.events.dispatch(self, message)
        self.counters.unwanted += not told
        self.counters.subscriber_errors += raised

    def _note_boot(self, message: Message) -> None:
        uptime = message.get("Uptime")
        if uptime.isdecimal() and len(uptime) < 10:
            self.booted_at = self._clock.seconds() - int(uptime)
        if self._gave_up_booting:
            self.abort(BootedLate("Asterisk has only now finished booting"))
        self._booted.happen()

    def _ping(self) -> Deferred[object]:
        return self.ping(timeout=self.settings.ping_timeout).addErrback(self._ping_failed)

    def _ping_failed(self, failure: Failure) -> None:
        if failure.check(ActionTimeout):
            self.abort(Silent("answer to a ping", self.settings.ping_timeout))


def _only(messages: tuple[Message, ...]) -> Message:
    return messages[0]
