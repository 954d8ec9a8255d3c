"""Calls by bridges alone: who has joined the client, and how that is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, signals
from ccdaemon.calls.board import Board
from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import again, begin
from ccdaemon.calls.model import Direction, Role
from ccdaemon.calls.signals import Signal
from ccdaemon.calls.view import view
from tests.calls.streams import new_call

T0 = 1_795_412_687_000
CLIENT, OTHER_CLIENT = "PJSIP/trunk-00000001", "PJSIP/trunk-00000009"
ONE, TWO, THREE = "PJSIP/1001-00000002", "PJSIP/1002-00000003", "PJSIP/1003-00000004"
HALF_1, HALF_2 = "Local/1001@x-00000001;1", "Local/1001@x-00000001;2"
ANCHOR = "cc-0a1b2c-12-o"


def sip_of(name: str) -> str | None:
    """Operators are four digits; the trunk is nobody."""
    number = name.partition("/")[2][:4]
    return number if number.isdigit() else None


class BridgedCase(SynchronousTestCase):
    """A board that is told of bridges. A channel's uniqueid is its name here."""

    def setUp(self) -> None:
        """Have nothing going on."""
        self.board = Board(sip_of)
        self.at = T0

    def hear(self, kind: type[Signal], channel: str, *rest: object, of: str = CLIENT) -> None:
        """One second later something happens to a channel."""
        self.at += 1000
        self.board.hear(kind(channel, of, self.at, *rest))

    def born(self, *names: str, of: str = CLIENT) -> None:
        """Channels are born."""
        for name in names:
            self.hear(signals.Started, name, name, of=of)

    def enter(self, bridge: str, *names: str, holding: bool = False) -> None:
        """Channels enter a bridge."""
        for name in names:
            self.hear(signals.Entered, name, name, bridge, holding)

    def leave(self, bridge: str, *names: str) -> None:
        """Channels leave a bridge."""
        for name in names:
            self.hear(signals.Left, name, bridge)

    def end(self, *names: str, cause: int = 16) -> None:
        """Channels end."""
        for name in names:
            self.hear(signals.Ended, name, cause, "")

    def incoming(self, name: str = CLIENT) -> Call:
        """A client calls in."""
        self.at += 1000
        opening = signals.Incoming(name, name, self.at, name, "380631234567", "")
        call, _ = begin(len(self.board) + 1, opening, sip_of)
        self.board.add(call)
        self.born(name, of=name)
        return call

    def tells(self, call: Call, *expected: str) -> None:
        """The chain after CALL, each with its operator, is this."""
        told = [
            f"{one.state.value.replace('OPERATOR_', '')} {one.sip or ''}".strip()
            for one in call.states[1:]
        ]
        self.assertEqual(told, list(expected))


class InboundTests(BridgedCase):
    """A client's call."""

    def test_up_is_no_talk(self) -> None:
        """A phone that was picked up and declined to take the call has not taken it."""
        call = self.incoming()
        self.born(ONE)
        self.hear(signals.Answered, ONE)
        self.end(ONE)
        self.hear(signals.HungUp, CLIENT)
        self.end(CLIENT)
        self.tells(call, "CALLTO 1001", "CLIENT_CANCEL 1001")
        self.assertIsNone(view(call).talk_seconds)

    def test_a_mailbox(self) -> None:
        """Who is up in no bridge, or hears music with others, talks with nobody."""
        call = self.incoming()
        self.hear(signals.Answered, CLIENT)
        self.enter("parking", CLIENT, holding=True)
        self.hear(signals.Started, ONE, ONE, of=ONE)
        self.enter("parking", ONE, holding=True)
        self.tells(call)

    def test_a_pickup(self) -> None:
        """Who fetches the call is a leg of it from then on."""
        call = self.incoming()
        self.born(ONE)
        self.born(TWO, of=TWO)
        self.end(ONE, cause=26)
        self.enter("b", TWO, CLIENT)
        self.tells(call, "CALLTO 1001", "CALLTO 1002", "PICKUP 1002")
        self.assertIs(self.board.of_operator("1002"), call)
        self.leave("b", CLIENT, TWO)
        self.end(TWO, CLIENT)
        self.assertEqual(view(call).talk_seconds, 1.0)
        self.assertEqual([leg.sip for leg in view(call).legs], [None, "1001", "1002"])

    def test_an_attended_transfer(self) -> None:
        """By the phone's own key: the second one joins, the first one leaves."""
        call = self.incoming()
        self.born(ONE)
        self.enter("b", ONE, CLIENT)
        self.hear(signals.Started, TWO, TWO, of="PJSIP/1001-00000008")
        self.leave("b", ONE)
        self.enter("b", TWO)
        self.end(ONE)
        self.assertEqual(call.sip, "1002")
        self.hear(signals.HungUp, CLIENT)
        self.end(CLIENT)
        self.tells(call, "CALLTO 1001", "PICKUP 1001", "CALLTO 1002", "PICKUP 1002", "FINISH 1002")
        self.assertEqual(view(call).hung_up_by, "client")

    def test_a_conference(self) -> None:
        """Several talk at once: each has their seconds, the call the time in which anybody did."""
        call = self.incoming()
        self.born(ONE, of=ONE)
        self.born(TWO, of=TWO)
        self.enter("b", CLIENT, ONE, TWO)
        self.hear(signals.HungUp, ONE)
        self.leave("b", ONE)
        self.end(ONE)
        self.hear(signals.HungUp, CLIENT)
        self.leave("b", CLIENT)
        self.end(CLIENT)
        seen = view(call)
        self.assertEqual([leg.talk_seconds for leg in seen.legs], [6.0, 3.0, 5.0])
        self.assertEqual((seen.talk_seconds, seen.hung_up_by), (6.0, "client"))
        self.assertTrue(all(leg.ended for leg in seen.legs))

    def test_hold_by_the_phones_key(self) -> None:
        """It is counted, and told at the end; what was before the talk is not."""
        call = self.incoming()
        self.born(ONE)
        self.hear(signals.Held, ONE, True)
        self.enter("b", ONE, CLIENT)
        for on in (True, True, False, False, True):
            self.hear(signals.Held, ONE, on)
        self.hear(signals.HungUp, CLIENT)
        self.end(CLIENT, ONE)
        detail = call.states[-1].detail or ""
        self.assertIn("on hold by the phone of 1001 2 times, 5.0 s", detail)

    def test_an_agent_for_a_day(self) -> None:
        """One who was there before and goes on afterwards has one call after the other."""
        self.born(ONE, of="long ago")
        for bridge in ("a", "b"):
            call = self.incoming()
            self.enter(bridge, CLIENT, ONE)
            self.leave(bridge, ONE, CLIENT)
            self.end(CLIENT)
            self.tells(call, "CALLTO 1001", "PICKUP 1001", "FINISH 1001")
            self.setUp()
            self.born(ONE, of="long ago")

    def test_calls_do_not_grow_together(self) -> None:
        """Two clients of one agent get one linkedid; a new phone is rung for who waits."""
        first, second = self.incoming(), self.incoming(OTHER_CLIENT)
        for client in (CLIENT, OTHER_CLIENT):
            self.hear(signals.Entered, client, client, f"b {client}", of="agent")
        self.enter(f"b {CLIENT}", ONE)
        self.hear(signals.Started, TWO, TWO, of="agent")
        self.assertEqual([leg.sip for leg in first.operators], ["1001"])
        self.assertEqual([leg.sip for leg in second.operators], ["1002"])

    def test_two_clients(self) -> None:
        """In one conference the other one's client is nobody's operator."""
        first, second = self.incoming(), self.incoming(OTHER_CLIENT)
        self.enter("b", CLIENT, OTHER_CLIENT, ONE)
        for call in (first, second):
            self.tells(call, "CALLTO 1001", "PICKUP 1001")

    def test_the_client_has_gone(self) -> None:
        """Whatever goes on without them: the call is over within a second."""
        call = self.incoming()
        self.born(ONE, TWO)
        self.enter("b", CLIENT, ONE, TWO)
        self.end(CLIENT)
        self.assertFalse(call.final)
        self.assertTrue(self.board.is_left(call))
        self.at += 1
        self.born("PJSIP/somebody-00000007", of="else")
        self.assertTrue(call.final)
        self.assertIsNone(self.board.of_operator("1001"))

    def test_by_name_and_quicker_than_the_bridge(self) -> None:
        """Where our own dialplan dialled the phone and says that it answered, it has."""
        call = self.incoming()
        self.hear(signals.DialAttempt, CLIENT, ("1001",), (), 1)
        self.born(ONE)
        self.hear(signals.Answered, ONE)
        self.hear(signals.HungUp, ONE)
        self.end(ONE)
        self.hear(signals.DialResult, CLIENT, "ANSWER", "", ONE, 2)
        self.end(CLIENT)
        self.tells(call, "CALLTO 1001", "PICKUP 1001", "FINISH 1001")
        self.assertEqual((view(call).talk_seconds, call.hung_up_by), (0.0, "operator"))

    def test_one_who_was_there_before_a_restart(self) -> None:
        """The log says again that they talked; they have gone, and it is told already."""
        call = self.incoming()
        self.born(ONE)
        self.enter("b", ONE, CLIENT)
        self.leave("b", ONE)
        self.end(ONE)
        kept = view(call)
        self.board = Board(sip_of)
        call = again(kept, call.states, "")
        self.board.add(call)
        self.enter("b", ONE, CLIENT)
        self.tells(call, "CALLTO 1001", "PICKUP 1001")
        [leg] = call.operators
        self.assertFalse(leg.is_joined)
        self.assertEqual(view(call).legs[1].talk_seconds, kept.legs[1].talk_seconds)

    def test_a_client_who_is_there(self) -> None:
        """That they have gone is believed only of those who have."""
        call = self.incoming()
        self.born(ONE)
        self.enter("b", CLIENT, ONE)
        self.assertEqual(machine.advance(call, signals.Gone(CLIENT, CLIENT, self.at)), [])
        self.assertFalse(self.board.is_left(call))
        self.assertEqual(call.phase, "talking")

    def test_each_state_once(self) -> None:
        """However many ways a signal takes to a call."""
        call = self.incoming()
        self.born(ONE)
        self.enter("b", ONE)
        reached = self.board.hear(signals.Entered(CLIENT, CLIENT, self.at, CLIENT, "b"))
        told = [state for one in reached for state in one.states]
        self.assertEqual(told, call.states[-len(told) :])
        self.assertEqual(len(told), 1)


class OutboundTests(BridgedCase):
    """A call of makeCall."""

    def asked(self) -> Call:
        """The operator has picked up, and the client is asked."""
        call = new_call()
        call.direction = Direction.OUTBOUND
        self.board.add(call)
        self.born_here("PJSIP/1000-00000011", ANCHOR)
        self.hear(signals.Answered, ANCHOR, of=ANCHOR)
        self.hear(signals.Asked, ANCHOR, Role.CLIENT, of=ANCHOR)
        return call

    def born_here(self, name: str, uniqueid: str) -> None:
        """A channel is born, under an id of its own."""
        self.hear(signals.Started, uniqueid, name, of=ANCHOR)

    def test_by_a_local_channel(self) -> None:
        """The client is the phone that is bridged, and has picked up then."""
        call = self.asked()
        self.born_here(HALF_1, HALF_1)
        self.born_here(HALF_2, HALF_2)
        self.born_here("PJSIP/busy-00000005", "first")
        self.end("first", cause=34)
        self.born_here(CLIENT, CLIENT)
        for half in (HALF_2, HALF_1, CLIENT):
            self.hear(signals.Answered, half, of=ANCHOR)
        self.assertEqual(call.states[-1].state.value, "CLIENT_CALLTO")
        self.enter("a", HALF_1)
        self.hear(signals.Entered, ANCHOR, "PJSIP/1000-00000011", "a", of=ANCHOR)
        self.enter("b", HALF_2)
        self.assertEqual(call.states[-1].state.value, "CLIENT_CALLTO")
        self.enter("b", CLIENT)
        self.assertEqual(call.states[-1].state.value, "CLIENT_PICKUP")
        self.assertEqual(call.client.channel, CLIENT)
        self.end(HALF_1, HALF_2)
        self.assertFalse(call.final)

    def told(self, call: Call) -> str:
        """The last state that was told."""
        return call.states[-1].state.value

    def test_two_phones_of_the_client(self) -> None:
        """The first one is taken for theirs, until the other one answers."""
        call = self.asked()
        self.born_here(CLIENT, CLIENT)
        self.born_here(OTHER_CLIENT, OTHER_CLIENT)
        self.assertEqual(call.client.channel, CLIENT)
        self.hear(signals.Answered, OTHER_CLIENT, of=ANCHOR)
        self.assertEqual(self.told(call), "CLIENT_PICKUP")
        self.assertEqual((call.client.channel, call.client.channel_name), (OTHER_CLIENT,) * 2)
        self.end(CLIENT, cause=26)
        self.assertFalse(call.final)
        self.assertIsNone(call.client.ended)

    def test_the_other_phone_of_the_client_joins(self) -> None:
        """Who shares a bridge with the operator is the client, seen to answer or not."""
        call = self.asked()
        self.born_here(CLIENT, CLIENT)
        self.born_here(OTHER_CLIENT, OTHER_CLIENT)
        self.hear(signals.Entered, ANCHOR, "PJSIP/1000-00000011", "a", of=ANCHOR)
        self.enter("a", OTHER_CLIENT)
        self.assertEqual(self.told(call), "CLIENT_PICKUP")
        self.assertEqual((call.client.channel, call.client.channel_name), (OTHER_CLIENT,) * 2)

    def test_one_of_the_clients_phones_ends(self) -> None:
        """The other one, which still rings, is theirs then."""
        call = self.asked()
        self.born_here(CLIENT, CLIENT)
        self.born_here(OTHER_CLIENT, OTHER_CLIENT)
        self.end(CLIENT, cause=17)
        self.assertEqual(self.told(call), "CLIENT_CALLTO")
        self.assertEqual((call.client.channel, call.client.over), (OTHER_CLIENT, False))

    def test_somebody_else_with_the_client(self) -> None:
        """Before the operator is there nobody talks, whoever comes to the client and goes."""
        call = self.asked()
        self.born_here(CLIENT, CLIENT)
        self.enter("a", CLIENT)
        self.hear(signals.Entered, TWO, TWO, "a", of="else")
        self.hear(signals.Left, TWO, "a", of="else")
        self.assertEqual(self.told(call), "CLIENT_CALLTO")
        self.assertEqual([leg.name for leg in call.legs], ["operator-1", "client"])
        self.assertIsNone(self.board.of_operator("1002"))

    def test_an_announcement_answers(self) -> None:
        """Whoever says "no such number" is nobody's client."""
        call = self.asked()
        self.born_here(HALF_1, HALF_1)
        self.born_here(HALF_2, HALF_2)
        for half in (HALF_2, HALF_1):
            self.hear(signals.Answered, half, of=ANCHOR)
        self.enter("a", HALF_1)
        self.hear(signals.Entered, ANCHOR, "PJSIP/1000-00000011", "a", of=ANCHOR)
        self.end(HALF_2, HALF_1, ANCHOR)
        self.assertNotIn("CLIENT_PICKUP", [one.state.value for one in call.states])
        self.assertTrue(call.final)

    def test_a_time_that_is_over_on_hold(self) -> None:
        """Asterisk counts from the answer: what the client hears meanwhile does not matter."""
        call = self.asked()
        call.max_duration = 6
        self.born_here(CLIENT, CLIENT)
        self.hear(signals.Answered, CLIENT, of=ANCHOR)
        self.hear(signals.Entered, ANCHOR, "PJSIP/1000-00000011", "a", of=ANCHOR)
        self.enter("a", CLIENT)
        self.leave("a", CLIENT)
        self.hear(signals.Left, ANCHOR, "a", of=ANCHOR)
        self.enter("music", CLIENT, holding=True)
        self.end(ANCHOR, CLIENT)
        self.assertTrue(call.final)
        self.assertEqual(call.hung_up_by, "asterisk")
        self.assertIn("max_duration of 6 s was over", call.states[-1].detail or "")
