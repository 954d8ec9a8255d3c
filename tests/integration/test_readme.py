"""README's page on the API: its lines are asked as they stand there, and answer as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from ccdaemon.api.clients import Permission
from tests.integration.harness import LiveTestCase

README = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")
TALKED = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"]


class ReadmeTests(LiveTestCase):
    """The lines with curl, in their order."""

    shared: ClassVar[bool] = False
    tables: ClassVar[Any] = {
        "clients": [
            {
                "name": "crm",
                "networks": ["127.0.0.0/8"],
                "permissions": [permission.value for permission in Permission],
            }
        ]
    }

    async def test_the_lines_with_curl(self) -> None:
        """Each answers well; the first one as shown, and its call goes through the states named."""
        paths = re.findall(r"^curl (?:-o \S+ )?'http://127\.0\.0\.1:8080(\S+)'$", README, re.M)
        self.assertGreater(len(paths), 7)
        [shown] = re.findall(r"^\{\"status\".*$", README, re.M)
        status, _, body = await self.request(paths[0])
        self.assertEqual((status, json.loads(body)), (200, json.loads(shown)))
        call_id = json.loads(body)["response"]["call_id"]
        told = [state["state"] for state in await self.finished(call_id)]
        self.assertEqual(told, TALKED)
        self.assertIn(", ".join(f"`{state}`" for state in TALKED), " ".join(README.split()))
        await self.wait_for(self.recorded, 10, "the recording")
        for path in paths[1:]:
            status, headers, body = await self.request(path)
            self.assertEqual(status, 200, (path, body))
            self.assertGreater(len(body), 80, path)
            if "json" in headers["content-type"]:
                self.assertTrue({"response", "openapi"} & json.loads(body).keys(), path)

    async def test_the_stream(self) -> None:
        """What is asked for from the beginning begins with a call's first state."""
        [path] = re.findall(r"^curl -N 'http://127\.0\.0\.1:8080(\S+)'$", README, re.M)
        await self.finished(await self.make_call("1005", "380440000000"))
        pool = HTTPConnectionPool(reactor, persistent=False)
        agent = Agent(reactor, pool=pool)
        answer = await agent.request(b"GET", f"{self.daemon.url}{path}".encode())
        self.assertEqual(answer.code, 200)
        told: Deferred[None] = Deferred()
        heard = b""

        def hear(data: bytes) -> None:
            nonlocal heard
            heard += data
            if b'"state":"CALL"' in heard and not told.called:
                told.callback(None)

        over = treq.collect(answer, hear)
        over.addErrback(lambda _: None)
        await told.addTimeout(10, reactor)
        self.daemon.stop()
        await over

    async def test_a_hand_on_the_call(self) -> None:
        """Each line does what it says, in a talk with a client who does not hang up."""
        lines = re.findall(r"^curl -d '(\S+)' 'http://127\.0\.0\.1:8080(\S+)'$", README, re.M)
        self.assertEqual(len(lines), 4)
        await self.finished(await self.make_call("1005", "380440000000"))
        call_id = await self.make_call("1000", "380440000000")
        self.assertEqual(call_id, 2)
        await self.talking(call_id, "CLIENT_PICKUP")
        for form, path in lines:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            status, _, body = await self.request(path, "POST", data=form.encode(), headers=headers)
            self.assertEqual(status, 200, (path, body))
            if "sip=" in form:
                await self.talking(call_id, "OPERATOR_PICKUP", "1002")
        told = await self.finished(call_id)
        self.assertEqual(
            [(state["state"], state["sip"]) for state in told[5:]],
            [("OPERATOR_CALLTO", "1002"), ("OPERATOR_PICKUP", "1002"), ("FINISH", "1002")],
        )

    async def talking(self, call_id: int, state: str, sip: str = "1000") -> None:
        """Wait until a state was told."""

        async def told() -> bool:
            states = await self.states(call_id)
            return (state, sip) in [(one["state"], one["sip"]) for one in states]

        await self.wait_for(told, 15, f"{state} of {sip}")

    async def recorded(self) -> bool:
        """Whether there is a recording."""
        return bool((await self.ask("recordList"))["data"])
