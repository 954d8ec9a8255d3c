"""AMI events and CEL rows are two spellings of the same signals."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.asterisk import cel
from ccdaemon.asterisk.signals import EVENTS, from_event
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from tests.fake_asterisk import event

CHANNEL, CALL, NOW = "1795412687.18", "cc-0a1b2c-12-o", 1_795_412_687_123
IDS = {"Uniqueid": CHANNEL, "Linkedid": CALL}
AT = (CHANNEL, CALL, NOW)


class EventTests(SynchronousTestCase):
    """AMI events."""

    def test_every_event_that_tells_something(self) -> None:
        """Each event of the table and the signal it spells."""
        for message, signal in (
            (event("Newchannel", Channel="PJSIP/t-1", **IDS), signals.Started(*AT, "PJSIP/t-1")),
            (event("Newstate", ChannelState="6", **IDS), signals.Answered(*AT)),
            (event("Newstate", ChannelState="5", **IDS), None),
            (event("HangupRequest", Cause="16", **IDS), signals.HungUp(*AT)),
            (event("Hangup", Cause="17", TechCause="486", **IDS), signals.Ended(*AT, 17, "486")),
            (event("Hangup", Cause="0", **IDS), signals.Ended(*AT, None, "")),
            (event("Hangup", Cause="what", **IDS), signals.Ended(*AT, None, "")),
            (
                event("UserEvent", UserEvent="ccdaemon-dial", Leg="client", **IDS),
                signals.Asked(*AT, Role.CLIENT),
            ),
            (
                event(
                    "UserEvent",
                    UserEvent="ccdaemon-end",
                    DialStatus="BUSY",
                    Tech="SIP 486 Busy Here",
                    Source="dialplan/builtin",
                    **IDS,
                ),
                signals.Outcome(*AT, "BUSY", "SIP 486 Busy Here", "dialplan/builtin"),
            ),
            (event("UserEvent", UserEvent="somebody-else", **IDS), None),
            (event("OriginateResponse", Response="Success", Reason="4", Uniqueid=CALL), None),
            (
                event("OriginateResponse", Response="Failure", Reason="3", Uniqueid=CALL),
                signals.OriginateFailed(CALL, CALL, NOW, 3),
            ),
            (event("VarSet", **IDS), None),
        ):
            self.assertEqual(from_event(message, NOW), signal, message)

    @given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.text(), st.text()))
    def test_headers_may_be_anything(self, name: str, headers: dict[str, str]) -> None:
        """An event with missing or odd headers raises nothing."""
        from_event(event(name, **headers), NOW)


def row(event_type: str, extra: str = "", user: str = "", time: str = "1795412687.123456") -> str:
    """One line of the CEL file."""
    cells = dict.fromkeys(cel.COLUMNS, "")
    cells |= {
        "eventtype": event_type,
        "eventtime": time,
        "uniqueid": CHANNEL,
        "linkedid": CALL,
        "channame": "PJSIP/t-1",
        "userdeftype": user,
        "eventextra": extra,
    }
    return ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells.values()) + "\n"


class CelTests(SynchronousTestCase):
    """CEL rows."""

    def test_every_row_that_tells_something(self) -> None:
        """Each row of the table and the signals it spells."""
        hangup = '{"hangupcause":17,"hangupsource":"%s","dialstatus":""}'
        end = '{"extra":"BUSY|SIP 486 Busy Here|dialplan/builtin"}'
        outcome = signals.Outcome(*AT, "BUSY", "SIP 486 Busy Here", "dialplan/builtin")
        for line, expected in (
            (row("CHAN_START"), [signals.Started(*AT, "PJSIP/t-1")]),
            (row("ANSWER"), [signals.Answered(*AT)]),
            (
                row("HANGUP", hangup % "PJSIP/t-1"),
                [signals.HungUp(*AT), signals.Ended(*AT, 17, "")],
            ),
            (row("HANGUP", hangup % "dialplan/builtin"), [signals.Ended(*AT, 17, "")]),
            (row("HANGUP"), [signals.Ended(*AT, None, "")]),
            (
                row("USER_DEFINED", '{"extra":"client"}', "ccdaemon-dial"),
                [signals.Asked(*AT, Role.CLIENT)],
            ),
            (row("ccdaemon-dial", '{"extra":"client"}'), [signals.Asked(*AT, Role.CLIENT)]),
            (row("USER_DEFINED", end, "ccdaemon-end"), [outcome]),
            (row("ccdaemon-end", '{"extra":"CANCEL"}'), [signals.Outcome(*AT, "CANCEL", "", "")]),
            (row("LINKEDID_END"), [signals.OriginateFailed(CALL, CALL, NOW, signals.RANG_OUT)]),
            (row("BRIDGE_ENTER"), []),
        ):
            self.assertEqual(list(cel.from_rows([line])), expected, line)

    def test_bad_rows_spell_nothing(self) -> None:
        """A torn row, a time that is none, an extra that is none: the rest is read all the same."""
        bad = [
            "torn\n",
            row("ANSWER", time="yesterday"),
            row("ANSWER", time="inf"),
            row("ANSWER", extra="{torn"),
            row("ANSWER", extra="[1]"),
        ]
        self.assertEqual(list(cel.from_rows([*bad, row("ANSWER")])), [signals.Answered(*AT)])

    @given(st.lists(st.text(), min_size=15, max_size=15))
    def test_any_cells(self, cells: list[str]) -> None:
        """Whatever fifteen cells hold, they are a row or a BadRow."""
        with contextlib.suppress(cel.BadRow):
            list(cel.from_row(cel.parse_row(cells)))
