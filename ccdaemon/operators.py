"""Operators: from Asterisk's device states to offline, online, inuse, and the log of changes.

Pure: it is told device states and moments and answers what changed. It knows neither AMI nor
the journal. All times are whole milliseconds since 1970 in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(str, Enum):
    """What an operator can do for a caller right now.

    ``UNKNOWN`` stands only in the history: from then on nobody could ask Asterisk.
    """

    OFFLINE = "offline"
    ONLINE = "online"
    INUSE = "inuse"
    UNKNOWN = "unknown"


#: Asterisk's device states, in AMI's spelling, to the status of the wire contract.
STATUS: dict[str, Status] = {
    "NOT_INUSE": Status.ONLINE,
    "INUSE": Status.INUSE,
    "BUSY": Status.INUSE,
    "RINGING": Status.INUSE,
    "RINGINUSE": Status.INUSE,
    "ONHOLD": Status.INUSE,
    "UNAVAILABLE": Status.OFFLINE,
    "INVALID": Status.OFFLINE,
    "UNKNOWN": Status.OFFLINE,
}


@dataclass(frozen=True, slots=True)
class OperatorView:
    """An operator as he stands now: the ``operator`` object.

    ``since`` is when ``status`` began; ``call_id`` the call he is on, if it is one of ours;
    ``stale`` is true while Asterisk cannot be asked.
    """

    sip: str
    status: Status
    device_state: str
    since: int
    call_id: int | None
    stale: bool


@dataclass(frozen=True, slots=True)
class OperatorChange:
    """One row of an operator's log, without its event id."""

    sip: str
    state: Status
    device_state: str | None
    call_id: int | None
    date: int
    detail: str | None
