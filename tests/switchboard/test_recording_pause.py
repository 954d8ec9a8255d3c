"""Recordings that begin in a pause."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from ccdaemon.ami.ami_errors import ActionRefused
from ccdaemon.switchboard.recording_pause import RecordingPause
from tests.fake_asterisk import FakeAsterisk, event, response


class PausingTests(TestCase):
    """Pausing."""

    def setUp(self) -> None:
        """Have an Asterisk."""
        self.asterisk = FakeAsterisk()
        self.asterisk.variables["17.4", "CC_PAUSED"] = "1"
        self.pausing = RecordingPause(self.asterisk)

    def test_silent_first(self) -> None:
        """The recording is made silent, then the dialplan is told."""
        self.pausing.heard(None, event("UserEvent", UserEvent="ccdaemon-paused", Uniqueid="17.4"))
        self.assertEqual(
            self.asterisk.asked,
            [
                ("Getvar", {"Channel": "17.4", "Variable": "CC_PAUSED"}),
                ("MixMonitorMute", {"Channel": "17.4", "Direction": "both", "State": "1"}),
                ("Setvar", {"Channel": "17.4", "Variable": "CC_SILENT", "Value": "1"}),
            ],
        )

    def test_not_paused(self) -> None:
        """One event silences nobody: a channel that is not paused itself stays as it is."""
        self.pausing.heard(None, event("UserEvent", UserEvent="ccdaemon-paused", Uniqueid="17.5"))
        self.assertEqual([name for name, _ in self.asterisk.asked], ["Getvar"])

    def test_others(self) -> None:
        """Nothing is done about what else the dialplan says."""
        self.pausing.heard(None, event("UserEvent", UserEvent="ccdaemon-dial", Uniqueid="17.4"))
        self.assertEqual(self.asterisk.asked, [])

    def test_refused(self) -> None:
        """The dialplan is not told: it ends the recording."""
        self.asterisk.trouble = ActionRefused("Cannot set mute flag", response())
        self.pausing.heard(None, event("UserEvent", UserEvent="ccdaemon-paused", Uniqueid="17.4"))
        self.assertEqual([name for name, _ in self.asterisk.asked], ["Getvar"])
