"""Looks at Asterisk: what is there now, asked for in full after a start or a reconnect.

AMI replays nothing, so whatever happened unheard has to be read off the present. Everything here
works with the write classes call, originate, reporting. This module asks; what the answers mean
for calls and operators is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import FirstError, gatherResults

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.ami.ami_wire import BadHeader, Message
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.tables import NO_PHONE
from ccdaemon.config.validators import Pattern
from ccdaemon.pbx import call_tag
from ccdaemon.pbx.ami_signals import UP
from ccdaemon.pbx.dialplan import Context, Own

#: How far from a known number a new endpoint is looked for after a reload.
REACH = 50
#: Numbers that are looked for after a reload; where there would be more, none is.
MOST_SEARCHED = 5000
#: Applications of a channel that asks others.
ASKS = frozenset({"Dial", "Queue"})
#: Applications of a channel that waits in a bridge in which nobody hears another.
HOLDS = frozenset({"BridgeWait", "Park", "ParkAndAnnounce"})
#: Lines of one key in a file of Asterisk's that are looked at.
MOST_LINES = 30
#: Contexts in which a channel is a client's who calls in.
INBOUND: frozenset[str] = frozenset({Context.INBOUND, Context.INCOMING})
#: Seconds in which a list has to be there that a request to the API waits for.
SOMEBODY_WAITS = 8.0
#: Seconds in which Asterisk has to say whether it has a channel: its call waits in the dialplan.
CALL_WAITS = 0.5
#: Questions that are on their way at one time; AMI answers in order.
AT_ONCE = 100


@dataclass(frozen=True)
class Endpoints:
    """Which of Asterisk's devices are operators.

    :param channel: how an operator is dialled, with ``{sip}`` where their number stands; without
        anything behind the number this is also the name of their device.
    :param pattern: what an operator's number may be.
    """

    channel: str
    pattern: Pattern

    @property
    def technology(self) -> str:
        """``PJSIP``, ``SIP``…"""
        return self.channel.partition("/")[0]

    def device(self, sip: str) -> str:
        """The device of operator ``sip``."""
        return self.channel.replace("{sip}", sip)

    def sip(self, device: str) -> str | None:
        """The operator whose device this is, None if it is nobody's."""
        before, _, after = self.channel.partition("{sip}")
        number = device[len(before) : len(device) - len(after)]
        ours = device == before + number + after and self.pattern.matches(number)
        return number if ours else None

    def sip_of_channel(self, name: str) -> str | None:
        """The operator whose channel is called this, e.g. ``PJSIP/1000-0000002a``."""
        return self.sip(name.rpartition("-")[0])

    def near(self, known: Iterable[str]) -> set[str]:
        """Numbers beside the known ones, of the same length: where new operators turn up."""
        found: set[str] = set()
        for sip in known:
            if sip.isdigit():
                near = range(max(0, int(sip) - REACH), int(sip) + REACH + 1)
                found.update(f"{number:0{len(sip)}d}" for number in near)
        return {sip for sip in found if self.pattern.matches(sip)}


async def query_operators(
    ami: AMIActions, endpoints: Endpoints, known: Iterable[str], *, search: bool
) -> dict[str, str]:
    """Who is there, and in what device state (AMI's spelling), by sip.

    DeviceStateList is a cache: it names what was there at boot or was used since, so what it
    names is asked for again where the technology can be, and what else is ``known`` is added.
    No action open to our rights lists the PJSIP endpoints; with ``search`` the numbers near the
    known ones are asked for, too.

    :raises AMIError: as the actions do.
    """
    states: dict[str, str] = {}
    for entry in await ami.sendList("DeviceStateList"):
        sip = endpoints.sip(entry.get("Device"))
        if sip is not None:
            states[sip] = entry.get("State")
    names = states.keys() | set(known)
    if search and endpoints.technology == "PJSIP":
        near = endpoints.near(names)
        names |= near if len(near) <= MOST_SEARCHED else set()
    there = await _existing(ami, endpoints, names)
    missing = sorted(there - states.keys())
    asked = await _ask_all(ami, [f"DEVICE_STATE({endpoints.device(sip)})" for sip in missing])
    states.update(zip(missing, asked, strict=True))
    return {sip: states[sip] for sip in there}


async def query_operator(ami: AMIActions, endpoints: Endpoints, sip: str) -> str | None:
    """The device state of an operator nobody has heard of yet; None if there is no such one.

    :raises AMIError: as the actions do.
    """
    if sip not in await _existing(ami, endpoints, {sip}, SOMEBODY_WAITS):
        return None
    state = await query_device(ami, endpoints, sip)
    return None if state == "INVALID" else state


async def query_device(ami: AMIActions, endpoints: Endpoints, sip: str) -> str:
    """The device state of an operator, whoever has told what of them.

    :raises AMIError: as the action does.
    """
    return await ami.getVar(None, f"DEVICE_STATE({endpoints.device(sip)})")


async def has_channel(ami: AMIActions, channel: str, name: str) -> bool:
    """Whether Asterisk has a channel of this uniqueid and name; true where it cannot be asked.

    Whatever a channel asks for by FastAGI it asks while it is there: no event has to be read first.
    """
    try:
        return await _name_of(ami, channel) == name
    except AMIError:
        return True


async def may_be_gone(ami: AMIActions, channel: str) -> bool:
    """Whether Asterisk has no channel of this uniqueid; true where it cannot be asked."""
    try:
        return await _name_of(ami, channel) is None
    except AMIError:
        return True


async def _name_of(ami: AMIActions, channel: str) -> str | None:
    """What a channel is called, by its uniqueid; None if there is no such one."""
    asked = {"Channel": channel, "Variable": "CHANNEL(name)"}
    try:
        answer = await ami.sendAction("Getvar", asked, timeout=CALL_WAITS)
    except (ActionRefused, BadHeader):
        return None
    return answer.get("Value")


async def _existing(
    ami: AMIActions, endpoints: Endpoints, names: set[str], timeout: float | None = None
) -> set[str]:
    """Which of ``names`` are configured in Asterisk now, whatever its cache says.

    :param timeout: seconds to the end of a list, the session's own if None.
    """
    if endpoints.technology == "SIP":
        peers = await ami.sendList("SIPpeers", timeout=timeout)
        devices = (f"SIP/{peer.get('ObjectName')}" for peer in peers)
        return {sip for sip in map(endpoints.sip, devices) if sip is not None}
    if endpoints.technology == "PJSIP":
        asked = sorted(names)
        # Every endpoint has a context, so an empty one means that there is none.
        contexts = await _ask_all(ami, [f"PJSIP_ENDPOINT({sip},context)" for sip in asked])
        return {sip for sip, context in zip(asked, contexts, strict=True) if context}
    return set(names)


async def _ask_all(ami: AMIActions, variables: list[str]) -> list[str]:
    values: list[str] = []
    for start in range(0, len(variables), AT_ONCE):
        some = [ami.getVar(None, name) for name in variables[start : start + AT_ONCE]]
        try:
            values += await gatherResults(some, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
    return values


async def query_channels(
    ami: AMIActions, date: int, is_unknown: Callable[[str], bool] = lambda channel: False
) -> list[Signal]:
    """Every live channel as the signals that have brought it to where it is.

    Anchors come first, then those that ask somebody, then those who are asked.

    :param date: the moment of the look, in milliseconds.
    :param is_unknown: whether a channel, by its uniqueid, is of a call of ours that nobody knows:
        then it is asked what call it was made for.
    :raises AMIError: as the action does.
    """
    channels = sorted(
        await ami.coreShowChannels(),
        key=lambda one: (one.get("Uniqueid") != one.get("Linkedid"), not _asks(one)),
    )
    unknown = [one for one in channels if is_unknown(one.get("Uniqueid"))]
    labelled = [await _labelled(ami, channel, date) for channel in unknown]
    so_far = [signal for channel in channels for signal in _so_far(channel, date)]
    return [*filter(None, labelled), *so_far]


async def tells_of_bridges(ami: AMIActions, username: str) -> bool | None:
    """Whether Asterisk tells us of bridges, by the filters of our AMI user; None if it won't say.

    :param username: ours.
    :raises AMIError: as the action does, but for a refusal.
    """
    filters = await event_filters(ami, username)
    return None if filters is None else passes(filters, "BridgeEnter")


async def event_filters(ami: AMIActions, username: str) -> list[str] | None:
    """The ``eventfilter`` lines of an AMI user; None if Asterisk won't say.

    :raises AMIError: as the action does, but for a refusal.
    """
    try:
        if not await ami.getVar(None, f"AST_CONFIG(manager.conf,{username},read)"):
            return None
        return await config_values(ami, "manager.conf", username, "eventfilter")
    except ActionRefused:
        return None


async def config_values(ami: AMIActions, file: str, section: str, key: str) -> list[str]:
    """All values of a key in one of Asterisk's own files, a line each.

    :raises AMIError: as the action does.
    """
    values: list[str] = []
    while len(values) < MOST_LINES:
        name = f"AST_CONFIG({file},{section},{key},{len(values)})"
        if not (found := await ami.getVar(None, name)):
            break
        values.append(found)
    return values


def passes(filters: Sequence[str], event: str) -> bool | None:
    """Whether an AMI user with these ``eventfilter`` lines is told of an event; None: who knows."""
    text = f"Event: {event}\r\nPrivilege: call,all\r\n"
    try:
        refused = [one[1:] for one in filters if one.startswith("!")]
        wanted = [one for one in filters if not one.startswith("!")]
        is_refused = any(re.search(one, text) for one in refused)
        return not is_refused and (not wanted or any(re.search(one, text) for one in wanted))
    except re.error:
        return None


async def _labelled(ami: AMIActions, channel: Message, date: int) -> Signal | None:
    try:
        label = await ami.getVar(channel.get("Channel"), Own.TAG)
    except ActionRefused:
        return None  # It is gone by now, and the log has the rest.
    words = call_tag.read(label) if label else None
    ids = channel.get("Uniqueid"), channel.get("Linkedid"), date
    return signals.Tagged(*ids, channel.get("Channel"), *words) if words else None


def _asks(channel: Message) -> bool:
    """Whether operators are asked on this channel, beside the two phones of an outbound call."""
    own = channel.get("Context") == Context.OUTBOUND or channel.get("Channel").startswith(NO_PHONE)
    return channel.get("Application") in ASKS and not own


def _so_far(channel: Message, date: int) -> Iterable[Signal]:
    ids = channel.get("Uniqueid"), channel.get("Linkedid"), date
    name = channel.get("Channel")
    if ids[0] == ids[1] and channel.get("Context") in INBOUND:
        # The number that was dialled is not known any more.
        yield signals.Incoming(*ids, name, channel.get("CallerIDNum"), "")
    yield signals.Started(*ids, name)
    if bridge := channel.get("BridgeId"):
        yield signals.Entered(*ids, name, bridge, channel.get("Application") in HOLDS)
    else:
        yield signals.Left(*ids, "")
    if channel.get("ChannelState") == UP:
        yield signals.Answered(*ids)
        if channel.get("Application") == "Dial":
            # Of an inbound call, and once the client is there, it says nothing.
            yield signals.Asked(*ids, Role.CLIENT)
    if _asks(channel):
        yield signals.DialAttempt(*ids, (), (), seen=True)
