"""Asterisk's modules: which that are used it has not loaded, and what falls away then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ccdaemon.ami.ami_actions import AMIActions
from ccdaemon.ami.ami_errors import ActionRefused
from ccdaemon.check.findings import Finding, fail, ok, warn

PART = "modules"

#: Without these no call is made or taken as it should be.
NEEDED = (
    *("app_dial", "app_stack", "app_exec", "app_userevent", "res_agi"),
    *("func_callerid", "func_channel", "func_cut", "func_global", "func_hangupcause"),
    *("func_logic", "func_strings", "func_timeout", "func_dialplan", "func_devstate"),
)
#: Without these something falls away.
WANTED = {
    "app_mixmonitor": "nothing is recorded",
    "app_celgenuserevent": "what happened while the daemon was away is told less exactly",
    "app_queue": "queues",
    "app_bridgewait": "hold and attended transfer",
    "app_channelredirect": "attended transfer",
    "app_softhangup": "the operator is not let go who waits for a client on hold",
    "app_chanspy": "listen, whisper and barge",
    "app_playback": "announcements",
    "res_mutestream": "mute",
    "func_version": "the recording of queues",
    "func_config": "the check that events pass the filters",
}
#: The same, where PJSIP is used.
PJSIP_WANTED = {
    "func_pjsip_endpoint": "every operator is unknown",
    "res_pjsip_header_funcs": "auto_answer",
}


async def try_modules(ami: AMIActions, channels: Iterable[str]) -> Finding:
    """Ask for each.

    :param channels: dial strings of operators and clients.
    :raises AMIError: as the action does, but for a refusal.
    """
    wanted = dict(WANTED)
    if any(channel.startswith("PJSIP/") for channel in channels):
        wanted |= PJSIP_WANTED
    try:
        # Of a function that is not there Asterisk says nothing, too: one that must be is asked for.
        if not await _has(ami, "res_agi") and not await _has(ami, "app_dial"):
            return warn(PART, "cannot be asked for: func_module is not loaded")
        missing = [name for name in NEEDED if not await _has(ami, name)]
        fewer = [name for name in wanted if not await _has(ami, name)]
    except ActionRefused:
        return warn(PART, "cannot be asked for: func_module is not loaded")
    if missing:
        return fail(PART, f"Asterisk has not loaded {', '.join(missing)}: no call works like this")
    if fewer:
        return warn(PART, f"not loaded, and what falls away: {'; '.join(_named(fewer, wanted))}")
    return ok(PART, "all that are used are loaded")


def _named(names: Iterable[str], wanted: dict[str, str]) -> Iterator[str]:
    for name in names:
        yield f"{name} ({wanted[name]})"


async def _has(ami: AMIActions, module: str) -> bool:
    return await ami.getVar(None, f"IFMODULE({module}.so)") == "1"
