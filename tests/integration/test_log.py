"""Live tests of the daemon's log: a line for each state, and no secret ever."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, ClassVar
from urllib.parse import urlsplit

from tests.integration.asking import together
from tests.integration.harness import LiveTestCase

KEY = "api-key-6f1d2c"
#: One call for each way in which a call is told: talked, refused by either side.
CALLS = (("1040", "380690000034"), ("1041", "380690000005"), ("1005", "380690000000"))


class Log(LiveTestCase):
    """A daemon whose clients have a key."""

    tables: ClassVar[Any] = {
        "asterisk": {"operator_timeout": 5, "client_timeout": 4},
        "clients": [
            {"name": "lab", "networks": ["127.0.0.0/8"]},
            {"name": "crm", "key_sha256": sha256(KEY.encode()).hexdigest()},
        ],
    }

    async def test_a_line_for_each_state(self) -> None:
        """Each state is one line with its call_id, order_id and sip; in the order told."""
        orders = [f"order-{number}" for number in range(len(CALLS))]
        calls = await together(
            self.make_call(*call, order_id=order, api_key=KEY)
            for call, order in zip(CALLS, orders, strict=True)
        )
        offline = await self.api(
            "makeCall", sip="1090", phone="380690000000", order_id="none", external_key="none"
        )
        calls.append(offline["error"]["call_id"])
        chains = await together(self.finished(call_id) for call_id in calls)
        told = sorted((row for chain in chains for row in chain), key=lambda row: row["event_id"])
        wanted = [
            f"{row['state']} call_id={row['call_id']} order_id={row['order_id']} sip={row['sip']} "
            for row in told
        ]
        lines = self.daemon.tail(10_000).splitlines()
        found = [line for line in lines if any(f" {text}" in f"{line} " for text in wanted)]
        self.assertEqual(len(found), len(wanted), "\n".join(found))
        for line, text in zip(found, wanted, strict=True):
            self.assertIn(text, f"{line} ")

    async def test_no_secret(self) -> None:
        """Neither a secret of the configuration nor a key that was sent stands in the log."""
        call_id = await self.make_call("1042", "380690000018", api_key=KEY)
        await self.finished(call_id)
        for form in ({"api_key": KEY}, {"api_key": "wrong-key-77aa"}):
            await self.request("/api/sipList.json", "POST", data=form)
            await self.request(f"/api/sipList.json?api_key={form['api_key']}")
            bearer = {"Authorization": f"Bearer {form['api_key']}"}
            await self.request("/api/sipList.json", headers=bearer)
        # Everything that is said when parts go and come, too.
        self.lab.postgres.restart()
        self.lab.asterisk.restart()
        await self.request("/api/recordList.json")
        self.daemon.wait_ready(30)
        self.daemon.stop()
        log = self.daemon.log.read_text()
        self.assertIn("session lost", log)
        password = urlsplit(str(self.daemon.tables["database"]["url"])).password
        secrets = [self.lab.asterisk.secret, password, self.lab.postgres.password]
        for secret in (*secrets, KEY, "wrong-key-77aa", sha256(KEY.encode()).hexdigest()):
            assert secret
            self.assertNotIn(secret, log)
        self.assertNotIn("Traceback", log)
