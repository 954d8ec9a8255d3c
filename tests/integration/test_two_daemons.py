"""Live tests of a daemon that must not, or cannot, work: another one does, or no login."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

from lab.daemon import Daemon
from tests.integration.harness import LiveTestCase

ASKED = {"sip": "1040", "phone": "380680000018", "order_id": "15", "external_key": "once"}


class Second(LiveTestCase):
    """A second daemon ends and says who holds what it wants; the first does not notice."""

    def second(self, **tables: Any) -> Daemon:
        """Another daemon, started, not waited for."""
        daemon = self.new_daemon(**tables)
        self.addCleanup(daemon.stop)
        daemon.start(wait=False)
        return daemon

    async def ends(self, daemon: Daemon) -> str:
        """Wait until it has ended by itself; its log."""
        await self.wait_for(lambda: daemon.pid is None, 15, "the second daemon has ended")
        self.assertIsNotNone(self.daemon.pid)
        await self.finished(await self.make_call("1040", "380680000018"))
        return daemon.tail(1000)

    async def test_same_state_dir(self) -> None:
        """On the same state_dir: it names the folder and the process that has it."""
        before = self.daemon.tail(1000)
        log = await self.ends(self.second(state_dir=str(self.daemon.state_dir)))
        said = [line for line in log.splitlines() if "cannot start" in line]
        self.assertEqual(len(said), 1, log)
        self.assertIn(str(self.daemon.state_dir), said[0])
        self.assertRegex(said[0], rf"\b{self.daemon.pid}\b")
        self.assertNotIn("Traceback", log)
        self.assertNotIn("Traceback", self.daemon.tail(1000).removeprefix(before))

    async def test_same_asterisk(self) -> None:
        """On the same Asterisk and database: it names the other's host and process."""
        log = await self.ends(self.second(database=self.daemon.tables["database"]))
        said = [line for line in log.splitlines() if "ccdaemon ends" in line]
        self.assertEqual(len(said), 1, log)
        self.assertRegex(said[0], rf"\b{re.escape(socket.gethostname())} {self.daemon.pid}\b")
        self.assertIn("one daemon per Asterisk", said[0])
        self.assertNotIn("Traceback", log)

    async def test_after_the_first(self) -> None:
        """Once the first has ended, killed or not, another one takes its place at once."""
        for end in (self.daemon.kill, self.daemon.stop):
            end()
            self.daemon.start()
            await self.finished(await self.make_call("1041", "380680000018"))
        self.assertNotIn("ccdaemon ends", self.daemon.tail(1000))


class WrongSecret(LiveTestCase):
    """Asterisk refuses the login."""

    starts_daemon = False
    tables = {"asterisk": {"secret": "not-the-right-one"}}

    async def test_refused(self) -> None:
        """It runs on and says so; no call is made; once, since it tries again with care."""
        before = self.refused()
        self.daemon.start(wait=False)
        await self.wait_for(lambda: "Authentication failed" in self.daemon.tail(), 15, "refused")
        status, _, body = await self.request("/healthz")
        self.assertEqual((status, json.loads(body)["response"]), (200, {"alive": True}))
        status, headers, body = await self.request(
            "/api/makeCall.json", "POST", data=ASKED, headers={}
        )
        error = json.loads(body)["error"]
        self.assertEqual((status, error["code"]), (503, "asterisk_unavailable"))
        self.assertNotIn("call_id", error)
        self.assertGreaterEqual(int(headers["retry-after"]), 1)
        listed = await self.api("sipList")
        self.assertEqual((listed["status_code"], listed["error"]["code"]), (503, "not_ready"))
        unknown = await self.api("callHistory", external_key=ASKED["external_key"])
        self.assertEqual(unknown["error"]["code"], "call_unknown")
        await self.sleep(4)
        self.assertEqual(self.daemon.tail(1000).count("Authentication failed"), 1)
        self.assertEqual(self.refused() - before, 1)
        self.assertNotIn("not-the-right-one", self.daemon.tail(1000))

    def refused(self) -> int:
        """How many logins Asterisk says that it has refused."""
        log = self.lab.asterisk.log_on_host.read_text(errors="replace")
        return log.count("failed to authenticate as 'ccdaemon'")
