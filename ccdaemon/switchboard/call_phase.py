"""Where a live call stands that somebody wants to have a hand on: who talks, who is on hold.

The legs tell who is there; that the client is on hold, or that their operator speaks with somebody
else first, is kept on the client's channel in Asterisk (``CC_HAND``), so that it is known as well
after a restart. Says what may be done in which stand; does nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused
from ccdaemon.calls.call import Call
from ccdaemon.calls.leg import Leg
from ccdaemon.errors import Code, Refused
from ccdaemon.pbx.dialplan import Variable

#: What was done to the call, as the client's channel has it.
HOLD, CONSULT = "hold", "consult"

#: Asterisk's words where a channel is gone.
_GONE = ("no such channel", "does not exist")


class Phase(Enum):
    """Where a call stands; the value completes the sentence "the call …"."""

    RINGING = "is ringing: nobody talks yet"
    TALKING = "is a talk"
    HELD = "is on hold"
    CONSULTING = "is on hold: the operator speaks with somebody else first"
    ENDED = "has ended"


@dataclass(frozen=True, slots=True)
class CallPhase:
    """A call as it stands.

    ``operator`` is the leg that talks with the client, or whom they wait for; None if they are
    gone. ``other`` is the leg that the operator speaks with first, rings or is up.
    """

    call: Call
    phase: Phase
    operator: Leg | None = None
    other: Leg | None = None

    @property
    def client(self) -> Leg:
        """The client's leg."""
        return self.call.client

    def need(self, allowed: Collection[Phase], what: str) -> None:
        """Refuse what cannot be done as the call stands.

        :param what: completes the sentence "it cannot be …".
        :raises Refused: with ``wrong_state`` and the state.
        """
        if self.phase not in allowed:
            raise wrong_state(self.call, f"{self.phase.value}; it cannot be {what}")


def wrong_state(call: Call, words: str) -> Refused:
    """Make the refusal; ``words`` complete the sentence "the call …"."""
    return Refused(
        Code.WRONG_STATE,
        f"the call {words}",
        field="call_id",
        call_id=call.call_id,
        state=call.state.value,
    )


def is_gone(error: ActionRefused) -> bool:
    """Whether Asterisk refused because the channel is not there any more."""
    return any(words in error.message.lower() for words in _GONE)


def is_up(leg: Leg) -> bool:
    """Whether the phone was picked up, told or not."""
    return leg.up is not None or leg.answered is not None


async def phase_of(ami: AMIActions, call: Call) -> CallPhase:
    """Say how a call stands just now.

    :raises AMIError: if Asterisk cannot be asked.
    """
    if call.final:
        return CallPhase(call, Phase.ENDED)
    if not call.talked or call.client.channel is None:
        return CallPhase(call, Phase.RINGING)
    try:
        hand = await ami.getVar(call.client.channel, Variable.HAND)
        waiting = await ami.getVar(call.client.channel, Variable.WAITING)
    except ActionRefused as error:
        if is_gone(error):
            return CallPhase(call, Phase.ENDED)
        raise
    there = [leg for leg in call.operators if not leg.over and leg.channel is not None]
    up = [leg for leg in there if is_up(leg)]
    if hand == HOLD:
        return CallPhase(call, Phase.HELD, next(iter(up), None))
    if hand == CONSULT:
        return _consulting(call, there, up, waiting)
    talking = call.talking or next(iter(up), None)
    return CallPhase(call, Phase.TALKING if talking else Phase.RINGING, talking)


def _consulting(call: Call, there: list[Leg], up: list[Leg], waiting: str) -> CallPhase:
    first = next((leg for leg in up if leg.channel_name == waiting), None)
    others = [leg for leg in there if leg is not first]
    if first is None:
        # They have hung up: the other one talks with the client, if they were there.
        taken = next((leg for leg in others if is_up(leg)), None)
        return CallPhase(call, Phase.TALKING if taken else Phase.HELD, taken)
    if others:
        return CallPhase(call, Phase.CONSULTING, first, others[-1])
    return CallPhase(call, Phase.TALKING, first)
