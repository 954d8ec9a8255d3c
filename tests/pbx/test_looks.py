"""Whether Asterisk has a channel, as far as it can be asked."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_errors import ActionTimeout, ConnectionLost, NotConnected
from ccdaemon.pbx.ami_queries import CALL_WAITS, has_channel
from tests.fake_asterisk import FakeAsterisk

UNIQUEID, NAME = "1795467600.1", "PJSIP/trunk-00000001"


class HasChannelTests(SynchronousTestCase):
    """A channel that asks by FastAGI."""

    def setUp(self) -> None:
        """Have one channel."""
        self.asterisk = FakeAsterisk()
        self.asterisk.variables[UNIQUEID, "CHANNEL(name)"] = NAME
        self.asterisk.gone.add("1795467600.2")

    def has(self, channel: str, name: str) -> bool:
        """Ask for one."""
        asking = Deferred.fromCoroutine(has_channel(self.asterisk, channel, name))
        return self.successResultOf(asking)

    def test_table(self) -> None:
        """It is there if there is one of this uniqueid that has this name."""
        self.assertTrue(self.has(UNIQUEID, NAME))
        self.assertFalse(self.has(UNIQUEID, "PJSIP/1000-00000001"))
        self.assertFalse(self.has("1795467600.2", NAME))

    def test_where_it_cannot_be_asked(self) -> None:
        """Nobody is kept from an operator for that."""
        for trouble in (
            NotConnected("x"),
            ConnectionLost("x"),
            ActionTimeout("Getvar", CALL_WAITS),
        ):
            self.asterisk.trouble = trouble
            self.assertTrue(self.has("1795467600.2", NAME))
