"""Links to recordings that need no key and expire."""

from __future__ import annotations

import hmac
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.signed_urls import Links
from ccdaemon.calls.model import Action, State
from ccdaemon.config import LOCAL, Client
from ccdaemon.errors import Code, Refused
from ccdaemon.store.records import ActionRow
from tests.api.parts import call_view, record
from tests.api.world import LINK, Reply, World
from tests.clocks import HOUR
from tests.sound import tone, wav

SECRET = "a-secret-that-nobody-could-guess"
PATH = "/api/record/cc-0a1b2c-12-o.wav"
#: Nobody knows who asks from here.
STRANGER = "203.0.113.9"


class LinksTests(SynchronousTestCase):
    """Making and knowing them."""

    def setUp(self) -> None:
        """With a secret."""
        self.links = Links(SECRET)

    def test_until_it_expires(self) -> None:
        """To the second."""
        path, _, query = self.links.make(PATH, 1000, LINK).partition("?")
        self.assertEqual(path, PATH)
        for now, opened in ((0, True), (1000, True), (1000.5, False), (2000, False)):
            self.assertIs(self.links.opens(PATH, query.encode(), now), opened)

    def test_what_is_no_link(self) -> None:
        """Without a signature nobody means to open anything."""
        self.assertIsNone(self.links.opens(PATH, b"", 0))
        self.assertIsNone(self.links.opens(PATH, b"expires=1000", 0))

    def test_only_what_it_names(self) -> None:
        """Neither another path, nor a later second, nor with another secret, nor without one."""
        query = self.links.make(PATH, 1000, LINK).partition("?")[2]
        later = query.replace("1000", "2000")
        for links, path, given_query in (
            (self.links, PATH.replace("12", "13"), query),
            (self.links, PATH.replace("wav", "mp3"), query),
            (self.links, PATH, later),
            (self.links, PATH, query[:-1]),
            (self.links, PATH, query.replace("expires=", "expires=0")),
            (self.links, PATH, query.replace(LINK, LINK[::-1])),
            (self.links, PATH, query.replace(f"link={LINK}&", "")),
            (self.links, PATH, query.replace(LINK, "%0A" + LINK)),
            (Links(SECRET + "!"), PATH, query),
            (Links(None), PATH, query),
        ):
            self.assertIs(links.opens(path, given_query.encode(), 0), False, given_query)

    def test_one_from_before(self) -> None:
        """A link that was made before they were told apart opens until it expires."""
        signed = hmac.new(SECRET.encode(), f"{PATH}\n1000".encode(), sha256).hexdigest()
        query = f"expires=1000&signature={signed}".encode()
        self.assertIs(self.links.opens(PATH, query, 1000), True)
        self.assertIsNone(self.links.link_of(query))
        self.assertIs(self.links.opens(PATH, query, 1001), False)

    @given(st.binary(max_size=100))
    def test_no_bytes_open_anything(self, query: bytes) -> None:
        """Nor do they break it."""
        self.assertIn(self.links.opens(PATH, query, 0), (None, False))
        self.assertIs(self.links.opens(PATH, b"signature=&" + query, 0), False)


class RecordLinkTests(SynchronousTestCase):
    """recordLink, and what the link opens."""

    def world(self, **options: Any) -> World:
        """A recorded call; a client who may read asks from this machine."""
        reader = Client(name="crm", networks=LOCAL.networks, permissions=["read"])
        made = World([reader], **options)
        made.history.add(call_view(12), [State.CALL, State.FINISH], record(12))
        folder = Path(self.mktemp())
        folder.mkdir()
        file = folder / "talk.wav"
        file.write_bytes(wav(tone(0.5)))
        made.recordings.files[record(12).path] = file
        return made

    def link(self, world: World, more: str = "") -> str:
        """A link, without the host."""
        reply = world.ask(f"/api/recordLink.json?call_id=12{more}")
        self.assertEqual(reply.status, 200, reply.body)
        url: str = reply.json["response"]["url"]
        return url.removeprefix("http://localhost:8080")

    def fetch(self, world: World, link: str, **headers: str) -> Reply:
        """What a stranger gets."""
        return world.ask(link, "HEAD", headers, peer=STRANGER)

    def test_it_opens_the_recording(self) -> None:
        """To anybody, from any page; nothing else, and not for ever."""
        world = self.world(link_secret=SECRET)
        link = self.link(world, "&seconds=60")
        opened = self.fetch(world, link)
        self.assertEqual(opened.status, 200, (link, opened.body))
        from_page = self.fetch(world, link, **{"Sec-Fetch-Site": "cross-site"})
        self.assertEqual(from_page.status, 200)
        self.assertEqual(self.fetch(world, "/api/record/12.wav").status, 401)
        self.assertEqual(self.fetch(world, link.replace(".wav", ".mp3")).status, 403)
        self.assertEqual(self.fetch(world, link[:-1]).status, 403)
        world.clock.advance(61)
        self.assertEqual(self.fetch(world, link).status, 403)

    def test_it_leaves_a_trace(self) -> None:
        """Who was given which link to what, and which one was played."""
        world = self.world(link_secret=SECRET)
        reply = world.ask("/api/recordLink.json?call_id=12").json["response"]
        self.assertEqual((list(reply), reply["link"]), (["url", "expires", "link"], LINK))
        uniqueid = record(12).uniqueid
        self.assertEqual(
            world.entries.asked,
            [{"call_id": 12, "uniqueid": uniqueid, "link": LINK, "client": "crm"}],
        )
        link = reply["url"].removeprefix("http://localhost:8080")
        world.connect(STRANGER).send(link)
        self.assertEqual(world.listening.noted, [(12, uniqueid, f"link {LINK}")])

    def test_no_trace_no_link(self) -> None:
        """Where it cannot be kept that there is one, there is none."""
        world = self.world(link_secret=SECRET)
        world.entries.refusal = Refused(Code.NOT_READY, "the disk is full")
        reply = world.ask("/api/recordLink.json?call_id=12")
        self.assertEqual((reply.status, reply.json["response"]), (503, None))

    def test_taken_back(self) -> None:
        """It opens nothing any more; another one does."""
        world = self.world(link_secret=SECRET)
        link = self.link(world)
        other = Links(SECRET).make(PATH, 3600, LINK[::-1])
        reply = world.ask(f"/api/revokeLink.json?call_id=12&link={LINK}")
        self.assertEqual((reply.status, reply.json["response"]), (200, {"call_id": 12}))
        self.assertEqual(world.entries.asked[-1], {"call_id": 12, "link": LINK, "client": "crm"})
        done = ActionRow(9, Action(12, 0, "revokeLink", "crm", note=LINK))
        world.history.chains = [replace(one, actions=[done]) for one in world.history.chains]
        opened = world.ask(link, peer=STRANGER)
        self.assertEqual((opened.status, opened.json["error"]["code"]), (403, "forbidden"))
        self.assertEqual(self.fetch(world, link).status, 403)
        self.assertEqual(self.fetch(world, other).status, 200)
        for name in ("", LINK.upper(), LINK[1:]):
            reply = world.ask(f"/api/revokeLink.json?call_id=12&link={name}")
            self.assertEqual(reply.status, 400)

    def test_it_goes_by_the_wall(self) -> None:
        """It says a date, so it ends at that date."""
        world = self.world(link_secret=SECRET)
        world.wall.set(HOUR)
        link = self.link(world, "&seconds=60")
        self.assertIn("expires=3660&", link)
        self.assertEqual(self.fetch(world, link).status, 200)
        world.wall.set(61)
        self.assertEqual(self.fetch(world, link).status, 403)

    def test_it_says_until_when(self) -> None:
        """An hour, unless asked otherwise."""
        world = self.world(link_secret=SECRET)
        response = world.ask("/api/recordLink.json?call_id=12").json["response"]
        self.assertEqual(response["expires"], "1970-01-01T01:00:00.000Z")
        self.assertIn("expires=3600&", response["url"])

    def test_refused(self) -> None:
        """Without a secret; no such call; no such recording; too long."""
        without = self.world().ask("/api/recordLink.json?call_id=12")
        self.assertEqual((without.status, without.json["error"]["code"]), (403, "forbidden"))
        world = self.world(link_secret=SECRET)
        for query, code in (
            ("call_id=13", "call_unknown"),
            ("call_id=12&uniqueid=other", "record_unknown"),
            ("call_id=12&seconds=604801", "bad_parameter"),
            ("call_id=12&format=ogg", "bad_parameter"),
        ):
            reply = world.ask(f"/api/recordLink.json?{query}")
            self.assertEqual(reply.json["error"]["code"], code)

    def test_a_stranger_gets_no_link(self) -> None:
        """Who may read makes them."""
        reply = self.world(link_secret=SECRET).ask("/api/recordLink.json?call_id=12", peer=STRANGER)
        self.assertEqual(reply.status, 401)
