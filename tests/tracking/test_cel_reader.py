"""From where the file of channel events is read again."""

from __future__ import annotations

import re

from ccdaemon.store.failures import JournalBroken
from ccdaemon.tracking import cel_reader
from ccdaemon.tracking.cel_reader import HEARD_WITHIN
from ccdaemon.tracking.resync import LOOK_EVERY
from tests.clocks import HOUR
from tests.gap_case import GapCase


class PlaceTests(GapCase):
    """From where the file is read again."""

    async def kept(self) -> int:
        """The offset that the journal has."""
        # What was written before is committed by then.
        await self.log.set_offset("another", b"")
        body = await self.log.offset(cel_reader.NAME)
        assert body is not None
        return int(re.findall(rb'"offset":([0-9]+)', body)[0])

    async def test_it_moves_on(self) -> None:
        """A minute late, for AMI may be that late; so a restart reads little."""
        await self.begin()
        self.assertEqual(await self.kept(), 0)
        self.write(["x\n"])
        await self.minutes(1)
        self.assertEqual(await self.kept(), 0)
        self.assertGreaterEqual(LOOK_EVERY, HEARD_WITHIN)
        await self.minutes(1)
        self.assertEqual(await self.kept(), 2)

    async def test_it_waits_for_live_calls(self) -> None:
        """All rows of a live call are read again, since its channels are known from them."""
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.write(["x\n"])
        await self.minutes(3)
        self.assertEqual(await self.kept(), 0)
        self.hear("Hangup", Cause="17", **self.anchor(call_id))
        await self.minutes(1)
        self.assertEqual(await self.kept(), 2)

    async def test_a_clock_that_is_set(self) -> None:
        """Neither does it stop, nor leave a live call behind, nor what may not be heard yet."""
        await self.begin()
        for by in (HOUR, -HOUR, -HOUR, HOUR):
            kept = await self.kept()
            call_id = await self.make_call(external_key=str(self.wall.seconds()))
            self.has_channel(call_id)
            self.write(["x\n"])
            self.wall.set(by)
            await self.minutes(3)
            self.assertEqual(await self.kept(), kept)
            self.hear("Hangup", Cause="17", **self.anchor(call_id))
            self.write(["y\n"])
            await self.minutes(1)
            self.wall.set(by)
            await self.minutes(2)
            self.assertEqual(await self.kept(), kept + 4)
            self.write(["z\n"])
            self.wall.set(HOUR)
            await self.minutes(1)
            self.assertEqual(await self.kept(), kept + 4)
            await self.minutes(1)
            self.assertEqual(await self.kept(), kept + 6)

    async def test_many_places(self) -> None:
        """A call of many hours takes no more memory than one of a few."""
        self.patch(cel_reader, "MOST_OFFSETS", 5)
        await self.begin()
        call_id = await self.make_call()
        self.has_channel(call_id)
        self.write(["x\n"])
        await self.minutes(12)
        self.assertLess(len(self.channel_log._offsets), 7)
        self.assertEqual(await self.kept(), 0)

    async def test_not_kept(self) -> None:
        """A disk that takes nothing: said, and tried again."""
        await self.begin()
        self.write(["x\n"])
        await self.minutes(1)
        self.patch(self.log, "set_offset", self.refuse)
        await self.minutes(1)
        self.assertIn("was not kept: full", self.warned[-1])

    async def refuse(self, name: str, body: bytes) -> None:
        """The disk is full."""
        raise JournalBroken("full")
