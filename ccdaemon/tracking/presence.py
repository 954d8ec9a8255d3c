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
from ccdaemon.pbx.ami_queries import (
    QUIET,
    Devices,
    query_device,
    query_operator,
    query_operators,
)
from ccdaemon.pbx.endpoints import Endpoints, summed
from ccdaemon.store.facts import Fact, OperatorFact

#: Seconds between two looks when nothing happens.
LOOK_EVERY = 60.0
#: Seconds for which somebody is in use without a channel until that is not believed.
STUCK_AFTER = 60.0
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
        # Of each operator's devices the state that was told last, and what was told during a look.
        self._devices: Devices = {}
        self._heard: dict[str, tuple[str, str]] = {}
        self._absent: dict[str, str] = {}
        self._stuck: set[str] = set()
        # The devices by which somebody is said to have gone offline, while Asterisk is asked.
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

    def dialled(self, sip: str) -> tuple[str, ...]:
        """What is dialled to ring an operator: one string for each of their phones."""
        return self._endpoints.dialled(sip, self._devices.get(sip, {}))

    def call_of(self, sip: str) -> int | None:
        """The call an operator is on, if it is one of ours."""
        return self._call_of(sip)

    async def status(self, sip: str) -> Status | None:
        """What an operator does now, asking Asterisk for one nobody has heard of yet.

        :return: None if there is no such operator.
        :raises AMIError: if Asterisk would have to be asked and cannot be.
        """
        known = self._operators.status(sip)
        if known is None and self._session is not None:
            devices = await query_operator(self._session, self._endpoints, sip)
            if devices:
                self._devices[sip] = devices
                self._changed(self._operators.seen(sip, summed(devices.values()), self._now()))
            known = self._operators.status(sip)
        if known is Status.UNKNOWN and self._call_of(sip) is not None:
            # Where their phone is nobody tells us; that they are on it we know.
            return Status.INUSE
        return known

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
        device, state = event.get("Device"), event.get("State")
        undisturbed = self._endpoints.undisturbed(device)
        if undisturbed is not None and undisturbed in self._operators:
            self._disturb(undisturbed, state in QUIET)
        owner = self._endpoints.owner(device)
        if owner is None:
            return
        sip = owner[0]
        asking = self._asking.pop(device, None)
        if asking is not None:
            asking.cancel()
        together = summed({**self._devices.get(sip, {}), device: state}.values())
        known = self._operators.status(sip)
        goes = known not in (None, Status.OFFLINE) and STATUS.get(together) is Status.OFFLINE
        if goes and self._session is not None and len(self._asking) < MOST_ASKED:
            asking = Deferred.fromCoroutine(self._confirm(self._session, sip, device, state))
            if not asking.called:
                self._asking[device] = asking
            asking.addErrback(lambda failure: failure.trap(CancelledError))
        else:
            self._take(sip, device, state)

    def _take(self, sip: str, device: str, state: str) -> None:
        self._heard[device] = sip, state
        # Asking for a device that is not there makes Asterisk tell that it is INVALID.
        if device in self._devices.get(sip, {}) or state != "INVALID":
            self._devices.setdefault(sip, {})[device] = state
            together = summed(self._devices[sip].values())
            self._changed(self._operators.seen(sip, together, self._now(), self._call_of(sip)))

    async def _confirm(self, session: AMIActions, sip: str, device: str, state: str) -> None:
        """Ask whether an operator has gone offline: one event alone takes nobody's calls away."""
        try:
            now = await query_device(session, device)
        except AMIError:
            now = state
        self._asking.pop(device, None)
        self._take(sip, device, now)
        if STATUS.get(now) is not Status.OFFLINE:
            words = "{sip} was told to be {state}, and is {now}"
            self.log.warn(words, sip=sip, state=state, now=now)
            self.on_forged(device)

    def reloaded(self, event: Message) -> None:
        """Asterisk has read its configuration anew."""
        if self._session is not None:
            self._absent.clear()
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
        look = await query_operators(
            session, self._endpoints, asked, search=search, absent=self._absent
        )
        devices = look.devices
        stuck = await self._find_stuck(session, devices)
        # What was told while we asked is younger than the answer.
        for device, (sip, state) in self._heard.items():
            if device in devices.get(sip, {}):
                devices[sip][device] = state
        # So is whoever appeared meanwhile: nobody asked for them.
        for sip in self._operators.names() - asked - devices.keys():
            devices[sip] = self._devices.get(sip, {})
        self._devices = devices
        states = {sip: summed(each.values()) for sip, each in devices.items() if each}
        self._stuck = stuck - {sip for sip, _ in self._heard.values()}
        self._changed(self._operators.looked(states, self._now(), self._call_of, self._stuck))
        for sip, is_so in look.undisturbed.items():
            if sip in self._operators:
                self._disturb(sip, is_so)

    async def _find_stuck(self, session: AMIActions, devices: Devices) -> set[str]:
        """Who is in use by their devices' states, for a minute, and has no channel."""
        long_ago = self._now() - int(STUCK_AFTER * 1000)
        doubted = set()
        for sip, each in devices.items():
            since = self._operators.in_use_since(sip)
            is_long = sip in self._stuck or (since is not None and since <= long_ago)
            in_use = bool(each) and STATUS.get(summed(each.values())) is Status.INUSE
            if in_use and is_long and self._call_of(sip) is None:
                doubted.add(sip)
        if not doubted:
            return doubted
        channels = await session.coreShowChannels()
        owners = {self._endpoints.sip_of_channel(one.get("Channel")) for one in channels}
        return doubted - owners

    def _disturb(self, sip: str, undisturbed: bool) -> None:
        self._changed(self._operators.disturb(sip, undisturbed, self._now(), self._call_of(sip)))

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
