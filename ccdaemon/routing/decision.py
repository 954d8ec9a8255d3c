"""Who takes an inbound call: the rules, one after the other.

Asks the CRM, the history and the operators' states, each within a time limit; rings nobody. The
blacklist and the hours are pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.calls.causes import Outcome
from ccdaemon.clocks import WallClock
from ccdaemon.config import Asterisk
from ccdaemon.config.hours import DAY, Span
from ccdaemon.config.routing import FALLBACK, REJECT, Rounds, RoutingSettings
from ccdaemon.numbers import NO_HOME, Numbers
from ccdaemon.operators import Status
from ccdaemon.routing.counters import Quiet, RoutingCounters
from ccdaemon.routing.crm_response import Advice
from ccdaemon.routing.route import Caller, Route, SkippedOperator

#: How the blacklist names those who hide their number, and how trunks do.
ANONYMOUS = "anonymous"
_HIDDEN = frozenset({"", ANONYMOUS, "unknown", "restricted", "unavailable", "private"})


class Blacklist:
    """Numbers, and beginnings of numbers (``7900*``), each in its form.

    :param numbers: says what a number means.
    """

    def __init__(self, entries: Iterable[str], numbers: Numbers = NO_HOME) -> None:
        self._numbers = numbers
        plain = [entry.lower() for entry in entries]
        self._exact = frozenset(self._form(entry) for entry in plain if not entry.endswith("*"))
        self._prefixes = tuple(
            numbers.beginning(entry[:-1]) for entry in plain if entry.endswith("*")
        )

    def _form(self, phone: str) -> str:
        number = phone.strip().lower()
        return self._numbers.form(number) or number.removeprefix("+")

    def entry_of(self, phone: str) -> str | None:
        """Give the entry that a caller falls under; None if none."""
        number = self._form(phone)
        if number in _HIDDEN:
            number = ANONYMOUS
        if number in self._exact:
            return number
        return next((f"{prefix}*" for prefix in self._prefixes if number.startswith(prefix)), None)


_WHOLE_DAY = (Span(0, DAY),)


def why_closed(routing: RoutingSettings, now: float) -> str | None:
    """Say why it is closed; None while it is open.

    The wall's clock counts: of an hour that it shows twice both are open, and a span that begins
    in an hour that it leaves out begins after that hour. A span over midnight is of the day on
    which it begins, also where the next day is a holiday.

    :param now: seconds since 1970.
    """
    if routing.timezone is None:
        return None
    local = datetime.fromtimestamp(now, routing.timezone)
    today, minute = local.date(), local.hour * 60 + local.minute
    yesterday = today - timedelta(days=1)
    if _is_open(routing, today, minute) or _is_open(routing, yesterday, minute + DAY):
        return None
    if _is_holiday(routing, today):
        return f"closed on {today}, a holiday"
    return f"closed on {local:%A} at {local:%H:%M}, {routing.timezone.key}"


def _is_open(routing: RoutingSettings, day: date, minute: int) -> bool:
    return any(span.begin <= minute < span.end for span in _spans(routing, day))


def _spans(routing: RoutingSettings, day: date) -> tuple[Span, ...]:
    if _is_holiday(routing, day):
        return ()
    return _WHOLE_DAY if routing.hours is None else routing.hours.of(day.weekday())


def _is_holiday(routing: RoutingSettings, day: date) -> bool:
    return any(
        (holiday.month, holiday.day) == (day.month, day.day) and holiday.year in (None, day.year)
        for holiday in routing.holidays
    )


T = TypeVar("T")

#: Seconds for the history to say who spoke last with a phone.
HISTORY_WITHIN = 0.3
#: Seconds for Asterisk to say what those operators do of whom nothing is known yet.
STATUS_WITHIN = 0.15

#: Seconds within which the phone of an operator rings who was chosen for a call.
RESERVED = 1.0

#: Why an operator is not rung; words follow their number.
UNABLE: dict[Status | None, tuple[Outcome, str]] = {
    Status.OFFLINE: (Outcome.OFFLINE, "is not registered"),
    Status.INUSE: (Outcome.BUSY, "is on the phone"),
    Status.PAUSED: (Outcome.BUSY, "is paused"),
    None: (Outcome.OFFLINE, "is unknown to Asterisk"),
}


class AsksCrm(Protocol):
    """The CRM."""

    async def ask(self, caller: Caller) -> Advice | None:
        """What it says of a call, within its time limit; None if nothing that counts."""
        ...


class KnowsOperators(Protocol):
    """The operators, live."""

    @property
    def stale(self) -> bool:
        """Whether Asterisk cannot be asked just now."""
        ...

    async def status(self, sip: str) -> Status | None:
        """What an operator does; None if Asterisk has no such endpoint."""
        ...


class Routing:
    """Decides who takes a call.

    :param settings: the configuration's ``[routing]``.
    :param asterisk: what operators' numbers and phones look like.
    :param crm: None if no CRM is asked.
    :param last_operator: the operator who last spoke with a phone; None if nobody did.
    :param call_of: the call that an operator is on or being rung for.
    :param wall: says whether it is open.
    :param numbers: says what a number means.
    """

    log = Logger()

    def __init__(
        self,
        settings: RoutingSettings,
        asterisk: Asterisk,
        crm: AsksCrm | None,
        operators: KnowsOperators,
        last_operator: Callable[[str], Awaitable[str | None]],
        call_of: Callable[[str], int | None],
        clock: IReactorTime,
        wall: WallClock,
        counters: RoutingCounters,
        numbers: Numbers = NO_HOME,
    ) -> None:
        self._settings = settings
        self._asterisk = asterisk
        self._crm = crm
        self._operators = operators
        self._last_operator = last_operator
        self._call_of = call_of
        self._clock = clock
        self._wall = wall
        self._numbers = numbers
        self._blacklist = Blacklist(settings.blacklist, numbers)
        self._quiet = Quiet()
        self._reserved: dict[str, float] = {}
        self.counters = counters

    async def decide(self, caller: Caller) -> Route:
        """Who takes a call: within the CRM's ``timeout`` and 0.6 s. Never raises."""
        try:
            rule, route = await self._decide(caller)
        except Exception:
            # Nothing that goes wrong here may cost a client their call.
            self.log.failure("call_id={call_id}: could not be routed", call_id=caller.call_id)
            rule, route = "none", Route("fallback", words="the routing failed; see the log")
        self.counters.routes[rule, route.kind] += 1
        self.log.info(
            "call_id={call_id} {kind} by {rule}: {words}",
            call_id=caller.call_id,
            kind=route.kind,
            rule=rule,
            words=route.words,
        )
        return route

    async def _decide(self, caller: Caller) -> tuple[str, Route]:
        settings = self._settings
        if entry := self._blacklist.entry_of(caller.phone):
            return "blacklist", _away(settings.blacklisted, f"the blacklist has {entry}")
        if words := why_closed(settings, self._wall.seconds()):
            return "hours", _away(settings.closed, words)
        advice = (await self._crm.ask(caller) if self._crm else None) or Advice()
        if advice.reject is not None:
            rule, route = "crm", Route("reject", words=advice.reject)
        elif advice.redirect is not None:
            extension = advice.redirect
            words = f"the CRM sends it to {extension}"
            rule, route = "crm", Route("redirect", extension=extension, words=words)
        elif advice.operators:
            rule, route = "crm", await self._by_crm(advice.operators)
        else:
            rule, route = await self._by_ourselves(caller)
        return rule, replace(
            route,
            operators=self._reserve(route.operators),
            ring_timeout=advice.ring_timeout or settings.ring_timeout,
            order_id=advice.order_id,
            caller_name=advice.caller_name,
        )

    def _reserve(self, rounds: Rounds) -> Rounds:
        """Leave out who was chosen for another call a moment ago, unless nobody else is left.

        Their phone does not ring yet, so nothing else tells that they are taken.
        """
        now = self._clock.seconds()
        taken = {sip: at for sip, at in self._reserved.items() if 0 <= now - at < RESERVED}
        free = (tuple(sip for sip in each if sip not in taken) for each in rounds)
        rounds = tuple(filter(None, free)) or rounds
        self._reserved = taken | dict.fromkeys(rounds[0] if rounds else (), now)
        return rounds

    async def _by_crm(self, named: Rounds) -> Route:
        rounds, passed = await self._able(named)
        return Route("dial" if rounds else "fallback", rounds, passed, words="named by the CRM")

    async def _by_ourselves(self, caller: Caller) -> tuple[str, Route]:
        settings = self._settings
        rule = "queue" if settings.queue else "list" if settings.operators else "none"
        words = "in the configuration" if rule != "none" else "nobody is named for it"
        rounds, passed = await self._able(settings.operators)
        if last := await self._last(caller.phone):
            first, _ = await self._able(((last,),))
            if first:
                rest = (tuple(sip for sip in each if sip != last) for each in rounds)
                rounds = (*first, *filter(None, rest))
                rule, words = "sticky", f"{last} spoke last with this phone"
        if rounds:
            return rule, Route("dial", rounds, queue=settings.queue, words=words)
        if settings.queue:
            return rule, Route("queue", queue=settings.queue, words=words)
        # Nobody is left to be asked: whom it would have been in the end is told.
        return rule, Route("fallback", passed=passed[-1:], words=words)

    async def _last(self, phone: str) -> str | None:
        number = self._numbers.form(phone) or phone.strip().removeprefix("+")
        if not self._settings.sticky or not self._asterisk.phone_pattern.matches(number):
            return None
        try:
            last = await self._within(HISTORY_WITHIN, self._last_operator(number))
        except Exception as error:
            self.counters.sticky["failed"] += 1
            self._complain("sticky", f"the history cannot be asked: {error!r}")
            return None
        # They may be no operator any more.
        if last is not None and not self._asterisk.operator_pattern.matches(last):
            last = None
        self.counters.sticky["found" if last else "nobody"] += 1
        return last

    async def _able(self, named: Rounds) -> tuple[Rounds, tuple[SkippedOperator, ...]]:
        """Part those who can take a call from those who cannot."""
        passed: list[SkippedOperator] = []
        rounds: list[tuple[str, ...]] = []
        known: dict[str, Status | None] = {}
        until = self._clock.seconds() + STATUS_WITHIN
        for together in named:
            able = []
            for sip in together:
                if sip not in known:
                    known[sip] = await self._status(sip, until)
                if known[sip] not in UNABLE:
                    able.append(sip)
                elif all(sip != other.sip for other in passed):
                    outcome, words = UNABLE[known[sip]]
                    passed.append(SkippedOperator(sip, outcome, f"operator {sip} {words}"))
            if able:
                rounds.append(tuple(able))
        return tuple(rounds), tuple(passed)

    async def _status(self, sip: str, until: float) -> Status | None:
        # While nobody can tell, ringing them is the way to find out.
        if self._operators.stale:
            return Status.UNKNOWN
        if self._call_of(sip) is not None:
            return Status.INUSE
        try:
            # No longer than that, wherever the clock is put meanwhile.
            left = min(STATUS_WITHIN, until - self._clock.seconds())
            return await self._within(max(0.0, left), self._operators.status(sip))
        except Exception as error:
            self._complain("status", f"what operator {sip} does cannot be asked: {error!r}")
            return Status.UNKNOWN

    def _within(self, seconds: float, asked: Awaitable[T]) -> Deferred[T]:
        async def answered() -> T:
            return await asked

        return Deferred.fromCoroutine(answered()).addTimeout(seconds, self._clock)

    def _complain(self, kind: str, words: str) -> None:
        if self._quiet.may_say(kind, self._clock.seconds()):
            self.log.warn("routing: {words}", words=words)


def _away(target: str, words: str) -> Route:
    """What is done with a call that is not put through."""
    if target == FALLBACK:
        return Route("fallback", words=words)
    if target == REJECT:
        return Route("reject", words=words)
    return Route("redirect", extension=target, words=words)
