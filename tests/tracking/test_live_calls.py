"""Live calls while the disk is slow, fails, or forgets: over a real journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred

from ccdaemon.calls.model import State
from ccdaemon.config import parse
from ccdaemon.errors import Code, Refused
from ccdaemon.store.facts import Fact
from ccdaemon.store.failures import BelowLowWatermark, JournalBroken
from tests.switchboard.test_switchboard import CONFIG, SwitchboardCase


class SlowDiskTests(SwitchboardCase):
    """A call whose CALL waits for the disk."""

    async def look_while_it_waits(self) -> tuple[Deferred[Any], Deferred[None]]:
        """Asterisk is looked at twice while a call waits; what it was asked for, and the disk."""
        disk: Deferred[None] = Deferred()
        append = self.log.append

        async def slowly(facts: Sequence[Fact]) -> list[int]:
            if facts[0].opens:
                await disk
            return await append(facts)

        self.patch(self.log, "append", lambda facts: Deferred.fromCoroutine(slowly(facts)))
        made: Deferred[Any] = self.make_call()
        made.addErrback(lambda failure: failure.value)
        await self.wait_until(lambda: len(self.live))
        await self.session_up()
        await self.wait_for_the_log()
        return made, disk

    async def test_it_is_not_lost(self) -> None:
        """Nobody's phone was asked yet, so a look that finds no channel does not end it."""
        made, disk = await self.look_while_it_waits()
        disk.callback(None)
        call_id = await made
        self.assertEqual(len(self.asterisk.originated()), 1)
        self.assertEqual(self.live.of_operator("1000"), call_id)
        self.assertEqual(await self.chain(call_id), [State.CALL])

    async def test_it_fails(self) -> None:
        """A disk that does not take it after all: refused, nobody is called, nothing is left."""
        made, disk = await self.look_while_it_waits()
        disk.errback(JournalBroken("full"))
        error = await made
        self.assertIsInstance(error, Refused)
        self.assertEqual(error.code, Code.NOT_READY)
        self.assertEqual((self.asterisk.originated(), len(self.live)), ([], 0))


class NotBegunTests(SwitchboardCase):
    """A new journal that Postgres has not told the keys in use yet."""

    async def test_the_reason_is_the_journal(self) -> None:
        """Asterisk is not even asked for a session then, so it is not blamed for having none."""
        await self.start(self.journal(self.state_dir / "new"), parse(CONFIG))
        self.switchboard.down()
        error = await self.refused()
        self.assertEqual(error.code, Code.NOT_READY)
        self.assertIn("Postgres", error.message)


class ForgettingTests(SwitchboardCase):
    """A journal that has forgotten some of what it had."""

    async def test_what_it_still_holds(self) -> None:
        """Recordings are waited for of calls that it holds, wherever its floor is."""
        await self.talk(await self.make_call())
        before = list(self.recordings.expected)
        self.recordings.expected.clear()
        await self.log.begin(self.log.high_watermark, [])
        await self.fails(self.log.after(0, 100), BelowLowWatermark)
        await self.live.expect_recordings()
        self.assertEqual(self.recordings.expected, before)
