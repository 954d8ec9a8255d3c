"""webhookLog and redeliver, asked over HTTP."""

from __future__ import annotations

from typing import Any

from ccdaemon.config import Client
from ccdaemon.config.validators import network
from ccdaemon.consumers.webhooks.retry_policy import DeliveryStatus
from tests.api.asking import MethodsTestCase
from tests.api.world import World

KEYS = (
    "delivery_id webhook webhook_id type call_id seq state status attempts http_status error date"
    " first last next delivered"
)


class DeliveringCase(MethodsTestCase):
    """A world in which call 12 was told to both webhooks, and call 13 to one."""

    def setUp(self) -> None:
        """Have ``crm`` take the first state and refuse the second, ``wall`` be gone."""
        super().setUp()
        self.deliveries = self.world.webhooks
        self.deliveries.tell(12, 1, "CALL", "crm", "wall")
        self.deliveries.tell(12, 2, "FINISH", "crm")
        self.deliveries.tell(13, 1, "CALL", "old")
        self.deliveries.attempt("crm", 200, DeliveryStatus.DELIVERED)
        self.deliveries.attempt("crm", 500, DeliveryStatus.WAITING)
        self.deliveries.attempt("wall", 410, DeliveryStatus.STOPPED)

    def log(self, query: str = "") -> list[dict[str, Any]]:
        """The log's rows."""
        rows: list[dict[str, Any]] = self.ok(f"/api/webhookLog.json?{query}")["response"]["data"]
        return rows

    def redeliver(self, query: str) -> list[str]:
        """Have something sent once more; which."""
        rows = self.ok(f"/api/redeliver.json?{query}")["response"]
        self.assertEqual({row["status"] for row in rows} - {"waiting"}, set())
        return [f"{row['webhook']} {row['webhook_id']}" for row in rows]


class WebhookLog(DeliveringCase):
    """webhookLog."""

    def test_rows(self) -> None:
        """Newest first, each with what was sent where and what came of it."""
        old, second, wall, first = self.log()
        self.assertEqual(list(first), KEYS.split())
        self.assertEqual(
            [row["status"] for row in (old, second, wall, first)],
            ["waiting", "waiting", "stopped", "delivered"],
        )
        self.assertEqual(
            (first["webhook"], first["webhook_id"], first["call_id"], first["seq"]),
            ("crm", "12-1", 12, 1),
        )
        self.assertEqual((first["attempts"], first["http_status"], first["error"]), (1, 200, None))
        self.assertEqual(first["date"], "2026-11-23T08:00:00.123Z")
        self.assertEqual(first["delivered"], "2026-11-23T08:00:03.123Z")
        self.assertEqual((second["http_status"], second["error"]), (500, "answered 500"))
        self.assertEqual((second["delivered"], second["next"]), (None, "2026-11-23T08:01:03.123Z"))
        self.assertEqual((wall["delivered"], wall["next"]), (None, None))

    def test_pages(self) -> None:
        """Pages carry the paging inside, and one beyond the end is empty."""
        response = self.ok("/api/webhookLog.json?per_page=3&page=2")["response"]
        self.assertEqual([row["webhook_id"] for row in response.pop("data")], ["12-1"])
        self.assertEqual(response, {"page": 2, "per_page": 3, "total": 4, "pages": 2})
        self.assertEqual(self.log("page=3&per_page=3"), [])
        error = self.refused("/api/webhookLog.json?per_page=1000&page=101", 400, "too_deep")
        self.assertEqual(error["field"], "page")
        for query in ("page=0", "per_page=1001", "per_page=x"):
            self.refused(f"/api/webhookLog.json?{query}", 400, "bad_parameter")

    def test_filters(self) -> None:
        """By call, by status, by webhook, by time, by number."""
        for query, count in (
            ("call_id=12", 3),
            ("call_id=99", 0),
            ("status=waiting", 2),
            ("status=delivered,stopped", 2),
            ("webhook=wall", 1),
            ("from=2026-11-23T08:00:01Z", 2),
            ("to=2026-11-23T08:00:01Z&call_id=12", 2),
            (f"delivery_id={self.log()[0]['delivery_id']}", 1),
        ):
            with self.subTest(query=query):
                self.assertEqual(len(self.log(query)), count)
        for query in ("status=lost", "webhook=a%20b", "call_id=0", "delivery_id=-1"):
            self.refused(f"/api/webhookLog.json?{query}", 400, "bad_parameter")

    def test_xml(self) -> None:
        """XML says the same."""
        body = self.world.ask("/api/webhookLog.xml?webhook=wall").body.decode()
        self.assertIn("<webhook_id>12-1</webhook_id>", body)
        self.assertIn("<status>stopped</status>", body)


class Redeliver(DeliveringCase):
    """redeliver."""

    def test_a_call(self) -> None:
        """All of a call's deliveries, to every webhook that is configured."""
        self.assertEqual(self.redeliver("call_id=12"), ["crm 12-1", "wall 12-1", "crm 12-2"])
        self.assertEqual({row["status"] for row in self.log("call_id=12")}, {"waiting"})

    def test_one(self) -> None:
        """One delivery by its number."""
        (row,) = self.log("webhook=wall")
        self.assertEqual(self.redeliver(f"delivery_id={row['delivery_id']}"), ["wall 12-1"])

    def test_by_status(self) -> None:
        """Everything that stands in one way, and of that what goes to one webhook."""
        self.assertEqual(self.redeliver("status=stopped,failed"), ["wall 12-1"])
        self.assertEqual(self.redeliver("status=waiting&webhook=crm"), ["crm 12-2"])

    def test_says_what(self) -> None:
        """Something has to say what is meant."""
        error = self.refused("/api/redeliver.json?webhook=crm", 400, "missing_parameter")
        self.assertEqual(error["field"], "delivery_id")

    def test_unknown(self) -> None:
        """A number that is no delivery's, or of a webhook that is gone; a call without any."""
        self.refused("/api/redeliver.json?delivery_id=99", 404, "delivery_unknown")
        old = self.log("webhook=old")[0]["delivery_id"]
        self.refused(f"/api/redeliver.json?delivery_id={old}", 404, "delivery_unknown")
        self.assertEqual(self.redeliver("call_id=99"), [])

    def test_permission(self) -> None:
        """The log may be read by who may read; sending once more has a permission of its own."""
        here = (network("127.0.0.0/8"),)
        world = World([Client(name="wall", networks=here, permissions=["read"])])
        world.webhooks.tell(12, 1, "CALL")
        self.assertEqual(world.ask("/api/webhookLog.json").json["response"]["total"], 1)
        reply = world.ask("/api/redeliver.json?call_id=12")
        self.assertEqual((reply.status, reply.json["error"]["code"]), (403, "forbidden"))
        self.assertIn("webhooks", reply.json["error"]["message"])
