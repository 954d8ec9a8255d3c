"""A FastAGI server in memory, for the tests of what its scripts see."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.fastagi.agi_server import AGISettings, FastAGIFactory, FastAGIProtocol
from ccdaemon.fastagi.agi_wire import AGILimits
from tests.ami.far_end import FarEnd

SETTINGS = AGISettings(most_commands=3, most_sessions=2, limits=AGILimits(1000, 1000))


class Call(FarEnd):
    """Asterisk's end of one call inside a script; its lines end with a bare line feed."""

    def say(self, text: str) -> None:
        """Sends ``text`` as it is."""
        self.near_end.dataReceived(text.encode())

    def enter(self, script: str = "script") -> None:
        """The call enters a script."""
        self.say(f"agi_network: yes\nagi_network_script: {script}\nagi_channel: P/1\n\n")


class ServerCase(SynchronousTestCase):
    """A server whose one script waits until the test lets it go."""

    def setUp(self) -> None:
        """Makes the server."""
        self.clock = Clock()
        self.factory = FastAGIFactory({"script": self.script}, self.clock, SETTINGS)
        self.counters = self.factory.counters
        self.talks: list[FastAGIProtocol] = []
        self.endings: list[Deferred[None]] = []
        self.ended: list[str] = []

    async def script(self, agi: FastAGIProtocol) -> None:
        """Waits, and notes how it ended."""
        self.talks.append(agi)
        self.endings.append(Deferred())
        try:
            await self.endings[-1]
            self.ended.append("returned")
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise

    def connect(self) -> Call:
        """Asterisk connects."""
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        return Call(protocol)

    def enter(self) -> tuple[Call, FastAGIProtocol]:
        """A call enters the script."""
        call = self.connect()
        call.enter()
        return call, self.talks[-1]

    def assert_idle(self) -> None:
        """Nothing waits any more."""
        self.assertEqual((self.clock.getDelayedCalls(), self.factory.sessions), ([], set()))
