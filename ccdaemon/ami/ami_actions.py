"""The AMI actions that have a name of their own, under starpy's names.

They are spelled here once for a single session and for the client; who includes them says how an
action is sent. Any other action goes through ``sendAction`` or ``sendList``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, fail

from ccdaemon.ami.ami_wire import BadHeader, Message

Headers = Mapping[str, str | Sequence[str]]

_SPECIAL = re.compile(r'([\\",()\[\]{}])')


class AMIActions(ABC):
    """Named actions on top of ``sendAction`` and ``sendList``."""

    @abstractmethod
    def sendAction(
        self, name: str, headers: Headers | None = None, *, timeout: float | None = None
    ) -> Deferred[Message]:
        """Sends one action.

        :param headers: without ``ActionID``; a sequence becomes a repeated header.
        :param timeout: seconds to the response, ``Settings.action_timeout`` if None.
        :returns: the response. Fails with ``ActionRefused``, ``ActionTimeout``, ``LinkLost``,
            or, with nothing written, ``NotConnected``, ``TooManyActions``, ``wire.BadHeader``.
        """

    @abstractmethod
    def sendList(
        self,
        name: str,
        headers: Headers | None = None,
        *,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Deferred[tuple[Message, ...]]:
        """Sends an action that is answered by a list of events.

        :param timeout: seconds to the list's end, ``Settings.list_timeout`` if None.
        :param most: entries to take, ``Settings.most_entries`` if None.
        :returns: the entries without the event that ends the list; they are told to no subscriber.
            Fails as ``sendAction`` does, and with ``ListTooLong``.
        """

    def ping(self, *, timeout: float | None = None) -> Deferred[Message]:
        """Asks for a sign of life."""
        return self.sendAction("Ping", timeout=timeout)

    def originate(
        self,
        channel: str,
        context: str | None = None,
        exten: str | None = None,
        priority: int | str | None = None,
        timeout: float | None = None,
        callerid: str | None = None,
        account: str | None = None,
        application: str | None = None,
        data: str | None = None,
        variable: Mapping[str, str] | None = None,
        channelid: str | None = None,
        otherchannelid: str | None = None,
    ) -> Deferred[Message]:
        """Rings ``channel`` and then runs an extension or an application on it.

        Always asynchronous: the response only says that the call is queued, OriginateResponse
        tells the rest and carries the ``ActionID`` of the response given here.

        :param timeout: seconds to ring.
        :param variable: channel variables by name; the values may hold anything but line breaks.
        :param channelid: becomes the channel's uniqueid.
        :param otherchannelid: the same for the second half of a Local channel.
        """
        try:
            variables = [_assignment(name, value) for name, value in (variable or {}).items()]
        except BadHeader:
            return fail()
        headers = {
            "Channel": channel,
            "Context": context,
            "Exten": exten,
            "Priority": None if priority is None else str(priority),
            "Timeout": None if timeout is None else str(round(timeout * 1000)),
            "CallerID": callerid,
            "Account": account,
            "Application": application,
            "Data": data,
            "ChannelId": channelid,
            "OtherChannelId": otherchannelid,
            "Async": "true",
        }
        return self.sendAction("Originate", {**_given(headers), "Variable": variables})

    def hangup(self, channel: str, cause: int | None = None) -> Deferred[Message]:
        """Hangs up a channel, named by its name or its uniqueid.

        :param cause: Q.850 number to hang up with.
        """
        headers = {"Channel": channel, "Cause": None if cause is None else str(cause)}
        return self.sendAction("Hangup", _given(headers))

    def getVar(self, channel: str | None, variable: str) -> Deferred[str]:
        """The value of a variable or function, ``""`` if unset; global without a channel."""
        headers = {"Channel": channel, "Variable": variable}
        answer = self.sendAction("Getvar", _given(headers))
        return answer.addCallback(lambda response: response.get("Value"))

    def setVar(self, channel: str | None, variable: str, value: str) -> Deferred[Message]:
        """Sets a variable or function; global without a channel."""
        headers = {"Channel": channel, "Variable": variable, "Value": value}
        return self.sendAction("Setvar", _given(headers))

    def redirect(
        self,
        channel: str,
        context: str,
        exten: str,
        priority: int | str = 1,
        extraChannel: str | None = None,
        extraContext: str | None = None,
        extraExten: str | None = None,
        extraPriority: int | str | None = None,
    ) -> Deferred[Message]:
        """Sends a channel to another extension, and with it a second one, there or elsewhere."""
        headers = {
            "Channel": channel,
            "Context": context,
            "Exten": exten,
            "Priority": str(priority),
            "ExtraChannel": extraChannel,
            "ExtraContext": extraContext,
            "ExtraExten": extraExten,
            "ExtraPriority": None if extraPriority is None else str(extraPriority),
        }
        return self.sendAction("Redirect", _given(headers))

    def mixMonitorMute(self, channel: str, on: bool) -> Deferred[Message]:
        """Has silence recorded by a channel's MixMonitor, of both sides, or what is said again."""
        headers = {"Channel": channel, "Direction": "both", "State": "1" if on else "0"}
        return self.sendAction("MixMonitorMute", headers)

    def command(self, command: str) -> Deferred[tuple[str, ...]]:
        """The lines a console command prints; a command that fails has its own in the refusal."""
        answer = self.sendAction("Command", {"Command": command})
        return answer.addCallback(lambda response: response.all("Output"))

    def coreShowChannels(self) -> Deferred[tuple[Message, ...]]:
        """Every live channel."""
        return self.sendList("CoreShowChannels")

    def logoff(self) -> Deferred[Message]:
        """Asks Asterisk to end the session; it answers ``Goodbye`` and closes."""
        return self.sendAction("Logoff")


def _given(headers: Mapping[str, str | None]) -> dict[str, str | Sequence[str]]:
    return {name: value for name, value in headers.items() if value is not None}


def _assignment(name: str, value: str) -> str:
    """``name=value`` so that Asterisk reads back the very value, on 16 as on 22.

    It splits a ``Variable`` header at commas, minds quotes and brackets while it does so, and then
    drops the quotes and backslashes.
    """
    if not name or "=" in name:
        raise BadHeader(name or "Variable", "is no name of a variable")
    return _SPECIAL.sub(r"\\\1", f"{name}={value}")
