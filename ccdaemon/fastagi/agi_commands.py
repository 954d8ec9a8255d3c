"""The AGI commands that have a name of their own, under starpy's names.

How a command is sent and awaited is said by who includes them; any other command goes through
``sendCommand``. All times are seconds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred

from ccdaemon.fastagi.agi_wire import Reply

#: What a command that plays or waits may take beyond the time it was given, for its reply to come.
MARGIN: Final = 5.0


class AGIError(Exception):
    """A command did not succeed."""


class AGICommandFailure(AGIError):
    """Asterisk replied that the command failed, or would not take it.

    :param command: the command's name, without its arguments.
    :param reply: the whole reply; ``reply.code`` tells a wrong usage from a channel that is gone.
    """

    def __init__(self, command: str, reply: Reply) -> None:
        super().__init__(f"{command}: {reply.code} {reply.text}")
        self.command = command
        self.reply = reply


class AGITimeout(AGIError):
    """No reply in time. The link is dropped, since later replies could not be told apart."""


class AGIClosed(AGIError):
    """The link to Asterisk is gone."""


class AGIBusy(AGIError):
    """As many commands are without reply as may be; nothing was sent."""


class Played(NamedTuple):
    """What came of playing a file: the digit that ended it or ``""``, and at which sample."""

    digit: str
    endpos: int


class Digits(NamedTuple):
    """What came of asking for digits, and whether the time was over before they were all there."""

    digits: str
    timed_out: bool


class AGICommands(ABC):
    """Named commands on top of ``sendCommand``."""

    @abstractmethod
    def sendCommand(
        self, verb: str, *arguments: str, timeout: float | None = None
    ) -> Deferred[Reply]:
        """Sends one command and waits for its reply.

        :param verb: such as ``SET VARIABLE``; the arguments are quoted here.
        :param timeout: to the reply, ``AGISettings.reply_timeout`` if None.
        :returns: the reply. Fails with ``AGICommandFailure`` for any code but 200 and for a result
            of -1 or less, with ``AGITimeout``, ``AGIClosed``, or, with nothing written,
            ``AGIBusy`` or ``BadCommand``.
        """

    def answer(self) -> Deferred[Reply]:
        """Answers the call."""
        return self.sendCommand("ANSWER")

    def hangup(self, channel: str | None = None) -> Deferred[Reply]:
        """Hangs up this channel or the named one."""
        return self.sendCommand("HANGUP", *_given(channel))

    def channelStatus(self, channel: str | None = None) -> Deferred[int]:
        """Asterisk's number for the channel's state; 6 is up."""
        return self.sendCommand("CHANNEL STATUS", *_given(channel)).addCallback(_number)

    def execute(
        self, application: str, *options: str, timeout: float | None = None
    ) -> Deferred[Reply]:
        """Runs a dialplan application to its end.

        :param options: joined by commas, as the dialplan would.
        """
        joined = ",".join(options)
        return self.sendCommand("EXEC", application, joined, timeout=timeout)

    def getVariable(self, variable: str) -> Deferred[str | None]:
        """A channel variable; None if it is unset."""
        return self.sendCommand("GET VARIABLE", variable).addCallback(_value)

    def getFullVariable(self, expression: str) -> Deferred[str | None]:
        """A dialplan expression such as ``${CALLERID(num)}``, evaluated."""
        return self.sendCommand("GET FULL VARIABLE", expression).addCallback(_value)

    def setVariable(self, variable: str, value: str) -> Deferred[Reply]:
        """Sets a channel variable; leading underscores hand it on to the legs it dials."""
        return self.sendCommand("SET VARIABLE", variable, value)

    def streamFile(
        self, filename: str, escapeDigits: str = "", offset: int = 0, timeout: float = 300.0
    ) -> Deferred[Played]:
        """Plays a file until its end or one of the digits.

        :param offset: the first sample to play.
        :param timeout: longer than the file.
        """
        reply = self.sendCommand(
            "STREAM FILE", filename, escapeDigits, str(offset), timeout=timeout + MARGIN
        )
        return reply.addCallback(lambda reply: Played(_digit(reply), reply.endpos or 0))

    def waitForDigit(self, timeout: float) -> Deferred[str]:
        """The next digit the caller presses, ``""`` if none comes in time."""
        milliseconds = str(round(timeout * 1000))
        reply = self.sendCommand("WAIT FOR DIGIT", milliseconds, timeout=timeout + MARGIN)
        return reply.addCallback(_digit)

    def getData(
        self,
        filename: str,
        timeout: float = 2.0,
        maxDigits: int | None = None,
        playTimeout: float = 300.0,
    ) -> Deferred[Digits]:
        """Plays a file and collects digits up to ``#``, ``maxDigits`` or a pause.

        :param timeout: the longest pause between two digits.
        :param playTimeout: longer than the file and all digits together.
        """
        arguments = [filename, str(round(timeout * 1000)), *_given(maxDigits)]
        reply = self.sendCommand("GET DATA", *arguments, timeout=playTimeout + MARGIN)
        return reply.addCallback(lambda reply: Digits(reply.result, reply.value == "timeout"))

    def setContext(self, context: str) -> Deferred[Reply]:
        """Where the dialplan goes on after the script."""
        return self.sendCommand("SET CONTEXT", context)

    def setExtension(self, extension: str) -> Deferred[Reply]:
        """Where the dialplan goes on after the script."""
        return self.sendCommand("SET EXTENSION", extension)

    def setPriority(self, priority: int | str) -> Deferred[Reply]:
        """Where the dialplan goes on after the script: a number or a label."""
        return self.sendCommand("SET PRIORITY", str(priority))

    def noop(self, message: str = "") -> Deferred[Reply]:
        """Does nothing, and shows it on the console."""
        return self.sendCommand("NOOP", message)

    def verbose(self, message: str, level: int = 1) -> Deferred[Reply]:
        """Shows a message on the console at that verbosity."""
        return self.sendCommand("VERBOSE", message, str(level))


def _given(value: object) -> tuple[str, ...]:
    return () if value is None else (str(value),)


def _number(reply: Reply) -> int:
    return int(reply.result)


def _value(reply: Reply) -> str | None:
    return (reply.value or "") if reply.result == "1" else None


def _digit(reply: Reply) -> str:
    """``result`` is the digit's ASCII number, 0 for none."""
    return chr(int(reply.result)) if reply.result not in ("", "0") else ""
