"""An AMI client in memory, for the tests of when it has a session."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_client import AMIClient
from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings, Credentials
from tests.ami.far_end import FarEnd

CREDENTIALS = Credentials("user", "s3cret")
SETTINGS = AMISettings(retry_first=1, retry_longest=20, retry_refused=60)


class ClientCase(SynchronousTestCase):
    """A client whose service runs."""

    settings = SETTINGS

    def setUp(self) -> None:
        """Starts the service."""
        self.reactor = MemoryReactorClock()
        self.up: list[AMIProtocol] = []
        self.down: list[BaseException] = []
        self.resync: Deferred[None] | None = None
        self.cancelled = 0
        self.client = AMIClient(
            TCP4ClientEndpoint(self.reactor, "127.0.0.1", 5038),
            self.reactor,
            CREDENTIALS,
            self.settings,
            self.on_up,
            self.down.append,
            jitter=lambda: 0.0,
        )
        self.lines: list[str] = []
        observer = cast(ILogObserver, self.observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.client.startService()

    def observe(self, event: LogEvent) -> None:
        """Keeps what the client and its sessions log."""
        if event.get("log_namespace", "").startswith("ccdaemon"):
            self.lines.append(event["log_format"].format(**event))

    async def on_up(self, session: AMIProtocol) -> None:
        """Stands for a resync that ends when the test says so."""
        self.up.append(session)
        if self.resync is not None:
            try:
                await self.resync
            except CancelledError:
                self.cancelled += 1
                raise

    @property
    def tries(self) -> int:
        """How often the client has tried to connect."""
        return len(self.reactor.tcpClients)

    @property
    def factory(self) -> Any:
        """What the try under way builds its protocol with."""
        return self.reactor.tcpClients[-1][2]

    def connect(self) -> FarEnd:
        """The try under way succeeds."""
        return FarEnd(cast(IProtocol, self.factory.buildProtocol(None)))

    def refuse(self, why: Exception | None = None) -> None:
        """The try under way fails."""
        self.factory.clientConnectionFailed(None, Failure(why or ConnectionRefusedError()))

    def log_in(self, far_end: FarEnd) -> None:
        """Asterisk takes the login and has booted."""
        far_end.greet()
        far_end.answer("Challenge: 1\n")
        far_end.answer()
        far_end.say("Event: FullyBooted\nUptime: 5\n\n")

    def bring_up(self) -> FarEnd:
        """A session comes up."""
        far_end = self.connect()
        self.log_in(far_end)
        return far_end
