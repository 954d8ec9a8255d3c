"""An operator who has several phones: all of them ring, and it is one leg."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.model import Role, State
from ccdaemon.calls.signals import Signal
from tests.calls import inbound_streams, streams
from tests.calls.streams import ANCHOR, CLIENT, CLIENT_NAME, T0, chain

DESK, SOFT = ("1795412687.91", "PJSIP/1000-00000091"), ("1795412687.92", "PJSIP/1000-00000092")
HALF = "Local/s@ccdaemon-ring-00000001;1"
#: The channel of a phone that another server knows.
FAR = "PJSIP/far-00000091"


def of(phone: tuple[str, str], kind: type[Signal], *rest: object, at: int = 1) -> Signal:
    """A signal of a phone's channel."""
    return kind(phone[0], ANCHOR, T0 + at, *rest)


def born(phone: tuple[str, str]) -> Signal:
    """A phone begins to ring."""
    return of(phone, signals.Started, phone[1], "1000")


def busy(phone: tuple[str, str]) -> list[Signal]:
    """A phone says 486."""
    return [of(phone, signals.HungUp), of(phone, signals.Ended, 17, "486")]


def advanced(call: Call, *stream: Signal) -> Call:
    """The call after a stream of signals."""
    for signal in stream:
        machine.advance(call, signal)
    return call


class OutboundTests(SynchronousTestCase):
    """Originate rings half a Local channel, the other half two phones."""

    def call(self, *stream: Signal) -> Call:
        """A call after both ring, and a stream of signals."""
        ring = signals.Started(ANCHOR, ANCHOR, T0, HALF)
        return advanced(streams.new_call(), ring, born(DESK), born(SOFT), *stream)

    def half_ends(self, cause: int | None) -> Signal:
        """Half the Local channel is gone."""
        return signals.Ended(ANCHOR, ANCHOR, T0 + 9, cause, "")

    def test_the_second_is_picked_up(self) -> None:
        """The leg is about that one from then on; what rang it goes, and the call goes on."""
        call = self.call(
            of(SOFT, signals.Answered),
            of(DESK, signals.Ended, 26, ""),
            signals.Answered(ANCHOR, ANCHOR, T0 + 2),
            self.half_ends(16),
            of(SOFT, signals.Asked, Role.CLIENT, at=3),
            signals.Started(CLIENT, ANCHOR, T0 + 4, CLIENT_NAME),
            signals.Answered(CLIENT, ANCHOR, T0 + 5),
        )
        states = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP]
        self.assertEqual(chain(call), [*states, State.CLIENT_CALLTO, State.CLIENT_PICKUP])
        self.assertEqual([leg.name for leg in call.legs], ["operator-1", "client"])
        self.assertEqual((call.legs[0].channel, call.legs[0].channel_name), SOFT)
        advanced(call, signals.Ended(CLIENT, ANCHOR, T0 + 8, 16, ""))
        advanced(call, of(SOFT, signals.Ended, 16, "", at=9))
        self.assertIs(chain(call)[-1], State.FINISH)

    def test_half_a_local_channel_that_is_up(self) -> None:
        """Whatever answers behind it, an operator has picked up only once a phone says so."""
        call = self.call(signals.Answered(ANCHOR, ANCHOR, T0 + 2))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO])
        advanced(call, of(DESK, signals.Answered, at=3))
        self.assertIs(chain(call)[-1], State.OPERATOR_PICKUP)
        self.assertEqual(call.legs[0].channel, DESK[0])

    def test_born_twice(self) -> None:
        """What the log says again of a phone that rings beside the first channel adds nothing."""
        call = self.call(born(SOFT))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO])
        self.assertEqual(call.legs[0].channel_name, HALF)
        self.assertEqual(call.legs[0].phones, dict([DESK, SOFT]))

    def test_one_joins_that_nobody_saw_picked_up(self) -> None:
        """Who shares a bridge with the client is the phone that the leg is about."""
        call = self.call()
        call.bridges = True
        asked = signals.Asked(ANCHOR, ANCHOR, T0 + 3, Role.CLIENT)
        client = signals.Started(CLIENT, ANCHOR, T0 + 4, CLIENT_NAME)
        joined = signals.Joined(SOFT[0], CLIENT, T0 + 5, SOFT[1], "1000")
        advanced(call, asked, client, joined)
        self.assertIs(chain(call)[-1], State.CLIENT_PICKUP)
        self.assertEqual((call.legs[0].channel, call.legs[0].channel_name), SOFT)
        self.assertTrue(call.legs[0].is_joined)

    def test_one_says_busy_and_the_other_rings_on(self) -> None:
        """Nothing is told of it, and nobody is said to have hung up."""
        call = self.call(*busy(DESK))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO])
        self.assertIsNone(call.hung_up_by)
        advanced(call, of(SOFT, signals.Answered, at=5))
        self.assertIs(chain(call)[-1], State.OPERATOR_PICKUP)

    def test_both_say_busy(self) -> None:
        """The last one's word is the operator's."""
        call = self.call(*busy(DESK), *busy(SOFT), self.half_ends(17))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_BUSY])
        self.assertEqual(call.hung_up_by, "operator")

    def test_nobody_picks_up(self) -> None:
        """Originate says that it rang out."""
        gone = [of(phone, signals.Ended, None, "") for phone in (DESK, SOFT)]
        call = self.call(*gone, self.half_ends(None))
        advanced(call, signals.OriginateFailed(ANCHOR, ANCHOR, T0 + 9, signals.RANG_OUT))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_NOANSWER])


class InboundTests(SynchronousTestCase):
    """Dial rings two phones of the one operator who is asked."""

    def call(self, *stream: Signal, sips: tuple[str, ...] = ("1000",)) -> Call:
        """A call after somebody is asked, and a stream of signals."""
        return advanced(inbound_streams.new_call(), inbound_streams.ask(*sips), *stream)

    def test_one_leg(self) -> None:
        """Whichever is picked up is the leg's, and the other one's end is nobody's."""
        call = self.call(
            born(DESK),
            born(SOFT),
            of(SOFT, signals.Answered, at=3),
            of(DESK, signals.Ended, 26, "", at=4),
        )
        states = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP]
        self.assertEqual(chain(call), states)
        [leg] = call.operators
        self.assertEqual((leg.sip, leg.channel), ("1000", SOFT[0]))

    def test_both_say_busy(self) -> None:
        """One verdict, once both have said it."""
        call = self.call(born(DESK), born(SOFT), *busy(DESK))
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO])
        ends = (
            *busy(SOFT),
            inbound_streams.tried("BUSY"),
            inbound_streams.client(signals.Ended, 17, ""),
        )
        advanced(call, *ends)
        self.assertEqual(chain(call), [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_BUSY])

    def test_phones_that_another_server_knows(self) -> None:
        """They have that server's name: whose they are is known by the order in which they ring."""
        first, second = ("1795412687.91", "PJSIP/far-91"), ("1795412687.92", "PJSIP/far-92")
        call = self.call(
            of(first, signals.Started, first[1], None),
            of(second, signals.Started, second[1], None),
            sips=("1000", "1001"),
        )
        self.assertEqual([leg.sip for leg in call.operators], ["1000", "1001"])

    def test_one_joins_that_nobody_saw_picked_up(self) -> None:
        """The leg is about the phone that shares a bridge with the client."""
        call = self.call(born(DESK), born(SOFT))
        call.bridges = True
        advanced(call, signals.Joined(SOFT[0], ANCHOR, T0 + 3, SOFT[1], "1000"))
        states = [State.CALL, State.OPERATOR_CALLTO, State.OPERATOR_PICKUP]
        self.assertEqual(chain(call), states)
        [leg] = call.operators
        self.assertEqual((leg.channel, leg.channel_name), SOFT)
        self.assertEqual(leg.phones, dict([DESK]))

    def test_a_phone_that_another_server_knows(self) -> None:
        """Where one alone is asked it is theirs, by way of a Local channel as well."""
        half = signals.Started("1795412687.90", ANCHOR, T0 + 1, HALF, None)
        far = signals.Started("1795412687.91", ANCHOR, T0 + 1, FAR, None)
        for stream in ([far], [half, far]):
            [leg] = self.call(*stream).operators
            self.assertEqual((leg.sip, leg.channel_name), ("1000", FAR))

    def test_several_by_way_of_a_local_channel(self) -> None:
        """Whose phone it is that another server knows cannot be told: it is said to be nobody's."""
        half = signals.Started("1795412687.90", ANCHOR, T0 + 1, HALF, None)
        far = signals.Started("1795412687.91", ANCHOR, T0 + 1, FAR, None)
        [leg] = self.call(half, far, sips=("1000", "1001")).operators
        self.assertEqual((leg.sip, leg.phone, leg.channel_name), (None, None, FAR))
