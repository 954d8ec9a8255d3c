"""Looks at Asterisk: what is there now, asked for in full after a start or a reconnect.

AMI replays nothing, so whatever happened unheard has to be read off the present. Everything here
works with the write classes call, originate, reporting. This module asks; what the answers mean
for calls and operators is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.internet.defer import FirstError, gatherResults

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.ami.ami_wire import BadHeader, Message
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.tables import NO_PHONE
from ccdaemon.pbx import call_tag
from ccdaemon.pbx.ami_signals import UP
from ccdaemon.pbx.dialplan import Context, Own
from ccdaemon.pbx.endpoints import ELSEWHERE, Endpoints, Kind, Template

#: Numbers that are looked for after a reload; where there would be more, none is.
MOST_SEARCHED = 5000
#: Device states of a do-not-disturb that is on.
QUIET = frozenset({"INUSE", "BUSY"})
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


#: An operator's devices that there are, and their states (AMI's spelling), by sip.
Devices = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of the operators: their devices, and who is not to be disturbed.

    ``undisturbed`` has everybody of whom something is said, whether so or not.
    """

    devices: Devices
    undisturbed: dict[str, bool]


async def query_operators(
    ami: AMIActions,
    endpoints: Endpoints,
    known: Iterable[str],
    *,
    search: bool,
    absent: dict[str, str] | None = None,
) -> Look:
    """Who is there, and in what device states.

    DeviceStateList is a cache: it names what was there at boot or was used since, so what it
    names is asked for again where the technology can be, and what else is ``known`` is added.
    No action open to our rights lists the PJSIP endpoints; with ``search`` the numbers near the
    known ones are asked for, too.

    :param absent: devices that the cache has and Asterisk has not, with their states: they are not
        asked for again as long as those stay, for each such question is a line in Asterisk's log.
    :raises AMIError: as the actions do.
    """
    listed = {
        entry.get("Device"): entry.get("State") for entry in await ami.sendList("DeviceStateList")
    }
    owners = {device: owner for device in listed if (owner := endpoints.owner(device))}
    names = {sip for sip, _ in owners.values()} | set(known) | endpoints.named
    near = endpoints.near(names) - names if search else set()
    guessed = near if len(near) <= MOST_SEARCHED else set()
    found: Devices = {}
    for template in endpoints.templates:
        sips = names | guessed if template.kind is Kind.PJSIP else names
        sips = {sip for sip in sips if endpoints.is_device(template, sip)}
        there = await _existing(
            ami, endpoints, template, sips, listed, absent if absent is not None else {}
        )
        for sip, state in there.items():
            found.setdefault(sip, {})[template.device(sip)] = state
    quiet = {endpoints.undisturbed(device): state in QUIET for device, state in listed.items()}
    return Look(found, {sip: is_so for sip, is_so in quiet.items() if sip is not None})


async def query_operator(ami: AMIActions, endpoints: Endpoints, sip: str) -> dict[str, str]:
    """The devices of an operator nobody has heard of yet; empty if there is no such one.

    :raises AMIError: as the actions do.
    """
    found: dict[str, str] = {}
    for template in endpoints.templates:
        if endpoints.is_device(template, sip):
            there = await _existing(ami, endpoints, template, {sip}, {}, {}, SOMEBODY_WAITS)
            # Of chan_sip's peers all are listed, whoever is looked for.
            if sip in there:
                found[template.device(sip)] = there[sip]
    return found


async def has_several_contacts(ami: AMIActions, channel: str) -> bool:
    """Whether several phones are registered on the endpoint that is dialled so.

    :raises AMIError: as the action does.
    """
    template = Template(channel)
    if template.kind is not Kind.PJSIP:
        return False
    # What they have registered is the phones' own word, and only counted here.
    name = channel.partition("/")[2]
    return "&" in await ami.getVar(None, f"PJSIP_DIAL_CONTACTS({name})")


async def query_device(ami: AMIActions, device: str) -> str:
    """The state of a device, whoever has told what of it.

    :raises AMIError: as the action does.
    """
    return await ami.getVar(None, f"DEVICE_STATE({device})")


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
    ami: AMIActions,
    endpoints: Endpoints,
    template: Template,
    sips: set[str],
    listed: Mapping[str, str],
    absent: dict[str, str],
    timeout: float | None = None,
) -> dict[str, str]:
    """Which of the operators have the phone of a template now, whatever Asterisk's cache says.

    :param listed: what the cache says, by device.
    :param timeout: seconds to the end of a list, the session's own if None.
    """
    if template.kind is Kind.ELSEWHERE:
        return dict.fromkeys(sips, ELSEWHERE)
    if template.kind is Kind.SIP:
        peers = await ami.sendList("SIPpeers", timeout=timeout)
        owners = (endpoints.owner(f"SIP/{peer.get('ObjectName')}") for peer in peers)
        sips = {owner[0] for owner in owners if owner and owner[1] == template}
    if template.kind is Kind.LOCAL:
        asked = sorted(sips)
        places = [",".join((*template.extension(sip), "1")) for sip in asked]
        said = await _ask_all(ami, [f"DIALPLAN_EXISTS({place})" for place in places])
        sips = {sip for sip, there in zip(asked, said, strict=True) if there == "1"}
    device = template.device
    sips = {sip for sip in sips if absent.get(device(sip), "") != listed.get(device(sip))}
    missing = sorted(sip for sip in sips if device(sip) not in listed)
    asked_for = await _ask_all(ami, [f"DEVICE_STATE({device(sip)})" for sip in missing])
    states = {sip: listed[device(sip)] for sip in sips if device(sip) in listed}
    states |= {
        sip: state
        for sip, state in zip(missing, asked_for, strict=True)
        if state != "INVALID" or template.kind is not Kind.PJSIP
    }
    if template.kind is not Kind.PJSIP:
        return states
    # Every endpoint has a context, so an empty one means that there is none. Of one that never was
    # the device state says so, without a line in Asterisk's log.
    maybe = sorted(states)
    names = [device(sip).partition("/")[2] for sip in maybe]
    contexts = await _ask_all(ami, [f"PJSIP_ENDPOINT({name},context)" for name in names])
    there = {sip for sip, context in zip(maybe, contexts, strict=True) if context}
    absent.update({device(sip): states[sip] for sip in states.keys() - there})
    return {sip: states[sip] for sip in there}


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
