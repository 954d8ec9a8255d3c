"""AMI events and CEL rows are two spellings of the same signals."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_wire import Message
from ccdaemon.calls import signals
from ccdaemon.calls.model import Role
from ccdaemon.pbx import call_tag, cel_signals
from ccdaemon.pbx.ami_signals import EVENTS, from_event, moment, number
from tests.fake_asterisk import event

CHANNEL, CALL, NOW = "1795412687.18", "cc-0a1b2c-12-o", 1_795_412_687_123
IDS = {"Uniqueid": CHANNEL, "Linkedid": CALL}
AT = (CHANNEL, CALL, NOW)
IN = {"Channel": "PJSIP/t-1", "BridgeUniqueid": "b"}


def said(name: str, **words: str) -> Message:
    """What our dialplan says, as AMI tells it."""
    return event("UserEvent", UserEvent=f"ccdaemon-{name}", Channel="PJSIP/t-1", **IDS, **words)


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
                signals.ClientDialResult(*AT, "BUSY", "SIP 486 Busy Here", "dialplan/builtin"),
            ),
            *(
                (said(name, **words), signal)
                for name, words, signal in (
                    (
                        "incoming",
                        {"Phone": "+380", "Did": "044"},
                        signals.Incoming(*AT, "PJSIP/t-1", "+380", "044"),
                    ),
                    ("dialout", {"Phone": "380"}, signals.DialledOut(*AT, "PJSIP/t-1", "380")),
                    (
                        "ask",
                        {"Sip": "1000&1001", "Phone": ""},
                        signals.DialAttempt(*AT, ("1000", "1001"), ()),
                    ),
                    ("ask", {"Phone": "380"}, signals.DialAttempt(*AT, (), ("380",))),
                    (
                        "asked",
                        {"DialStatus": "BUSY", "Tech": "SIP 486 Busy", "Source": "PJSIP/t-1"},
                        signals.DialResult(*AT, "BUSY", "SIP 486 Busy", "PJSIP/t-1"),
                    ),
                    (
                        "silent",
                        {"Leg": "client"},
                        signals.Noted(*AT, "no sound from the client"),
                    ),
                    ("silent", {"Leg": "x"}, signals.Noted(*AT, "no sound from one of them")),
                )
            ),
            (event("UserEvent", UserEvent="somebody-else", **IDS), None),
            (event("OriginateResponse", Response="Success", Reason="4", Uniqueid=CALL), None),
            (
                event("OriginateResponse", Response="Failure", Reason="3", Uniqueid=CALL),
                signals.OriginateFailed(CALL, CALL, NOW, 3),
            ),
            (event("VarSet", **IDS), None),
            (event("BridgeEnter", **IDS), None),
            (event("BridgeLeave", **IDS), None),
            (
                event("BridgeEnter", **IDS, **IN, BridgeTechnology="simple_bridge"),
                signals.Entered(*AT, "PJSIP/t-1", "b"),
            ),
            (
                event("BridgeEnter", **IDS, **IN, BridgeTechnology="holding_bridge"),
                signals.Entered(*AT, "PJSIP/t-1", "b", holding=True),
            ),
            (event("BridgeLeave", **IDS, **IN), signals.Left(*AT, "b")),
            (event("Hold", **IDS), signals.Held(*AT, True)),
            (event("Unhold", **IDS), signals.Held(*AT, False)),
        ):
            self.assertEqual(from_event(message, NOW), signal, message)

    @given(st.sampled_from(sorted(EVENTS)), st.dictionaries(st.text(), st.text()))
    def test_headers_may_be_anything(self, name: str, headers: dict[str, str]) -> None:
        """An event with missing or odd headers raises nothing."""
        from_event(event(name, **headers), NOW)


def row(
    event_type: str,
    extra: str = "",
    user: str = "",
    time: str = "1795412687.123456",
    label: str = "",
    app: str = "",
    data: str = "",
) -> str:
    """One line of the CEL file."""
    cells = dict.fromkeys(cel_signals.COLUMNS, "")
    cells |= {
        "eventtype": event_type,
        "eventtime": time,
        "uniqueid": CHANNEL,
        "linkedid": CALL,
        "channame": "PJSIP/t-1",
        "userdeftype": user,
        "eventextra": extra,
        "userfield": label,
        "appname": app,
        "appdata": data,
    }
    return ",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells.values()) + "\n"


class MomentTests(SynchronousTestCase):
    """When an event was."""

    def test_asterisks_word(self) -> None:
        """Its own time counts, unless it is none or quite another."""
        for stamp, date in (
            ("", NOW),
            (f"{NOW / 1000 - 6:.6f}", NOW - 6000),
            (f"{NOW / 1000 + 3:.6f}", NOW + 3000),
            (f"{NOW / 1000 - 61:.6f}", NOW),
            ("yesterday", NOW),
            ("inf", NOW),
        ):
            self.assertEqual(moment(event("Hangup", Timestamp=stamp), NOW), date, stamp)


class CelTests(SynchronousTestCase):
    """CEL rows."""

    def test_every_row_that_tells_something(self) -> None:
        """Each row of the table and the signals it spells."""
        hangup = '{"hangupcause":17,"hangupsource":"%s","dialstatus":""}'
        end = '{"extra":"BUSY|SIP 486 Busy Here|dialplan/builtin"}'
        outcome = signals.ClientDialResult(*AT, "BUSY", "SIP 486 Busy Here", "dialplan/builtin")
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
            (
                row("ccdaemon-end", '{"extra":"CANCEL"}'),
                [signals.ClientDialResult(*AT, "CANCEL", "", "")],
            ),
            (
                row("ccdaemon-incoming", '{"extra":"+380|044"}'),
                [signals.Incoming(*AT, "PJSIP/t-1", "+380", "044")],
            ),
            (
                row("USER_DEFINED", '{"extra":"380"}', "ccdaemon-dialout"),
                [signals.DialledOut(*AT, "PJSIP/t-1", "380")],
            ),
            (
                row("ccdaemon-ask", '{"extra":"1000&1001|"}'),
                [signals.DialAttempt(*AT, ("1000", "1001"), ())],
            ),
            (row("ccdaemon-ask", '{"extra":"|"}'), [signals.DialAttempt(*AT, (), ())]),
            (
                row("ccdaemon-ask", '{"extra":"1000||7"}'),
                [signals.DialAttempt(*AT, ("1000",), (), 7)],
            ),
            (row("ccdaemon-asked", '{"extra":"|||8"}'), [signals.DialResult(*AT, "", "", "", 8)]),
            (
                row("ccdaemon-asked", '{"extra":"CANCEL||PJSIP/t-1|too much"}'),
                [signals.DialResult(*AT, "CANCEL", "", "PJSIP/t-1")],
            ),
            (row("LINKEDID_END"), [signals.OriginateFailed(CALL, CALL, NOW, signals.RANG_OUT)]),
            (row("BRIDGE_ENTER"), []),
            (
                row("BRIDGE_ENTER", '{"bridge_id":"b","bridge_technology":"simple_bridge"}'),
                [signals.Entered(*AT, "PJSIP/t-1", "b")],
            ),
            (
                row("BRIDGE_ENTER", '{"bridge_id":"b","bridge_technology":"holding_bridge"}'),
                [signals.Entered(*AT, "PJSIP/t-1", "b", holding=True)],
            ),
            (row("BRIDGE_EXIT"), []),
            (row("BRIDGE_EXIT", '{"bridge_id":"b"}'), [signals.Left(*AT, "b")]),
            (
                row("APP_START", app="MixMonitor", data="/tmp/1.wav,b"),
                [signals.Recorded(*AT, "/tmp/1.wav")],
            ),
            (row("APP_START", app="Dial", data="PJSIP/1000,20"), []),
            (row("APP_START", app="MixMonitor"), []),
        ):
            self.assertEqual(list(cel_signals.from_rows([line])), expected, line)

    def test_a_label(self) -> None:
        """A row whose channel says what it was made for says so first; other values say nothing."""
        label = call_tag.write("38063", "order 1", "key")
        told = signals.Tagged(*AT, "PJSIP/t-1", "38063", "order 1", "key")
        for line, expected in (
            (row("ANSWER", label=label), [told, signals.Answered(*AT)]),
            (row("BRIDGE_ENTER", label=label), [told]),
            (row("ANSWER", label="somebody's"), [signals.Answered(*AT)]),
        ):
            self.assertEqual(list(cel_signals.from_rows([line])), expected, line)

    def test_when_it_was_written(self) -> None:
        """A line says when it was, if it is a row."""
        self.assertEqual(cel_signals.date_of(row("ANSWER")), NOW)
        self.assertIsNone(cel_signals.date_of(row("ANSWER", time="yesterday")))
        self.assertIsNone(cel_signals.date_of(""))

    def test_bad_rows_spell_nothing(self) -> None:
        """A torn row, a time that is none, an extra that is none: the rest is read all the same."""
        bad = [
            "torn\n",
            row("ANSWER", time="yesterday"),
            row("ANSWER", time="inf"),
            row("ANSWER", time="99999999999999"),
            row("ANSWER", time="-5"),
            row("ANSWER", extra="{torn"),
            row("ANSWER", extra="[" * 50_000),
            row("ANSWER", extra="[1]"),
            f"HANGUP,1795412687.123456,{CALL},{CALL},x,,,,,,,,,,",
            f'""HANGUP"",""1795412687.123456"",""{CALL}"",""{CALL}""' + ',""x""' * 11,
            row("ANSWER").replace('""', "", 1),
            row("ANSWER") + ' ""',
            row("ANSWER").rstrip("\n") + ',""',
        ]
        self.assertEqual(
            list(cel_signals.from_rows([*bad, row("ANSWER")])), [signals.Answered(*AT)]
        )

    def test_a_cause_that_is_none(self) -> None:
        """Only a number of few digits is one."""
        causes = {"16": 16, "0": None, "": None, "x": None, "-1": None, "\u0663": None}
        for text, cause in {**causes, "9" * 5000: None}.items():
            self.assertEqual(number(text), cause, text[:9])

    @given(st.lists(st.text(), min_size=15, max_size=15))
    def test_any_cells(self, cells: list[str]) -> None:
        """Whatever fifteen cells hold, they are a row or a BadRow."""
        with contextlib.suppress(cel_signals.BadCelRow):
            list(cel_signals.from_row(cel_signals.parse_row(cells)))
