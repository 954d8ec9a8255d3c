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
class StateChange:
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
class LegView:
    """One phone of a call, as it stands at one moment.

    ``name`` is ``operator-1``, ``operator-2``… or ``client``. ``sip`` is the operator's number,
    None for the client and for a phone outside; ``phone`` the number outside, None for an
    operator. ``called`` is when the phone was asked, ``answered`` when it was picked up, ``ended``
    when it was let go. ``talk_seconds`` is how long it talked with the other party, None if it
    never did. ``cause`` and ``detail`` say how an unanswered leg ended. ``channel`` is Asterisk's
    uniqueid of its channel, after which a recording made on it is named. ``sent`` is how ``phone``
    was written, where that was otherwise. ``spans`` are the times in which it shared a bridge with
    the client, the last without an end while it does.
    """

    name: str
    sip: str | None
    phone: str | None
    called: int | None
    answered: int | None
    ended: int | None
    talk_seconds: float | None
    cause: int | None
    detail: str | None
    channel: str | None = None
    sent: str | None = None
    spans: tuple[tuple[int, int | None], ...] = ()


@dataclass(frozen=True, slots=True)
class CallView:
    """A call as it stands at one moment: the ``call`` object.

    ``answered`` is when the two parties began to talk, ``ended`` when the final state was
    reached. ``ring_seconds`` is how long operators' phones rang, ``wait_seconds`` how long the
    party that was there first waited for the other, ``talk_seconds`` how long they talked; each
    is None until it is over (or if it never began). ``hung_up_by`` is operator, client, api or
    asterisk, None while nobody has. ``sip`` is the operator who talks or talked last, else the one
    asked last. ``did`` is the number that an inbound call dialled, ``caller_name`` what the CRM
    calls the caller, ``note`` what makeCall was given, ``anchor`` the uniqueid of the channel that
    the call began with, ``legs`` its phones in the order in which they were asked. ``said``: how
    far each channel's dialplan had counted what it said of asking; None: that was not kept.
    ``recordings``: what Asterisk said that it records, each with the channel, in Asterisk's own
    names of files. ``made_by`` is the client of the API that had the call made, ``made_from`` the
    address that it asked from; None where nobody had. ``observed``: another dialplan than ours
    makes it.
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
    did: str | None = None
    caller_name: str | None = None
    note: str | None = None
    anchor: str | None = None
    legs: tuple[LegView, ...] = ()
    said: tuple[tuple[str, int], ...] | None = None
    recordings: tuple[tuple[str, str], ...] = ()
    made_by: str | None = None
    made_from: str | None = None
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A recording that is complete on disk: the ``record`` object without its call's fields.

    ``uniqueid`` is the channel that was recorded, without letters that some file name or address
    would not take, and the stem of the file; ``path`` is relative to the recordings folder;
    ``size`` is bytes, ``duration`` seconds as measured in the file, ``date`` the moment it was
    found complete. ``pauses`` are from when to when it is silent because it was told to be, in
    seconds of the file.
    """

    call_id: int
    uniqueid: str
    path: str
    format: str
    size: int
    duration: float
    date: int
    pauses: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """What somebody did to a call, or wrote on it.

    ``action`` is the method's name as the wire contract has it; ``by`` the name of the API client
    that asked, ``daemon`` where nobody did. The rest is what the action concerns: an operator or
    supervisor, a number outside, the order that was attached, the result that was set.
    """

    call_id: int
    date: int
    action: str
    by: str
    sip: str | None = None
    phone: str | None = None
    order_id: str | None = None
    result: str | None = None
    note: str | None = None
    detail: str | None = None
