"""The AMI client: one long-lived session with Asterisk, opened anew whenever it is lost.

Knows when a session is usable, and how long to stay away after which failure. What is done with a
session, and what its events mean, is told to it from outside. No action is ever sent twice: while
there is no session an action fails, and what was written when the link went stays written.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, cast

from twisted.application.internet import ClientService, backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ccdaemon.ami.ami_actions import AMIActions, Headers
from ccdaemon.ami.ami_errors import (
    ActionRefused,
    Closing,
    ConnectionLost,
    LoginRefused,
    NotConnected,
    Silent,
)
from ccdaemon.ami.ami_session import AMIProtocol, Subscriber, Subscriptions
from ccdaemon.ami.ami_settings import AMICounters, AMISettings, Credentials
from ccdaemon.ami.ami_wire import Message

#: Awaited with each new session, after the login and before anybody else may use it.
OnUp = Callable[[AMIProtocol], Awaitable[None]]
#: Told why a session that was up is gone.
OnDown = Callable[[BaseException], None]


class AMIClient(Service, AMIActions):
    """Keeps a session with Asterisk while the service runs.

    :param endpoint: where AMI listens; TLS, if any, is the endpoint's.
    :param on_up: read Asterisk's state here; if it raises, the session is dropped and tried again.
        Events already come meanwhile. Its own actions go through the session it is given.
    :param on_down: called once for each session whose ``on_up`` had returned.
    :param jitter: a number from 0 to 1.
    :ivar session: the session, if one is up.
    :ivar on_forged: told the channel of each event that was dropped since it is not spelled as
        Asterisk's are.
    :ivar counters: since the client was made.
    """

    log = Logger()

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        credentials: Credentials,
        settings: AMISettings | None = None,
        on_up: OnUp | None = None,
        on_down: OnDown | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings or AMISettings()
        self.session: AMIProtocol | None = None
        self.events = Subscriptions()
        self.counters = AMICounters()
        self.on_up = on_up
        self.on_down = on_down
        self.on_forged: Callable[[str], object] = lambda channel: None
        self._endpoint = endpoint
        self._clock = clock
        self._credentials = credentials
        self._backoff = backoffPolicy(
            self.settings.retry_first, self.settings.retry_longest, jitter=jitter
        )
        self._backoff_refused = backoffPolicy(
            self.settings.retry_refused_first, self.settings.retry_refused, 2.0, jitter
        )
        self._trouble: BaseException | None = None
        # Logins in a row that were refused.
        self._refusals = 0
        self._service = ClientService(
            _Opening(self._open), Factory.forProtocol(Protocol), self._pause, clock
        )

    @property
    def trouble(self) -> BaseException | None:
        """Why the last try for a session failed; None if none has since there was one."""
        return self._trouble

    def registerEvent(self, event: str | None, function: Subscriber) -> None:
        """``function(session, message)`` hears every ``event`` of this and all later sessions.

        None stands for every event there is; then nothing can be passed over unparsed.
        """
        self.events.register(event, function)

    def deregisterEvent(self, event: str | None, function: Subscriber | None = None) -> None:
        """Takes back ``registerEvent`` for one function, or for all that hear ``event``."""
        self.events.deregister(event, function)

    def sendAction(
        self, name: str, headers: Headers | None = None, *, timeout: float | None = None
    ) -> Deferred[Message]:
        if self.session is None:
            return fail(NotConnected(f"{name}: no session with Asterisk"))
        return self.session.sendAction(name, headers, timeout=timeout)

    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        if self.session is None:
            return fail(NotConnected(f"{name}: no session with Asterisk"))
        return self.session.sendList(name, headers, timeout=timeout, most=most)

    def startService(self) -> None:
        """Connects, and goes on trying."""
        super().startService()  # type: ignore[no-untyped-call]
        self._service.startService()

    def stopService(self) -> Deferred[None]:
        """Closes the session, by force after ``Settings.stop_timeout``."""
        super().stopService()  # type: ignore[no-untyped-call]
        session = self.session
        stopping = self._service.stopService()
        if session is not None:
            why = Closing("the service stops")
            timer = self._clock.callLater(self.settings.stop_timeout, session.abort, why)
            stopping.addBoth(lambda _: timer.cancel() if timer.active() else None)
        return stopping

    async def _open(self, factory: IProtocolFactory) -> IProtocol:
        """A session that is up, as ClientService sees it: to it, logging in is connecting.

        (ClientService has a hook for logins, but it cannot bear a link that is lost within it.)
        """
        session = AMIProtocol(self._clock, self.settings, self.events, self.counters, self._forged)
        try:
            once = Factory.forProtocol(lambda: session)
            once.noisy = False
            await self._endpoint.connect(once)
            preparing = Deferred.fromCoroutine(self._prepare(session))
            session.when_lost(preparing.cancel)
            await preparing.addTimeout(self.settings.up_timeout, self._clock, _silent)
            if session.why_lost is not None:
                raise ConnectionLost(str(session.why_lost))
        except Exception as error:
            session.abort(error)
            self._note_trouble(session.why_lost or error)
            raise
        return self._hand_over(session, factory)

    def _hand_over(self, session: AMIProtocol, factory: IProtocolFactory) -> IProtocol:
        """What ClientService holds for a session, and is told the end of."""
        link = cast(IProtocol, factory.buildProtocol(None))  # type: ignore[arg-type]
        link.makeConnection(cast(ITransport, session.transport))
        self._note_up(session)

        def lost() -> None:
            self._note_down(cast(BaseException, session.why_lost))
            link.connectionLost(connectionDone)

        session.when_lost(lost)
        return link

    def _forged(self, channel: str) -> None:
        self.on_forged(channel)

    async def _prepare(self, session: AMIProtocol) -> None:
        await session.login(self._credentials)
        await session.booted()
        for pattern in self.settings.filters:
            try:
                await session.sendAction("Filter", {"Operation": "Add", "Filter": pattern})
            except ActionRefused as refused:
                self.log.warn("AMI: event filter refused: {reason}", reason=refused.message)
        if self.on_up is not None:
            await self.on_up(session)

    def _pause(self, attempt: int) -> float:
        """Seconds before try number ``attempt`` since the last session."""
        if self._refusals:
            return self._backoff_refused(self._refusals - 1)
        return self._backoff(attempt)

    def _note_up(self, session: AMIProtocol) -> None:
        self.counters.reconnects += self.counters.sessions > 0
        self.counters.sessions += 1
        self._trouble, self._refusals = None, 0
        self.session = session
        self.log.info(
            "AMI: session up, AMI {version}, Asterisk has run for {uptime}",
            version=session.version,
            uptime=self._uptime(session),
        )

    def _uptime(self, session: AMIProtocol) -> str:
        """For how long Asterisk has run, as an administrator reads it."""
        if session.booted_at is None:
            return "as long as it does not tell"
        return str(timedelta(seconds=round(self._clock.seconds() - session.booted_at)))

    def _note_down(self, why: BaseException) -> None:
        self.session = None
        self.log.warn("AMI: session lost: {reason}", reason=str(why))
        if self.on_down is not None:
            try:
                self.on_down(why)
            except Exception:
                self.log.failure("AMI: on_down raised")

    def _note_trouble(self, why: BaseException) -> None:
        """Counts every failed try, and logs it unless it is the same as the one before."""
        if not self.running:
            return
        self.counters.failed_connects += 1
        is_refused = isinstance(why, LoginRefused)
        self.counters.refused_logins += is_refused
        self._refusals = self._refusals + 1 if is_refused else 0
        if repr(why) != repr(self._trouble):
            self.log.error(
                "AMI: no session: {kind}: {reason}", kind=type(why).__name__, reason=str(why)
            )
        self._trouble = why


@implementer(IStreamClientEndpoint)
class _Opening:
    """An endpoint made of a coroutine function."""

    def __init__(self, open_: Callable[[IProtocolFactory], Coroutine[Any, Any, IProtocol]]) -> None:
        self._open = open_

    def __repr__(self) -> str:
        return "<AMI session>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return Deferred.fromCoroutine(self._open(protocolFactory))


def _silent(_: object, seconds: float) -> Failure:
    return Failure(Silent("session", seconds))
