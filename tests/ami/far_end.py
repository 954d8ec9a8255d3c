"""The far end of a link, spoken by hand: what Asterisk would write, and what it was sent."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure


class FarEnd:
    """One link in memory."""

    def __init__(self, near_end: IProtocol) -> None:
        self.near_end = near_end
        self.transport = StringTransport()
        near_end.makeConnection(self.transport)

    @property
    def dropped(self) -> bool:
        """Whether the near end has dropped the link, whatever was unsent."""
        return bool(self.transport.disconnected)

    def say(self, text: str) -> None:
        """Sends ``text``, its line feeds as CR LF."""
        self.near_end.dataReceived(text.replace("\n", "\r\n").encode())

    def greet(self) -> None:
        """Greets as AMI does."""
        self.say("Asterisk Call Manager/11.0.0\n")

    def heard(self) -> str:
        """What was sent since it was asked last."""
        text: str = self.transport.value().decode().replace("\r\n", "\n")
        self.transport.clear()
        return text

    def actions(self) -> list[dict[str, str]]:
        """The actions sent since it was asked last; of repeated headers the last value."""
        blocks = self.heard().split("\n\n")[:-1]
        return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]

    def action(self) -> dict[str, str]:
        """The one action sent since it was asked last."""
        (action,) = self.actions()
        return action

    def answer(self, more: str = "", response: str = "Success") -> dict[str, str]:
        """Answers the one action that was sent."""
        action = self.action()
        self.say(f"Response: {response}\nActionID: {action['ActionID']}\n{more}\n")
        return action

    def hang_up(self, why: Exception | None = None) -> None:
        """The link is gone."""
        self.near_end.connectionLost(Failure(why or ConnectionDone()))
