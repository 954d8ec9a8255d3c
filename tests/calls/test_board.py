"""The board finds calls by channel and operator, and forgets them at their end."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls import signals
from ccdaemon.calls.board import Board
from ccdaemon.calls.model import State
from tests.calls.streams import ANCHOR, CLIENT, T0, in_turn, new_call


class BoardTests(SynchronousTestCase):
    """Live calls on the board."""

    def setUp(self) -> None:
        """One live call."""
        self.board = Board()
        self.call = new_call()
        self.board.add(self.call)

    def test_found_by_linkedid_and_by_anchor(self) -> None:
        """A signal finds its call by linkedid; one without, by the channel itself."""
        for signal in (
            signals.Started(ANCHOR, ANCHOR, T0, "PJSIP/1000-1"),
            signals.Answered(ANCHOR, "", T0),
        ):
            [reached] = self.board.hear(signal)
            self.assertIs(reached.call, self.call)
            self.assertEqual(len(reached.states), 1)

    def test_strangers_are_nobodys(self) -> None:
        """A channel of a call that is not ours is passed over."""
        self.assertEqual(self.board.hear(signals.Answered(CLIENT, CLIENT, T0)), [])

    def test_gone_at_the_end(self) -> None:
        """Once the last state is told the call is off the board, its operator free."""
        self.assertIs(self.board.of_operator("1000"), self.call)
        self.assertEqual((len(self.board), list(self.board)), (1, [self.call]))
        for signal in in_turn("the client is busy"):
            self.board.hear(signal)
        self.assertIs(self.call.state, State.CLIENT_BUSY)
        self.assertEqual(len(self.board), 0)
        self.assertIsNone(self.board.of_operator("1000"))

    def test_an_older_call_does_not_free_the_operator(self) -> None:
        """Removing a call leaves the operator to a newer one, and calls without one in peace."""
        newer = new_call()
        newer.call_id, newer.anchor = 13, "cc-0a1b2c-13-o"
        self.board.add(newer)
        self.board.remove(self.call)
        self.assertIs(self.board.of_operator("1000"), newer)
        self.board.add(self.call)
        self.board.remove(self.call)
        self.assertIs(self.board.of_operator("1000"), newer)
        nobodys = new_call()
        nobodys.sip = None
        self.board.add(nobodys)
        self.board.remove(nobodys)
        self.assertEqual(len(self.board), 1)

    def test_found_by_a_linkedid_that_another_call_has(self) -> None:
        """Two calls whose channels joined one bridge: each goes on by its own channels."""
        other = new_call()
        other.call_id, other.anchor = 13, "cc-0a1b2c-13-o"
        other.legs[0].channel = other.anchor
        other.channels, other.known = {other.anchor}, {other.anchor}
        self.board.add(other)
        self.board.hear(signals.Started(other.anchor, ANCHOR, T0, "PJSIP/1001-1"))
        self.assertEqual([self.call.state, other.state], [State.CALL, State.OPERATOR_CALLTO])
        self.assertIs(self.board.of_channel(other.anchor), other)
        self.board.remove(other)
        self.assertIs(self.board.of_channel(ANCHOR), self.call)
        self.assertIsNone(self.board.of_channel(other.anchor))
        self.assertEqual((self.board.call(12), self.board.call(13)), (self.call, None))

    def test_taken_down_twice(self) -> None:
        """Whoever gives up a call that is over by then leaves the others in peace."""
        newer = new_call()
        newer.call_id, newer.anchor = 13, "cc-0a1b2c-13-o"
        self.board.add(newer)
        for _ in range(2):
            self.board.remove(self.call)
            self.assertEqual(list(self.board), [newer])
            self.assertIs(self.board.of_operator("1000"), newer)

    def test_found_by_the_linkedid_of_another_channel(self) -> None:
        """An operator's phone that was rung by way of half a Local channel has that one's."""
        half = "Local/1000@x-00000001;1"
        rung = signals.Started(CLIENT, half, T0, "PJSIP/trunk-1")
        self.assertIsNone(self.board.whose(rung))
        self.board.link(self.call, half)
        self.assertIs(self.board.whose(rung), self.call)

    def test_whether_bridges_are_told(self) -> None:
        """Calls that are there and calls that come know it: who is up talks, or does not yet."""
        self.board.hear(signals.Started(ANCHOR, ANCHOR, T0, "PJSIP/1000-1"))
        for told in (False, True):
            self.board.bridges = told
            self.assertEqual((self.board.bridges, self.call.bridges), (told, told))
            newer = new_call()
            newer.call_id = 13
            self.board.add(newer)
            self.assertEqual(newer.bridges, told)
            self.board.remove(newer)
