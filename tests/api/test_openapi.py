"""The OpenAPI document: true to the declarations it is made from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.calls.model import State
from ccdaemon.operators import Status
from tests.api.described import Document as Described
from tests.api.parts import MOMENT, call_view, record
from tests.api.world import METHODS, World


def references(tree: Any) -> Iterator[str]:
    """Find every reference in a document."""
    if isinstance(tree, dict):
        if "$ref" in tree:
            yield tree["$ref"]
        for value in tree.values():
            yield from references(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from references(value)


class Document(SynchronousTestCase):
    """The document as a client gets it."""

    def setUp(self) -> None:
        """Take it from a world with one of everything."""
        self.world = World()
        self.world.history.add(call_view(12), [State.CALL, State.FINISH], record(12))
        self.world.history.add_change("1000", Status.ONLINE, MOMENT)
        self.world.operators.add("1000", Status.ONLINE)
        reply = self.world.ask("/api/openapi.json")
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "application/json"))
        self.document = reply.json

    def test_every_method_stands_in_it(self) -> None:
        """Each with both ways to ask, its parameters, and what it may be refused with."""
        for method in METHODS:
            operations = self.document["paths"][f"/api/{method.name}"]
            self.assertEqual(set(operations), {"get", "post"})
            named = {one["name"]: one["required"] for one in operations["get"]["parameters"]}
            self.assertEqual(
                named,
                {one.name: True for one in method.required}
                | {one.name: False for one in method.optional},
            )
            content = operations["post"]["requestBody"]["content"]
            schema = content["application/json"]["schema"]
            self.assertEqual(set(schema["properties"]), set(named))
            self.assertEqual(set(schema.get("required", [])), {k for k, v in named.items() if v})
            self.assertLessEqual({"200", "400", "401", "403"}, set(operations["get"]["responses"]))
        ids = [
            operation["operationId"]
            for path in self.document["paths"].values()
            for operation in path.values()
            if "operationId" in operation
        ]
        self.assertEqual(len(set(ids)), 2 * len(METHODS))

    def test_make_call_names_every_refusal(self) -> None:
        """All codes of the contract's table of makeCall."""
        responses = self.document["paths"]["/api/makeCall"]["get"]["responses"]
        told = {status: told["description"] for status, told in responses.items()}
        self.assertEqual(told["409"], "external_key_used, operator_busy, operator_offline")
        self.assertEqual(told["503"], "asterisk_unavailable, not_ready")
        self.assertEqual(" ".join(sorted(told)), "200 400 401 403 404 409 413 429 500 502 503")

    def test_no_reference_leads_nowhere(self) -> None:
        """Whatever is referred to is there."""
        schemas = self.document["components"]["schemas"]
        found = set(references(self.document))
        self.assertIn("#/components/schemas/Error", found)
        for reference in found:
            self.assertIn(reference.rpartition("/")[2], schemas)

    def test_configured_patterns_stand_in_it(self) -> None:
        """An operator's number is described as it is configured, and as it is checked."""
        parameters = self.document["paths"]["/api/makeCall"]["get"]["parameters"]
        patterns = {one["name"]: one["schema"].get("pattern") for one in parameters}
        self.assertEqual(patterns["sip"], "^(?:[0-9]{3,6})$")
        self.assertTrue(re.search(patterns["phone"], "+380639920000"))
        self.assertFalse(re.search(patterns["phone"], "+3806399x0000"))

    def test_answers_fit_their_descriptions(self) -> None:
        """What the methods really answer has the shape that the document promises."""
        for path in (
            "/api/makeCall?sip=1000&phone=380639920000&order_id=15&external_key=1",
            "/api/recordList",
            "/api/orderRecords?order_id=15",
            "/api/orderHistory?order_id=15",
            "/api/orderHistory?order_id=15&group_by_call=1",
            "/api/callHistory?call_id=12",
            "/api/callHistory",
            "/api/callHistory?after=0",
            "/api/sipList",
            "/api/operatorHistory",
        ):
            operation = self.document["paths"][path.partition("?")[0]]["get"]
            schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
            self.assert_fits(self.world.ask(path).json, schema, path)

    def test_refusals_fit_their_description(self) -> None:
        """An error has the shape of an error."""
        schema = self.document["components"]["schemas"]["Error"]
        for path in ("/api/makeCall", "/api/callHistory?call_id=99", "/nowhere"):
            self.assert_fits(self.world.ask(path).json, schema, path)

    def test_it_needs_a_known_client(self) -> None:
        """Strangers are told nothing of what there is."""
        self.assertEqual(self.world.ask("/api/openapi.json", peer="8.8.8.8").status, 401)

    def assert_fits(self, value: Any, schema: Any, about: str) -> None:
        """Fail if a value does not fit a schema."""
        self.assertEqual(list(Described(self.document).faults(value, schema)), [], about)
