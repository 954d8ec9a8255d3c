"""One AMI session in memory, for the tests of what it does."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_session import AMIProtocol
from ccdaemon.ami.ami_settings import AMISettings, Credentials
from ccdaemon.ami.ami_wire import Message
from ccdaemon.pbx.dialplan import HEADERS
from tests.ami.far_end import FarEnd


class SessionCase(SynchronousTestCase):
    """A session that is connected and was greeted."""

    settings = AMISettings(user_events=HEADERS)

    def setUp(self) -> None:
        """Connects."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.session = AMIProtocol(self.clock, self.settings)
        self.far_end = FarEnd(self.session)
        self.far_end.greet()

    def heard(self, name: str | None) -> list[Message]:
        """A list that the events called ``name`` will be put on."""
        events: list[Message] = []
        self.session.registerEvent(name, lambda session, event: events.append(event))
        return events

    def log_in(self) -> None:
        """Logs in with a plain secret."""
        done = Deferred.fromCoroutine(self.session.login(Credentials("u", "s", challenge=False)))
        self.far_end.answer()
        self.successResultOf(done)
