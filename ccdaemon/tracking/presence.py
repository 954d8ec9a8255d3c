"""Presence: keeps what is known of the operators equal to what Asterisk says.

Reads everything after a start or reconnect, follows the events afterwards, and looks again
after a reload and once a minute, since not every change of a configuration is told. It decides
nothing: ``operators`` does, and every change goes to the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.ami.ami_wire import Message
from ccdaemon.clocks import WallClock
from ccdaemon.operators import STATUS, OperatorChange, Operators, OperatorView, Status
from ccdaemon.pbx.ami_queries import Endpoints, query_device, query_operator, query_operators
from ccdaemon.store.facts import Fact, OperatorFact

#: Seconds between two looks when nothing happens.
LOOK_EVERY = 60.0
#: Seconds after a reload was told until it is looked at: one reload tells several times.
AFTER_RELOAD = 1.0
#: As many operators are asked about at a time who are told to have gone; more are believed.
MOST_ASKED = 500


class Presence:
    """The operators, live.

    :param endpoints: which devices are operators.
    :param operators: what is known of them.
    :param tell: takes facts to the journal.
    :param call_of: the call an operator is on, None if they are on none.
    :param clock: says what time it is.
    :ivar on_forged: told the device of an operator who was told to be offline, and is not.
    """

    log = Logger()

    def __init__(
        self,
        endpoints: Endpoints,
        operators: Operators,
        append: Callable[[list[Fact]], Deferred[list[int]]],
        call_of: Callable[[str], int | None],
        clock: WallClock,
    ) -> None:
        self._endpoints = endpoints
        self._operators = operators
        self._append = append
        self._call_of = call_of
        self._clock = clock
        self._session: AMIActions | None = None
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._heard: dict[str, str] = {}
        # Who is said to have gone offline, while Asterisk is asked.
        self._asking: dict[str, Deferred[None]] = {}
        self.on_forged: Callable[[str], object] = lambda device: None

    def remember(self, last: Mapping[str, OperatorChange]) -> None:
        """What the history says last of each operator; before the first session."""
        self._operators.remember(last)

    def operators(self) -> list[OperatorView]:
        """Every operator as they stand now, sorted by sip."""
        return self._operators.views(self._call_of)

    @property
    def are_known(self) -> bool:
        """Whether Asterisk has been looked at since the start, so that nobody is missing."""
        return self._operators.are_known

    @property
    def stale(self) -> bool:
        """Whether Asterisk cannot be asked just now, so that all may be otherwise."""
        return self._operators.stale

    @property
    def can_look(self) -> bool:
        """Whether Asterisk can be asked."""
        return self._session is not None

    def call_of(self, sip: str) -> int | None:
        """The call an operator is on, if it is one of ours."""
        return self._call_of(sip)

    async def status(self, sip: str) -> Status | None:
        """What an operator does now, asking Asterisk for one nobody has heard of yet.

        :return: None if there is no such operator.
        :raises AMIError: if Asterisk would have to be asked and cannot be.
        """
        known = self._operators.status(sip)
        if known is not None or self._session is None:
            return known
        state = await query_operator(self._session, self._endpoints, sip)
        if state is not None:
            self._changed(self._operators.seen(sip, state, self._now()))
        return self._operators.status(sip)

    async def up(self, session: AMIActions) -> None:
        """A session has begun: look at everything, then follow.

        :raises AMIError: if the look fails; the session is no good then.
        """
        await self._look(session, search=True)
        self._session = session
        self._plan(LOOK_EVERY, search=False)
        self.log.info("{count} operators are known", count=len(self._operators))

    def down(self, why: str) -> None:
        """The session is over: from now on nobody can tell what operators do."""
        self.end()
        self._changed(self._operators.blind(self._now(), why))

    def end(self) -> None:
        """Look no more. Nothing is told of it: what has changed meanwhile the next start tells."""
        self._session = None
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._looking is not None:
            self._looking.cancel()
        for asking in tuple(self._asking.values()):
            asking.cancel()

    def device_changed(self, event: Message) -> None:
        """A DeviceStateChange was heard."""
        sip = self._endpoints.sip(event.get("Device"))
        if sip is None:
            return
        state = event.get("State")
        asking = self._asking.pop(sip, None)
        if asking is not None:
            asking.cancel()
        known = self._operators.status(sip)
        goes = known not in (None, Status.OFFLINE) and STATUS.get(state) is Status.OFFLINE
        if goes and self._session is not None and len(self._asking) < MOST_ASKED:
            asking = Deferred.fromCoroutine(self._confirm(self._session, sip, state))
            if not asking.called:
                self._asking[sip] = asking
            asking.addErrback(lambda failure: failure.trap(CancelledError))
        else:
            self._take(sip, state)

    def _take(self, sip: str, state: str) -> None:
        self._heard[sip] = state
        # Asking for a device that is not there makes Asterisk tell that it is INVALID.
        if sip in self._operators or state != "INVALID":
            self._changed(self._operators.seen(sip, state, self._now(), self._call_of(sip)))

    async def _confirm(self, session: AMIActions, sip: str, state: str) -> None:
        """Ask whether an operator has gone offline: one event alone takes nobody's calls away."""
        try:
            now = await query_device(session, self._endpoints, sip)
        except AMIError:
            now = state
        self._asking.pop(sip, None)
        self._take(sip, now)
        if STATUS.get(now) is not Status.OFFLINE:
            words = "{sip} was told to be {state}, and is {now}"
            self.log.warn(words, sip=sip, state=state, now=now)
            self.on_forged(self._endpoints.device(sip))

    def reloaded(self, event: Message) -> None:
        """Asterisk has read its configuration anew."""
        if self._session is not None:
            self._plan(AFTER_RELOAD, search=True)

    def look_anew(self) -> None:
        """What was told may not be so: look at everybody now, if Asterisk can be asked."""
        if self._session is not None:
            self._plan(0, search=False)

    def _plan(self, seconds: float, *, search: bool) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._look_again, search)

    def _look_again(self, search: bool) -> None:
        if self._session is None:
            return
        if self._looking is not None:
            self._plan(AFTER_RELOAD, search=search)
            return
        looking = Deferred.fromCoroutine(self._look_on(self._session, search))
        if not looking.called:
            self._looking = looking
        looking.addErrback(lambda failure: failure.trap(CancelledError))

    async def _look_on(self, session: AMIActions, search: bool) -> None:
        try:
            await self._look(session, search=search)
        except AMIError as error:
            self.log.warn("could not look at the operators: {error}", error=error)
        finally:
            self._looking = None
            if self._session is not None:
                self._plan(LOOK_EVERY, search=False)

    async def _look(self, session: AMIActions, *, search: bool) -> None:
        self._heard = {}
        asked = self._operators.names()
        states = await query_operators(session, self._endpoints, asked, search=search)
        # What was told while we asked is younger than the answer.
        states.update({sip: state for sip, state in self._heard.items() if sip in states})
        # So is whoever appeared meanwhile: nobody asked for them.
        appeared = self._operators.names() - asked - states.keys()
        states.update(self._operators.device_states(appeared))
        self._changed(self._operators.looked(states, self._now(), self._call_of))

    def record(self, changes: Iterable[OperatorChange]) -> Deferred[list[int]]:
        """Write changes to the operators' log.

        :return: fires with their event ids; fails as the journal's ``append`` does.
        """
        facts: list[Fact] = [OperatorFact(change) for change in changes]
        return self._append(facts) if facts else succeed([])

    def _changed(self, changes: Iterable[OperatorChange]) -> None:
        self.record(changes).addErrback(self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        self.log.error("what operators did could not be kept: {error}", error=failure.value)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)
