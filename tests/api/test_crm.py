"""The API as a CRM's program meets it: through treq, as deployed clients read it."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import State
from ccdaemon.operators import Status
from tests.api.parts import MOMENT, call_view, record
from tests.api.world import World

BASE = "http://localhost:8080"


class DeployedClients(SynchronousTestCase):
    """What deployed clients send and read."""

    def setUp(self) -> None:
        """Have a call with a recording, and an operator with a history."""
        self.world = World()
        self.world.history.add(call_view(12, order_id="a94a8fe5"), [State.CALL], record(12))
        self.world.history.add_change("1000", Status.INUSE, MOMENT)
        self.world.operators.add("1000", Status.INUSE)
        self.treq: Any = StubTreq(self.world.api.resource())

    def get(self, path: str, **options: Any) -> Any:
        """Ask with GET and read the answer as JSON."""
        response = self.successResultOf(self.treq.get(f"{BASE}{path}", **options))
        self.assertEqual(response.code, 200)
        return self.successResultOf(self.treq.json_content(response))

    def test_make_call_with_a_hash_and_a_long_key(self) -> None:
        """The order is a hash, the key a long digit string; the answer is a small number."""
        asked = {
            "sip": "1000",
            "phone": "+380639920000",
            "order_id": "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
            "external_key": "1" * 40,
            "call_id": "",
            "unknown": "x",
        }
        answer = self.get("/api/makeCall.json", params=asked)
        self.assertEqual(answer["response"]["call_id"], 12)
        heard = self.world.calls.asked[0]
        self.assertEqual(heard["order_id"], asked["order_id"])
        self.assertEqual(heard["external_key"], asked["external_key"])
        self.assertEqual(heard["phone"], "380639920000")

    def test_posted_forms_and_json(self) -> None:
        """treq's own spellings of a form and of JSON are read."""
        for body in ({"data": {"per_page": "7"}}, {"json": {"per_page": 7}}):
            response = self.successResultOf(self.treq.post(f"{BASE}/api/sipList", **body))
            answer = self.successResultOf(self.treq.json_content(response))
            self.assertEqual(answer["response"]["per_page"], 7)

    def test_record_list_reads_response_data(self) -> None:
        """The records stand in response.data, with whole Unix seconds in add_date."""
        answer = self.get("/api/recordList.json?page=&per_page=")
        self.assertEqual(answer["response"]["data"][0]["add_date"], 1795420810)

    def test_order_records_map_calls_to_uniqueids(self) -> None:
        """From call_id to uniqueid, from which the client makes /mp3/<uniqueid>.mp3."""
        answer = self.get("/api/orderRecords.json?order_id=a94a8fe5")
        found = {call["call_id"]: call["uniqueid"] for call in answer["response"]}
        self.assertEqual(found, {12: "cc-0a1b2c-12-o"})

    def test_call_history_reads_the_first_calls_states(self) -> None:
        """The states stand in response[0].states."""
        answer = self.get("/api/callHistory.json?call_id=12")
        self.assertEqual(answer["response"][0]["states"][0]["state"], "CALL")

    def test_operator_history_reads_the_first_row(self) -> None:
        """The newest state stands in response[0].state."""
        answer = self.get("/api/operatorHistory.json?sip=1000")
        self.assertEqual(answer["response"][0]["state"], "inuse")

    def test_doubled_suffixes(self) -> None:
        """One client appends a suffix to what has one already."""
        self.assertEqual(self.get("/api/sipList.json.json"), self.get("/api/sipList"))
        response = self.successResultOf(self.treq.get(f"{BASE}/api/sipList.json.xml"))
        text = self.successResultOf(self.treq.text_content(response))
        self.assertIn("<sip>1000</sip><status>inuse</status>", text)

    def test_a_large_body_under_another_site(self) -> None:
        """The bound on bodies holds under a plain site as well."""
        response = self.successResultOf(
            self.treq.post(f"{BASE}/api/sipList", data=b"x" * (64 * 1024 + 1))
        )
        self.assertEqual(response.code, 413)
