"""Asterisk 16 with chan_sip: the inbound table, fallback, queue, and calls dialled by hand."""

from __future__ import annotations

from tests.live import (
    test_dialout,
    test_inbound,
    test_inbound_callers,
    test_inbound_fallback,
    test_inbound_queue,
)
from tests.live.inbound_rows import ROWS_ON_16


class InboundTests(test_inbound.InboundTests):
    """Every row at once."""

    suite = "bullseye"
    flavour = "chan_sip"
    rows = ROWS_ON_16
    rounds = 1


class FallbackTests(test_inbound_fallback.FallbackTests):
    """The daemon silent, in every way it can be."""

    suite = "bullseye"
    flavour = "chan_sip"


class CallerTests(test_inbound_callers.CallerTests):
    """Callers of every kind."""

    suite = "bullseye"
    flavour = "chan_sip"


class QueueTests(test_inbound_queue.QueueTests):
    """A queue."""

    suite = "bullseye"
    flavour = "chan_sip"


class DialoutTests(test_dialout.DialoutTests):
    """Calls dialled by hand."""

    suite = "bullseye"
    flavour = "chan_sip"


class SilentDaemonTests(test_dialout.SilentDaemonTests):
    """Calls dialled by hand, while the daemon cannot be asked."""

    suite = "bullseye"
    flavour = "chan_sip"
