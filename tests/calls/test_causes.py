"""Causes: the evidence is asked in the order of its precision."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import causes
from ccdaemon.calls.causes import Outcome


class OutcomeTests(SynchronousTestCase):
    """What ended legs stand for."""

    def test_what_was_measured(self) -> None:
        """Every combination that Asterisk 16 or 22 was seen to send."""
        for tech, cause, status, expected in (
            ("SIP 486 Busy Here", 17, "BUSY", Outcome.BUSY),
            ("SIP 600 Busy Everywhere", 17, "BUSY", Outcome.BUSY),
            ("SIP 603 Decline", 21, "CHANUNAVAIL", Outcome.BUSY),
            ("603", 21, "", Outcome.BUSY),
            ("SIP 607 Unwanted", 127, "CHANUNAVAIL", Outcome.BUSY),
            ("SIP 608 Rejected", 127, "CHANUNAVAIL", Outcome.BUSY),
            ("", 21, "", Outcome.BUSY),
            ("SIP 403 Forbidden", 21, "CHANUNAVAIL", Outcome.FAILED),
            ("SIP 480 Temporarily Unavailable", 19, "NOANSWER", Outcome.NOANSWER),
            ("SIP 408 Request Timeout", 18, "CHANUNAVAIL", Outcome.NOANSWER),
            ("SIP 180 Ringing", 16, "NOANSWER", Outcome.NOANSWER),
            ("SIP 487 Request Terminated", 16, "NOANSWER", Outcome.NOANSWER),
            ("SIP 487 Request Terminated", 127, "CHANUNAVAIL", Outcome.NOANSWER),
            ("SIP 487 Request Terminated", 127, "CANCEL", Outcome.CANCELLED),
            ("", None, "NOANSWER", Outcome.NOANSWER),
            ("SIP 404 Not Found", 1, "CHANUNAVAIL", Outcome.FAILED),
            ("SIP 503 Service Unavailable", 34, "CONGESTION", Outcome.FAILED),
            ("SIP 302 Moved", 127, "CHANUNAVAIL", Outcome.FAILED),
            ("", 16, "BUSY", Outcome.FAILED),
            ("SIP 100 Trying", 16, "BUSY", Outcome.FAILED),
            ("", 17, "BUSY", Outcome.BUSY),
            ("", 3, "CHANUNAVAIL", Outcome.FAILED),
            ("", 20, "CHANUNAVAIL", Outcome.FAILED),
            ("SIP 200 OK", 16, "CANCEL", Outcome.CANCELLED),
            ("SIP 180 Ringing", None, "CANCEL", Outcome.CANCELLED),
            ("", 16, "", Outcome.CANCELLED),
            ("", None, "", Outcome.FAILED),
        ):
            found = causes.outcome(tech=tech, cause=cause, dial_status=status)
            self.assertEqual(found, expected, (tech, cause, status))

    def test_the_networks_own_word(self) -> None:
        """What a gateway's Reason header says counts before its SIP answer, where it says so."""
        for tech, cause, status, expected in (
            ("SIP 480 Temporarily Unavailable", 17, "NOANSWER", Outcome.BUSY),
            ("SIP 503 Service Unavailable", 19, "CONGESTION", Outcome.NOANSWER),
            ("SIP 500 Server Error", 20, "CHANUNAVAIL", Outcome.NOANSWER),
            ("SIP 404 Not Found", 18, "CHANUNAVAIL", Outcome.NOANSWER),
            ("SIP 486 Busy Here", 16, "BUSY", Outcome.BUSY),
            ("SIP 480 Temporarily Unavailable", 21, "NOANSWER", Outcome.NOANSWER),
            ("SIP 503 Service Unavailable", 1, "CONGESTION", Outcome.FAILED),
            ("SIP 483 Too Many Hops", 19, "CHANUNAVAIL", Outcome.FAILED),
            ("SIP 480 Temporarily Unavailable", 17, "CANCEL", Outcome.CANCELLED),
        ):
            found = causes.outcome(tech=tech, cause=cause, dial_status=status)
            self.assertEqual(found, expected, (tech, cause, status))
        # Another leg may have left it.
        found = causes.outcome(tech="480", cause=17, dial_status="NOANSWER", is_own=False)
        self.assertEqual(found, Outcome.NOANSWER)

    def test_sip_codes(self) -> None:
        """Only final answers count, and not the echo of our own CANCEL."""
        for tech, code in (
            ("SIP 486 Busy Here", 486),
            ("486", 486),
            ("SIP 180 Ringing", None),
            ("SIP 200 OK", None),
            ("SIP 487 Request Terminated", None),
            ("", None),
            ("Q.850 17", None),
        ):
            self.assertEqual(causes.sip_code(tech), code, tech)

    def test_words(self) -> None:
        """Cause and SIP answer are told in words, whatever is known of them."""
        self.assertEqual(causes.words(17, "486"), "User busy (17), SIP 486")
        self.assertEqual(causes.words(255, ""), "Cause (255)")
        self.assertEqual(causes.words(None, "SIP 404 Not Found"), "SIP 404 Not Found")
        self.assertIsNone(causes.words(None, "SIP 180 Ringing"))
        self.assertIn("forward", causes.words(None, "", "BUSY") or "")

    @given(st.text(), st.none() | st.integers(), st.text())
    def test_any_evidence_is_an_outcome(
        self, tech: str, cause: int | None, dial_status: str
    ) -> None:
        """Nothing that Asterisk may say raises."""
        found = causes.outcome(tech=tech, cause=cause, dial_status=dial_status)
        self.assertIn(found, Outcome)
        causes.words(cause, tech)
