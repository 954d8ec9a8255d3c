"""What Asterisk's dialplan asks by FastAGI: who takes an inbound call, and whether an operator may
dial the number that they dial by hand.

Numbers the call, has it decided, sets channel variables and returns: ring, talk and recording are
the dialplan's (``extensions_ccdaemon.conf``), which does not wait for longer than 2.5 s. What
becomes of the call is followed elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.factory import ANONYMOUS
from ccdaemon.calls.model import Action
from ccdaemon.clocks import WallClock
from ccdaemon.config import Asterisk
from ccdaemon.errors import Refused
from ccdaemon.fastagi.agi_server import AGISettings, FastAGIProtocol, Script
from ccdaemon.limits.dialling import DialLimits
from ccdaemon.limits.trunks import Trunks
from ccdaemon.numbers import Number, Numbers
from ccdaemon.pbx.ami_signals import believed
from ccdaemon.pbx.dialplan import AgiScript, Own, Variable
from ccdaemon.recordings.recordings import day_folder, relative_path
from ccdaemon.routing import Caller, Route
from ccdaemon.store.facts import ActionFact, Fact
from ccdaemon.store.failures import JournalBroken, JournalFull, NoLease
from ccdaemon.tracking.calls import CallOver

T = TypeVar("T")

#: The dialplan gives up after 2.5 s; by then the script has ended in any case.
SETTINGS = AGISettings(
    environment_timeout=2.0, reply_timeout=1.0, script_timeout=2.3, close_timeout=1.0
)

#: What the dialplan is told of a call of which cannot be said what it asks.
REFUSAL = (Variable.ROUTE, "reject")


class FollowsCalls(Protocol):
    """The live calls."""

    def knows(self, channel: str, name: str) -> bool:
        """Whether a channel of this uniqueid and name is a live call's."""
        ...

    async def incoming(self, channel: str, name: str, phone: str, did: str, date: int) -> Call:
        """The call that begins on a channel; opened, unless it is known already."""
        ...

    def pass_over(self, call: Call, sip: str, outcome: Outcome, words: str) -> None:
        """Have told that an operator is not rung, or, with no ``sip``, that nobody may be."""
        ...

    def attach_order(self, call: Call, order_id: str) -> None:
        """Put the call under an order."""
        ...

    def note(self, call: Call, words: str) -> None:
        """Have the words told with the next state."""
        ...

    def hear(self, signal: signals.Signal) -> None:
        """Give a signal to its call."""
        ...


class DecidesRoutes(Protocol):
    """The routing."""

    async def decide(self, caller: Caller) -> Route:
        """Who takes a call, within a bounded time."""
        ...


class AgiScripts:
    """The scripts, by the paths that the dialplan asks for.

    :param asterisk: how to dial, what to record.
    :param live: the live calls.
    :param routing: who takes an inbound call.
    :param append: the journal's: fires when the facts are kept.
    :param refuse_phone: raises ``Refused`` for a number that may not be dialled, counts one that
        may and says for how many seconds; told the operator, None for the API client, and the
        channel.
    :param limits: knows what is dialled whatever limits there are.
    :param trunks: how a number is dialled.
    :param numbers: what a number means.
    :param clock: says what time it is.
    :param is_there: says, within a bounded time, whether Asterisk has a channel of this uniqueid
        and name; true where it cannot be asked.
    :param sip_of: the operator whose channel has a name, None if it is nobody's.
    :param operator_dialled: what is dialled to ring an operator, a string for each of their phones.
    """

    log = Logger()

    def __init__(
        self,
        asterisk: Asterisk,
        live: FollowsCalls,
        routing: DecidesRoutes,
        append: Callable[[Sequence[Fact]], Deferred[list[int]]],
        refuse_phone: Callable[[Number, str | None, str | None, str], int | None],
        limits: DialLimits,
        trunks: Trunks,
        numbers: Numbers,
        clock: WallClock,
        is_there: Callable[[str, str], Awaitable[bool]],
        sip_of: Callable[[str], str | None],
        operator_dialled: Callable[[str], Sequence[str]],
    ) -> None:
        self._is_there = is_there
        self._asterisk = asterisk
        self._live = live
        self._routing = routing
        self._append = append
        self._refuse_phone = refuse_phone
        self._limits = limits
        self._trunks = trunks
        self._numbers = numbers
        self._sip_of = sip_of
        self._operator_dialled = operator_dialled
        self._clock = clock
        self.scripts: Mapping[str, Script] = {
            AgiScript.INCOMING: self._incoming,
            AgiScript.DIALOUT: self._dialout,
        }

    async def _incoming(self, agi: FastAGIProtocol) -> None:
        channel, name, (phone, did, stamp) = begun(agi, AgiScript.INCOMING)
        if not await self._is_channel(agi, channel, name):
            return
        # Asked late, after a standstill: what AMI tells of the call has Asterisk's times, too.
        date = believed(stamp, self._now())
        try:
            call = await _to_its_end(self._live.incoming(channel, name, phone, did, date))
        except (NoLease, JournalFull, JournalBroken) as error:
            self.log.error(
                "an inbound call goes to the fallback, for it cannot be numbered: {error}",
                error=error,
            )
            return
        except CallOver as error:
            self.log.info("nobody takes it: {error}", error=error)
            return
        route = await self._routing.decide(Caller(call.call_id, _shown(call, phone), did))
        for variable, value in self._variables(call, route):
            await agi.setVariable(variable, value)
        self._note_route(call, route)
        # Last: what is there without it, because we were too late, counts for nothing.
        await agi.setVariable(Variable.ROUTE, route.kind)
        self.log.info(
            "call_id={call_id} goes to {kind} {where}: {words}",
            call_id=call.call_id,
            kind=route.kind,
            where=" ".join(filter(None, ["&".join(each) for each in route.operators])),
            words=route.words,
        )

    async def _is_channel(self, agi: FastAGIProtocol, channel: str, name: str) -> bool:
        """Whether who asks is a channel of Asterisk's: of what is none nothing is told."""
        if self._live.knows(channel, name) or await self._is_there(channel, name):
            return True
        if not agi.hung_up:
            agi.counters.strangers += 1
            self.log.warn(
                "FastAGI: Asterisk has no {name} ({channel}): what it asks counts for nothing",
                name=name,
                channel=channel,
            )
        return False

    def _variables(self, call: Call, route: Route) -> Iterator[tuple[str, str]]:
        """What the dialplan is told, by variable; each is within what AGI takes."""
        yield Variable.FOLDER.inherited, self._folder(call)
        yield from self._stereo()
        yield Variable.ANNOUNCE, self._asterisk.announce
        for number, operators in enumerate(route.operators, 1):
            dialled = [each for sip in operators for each in self._operator_dialled(sip)]
            yield Variable.DIAL_OF_ROUND.of_round(number), "&".join(dialled)
            yield Variable.SIP_OF_ROUND.of_round(number), "&".join(operators)
        yield Variable.TIMEOUT, str(route.ring_timeout)
        if route.queue is not None:
            yield Variable.QUEUE, route.queue
        if route.extension is not None:
            yield Variable.EXTENSION, route.extension
        if route.caller_name is not None:
            yield Own.CALLER_NAME, route.caller_name

    def _note_route(self, call: Call, route: Route) -> None:
        if route.caller_name is not None:
            call.caller_name = route.caller_name
        if route.order_id is not None:
            self._live.attach_order(call, route.order_id)
            self._keep_order(call, route.order_id)
        for sip, outcome, words in route.passed:
            self._live.pass_over(call, sip, outcome, words)
        if route.kind == "reject":
            self._live.pass_over(call, "", Outcome.FAILED, f"rejected: {route.words}")
        elif route.words:
            self._live.note(call, route.words)

    def _keep_order(self, call: Call, order_id: str) -> None:
        order = Action(call.call_id, self._now(), "attachOrder", "routing", order_id=order_id)
        # Nobody is kept waiting for it: the states that follow wait behind it for the same disk.
        self._append([ActionFact(order)]).addErrback(self._not_kept, call)

    def _not_kept(self, failure: Failure, call: Call) -> None:
        self.log.failure("call_id={call_id}: its order is not kept", failure, call_id=call.call_id)

    def _folder(self, call: Call) -> str:
        if not self._asterisk.record:
            return ""
        return str(self._asterisk.recordings_dir / day_folder(call.states[0].date))

    def _recording(self, channel: str) -> str:
        try:
            path = relative_path(channel, self._now())
        except ValueError as error:
            self.log.error("a call by hand is not recorded: {error}", error=error)
            return ""
        return str(self._asterisk.recordings_dir / path) if self._asterisk.record else ""

    def _stereo(self) -> Iterator[tuple[str, str]]:
        if self._asterisk.stereo:
            yield Variable.STEREO.inherited, "1"

    async def _dialout(self, agi: FastAGIProtocol) -> None:
        channel, name, (phone, stamp) = begun(agi, AgiScript.DIALOUT)
        if not await self._is_channel(agi, channel, name):
            return
        # AMI tells the same, and may not have yet.
        date = believed(stamp, self._now())
        self._live.hear(signals.DialledOut(channel, channel, date, name, phone))
        is_emergency = self._limits.is_emergency(phone)
        number = self._numbers.read(phone)
        why, longest = None, None
        if not is_emergency:
            why, longest = self._why_not(number, self._sip_of(name), channel)
        if why is not None:
            self.log.warn("{name} may not dial {phone}: {why}", name=name, phone=phone, why=why)
            words = f"rejected: {why}"
            self._live.hear(
                signals.OperatorSkipped(channel, channel, self._now(), "", Outcome.FAILED, words)
            )
            await agi.setVariable(Variable.ROUTE, "reject")
            return
        if is_emergency or number is None:
            dialled = self._trunks.emergency(phone)
        else:
            dialled = self._trunks.dial(number).channel
        asterisk = self._asterisk
        for variable, value in (
            (Variable.DIAL, dialled),
            (Variable.TIMEOUT, str(asterisk.client_timeout)),
            (Variable.CALLERID, asterisk.caller_id),
            (Variable.LONGEST.inherited, str(longest or "")),
            (Variable.RECORDING.inherited, self._recording(channel)),
            *self._stereo(),
            (Variable.ANNOUNCE.inherited, asterisk.announce),
            (Variable.ROUTE, "dial"),
        ):
            await agi.setVariable(variable, value)

    def _why_not(
        self, number: Number | None, sip: str | None, channel: str
    ) -> tuple[str | None, int | None]:
        """Why a number may not be dialled, else None, and for how many seconds they may talk."""
        pattern = self._asterisk.phone_pattern
        if number is None or not pattern.matches(self._numbers.plain(number)):
            return "no number that asterisk.phone_pattern allows", None
        try:
            return None, self._refuse_phone(number, sip, None, channel)
        except Refused as error:
            return str(error), None

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)


def begun(agi: FastAGIProtocol, script: AgiScript) -> tuple[str, str, list[str]]:
    """The channel's uniqueid and name, and the script's arguments; what is missing is empty."""
    count = len(script.arguments)
    environment = agi.environment
    assert environment is not None
    arguments = [*environment.arguments, *([""] * count)][:count]
    return environment.get("agi_uniqueid"), environment.get("agi_channel"), arguments


def _shown(call: Call, sent: str) -> str:
    """A caller's number in its form; what is no number as it was sent."""
    return sent if call.phone == ANONYMOUS else call.phone


async def _to_its_end(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """Wait for what is not to be stopped half-way if the call leaves the script meanwhile."""
    waiting: Deferred[T] = Deferred()
    Deferred.fromCoroutine(work).addCallbacks(waiting.callback, waiting.errback)
    return await waiting
