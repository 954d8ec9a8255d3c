"""FastAGI's wire format without I/O: bytes in, messages out; a command in, bytes out.

Knows how Asterisk 16 to 22 spells and bounds its lines (measured on both). Knows no transport, no
clock, and not which reply belongs to which command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: A command with its line feed. Asterisk 16 cuts a longer one and runs the rest as the next
#: command, so that every later reply answers the wrong one; 22 does so past 8,191.
COMMAND_BYTES: Final = 2047
#: A command of 129 words ends Asterisk itself, 16 as 22, with every call on it.
MOST_WORDS: Final = 100

_BREAKS = re.compile(r"[\r\n\0]")
_VARIABLE = re.compile(r"(agi_[a-z0-9_]+):(?: ([^\r\0]*))?")
_VERB = re.compile(r"[A-Z]+(?: [A-Z]+)*")
_STATUS = re.compile(r"(\d{3})([ -])(.*)", re.DOTALL)
_RESULT = re.compile(
    r"result=(?P<result>[^ ]*)(?: \((?P<value>.*)\))?(?P<rest>(?: +[a-z]+=.*)?) ?", re.DOTALL
)
_OPENS_VALUE = re.compile(r"result=[^ ]* \(")
_CLOSES_VALUE = re.compile(r".*\)(?: +[a-z]+=.*)? ?")
_ENDPOS = re.compile(r"\bendpos=(\d{1,18})(?!\d)")
_END_OF_USAGE = "520 End"
_HANGUP = "HANGUP"


class AGIWireError(Exception):
    """What the peer sent cannot be FastAGI; nothing after it can be trusted."""


class BadCommand(ValueError):
    """A command may not be sent; the arguments themselves are not repeated here.

    :param verb: the command's name.
    :param problem: what is wrong with it.
    """

    def __init__(self, verb: str, problem: str) -> None:
        super().__init__(f"{verb!r} {problem}")
        self.verb = verb
        self.problem = problem


class NotAGI(AGIWireError):
    """A line is neither environment nor reply, or comes where it cannot."""


class AGITooLarge(AGIWireError):
    """A line, a reply or the environment is longer than ``AGILimits`` allows."""


@dataclass(frozen=True, slots=True)
class AGILimits:
    """How much the peer may make us keep."""

    environment_bytes: int = 65_536
    reply_bytes: int = 65_536


@dataclass(frozen=True, slots=True)
class Environment:
    """What Asterisk says about the call before the first command.

    :param values: by name, with the ``agi_`` that Asterisk writes before it.
    """

    values: MappingProxyType[str, str]

    def get(self, name: str, default: str = "") -> str:
        """The value of ``name``, such as ``agi_channel``."""
        return self.values.get(name, default)

    @property
    def script(self) -> str:
        """What stands behind the host in ``agi://host/script?query``, without the query."""
        return self.get("agi_network_script").partition("?")[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the dialplan gave to ``AGI()`` after the address, in order."""
        arguments: list[str] = []
        while (name := f"agi_arg_{len(arguments) + 1}") in self.values:
            arguments.append(self.values[name])
        return tuple(arguments)


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one command.

    :param code: 200, 510 (no such command), 511 (not on a dead channel) or 520 (wrong usage).
    :param result: what stands behind ``result=``, ``""`` where nothing does.
    :param value: what stands in parentheses, None where nothing does.
    :param endpos: where playing or recording stopped, in samples.
    :param text: the reply's words; for 520 the usage.
    """

    code: int
    result: str = ""
    value: str | None = None
    endpos: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class AGIHangup:
    """The channel has hung up; commands that need a live channel get 511 from now on."""


AGIMessage = Environment | Reply | AGIHangup


class AGIParser:
    """Cuts what Asterisk sends into messages.

    After a fault ``error`` is set: what was whole before it has been returned, and nothing more
    will be. Asterisk writes what a phone sends into the environment as it came, line feeds too: so
    a name that stands twice is a fault, since nobody can tell which of the two is Asterisk's.
    """

    def __init__(self, limits: AGILimits | None = None) -> None:
        self.error: AGIWireError | None = None
        self._limits = limits or AGILimits()
        self._buffer = bytearray()
        self._searched = 0
        self._environment: dict[str, str] | None = {}
        self._lines: list[str] = []
        self._size = 0

    @property
    def begun(self) -> bool:
        """Whether a line came that Asterisk's environment may have."""
        return self._environment is None or bool(self._environment)

    def feed(self, data: bytes) -> list[AGIMessage]:
        """The messages that ``data`` completes, in the order of the stream."""
        if self.error is not None:
            return []
        self._buffer += data
        messages: list[AGIMessage] = []
        try:
            for line in self._whole_lines():
                message = self._take(line)
                if message is not None:
                    messages.append(message)
            self._check_size(len(self._buffer))
        except AGIWireError as error:
            self.error = error
            self._buffer.clear()
        return messages

    def _whole_lines(self) -> Iterator[str]:
        end = self._buffer.rfind(b"\n", self._searched)
        if end >= 0:
            lines = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            for line in lines.split(b"\n"):
                self._check_size(len(line) + 1)
                self._size += len(line) + 1
                yield line.decode("utf-8", "replace")
        self._searched = len(self._buffer)

    def _check_size(self, more: int) -> None:
        limits = self._limits
        reading_replies = self._environment is None
        most = limits.reply_bytes if reading_replies else limits.environment_bytes
        if self._size + more > most:
            raise AGITooLarge(f"over {most} bytes")

    def _take(self, line: str) -> AGIMessage | None:
        environment = self._environment
        message: AGIMessage | None
        if environment is None:
            message = self._take_reply(line)
        else:
            message = self._take_variable(environment, line)
        if message is not None:
            self._size = 0
        return message

    def _take_variable(self, environment: dict[str, str], line: str) -> Environment | None:
        variable = _VARIABLE.fullmatch(line)
        if variable is not None:
            name, value = variable.groups("")
            if name in environment:
                raise NotAGI(f"{name} stands twice in the environment")
            environment[name] = value
            return None
        if line or not environment:
            raise NotAGI("a line of the environment is none")
        self._environment = None
        return Environment(MappingProxyType(environment))

    def _take_reply(self, line: str) -> Reply | AGIHangup | None:
        if not self._lines and line == _HANGUP:
            return AGIHangup()
        self._lines.append(line)
        reply = _reply(self._lines)
        if reply is not None:
            self._lines = []
        return reply


def encode_command(verb: str, *arguments: str) -> bytes:
    """The bytes of one command; every argument is quoted, so that Asterisk reads back just it.

    :param verb: such as ``SET VARIABLE``.
    :raises BadCommand: for what Asterisk would cut in two, or die of.
    """
    if not _VERB.fullmatch(verb):
        raise BadCommand(verb, "is no AGI command")
    if len(verb.split()) + len(arguments) > MOST_WORDS:
        raise BadCommand(verb, f"has {len(arguments)} arguments")
    words = [verb]
    for argument in arguments:
        if _BREAKS.search(argument):
            raise BadCommand(verb, "has an argument with CR, LF or NUL")
        escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
        words.append(f'"{escaped}"')
    try:
        line = " ".join(words).encode() + b"\n"
    except UnicodeEncodeError:
        raise BadCommand(verb, "has an argument that UTF-8 cannot spell") from None
    if len(line) > COMMAND_BYTES:
        raise BadCommand(verb, f"makes a line of {len(line)} bytes, Asterisk takes {COMMAND_BYTES}")
    return line


def _reply(lines: list[str]) -> Reply | None:
    """The reply that ``lines`` make, None while there must be more of them.

    A value may hold line feeds; then the lines up to the closing parenthesis belong to it.
    """
    status = _STATUS.fullmatch(lines[0])
    if status is None:
        raise NotAGI("a reply has no status")
    code, separator, text = int(status[1]), status[2], status[3]
    if separator == "-":
        if len(lines) == 1 or not lines[-1].startswith(_END_OF_USAGE):
            return None
        return Reply(code, text="\n".join([text, *lines[1:-1]]))
    if code != 200:
        return Reply(code, text=text)
    if _OPENS_VALUE.match(text) and not _CLOSES_VALUE.fullmatch(lines[-1]):
        return None
    whole = "\n".join([text, *lines[1:]])
    result = _RESULT.fullmatch(whole)
    if result is None:
        raise NotAGI("a reply has no result")
    endpos = _ENDPOS.search(result["rest"])
    return Reply(code, result["result"], result["value"], int(endpos[1]) if endpos else None, whole)
