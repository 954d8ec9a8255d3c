"""Live tests of the stream: a CRM follows calls as they happen, however it is cut off."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from ccdaemon.store.facts import Fact
from ccdaemon.store.journal import Journal
from tests.integration.asking import together
from tests.integration.harness import LiveTestCase
from tests.integration.stream import Heard, Reader, deaf, follow, is_cut
from tests.store.parts import chain, view

#: A client who answers and hangs up after a moment, and one who is busy.
ANSWERS, BUSY = "380630000034", "380630000005"
SHORT = {"asterisk": {"operator_timeout": 5, "client_timeout": 3}, "http": {"events_heartbeat": 1}}


class StreamCase(LiveTestCase):
    """Opens streams, which are cut at the end."""

    tables = SHORT

    async def stream(self, heard: Heard, **asked: object) -> Reader:
        """Open a stream and wait until it has begun."""
        reader = await follow(self.daemon.port, heard, **asked)
        self.addCleanup(reader.cut)
        await self.wait_for(lambda: reader.head, 5, "the head of a stream")
        return reader

    async def heard_states(self, heard: Heard, finals: int, timeout: float = 40) -> None:
        """Wait until so many final states were heard."""

        def enough() -> bool:
            return bool(sum(row["final"] for row in heard.of("call.state")) >= finals)

        await self.wait_for(enough, timeout, f"{finals} final states in the stream")

    async def heard_end(self, heard: Heard, call_id: int) -> None:
        """Wait until the last thing heard is the end of a call."""

        def is_last() -> bool:
            last = heard.rows[-1] if heard.rows else {"call_id": None}
            return bool(last["call_id"] == call_id and last["final"])

        await self.wait_for(is_last, 10, f"the end of call {call_id}")

    async def everything(self, after: object, **asked: object) -> list[dict[str, Any]]:
        """The same by callHistory."""
        rows: list[dict[str, Any]] = []
        while True:
            envelope = await self.api("callHistory", after=after, limit=1000, **asked)
            rows += envelope["response"]
            if envelope["next"] == after:
                return rows
            after = envelope["next"]


class Following(StreamCase):
    """Streams of one daemon."""

    async def test_a_call_as_it_happens(self) -> None:
        """A talk: every state, both changes of the operator and the recording, when they are."""
        heard = Heard()
        reader = await self.stream(heard)
        self.assertIn("200 OK", reader.head)
        self.assertIn("Content-Type: text/event-stream", reader.head)
        call_id = await self.make_call("1100", ANSWERS, order_id="seen")
        await self.wait_for(lambda: heard.of("call.state"), 2, "CALL, while the call goes on")
        self.assertFalse(heard.of("call.state")[-1]["final"])
        states = await self.finished(call_id)
        await self.wait_for(lambda: heard.of("record.ready"), 10, "the recording")
        mine = [row for row in heard.of("call.state") if row["call_id"] == call_id]
        self.assertEqual(mine, states)
        (record,) = heard.of("record.ready")
        (listed,) = (await self.ask("orderRecords", order_id="seen"))[0]["records"]
        self.assertEqual({**record, "url": None}, {**listed, "url": None})
        status, _, body = await self.request(record["url"].partition("localhost")[2])
        self.assertEqual((status, body[:4]), (200, b"RIFF"))

        def seen() -> list[str]:
            of_him = [row for row in heard.of("operator.state") if row["sip"] == "1100"]
            return [row["state"] for row in of_him]

        await self.wait_for(lambda: seen()[-1:] == ["online"], 10, "the operator online again")
        self.assertIn("inuse", seen())
        history = await self.ask("operatorHistory", sip="1100", per_page=len(seen()))
        of_him = [row for row in heard.of("operator.state") if row["sip"] == "1100"]
        self.assertEqual(of_him, history[::-1])
        ids = [row["event_id"] for row in heard.rows if "event_id" in row]
        self.assertEqual(ids, sorted(set(ids)))

    async def test_cut_in_the_middle(self) -> None:
        """Cut off many times at random while calls run: no gap, no repeat."""
        start = Heard()
        await self.stream(start, types="call.state", after=0)
        await self.sleep(0.5)
        place = start.place
        heard, whole = Heard(place=place), Heard(place=place)
        await self.stream(whole)
        operators = [f"11{n:02d}" for n in range(40, 60)]
        calls: list[Deferred[int]] = [
            Deferred.fromCoroutine(self.make_call(sip, random.choice((ANSWERS, BUSY))))
            for sip in operators
        ]
        dice, cuts = random.Random(7), 0
        while sum(row["final"] for row in heard.of("call.state")) < len(operators):
            self.assertLess(cuts, 1000, "no end in sight")
            reader = await follow(self.daemon.port, heard)
            await self.sleep(dice.uniform(0.0, 0.1))
            reader.cut()
            await reader.over
            cuts += 1
        for made in calls:
            await made
        await self.heard_states(whole, len(operators))
        self.assertGreater(cuts, 10)
        await self.stream(heard)
        await self.wait_for(
            lambda: len(heard.events) >= len(whole.events), 10, "what the uncut stream has"
        )
        await self.sleep(0.5)
        self.assertEqual(heard.events, whole.events)
        self.assertEqual(heard.of("call.state"), await self.everything(place))

    async def test_filters(self) -> None:
        """By order, operator, call and type one hears that and nothing else."""
        names = ("order_id", "sip", "types")
        asked = ({"order_id": "mine"}, {"sip": "1159"}, {"types": "record.ready"})
        streams = dict(zip(names, [Heard() for _ in names], strict=True))
        for heard, query in zip(streams.values(), asked, strict=True):
            await self.stream(heard, **query)
        mine, other = await together(
            [
                self.make_call("1158", ANSWERS, order_id="mine"),
                self.make_call("1159", ANSWERS, order_id="other"),
            ]
        )
        by_call = Heard()
        await self.stream(by_call, call_id=other, after=0)
        chains = await together([self.finished(mine), self.finished(other)])
        by_type = streams["types"].of
        await self.wait_for(lambda: len(by_type("record.ready")) == 2, 15, "two recordings")
        await self.sleep(0.3)
        self.assertEqual(streams["order_id"].of("call.state"), chains[0])
        self.assertEqual({row["call_id"] for row in streams["order_id"].rows}, {mine})
        self.assertEqual({row["sip"] for row in streams["sip"].rows}, {"1159"})
        self.assertEqual(by_call.of("call.state"), chains[1])
        self.assertEqual({row["call_id"] for row in by_call.rows}, {other})
        self.assertEqual({event.type for event in streams["types"].events}, {"record.ready"})

    async def test_heartbeats(self) -> None:
        """A stream on which nothing happens says every second that it is there."""
        heard = Heard()
        await self.stream(heard, order_id="nobody's")
        began = time.monotonic()
        await self.wait_for(lambda: len(heard.comments) >= 3, 10, "three heartbeats")
        self.assertGreater(time.monotonic() - began, 2.0)
        self.assertEqual(heard.events, [])

    async def test_what_is_refused(self) -> None:
        """A place that is none, another site's page and a word that is no type."""
        for query, headers, code in (
            ("after=x", {}, "bad_parameter"),
            ("types=x", {}, "bad_parameter"),
            ("", {"Last-Event-ID": "x"}, "bad_parameter"),
            ("", {"Origin": "https://evil.example"}, "forbidden"),
        ):
            status, _, body = await self.request(f"/api/events?{query}", headers=headers)
            self.assertIn(status, (400, 403))
            self.assertIn(code.encode(), body)
        status, told, body = await self.request("/api/events", "HEAD")
        self.assertEqual((status, told["content-type"], body), (200, "text/event-stream", b""))


class Restarts(StreamCase):
    """Streams over ends of the daemon and of Postgres."""

    shared = False

    async def test_over_a_restart(self) -> None:
        """The daemon ends, the stream ends whole; after the start it goes on with the next event,
        and what happened between the two is there."""
        heard = Heard()
        reader = await self.stream(heard, types="call.state")
        first = await self.make_call("1140", BUSY)
        talking = await self.make_call("1148", ANSWERS)
        await self.finished(first)
        self.daemon.stop()
        await reader.over
        self.assertTrue(reader.is_over, "the stream was cut off in the middle")
        await self.sleep(0.5)
        self.daemon.start()
        await self.stream(heard, types="call.state")
        await self.finished(talking, 40)
        last = await self.make_call("1142", BUSY)
        await self.finished(last)
        await self.heard_states(heard, 3)
        self.assertEqual(heard.of("call.state"), await self.everything(0))

    async def test_after_kill(self) -> None:
        """Killed in the middle, the daemon goes on where each reader was."""
        heard = Heard()
        reader = await self.stream(heard, types="call.state")
        await together([self.make_call(f"11{n}", ANSWERS) for n in range(50, 56)])
        self.daemon.kill()
        await reader.over
        self.daemon.start()
        await self.stream(heard, types="call.state")
        await self.heard_states(heard, 6)
        self.assertEqual(heard.of("call.state"), await self.everything(0))

    async def test_while_postgres_is_away(self) -> None:
        """Streams go on, are resumed and are begun without Postgres, as far as the journal goes."""
        heard = Heard()
        await self.stream(heard, types="call.state")
        first = await self.make_call("1140", BUSY)
        await self.finished(first)
        self.lab.postgres.stop(immediate=True)
        try:
            second = await self.make_call("1141", BUSY)
            await self.finished(second)
            await self.heard_states(heard, 2)
            resumed, begun = Heard(place=heard.events[2].id), Heard()
            await self.stream(resumed, types="call.state")
            await self.stream(begun, types="call.state")
            third = await self.make_call("1142", BUSY)
            await self.finished(third)
            for one in (heard, begun, resumed):
                await self.heard_states(one, 1)
                await self.heard_end(one, third)
            self.assertEqual(resumed.events, heard.events[3:])
            self.assertEqual({row["call_id"] for row in begun.rows}, {third})
        finally:
            self.lab.postgres.start()
        await self.wait_for(self._lists_are_back, 30, "Postgres")
        fourth = await self.make_call("1143", BUSY)
        await self.finished(fourth)
        for one in (heard, begun, resumed):
            await self.heard_end(one, fourth)
        self.assertEqual(heard.of("call.state"), await self.everything(0))
        self.assertEqual({row["call_id"] for row in begun.rows}, {third, fourth})

    async def _lists_are_back(self) -> bool:
        return bool((await self.api("callHistory", per_page=1))["status"] == "ok")


class Slow(StreamCase):
    """Readers that do not read, of a journal with much in it."""

    shared = False
    starts_daemon = False
    calls = 4000
    readers = 20

    def memory(self) -> int:
        """What the daemon has of memory, in kB."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    async def filled(self) -> None:
        """Put many calls into the journal before the daemon starts."""
        self.daemon.start()
        self.daemon.stop()
        journal = Journal(reactor, reactor, reactor, self.daemon.state_dir, window=0.0)  # type: ignore[arg-type]
        journal.startService()
        facts: list[Fact] = []
        for _ in range(self.calls):
            facts += chain(view(journal.take_call_id(), detail="x" * 200))
        for n in range(0, len(facts), 1200):
            await journal.append(facts[n : n + 1200])
        await journal.stopService()
        self.daemon.start()

    async def test_dropped_and_not_buffered(self) -> None:
        """Twenty readers take nothing: each is cut off, memory stays where it was, and a reader
        beside them hears everything."""
        await self.filled()
        good = Heard()
        await self.stream(good, types="call.state", after=0)
        wanted = self.calls * 6
        await self.wait_for(lambda: len(good.events) >= wanted, 60, "everything")
        size = sum(len(str(event)) for event in good.events)
        self.assertGreater(size, 8 << 20)
        before = self.memory()
        most, bad = before, [deaf(self.daemon.port, after=0) for _ in range(self.readers)]
        cut = [is_cut(one) for one in bad]

        def all_cut() -> bool:
            nonlocal most
            most = max(most, self.memory())
            return all(look() for look in cut)

        await self.wait_for(all_cut, 60, "all slow readers cut off")
        for one in bad:
            one.close()
        self.assertLess(most - before, 20 * 1024, "kB more memory")
        self.assertIn("is dropped: it was not read", self.daemon.tail(2000))
        self.assertEqual(
            [row["event_id"] for row in good.rows], sorted({row["event_id"] for row in good.rows})
        )
        again = Heard()
        await self.stream(again, types="call.state", after=good.events[-3].id)
        await self.wait_for(lambda: len(again.events) == 2, 10, "the last two events")


class Few(StreamCase):
    """A daemon with room for two."""

    tables = {**SHORT, "http": {"max_streams": 2}}

    async def test_one_too_many(self) -> None:
        """The third is told to come again, and may once one of the two has gone."""
        first = await self.stream(Heard())
        await self.stream(Heard())
        status, headers, body = await self.request("/api/events")
        self.assertEqual((status, headers["retry-after"]), (429, "5"))
        self.assertIn(b"too_many_streams", body)
        first.cut()
        await self.sleep(0.3)
        third = await self.stream(Heard())
        self.assertIn("200 OK", third.head)
        _, _, numbers = await self.request("/metrics")
        for sample in (b"streams_open 2.0", b"streams_opened_total 3.0"):
            self.assertIn(b"ccdaemon_" + sample, numbers)
