"""An Asterisk with a name of its own, which begins the uniqueid of every channel."""

from __future__ import annotations

import subprocess
import sys

from tests.integration.calling_in import TALK, CallingInTestCase
from tests.integration.test_check import COMMAND
from tests.integration.test_dialout import TALK as BY_HAND

#: Blanks, another alphabet, and what means something to paths, to the dialplan and to AMI.
NAME = 'Лінія 1, "a/b" {x}'
#: What is left of it in the names of recordings.
KEPT = "1abx-"


class SystemNameTests(CallingInTestCase):
    """A name that is no plain word."""

    shared = False
    starts_daemon = False
    tables = {"routing": {"operators": ["1040"], "ring_timeout": 5}}

    def setUp(self) -> None:
        """Give Asterisk its name."""
        super().setUp()
        asterisk = self.lab.asterisk
        file = asterisk.root.on_host(asterisk.folder) / "etc/asterisk.conf"
        before = file.read_text()
        self.addCleanup(asterisk.restart)
        self.addCleanup(file.write_text, before)
        file.write_text(before.replace("[options]", f"[options]\nsystemname = {NAME}"))
        asterisk.restart()

    async def test_calls_are_taken_and_recorded(self) -> None:
        """A client's call and one by hand are told; their recordings are found, and can be had."""
        self.daemon.start()
        argv = [sys.executable, "-c", COMMAND, "check", str(self.daemon.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        self.assertIn(f"warn  systemname: {NAME!r} has letters", done.stdout)
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=1.5)
        password = self.lab.asterisk.phone_password
        self.lab.operators.call("380660000018", "1041", password=password, talk=1.5)
        for phone, chain in ((caller, TALK), ("380660000018", BY_HAND)):
            call = await self.over(await self.call_of(phone))
            self.assertEqual(self.chain_of(call), chain)
            await self.recorded(call)
            [record] = await self.records_of(call["call_id"])
            self.assertTrue(record["uniqueid"].startswith(KEPT), record)
            for path in (f"/mp3/{record['uniqueid']}.mp3", f"/api/record/{call['call_id']}.wav"):
                status, _, _ = await self.request(path)
                self.assertEqual(status, 200, path)
        self.assertNotIn("Traceback", self.daemon.log.read_text(errors="replace"))
