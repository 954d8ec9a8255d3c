"""Calls that begin by themselves, and calls that were known before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.factory import again, begin, did_of, phone_of
from ccdaemon.calls.model import Direction, State
from ccdaemon.calls.view import view
from ccdaemon.numbers import Numbers
from tests.calls import inbound_streams as inbound
from tests.calls import streams
from tests.calls.streams import T0, unshuffled

#: Milliseconds.
HOUR = 3_600_000


def _numbered(stream: Sequence[signals.Signal]) -> list[signals.Signal]:
    """The same, as a dialplan says it that counts."""
    counted: Counter[str] = Counter()
    numbered = []
    for signal in stream:
        if isinstance(signal, signals.DialAttempt | signals.DialResult):
            counted[signal.channel] += 1
            signal = replace(signal, number=counted[signal.channel])
        numbered.append(signal)
    return numbered


class BeginningTests(SynchronousTestCase):
    """Calls that nobody asked for by the API."""

    def test_a_client_calls_in(self) -> None:
        """Client first, no operator yet."""
        signal = signals.Incoming("1.1", "1.1", T0, "PJSIP/trunk-1", "+380 44", "044")
        call, told = begin(7, signal, lambda name: None)
        self.assertEqual([one.state for one in told], [State.CALL])
        self.assertEqual(
            (call.direction, call.phone, call.did), (Direction.INBOUND, "38044", "044")
        )
        self.assertEqual((call.anchor, call.sip, call.client.channel), ("1.1", None, "1.1"))

    def test_an_operator_dials_by_hand(self) -> None:
        """They are there already."""
        signal = signals.DialledOut("1.1", "1.1", T0, "PJSIP/1000-1", "38044")
        call, told = begin(7, signal, lambda name: name[6:10])
        self.assertEqual(
            [one.state for one in told],
            [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP],
        )
        self.assertEqual((call.direction, call.sip), (Direction.OUTBOUND, "1000"))

    def test_one_number_in_one_form(self) -> None:
        """What the trunk or the phone sent is kept beside what it means."""
        numbers = Numbers("ua")
        for sent, phone, kept in (
            ("0441112233", "380441112233", "0441112233"),
            ("+380441112233", "380441112233", "+380441112233"),
            ("380441112233", "380441112233", None),
            ("1001", "1001", None),
            ("0441112", "0441112", None),
            ("Ivan", "anonymous", None),
        ):
            for signal in (
                signals.Incoming("1.1", "1.1", T0, "PJSIP/trunk-1", sent, "044"),
                signals.DialledOut("1.1", "1.1", T0, "PJSIP/1000-1", sent),
            ):
                call, _ = begin(7, signal, lambda name: None, numbers)
                self.assertEqual((call.phone, call.sent), (phone, kept))
                self.assertEqual((call.client.phone, call.client.sent), (phone, kept))

    def test_who_calls(self) -> None:
        """Digits are shown; anything else is anonymous, and unknown if it was dialled."""
        for sent, phone, did in (
            ("+380441112233", "380441112233", "+380441112233"),
            ("", "anonymous", None),
            ("Ivan", "anonymous", "Ivan"),
            ("a b", "anonymous", None),
        ):
            self.assertEqual((phone_of(sent), did_of(sent)), (phone, did), sent)


class AgainTests(SynchronousTestCase):
    """Calls that were live before a restart."""

    def test_at_every_moment(self) -> None:
        """Restarted after any signal, every row ends in the same state of the same operator."""
        for rows, new in ((inbound.ROWS, inbound.new_call), (inbound.TRANSFERS, streams.new_call)):
            for name, row in rows.items():
                stream = unshuffled(row.stream())
                for at in range(1, len(stream)):
                    call = new()
                    kept = view(call)
                    for signal in stream[:at]:
                        if machine.advance(call, signal):
                            kept = view(call)
                    if call.final:
                        continue
                    # What was not told is read again from the log.
                    call = again(kept, call.states, "cc-0a1b2c-12-o")
                    for signal in stream:
                        machine.advance(call, signal)
                    self.assertTrue(call.final, (name, at))
                    of_legs = [(one.leg, one.state) for one in call.states if one.leg]
                    self.assertEqual(len(of_legs), len(set(of_legs)), (name, at, of_legs))
                    last = call.states[-1]
                    expected = row.told[-1]
                    self.assertEqual((last.state, last.sip), expected, (name, at))

    def test_by_another_clock(self) -> None:
        """The same where what was told is dated an hour before what the log has, or after it."""
        for ahead in (-HOUR, 0, HOUR):
            for rows, new in (
                (inbound.ROWS, inbound.new_call),
                (inbound.TRANSFERS, streams.new_call),
            ):
                for name, row in rows.items():
                    stream = _numbered(unshuffled(row.stream()))
                    for at in range(1, len(stream)):
                        call = new()
                        call.states[0] = replace(call.states[0], date=T0 + ahead)
                        kept = view(call)
                        for signal in stream[:at]:
                            if machine.advance(call, replace(signal, date=signal.date + ahead)):
                                kept = view(call)
                        if call.final:
                            continue
                        call = again(kept, call.states, "cc-0a1b2c-12-o")
                        for signal in stream:
                            machine.advance(call, signal)
                        last, where = call.states[-1], (name, at, ahead)
                        self.assertTrue(call.final, where)
                        self.assertEqual((last.state, last.sip), row.told[-1], where)

    def test_who_made_it(self) -> None:
        """It outlives every restart."""
        call = streams.new_call()
        call.made_by, call.made_from = "crm", "192.0.2.7"
        for _ in range(2):
            call = again(view(call), call.states, "")
        kept = view(call)
        self.assertEqual((kept.made_by, kept.made_from), ("crm", "192.0.2.7"))

    def test_counted_before(self) -> None:
        """How far the dialplan had counted outlives every restart."""
        call = inbound.new_call()
        machine.advance(call, replace(inbound.ask("1000"), number=3))
        for _ in range(2):
            call = again(view(call), call.states, "")
            self.assertEqual(view(call).said, ((inbound.ANCHOR, 3),))
        machine.advance(call, replace(inbound.ask("1001"), number=2))
        self.assertEqual(view(call).said, ((inbound.ANCHOR, 3),))

    def test_what_was_not_counted(self) -> None:
        """Of a call that an older daemon has kept dates tell what is of the past."""
        call = again(replace(view(inbound.new_call()), said=None), inbound.new_call().states, "")
        machine.advance(call, replace(inbound.ask("1000", at=-1), number=1))
        self.assertIsNone(call.attempt)
        machine.advance(call, replace(inbound.ask("1000"), number=2))
        self.assertIsNotNone(call.attempt)

    def test_an_older_journal(self) -> None:
        """Where neither legs nor anchor were kept the first channel goes by its name."""
        call = streams.new_call()
        for signal in inbound.outbound_talk()[:2]:
            machine.advance(call, signal)
        was = view(call)
        old = again(
            type(was)(**{name: getattr(was, name) for name in was.__slots__[:17]}),
            call.states,
            streams.ANCHOR,
        )
        self.assertEqual((old.looked_for, old.busy), ({streams.ANCHOR}, {"1000"}))
