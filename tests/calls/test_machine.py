"""The call machine tells every row of the outbound table, whatever the order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import CallView, LegView, Role, State, StateChange
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.tables import LEG_OF, STAGES, VERDICT
from ccdaemon.calls.view import view
from tests.calls.streams import (
    ANCHOR,
    ASKED,
    CLIENT,
    CLIENT_NAME,
    OPERATOR_NAME,
    PICKED_UP,
    ROWS,
    T0,
    any_order,
    chain,
    in_turn,
    new_call,
    on_anchor,
    on_client,
)


def told(stream: list[Signal]) -> Call:
    """A new call after a stream of signals."""
    call = new_call()
    for signal in stream:
        machine.advance(call, signal)
    return call


class OutboundTests(SynchronousTestCase):
    """The outbound table."""

    def in_every_order(self, row: str, check: Callable[[Call], None]) -> None:
        """Check the call after each of many orders of the row's signals."""

        @given(any_order(ROWS[row][0]()))
        def run(stream: list[Signal]) -> None:
            check(told(stream))

        run()

    def test_every_row_in_every_order_with_every_echo(self) -> None:
        """Any order and echo that Asterisk may produce gives the row's chain, final once."""
        for row, (_, states) in ROWS.items():

            def check(call: Call, row: str = row, states: list[State] = states) -> None:
                self.assertEqual(chain(call), states, row)
                finals = [told.final for told in call.states]
                self.assertEqual(finals, [False] * (len(states) - 1) + [True], row)
                self.assertEqual([t.seq for t in call.states], list(range(1, len(states) + 1)))

            self.in_every_order(row, check)

    def test_no_order_changes_what_is_said_about_the_end(self) -> None:
        """Cause, words and who hung up are those of the unshuffled stream."""
        for row in ROWS:
            expected = view(told(in_turn(row)))

            def check(call: Call, row: str = row, expected: CallView = expected) -> None:
                self.assertEqual(view(call), expected, row)

            self.in_every_order(row, check)

    def test_who_hung_up(self) -> None:
        """FINISH says who hung up, by the channel that Asterisk names."""
        for row, who in (
            ("the client hangs up", "client"),
            ("the operator hangs up", "operator"),
            ("the operator gives up", "operator"),
            ("the client's phone rings out", "asterisk"),
            ("the client's phone forwards", "client"),
            ("the operator's phone rings out on 16", "asterisk"),
            ("the operator's phone rings out on 22", "asterisk"),
            ("the operator's phone says 480", "operator"),
            ("the operator is busy", "operator"),
            ("the operator is busy on 16", "operator"),
            ("the operator's phone rings out with chan_sip", "asterisk"),
            ("the operator's phone says 408 to chan_sip", "operator"),
            ("the operator's phone forwards with chan_sip", "operator"),
            ("the client is busy", "client"),
            ("the trunk has no address", "asterisk"),
        ):
            self.assertEqual(view(told(in_turn(row))).hung_up_by, who, row)

    def test_the_dialplan_knows_who_hung_up_too(self) -> None:
        """Where the hang-up itself was not heard, the dialplan's word tells who it was."""
        stream = [s for s in in_turn("the client hangs up") if not isinstance(s, signals.HungUp)]
        self.assertEqual(view(told(stream)).hung_up_by, "client")

    def test_a_very_short_call_keeps_its_chain(self) -> None:
        """wazo-calld drops short calls: here all of it may come in one chunk."""
        stream = [replace(signal, date=T0) for signal in in_turn("the client hangs up")]
        self.assertEqual(chain(told(stream)), ROWS["the client hangs up"][1])

    def test_states_nobody_heard_of_are_told_on_the_way(self) -> None:
        """After a gap the rungs between are told, each once."""
        call = told([on_anchor(signals.Answered)])
        self.assertEqual(chain(call), PICKED_UP)
        machine.advance(call, on_anchor(signals.Asked, Role.CLIENT))
        self.assertEqual(chain(call), ASKED)

    def test_a_call_is_deaf_after_its_end(self) -> None:
        """Nothing follows a final state."""
        call = told(in_turn("the client is busy"))
        for signal in in_turn("the client hangs up"):
            self.assertEqual(machine.advance(call, signal), [])

    def test_time_never_runs_backwards(self) -> None:
        """A state is not older than the one before, whatever the clocks say."""
        call = new_call()
        machine.advance(call, signals.Answered(ANCHOR, ANCHOR, T0 - 5000))
        self.assertEqual([t.date for t in call.states], [T0, T0, T0])

    def test_details(self) -> None:
        """Failures are said in Asterisk's words and with the SIP answer."""
        for row, cause, detail in (
            ("the client is busy", 17, "User busy (17), SIP 486 Busy Here"),
            ("the operator declines", 21, "Call rejected (21), SIP 603"),
            ("the trunk has no address", 3, "No route to destination (3)"),
            ("the client's phone rings out", None, "no answer in time"),
            ("the trunk is silent", None, "no SIP answer at all"),
            (
                "the trunk is silent until Asterisk gives up",
                18,
                "No user responding (18), no SIP answer at all",
            ),
            ("the operator gives up", None, "the operator hung up"),
            # The 480 of a phone that only rang is Asterisk's own.
            ("the operator's phone rings out on 22", 19, "User alerting, no answer (19)"),
            ("the operator's phone rings out on 16", None, "no answer in time"),
            ("the operator's phone says 480", 19, "User alerting, no answer (19), SIP 480"),
            ("the client's phone forwards", None, "a call forward of the phone is not followed"),
        ):
            last = told(in_turn(row)).states[-1]
            self.assertEqual((last.cause, last.detail), (cause, detail), row)

    def test_an_asterisk_that_takes_no_more(self) -> None:
        """Beyond its maxcalls the operator picks up and no dialplan runs: ERROR that says so."""
        call = told(
            [
                signals.Started(ANCHOR, ANCHOR, T0 + 1000, OPERATOR_NAME),
                signals.Answered(ANCHOR, ANCHOR, T0 + 3500),
                signals.Ended(ANCHOR, ANCHOR, T0 + 3501, None, ""),
            ]
        )
        self.assertIs(call.states[-1].state, State.ERROR)
        self.assertIn("maxcalls", call.states[-1].detail or "")

    def test_seconds(self) -> None:
        """FINISH has ring, wait and talk seconds; so has the call."""
        times = {
            State.OPERATOR_CALLTO: 1000,
            State.OPERATOR_PICKUP: 3500,
            State.CLIENT_CALLTO: 3600,
            State.CLIENT_PICKUP: 7500,
        }
        call = told(
            [
                signals.Started(ANCHOR, ANCHOR, T0 + 1000, OPERATOR_NAME),
                signals.Answered(ANCHOR, ANCHOR, T0 + 3500),
                signals.Asked(ANCHOR, ANCHOR, T0 + 3600, Role.CLIENT),
                signals.Started(CLIENT, ANCHOR, T0 + 3700, CLIENT_NAME),
                signals.Answered(CLIENT, ANCHOR, T0 + 7500),
            ]
        )
        live = view(call)
        self.assertEqual((live.ring_seconds, live.wait_seconds, live.talk_seconds), (2.5, 4, None))
        self.assertEqual(live.answered, T0 + 7500)
        machine.advance(call, signals.HungUp(CLIENT, ANCHOR, T0 + 20000))
        machine.advance(call, signals.Ended(ANCHOR, ANCHOR, T0 + 20000, 16, ""))
        self.assertFalse(call.final)
        machine.advance(call, signals.Ended(CLIENT, ANCHOR, T0 + 20000, 16, ""))
        over = view(call)
        self.assertEqual((over.ring_seconds, over.wait_seconds, over.talk_seconds), (2.5, 4, 12.5))
        self.assertEqual(
            over.detail,
            "hung up by client; ring 2.5 s, wait 4.0 s, talk 12.5 s; Normal Clearing (16)",
        )
        self.assertEqual({t.state: t.date - T0 for t in call.states[1:-1]}, times)

    def test_a_talk_of_the_time_it_was_given(self) -> None:
        """Asterisk ends it, and the words say why; who hangs up before is said as ever."""
        for hangs_up, by in ((False, "asterisk"), (True, "client")):
            call = told(in_turn("the client hangs up")[:5])
            call.max_duration = 10
            if hangs_up:
                machine.advance(call, signals.HungUp(CLIENT, ANCHOR, T0 + 9900))
            machine.advance(call, signals.Ended(CLIENT, ANCHOR, T0 + 9900, 16, ""))
            machine.advance(call, signals.Ended(ANCHOR, ANCHOR, T0 + 9900, 16, ""))
            self.assertEqual(call.hung_up_by, by)
            words = call.states[-1].detail or ""
            self.assertEqual("max_duration of 10 s was over" in words, not hangs_up, words)

    def test_a_lost_channel(self) -> None:
        """A call whose end nobody saw is an ERROR; FINISH if both had talked."""
        lost = on_anchor(signals.Lost, "not there any more")
        call = told([lost])
        self.assertEqual(chain(call), [State.CALL, State.ERROR])
        self.assertEqual(call.states[-1].detail, "not there any more")
        both = [lost, on_client(signals.Lost, "not there any more")]
        talked = told([*in_turn("the client hangs up")[:-3], *both])
        self.assertEqual(chain(talked)[-2:], [State.CLIENT_PICKUP, State.FINISH])
        self.assertEqual(talked.states[-1].detail, "not there any more")
        # Nobody saw when they stopped talking; that they waited for each other was seen.
        over = view(talked)
        self.assertEqual((over.talk_seconds, over.wait_seconds), (None, 0.0))

    def test_refused_by_asterisk(self) -> None:
        """An Originate that Asterisk refuses is an ERROR with its words."""
        call = told([on_anchor(signals.OriginateRefused, "Extension does not exist.")])
        self.assertEqual(chain(call), [State.CALL, State.ERROR])
        self.assertEqual(call.states[-1].detail, "Extension does not exist.")

    def test_a_phone_that_was_never_sent_anything(self) -> None:
        """Asterisk had no RTP port: an error that says so, and not the operator's doing."""
        started = on_anchor(signals.Started, OPERATOR_NAME)
        stream = [started, on_anchor(signals.Ended, None, "")]
        call = told([*stream, on_anchor(signals.OriginateFailed, 0)])
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO, State.ERROR])
        self.assertIn("RTP port", call.states[-1].detail or "")
        self.assertEqual(call.hung_up_by, "asterisk")
        half = signals.Started("17.9", ANCHOR, T0, "Local/380@ccdaemon-nowhere-00000000;1")
        forwards = told([started, half, *stream[1:], on_anchor(signals.OriginateFailed, 0)])
        machine.advance(forwards, signals.Ended("17.9", ANCHOR, T0 + 1, None, ""))
        self.assertIn("call forward", forwards.states[-1].detail or "")

    def test_a_failed_originate_is_no_end_while_a_channel_lives(self) -> None:
        """The answer to Originate decides only where no channel was born."""
        call = told([on_anchor(signals.Started, OPERATOR_NAME)])
        self.assertEqual(machine.advance(call, on_anchor(signals.OriginateFailed, 0)), [])

    def test_refusals_before_any_phone(self) -> None:
        """Offline and busy operators end a call that asked no phone."""
        for outcome, state in (
            (Outcome.OFFLINE, State.OPERATOR_OFFLINE),
            (Outcome.BUSY, State.OPERATOR_BUSY),
        ):
            call = new_call()
            machine.refuse(call, outcome, "why", T0)
            self.assertEqual(chain(call), [State.CALL, state])

    def test_a_channel_in_the_way_is_nobody(self) -> None:
        """The second half of a Local channel, or a channel before the client was asked."""
        early = told([on_anchor(signals.Started, OPERATOR_NAME), on_client(signals.Started, "x")])
        self.assertEqual(chain(early), [State.CALL, State.OPERATOR_CALLTO])
        self.assertEqual(machine.advance(early, on_client(signals.Answered)), [])
        self.assertEqual(machine.advance(early, on_client(signals.HungUp)), [])
        self.assertIsNone(early.hung_up_by)

    def test_a_recording_that_is_told_twice(self) -> None:
        """AMI and the log tell of the same one: it is known once."""
        call = told([on_anchor(signals.Recorded, "/tmp/1.wav")] * 2)
        self.assertEqual(call.recordings, [(ANCHOR, "/tmp/1.wav")])

    def test_a_half_that_is_told_again(self) -> None:
        """A channel that was known, and has ended, is not there because the log says its birth."""
        half = on_client(signals.Started, "Local/1000@x-00000001;2")
        call = told([on_anchor(signals.Started, OPERATOR_NAME), half])
        self.assertEqual(call.channels, {ANCHOR, CLIENT})
        for signal in (on_client(signals.Ended, 16, ""), half):
            self.assertEqual(machine.advance(call, signal), [])
        self.assertEqual(call.channels, {ANCHOR})

    def test_restored(self) -> None:
        """A call put back after a restart goes on where it stood."""
        states: list[StateChange] = told(in_turn("the client hangs up")[:3]).states
        call = Call(12, "15", "24", new_call().direction, "1000", "380", ANCHOR)
        machine.restore(call, states)
        self.assertEqual(chain(call), ASKED)
        machine.advance(call, on_client(signals.Started, CLIENT_NAME))
        machine.advance(call, on_client(signals.Answered))
        self.assertEqual(chain(call), [*ASKED, State.CLIENT_PICKUP])

    def test_restored_while_somebody_else_is_asked(self) -> None:
        """Who is rung in a transfer has a turn of their own: that they do not answer is told."""
        call = Call(12, "15", "24", new_call().direction, "1000", "380", ANCHOR)
        states = told(in_turn("the client hangs up")[:5]).states
        last = states[-1].date
        second = LegView(
            "operator-2", "1001", None, last + 1000, None, None, None, None, None, "17.9"
        )
        rung = StateChange(
            12, len(states) + 1, State.OPERATOR_CALLTO, False, "operator-2", "1001", last + 1000,
            None, None,
        )  # fmt: skip
        first = LegView("operator-1", "1000", None, 0, states[2].date, last + 900, None, None, None)
        machine.restore(call, [*states, rung], [first, second])
        ids = ("17.9", ANCHOR)
        machine.advance(call, signals.Ended(*ids, last + 7000, None, ""))
        machine.advance(call, signals.DialResult(*ids, last + 7001, "NOANSWER", "", ""))
        self.assertEqual(call.states[-1].state, State.OPERATOR_NOANSWER)
        self.assertEqual(call.states[-1].sip, "1001")
        self.assertFalse(call.states[-1].final)


class TableTests(SynchronousTestCase):
    """The tables are complete."""

    def test_every_rung_has_a_verdict_for_every_outcome(self) -> None:
        """No call can be left without an end."""
        for direction, ladder in STAGES.items():
            for rung in ladder:
                self.assertEqual(set(VERDICT[direction, rung]), set(Outcome))

    def test_every_state_has_its_leg(self) -> None:
        """Every state says whose leg it speaks of."""
        self.assertEqual(set(LEG_OF), set(State))

    def test_any_signals_at_all_make_one_orderly_chain(self) -> None:
        """Signals that no Asterisk sends still cannot break a chain."""
        kinds = st.sampled_from(
            [
                (signals.Started, ("PJSIP/1",)),
                (signals.Answered, ()),
                (signals.Asked, (Role.CLIENT,)),
                (signals.HungUp, ()),
                (signals.ClientDialResult, ("BUSY", "", "PJSIP/2")),
                (signals.ClientDialResult, ("", "SIP 404 No", "")),
                (signals.Ended, (16, "")),
                (signals.Ended, (None, "")),
                (signals.OriginateFailed, (3,)),
                (signals.Lost, ("gone",)),
            ]
        )

        @given(st.lists(st.tuples(kinds, st.sampled_from([ANCHOR, CLIENT]), st.integers(-9, 9))))
        def check(stream: list[tuple[tuple[type[Signal], tuple[object, ...]], str, int]]) -> None:
            call = new_call()
            for (kind, rest), channel, tick in stream:
                machine.advance(call, kind(channel, ANCHOR, T0 + tick, *rest))
            states = chain(call)
            ladder = STAGES[call.direction]
            climbed = states[:-1] if call.final else states
            self.assertEqual(tuple(climbed), ladder[: len(climbed)])
            self.assertNotIn(True, [told.final for told in call.states[:-1]])
            dates = [told.date for told in call.states]
            self.assertEqual(dates, sorted(dates))

        check()
