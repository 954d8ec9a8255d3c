"""Which of Asterisk's devices and channels are operators', and how an operator is dialled.

Pure. A template is a dial string with ``{sip}`` where the operator's number stands; an operator may
have several phones, one by each. Channels and devices are mapped back by the same templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property

from ccdaemon.config import Config
from ccdaemon.config.validators import Pattern

#: How far from a known number a new endpoint is looked for after a reload.
REACH = 50

_PLACE = "{sip}"


class Kind(Enum):
    """How it is found out whether a template leads to a phone."""

    #: An endpoint of ``res_pjsip``.
    PJSIP = auto()
    #: A peer of ``chan_sip``.
    SIP = auto()
    #: An extension of the dialplan.
    LOCAL = auto()
    #: By way of another server, which alone knows who is registered.
    ELSEWHERE = auto()
    #: Anything else that has device states.
    OTHER = auto()


@dataclass(frozen=True)
class Template:
    """One way in which operators are dialled, e.g. ``PJSIP/{sip}-WS``."""

    text: str

    @cached_property
    def kind(self) -> Kind:
        """How it is found out whether it leads to a phone."""
        technology, _, rest = self.text.partition("/")
        if technology == "Local":
            return Kind.LOCAL
        if technology in ("PJSIP", "SIP"):
            return Kind.ELSEWHERE if set(rest) & {"@", "/"} else Kind[technology]
        return Kind.OTHER

    @cached_property
    def _device(self) -> str:
        # What stands behind the second slash of a Local channel are its options.
        return "/".join(self.text.split("/")[:2]) if self.kind is Kind.LOCAL else self.text

    def dial(self, sip: str) -> str:
        """What is dialled; a Local channel in such a way that it stays in the call (``/n``)."""
        filled = self.text.replace(_PLACE, sip)
        if self.kind is not Kind.LOCAL:
            return filled
        _, _, options = self.text.partition("/")[2].partition("/")
        if "n" in options:
            return filled
        return f"{filled}n" if options or filled.endswith("/") else f"{filled}/n"

    def device(self, sip: str) -> str:
        """The device of operator ``sip``."""
        return self._device.replace(_PLACE, sip)

    def extension(self, sip: str) -> tuple[str, str]:
        """Context and extension to which a Local channel leads."""
        extension, _, context = self.device(sip).partition("/")[2].partition("@")
        return context or "default", extension

    def sip(self, device: str) -> str | None:
        """What stands where the operator's number would, None if the rest is otherwise."""
        before, _, after = self._device.partition(_PLACE)
        sip = device[len(before) : len(device) - len(after)]
        return sip if sip and device == before + sip + after else None


class Endpoints:
    """Which of Asterisk's devices are operators.

    :param channels: the templates by which an operator is dialled; all of them ring.
    :param pattern: what an operator's number may be.
    :param named: operators whom the configuration names; where only another server knows its
        phones, nothing else says who there is.
    :param dnd: the device that is in use while its operator is not to be disturbed, or empty.
    :param trunks: devices that are no operators, whatever they are called.
    """

    def __init__(
        self,
        channels: Iterable[str],
        pattern: Pattern,
        *,
        named: Iterable[str] = (),
        dnd: str = "",
        trunks: Iterable[str] = (),
    ) -> None:
        self.templates = tuple(map(Template, channels))
        self.pattern = pattern
        self.named = frozenset(named)
        self._dnd = Template(dnd) if dnd else None
        self._trunks = frozenset(trunks)
        # PJSIP/99{sip} before PJSIP/{sip}: the one that says more says whose it is.
        self._by_length = sorted(self.templates, key=lambda one: -len(one.text))

    def owner(self, device: str) -> tuple[str, Template] | None:
        """The operator whose device this is, and by which template; None if it is nobody's."""
        if device in self._trunks:
            return None
        for template in self._by_length:
            sip = template.sip(device)
            if sip is not None and self.pattern.matches(sip):
                return sip, template
        return None

    def is_device(self, template: Template, sip: str) -> bool:
        """Whether what the template makes of a number is that operator's, and not another one's."""
        return self.owner(template.device(sip)) == (sip, template)

    def sip(self, device: str) -> str | None:
        """The operator whose device this is; None if it is nobody's."""
        owner = self.owner(device)
        return owner[0] if owner else None

    def sip_of_channel(self, name: str) -> str | None:
        """The operator whose channel is called this, e.g. ``PJSIP/1000-0000002a``."""
        return self.sip(name.rpartition("-")[0])

    def undisturbed(self, device: str) -> str | None:
        """The operator whose do-not-disturb this device is."""
        sip = self._dnd.sip(device) if self._dnd else None
        return sip if sip is not None and self.pattern.matches(sip) else None

    def near(self, known: Iterable[str]) -> set[str]:
        """Numbers beside the known ones, of the same length: where new operators turn up."""
        found: set[str] = set()
        for sip in known:
            if sip.isdigit():
                near = range(max(0, int(sip) - REACH), int(sip) + REACH + 1)
                found.update(f"{number:0{len(sip)}d}" for number in near)
        return {sip for sip in found if self.pattern.matches(sip)}

    def dialled(self, sip: str, devices: Mapping[str, str]) -> tuple[str, ...]:
        """What is dialled to ring an operator.

        :param devices: their devices that there are, with their states; those that are not
            reachable are left out as long as another one is.
        """
        there = [one for one in self.templates if one.device(sip) in devices]
        able = [one for one in there if devices[one.device(sip)] not in UNREACHABLE]
        chosen = able or there or self.templates[:1]
        return tuple(one.dial(sip) for one in chosen)


def endpoints_of(config: Config) -> Endpoints:
    """Which devices are operators, as it is configured."""
    asterisk = config.asterisk
    ways = [asterisk.client_channel, *(trunk.channel for trunk in config.numbers.trunks)]
    return Endpoints(
        asterisk.operator_templates,
        asterisk.operator_pattern,
        named={sip for each in config.routing.operators for sip in each},
        dnd=asterisk.dnd_device,
        trunks={device for way in ways if way and (device := trunk_device(way))},
    )


def trunk_device(channel: str) -> str | None:
    """The device of the trunk that a client's dial string names: ``PJSIP/{phone}@trunk``."""
    technology, _, rest = channel.partition("/")
    name = rest.rpartition("@")[2] if "@" in rest else rest.partition("/")[0]
    if technology == "Local" or not name or "{" in name:
        return None
    return f"{technology}/{name}"


#: Device states of what cannot ring.
UNREACHABLE = frozenset({"UNAVAILABLE", "INVALID"})
#: The device state of a phone that only another server knows. It is none of Asterisk's.
ELSEWHERE = "ELSEWHERE"

#: Device states by what they say of an operator who has several phones: the first wins.
_FIRST = (
    *("RINGINUSE", "INUSE", "BUSY", "ONHOLD", "RINGING", "NOT_INUSE", ELSEWHERE),
    *("UNAVAILABLE", "UNKNOWN", "INVALID"),
)


def summed(states: Iterable[str]) -> str:
    """What all of an operator's devices are together: in use, if one is, reachable, if one is."""
    order = {state: place for place, state in enumerate(_FIRST)}
    return min(states, key=lambda state: order.get(state, len(order)))
