"""twisted.web's side of a connection: the one place that knows its private names.

A release of Twisted may move them; ``tests.api.test_twisted_http`` names those that are gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IDelayedCall
from twisted.protocols.basic import LineReceiver
from twisted.web.http import HTTPChannel

#: The private names that are used here, by the class they belong to.
PRIVATE: Mapping[type, tuple[str, ...]] = {
    HTTPChannel: (
        "_abortingCall",
        "_networkProducer",
        "_path",
        "_respondToBadRequestAndDisconnect",
        "_waitingForTransport",
    ),
    LineReceiver: ("_buffer",),
}


class OpenChannel(HTTPChannel):
    """A channel that says how it stands, and whose answer to what is no HTTP can be another."""

    @property
    def has_more(self) -> bool:
        """Whether more has come than what was read of it."""
        return bool(self._buffer)

    @property
    def is_blocked(self) -> bool:
        """Whether what was written still has to be taken."""
        return bool(self._waitingForTransport)

    @property
    def path_so_far(self) -> bytes:
        """The path of the request whose body is being read; empty where none is."""
        path: bytes = getattr(self, "_path", b"")
        return path

    @property
    def cutting(self) -> IDelayedCall | None:
        """What will cut the connection."""
        call: IDelayedCall | None = self._abortingCall
        return call

    @cutting.setter
    def cutting(self, call: IDelayedCall | None) -> None:
        self._abortingCall = call

    def stop_reading(self) -> None:
        """Read nothing more for now."""
        self._networkProducer.pauseProducing()

    def read_on(self) -> None:
        """Read again."""
        self._networkProducer.resumeProducing()

    def garbled(self) -> None:
        """Say that this is no HTTP, and close."""
        HTTPChannel._respondToBadRequestAndDisconnect(self)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.garbled()
