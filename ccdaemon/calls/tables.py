"""The tables of the call machine: what may follow what, and what it is called.

Data only, to be read and tested as such.
"""

from __future__ import annotations

from ccdaemon.calls import signals
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import Direction, Role, State

OPERATOR, CLIENT = Role.OPERATOR, Role.CLIENT

#: The rungs an outbound call climbs, lowest first. A signal lifts the call to a rung; rungs that
#: were skipped because nobody heard of them are told on the way.
STAGES: dict[Direction, tuple[State, ...]] = {
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

#: The rungs that an operator's leg of its own climbs: one of an inbound call, or of a transfer.
LEG_STAGES = (State.OPERATOR_CALLTO, State.OPERATOR_PICKUP)

#: What says when a leg was called, and when it was picked up.
CALLED = frozenset({State.OPERATOR_CALLTO, State.CLIENT_CALLTO})
PICKED_UP = frozenset({State.OPERATOR_PICKUP, State.CLIENT_PICKUP})

#: The rung on which both talk.
TALK: dict[Direction, State] = {
    Direction.OUTBOUND: State.CLIENT_PICKUP,
    Direction.INBOUND: State.OPERATOR_PICKUP,
}

#: From when to when the one who was there first waits for the other.
WAIT: dict[Direction, tuple[State, State]] = {
    Direction.OUTBOUND: (State.OPERATOR_PICKUP, State.CLIENT_PICKUP),
    Direction.INBOUND: (State.CALL, State.OPERATOR_PICKUP),
}

#: Originate's reason for a failure, in Dial's words.
ORIGINATE_STATUS: dict[int, str] = {signals.RANG_OUT: "NOANSWER"}

#: How the names of channels begin whose every answer is known.
SIP_CHANNELS = ("PJSIP/", "SIP/")

#: How the names of channels begin that have two halves, one in each of two bridges.
HALVES = ("Local/",)

#: How the names of channels begin that are no phone: halves, what Asterisk makes for a moment to
#: move another channel, a conference's announcer and recorder, and the media of a bot.
NO_PHONE = (
    *HALVES,
    "AsyncGoto/",
    "Surrogate/",
    "Announcer/",
    "Recorder/",
    "CBAnn/",
    "CBRec/",
    "Snoop/",
    "Message/",
    "AudioSocket/",
    "WebSocket/",
    "UnicastRTP/",
    "MulticastRTP/",
)

#: Causes of a leg that only our own side ended: none, normal clearing, a time that was over,
#: answered elsewhere, and what PJSIP makes of a caller who gives up (487).
GIVEN_UP = frozenset({None, 16, 19, 26, 127})

#: As many legs of a call are told; a queue may ring for an hour. Who answers is told in any case.
MOST_LEGS = 50

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
    # The last operator who was asked; of those before them OTHERS_FOLLOW tells.
    (Direction.INBOUND, State.OPERATOR_CALLTO): {
        Outcome.BUSY: State.OPERATOR_BUSY,
        Outcome.NOANSWER: State.OPERATOR_NOANSWER,
        Outcome.OFFLINE: State.OPERATOR_OFFLINE,
        Outcome.CANCELLED: State.OPERATOR_NOANSWER,
        Outcome.FAILED: State.ERROR,
    },
    (Direction.INBOUND, State.OPERATOR_PICKUP): dict.fromkeys(Outcome, State.FINISH),
}

#: How an operator's leg ends while others are asked after them, or after they were not the only
#: one: never as the end of the call.
OTHERS_FOLLOW: dict[Outcome, State] = {
    Outcome.BUSY: State.OPERATOR_BUSY,
    Outcome.NOANSWER: State.OPERATOR_NOANSWER,
    Outcome.OFFLINE: State.OPERATOR_OFFLINE,
    Outcome.CANCELLED: State.OPERATOR_NOANSWER,
    Outcome.FAILED: State.OPERATOR_NOANSWER,
}

#: How a call ends that the API hangs up, from the rung it stood on.
BY_API: dict[State, State] = {
    State.CALL: State.OPERATOR_NOANSWER,
    State.OPERATOR_CALLTO: State.OPERATOR_NOANSWER,
    State.OPERATOR_PICKUP: State.OPERATOR_BUSY,
    State.CLIENT_CALLTO: State.CLIENT_NOANSWER,
    State.CLIENT_PICKUP: State.FINISH,
}

#: How a call ends whose caller hangs up before anybody has taken it.
CALLER_LEFT: dict[Direction, State] = {Direction.INBOUND: State.CLIENT_CANCEL}
