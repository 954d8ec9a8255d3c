"""The contract with the dialplan, both directions, in one place.

What ``conf/asterisk/extensions_ccdaemon.conf`` and the daemon know of each other: its contexts, its
variables and globals, the scripts that it asks by FastAGI, and what it says. Whatever else speaks
of one of them takes its name from here; a test holds the file against these tables.

What it says is said twice: a ``UserEvent`` has each word in a header of its own, the
``CELGenUserEvent`` of the same name has them in the same order, joined by ``|``. Both run on the
channel that is spoken of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Flag, StrEnum, auto

from ccdaemon.calls import signals
from ccdaemon.calls.causes import SILENT_WORDS
from ccdaemon.calls.model import Role
from ccdaemon.calls.signals import Signal


class Side(Flag):
    """Who does it."""

    DAEMON = auto()
    DIALPLAN = auto()
    #: Whoever installs it.
    ADMIN = auto()


DAEMON, DIALPLAN, ADMIN = Side.DAEMON, Side.DIALPLAN, Side.ADMIN


class Context(StrEnum):
    """The contexts, and who sends channels there.

    :ivar entered_by: the dialplan's own contexts send channels there, the daemon does (Originate,
        Redirect, or a variable that names the context), or what an administrator has written.
    """

    entered_by: Side

    def __new__(cls, name: str, entered_by: Side) -> Context:
        """One context."""
        context = str.__new__(cls, name)
        context._value_ = name
        context.entered_by = entered_by
        return context

    #: The operator of an outbound call has picked up.
    OUTBOUND = "ccdaemon-outbound", DAEMON | DIALPLAN
    #: Several phones of an operator are rung.
    RING = "ccdaemon-ring", DAEMON | DIALPLAN
    #: An operator dials by hand.
    DIALOUT = "ccdaemon-dialout", ADMIN
    DIALLING = "ccdaemon-dialling", DIALPLAN
    #: A client calls.
    INBOUND = "ccdaemon-inbound", ADMIN
    INCOMING = "ccdaemon-incoming", DIALPLAN
    #: Where a live call is sent on.
    HOLD = "ccdaemon-hold", DAEMON | DIALPLAN
    WAIT = "ccdaemon-wait", DAEMON
    BRIDGE = "ccdaemon-bridge", DAEMON
    TRANSFER = "ccdaemon-transfer", DAEMON | DIALPLAN
    CONSULT = "ccdaemon-consult", DAEMON
    SPY = "ccdaemon-spy", DAEMON
    JOIN = "ccdaemon-join", DIALPLAN
    JOINED = "ccdaemon-joined", DIALPLAN
    #: An operator's phone transfers a client (REFER).
    REFER = "ccdaemon-refer", DIALPLAN
    REFERRED = "ccdaemon-referred", DIALPLAN
    #: Where a phone's call forward ends, and all other transfers: nothing is dialled there.
    NOWHERE = "ccdaemon-nowhere", DAEMON | DIALPLAN
    #: Subroutines.
    ANSWERED = "ccdaemon-answered", DIALPLAN
    PHONES = "ccdaemon-phones", DIALPLAN
    HEARD = "ccdaemon-heard", DIALPLAN
    MIX = "ccdaemon-mix", DIALPLAN
    PLAIN = "ccdaemon-plain", DIALPLAN | ADMIN
    RECORD = "ccdaemon-record", DIALPLAN
    TALK = "ccdaemon-talk", DIALPLAN
    TELL = "ccdaemon-tell", DIALPLAN


class Variable(StrEnum):
    """The channel variables: who sets each, and who reads it.

    What both sides know is of one name for both; what only the dialplan sets and reads stands here
    too, so that no name is taken twice.

    :ivar set_by: who gives it a value.
    :ivar read_by: whom it tells something.
    """

    set_by: Side
    read_by: Side

    def __new__(cls, name: str, set_by: Side, read_by: Side) -> Variable:
        """One variable."""
        variable = str.__new__(cls, name)
        variable._value_ = name
        variable.set_by, variable.read_by = set_by, read_by
        return variable

    @property
    def inherited(self) -> str:
        """How it is set so that every channel that this one asks has it, too."""
        return f"__{self.value}"

    @property
    def handed_on(self) -> str:
        """How it is set so that those whom this channel asks have it, and nobody further."""
        return f"_{self.value}"

    def of_round(self, number: int) -> str:
        """The one of a round, where each round has its own; the first is 1."""
        return f"{self.value}{number}"

    # Whom to ring, for how long, and what is seen and heard of it
    DIAL = "CC_DIAL", DAEMON | DIALPLAN, DIALPLAN
    TIMEOUT = "CC_TIMEOUT", DAEMON | DIALPLAN, DIALPLAN
    CALLERID = "CC_CALLERID", DAEMON, DIALPLAN
    PHONES = "CC_PHONES", DAEMON, DIALPLAN
    AFTER = "CC_AFTER", DAEMON, DIALPLAN
    AUTO_ANSWER = "CC_AUTO_ANSWER", DAEMON, DIALPLAN
    RECORDING = "CC_RECORDING", DAEMON | DIALPLAN, DIALPLAN
    STEREO = "CC_STEREO", DAEMON, DIALPLAN
    ANNOUNCE = "CC_ANNOUNCE", DAEMON | DIALPLAN, DIALPLAN
    LONGEST = "CC_LONGEST", DAEMON, DIALPLAN
    # Who takes an inbound call
    ROUTE = "CC_ROUTE", DAEMON | DIALPLAN, DIALPLAN
    DIAL_OF_ROUND = "CC_DIAL_", DAEMON, DIALPLAN
    SIP_OF_ROUND = "CC_SIP_", DAEMON, DIALPLAN
    QUEUE = "CC_QUEUE", DAEMON, DIALPLAN
    EXTENSION = "CC_EXTENSION", DAEMON, DIALPLAN
    FOLDER = "CC_FOLDER", DAEMON | DIALPLAN, DAEMON | DIALPLAN
    # What is done to a live call
    HAND = "CC_HAND", DAEMON | DIALPLAN, DAEMON
    WAITING = "CC_WAITING", DAEMON, DAEMON | DIALPLAN
    PEER = "CC_PEER", DAEMON | DIALPLAN, DIALPLAN
    TO = "CC_TO", DAEMON | DIALPLAN, DIALPLAN
    TO_TIMEOUT = "CC_TO_TIMEOUT", DAEMON | DIALPLAN, DIALPLAN
    TO_SIP = "CC_TO_SIP", DAEMON | DIALPLAN, DIALPLAN
    TO_PHONE = "CC_TO_PHONE", DAEMON | DIALPLAN, DIALPLAN
    SHOWN_NAME = "CC_SHOWN_NAME", DAEMON | DIALPLAN, DIALPLAN
    SHOWN_NUMBER = "CC_SHOWN_NUMBER", DAEMON | DIALPLAN, DIALPLAN
    BACK = "CC_BACK", DAEMON | DIALPLAN, DIALPLAN
    BACK_SIP = "CC_BACK_SIP", DAEMON, DIALPLAN
    BACK_NAME = "CC_BACK_NAME", DAEMON, DIALPLAN
    BACK_NUMBER = "CC_BACK_NUMBER", DAEMON, DIALPLAN
    NOBODY = "CC_NOBODY", DAEMON | DIALPLAN, DIALPLAN
    PAUSED = "CC_PAUSED", DAEMON, DAEMON | DIALPLAN
    SILENT = "CC_SILENT", DAEMON | DIALPLAN, DIALPLAN
    SPY = "CC_SPY", DAEMON, DIALPLAN
    SPY_HOW = "CC_SPY_HOW", DAEMON, DIALPLAN
    # The dialplan's own
    BEFORE = "CC_BEFORE", DIALPLAN, DIALPLAN
    CLIENT = "CC_CLIENT", DIALPLAN, DIALPLAN
    DID = "CC_DID", DIALPLAN, DIALPLAN
    KEYS = "CC_KEYS", DIALPLAN, DIALPLAN
    LATE = "CC_LATE", DIALPLAN, DIALPLAN
    LEFT = "CC_LEFT", DIALPLAN, DIALPLAN
    LEG = "CC_LEG", DIALPLAN, DIALPLAN
    LOOK = "CC_LOOK", DIALPLAN, DIALPLAN
    MOST = "CC_MOST", DIALPLAN, DIALPLAN
    NR = "CC_NR", DIALPLAN, DIALPLAN
    OPERATOR = "CC_OPERATOR", DIALPLAN, DIALPLAN
    PAST = "CC_PAST", DIALPLAN, DIALPLAN
    PHONE = "CC_PHONE", DIALPLAN, DIALPLAN
    ROUND = "CC_ROUND", DIALPLAN, DIALPLAN
    RX = "CC_RX", DIALPLAN, DIALPLAN
    STATUS = "CC_STATUS", DIALPLAN, DIALPLAN
    TALKS = "CC_TALKS", DIALPLAN, DIALPLAN
    TECH = "CC_TECH", DIALPLAN, DIALPLAN
    TRY = "CC_TRY", DIALPLAN, DIALPLAN
    TX = "CC_TX", DIALPLAN, DIALPLAN
    TX_BEFORE = "CC_TX_BEFORE", DIALPLAN, DIALPLAN
    WAITS = "CC_WAITS", DIALPLAN, DIALPLAN


class Global(StrEnum):
    """The globals, which an administrator sets; each has a value in the file that we ship.

    ``CC_STEREO`` is a channel's variable, too, which goes before the global one.
    """

    #: The daemon's FastAGI: host:port, and /SECRET.
    AGI = "CC_AGI"
    FALLBACK = "CC_FALLBACK"
    FALLBACK_TIMEOUT = "CC_FALLBACK_TIMEOUT"
    QUEUE_TIMEOUT = "CC_QUEUE_TIMEOUT"
    RECORDINGS = "CC_RECORDINGS"
    ANNOUNCEMENT = "CC_ANNOUNCEMENT"
    STEREO = "CC_STEREO"
    REDIRECT_CONTEXT = "CC_REDIRECT_CONTEXT"
    DIALOUT = "CC_DIALOUT"
    HOLD = "CC_HOLD"


#: What ``check`` asks Asterisk for.
GLOBALS_READ = frozenset({Global.AGI, Global.FALLBACK})


class Own(StrEnum):
    """Asterisk's own variables and functions that the daemon sets or reads."""

    #: Where a phone's call forward (302), and its own transfer (REFER), go.
    FORWARD_CONTEXT = "__FORWARD_CONTEXT"
    TRANSFER_CONTEXT = "__TRANSFER_CONTEXT"
    CALLER_NAME = "CALLERID(name)"
    #: What makeCall was given, for whoever has lost it (``call_tag``).
    TAG = "CHANNEL(userfield)"
    #: Where what is said on a channel was begun to be recorded to last.
    RECORDED_TO = "MIXMONITOR_FILENAME"
    #: Makes what a channel says silent, with res_mutestream.
    MUTE = "MUTEAUDIO(in)"


#: What keeps whom a phone forwards or transfers to from being dialled.
GOES_NOWHERE: Mapping[str, str] = {
    Own.FORWARD_CONTEXT: Context.NOWHERE,
    Own.TRANSFER_CONTEXT: Context.NOWHERE,
}


#: What ``CC_ROUTE`` may say; anything else is the fallback.
ROUTES = frozenset({"dial", "queue", "redirect", "reject"})


class AgiScript(StrEnum):
    """What the dialplan asks by FastAGI, ``agi://CC_AGI/SCRIPT``.

    :ivar arguments: what it sends, in order.
    """

    arguments: tuple[str, ...]

    def __new__(cls, path: str, arguments: tuple[str, ...]) -> AgiScript:
        """One script."""
        script = str.__new__(cls, path)
        script._value_ = path
        script.arguments = arguments
        return script

    #: Who takes a call.
    INCOMING = "incoming", ("phone", "did", "asked at")
    #: May an operator dial this number, and how is it dialled?
    DIALOUT = "dialout", ("phone", "asked at")
    #: Where does an operator's own key send their client?
    REFER = "refer", ("number", "by")


@dataclass(frozen=True, slots=True)
class Channel:
    """The channel that is spoken of: its ids, the moment (ms), and its name."""

    uniqueid: str
    linkedid: str
    date: int
    name: str

    @property
    def ids(self) -> tuple[str, str, int]:
        """Channel, linkedid and date, as signals begin."""
        return self.uniqueid, self.linkedid, self.date


@dataclass(frozen=True, slots=True)
class DialplanEvent:
    """One thing that the dialplan says: the headers of its words, and what they spell."""

    headers: tuple[str, ...]
    spell: Callable[..., Signal]

    def in_event(self, channel: Channel, header: Callable[[str], str]) -> Signal:
        """What a UserEvent says, whose headers ``header`` reads."""
        return self.spell(channel, *map(header, self.headers))

    def in_row(self, channel: Channel, words: str) -> Signal:
        """What a row of the log with these words says."""
        found = [*words.split("|"), *([""] * len(self.headers))]
        return self.spell(channel, *found[: len(self.headers)])


def _dial(channel: Channel, leg: str) -> Signal:
    return signals.Asked(*channel.ids, Role.CLIENT)


def _end(channel: Channel, dial_status: str, tech: str, source: str) -> Signal:
    return signals.ClientDialResult(*channel.ids, dial_status, tech, source)


def _incoming(channel: Channel, phone: str, did: str) -> Signal:
    return signals.Incoming(*channel.ids, channel.name, phone, did)


def _dialout(channel: Channel, phone: str) -> Signal:
    return signals.DialledOut(*channel.ids, channel.name, phone)


def _ask(channel: Channel, sips: str, phones: str, number: str) -> Signal:
    return signals.DialAttempt(*channel.ids, _list(sips), _list(phones), _count(number))


def _asked(channel: Channel, dial_status: str, tech: str, source: str, number: str) -> Signal:
    return signals.DialResult(*channel.ids, dial_status, tech, source, _count(number))


def _silent(channel: Channel, leg: str) -> Signal:
    return signals.Noted(*channel.ids, SILENT_WORDS.get(leg, "no sound from one of them"))


def _count(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def _list(joined: str) -> tuple[str, ...]:
    return tuple(filter(None, joined.split("&")))


DIALPLAN_EVENTS: dict[str, DialplanEvent] = {
    "ccdaemon-dial": DialplanEvent(("Leg",), _dial),
    "ccdaemon-end": DialplanEvent(("DialStatus", "Tech", "Source"), _end),
    "ccdaemon-incoming": DialplanEvent(("Phone", "Did"), _incoming),
    "ccdaemon-dialout": DialplanEvent(("Phone",), _dialout),
    "ccdaemon-ask": DialplanEvent(("Sip", "Phone", "Nr"), _ask),
    "ccdaemon-asked": DialplanEvent(("DialStatus", "Tech", "Source", "Nr"), _asked),
    "ccdaemon-silent": DialplanEvent(("Leg",), _silent),
}
#: What the dialplan says to the daemon alone: a recording begins while it is paused.
PAUSED = "ccdaemon-paused"
#: The headers of every UserEvent of ours.
HEADERS: Mapping[str, tuple[str, ...]] = {
    PAUSED: (),
    **{name: saying.headers for name, saying in DIALPLAN_EVENTS.items()},
}
#: The other events of Asterisk's that are listened to; the AMI user's filter lets these through.
EVENTS_TOLD: frozenset[str] = frozenset(
    {
        *("BridgeEnter", "BridgeLeave", "DeviceStateChange", "FullyBooted", "Hangup"),
        *("HangupRequest", "MixMonitorStart", "Newchannel", "Newstate", "OriginateResponse"),
        *("Hold", "Reload", "Unhold"),
    }
)
