"""Live tests of signals: the daemon ends, or does not, while calls and requests are under way."""

from __future__ import annotations

import itertools
import os
import random
import time
from signal import SIGHUP, SIGTERM
from typing import Any

from twisted.internet.defer import Deferred

from tests.depth import rounds
from tests.integration.asking import together
from tests.integration.harness import LiveTestCase
from tests.integration.stream import Heard, follow

#: A client who answers and hangs up after a moment, one who talks on, and one who is busy.
CLIENTS = ("380630000034", "380640000700", "380630000005")
#: Seconds in which the daemon has to end, on a machine with much to do.
ENDS_WITHIN = 8.0


class LoadCase(LiveTestCase):
    """Askers who make calls and lists one after the other, until they cannot."""

    shared = False
    timeout = 150

    def setUp(self) -> None:
        """Nothing was told yet."""
        super().setUp()
        #: By external key; None where no answer came.
        self.made: dict[str, int | None] = {}
        self.asked = 0
        self.goes_on = True
        self._numbers = itertools.count(1)

    async def caller(self, sip: str) -> None:
        """Have one operator call, again and again."""
        dice = random.Random(sip)
        while self.goes_on:
            key = f"{sip}-{next(self._numbers)}"
            self.made[key] = None
            try:
                answer = await self.api(
                    "makeCall", sip=sip, phone=dice.choice(CLIENTS), order_id="1", external_key=key
                )
            except Exception:
                return
            if answer["status"] == "ok":
                self.made[key] = answer["response"]["call_id"]
            else:
                del self.made[key]
            await self.sleep(dice.uniform(0.05, 0.5))

    async def reader(self) -> None:
        """Ask for lists without a break."""
        while self.goes_on:
            try:
                await self.api("callHistory", per_page=100)
            except Exception:
                return
            self.asked += 1

    def load(self) -> Deferred[list[None]]:
        """Begin; fires when all of them have ended."""
        operators = [f"11{n}" for n in range(10, 22)]
        asking = [*map(self.caller, operators), *(self.reader() for _ in range(4))]
        return Deferred.fromCoroutine(together(asking))

    async def everything(self) -> list[dict[str, Any]]:
        """All states there are."""
        rows: list[dict[str, Any]] = []
        after: object = 0
        while True:
            envelope = await self.api("callHistory", after=after, limit=1000)
            rows += envelope["response"]
            if envelope["next"] == after:
                return rows
            after = envelope["next"]

    async def ends(self) -> float:
        """Wait until the daemon has ended; after how many seconds."""
        began = time.monotonic()
        await self.wait_for(lambda: self.daemon.pid is None, 30, "the daemon has ended")
        return time.monotonic() - began


class Terminated(LoadCase):
    """SIGTERM."""

    async def test_under_load(self) -> None:
        """It ends within seconds; whatever was told before is there afterwards, once, talks go on,
        and each call has its end."""
        heard = Heard()
        times = rounds(3)
        for _ in range(times):
            await follow(self.daemon.port, heard, types="call.state", after=heard.place or 0)
            asking = self.load()
            await self.sleep(random.uniform(3, 5))
            talking = self.lab.asterisk.channels()
            self.assertGreater(talking, 0)
            self.daemon.send(SIGTERM)
            self.assertLess(await self.ends(), ENDS_WITHIN)
            self.assertGreater(self.lab.asterisk.channels(), 0)
            self.goes_on = False
            await asking
            self.goes_on = True
            self.daemon.start()
        self.assertGreater(len(self.made), 10 * times)
        self.assertGreater(self.asked, 6 * times)
        self.lab.asterisk.rx("channel request hangup all")
        told = [call_id for call_id in self.made.values() if call_id is not None]
        self.assertEqual(len(told), len(set(told)))
        for call_id in told:
            await self.finished(call_id, 30)
        for key, known in self.made.items():
            found = await self.api("callHistory", external_key=key)
            if found["status"] == "ok":
                self.assertIn(known, (None, found["response"][0]["call_id"]))
            else:
                self.assertEqual((known, found["error"]["code"]), (None, "call_unknown"))
        rows = await self.everything()
        self.assertEqual(len({row["event_id"] for row in rows}), len(rows))
        by_id = {row["event_id"]: row for row in rows}
        self.assertGreater(len(heard.rows), 16 * times)
        for row in heard.rows:
            self.assertEqual(by_id[row["event_id"]], row)
        finals = [row["call_id"] for row in rows if row["final"]]
        self.assertEqual(sorted(finals), sorted({row["call_id"] for row in rows}))
        log = self.daemon.log.read_text(errors="replace")
        self.assertNotIn("Traceback", log)
        self.assertNotIn("did not stop", log)


class HungUp(LoadCase):
    """SIGHUP."""

    async def test_under_load(self) -> None:
        """Nothing happens, but for a line each time; no request notices."""
        pid, asking = self.daemon.pid, self.load()
        for _ in range(20):
            await self.sleep(0.1)
            self.daemon.send(SIGHUP)
        await self.sleep(0.5)
        self.goes_on = False
        await asking
        self.assertEqual(self.daemon.pid, pid)
        assert pid is not None
        os.kill(pid, 0)
        self.assertNotIn(None, self.made.values())
        self.assertGreater(len(self.made), 10)
        said = self.daemon.log.read_text(errors="replace").count("SIGHUP does nothing")
        self.assertIn(said, range(1, 21))
        self.assertEqual(self.daemon.stop(), -SIGTERM)
