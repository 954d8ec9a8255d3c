"""AMI events to signals: behind this module no header is known.

What is not in the table tells nothing about a call that another event does not tell better:
DialBegin, DialState and DialEnd only repeat Newchannel, Newstate and what our own dialplan says, so
they are not even asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.signals import Signal
from ccdaemon.pbx.dialplan import DIALPLAN_EVENTS, Channel

#: Milliseconds by which an event may be late, or Asterisk's clock another: no session stands for
#: so long without an answer.
MOST_BEHIND = 60_000
#: Asterisk's number for a channel that is up.
UP = "6"
#: How Asterisk calls a bridge in which nobody hears another: hold, parking, agents who wait.
HOLDING = "holding_bridge"


def from_event(event: Message, date: int) -> Signal | None:
    """The signal that ``event`` spells, heard at ``date`` (ms), or None if it spells none."""
    spell = EVENTS.get(event.name)
    return spell(event, date) if spell else None


def moment(event: Message, now: int) -> int:
    """When an event was, in ms: by Asterisk's clock if it says so, unless that is quite wrong."""
    return believed(event.get("Timestamp"), now)


def believed(stamp: str, now: int) -> int:
    """Asterisk's time, seconds since 1970 in digits, in ms; ``now`` if it is none, or quite wrong.

    :param now: in ms.
    """
    try:
        date = round(float(stamp) * 1000) if stamp else now
    except (ValueError, OverflowError):
        return now
    return date if abs(now - date) <= MOST_BEHIND else now


def number(text: str) -> int | None:
    """A cause as a number; None for ``0`` and for what is none."""
    return int(text) or None if text.isascii() and text.isdigit() and len(text) < 10 else None


def _ids(event: Message) -> tuple[str, str]:
    uniqueid = event.get("Uniqueid")
    return uniqueid, event.get("Linkedid") or uniqueid


def _newchannel(event: Message, date: int) -> Signal:
    begun = event.get("Context"), event.get("Exten"), event.get("CallerIDNum")
    return signals.Started(*_ids(event), date, event.get("Channel"), None, *begun)


def _newstate(event: Message, date: int) -> Signal | None:
    return signals.Answered(*_ids(event), date) if event.get("ChannelState") == UP else None


def _bridge_enter(event: Message, date: int) -> Signal | None:
    holding = HOLDING in (event.get("BridgeTechnology"), event.get("BridgeType"))
    name, bridge = event.get("Channel"), event.get("BridgeUniqueid")
    return signals.Entered(*_ids(event), date, name, bridge, holding) if bridge else None


def _bridge_leave(event: Message, date: int) -> Signal | None:
    bridge = event.get("BridgeUniqueid")
    return signals.Left(*_ids(event), date, bridge) if bridge else None


def _hold(event: Message, date: int) -> Signal:
    return signals.Held(*_ids(event), date, True)


def _unhold(event: Message, date: int) -> Signal:
    return signals.Held(*_ids(event), date, False)


def _hangup_request(event: Message, date: int) -> Signal:
    return signals.HungUp(*_ids(event), date)


def _hangup(event: Message, date: int) -> Signal:
    return signals.Ended(*_ids(event), date, number(event.get("Cause")), event.get("TechCause"))


def _originate_response(event: Message, date: int) -> Signal | None:
    if event.get("Response") != "Failure":
        return None
    return signals.OriginateFailed(*_ids(event), date, number(event.get("Reason")) or 0)


def _user_event(event: Message, date: int) -> Signal | None:
    saying = DIALPLAN_EVENTS.get(event.get("UserEvent"))
    return saying.in_event(channel(event, date), event.get) if saying else None


def channel(event: Message, date: int) -> Channel:
    """The channel that an event speaks of."""
    return Channel(*_ids(event), date, event.get("Channel"))


EVENTS: dict[str, Callable[[Message, int], Signal | None]] = {
    "Newchannel": _newchannel,
    "Newstate": _newstate,
    "BridgeEnter": _bridge_enter,
    "BridgeLeave": _bridge_leave,
    "Hold": _hold,
    "Unhold": _unhold,
    "HangupRequest": _hangup_request,
    "Hangup": _hangup,
    "OriginateResponse": _originate_response,
    "UserEvent": _user_event,
}
