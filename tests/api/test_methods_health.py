"""How the daemon is, over HTTP: who may see it, and what a check can rely on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config import Client
from tests.api.world import World

STRANGER = "192.0.2.9"


class Shown(SynchronousTestCase):
    """health, readyz and metrics."""

    def setUp(self) -> None:
        """Have a daemon that is well."""
        self.world = World()

    def test_health(self) -> None:
        """Each part with its condition, since when, and how far it is behind."""
        answer = self.world.ask("/api/health.json").json["response"]
        self.assertEqual(list(answer), ["status", "ready", "version", "since", "parts"])
        self.assertEqual((answer["status"], answer["ready"]), ("ok", True))
        first, second = answer["parts"]
        keys = ["name", "status", "since", "detail", "backlog", "behind_seconds"]
        self.assertEqual(list(first), keys)
        self.assertEqual((first["name"], first["since"]), ("asterisk", "2026-11-23T08:00:01.000Z"))
        self.assertEqual((second["backlog"], second["behind_seconds"]), (3, 0.2))

    def test_what_is_wrong_is_said(self) -> None:
        """The answer is a good one, with the words."""
        self.world.watch.fail("no session: Connection refused")
        reply = self.world.ask("/api/health.json")
        self.assertEqual((reply.status, reply.json["response"]["status"]), (200, "failing"))
        self.assertIn("refused", reply.json["response"]["parts"][0]["detail"])

    def test_ready(self) -> None:
        """200 while calls can be made and taken, else 503 with the names of what fails."""
        reply = self.world.ask("/readyz", peer=STRANGER)
        self.assertEqual((reply.status, reply.json["response"]["ready"]), (200, True))
        self.world.watch.fail("no session: Connection refused by pbx.example")
        reply = self.world.ask("/readyz", peer=STRANGER)
        self.assertEqual((reply.status, reply.json["error"]["code"]), (503, "not_ready"))
        self.assertEqual(reply.headers["retry-after"], "1")
        self.assertIn("asterisk", reply.json["error"]["message"])
        self.assertNotIn("pbx.example", reply.json["error"]["message"])
        self.assertEqual(self.world.ask("/healthz", peer=STRANGER).status, 200)

    def test_health_is_for_those_who_may_read(self) -> None:
        """The words are not for anybody."""
        self.assertEqual(self.world.ask("/api/health", peer=STRANGER).status, 401)

    def test_metrics(self) -> None:
        """For this machine, and from elsewhere for clients who may read."""
        reply = self.world.ask("/metrics")
        self.assertEqual((reply.status, reply.body), (200, b"ccdaemon_ready 1.0\n"))
        self.assertTrue(reply.headers["content-type"].startswith("text/plain; version="))
        self.assertEqual(self.world.ask("/metrics", peer=STRANGER).status, 401)
        key = {"Authorization": "Bearer secret"}
        digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
        prometheus = Client(name="prometheus", key_sha256=digest, permissions=["read"])
        dialler = Client(name="dialler", key_sha256=digest, permissions=["call"])
        for client, status in ((prometheus, 200), (dialler, 403)):
            world = World([client])
            self.assertEqual(world.ask("/metrics", headers=key, peer=STRANGER).status, status)
            self.assertEqual(world.ask("/metrics", peer=STRANGER).status, 401)
            self.assertEqual(world.ask("/metrics").status, 200)


class Counted(SynchronousTestCase):
    """Every request is counted, under few names."""

    def test_names_and_statuses(self) -> None:
        """A method by its name, however it was spelled; all that is nobody's together."""
        world = World()
        for path in ("/api/SIPLIST.json.xml", "/api/sipList?page=0", "/api/x", "/x", "/metrics"):
            world.ask(path)
        world.ask("/api/record/7.wav")
        self.assertEqual(
            world.counts.seen,
            [
                ("sipList", 200, False),
                ("sipList", 400, False),
                ("other", 404, False),
                ("other", 404, False),
                ("metrics", 200, False),
                ("record", 404, False),
            ],
        )

    def test_streams_and_those_who_go(self) -> None:
        """A stream has no time; who goes before the answer is counted as that."""
        world = World()
        stream = world.connect()
        stream.send("/api/events")
        stream.close()
        waiting = world.connect()
        waiting.send("/api/callHistory?after=0&wait=60")
        waiting.close()
        self.assertEqual(world.counts.seen, [("events", 499, True), ("callHistory", 499, False)])
