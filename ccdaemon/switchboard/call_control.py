"""A hand on a live call: hang up, hold, transfer, mute, listen in, stop recording for a while.

Each use case finds out where the call stands, refuses what cannot be done there, has Asterisk do
it and leaves a trace in the call's history. One at a time for each call. Whatever is begun here
Asterisk's dialplan ends, also without the daemon. It knows no HTTP.
"""

from __future__ import annotations

from enum import Enum

from twisted.logger import Logger

from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.calls.call import Call
from ccdaemon.calls.leg import Leg
from ccdaemon.errors import Code, Refused, no_session
from ccdaemon.numbers import Number
from ccdaemon.pbx.dialplan import GOES_NOWHERE, Context, Own, Variable
from ccdaemon.switchboard.call_actions import CallActions, Gone, Target, channel_of
from ccdaemon.switchboard.call_phase import (
    CONSULT,
    HOLD,
    CallPhase,
    Phase,
    is_up,
    wrong_state,
)

#: ChanSpy's options: quiet, ending with the operator's channel; and who hears the supervisor.
SPYING = {"listen": "qES", "whisper": "qESw", "barge": "qESB"}
#: How often and how many seconds apart a channel is asked to hang up that is just being born.
HANG_UP_TRIES, HANG_UP_AGAIN = 10, 0.3

TALK = (Phase.TALKING,)
THERE = (Phase.TALKING, Phase.HELD, Phase.CONSULTING)


class Mode(str, Enum):
    """How a call is transferred."""

    BLIND = "blind"
    ATTENDED = "attended"


class Party(str, Enum):
    """Who is made silent."""

    OPERATOR = "operator"
    CLIENT = "client"


class CallControl:
    """What can be done with a live call.

    :param actions: what all that acts on live calls shares.
    """

    log = Logger()

    def __init__(self, actions: CallActions) -> None:
        self._actions = actions

    # Ending

    async def hangup(self, call_id: int, client: str) -> None:
        """End a call in any phase."""
        async with self._actions.one_at_a_time(call_id, "hangup") as call:
            self._actions.live.cancelled(call)
            # Before the end is told, which is to say so; a disk that takes nothing holds up no end.
            traced = self._actions.trace(call, "hangup", client)
            try:
                await self._hang_up_until_gone(call)
            finally:
                await traced

    async def _hang_up_until_gone(self, call: Call) -> None:
        for _ in range(HANG_UP_TRIES):
            if await self._hang_up_all(call) or call.final:
                return
            # Asked for, and not born yet.
            await self._actions.clock.sleep(HANG_UP_AGAIN)
        raise Refused(
            Code.ASTERISK_REFUSED, "Asterisk has no channel of this call", call_id=call.call_id
        )

    async def _hang_up_all(self, call: Call) -> bool:
        done = [await self._hang_up(channel) for channel in sorted(call.channels)]
        return any(done)

    async def _hang_up(self, channel: str) -> bool:
        """Hang up a channel; say whether it was there."""
        try:
            await self._actions.ask(self._actions.ami.hangup(channel))
        except Gone:
            return False
        return True

    # Holding

    async def hold(self, call_id: int, client: str) -> None:
        """Let the client hear music, and the operator nothing."""
        async with self._actions.one_at_a_time(call_id, "hold") as call:
            phase, operator = await self._actions.with_operator(call, TALK, "put on hold")
            await self._keep_waiting(phase, operator, HOLD, Context.WAIT)
            await self._actions.trace(call, "hold", client, sip=operator.sip)

    async def unhold(self, call_id: int, client: str) -> None:
        """Bring client and operator together again; an operator who has gone is rung anew."""
        async with self._actions.one_at_a_time(call_id, "unhold") as call:
            phase = await self._actions.phase(call, (Phase.HELD,), "taken off hold")
            if phase.operator is not None:
                await self._actions.set_variables(phase.client, {Variable.HAND: ""})
                await self._actions.set_variables(
                    phase.operator, {Variable.PEER: phase.client.channel_name}
                )
                await self._actions.redirect(phase.operator, Context.BRIDGE)
            else:
                target = Target(call.sip, None)
                await self._actions.allowed_target(target)
                await self._actions.set_variables(
                    phase.client,
                    {
                        **self._actions.ringing(call, target),
                        Variable.HAND: "",
                        Variable.BACK: "",
                        Variable.NOBODY: "hold",
                    },
                )
                await self._actions.redirect(phase.client, Context.TRANSFER)
            await self._actions.trace(call, "unhold", client, sip=call.sip)

    async def _keep_waiting(self, phase: CallPhase, operator: Leg, hand: str, context: str) -> None:
        """Put the client on hold and send their operator to ``context``."""
        await self._actions.set_variables(
            phase.client, {Variable.HAND: hand, Variable.WAITING: operator.channel_name}
        )
        await self._actions.ask(
            self._actions.ami.redirect(
                channel_of(phase.client),
                Context.HOLD,
                "s",
                1,
                extraChannel=channel_of(operator),
                extraContext=context,
                extraExten="s",
                extraPriority=1,
            )
        )

    # Transferring

    async def transfer(
        self, call_id: int, sip: str | None, phone: Number | None, mode: Mode, client: str
    ) -> None:
        """Send the client to operator ``sip`` or to ``phone``.

        Attended: their operator speaks with that one first.
        """
        target = Target(sip, phone)
        attended = mode is Mode.ATTENDED
        async with self._actions.one_at_a_time(call_id, "transfer") as call:
            allowed = TALK if attended else (Phase.TALKING, Phase.HELD)
            phase = await self._actions.phase(call, allowed, "transferred")
            target = await self._actions.allowed_target(target, call.sip, client, call.anchor)
            if attended:
                await self._consult(phase, target)
            else:
                await self._send_on(phase, target)
            await self._actions.trace(
                call,
                "transfer",
                client,
                sip=target.sip,
                phone=target.phone.form if target.phone else None,
                detail=mode.value,
            )

    async def _send_on(self, phase: CallPhase, target: Target) -> None:
        call, operator = phase.call, phase.operator
        back = {**self._actions.ringing_back(call, call.sip, target), Variable.NOBODY: ""}
        await self._actions.set_variables(
            phase.client, {**back, **self._actions.ringing(call, target), Variable.HAND: ""}
        )
        await self._actions.redirect(phase.client, Context.TRANSFER)
        if phase.phase is Phase.HELD and operator is not None:
            await self._hang_up(channel_of(operator))

    async def _consult(self, phase: CallPhase, target: Target) -> None:
        operator = phase.operator
        assert operator is not None
        peer = {Variable.PEER.inherited: phase.client.channel_name}
        await self._actions.set_variables(
            operator, {**self._actions.ringing(phase.call, target), **peer}
        )
        await self._keep_waiting(phase, operator, CONSULT, Context.CONSULT)

    async def transfer_complete(self, call_id: int, client: str) -> None:
        """Let the client talk with whom their operator has spoken to first."""
        async with self._actions.one_at_a_time(call_id, "transferComplete") as call:
            phase, other = await self._consulted(call)
            if not is_up(other) or phase.operator is None:
                raise wrong_state(call, "is on hold: the phone asked for still rings")
            await self._hang_up(channel_of(phase.operator))
            await self._actions.trace(
                call, "transferComplete", client, sip=other.sip, phone=other.phone
            )

    async def transfer_cancel(self, call_id: int, client: str) -> None:
        """Bring the operator back to the client."""
        async with self._actions.one_at_a_time(call_id, "transferCancel") as call:
            _, other = await self._consulted(call)
            await self._hang_up(channel_of(other))
            await self._actions.trace(
                call, "transferCancel", client, sip=other.sip, phone=other.phone
            )

    async def _consulted(self, call: Call) -> tuple[CallPhase, Leg]:
        what = "completed or cancelled: no attended transfer is under way"
        phase = await self._actions.phase(call, (Phase.CONSULTING,), what)
        assert phase.other is not None
        return phase, phase.other

    # Sound

    async def mute(self, call_id: int, who: Party, *, on: bool, client: str) -> None:
        """Let what ``who`` (operator, client) says be heard by nobody, or be heard again."""
        method = "mute" if on else "unmute"
        async with self._actions.one_at_a_time(call_id, method) as call:
            phase, operator = await self._actions.with_operator(call, TALK, "muted")
            leg = operator if who is Party.OPERATOR else phase.client
            try:
                await self._actions.set_variables(leg, {Own.MUTE: "on" if on else "off"})
            except Refused as refused:
                if refused.code is Code.ASTERISK_REFUSED:
                    words = f"{refused.message}; is its module res_mutestream loaded?"
                    raise Refused(refused.code, words, call_id=call_id) from refused
                raise
            await self._actions.trace(call, method, client, sip=operator.sip, detail=who.value)

    async def spy(self, call_id: int, sip: str, method: str, client: str) -> None:
        """Ring a supervisor, who listens; by ``method`` the operator or both hear them."""
        async with self._actions.one_at_a_time(call_id, method) as call:
            _, operator = await self._actions.with_operator(call, TALK, "listened to")
            await self._actions.allowed_target(Target(sip, None))
            ring = await self._actions.ring(sip, Context.SPY)
            await self._actions.ask(
                self._actions.ami.originate(
                    channel=ring.channel,
                    context=ring.context,
                    exten=ring.exten,
                    priority=1,
                    timeout=self._actions.config.asterisk.operator_timeout,
                    callerid=f'"{method} {operator.sip or ""}" <{call.phone}>',
                    variable={
                        **GOES_NOWHERE,
                        ring.own(Variable.SPY): operator.channel_name,
                        ring.own(Variable.SPY_HOW): SPYING[method],
                        **ring.variables,
                    },
                )
            )
            await self._actions.trace(call, method, client, sip=sip)

    async def pause_recording(self, call_id: int, *, on: bool, client: str) -> None:
        """Have silence recorded from now on, or what is said again."""
        method = "recordPause" if on else "recordResume"
        async with self._actions.one_at_a_time(call_id, method) as call:
            phase = await self._actions.phase(call, THERE, "recorded otherwise")
            legs = [phase.client, *(leg for leg in call.operators if not leg.over)]
            channels = {leg.channel: None for leg in legs if leg.channel is not None}
            # The PBX may record where nobody's phone is: half of a Local channel.
            channels |= {one: None for one, _ in call.recordings if one in call.channels}
            done = [await self._pause_on(channel, on) for channel in channels]
            if not any(done) and not await self._is_recorded_later(phase):
                raise wrong_state(call, "is not recorded")
            # Whoever is rung from now on inherits it from whose channel rings them.
            for leg in legs:
                if leg.channel is not None:
                    await self._actions.set_variables(
                        leg, {Variable.PAUSED.inherited: "1" if on else ""}
                    )
            await self._actions.trace(call, method, client)

    async def _is_recorded_later(self, phase: CallPhase) -> bool:
        """Whether the client waits for nobody who is there, and whoever comes is recorded."""
        if phase.operator is not None:
            return False
        try:
            return bool(await self._actions.ami.getVar(channel_of(phase.client), Variable.FOLDER))
        except ActionRefused as error:
            raise Gone(error.message) from error
        except AMIError as error:
            raise no_session() from error

    async def _pause_on(self, channel: str, on: bool) -> bool:
        try:
            await self._actions.ami.mixMonitorMute(channel, on)
        except ActionRefused as error:
            # Its words are the same whether the channel is gone or has no MixMonitor.
            self.log.debug("not recorded: {error}", error=error)
            return False
        except AMIError as error:
            raise no_session() from error
        return True
