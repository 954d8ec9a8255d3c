"""The few things that can happen to a channel, as far as calls care.

AMI events and CEL rows are two spellings of these signals (``pbx.ami_signals`` and
``pbx.cel_signals`` translate); behind this module nobody knows which one was heard. ``channel`` is
Asterisk's uniqueid of the channel spoken of, ``linkedid`` what ties it to its call, ``date``
whole milliseconds since 1970 in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccdaemon.calls import causes
from ccdaemon.calls.model import Role

#: Asterisk's number for an originate whose time was over while the phone rang.
RANG_OUT = 3


@dataclass(frozen=True, slots=True)
class Signal:
    """Something happened to a channel."""

    channel: str
    linkedid: str
    date: int


@dataclass(frozen=True, slots=True)
class Started(Signal):
    """The channel was born; ``name`` is what Asterisk calls it, e.g. ``PJSIP/1000-0000002a``.

    ``sip`` is the operator whose phone it is, as far as the name tells: the board fills it in.
    ``context``, ``exten`` and ``caller`` are where it begins in the dialplan, what was dialled
    there, and by what number; anything, and empty where a look has found the channel.
    """

    name: str
    sip: str | None = None
    context: str = ""
    exten: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Incoming(Signal):
    """A client calls in on the channel ``name``; opens a call unless it is known already.

    ``phone`` is what Asterisk takes for the caller's number and may be anything, ``did`` the
    number that was dialled.
    """

    name: str
    phone: str
    did: str


@dataclass(frozen=True, slots=True)
class DialledOut(Signal):
    """An operator dials ``phone`` by hand on the channel ``name``; opens a call."""

    name: str
    phone: str


@dataclass(frozen=True, slots=True)
class Tagged(Signal):
    """The operator's channel ``name`` says what makeCall was given for its call.

    Opens the call again if nobody knows it any more; the number is in the channel's own.
    """

    name: str
    phone: str
    order_id: str
    external_key: str


@dataclass(frozen=True, slots=True)
class Answered(Signal):
    """The phone behind the channel was picked up."""


@dataclass(frozen=True, slots=True)
class Entered(Signal):
    """The channel ``name`` entered a bridge; ``holding``: one in which nobody hears another."""

    name: str
    bridge: str
    holding: bool = False


@dataclass(frozen=True, slots=True)
class Left(Signal):
    """The channel left a bridge, or is in none where that is empty."""

    bridge: str


@dataclass(frozen=True, slots=True)
class Held(Signal):
    """The phone behind the channel puts the other side on hold by its own key, or takes it back."""

    on: bool


@dataclass(frozen=True, slots=True)
class Joined(Signal):
    """The phone behind the channel ``name`` talks with the call's client: they share a bridge.

    Follows from ``Entered``; ``sip`` is the operator whose phone it is. ``linkedid`` is the
    client's channel.
    """

    name: str
    sip: str | None


@dataclass(frozen=True, slots=True)
class Parted(Signal):
    """The phone behind the channel talks with the call's client no more."""


@dataclass(frozen=True, slots=True)
class Gone(Signal):
    """The client has been gone for a while, and the call goes on without them: it is over."""


@dataclass(frozen=True, slots=True)
class Asked(Signal):
    """The dialplan, running on ``channel``, is about to ring the other party."""

    role: Role


@dataclass(frozen=True, slots=True)
class DialAttempt(Signal):
    """The dialplan is about to ring operators ``sips`` or numbers outside, ``phones``, together.

    Both are empty where a queue or the administrator's fallback chooses whom to ring. ``number``
    counts what is said of those who are asked, on this channel; 0 where it does not. ``seen``: the
    dialplan did not say so; a look has seen that somebody is asked.
    """

    sips: tuple[str, ...]
    phones: tuple[str, ...]
    number: int = 0
    seen: bool = False


@dataclass(frozen=True, slots=True)
class DialResult(Signal):
    """The dialplan says what came of ringing those whom it was asking; as ``ClientDialResult``.

    ``number`` goes on from that of ``DialAttempt``.
    """

    dial_status: str
    tech: str
    source: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class ClientDialResult(Signal):
    """The dialplan, running on ``channel``, says what came of asking the other party.

    ``dial_status`` is Dial's DIALSTATUS (empty if nobody was asked), ``tech`` the other party's
    last SIP answer in words or empty, ``source`` the name of the channel that hung up first,
    empty if Asterisk does not know.
    """

    dial_status: str
    tech: str
    source: str


@dataclass(frozen=True, slots=True)
class Recorded(Signal):
    """What the channel hears and says is recorded from now on, in ``file`` as Asterisk names it."""

    file: str


@dataclass(frozen=True, slots=True)
class HungUp(Signal):
    """The phone behind the channel asked to hang up (or refused the call)."""


@dataclass(frozen=True, slots=True)
class Ended(Signal):
    """The channel is gone; ``cause`` is the Q.850 number or None, ``tech`` the SIP answer."""

    cause: int | None
    tech: str


@dataclass(frozen=True, slots=True)
class OriginateFailed(Signal):
    """Asterisk could not bring up the channel it was asked for; ``reason`` is its own number.

    Decides only where the born channel's end has no cause, or where no channel was born: it may be
    told before the channel's birth, so that this is known when the channel is ``Lost``.
    """

    reason: int


@dataclass(frozen=True, slots=True)
class OriginateRefused(Signal):
    """Asterisk would not even try, in its own ``words``."""

    words: str


@dataclass(frozen=True, slots=True)
class Lost(Signal):
    """The channel is no longer there and nobody saw it end; ``words`` say how that is known."""

    words: str


@dataclass(frozen=True, slots=True)
class OperatorSkipped(Signal):
    """Operator ``sip`` is not rung, for they cannot take the call: ``outcome`` says why."""

    sip: str
    outcome: causes.Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Noted(Signal):
    """``words`` belong into the detail of the next state that is told."""

    words: str


@dataclass(frozen=True, slots=True)
class Cancelled(Signal):
    """The API ends the call: whatever ends now was ended by it."""
