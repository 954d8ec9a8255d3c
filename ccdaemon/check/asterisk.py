"""Asterisk: the login, the rights, the dialplan, the operators and the trunk.

Everything is asked with the rights that ``manager_ccdaemon.conf`` gives, and nothing is dialled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory

import ccdaemon
from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused, AMIError
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_wire import Message
from ccdaemon.check.findings import Finding, fail, ok, warn
from ccdaemon.check.modules import try_modules
from ccdaemon.config import Asterisk, Config, FastAgi
from ccdaemon.pbx.ami_connection import ami_endpoint, credentials
from ccdaemon.pbx.ami_queries import (
    Devices,
    config_values,
    event_filters,
    passes,
    query_operators,
)
from ccdaemon.pbx.dialplan import Global
from ccdaemon.pbx.endpoints import UNREACHABLE, Endpoints, Kind, Template, endpoints_of
from ccdaemon.recordings.recordings import recording_name

#: Seconds until a host counts as silent.
CONNECT_TIMEOUT = 5.0

#: What the daemon asks of Asterisk, by the write class that allows it.
NEEDED = {
    "Originate": "originate",
    "Hangup": "call",
    "Getvar": "call or reporting",
    "CoreShowChannels": "reporting",
    "DeviceStateList": "call or reporting",
}
#: What it does without, and what is not so then.
USEFUL = {"QueuePause": ("agent", "queues ring operators who are paused")}
#: What a stolen secret must not be able to do: each of these runs programs or reads files.
TOO_MUCH = ("Command", "ModuleLoad", "UpdateConfig", "Filter")

#: Events that an older manager_ccdaemon.conf does not let through, and what is not known then.
TOLD = {
    ("BridgeEnter", "BridgeLeave", "MixMonitorStart"): (
        "whoever is up is taken to talk, be it a bot"
    ),
    ("QueueMemberPause",): "who was paused in a queue is seen a minute later",
}
#: What cel_ccdaemon.conf has Asterisk write down.
WRITTEN = ("CHAN_START", "ANSWER", "HANGUP", "BRIDGE_ENTER", "BRIDGE_EXIT", "APP_START")

#: A line of a dialplan of ours, as ``extensions.conf`` has it.
_STEP = re.compile(r"^(?:exten => [^,]+,1| same => n(?:\([a-z]+\))?),(\w+)\((.*)\)$", re.MULTILINE)
_DIALPLAN = Path(ccdaemon.__file__).parent / "conf" / "asterisk" / "extensions_ccdaemon.conf"


async def try_asterisk(config: Config, reactor: Any) -> list[Finding]:
    """Log in and look around."""
    settings, fastagi = config.asterisk, config.fastagi
    part = f"Asterisk {settings.host}:{settings.port}"
    factory = Factory.forProtocol(lambda: AMIProtocol(reactor))
    factory.noisy = False
    try:
        connecting = ami_endpoint(reactor, settings).connect(factory)
        session = await connecting.addTimeout(CONNECT_TIMEOUT, reactor)
    except Exception as error:
        return [fail(part, f"cannot be reached: {str(error) or type(error).__name__}")]
    assert isinstance(session, AMIProtocol)
    try:
        await session.login(credentials(settings))
        found = await _look_around(session, settings, part)
        found += await operators(session, config)
        return [*found, await _inbound(session, fastagi)]
    except Exception as error:
        return [fail(part, f"{settings.username}: {error}")]
    finally:
        session.abort(ConnectionError("the check is over"))


async def _look_around(session: AMIProtocol, settings: Asterisk, part: str) -> list[Finding]:
    commands = await session.sendAction("ListCommands")
    found = [ok(part, f"logged in as {settings.username}, {await _version(session)}")]
    if not await session.booted():
        found.append(warn(part, "did not say FullyBooted: read class system is missing"))
    found += rights(commands)
    for look in (_dialplan, _modules, events, channel_log, system_name, trunk):
        try:
            found.append(await look(session, settings))
        except AMIError as error:
            found.append(fail(look.__name__.strip("_"), f"cannot be asked about: {error}"))
    return found


async def _version(session: AMIProtocol) -> str:
    try:
        core = await session.sendAction("CoreSettings")
    except ActionRefused:
        return "which Asterisk is not told"
    return f"Asterisk {core.get('AsteriskVersion')}"


def rights(commands: Message) -> Iterator[Finding]:
    """Whether the AMI user may do what it has to, by ListCommands' answer, and no more."""
    part = "rights of the AMI user"
    missing = [f"{name} ({right})" for name, right in NEEDED.items() if not commands.get(name)]
    too_much = [name for name in TOO_MUCH if commands.get(name)]
    if missing:
        yield fail(part, f"may not {', '.join(missing)}: see write in manager_ccdaemon.conf")
    if too_much:
        yield warn(part, f"may {', '.join(too_much)}; a stolen secret could run programs")
    useful = [(name, *why) for name, why in USEFUL.items() if not commands.get(name)]
    for name, right, words in () if missing else useful:
        yield warn(part, f"may not {name} ({right}): {words}; see write in manager_ccdaemon.conf")
    if not missing and not too_much and not useful:
        yield ok(part, "all that is needed, and no more")


async def _modules(session: AMIProtocol, settings: Asterisk) -> Finding:
    return await try_modules(session, [*settings.operator_templates, settings.client_channel])


async def _dialplan(session: AMIProtocol, _: Asterisk) -> Finding:
    part = "dialplan"
    ours = dict(_contexts(_DIALPLAN.read_text("utf-8")))
    missing, other = [], []
    for context, steps in ours.items():
        try:
            events = await session.sendList("ShowDialPlan", {"Context": context})
        except ActionRefused as refused:
            if not refused.message.startswith("Did not find context"):
                raise
            missing.append(context)
        else:
            found = ((each.get("Application"), each.get("AppData", "")) for each in events)
            if Counter(step for step in found if step[0]) != steps:
                other.append(context)
    if missing:
        return fail(part, f"has no {', '.join(missing)}: include extensions_ccdaemon.conf")
    if other:
        words = f"{', '.join(other)}: not as in this version's extensions_ccdaemon.conf"
        return warn(part, f"{words}; take that, which `ccdaemon init` writes, and reload it")
    return ok(part, f"is this version's: {', '.join(ours)}")


async def events(session: AMIActions, settings: Asterisk) -> Finding:
    """Whether the AMI user is told who is in a bridge with whom, and what is recorded."""
    part = "events of the AMI user"
    filters = await event_filters(session, settings.username)
    if filters is None:
        return warn(part, "Asterisk does not say which (func_config is not loaded)")
    for told, so in TOLD.items():
        missing = [event for event in told if passes(filters, event) is False]
        if missing:
            words = f"does not hear {', '.join(missing)}: {so}"
            return warn(part, f"{words}; take the eventfilter lines of manager_ccdaemon.conf anew")
    return ok(part, "hears who talks with whom, what is recorded, and who is paused in queues")


async def channel_log(session: AMIActions, _: Asterisk) -> Finding:
    """Whether Asterisk writes down what is read after a gap."""
    part = "cel.conf"
    try:
        lines = await config_values(session, "cel.conf", "general", "events")
        apps = await config_values(session, "cel.conf", "general", "apps")
    except ActionRefused:
        return warn(part, "Asterisk does not say what is in it (func_config is not loaded)")
    written = {word.strip().upper() for line in lines for word in line.split(",")}
    if not written:
        return warn(
            part, "asks for no events: after a gap calls are told as far as channels show it"
        )
    missing = [event for event in WRITTEN if not {event, "ALL"} & written]
    told = {word.strip().lower() for line in apps for word in line.split(",")}
    if not {"mixmonitor", "all"} & told:
        missing.append("apps = mixmonitor")
    if missing:
        words = (
            f"lacks {', '.join(missing)}: some of what happened in a gap is not known afterwards"
        )
        return warn(part, f"{words}; include cel_ccdaemon.conf, which `ccdaemon init` writes")
    return ok(part, "has all that is read after a gap")


async def system_name(session: AMIActions, _: Asterisk) -> Finding:
    """What Asterisk begins its uniqueids with, and recordings their names."""
    part = "systemname"
    name = await session.getVar(None, "SYSTEMNAME")
    if not name:
        return ok(part, "Asterisk has none")
    if "\N{REPLACEMENT CHARACTER}" in name:
        words = f"{name!r} is not UTF-8: some calls cannot be held, transferred or hung up"
        return fail(part, f"{words}; write it in ASCII in asterisk.conf")
    try:
        kept = recording_name(f"{name}-1.1").removesuffix("-1.1")
    except ValueError:
        words = f"{name!r} begins with a dot or is too long: calls of Asterisk's own names are not"
        return fail(part, f"{words} recorded; choose another in asterisk.conf")
    if kept != name:
        words = f"has letters that recordings leave out: theirs are called {kept}-…"
        return warn(part, f"{name!r} {words}")
    return ok(part, f"{name}, as every uniqueid begins")


def _contexts(text: str) -> Iterator[tuple[str, Counter[tuple[str, str]]]]:
    """Each context of a dialplan of ours, with its steps: application and arguments."""
    for block in re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]:
        name = block[1 : block.index("]")]
        if name.startswith("ccdaemon-"):
            yield name, Counter(_STEP.findall(block.replace("\\;", ";")))


async def _inbound(session: AMIProtocol, fastagi: FastAgi) -> Finding:
    """Whether Asterisk asks where the daemon listens, and who is rung while it is silent."""
    part = "inbound calls"
    try:
        asked = await session.getVar(None, Global.AGI)
        fallback = await session.getVar(None, Global.FALLBACK)
    except AMIError as error:
        return fail(part, f"cannot be asked about: {error}")
    port = fastagi.port
    asked, _, secret = asked.partition("/")
    if port is not None and not asked.endswith(f":{port}"):
        listens = f"fastagi.listen is {fastagi.listen}"
        return warn(part, f"Asterisk asks at {asked or 'nowhere'} (CC_AGI), and {listens}")
    if secret != (fastagi.secret or ""):
        has = "not fastagi.secret at its end" if fastagi.secret else "a secret, fastagi none"
        return warn(part, f"asked at {asked}, and all go to the fallback: CC_AGI has {has}")
    if fastagi.secret is None:
        words = "whoever reaches that port may ask, too: set fastagi.secret, and put it into CC_AGI"
        return warn(part, f"asked at {asked}; {words}")
    silent = f"rings {fallback}" if fallback else "refuses them: CC_FALLBACK is empty"
    return ok(part, f"asked at {asked}; while the daemon is silent Asterisk {silent}")


async def operators(session: AMIActions, config: Config) -> list[Finding]:
    """What each template finds, and what is taken for an operator and may be none."""
    endpoints = endpoints_of(config)
    try:
        look = await query_operators(session, endpoints, (), search=False)
        return [
            *[_template(endpoints, template, look.devices) for template in endpoints.templates],
            *await _trunks_of_digits(session, endpoints, look.devices),
        ]
    except AMIError as error:
        return [fail("operators", f"cannot be asked about: {error}")]


def _template(endpoints: Endpoints, template: Template, devices: Devices) -> Finding:
    part = f"operators {template.text}"
    states = [
        each[device] for sip, each in devices.items() if (device := template.device(sip)) in each
    ]
    if template.kind is Kind.ELSEWHERE:
        words = "only the other server knows who is registered: they are unknown, and are dialled"
        return ok(part, f"{len(states)} named in routing.operators; {words}")
    if not states:
        words = f"Asterisk has nobody whose number matches {endpoints.pattern.text}"
        if template.kind is Kind.LOCAL:
            if endpoints.named or devices:
                context = template.extension("")[0]
                return fail(part, f"no operator has an extension in the context {context}")
            return warn(part, "not tried: name operators in routing.operators")
        return warn(part, words)
    absent = sum(state in UNREACHABLE for state in states)
    kind = "an extension" if template.kind is Kind.LOCAL else "registered"
    return ok(part, f"{len(states)} seen, {len(states) - absent} of them {kind}")


async def _trunks_of_digits(
    session: AMIActions, endpoints: Endpoints, devices: Devices
) -> list[Finding]:
    """Warn of endpoints that log in elsewhere: a trunk whose name is a number is no operator."""
    found = []
    for sip, each in sorted(devices.items()):
        for template in endpoints.templates:
            device = template.device(sip)
            if template.kind is not Kind.PJSIP or device not in each:
                continue
            name = device.partition("/")[2]
            if await session.getVar(None, f"PJSIP_ENDPOINT({name},outbound_auth)"):
                found.append(device)
    if not found:
        return []
    words = "logs in elsewhere, as a trunk does, and is taken for an operator"
    return [warn("operators", f"{', '.join(found)} {words}: narrow operator_pattern")]


async def _has_context(session: AMIActions, name: str) -> bool:
    try:
        await session.sendList("ShowDialPlan", {"Context": name})
    except ActionRefused as refused:
        if not refused.message.startswith("Did not find context"):
            raise
        return False
    return True


async def trunk(session: AMIActions, settings: Asterisk) -> Finding:
    """Whether what clients are dialled by is there, as far as that can be asked."""
    part = f"clients {settings.client_channel}"
    name = re.fullmatch(r"PJSIP/[^@/]+@([A-Za-z0-9_.-]+)", settings.client_channel)
    if name is None:
        local = re.fullmatch(r"Local/[^@/]+@([A-Za-z0-9_.-]+)(?:/[a-z]+)?", settings.client_channel)
        if local is not None and not await _has_context(session, local[1]):
            return fail(part, f"Asterisk's dialplan has no context {local[1]}")
        return ok(part, "is not tried: only a call can tell")
    if not await session.getVar(None, f"PJSIP_ENDPOINT({name[1]},context)"):
        return fail(part, f"Asterisk has no PJSIP endpoint {name[1]}")
    return ok(part, f"the endpoint {name[1]} is there")
