"""Looks at Asterisk: what is there now, asked for in full after a start or a reconnect.

AMI replays nothing, so whatever happened unheard has to be read off the present. Everything here
works with the write classes call, originate, reporting. This module asks; what the answers mean
for calls and operators is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.defer import FirstError, gatherResults

from ccdaemon.asterisk.ami_actions import AMIActions
from ccdaemon.asterisk.signals import UP
from ccdaemon.asterisk.wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal
from ccdaemon.config_rules import Pattern

#: How far from a known number a new endpoint is looked for after a reload.
REACH = 50
#: Numbers that are looked for after a reload; where there would be more, none is.
MOST_SEARCHED = 5000
#: Questions that are on their way at one time; AMI answers in order.
AT_ONCE = 100


@dataclass(frozen=True)
class Endpoints:
    """Which of Asterisk's devices are operators.

    :param channel: how an operator is dialled, with ``{sip}`` where his number stands; without
        anything behind the number this is also the name of his device.
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

    def near(self, known: Iterable[str]) -> set[str]:
        """Numbers beside the known ones, of the same length: where new operators turn up."""
        found: set[str] = set()
        for sip in known:
            if sip.isdigit():
                near = range(max(0, int(sip) - REACH), int(sip) + REACH + 1)
                found.update(f"{number:0{len(sip)}d}" for number in near)
        return {sip for sip in found if self.pattern.matches(sip)}


async def look_at_operators(
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


async def look_for_operator(ami: AMIActions, endpoints: Endpoints, sip: str) -> str | None:
    """The device state of an operator nobody has heard of yet; None if there is no such one.

    :raises AMIError: as the actions do.
    """
    if sip not in await _existing(ami, endpoints, {sip}):
        return None
    state = await ami.getVar(None, f"DEVICE_STATE({endpoints.device(sip)})")
    return None if state == "INVALID" else state


async def _existing(ami: AMIActions, endpoints: Endpoints, names: set[str]) -> set[str]:
    """Which of ``names`` are configured in Asterisk now, whatever its cache says."""
    if endpoints.technology == "SIP":
        peers = await ami.sendList("SIPpeers")
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


async def look_at_channels(ami: AMIActions, date: int) -> list[Signal]:
    """Every live channel as the signals that have brought it to where it is, anchors first.

    :param date: the moment of the look, in milliseconds.
    :raises AMIError: as the action does.
    """
    channels = sorted(
        await ami.coreShowChannels(), key=lambda one: one.get("Uniqueid") != one.get("Linkedid")
    )
    return [signal for channel in channels for signal in _so_far(channel, date)]


def _so_far(channel: Message, date: int) -> Iterable[Signal]:
    ids = channel.get("Uniqueid"), channel.get("Linkedid"), date
    yield signals.Started(*ids, channel.get("Channel"))
    if channel.get("ChannelState") == UP:
        yield signals.Answered(*ids)
        if channel.get("Application") == "Dial":
            yield signals.Asked(*ids, Role.CLIENT)
