"""Which events are Asterisk's: those that it spells as it always does, and no others.

What a phone sends stands in an event as it came, CR LF too, so that a caller's number may add
headers to an event, end it, and begin others. Knows by a table which headers an event has, once
and in which order; a header that no event here has is a newer Asterisk's and passes. Does not know
what any of it means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from ccdaemon.ami.ami_wire import Message, MessageKind

#: What every event about a channel says of it, 16 to 22, in this order; what a phone sends may
#: stand in the numbers, names and the extension.
SNAPSHOT: Final = (
    "Channel",
    "ChannelState",
    "ChannelStateDesc",
    "CallerIDNum",
    "CallerIDName",
    "ConnectedLineNum",
    "ConnectedLineName",
    "Language",
    "AccountCode",
    "Context",
    "Exten",
    "Priority",
    "Uniqueid",
    "Linkedid",
)
_BRIDGE: Final = (
    "BridgeUniqueid",
    "BridgeType",
    "BridgeTechnology",
    "BridgeCreator",
    "BridgeName",
    "BridgeNumChannels",
    "BridgeVideoSourceMode?",
    "BridgeVideoSource?",
)
#: The headers of each event in their order, without those that are not named here at all; a
#: question mark: not every version says it, or not always.
SPELLED: Final[Mapping[str, tuple[str, ...]]] = {
    "Newchannel": ("Privilege", *SNAPSHOT),
    "Newstate": ("Privilege", *SNAPSHOT),
    "BridgeEnter": ("Privilege", *_BRIDGE, *SNAPSHOT, "SwapUniqueid?"),
    "BridgeLeave": ("Privilege", *_BRIDGE, *SNAPSHOT),
    "Hold": ("Privilege", *SNAPSHOT, "MusicClass?"),
    "Unhold": ("Privilege", *SNAPSHOT),
    "HangupRequest": ("Privilege", *SNAPSHOT, "Cause?", "TechCause?"),
    "Hangup": ("Privilege", *SNAPSHOT, "Cause", "Cause-txt", "TechCause?"),
    "MixMonitorStart": ("Privilege", *SNAPSHOT),
    "OriginateResponse": (
        *("Privilege", "ActionID?", "Response", "Channel", "Context", "Exten", "Reason"),
        *("Uniqueid", "CallerIDNum", "CallerIDName"),
    ),
    "DeviceStateChange": ("Privilege", "Device", "State"),
    "FullyBooted": ("Privilege?", "Uptime?", "LastReload?", "Status?"),
    "Reload": ("Privilege?", "Module?", "Status?"),
}
#: What a list of the same name has; the ActionID is ours then, or it is told to nobody.
LISTED: Final[Mapping[str, tuple[str, ...]]] = {
    "DeviceStateChange": ("ActionID", "Device", "State"),
}
#: What the dialplan says has the headers of this table, too.
USER_EVENT: Final = "UserEvent"
#: Bytes that may follow in an event that a phone has cut: no field of a phone's is longer than a
#: header that Asterisk reads (512), and there are five of them.
MOST_REST: Final = 3000

_KNOWN = frozenset(name.rstrip("?") for names in SPELLED.values() for name in names)
_KNOWN_EVERYWHERE = _KNOWN | {"Event", "ActionID", USER_EVENT}
_KNOWN_OF_CHANNELS = frozenset({*SNAPSHOT, "Event"})


class Spelling(Enum):
    """How an event is spelled."""

    #: As Asterisk does.
    OURS = auto()
    #: With headers that stand twice, or that it never has.
    MIXED = auto()
    #: Without headers that it always has: another event may follow that is none.
    CUT = auto()
    #: No event at all.
    STRANGE = auto()


@dataclass(slots=True)
class Judged:
    """What came in one piece, and what of it may be believed.

    :ivar forged: the channels that are spoken of in events that are not Asterisk's.
    """

    believed: list[Message] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    strange: int = 0


class Judge:
    """Judges the messages of one session, in their order.

    :param sayings: the headers of each UserEvent that is ours.
    """

    def __init__(self, sayings: Mapping[str, tuple[str, ...]]) -> None:
        self._sayings = sayings
        # What the rest of an event that was cut may still have, in bytes, and what came since its
        # last piece that cannot be Asterisk's, if there was one.
        self._rest = 0
        self._held: list[Message] = []
        self._has_rest = False

    def judge(self, messages: Iterable[Message]) -> Judged:
        """What is to be believed of messages that came at once.

        With an event that was cut everything goes up to its last piece, which has the end of what
        Asterisk wrote. Where a piece comes that nothing was cut off from, what came before it about
        a channel goes: it is what a phone has made of the beginning.
        """
        judged = Judged()
        for message in messages:
            if message.kind is MessageKind.RESPONSE:
                # It is told by its ActionID, which nobody can guess.
                judged.believed.append(message)
                continue
            spelling = self._spelling(message)
            if self._rest:
                self._take_rest(message, spelling, judged)
            else:
                self._take(message, spelling, judged)
        return judged

    @property
    def waits(self) -> bool:
        """Whether more may come of an event that was cut: what comes meanwhile is held."""
        return self._rest > 0

    def settle(self) -> Judged:
        """No more comes: what was held behind the last piece is believed."""
        judged = Judged()
        self._end_rest(judged)
        return judged

    def _take(self, message: Message, spelling: Spelling, judged: Judged) -> None:
        if spelling is Spelling.OURS:
            judged.believed.append(message)
        elif spelling is Spelling.STRANGE:
            judged.strange += 1
            if judged.believed and judged.believed[-1].get("ChannelState"):
                judged.forged.append(judged.believed.pop().get("Channel"))
        else:
            judged.forged.append(message.get("Channel"))
            if spelling is Spelling.CUT:
                self._rest = MOST_REST

    def _take_rest(self, message: Message, spelling: Spelling, judged: Judged) -> None:
        self._rest -= sum(len(name) + len(value) + 4 for name, value in message.headers)
        if spelling is Spelling.OURS:
            self._held.append(message)
        else:
            self._held, self._has_rest = [], True
            if spelling is Spelling.CUT and message.get("Privilege"):
                judged.forged.append(message.get("Channel"))
                self._rest, self._has_rest = MOST_REST, False
        if self._rest <= 0:
            self._end_rest(judged)

    def _end_rest(self, judged: Judged) -> None:
        """Believe what came behind the last piece; without one nobody knows where it began."""
        if self._has_rest:
            judged.believed += self._held
        self._rest, self._held, self._has_rest = 0, [], False

    def _spelling(self, message: Message) -> Spelling:
        if message.kind is MessageKind.STRANGE:
            return Spelling.STRANGE
        expected = SPELLED.get(message.name)
        if is_listed(message):
            expected = LISTED[message.name]
        known = _KNOWN_EVERYWHERE
        if message.name == USER_EVENT and message.get(USER_EVENT) in self._sayings:
            words = self._sayings[message.get(USER_EVENT)]
            expected = ("Privilege", *SNAPSHOT, USER_EVENT, *words)
            known = known.union(words)
        if expected is None:
            expected, known = SNAPSHOT, _KNOWN_OF_CHANNELS
            if not message.get("ChannelState"):
                return Spelling.OURS
        names = tuple([name for name, _ in message.headers if name in known])
        return _compared(names, ("Event", *expected))


def is_listed(message: Message) -> bool:
    """Whether an event is an entry of a list, and nothing that has happened."""
    return message.name in LISTED and not message.get("Privilege")


@lru_cache(1000)
def _compared(names: tuple[str, ...], expected: tuple[str, ...]) -> Spelling:
    if _pattern(expected)(" ".join(names)):
        return Spelling.OURS
    missing = {name for name in expected if not name.endswith("?")} - set(names)
    return Spelling.CUT if missing and "Linkedid" in expected else Spelling.MIXED


@lru_cache(100)
def _pattern(expected: tuple[str, ...]) -> Callable[[str], object]:
    each = (
        f"(?: {re.escape(name[:-1])})?" if name.endswith("?") else f" {re.escape(name)}"
        for name in expected
    )
    return re.compile("".join(each).removeprefix(" ")).fullmatch
