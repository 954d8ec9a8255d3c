"""The facts that the journal keeps, and how they are spelled in it.

A fact is spelled as a JSON object by field names, so that ``sqlite3`` on a terminal can read
the journal and a daemon that knows more fields still reads an older one. Knows no SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ccdaemon.calls.model import Action, CallView, Record, StateChange
from ccdaemon.operators import OperatorChange


@dataclass(frozen=True, slots=True)
class StateFact:
    """A state was reached, and the call as it stands with it.

    The state with ``seq`` 1 opens the call: the call's external key is taken with it.
    """

    state: StateChange
    call: CallView

    @property
    def opens(self) -> bool:
        """Whether this is the first a call is heard of."""
        return self.state.seq == 1

    @property
    def call_id(self) -> int:
        """The call it belongs to."""
        return self.state.call_id

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.state.date


@dataclass(frozen=True, slots=True)
class OperatorFact:
    """An operator's status changed. It belongs to no call, even where it names one."""

    change: OperatorChange
    opens = False
    call_id = None

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.change.date


@dataclass(frozen=True, slots=True)
class RecordFact:
    """A recording is complete on disk."""

    record: Record
    opens = False

    @property
    def call_id(self) -> int:
        """The call it belongs to."""
        return self.record.call_id

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.record.date


#: The actions that change what is known of a call; all others only leave their trace.
ATTACH_ORDER, SET_RESULT = "attachOrder", "setResult"
#: A missed call was given to an operator; its detail begins with the minutes.
CLAIM_MISSED = "claimMissed"
#: What is left of a call that was removed, and a recording that was listened to.
FORGET_ORDER, PLAY_RECORD = "forgetOrder", "playRecord"
#: A link to a recording was given, and taken back; its ``note`` says which.
RECORD_LINK, REVOKE_LINK = "recordLink", "revokeLink"


@dataclass(frozen=True, slots=True)
class ActionFact:
    """Somebody did something to a call, or wrote something on it."""

    action: Action
    opens = False

    @property
    def attached(self) -> str | None:
        """The order that is the call's from then on, whatever its states say later."""
        return self.action.order_id if self.action.action == ATTACH_ORDER else None

    @property
    def call_id(self) -> int:
        """The call it belongs to."""
        return self.action.call_id

    @property
    def date(self) -> int:
        """When it was, in ms."""
        return self.action.date


Fact = StateFact | OperatorFact | RecordFact | ActionFact


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in the file where a fact should: readers pass over it."""

    reason: str
    opens = False
    call_id = None
    date = 0


@dataclass(frozen=True, slots=True)
class Event:
    """A fact with its place in the journal; ids grow, and are never used twice.

    ``body`` is its spelling, where it is at hand: what has just been appended is not spelled
    once more.
    """

    event_id: int
    fact: Fact | Unreadable
    body: bytes | None = field(default=None, compare=False, repr=False)


T = TypeVar("T")

_KIND: dict[type, str] = {
    StateFact: "state",
    OperatorFact: "operator",
    RecordFact: "record",
    ActionFact: "action",
}
_DECODER: dict[str, msgspec.json.Decoder[Fact]] = {
    kind: msgspec.json.Decoder(type_) for type_, kind in _KIND.items()
}
_encoder = msgspec.json.Encoder()


def kind_of(fact: Fact) -> str:
    """What kind of fact it is: ``state``, ``operator``, ``record`` or ``action``."""
    return _KIND[type(fact)]


def encode(fact: Fact) -> tuple[str, bytes]:
    """Spell a fact.

    :return: its kind and its body, UTF-8 JSON.
    :raise UnicodeEncodeError: if a text in it holds half a surrogate pair.
    """
    return kind_of(fact), _encoder.encode(fact)


def spelled(event: Event) -> tuple[str, bytes]:
    """The kind and the body of an event, as :func:`encode` gives them.

    :raise ValueError: if it is of no fact that can be read.
    """
    if isinstance(event.fact, Unreadable):
        raise ValueError(event.fact.reason)
    if event.body is not None:
        return kind_of(event.fact), event.body
    return encode(event.fact)


def without_surrogates(fact: T) -> T:
    """The same fact with a question mark for each half of a surrogate pair in its texts.

    A phone's name may hold one, and no UTF-8 spells it.
    """

    def clean(value: object) -> object:
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        return [clean(item) for item in value] if isinstance(value, list | tuple) else value

    return msgspec.convert(clean(msgspec.to_builtins(fact)), type(fact))


def decode(kind: str, body: bytes) -> Fact:
    """Read a fact as :func:`encode` spelled it.

    :raise msgspec.ValidationError: if the body lacks a field.
    """
    return _DECODER[kind].decode(body)


def readable(kind: str, body: bytes) -> Fact | Unreadable:
    """Read a fact, or say why it cannot be read: one bad row stops no reader."""
    try:
        return decode(kind, body)
    except KeyError:
        return Unreadable(f"facts of the kind {kind!r} are not known here")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Unreadable(f"it cannot be read: {error}")
