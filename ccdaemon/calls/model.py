"""What a call is: its states, its legs and the rows that tell its story.

Frozen values only. All times are whole milliseconds since 1970 in UTC. Nothing here knows
Asterisk, HTTP or SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Direction(str, Enum):
    """Who began the call: the CRM or an operator (outbound), or the client (inbound)."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Role(str, Enum):
    """Whose phone a leg rings."""

    OPERATOR = "operator"
    CLIENT = "client"


class State(str, Enum):
    """A step of a call's chain, as the wire contract names it."""

    CALL = "CALL"
    OPERATOR_CALLTO = "OPERATOR_CALLTO"
    OPERATOR_PICKUP = "OPERATOR_PICKUP"
    OPERATOR_NOANSWER = "OPERATOR_NOANSWER"
    OPERATOR_BUSY = "OPERATOR_BUSY"
    OPERATOR_OFFLINE = "OPERATOR_OFFLINE"
    CLIENT_CALLTO = "CLIENT_CALLTO"
    CLIENT_PICKUP = "CLIENT_PICKUP"
    CLIENT_NOANSWER = "CLIENT_NOANSWER"
    CLIENT_BUSY = "CLIENT_BUSY"
    CLIENT_CANCEL = "CLIENT_CANCEL"
    ERROR = "ERROR"
    FINISH = "FINISH"


@dataclass(frozen=True, slots=True)
class StateTold:
    """One state of one call, as it is told: the body of a ``state`` object.

    ``seq`` counts 1, 2, 3… within the call. ``leg`` is ``operator-1``, ``operator-2``…,
    ``client``, or None where the state speaks of the call as a whole. ``sip`` is the operator
    concerned. ``cause`` is the Q.850 number; ``detail`` words, with the SIP answer where known.
    """

    call_id: int
    seq: int
    state: State
    final: bool
    leg: str | None
    sip: str | None
    date: int
    cause: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as it stands at one moment: the ``call`` object.

    ``answered`` is when the two parties began to talk, ``ended`` when the final state was
    reached. ``ring_seconds`` is how long operators' phones rang, ``wait_seconds`` how long the
    party that was there first waited for the other, ``talk_seconds`` how long they talked; each
    is None until it is over (or if it never began). ``hung_up_by`` is operator, client, api or
    asterisk, None while nobody has.
    """

    call_id: int
    order_id: str | None
    external_key: str | None
    direction: Direction
    sip: str | None
    phone: str
    state: State
    final: bool
    date: int
    answered: int | None
    ended: int | None
    ring_seconds: float | None
    wait_seconds: float | None
    talk_seconds: float | None
    hung_up_by: str | None
    cause: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """A recording that is complete on disk: the ``record`` object without its call's fields.

    ``uniqueid`` is the channel that was recorded and the stem of the file; ``path`` is relative
    to the recordings folder; ``size`` is bytes, ``duration`` seconds as measured in the file,
    ``date`` the moment it was found complete.
    """

    call_id: int
    uniqueid: str
    path: str
    format: str
    size: int
    duration: float
    date: int
