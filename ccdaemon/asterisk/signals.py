"""AMI events to signals: behind this module no header is known.

What is not in the table tells nothing about a call that another event does not tell better:
DialBegin, DialState, DialEnd and BridgeEnter only repeat Newchannel, Newstate and what our own
dialplan says, so they are not even asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from ccdaemon.asterisk.wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal

#: Asterisk's number for a channel that is up.
UP = "6"


def from_event(event: Message, date: int) -> Signal | None:
    """The signal that ``event`` spells, heard at ``date`` (ms), or None if it spells none."""
    spell = EVENTS.get(event.name)
    return spell(event, date) if spell else None


def number(text: str) -> int | None:
    """A cause as a number; None for ``0`` and for what is none."""
    return int(text) or None if text.isascii() and text.isdigit() else None


def _ids(event: Message) -> tuple[str, str]:
    uniqueid = event.get("Uniqueid")
    return uniqueid, event.get("Linkedid") or uniqueid


def _newchannel(event: Message, date: int) -> Signal:
    return signals.Started(*_ids(event), date, event.get("Channel"))


def _newstate(event: Message, date: int) -> Signal | None:
    return signals.Answered(*_ids(event), date) if event.get("ChannelState") == UP else None


def _hangup_request(event: Message, date: int) -> Signal:
    return signals.HungUp(*_ids(event), date)


def _hangup(event: Message, date: int) -> Signal:
    return signals.Ended(*_ids(event), date, number(event.get("Cause")), event.get("TechCause"))


def _originate_response(event: Message, date: int) -> Signal | None:
    if event.get("Response") != "Failure":
        return None
    return signals.OriginateFailed(*_ids(event), date, number(event.get("Reason")) or 0)


def _user_event(event: Message, date: int) -> Signal | None:
    spell = USER_EVENTS.get(event.get("UserEvent"))
    return spell(event, date) if spell else None


def _dial(event: Message, date: int) -> Signal:
    return signals.Asked(*_ids(event), date, Role.CLIENT)


def _end(event: Message, date: int) -> Signal:
    return signals.Outcome(
        *_ids(event),
        date,
        event.get("DialStatus"),
        event.get("Tech"),
        event.get("Source"),
    )


EVENTS: dict[str, Callable[[Message, int], Signal | None]] = {
    "Newchannel": _newchannel,
    "Newstate": _newstate,
    "HangupRequest": _hangup_request,
    "Hangup": _hangup,
    "OriginateResponse": _originate_response,
    "UserEvent": _user_event,
}

#: What our own dialplan says.
USER_EVENTS: dict[str, Callable[[Message, int], Signal]] = {
    "ccdaemon-dial": _dial,
    "ccdaemon-end": _end,
}
