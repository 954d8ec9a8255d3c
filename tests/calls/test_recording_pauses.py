"""When a recording is silent, in seconds of its file."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import Action, CallView, Direction, LegView
from ccdaemon.calls.recording_pauses import PAUSE, RESUME, pauses_of
from tests.api.parts import call_view

#: The talk begins a hundred seconds after the beginning of time.
BEGUN = 100_000
ANCHOR = "cc-0a1b2c-12-o"


def leg(name: str, channel: str, called: float, answered: float | None, ended: float) -> LegView:
    """A leg; seconds after the talk has begun."""
    up = None if answered is None else BEGUN + int(answered * 1000)
    times = (BEGUN + int(called * 1000), up, BEGUN + int(ended * 1000))
    return LegView(name, name, None, *times, None, None, None, channel)


def talk(*legs: LegView, direction: Direction = Direction.OUTBOUND) -> CallView:
    """A call with these operators' legs."""
    return call_view(anchor=ANCHOR, answered=BEGUN, legs=legs, direction=direction)


def asked(*moments: tuple[str, float]) -> list[Action]:
    """What was asked for, when; in seconds after the talk has begun."""
    return [Action(12, BEGUN + int(at * 1000), name, "crm") for name, at in moments]


class PausesTests(SynchronousTestCase):
    """pauses_of."""

    def test_none(self) -> None:
        """Nobody asked; or there was no talk."""
        self.assertEqual(pauses_of(talk(), ANCHOR, [], 20.0), ())
        never = replace(talk(), answered=None)
        self.assertEqual(pauses_of(never, ANCHOR, asked((PAUSE, 1)), 20.0), ())
        self.assertEqual(pauses_of(talk(), "17.4", asked((PAUSE, 1)), 20.0), ())

    def test_in_the_files_seconds(self) -> None:
        """From the talk's beginning on; asked twice counts once; what nobody ends lasts."""
        actions = asked(
            (PAUSE, 2), (PAUSE, 3), (RESUME, 5.5), (RESUME, 6), ("hold", 7), (PAUSE, 18)
        )
        self.assertEqual(pauses_of(talk(), ANCHOR, actions, 20.0), ((2.0, 5.5), (18.0, 20.0)))

    def test_never_beyond_the_file(self) -> None:
        """A pause after its end is none, one across it ends there."""
        actions = asked((PAUSE, 19), (RESUME, 25), (PAUSE, 30))
        self.assertEqual(pauses_of(talk(), ANCHOR, actions, 20.0), ((19.0, 20.0),))

    def test_ringing_in_a_transfer_is_not_in_the_clients_file(self) -> None:
        """Four seconds of ringing from the tenth on: what follows is four seconds earlier."""
        call = talk(leg("operator-1", ANCHOR, -3, -1, 10.1), leg("operator-2", "17.4", 10, 14, 30))
        actions = asked((PAUSE, 12), (RESUME, 20))
        self.assertEqual(pauses_of(call, ANCHOR, actions, 26.0), ((10.0, 16.0),))

    def test_speaking_first_is_in_the_clients_file(self) -> None:
        """They are on hold meanwhile, in a bridge."""
        call = talk(leg("operator-1", ANCHOR, -3, -1, 20), leg("operator-2", "17.4", 10, 14, 30))
        actions = asked((PAUSE, 15), (RESUME, 16))
        self.assertEqual(pauses_of(call, ANCHOR, actions, 30.0), ((15.0, 16.0),))

    def test_of_an_operator(self) -> None:
        """Inbound: each has a file that begins with their answer; their own asking is not in it."""
        first = leg("operator-1", "17.2", -3, 0, 20)
        second = leg("operator-2", "17.4", 10, 14, 30)
        call = talk(first, second, direction=Direction.INBOUND)
        actions = asked((PAUSE, 15), (RESUME, 16))
        self.assertEqual(pauses_of(call, "17.2", actions, 16.0), ((11.0, 12.0),))
        self.assertEqual(pauses_of(call, "17.4", actions, 10.0), ())

    def test_of_whom_an_operator_spoke_with_first(self) -> None:
        """Their file begins when the one who asked them leaves them to the client."""
        first = leg("operator-1", "17.2", -3, 0, 20)
        second = leg("operator-2", "17.4", 10, 14, 30)
        call = talk(first, second, direction=Direction.INBOUND)
        actions = asked((PAUSE, 15), (RESUME, 22))
        self.assertEqual(pauses_of(call, "17.4", actions, 10.0), ((0.0, 2.0),))
