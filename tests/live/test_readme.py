"""README's page on the API: its lines are asked as they stand there, and answer as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import ClassVar

from tests.live.harness import LiveTestCase

README = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")
TALKED = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"]


class ReadmeTests(LiveTestCase):
    """The lines with curl, in their order."""

    shared: ClassVar[bool] = False

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
            self.assertGreater(len(body), 100, path)
            if "json" in headers["content-type"]:
                self.assertTrue({"response", "openapi"} & json.loads(body).keys(), path)

    async def recorded(self) -> bool:
        """Whether there is a recording."""
        return bool((await self.ask("recordList"))["data"])
