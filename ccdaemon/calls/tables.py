"""The tables of the call machine: what may follow what, and what it is called.

Data only, to be read and tested as such.
"""

from __future__ import annotations

from ccdaemon.calls import signals
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Direction, Role, State

OPERATOR, CLIENT = Role.OPERATOR, Role.CLIENT

#: The rungs a call climbs, lowest first. A signal lifts the call to a rung; rungs that were
#: skipped because nobody heard of them are told on the way.
LADDER: dict[Direction, tuple[State, ...]] = {
    Direction.OUTBOUND: (
        State.CALL,
        State.OPERATOR_CALLTO,
        State.OPERATOR_PICKUP,
        State.CLIENT_CALLTO,
        State.CLIENT_PICKUP,
    ),
}

#: Whose leg a state speaks of.
LEG_OF: dict[State, Role | None] = {
    State.CALL: None,
    State.OPERATOR_CALLTO: OPERATOR,
    State.OPERATOR_PICKUP: OPERATOR,
    State.OPERATOR_NOANSWER: OPERATOR,
    State.OPERATOR_BUSY: OPERATOR,
    State.OPERATOR_OFFLINE: OPERATOR,
    State.CLIENT_CALLTO: CLIENT,
    State.CLIENT_PICKUP: CLIENT,
    State.CLIENT_NOANSWER: CLIENT,
    State.CLIENT_BUSY: CLIENT,
    State.CLIENT_CANCEL: CLIENT,
    State.ERROR: None,
    State.FINISH: None,
}

#: To which rung a signal about a leg lifts the call.
ASKED: dict[tuple[Direction, Role], State] = {
    (Direction.OUTBOUND, OPERATOR): State.OPERATOR_CALLTO,
    (Direction.OUTBOUND, CLIENT): State.CLIENT_CALLTO,
}
ANSWERED: dict[tuple[Direction, Role], State] = {
    (Direction.OUTBOUND, OPERATOR): State.OPERATOR_PICKUP,
    (Direction.OUTBOUND, CLIENT): State.CLIENT_PICKUP,
}

#: The rung on which both talk.
TALK: dict[Direction, State] = {Direction.OUTBOUND: State.CLIENT_PICKUP}

#: Originate's reason for a failure, in Dial's words.
ORIGINATE_STATUS: dict[int, str] = {signals.RANG_OUT: "NOANSWER"}

#: How the names of channels begin whose every answer is known.
SIP_CHANNELS = ("PJSIP/", "SIP/")

#: How a call ends: from the rung it stood on and the outcome of the leg that was being asked.
VERDICT: dict[tuple[Direction, State], dict[Outcome, State]] = {
    **dict.fromkeys(
        [(Direction.OUTBOUND, State.CALL), (Direction.OUTBOUND, State.OPERATOR_CALLTO)],
        {
            Outcome.BUSY: State.OPERATOR_BUSY,
            Outcome.NOANSWER: State.OPERATOR_NOANSWER,
            Outcome.OFFLINE: State.OPERATOR_OFFLINE,
            # Nobody but Asterisk's own side can end a leg normally before it is answered.
            Outcome.CANCELLED: State.OPERATOR_NOANSWER,
            Outcome.FAILED: State.ERROR,
        },
    ),
    (Direction.OUTBOUND, State.OPERATOR_PICKUP): {
        Outcome.BUSY: State.OPERATOR_BUSY,
        Outcome.NOANSWER: State.OPERATOR_BUSY,
        Outcome.OFFLINE: State.ERROR,
        Outcome.CANCELLED: State.OPERATOR_BUSY,
        Outcome.FAILED: State.ERROR,
    },
    (Direction.OUTBOUND, State.CLIENT_CALLTO): {
        Outcome.BUSY: State.CLIENT_BUSY,
        Outcome.NOANSWER: State.CLIENT_NOANSWER,
        Outcome.OFFLINE: State.ERROR,
        Outcome.CANCELLED: State.OPERATOR_BUSY,
        Outcome.FAILED: State.ERROR,
    },
    (Direction.OUTBOUND, State.CLIENT_PICKUP): dict.fromkeys(Outcome, State.FINISH),
}
