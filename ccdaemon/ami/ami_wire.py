"""AMI's wire format without I/O: bytes in, messages out; an action in, bytes out.

Knows how Asterisk 16 to 22 spells and bounds its lines (each bound was measured on both).
Knows no transport, no clock, no login, and not what any event means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

#: A line with its CR LF has to fit into Asterisk's read buffer. One byte more and Asterisk not only
#: refuses the action but reads what is left of the line as a second one.
LINE_BYTES: Final = 1024
#: ``Action`` and ``ActionID`` included.
MOST_HEADERS: Final = 128

_BREAK = b"\r\n"
_END = _BREAK + _BREAK
_EVENT = b"Event: "
_ACTION_ID = b"\r\nActionID: "
_GREETING = b"Asterisk Call Manager/"
_NAME = re.compile(r"[!-9;-~]+")
_BREAKS = re.compile(r"[\r\n\0]")
_RESERVED = frozenset({"action", "actionid"})


class WireError(Exception):
    """What the peer sent cannot be AMI; nothing after it can be trusted."""


class NotAsterisk(WireError):
    """The peer's first line is no AMI greeting."""


class MessageTooLarge(WireError):
    """A message is longer than ``Limits.message_bytes``, or never ends."""


class BadHeader(ValueError):
    """A header of an action may not be sent; the value itself is not repeated here.

    :param field: the header's name, as the caller gave it.
    :param problem: what is wrong with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field!r} {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True, slots=True)
class WireLimits:
    """How much the peer may make us keep."""

    message_bytes: int = 1 << 20
    banner_bytes: int = 256


class MessageKind(Enum):
    """What a message is."""

    EVENT = "event"
    RESPONSE = "response"
    #: Neither of them.
    STRANGE = "strange"


@dataclass(frozen=True, slots=True)
class Message:
    """One message from Asterisk, its headers in Asterisk's own spelling and order.

    :param kind: event, or response to an action. OriginateResponse is an event.
    :param name: the value of the ``Event:`` or ``Response:`` header; of what is neither, nothing.
    :param headers: all of them, the repeated ones too.
    """

    kind: MessageKind
    name: str
    headers: tuple[tuple[str, str], ...]
    _first: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_first", dict(reversed(self.headers)))

    def get(self, header: str, default: str = "") -> str:
        """The first value of ``header``, or ``default`` if there is none."""
        return self._first.get(header, default)

    def all(self, header: str) -> tuple[str, ...]:
        """Every value of ``header`` in order."""
        return tuple(value for name, value in self.headers if name == header)


class MessageParser:
    """Cuts a stream into messages, and parses only those that somebody wants.

    After a fault ``error`` is set: what was whole before it has been returned, and nothing more
    will be.

    :param wanted: names of the events to parse, None for all. An event with an ``ActionID`` answers
        an action and is always parsed. May be replaced between two feeds.
    :param strange: return what is neither event nor response, too, in its place.
    :ivar version: what the greeting says after the slash, None before it came.
    :ivar skipped: events passed over because nobody wants them.
    :ivar strange: messages that were neither event nor response: what came with them may be lost.
    :ivar nuls: pieces with a NUL, which Asterisk cannot say; the same goes for them.
    """

    def __init__(
        self,
        wanted: frozenset[bytes] | None = None,
        limits: WireLimits | None = None,
        *,
        strange: bool = False,
    ) -> None:
        self.wanted = wanted
        self.version: str | None = None
        self.error: WireError | None = None
        self.skipped = 0
        self.strange = 0
        self.nuls = 0
        self._limits = limits or WireLimits()
        self._keeps_strange = strange
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes, in the order of the stream."""
        if self.error is not None:
            return []
        self._buffer += data
        if self.version is None and not self._greeted():
            return []
        block = self._whole()
        self.nuls += b"\0" in block
        messages = list(self._messages(block)) if block else []
        # At most a line break before the message and most of its end are not part of it: so the
        # verdict does not depend on how the stream was cut.
        if self.error is None and len(self._buffer) > self._limits.message_bytes + 5:
            self._fail(MessageTooLarge(f"over {self._limits.message_bytes} bytes"))
        return messages

    def _greeted(self) -> bool:
        head = bytes(self._buffer[: self._limits.banner_bytes])
        line, end, _ = head.partition(_BREAK)
        if end and line.startswith(_GREETING):
            self.version = line[len(_GREETING) :].decode("utf-8", "replace")
            del self._buffer[: len(line) + len(end)]
            return True
        may_become_one = _GREETING.startswith(line[: len(_GREETING)])
        if end or not may_become_one or len(head) == self._limits.banner_bytes:
            self._fail(NotAsterisk("the peer does not greet as Asterisk's AMI does"))
        return False

    def _whole(self) -> bytes:
        """Takes the messages that are whole off the buffer, still in one piece."""
        end = self._buffer.rfind(_END, self._searched)
        block = b""
        if end >= 0:
            block = bytes(self._buffer[:end])
            del self._buffer[: end + len(_END)]
        self._searched = max(0, len(self._buffer) - len(_END) + 1)
        return block

    def _messages(self, block: bytes) -> Iterator[Message]:
        wanted = self.wanted
        most = self._limits.message_bytes
        for padded in block.split(_END):
            # A longer run of line breaks leaves one at either edge, depending on the chunks.
            raw = padded.removeprefix(_BREAK).removesuffix(_BREAK)
            if len(raw) > most:
                self._fail(MessageTooLarge(f"over {most} bytes"))
                return
            if raw.startswith(_EVENT):
                end = raw.find(_BREAK)
                name = raw[len(_EVENT) : end] if end > 0 else raw[len(_EVENT) :]
                if wanted is not None and name not in wanted and _ACTION_ID not in raw:
                    self.skipped += 1
                    if not self._keeps_strange or not _is_cut(raw):
                        continue
            if raw:
                message = _message(raw)
                if message is not None:
                    yield message
                else:
                    self.strange += 1
                    if self._keeps_strange:
                        yield Message(MessageKind.STRANGE, "", _headers(raw))

    def _fail(self, error: WireError) -> None:
        self.error = error
        self._buffer.clear()


def encode_action(
    name: str, headers: Mapping[str, str | Sequence[str]], action_id: str = ""
) -> bytes:
    """The bytes of one action; a sequence becomes a header repeated for each of its values.

    :raises BadHeader: naming the field, for what Asterisk would refuse or read as something else.
    """
    lines = [_line("Action", name)]
    if action_id:
        lines.append(_line("ActionID", action_id))
    for header, values in headers.items():
        if header.lower() in _RESERVED:
            raise BadHeader(header, "is not a header but a parameter of its own")
        for value in (values,) if isinstance(values, str) else values:
            lines.append(_line(header, value))
    if len(lines) > MOST_HEADERS:
        raise BadHeader(name, f"has {len(lines)} headers, Asterisk takes {MOST_HEADERS}")
    lines.append(b"\r\n")
    return b"".join(lines)


def _line(header: str, value: str) -> bytes:
    if not _NAME.fullmatch(header):
        raise BadHeader(header, "is no header name")
    if _BREAKS.search(value):
        # A bare LF ends a header for Asterisk just as CR LF does.
        raise BadHeader(header, "holds CR, LF or NUL")
    try:
        line = f"{header}: {value}\r\n".encode()
    except UnicodeEncodeError:
        raise BadHeader(header, "is no text that UTF-8 can spell") from None
    if len(line) > LINE_BYTES:
        raise BadHeader(header, f"makes a line of {len(line)} bytes, Asterisk takes {LINE_BYTES}")
    return line


def _is_cut(raw: bytes) -> bool:
    """Whether the end of an event about a channel is missing, whatever event it is."""
    return b"\r\nUniqueid: " not in raw and b"\r\nChannelState: " in raw


def _message(raw: bytes) -> Message | None:
    """One message, or None for what is neither event nor response; ``Event`` decides first."""
    headers = _headers(raw)
    for kind, header in ((MessageKind.EVENT, "Event"), (MessageKind.RESPONSE, "Response")):
        for name, value in headers:
            if name == header:
                return Message(kind, value, headers)
    return None


def _headers(raw: bytes) -> tuple[tuple[str, str], ...]:
    """The headers of one message.

    Bytes that are not UTF-8 become U+FFFD. Escaping them into surrogates would keep them, but only
    to raise later, where the text goes into JSON, XML or a database; a channel whose name holds
    such bytes can still be named by its uniqueid. Only CR LF ends a header: a bare LF is part of a
    value, as in the answer to Getvar. A line without a colon (UserEvent lets the dialplan write
    one) is a header without a value.
    """
    headers = []
    for line in raw.decode("utf-8", "replace").split("\r\n"):
        name, found, value = line.partition(": ")
        if not found or ":" in name:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
        headers.append((name, value))
    return tuple(headers)
