"""When a call begins that nobody hands over."""

from __future__ import annotations

from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import machine, observing, signals
from ccdaemon.calls.call import Call
from ccdaemon.calls.factory import begin
from ccdaemon.calls.model import Role, State
from ccdaemon.calls.observing import Observer
from ccdaemon.calls.signals import Signal
from tests.calls.test_bridged import CLIENT, HALF_1, ONE, T0, TWO, sip_of


class ObserverTests(SynchronousTestCase):
    """What is seen of channels' births."""

    def setUp(self) -> None:
        """Have the trunk's channels be the world outside."""
        self.observer = Observer(["PJSIP/trunk"], [], sip_of)

    def born(
        self, name: str, of: str = "", exten: str = "s", context: str = "", caller: str = ""
    ) -> signals.Incoming | signals.DialledOut | None:
        """A channel, whose uniqueid is its name, is born under another one's linkedid."""
        begun = None, context, exten, caller
        return self.observer.begins(signals.Started(name, of or name, T0, name, *begun))

    def test_which_channels_are_trunks(self) -> None:
        """By pattern, of the whole name or of the device."""
        observer = Observer(["PJSIP/trunk*", "SIP/provider"], [], sip_of)
        for name, is_trunk in (
            ("PJSIP/trunk-00000001", True),
            ("PJSIP/trunk2-00000001", True),
            ("SIP/provider-00000001", True),
            ("SIP/provider2-00000001", False),
            ("PJSIP/1001-00000001", False),
        ):
            self.assertEqual(observer.is_trunk(name), is_trunk, name)

    def test_calls_in(self) -> None:
        """A trunk's channel that dials a number, and none that Asterisk dials itself."""
        opening = self.born(CLIENT, exten="380441234567", caller="380631234567")
        self.assertEqual(
            opening,
            signals.Incoming(CLIENT, CLIENT, T0, CLIENT, "380631234567", "380441234567"),
        )
        self.assertIsNone(self.born(CLIENT))
        self.assertIsNone(self.born(CLIENT, of=HALF_1, exten="380"))

    def test_by_context(self) -> None:
        """Where contexts are named they decide, whatever was dialled."""
        self.observer = Observer(["PJSIP/trunk"], ["from-pstn*"], sip_of)
        opening = self.born(CLIENT, context="from-pstn-e164", caller="anonymous")
        assert isinstance(opening, signals.Incoming)
        self.assertEqual((opening.phone, opening.did), ("anonymous", ""))
        self.assertIsNone(self.born(CLIENT, context="elsewhere", exten="380"))

    def test_dialled(self) -> None:
        """An operator's phone was there first; the trunk's is the client, and comes once."""
        self.assertIsNone(self.born(ONE, exten="0631234567"))
        opening = self.born(CLIENT, of=ONE)
        self.assertEqual(opening, signals.DialledOut(ONE, ONE, T0, ONE, "0631234567"))
        self.assertIsNone(self.born(CLIENT, of=ONE))

    def test_connected(self) -> None:
        """Whoever clicks is rung by way of a Local channel, and the client after them."""
        self.born(HALF_1)
        self.born(ONE, of=HALF_1)
        self.born(TWO, of=HALF_1)
        opening = self.born(CLIENT, of=HALF_1, exten="0631234567")
        self.assertEqual(opening, signals.DialledOut(ONE, HALF_1, T0, ONE, "0631234567"))

    def test_inside(self) -> None:
        """Between two operators nothing begins."""
        self.born(ONE, exten="1002")
        self.assertIsNone(self.born(TWO, of=ONE))

    def test_bounded(self) -> None:
        """Of too many operators who may be calling somebody the first one is forgotten."""
        with patch.object(observing, "MOST_OPEN", 1):
            self.born(ONE, exten="0631234567")
            self.born(TWO, exten="0637654321")
        self.assertIsNone(self.born(CLIENT, of=ONE))
        opening = self.born(CLIENT, of=TWO)
        self.assertEqual(opening, signals.DialledOut(TWO, TWO, T0, TWO, "0637654321"))


class UnansweredTests(SynchronousTestCase):
    """An operator calls a client by another dialplan, and nobody says what came of it."""

    def ends(self, *stream: Signal) -> Call:
        """The call after the client's phone rings, and what comes then."""
        dialled = signals.DialledOut(ONE, ONE, T0, ONE, "380631234567")
        call, _ = begin(1, dialled, sip_of, observed=True)
        call.bridges = True
        begun = (
            signals.Asked(ONE, ONE, T0 + 1, Role.CLIENT),
            self.of_client(signals.Started, CLIENT),
        )
        for signal in (*begun, *stream, signals.Ended(ONE, ONE, T0 + 9, 17, "")):
            machine.advance(call, signal)
        self.assertTrue(call.final)
        return call

    def of_client(self, kind: type[Signal], *rest: object) -> Signal:
        """A signal of the client's channel."""
        return kind(CLIENT, ONE, T0 + 2, *rest)

    def test_what_the_clients_own_channel_says(self) -> None:
        """It refused with a cause, or rang until its time was over."""
        refused = self.of_client(signals.HungUp), self.of_client(signals.Ended, 17, "486")
        call = self.ends(*refused)
        self.assertIs(call.state, State.CLIENT_BUSY)
        self.assertEqual(call.hung_up_by, "client")
        call = self.ends(self.of_client(signals.Ended, None, ""))
        self.assertIs(call.state, State.CLIENT_NOANSWER)

    def test_the_operator_gives_up(self) -> None:
        """That ends the client's leg as well, whose cause says nothing then."""
        gives_up = signals.HungUp(ONE, ONE, T0 + 2)
        call = self.ends(gives_up, self.of_client(signals.Ended, 16, ""))
        self.assertIs(call.state, State.OPERATOR_BUSY)
        self.assertEqual(call.hung_up_by, "operator")

    def test_what_is_recorded(self) -> None:
        """That is the other dialplan's: it is not said that we do."""
        call = self.ends(self.of_client(signals.Ended, 17, ""))
        self.assertFalse(call.recorded)
