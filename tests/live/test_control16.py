"""A hand on the call, on Asterisk 16 with chan_sip: the same phones hear the same."""

from __future__ import annotations

from tests.live import (
    test_call_options,
    test_control,
    test_control_ends,
    test_record_pause,
    test_refer,
)


class HangupTests(test_control.HangupTests):
    """hangup."""

    suite = "bullseye"
    flavour = "chan_sip"


class HoldTests(test_control.HoldTests):
    """hold, unhold."""

    suite = "bullseye"
    flavour = "chan_sip"


class BlindTransferTests(test_control.BlindTransferTests):
    """transfer, blind."""

    suite = "bullseye"
    flavour = "chan_sip"


class AttendedTransferTests(test_control.AttendedTransferTests):
    """transfer, attended."""

    suite = "bullseye"
    flavour = "chan_sip"


class MuteTests(test_control.MuteTests):
    """mute, unmute."""

    suite = "bullseye"
    flavour = "chan_sip"


class SupervisorTests(test_control.SupervisorTests):
    """listen, whisper, barge."""

    suite = "bullseye"
    flavour = "chan_sip"


class RecordPauseTests(test_control.RecordPauseTests):
    """recordPause, recordResume."""

    suite = "bullseye"
    flavour = "chan_sip"


class MuteMissingTests(test_control.MuteMissingTests):
    """An Asterisk that cannot mute."""

    suite = "bullseye"
    flavour = "chan_sip"


class CallOptionsTests(test_call_options.CallOptionsTests):
    """makeCall's options."""

    suite = "bullseye"
    flavour = "chan_sip"


class AnnouncedTests(test_call_options.AnnouncedTests):
    """A recording that is announced."""

    suite = "bullseye"
    flavour = "chan_sip"


class HoldEndsTests(test_control_ends.HoldEndsTests):
    """A hold that nobody ends."""

    suite = "bullseye"
    flavour = "chan_sip"


class GivesUpTests(test_control_ends.GivesUpTests):
    """The client hangs up in the middle of a transfer."""

    suite = "bullseye"
    flavour = "chan_sip"


class OutsideTests(test_control_ends.OutsideTests):
    """A phone outside takes the client over."""

    suite = "bullseye"
    flavour = "chan_sip"


class InboundPauseTests(test_record_pause.InboundPauseTests):
    """Pauses of inbound recordings."""

    suite = "bullseye"
    flavour = "chan_sip"


class OutboundPauseTests(test_record_pause.OutboundPauseTests):
    """Pauses of outbound recordings."""

    suite = "bullseye"
    flavour = "chan_sip"


class ReferTests(test_refer.ReferTests):
    """A phone's own transfer."""

    suite = "bullseye"
    flavour = "chan_sip"
