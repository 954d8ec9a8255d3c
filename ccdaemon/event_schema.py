"""What is announced of everything that was told: the body of a webhook, the data of an event.

Pure. One spelling for both, so that a CRM reads the one as it reads the other. Knows neither how
an announcement travels nor who hears it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ccdaemon.schema import (
    OperatorChangeObject,
    RecordObject,
    StateObject,
    iso,
    operator_change_object,
    record_object,
    state_object,
)
from ccdaemon.store.records import OperatorRow, RecordRow, StateRow


class StateAnnouncement(msgspec.Struct, frozen=True):
    """A state was added to a call's chain; ``timestamp`` is the moment of what happened."""

    type: Literal["call.state"]
    timestamp: str
    data: StateObject


class OperatorAnnouncement(msgspec.Struct, frozen=True):
    """An operator's status has changed."""

    type: Literal["operator.state"]
    timestamp: str
    data: OperatorChangeObject


class RecordAnnouncement(msgspec.Struct, frozen=True):
    """A recording is complete and can be fetched."""

    type: Literal["record.ready"]
    timestamp: str
    data: RecordObject


Announcement = StateAnnouncement | OperatorAnnouncement | RecordAnnouncement


def announcement(row: StateRow | OperatorRow | RecordRow, base_url: str) -> Announcement:
    """Make the announcement of one thing that was told.

    :param base_url: what a recording's link begins with, without a slash at its end.
    """
    if isinstance(row, StateRow):
        return StateAnnouncement("call.state", iso(row.state.date), state_object(row))
    if isinstance(row, OperatorRow):
        moment = iso(row.change.date)
        return OperatorAnnouncement("operator.state", moment, operator_change_object(row))
    ready = record_object(row.record, row.call, base_url)
    return RecordAnnouncement("record.ready", iso(row.record.date), ready)
