"""Links to recordings that need no key: what they open, and for how long."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import urlsplit

from twisted.internet.error import ConnectError

from tests.integration.harness import LiveTestCase

KEY = "k-of-the-crm"
#: A client who answers and hangs up after a second.
CLIENT = "380630000034"


class LinkTests(LiveTestCase):
    """A daemon to which nobody speaks without a key."""

    starts_daemon = False
    tables: ClassVar[Mapping[str, Any]] = {
        "http": {"link_secret": "nobody can guess this, can they"},
        "clients": [
            {
                "name": "crm",
                "key_sha256": sha256(KEY.encode()).hexdigest(),
                "permissions": ["call", "read", "audit"],
            }
        ],
    }

    async def api(self, method: str, **parameters: object) -> dict[str, Any]:
        """Ask with the key."""
        return await super().api(method, api_key=KEY, **parameters)

    async def ready(self) -> None:
        """Start the daemon, if it does not run, and wait until it knows its operators."""
        if self.daemon.pid is None:
            self.daemon.start(wait=False)

        async def listed() -> bool:
            with contextlib.suppress(ConnectError):
                listed = await self.api("sipList", sip="1040", status="online")
                return listed["status"] == "ok" and bool(listed["response"]["total"])
            return False

        await self.wait_for(listed, 20.0, "1040 is online")

    async def recorded(self) -> dict[str, Any]:
        """Have a talk; its recording."""
        call_id = await self.make_call("1040", CLIENT)
        await self.finished(call_id)

        async def found() -> Any:
            records = (await self.ask("recordList", per_page=1000))["data"]
            return next((one for one in records if one["call_id"] == call_id), None)

        record: dict[str, Any] = await self.wait_for(found, 15, "the recording")
        return record

    async def link(self, record: Mapping[str, Any], **asked: object) -> tuple[str, str]:
        """A link to a recording: path and query string."""
        made = await self.ask("recordLink", call_id=record["call_id"], **asked)
        parts = urlsplit(made["url"])
        return parts.path, parts.query

    async def opens(self, path: str, query: str = "") -> int:
        """Fetch without a key; the status, and a sound only with 200."""
        status, _, body = await self.request(f"{path}?{query}")
        self.assertEqual(body[:4] == b"RIFF", status == 200)
        return status

    async def test_link(self) -> None:
        """It opens its recording without a key, and nothing else; who listened is noted."""
        await self.ready()
        record, other = await self.recorded(), await self.recorded()
        path, query = await self.link(record)
        self.assertEqual(await self.opens(path, query), 200)
        _, _, linked = await self.request(f"{path}?{query}")
        _, _, fetched = await self.request(f"{path}?api_key={KEY}")
        self.assertEqual(linked, fetched)
        self.assertIn(await self.opens(path), (401, 403))
        other_path, other_query = await self.link(other)
        self.assertNotEqual(other_path, path)
        self.assertEqual(await self.opens(other_path, query), 403)
        self.assertEqual(await self.opens(path, other_query), 403)
        last = "0" if query[-1] != "0" else "1"
        self.assertEqual(await self.opens(path, query[:-1] + last), 403)
        later = query.replace("expires=1", "expires=2")
        self.assertNotEqual(later, query)
        self.assertEqual(await self.opens(path, later), 403)
        status, _, _ = await self.request(f"/api/callHistory.json?{query}")
        self.assertIn(status, (401, 403))
        listened = (await self.ask("listenLog", call_id=record["call_id"]))["data"]
        self.assertIn("link", {one["by"] for one in listened}, listened)
        named = dict(pair.split("=") for pair in query.split("&"))["link"]
        self.assertIn(named, {one["note"] for one in listened}, listened)
        again, again_query = await self.link(record)
        await self.ask("revokeLink", call_id=record["call_id"], link=named)
        self.assertEqual(await self.opens(path, query), 403)
        self.assertEqual(await self.opens(again, again_query), 200)
        actions = (await self.ask("call", call_id=record["call_id"]))["actions"]
        done = [(one["action"], one["by"]) for one in actions if one["note"] == named]
        self.assertEqual(
            done, [("recordLink", "crm"), ("playRecord", "link"), ("revokeLink", "crm")]
        )

    async def test_expires(self) -> None:
        """It opens for its seconds and no longer."""
        await self.ready()
        path, query = await self.link(await self.recorded(), seconds=3)
        self.assertEqual(await self.opens(path, query), 200)

        async def expired() -> bool:
            return await self.opens(path, query) == 403

        await self.wait_for(expired, 6.0, "the link has expired")
        self.assertEqual(await self.opens(path, query), 403)
