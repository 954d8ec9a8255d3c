"""The call machine tells every row of the inbound table, and transfers, whatever the order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.causes import Outcome
from ccdaemon.calls.model import CallView, Role, State
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.tables import LEG_STAGES, MOST_LEGS
from ccdaemon.calls.view import view
from tests.calls import inbound_streams as inbound
from tests.calls import streams
from tests.calls.inbound_streams import ROWS, TRANSFERS, Row, Told
from tests.calls.streams import any_order, unshuffled

TABLES: list[tuple[dict[str, Row], Callable[[], Call]]] = [
    (ROWS, inbound.new_call),
    (TRANSFERS, streams.new_call),
]


def told(call: Call, stream: list[Signal]) -> Call:
    """The call after a stream of signals."""
    for signal in stream:
        machine.advance(call, signal)
    return call


def chain(call: Call) -> Told:
    """The states after CALL, each with its operator."""
    return [(state.state, state.sip) for state in call.states[1:]]


class InboundTests(SynchronousTestCase):
    """The inbound table, and transfers."""

    def in_every_order(
        self, row: Row, new: Callable[[], Call], check: Callable[[Call], None]
    ) -> None:
        """Check the call after each of many orders of the row's signals."""

        @given(any_order(row.stream()))
        def run(stream: list[Signal]) -> None:
            check(told(new(), stream))

        run()

    def test_every_row(self) -> None:
        """Unshuffled, every row tells its chain, and who hung up."""
        for rows, new in TABLES:
            for name, row in rows.items():
                call = told(new(), unshuffled(row.stream()))
                self.assertEqual(chain(call), row.told, name)
                self.assertEqual(view(call).hung_up_by, row.by, name)

    def test_every_row_in_every_order_with_every_echo(self) -> None:
        """Any order and echo that Asterisk may produce: one chain, one end, no leg twice."""
        for rows, new in TABLES:
            for name, row in rows.items():

                def check(call: Call, name: str = name, row: Row = row) -> None:
                    self.assertEqual(chain(call), row.told, name)
                    self.orderly(call)
                    self.assertTrue(call.final)

                self.in_every_order(row, new, check)

    def orderly(self, call: Call) -> None:
        """One chain: counted, no time backwards, one final state at most, and it is the last."""
        states = call.states
        self.assertEqual([one.seq for one in states], list(range(1, len(states) + 1)))
        self.assertNotIn(True, [one.final for one in states[:-1]])
        dates = [one.date for one in states]
        self.assertEqual(dates, sorted(dates))
        of_legs = [(one.leg, one.state) for one in states if one.leg]
        self.assertEqual(len(of_legs), len(set(of_legs)), of_legs)

    def test_no_order_changes_what_is_said_about_the_end(self) -> None:
        """Cause, words, legs and who hung up are those of the unshuffled stream."""
        for rows, new in TABLES:
            for name, row in rows.items():
                expected = view(told(new(), unshuffled(row.stream())))

                def check(call: Call, name: str = name, expected: CallView = expected) -> None:
                    self.assertEqual(view(call), expected, name)

                self.in_every_order(row, new, check)

    def test_an_end_that_is_heard_of_late(self) -> None:
        """The first leg may end after the second is rung; what the dialplan said is told before."""
        call = told(
            inbound.new_call(),
            [
                inbound.ask("1000"),
                inbound.rung("1000"),
                inbound.tried("NOANSWER", "SIP 180 Ringing"),
                inbound.ask("1001", at=2),
                inbound.rung("1001"),
                inbound.leg("1000", signals.Ended, None, ""),
                inbound.leg("1001", signals.Answered),
            ],
        )
        self.assertEqual(
            [(state.value, sip) for state, sip in chain(call)],
            [
                ("OPERATOR_CALLTO", "1000"),
                ("OPERATOR_NOANSWER", "1000"),
                ("OPERATOR_CALLTO", "1001"),
                ("OPERATOR_PICKUP", "1001"),
            ],
        )

    def test_a_word_that_is_told_twice(self) -> None:
        """AMI and the log date it otherwise; its number says that it is the same."""
        asked = replace(inbound.ask("1000"), number=1)
        gone = replace(inbound.tried("BUSY", "SIP 486 Busy Here", at=9), number=2)
        anew = replace(inbound.ask("1000", at=9), number=3)
        stream = [asked, replace(asked, date=asked.date + 5), inbound.rung("1000"), asked]
        call = told(inbound.new_call(), [*stream, replace(asked, date=asked.date + 50)])
        self.assertEqual([state.value for state, _ in chain(call)], ["OPERATOR_CALLTO"])
        stream = [inbound.leg("1000", signals.Ended, 17, "", at=9), gone, anew, gone, anew]
        told(call, [*stream, inbound.rung("1000 again"), replace(anew, date=anew.date + 50)])
        self.assertEqual(
            [state.value for state, _ in chain(call)],
            ["OPERATOR_CALLTO", "OPERATOR_BUSY", "OPERATOR_CALLTO"],
        )

    def test_who_is_passed_over_twice(self) -> None:
        """It is one operator who could not be rung."""
        skipped = signals.OperatorSkipped(
            inbound.ANCHOR, inbound.ANCHOR, inbound.T0 + 1, "1000", Outcome.OFFLINE, "no phone"
        )
        call = told(inbound.new_call(), [skipped, skipped])
        self.assertEqual([leg.sip for leg in call.operators], ["1000"])

    def test_the_clock_is_put_back(self) -> None:
        """What the dialplan says, and what we do, is no echo for being dated before the states."""
        call = told(
            inbound.new_call(),
            [
                inbound.client(
                    signals.OperatorSkipped, "1002", Outcome.OFFLINE, "not registered", at=-9
                ),
                replace(inbound.ask("1000", at=-8), number=1),
                inbound.rung("1000"),
                inbound.leg("1000", signals.Ended, 17, "", at=-7),
                replace(inbound.tried("BUSY", "SIP 486 Busy Here", at=-7), number=2),
                replace(inbound.ask("1001", at=-6), number=3),
                inbound.rung("1001"),
            ],
        )
        self.assertEqual(
            [(state.value, sip) for state, sip in chain(call)],
            [
                ("OPERATOR_OFFLINE", "1002"),
                ("OPERATOR_CALLTO", "1000"),
                ("OPERATOR_BUSY", "1000"),
                ("OPERATOR_CALLTO", "1001"),
            ],
        )
        dates = [state.date for state in call.states]
        self.assertEqual(dates, sorted(dates))

    def test_a_queue_after_somebody_who_is_offline(self) -> None:
        """What comes of the queue says nothing of them; they are told all the same."""
        call = told(
            inbound.new_call(),
            [
                inbound.client(signals.OperatorSkipped, "1002", Outcome.OFFLINE, "not registered"),
                inbound.client(signals.DialAttempt, (), ()),
                inbound.tried("NOANSWER"),
            ],
        )
        self.assertEqual(chain(call), [])
        told(call, [inbound.client(signals.Ended, 19, "")])
        self.assertEqual(chain(call), [(State.OPERATOR_OFFLINE, "1002")])

    def test_a_local_channel_that_is_lost(self) -> None:
        """It tells nothing; the call is over with the others."""
        local = inbound.leg("1001", signals.Started, "Local/1000@x-1;1", None)
        call = told(inbound.new_call(), [local, inbound.leg("1001", signals.Lost, "gone")])
        self.assertEqual((len(call.states), call.looked_for), (1, {inbound.ANCHOR}))

    def test_a_look_while_somebody_rings(self) -> None:
        """That somebody is asked is seen, and was known: nobody was asked anew."""
        call = told(
            inbound.new_call(),
            [
                inbound.ask("1000"),
                replace(inbound.ask(at=2), seen=True),
                inbound.rung("1000"),
                replace(inbound.ask(at=9), seen=True),
                inbound.leg("1000", signals.Ended, None, ""),
                inbound.tried("NOANSWER", "SIP 180 Ringing", at=9),
                inbound.ask("1001", at=9),
                inbound.rung("1001"),
            ],
        )
        self.assertEqual(
            [(state.value, sip) for state, sip in chain(call)],
            [
                ("OPERATOR_CALLTO", "1000"),
                ("OPERATOR_NOANSWER", "1000"),
                ("OPERATOR_CALLTO", "1001"),
            ],
        )

    def test_a_caller_who_gives_up(self) -> None:
        """PJSIP calls that interworking (127), on their leg and on the operator's."""
        call = told(
            inbound.new_call(),
            [
                inbound.ask("1000"),
                inbound.rung("1000"),
                inbound.client(signals.HungUp),
                inbound.leg("1000", signals.Ended, 127, ""),
                inbound.tried("CANCEL", "SIP 180 Ringing", inbound.NAME),
                inbound.client(signals.Ended, 127, ""),
            ],
        )
        self.assertEqual(
            [state.value for state, _ in chain(call)], ["OPERATOR_CALLTO", "CLIENT_CANCEL"]
        )

    def test_a_queue_leg_that_ends_late(self) -> None:
        """A queue says nothing of each: the leg before is told when its channel is gone."""
        call = told(
            inbound.new_call(),
            [
                inbound.client(signals.DialAttempt, (), ()),
                inbound.rung("1000"),
                inbound.client(signals.DialAttempt, (), (), at=2),
                inbound.rung("1001"),
                inbound.leg("1000", signals.Ended, 16, ""),
            ],
        )
        self.assertEqual(chain(call)[-1], (State.OPERATOR_NOANSWER, "1000"))

    def test_a_queue_that_rings_for_an_hour(self) -> None:
        """Only so many legs are told; whoever answers is, in any case."""
        call = inbound.new_call()
        for number in range(2 * MOST_LEGS):
            channel = f"17.{100 + number}"
            rings = signals.Started(channel, inbound.ANCHOR, inbound.T0 + number, "PJSIP/x", "1000")
            machine.advance(call, rings)
            gone = signals.Ended(channel, inbound.ANCHOR, inbound.T0 + number, 16, "")
            machine.advance(call, gone)
        self.assertEqual(len(call.states), 1 + 2 * MOST_LEGS)
        self.assertLessEqual(len(call.operators), MOST_LEGS + 1)
        late = signals.OperatorSkipped(
            "", inbound.ANCHOR, inbound.T0 + 999, "1002", Outcome.OFFLINE, "x"
        )
        machine.advance(call, late)
        told(call, [inbound.rung("1000"), inbound.leg("1000", signals.Answered)])
        self.assertEqual([one.state for one in call.states[-2:]], [*LEG_STAGES])

    def test_a_queue_in_which_nobody_answered(self) -> None:
        """Everybody's end was told already: the call ends without an operator's name."""
        call = inbound.new_call()
        for number in range(MOST_LEGS + 1):
            channel = f"17.{100 + number}"
            ids = channel, inbound.ANCHOR, inbound.T0 + number
            told(call, [signals.Started(*ids, "PJSIP/x", "1000"), signals.Ended(*ids, 16, "")])
        machine.advance(call, inbound.client(signals.Ended, 16, "", at=99))
        last = call.states[-1]
        self.assertEqual((last.state, last.leg), (State.OPERATOR_NOANSWER, None))
        self.assertTrue(last.final)

    def test_several_ring_in_vain(self) -> None:
        """Each is told, the last one as the end of the call."""
        call = told(inbound.new_call(), unshuffled(inbound.together(winner=None)))
        machine.advance(call, inbound.client(signals.Ended, 19, ""))
        self.assertEqual(
            chain(call)[2:],
            [(State.OPERATOR_NOANSWER, "1000"), (State.OPERATOR_NOANSWER, "1001")],
        )
        self.assertTrue(call.final)

    def test_one_of_several_refuses(self) -> None:
        """While another one's phone rings that is told at once; of the others nothing is known."""
        call = told(
            inbound.new_call(),
            [
                inbound.ask("1000", "1001", "1002"),
                inbound.rung("1000"),
                inbound.rung("1001"),
                inbound.leg("1000", signals.HungUp),
                inbound.leg("1000", signals.Ended, 17, "486"),
            ],
        )
        self.assertEqual(chain(call)[-1], (State.OPERATOR_BUSY, "1000"))
        told(call, [inbound.leg("1001", signals.Ended, None, ""), inbound.tried("NOANSWER")])
        machine.advance(call, inbound.client(signals.Ended, 19, ""))
        self.assertEqual(
            chain(call)[3:],
            [(State.OPERATOR_OFFLINE, "1002"), (State.OPERATOR_NOANSWER, "1001")],
        )

    def test_one_of_several_is_given_up_before_another_answers(self) -> None:
        """Somebody took the call: of the others nothing is told, even if they ended before."""
        call = told(
            inbound.new_call(),
            [
                inbound.ask("1000", "1001"),
                inbound.rung("1000"),
                inbound.rung("1001"),
                inbound.leg("1000", signals.Ended, 16, ""),
                inbound.leg("1001", signals.Answered),
            ],
        )
        self.assertEqual([state for state, _ in chain(call)[2:]], [State.OPERATOR_PICKUP])
        self.assertEqual((call.phase, call.busy), ("talking", {"1001"}))

    def test_a_local_channel_is_a_channel_and_no_phone(self) -> None:
        """Nobody is told of it; the call is not over while it is there."""
        begun = [
            inbound.ask("1000"),
            inbound.leg("1001", signals.Started, "Local/1000@x-1;1", None),
        ]
        call = told(inbound.new_call(), [*begun, inbound.rung("1000")])
        self.assertEqual((len(call.states), call.phase), (2, "ringing"))
        told(call, [inbound.client(signals.HungUp), inbound.leg("1000", signals.Ended, 16, "")])
        told(call, [inbound.client(signals.Ended, 16, "")])
        self.assertFalse(call.final)
        told(call, [inbound.leg("1001", signals.Ended, 16, "")])
        self.assertEqual((call.state, call.phase), (State.CLIENT_CANCEL, "ended"))

    def test_two_pick_up_at_the_same_moment(self) -> None:
        """One pick-up is told; if Asterisk took the other one, that follows."""
        begun = [inbound.ask("1000", "1001"), inbound.rung("1000"), inbound.rung("1001")]
        both = [inbound.leg("1000", signals.Answered), inbound.leg("1001", signals.Answered)]
        call = told(inbound.new_call(), [*begun, *both])
        self.assertEqual(chain(call)[-1], (State.OPERATOR_PICKUP, "1000"))
        self.assertEqual(len(call.states), 4)
        told(call, [inbound.leg("1001", signals.Ended, 16, "")])
        self.assertEqual(len(call.states), 4)
        other = told(inbound.new_call(), [*begun, *both])
        told(other, [inbound.leg("1000", signals.Ended, 16, "")])
        self.assertEqual(chain(other)[-1], (State.OPERATOR_PICKUP, "1001"))
        self.assertEqual(other.sip, "1001")

    def test_a_lost_leg(self) -> None:
        """A leg whose end nobody saw tells nothing, and has no talk seconds."""
        begun = [inbound.ask("1000"), inbound.rung("1000")]
        lost = inbound.leg("1000", signals.Lost, "gone")
        ringing = told(inbound.new_call(), [*begun, lost])
        self.assertEqual(len(ringing.states), 2)
        machine.advance(ringing, inbound.client(signals.Lost, "gone"))
        self.assertEqual(chain(ringing)[-1][0], State.ERROR)
        talked = told(inbound.new_call(), [*begun, inbound.leg("1000", signals.Answered), lost])
        machine.advance(talked, inbound.client(signals.Ended, 16, ""))
        self.assertEqual(chain(talked)[-1][0], State.FINISH)
        over = view(talked)
        self.assertEqual((over.talk_seconds, over.legs[1].talk_seconds), (None, None))
        self.assertEqual(machine.advance(inbound.new_call(), lost), [])

    def test_two_clocks(self) -> None:
        """A talk that ended before it began has no seconds, rather than fewer than none."""
        begun = [inbound.ask("1000"), inbound.rung("1000")]
        call = told(inbound.new_call(), [*begun, inbound.leg("1000", signals.Answered, at=9000)])
        told(call, [inbound.client(signals.Ended, 16, "", at=5000)])
        told(call, [inbound.leg("1000", signals.Ended, 16, "", at=9000)])
        self.assertEqual(view(call).talk_seconds, 0)

    def test_seconds(self) -> None:
        """Each leg's talk by itself; the client waits from the first moment."""
        anchor, client = streams.ANCHOR, streams.CLIENT
        second = inbound.LEGS["1001"][0]

        def at(kind: type[Signal], channel: str, seconds: int, *rest: object) -> Signal:
            return kind(channel, anchor, streams.T0 + 1000 * seconds, *rest)

        call = told(
            streams.new_call(),
            [
                at(signals.Started, anchor, 1, streams.OPERATOR_NAME),
                at(signals.Answered, anchor, 2),
                at(signals.Asked, anchor, 2, Role.CLIENT),
                at(signals.Started, client, 2, streams.CLIENT_NAME),
                at(signals.Answered, client, 4),
                at(signals.DialAttempt, anchor, 10, ("1001",), ()),
                at(signals.Started, second, 10, "PJSIP/1001-42", "1001"),
                at(signals.Answered, second, 12),
            ],
        )
        assert call.talking is not None
        self.assertEqual(call.talking.sip, "1000")
        self.assertEqual(call.busy, {"1000", "1001"})
        told(call, [at(signals.Ended, anchor, 15, 16, "")])
        self.assertEqual((call.talking.sip, call.sip, call.busy), ("1001", "1001", {"1001"}))
        told(call, [at(signals.HungUp, second, 20), at(signals.Ended, second, 20, 16, "")])
        told(call, [at(signals.Ended, client, 20, 16, "")])
        over = view(call)
        self.assertEqual(
            {leg.name: leg.talk_seconds for leg in over.legs},
            {"operator-1": 11, "client": 16, "operator-2": 5},
        )
        self.assertEqual(over.talk_seconds, 16)
        waited = told(inbound.new_call(), [inbound.ask("1000", at=2000), inbound.rung("1000")])
        told(waited, [inbound.leg("1000", signals.Answered, at=5000)])
        told(waited, [inbound.leg("1000", signals.Ended, 16, "", at=9000)])
        told(waited, [inbound.client(signals.Ended, 16, "", at=9000)])
        over = view(waited)
        self.assertEqual((over.ring_seconds, over.wait_seconds, over.talk_seconds), (4.999, 5, 4))

    def test_a_consultation_is_no_talk(self) -> None:
        """An operator who was asked and left again has not talked with the client."""
        anchor, client = streams.ANCHOR, streams.CLIENT
        second = inbound.LEGS["1001"][0]
        call = told(streams.new_call(), inbound.outbound_talk())
        for kind, channel, seconds, *rest in (
            (signals.DialAttempt, anchor, 10, ("1001",), ()),
            (signals.Started, second, 10, "PJSIP/1001-42", "1001"),
            (signals.Answered, second, 12),
            (signals.Ended, second, 15, 16, ""),
            (signals.Ended, client, 20, 16, ""),
            (signals.Ended, anchor, 20, 16, ""),
        ):
            machine.advance(call, kind(channel, anchor, streams.T0 + 1000 * seconds, *rest))
        over = view(call)
        self.assertEqual((over.sip, over.talk_seconds), ("1000", 19.999))
        self.assertEqual([leg.talk_seconds for leg in over.legs], [19.999, 19.999, None])

    def test_the_api_hangs_up_an_outbound_call(self) -> None:
        """From every rung, the state that the legs stand for, and no other word for it."""
        talk = inbound.outbound_talk()
        cancelled = streams.on_anchor(signals.Cancelled)
        client = streams.on_client(signals.Ended, 16, "")
        over = streams.on_anchor(signals.Ended, 16, "")
        for heard, state in (
            (0, State.OPERATOR_NOANSWER),
            (1, State.OPERATOR_NOANSWER),
            (2, State.OPERATOR_BUSY),
            (4, State.CLIENT_NOANSWER),
            (5, State.FINISH),
        ):
            call = told(streams.new_call(), [*talk[:heard], cancelled, client, over])
            self.assertEqual((call.state, call.final, call.hung_up_by), (state, True, "api"))
            self.assertIn("API" if heard < 5 else "api", call.states[-1].detail or "")

    def test_the_words_of_the_end(self) -> None:
        """Cause, SIP answer, who ended it; of a leg that was let go no cause is told."""
        for row, cause, detail in (
            ("operator rings out, nobody else is left", None, "no answer in time"),
            ("operator is busy, nobody else is left", 17, "User busy (17), SIP 486 Busy Here"),
            ("the API hangs up while an operator's phone rings", None, "hung up by the API"),
            ("the routing rejects the caller", None, "rejected: blacklisted"),
            ("there is nobody to ask", None, "there was nobody to ask; closed"),
            ("the client gives up in the second round, with the cause of the first", None, None),
            (
                "operator answers, they talk, the client hangs up",
                16,
                "hung up by client; ring 0.0 s, wait 0.0 s, talk 0.0 s; Normal Clearing (16)",
            ),
        ):
            last = told(inbound.new_call(), unshuffled(ROWS[row].stream())).states[-1]
            self.assertEqual((last.cause, last.detail), (cause, detail), row)

    def test_an_anchor_whose_end_was_not_seen(self) -> None:
        """The client's channel ended, the operator's was lost before: nobody knows why."""
        call = told(streams.new_call(), inbound.outbound_talk()[:4])
        told(call, [streams.on_anchor(signals.Lost, "gone")])
        told(call, [streams.on_client(signals.Ended, 16, "")])
        self.assertEqual((call.state, call.final), (State.ERROR, True))

    def test_a_dial_plan_that_asks_while_nobody_could(self) -> None:
        """Whom no channel was born for is told before the next one, without being tried."""
        call = told(inbound.new_call(), [inbound.ask("1000"), inbound.ask("1001", at=2)])
        told(call, [inbound.rung("1001")])
        self.assertEqual(
            chain(call), [(State.OPERATOR_OFFLINE, "1000"), (State.OPERATOR_CALLTO, "1001")]
        )

    def test_an_originate_is_none_of_its(self) -> None:
        """What Asterisk answers to an Originate says nothing of a call that a client made."""
        call = inbound.new_call()
        failed = signals.OriginateFailed(inbound.ANCHOR, inbound.ANCHOR, inbound.T0, 3)
        self.assertEqual(machine.advance(call, failed), [])
        self.assertIsNone(call.originate_reason)

    def test_any_signals_at_all_make_one_orderly_chain(self) -> None:
        """Signals that no Asterisk sends still cannot break a chain."""
        kinds = st.sampled_from(
            [
                (signals.Started, ("PJSIP/1", "1000")),
                (signals.Started, ("Local/1", None)),
                (signals.Answered, ()),
                (signals.DialAttempt, (("1000", "1001"), ())),
                (signals.DialAttempt, ((), ("380",))),
                (signals.DialAttempt, ((), ())),
                (signals.DialResult, ("NOANSWER", "", "PJSIP/1")),
                (signals.DialResult, ("BUSY", "SIP 486", inbound.NAME)),
                (signals.DialResult, ("CANCEL", "", "manager/x")),
                (signals.HungUp, ()),
                (signals.Ended, (16, "")),
                (signals.Ended, (17, "486")),
                (signals.OriginateFailed, (3,)),
                (signals.Lost, ("gone",)),
                (signals.OperatorSkipped, ("1002", Outcome.OFFLINE, "why")),
                (signals.OperatorSkipped, ("", Outcome.FAILED, "why")),
                (signals.Incoming, ("PJSIP/1", "380", "")),
                (signals.Noted, ("hold",)),
                (signals.Cancelled, ()),
            ]
        )
        channels = [inbound.ANCHOR, *(channel for channel, _ in inbound.LEGS.values())]

        @given(
            st.lists(st.tuples(kinds, st.sampled_from(channels), st.integers(-9, 9)), max_size=60)
        )
        def check(stream: list[tuple[tuple[type[Signal], tuple[object, ...]], str, int]]) -> None:
            call = inbound.new_call()
            for (kind, rest), channel, tick in stream:
                machine.advance(call, kind(channel, inbound.ANCHOR, inbound.T0 + tick, *rest))
                view(call)
            self.orderly(call)

        check()
