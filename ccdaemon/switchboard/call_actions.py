"""What every hand on a live call needs: to find out where it stands, to refuse, to ask Asterisk.

One at a time for each call. Knows no use case; those are in ``call_control`` and ``refer``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Protocol

from twisted.internet.defer import Deferred, DeferredLock, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.calls.call import Call
from ccdaemon.calls.leg import Leg
from ccdaemon.calls.model import Action
from ccdaemon.clocks import WallClock
from ccdaemon.config import Config
from ccdaemon.errors import RETRY_AFTER, Code, Refused, no_session, operator_unknown
from ccdaemon.limits.trunks import Trunks
from ccdaemon.numbers import Number
from ccdaemon.operators import Status
from ccdaemon.pbx.dialplan import Context, Variable
from ccdaemon.store.failures import JournalBroken, JournalFull
from ccdaemon.store.records import Chain
from ccdaemon.switchboard.action_limit import check_actions
from ccdaemon.switchboard.call_phase import CallPhase, Phase, is_gone, phase_of, wrong_state
from ccdaemon.switchboard.ring import Ring
from ccdaemon.switchboard.switchboard import UNABLE, shown_name
from ccdaemon.tracking.calls import LiveCalls
from ccdaemon.tracking.presence import Presence

#: Who is rung again where nobody has answered: by the same variables under other names.
BACK = {
    Variable.TO: Variable.BACK,
    Variable.TO_SIP: Variable.BACK_SIP,
    Variable.SHOWN_NAME: Variable.BACK_NAME,
    Variable.SHOWN_NUMBER: Variable.BACK_NUMBER,
}
#: Seconds that an answer waits for the disk to take what was done.
KEPT_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a call is transferred to: an operator or a phone outside, for so many seconds."""

    sip: str | None
    phone: Number | None
    longest: int | None = None


class RefusesPhones(Protocol):
    """The switchboard, as far as it says what may be dialled."""

    async def refuse_colleague(self, phone: Number) -> None:
        """Refuse an operator's number."""
        ...

    def refuse_phone(
        self, phone: Number, sip: str | None, client: str | None, anchor: str
    ) -> int | None:
        """Refuse a number that may not be dialled; count one that may, for so many seconds."""
        ...

    async def ring(self, sip: str, context: Context) -> Ring:
        """How an operator is rung."""
        ...


#: What leads a call's channels to our own dialplan; everything else AMI does by itself.
BY_OUR_DIALPLAN = frozenset(
    {"hold", "unhold", "transfer", "listen", "whisper", "barge", "transferComplete"}
)


class Gone(Exception):
    """A channel is not there any more."""


class CallActions:
    """Acts on live calls.

    :param switchboard: says which numbers may be dialled.
    :param trunks: says how they are dialled.
    :param past: finds a call that may be over; None if there is no such call.
    """

    log = Logger()

    def __init__(
        self,
        config: Config,
        ami: AMIActions,
        live: LiveCalls,
        presence: Presence,
        switchboard: RefusesPhones,
        trunks: Trunks,
        past: Callable[[int], Awaitable[Chain | None]],
        clock: WallClock,
    ) -> None:
        self.config = config
        self.ami = ami
        self.live = live
        self.presence = presence
        self._switchboard = switchboard
        self._trunks = trunks
        self._past = past
        self.clock = clock
        self._locks: dict[int, DeferredLock] = {}

    async def ring(self, sip: str, context: Context) -> Ring:
        """How an operator is rung; the phone goes on in a context.

        :raises Refused: with ``asterisk_unavailable``.
        """
        try:
            return await self._switchboard.ring(sip, context)
        except AMIError as error:
            raise no_session() from error

    @asynccontextmanager
    async def one_at_a_time(self, call_id: int, action: str) -> Any:
        """The live call, for nobody else meanwhile.

        :param action: what is to be done to it.
        :raises Refused: with ``call_unknown``, ``wrong_state`` if it is over, or
            ``too_many_actions``.
        """
        lock = self._locks.setdefault(call_id, DeferredLock())
        await lock.acquire()
        try:
            call = self.live.call(call_id)
            if call is None or call.final:
                await self._refuse_past(call_id)
            check_actions(call_id, action, call.actions)
            if call.observed and action in BY_OUR_DIALPLAN:
                await self._refuse_without_dialplan(call)
            try:
                yield call
            except Gone as error:
                assert call is not None
                raise wrong_state(call, "has changed: one of its channels is gone") from error
        finally:
            lock.release()
            if not lock.locked and not lock.waiting:
                self._locks.pop(call_id, None)

    async def _refuse_without_dialplan(self, call: Call) -> None:
        """Refuse what leads channels to our dialplan, of which the PBX may have no line."""
        try:
            there = await self.ami.getVar(None, f"DIALPLAN_EXISTS({Context.HOLD},s,1)")
        except AMIError as error:
            raise no_session() from error
        if there != "1":
            raise Refused(
                Code.ASTERISK_REFUSED,
                "the PBX makes this call by its own dialplan, and has not included ccdaemon's"
                " extensions_ccdaemon.conf, which this needs",
                call_id=call.call_id,
            )

    async def _refuse_past(self, call_id: int) -> NoReturn:
        past = await self._past(call_id)
        if past is None:
            raise Refused(Code.CALL_UNKNOWN, "there is no such call", field="call_id")
        raise Refused(
            Code.WRONG_STATE,
            f"the call {Phase.ENDED.value}",
            field="call_id",
            call_id=call_id,
            state=past.call.state.value,
        )

    async def phase(self, call: Call, allowed: Collection[Phase], what: str) -> CallPhase:
        try:
            phase = await phase_of(self.ami, call)
        except AMIError as error:
            raise no_session() from error
        phase.need(allowed, what)
        return phase

    async def with_operator(
        self, call: Call, allowed: Collection[Phase], what: str
    ) -> tuple[CallPhase, Leg]:
        phase = await self.phase(call, allowed, what)
        assert phase.operator is not None
        return phase, phase.operator

    async def allowed_target(
        self,
        target: Target,
        sip: str | None = None,
        client: str | None = None,
        anchor: str = "",
    ) -> Target:
        """Refuse a phone that may not be dialled, an operator who cannot take a call.

        :param sip, client, anchor: who transfers, who asks, and what call, where it may be a phone.
        :returns: the target, for as long as they may talk.
        """
        if target.phone is not None:
            await self._switchboard.refuse_colleague(target.phone)
            longest = self._switchboard.refuse_phone(target.phone, sip, client, anchor)
            return replace(target, longest=longest)
        if target.sip is None:
            raise Refused(Code.OPERATOR_OFFLINE, "there is no operator to ring", field="sip")
        try:
            status = await self.presence.status(target.sip)
        except AMIError as error:
            raise no_session() from error
        if status is None:
            raise operator_unknown(target.sip)
        if self.live.of_operator(target.sip) is not None:
            status = Status.INUSE
        if status in UNABLE:
            _, code, words = UNABLE[status]
            raise Refused(code, words.format(target.sip), field="sip")
        return target

    def ringing(self, call: Call, target: Target) -> dict[str, str]:
        """The variables that tell the dialplan whom to ring, and what they are shown."""
        asterisk = self.config.asterisk
        if target.sip is not None:
            return {
                Variable.TO: "&".join(self.presence.dialled(target.sip)),
                Variable.TO_SIP: target.sip,
                Variable.TO_PHONE: "",
                Variable.TO_TIMEOUT: str(asterisk.operator_timeout),
                Variable.SHOWN_NAME: shown_name(self.config, call),
                Variable.SHOWN_NUMBER: call.phone,
            }
        assert target.phone is not None
        return {
            Variable.TO: self._trunks.dial(target.phone).channel,
            Variable.TO_SIP: "",
            Variable.TO_PHONE: target.phone.form,
            Variable.TO_TIMEOUT: str(asterisk.client_timeout),
            Variable.LONGEST.inherited: str(target.longest or ""),
            Variable.SHOWN_NAME: "",
            Variable.SHOWN_NUMBER: asterisk.caller_id,
        }

    def ringing_back(self, call: Call, sip: str | None, target: Target) -> dict[str, str]:
        """The variables that tell the dialplan to ring ``sip`` if the target is not had."""
        if sip is None or sip == target.sip:
            return {Variable.BACK: ""}
        again = self.ringing(call, Target(sip, None))
        return {back: again[to] for to, back in BACK.items()}

    async def set_variables(self, leg: Leg, variables: Mapping[str, str]) -> None:
        channel = channel_of(leg)
        await self.ask(
            *(self.ami.setVar(channel, name, value) for name, value in variables.items())
        )

    async def redirect(self, leg: Leg, context: str) -> None:
        await self.ask(self.ami.redirect(channel_of(leg), context, "s", 1))

    async def ask(self, *asked: Deferred[Any]) -> Sequence[Any]:
        """Wait for actions.

        :raises Gone: if a channel is not there any more.
        :raises Refused: with ``asterisk_refused`` and its words, or ``asterisk_unavailable``.
        """
        try:
            answers: Sequence[Any] = await gatherResults(asked, consumeErrors=True)
        except FirstError as first:
            error = first.subFailure.value
            if isinstance(error, ActionRefused):
                if is_gone(error):
                    raise Gone(error.message) from error
                raise Refused(
                    Code.ASTERISK_REFUSED, f"Asterisk refused it: {error.message}"
                ) from error
            if isinstance(error, AMIError):
                raise no_session() from error
            raise
        return answers

    def trace(
        self, call: Call, method: str, client: str, **concerned: str | None
    ) -> Deferred[None]:
        """Begin to leave a trace of what is being done; it is waited for no longer than bounded.

        A disk that takes nothing holds up nobody: what waits for it is kept once it is back.

        :returns: fails with ``Refused``, ``not_ready``, if it will not be kept at all.
        """
        date = int(self.clock.seconds() * 1000)
        action = Action(call.call_id, date, method, client, **concerned)
        waited: Deferred[None] = Deferred()
        timer = self.clock.callLater(KEPT_WITHIN, waited.callback, None)

        def settled(result: object) -> None:
            failure = result if isinstance(result, Failure) else None
            if failure is not None:
                self.log.error(
                    "call {call_id}: {method} by {client} was done and is not kept: {error}",
                    call_id=call.call_id,
                    method=method,
                    client=client,
                    error=failure.value,
                )
            if not timer.active():
                return
            timer.cancel()
            if failure is None:
                waited.callback(None)
            elif failure.check(JournalFull, JournalBroken):
                waited.errback(_not_kept(call, method, str(failure.value)))
            else:
                waited.errback(failure)

        self.live.done(action).addBoth(settled)
        return waited


def _not_kept(call: Call, method: str, words: str) -> Refused:
    return Refused(
        Code.NOT_READY,
        f"{method} was done, but its trace cannot be kept: {words}",
        call_id=call.call_id,
        retry_after=RETRY_AFTER,
    )


def channel_of(leg: Leg) -> str:
    """The uniqueid of a leg's channel."""
    assert leg.channel is not None
    return leg.channel
