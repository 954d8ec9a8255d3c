"""How often somebody may act on one call."""

from __future__ import annotations

from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.errors import Code, Refused
from ccdaemon.switchboard import action_limit
from ccdaemon.switchboard.action_limit import (
    ENDINGS,
    MOST_ACTIONS,
    MOST_WITH_ENDINGS,
    check_actions,
)
from tests.store.parts import chain, view
from tests.switchboard.test_annotations import EntriesCase
from tests.switchboard.test_call_control import ControlCase


class RuleTests(SynchronousTestCase):
    """The bounds."""

    def most(self, action: str) -> int | None:
        """After how many an action is refused; None: never."""
        for before in range(MOST_WITH_ENDINGS + 1):
            try:
                check_actions(12, action, before)
            except Refused as refused:
                self.assertEqual((refused.code, refused.call_id), (Code.TOO_MANY_ACTIONS, 12))
                return before
        return None

    def test_what_begins_something(self) -> None:
        """It has the smaller bound, so that there is room to end it."""
        for action in ("hold", "mute", "transfer", "listen", "attachOrder", "setResult"):
            self.assertEqual(self.most(action), MOST_ACTIONS)

    def test_what_ends_something(self) -> None:
        """It has the larger one; whoever may hang up always may."""
        for action in sorted(ENDINGS):
            self.assertEqual(self.most(action), MOST_WITH_ENDINGS)
        self.assertIsNone(self.most("hangup"))


class LiveTests(ControlCase):
    """On a call that goes on."""

    async def test_refused(self) -> None:
        """Nothing is asked of Asterisk; what ends it still may."""
        self.patch(action_limit, "MOST_ACTIONS", 1)
        call_id = await self.held()
        await self.does(self.control.unhold(call_id, "crm"))
        self.asterisk.asked.clear()
        refused = await self.fails_with(self.control.hold(call_id, "crm"))
        self.assertEqual(refused.code, Code.TOO_MANY_ACTIONS)
        self.assertEqual(self.asterisk.asked, [])
        call = self.live.call(call_id)
        assert call is not None
        self.assertEqual(call.actions, 2)
        await self.does(self.control.hangup(call_id, "crm"))


class EntriesTests(EntriesCase):
    """On a call that is over."""

    async def test_refused(self) -> None:
        """Also where many come at once; what was said before may be said again."""
        self.patch(action_limit, "MOST_ACTIONS", 3)
        await self.start()
        await self.journal_.append(chain(view(1)))
        said = [Deferred.fromCoroutine(self.set_result(1, f"r{n}")) for n in range(20)]
        done = await DeferredList(said, consumeErrors=True)
        self.assertEqual([is_done for is_done, _ in done], [True] * 3 + [False] * 17)
        await self.set_result(1, "r2")
        refused = await self.fails(Deferred.fromCoroutine(self.attach(1, "99", True)), Refused)
        self.assertEqual(refused.code, Code.TOO_MANY_ACTIONS)
        found = await self.history.call(1)
        assert found is not None
        self.assertEqual(len(found.actions), 3)
