"""schemathesis over the API of a real daemon: every answer is as the document says."""

from __future__ import annotations

import json
import os
import re
import subprocess

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests import schema
from tests.depth import examples
from tests.integration.harness import LiveTestCase

#: The same requests in each run; ``make schema`` has others each time. Nearly all of the time is
#: schemathesis' own, which takes five times as long where the machine has much else to do.
_EXAMPLES, _SEED, _WITHIN = examples(12), 1, 560


class SchemaTests(LiveTestCase):
    """A client who may do everything, and does, in every way that the document allows or not."""

    tables = schema.TABLES
    timeout = _WITHIN + 20
    longest = timeout + 20
    lasts = 30.0

    async def test_as_described(self) -> None:
        """Thousands of requests, every operation; nothing is found, and the daemon is at work."""
        if not schema.PROGRAM.exists():
            if os.environ.get("CI") == "true":
                self.fail(f"{schema.PROGRAM} is missing")
            raise SkipTest("schemathesis is not there: `make schema` installs it")
        document = await self.document()
        argv = schema.argv(self.daemon.url, _EXAMPLES, _SEED)
        done = await deferToThread(
            subprocess.run, argv, capture_output=True, text=True, timeout=_WITHIN, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout[-6000:] + done.stderr[-2000:])
        tested = re.search(r"Tested: (\d+)", done.stdout)
        asked = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
        assert tested is not None and asked is not None, done.stdout
        paths = [path for path in document["paths"] if not path.endswith(schema.WITHOUT)]
        operations = sum(len(document["paths"][path]) for path in paths)
        self.assertEqual(int(tested[1]), operations)
        self.assertGreater(int(asked[1]), 50 * operations)
        self.assertEqual(asked[1], asked[2])
        self.assertNotIn("Traceback", self.daemon.log.read_text("utf-8"))
        self.assertEqual((await self.request("/readyz"))[0], 200)

    async def document(self) -> dict[str, dict[str, dict[str, object]]]:
        """The OpenAPI document."""
        status, _, body = await self.request("/api/openapi.json")
        self.assertEqual(status, 200)
        found: dict[str, dict[str, dict[str, object]]] = json.loads(body)
        return found
