"""A blind transfer by an operator's own key (REFER): where the client goes.

Asterisk has taken the client from the operator and runs our dialplan on the client's channel, which
asks here by FastAGI and waits no longer than 2.5 s. A colleague is rung; a number outside if it may
be dialled by hand; else the operator is rung again, and it is told why. Without an answer of ours
the dialplan rings the operator, too.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ccdaemon.ami.ami_errors import AMIError
from ccdaemon.calls import signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.leg import Leg
from ccdaemon.errors import Code, Refused, no_session
from ccdaemon.fastagi.agi_server import FastAGIProtocol, Script
from ccdaemon.numbers import Numbers
from ccdaemon.pbx.dialplan import AgiScript, Variable
from ccdaemon.switchboard.agi_scripts import begun
from ccdaemon.switchboard.call_actions import CallActions, Target


class ReferScript:
    """Sends clients on whom a phone transfers.

    :param numbers: what a number means.
    :param actions: what all that acts on live calls shares.
    """

    log = Logger()

    def __init__(self, numbers: Numbers, actions: CallActions) -> None:
        self._actions = actions
        self._numbers = numbers

    @property
    def scripts(self) -> dict[str, Script]:
        """The script, by the path that the dialplan asks for."""
        return {AgiScript.REFER: self._refer}

    async def _refer(self, agi: FastAGIProtocol) -> None:
        channel, _, (number, by) = begun(agi, AgiScript.REFER)
        call = self._actions.live.whose(signals.Answered(channel, "", 0))
        leg = _leg(call, by) if call is not None else None
        if call is None or leg is None or leg.sip is None or channel != call.client.channel:
            self.log.warn("{by} refers nobody's client to {number}", by=by, number=number)
            return
        back = Target(leg.sip, None)
        try:
            target = await self._target(number)
            target = await self._actions.allowed_target(target, leg.sip, anchor=call.anchor)
        except Refused as refused:
            why = f"transfer by the phone of {leg.sip} to {number} refused: {refused.message}"
            self.log.warn("call_id={call_id} {why}", call_id=call.call_id, why=why)
            self._actions.live.note(call, why)
            variables = {**self._actions.ringing(call, back), Variable.BACK: ""}
        else:
            variables = {
                **self._actions.ringing(call, target),
                **self._actions.ringing_back(call, leg.sip, target),
            }
            self._leave_trace(call, leg.sip, target)
        for name, value in {**variables, Variable.NOBODY: "", Variable.HAND: ""}.items():
            await agi.setVariable(name, value)
        await agi.setVariable(Variable.ROUTE, "dial")

    async def _target(self, number: str) -> Target:
        """A colleague, if it is the number of one, else whoever has the number outside."""
        asterisk = self._actions.config.asterisk
        if asterisk.operator_pattern.matches(number):
            try:
                if await self._actions.presence.status(number) is not None:
                    return Target(number, None)
            except AMIError as error:
                raise no_session() from error
        read = self._numbers.read(number)
        if read is None or not asterisk.phone_pattern.matches(self._numbers.plain(read)):
            words = "it is nobody's number that asterisk.phone_pattern allows"
            raise Refused(Code.PHONE_NOT_ALLOWED, words, field="phone")
        return Target(None, read)

    def _leave_trace(self, call: Call, sip: str, target: Target) -> Deferred[None]:
        phone = target.phone.form if target.phone is not None else None
        by = f"the phone of {sip}"
        traced = self._actions.trace(
            call, "transfer", by, sip=target.sip, phone=phone, detail="blind"
        )
        # Nobody waits for it: the client's next phone is to ring at once.
        return traced.addErrback(lambda failure: failure.trap(Refused) and None)


def _leg(call: Call, name: str) -> Leg | None:
    """The operator's leg whose channel has a name, the newest first."""
    return next((leg for leg in reversed(call.operators) if leg.channel_name == name), None)
