"""How an AMI action, or the whole session, can fail.

The one thing a caller has to know after a failure is whether Asterisk may have acted:
``written`` is False where not a byte of the action left, True where its fate is unknown or where
Asterisk answered no.
"""

from __future__ import annotations

from typing import ClassVar

from ccdaemon.ami.ami_wire import Message


class AMIError(Exception):
    """An action did not succeed.

    :cvar written: whether the action was handed to the link.
    """

    written: ClassVar[bool] = False


class NotConnected(AMIError):
    """There is no session; the action was not kept and will never be sent."""


class TooManyActions(AMIError):
    """As many actions, or bytes of them, are unanswered as may be; nothing was sent."""


class ConnectionLost(AMIError):
    """The link went after the action was written: whether Asterisk acted is unknown."""

    written = True


class ActionTimeout(AMIError):
    """No answer in time: whether Asterisk acted is unknown.

    :param action: the action's name.
    :param seconds: how long it waited.
    """

    written = True

    def __init__(self, action: str, seconds: float) -> None:
        super().__init__(f"{action}: no answer within {seconds:g} s")
        self.action = action
        self.seconds = seconds


class ListTooLong(AMIError):
    """A list has more entries than were asked for; the rest of it is not collected."""

    written = True


class ActionRefused(AMIError):
    """Asterisk answered ``Response: Error``.

    :param message: Asterisk's words.
    :param response: the whole answer.
    """

    written = True

    def __init__(self, message: str, response: Message) -> None:
        super().__init__(message)
        self.message = message
        self.response = response


class SessionError(Exception):
    """Why a session could not be opened, or was given up by us."""


class LoginRefused(SessionError):
    """Asterisk does not take these credentials, or not from this address."""


class Silent(SessionError):
    """The peer did not say in time what it has to say.

    :param awaited: what was waited for.
    :param seconds: how long.
    """

    def __init__(self, awaited: str, seconds: float) -> None:
        super().__init__(f"no {awaited} within {seconds:g} s")
        self.awaited = awaited
        self.seconds = seconds


class BootedLate(SessionError):
    """FullyBooted came after it was no longer waited for: what was read before is not complete."""


class Malformed(SessionError):
    """Something came that is no AMI: a message that was told with it may be lost."""


class Closing(SessionError):
    """The session is being closed because the service stops."""
