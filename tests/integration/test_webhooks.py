"""Live tests of the webhooks: real calls, the daemon, and receivers of every kind."""

from __future__ import annotations

import re
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from signal import SIGTERM
from socket import SOCK_STREAM
from typing import Any, ClassVar

from lab.daemon import Daemon, Table
from lab.processes import Child, free_port
from tests.integration.asking import as_xml, spelled, together
from tests.integration.calling_in import TALK as TALK_OF_A_CALLER
from tests.integration.calling_in import CallingInTestCase
from tests.integration.harness import LiveTestCase
from tests.integration.receiver import Receiver, always, at_first, endless, hanging
from tests.integration.stream import Heard, follow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
#: A talk that the client ends after two seconds; and a client who is busy.
TALK, BUSY = "380630000001", "380630000005"
TALKED = ["CALL", "OPERATOR_CALLTO", "OPERATOR_PICKUP", "CLIENT_CALLTO", "CLIENT_PICKUP", "FINISH"]
#: Whoever is here, and may have deliveries sent again.
REDELIVERS: dict[str, Any] = {
    "clients": [
        {
            "name": "crm",
            "networks": ["127.0.0.0/8"],
            "permissions": ["call", "read", "webhooks"],
        }
    ]
}
SOON = {"retry_first": 0.05, "retry_longest": 0.2}


def in_order(call_id: int, count: int) -> list[str]:
    """The names of so many states of a call."""
    return [f"{call_id}-{seq}" for seq in range(1, count + 1)]


def once(ids: list[str]) -> list[str]:
    """Names without repetitions that follow upon themselves: what at least once may bring."""
    return [name for at, name in enumerate(ids) if at == 0 or ids[at - 1] != name]


class WebhookTestCase(LiveTestCase):
    """A receiver that outlives daemons, the class's or the test's, and webhooks by their paths."""

    #: By path: the keys of the webhook that leads there.
    hooks: ClassVar[dict[str, dict[str, Any]]] = {}
    _receivers: ClassVar[dict[object, Receiver]] = {}

    @property
    def receiver(self) -> Receiver:
        """The receiver."""
        whose: object = type(self) if self.shared else self.id()
        if whose not in self._receivers:
            self._receivers[whose] = Receiver()
        return self._receivers[whose]

    def new_daemon(self, **tables: Table) -> Daemon:
        """A daemon with the class's webhooks."""
        return super().new_daemon(**tables, webhooks=self.webhooks())  # type: ignore[arg-type]

    def webhooks(self) -> list[dict[str, Any]]:
        """The configuration's tables."""
        return [
            {
                "name": path.strip("/"),
                "url": self.receiver.url(path),
                "secret": SECRET,
                **SOON,
                **keys,
            }
            for path, keys in self.hooks.items()
        ]

    async def talk(self, sip: str, phone: str = TALK, **parameters: object) -> int:
        """Make a call and see it end."""
        call_id = await self.make_call(sip, phone, **parameters)
        await self.finished(call_id)
        return call_id

    async def arrived(self, path: str, ids: list[str], timeout: float = 20.0) -> None:
        """Wait until a call's states have arrived in order, each at least once, none left out."""
        call_id = int(ids[0].partition("-")[0])
        receiver = self.receiver
        await self.wait_for(
            lambda: once(receiver.ids(path, call_id))[-1:] == ids[-1:], timeout, f"{path} {ids[-1]}"
        )
        self.assertEqual(once(receiver.ids(path, call_id)), ids, path)

    async def log(self, **filter: object) -> list[dict[str, Any]]:
        """The log's rows, oldest first."""
        rows: list[dict[str, Any]] = (await self.ask("webhookLog", per_page=1000, **filter))["data"]
        return rows[::-1]


class EveryState(WebhookTestCase):
    """Every state as a POST to the configured URLs, filtered, signed, in JSON or XML."""

    hooks = {
        "/all": {},
        "/finals": {"states": ["FINISH", "CLIENT_BUSY", "OPERATOR_BUSY"]},
        "/xml": {"format": "xml"},
        "/rotating": {"secret": [NEW_SECRET, SECRET]},
        "/everything": {"types": ["call.state", "operator.state", "record.ready"]},
        "/recordings": {"types": ["record.ready"]},
    }

    async def test_every_state_in_order(self) -> None:
        """Each state of a call arrives once, in order, as the object that callHistory has."""
        call_id = await self.talk("1040")
        await self.arrived("/all", in_order(call_id, 6))
        posts = self.receiver.posts("/all", call_id)
        self.assertEqual(len(posts), 6)
        states = await self.states(call_id)
        self.assertEqual([state["state"] for state in states], TALKED)
        for post, state in zip(posts, states, strict=True):
            expected = {"type": "call.state", "timestamp": state["date"], "data": state}
            self.assertEqual(post.json, expected)
            self.assertEqual(post.headers["content-type"], "application/json")
            self.assertEqual(post.id, f"{call_id}-{state['seq']}")

    async def test_soon(self) -> None:
        """A state is at the receiver within two seconds of its moment, while the call goes on."""
        call_id = await self.talk("1041")
        await self.arrived("/all", in_order(call_id, 6))
        for post in self.receiver.posts("/all", call_id):
            told = datetime.fromisoformat(post.json["data"]["date"]).timestamp()
            self.assertLess(post.when - told, 2.0, post.json["data"]["state"])

    async def test_signed(self) -> None:
        """A receiver that checks as Standard Webhooks says finds the signature and moment good."""
        call_id = await self.talk("1042", BUSY)
        await self.arrived("/all", in_order(call_id, 5))
        for post in self.receiver.posts("/all", call_id):
            self.assertTrue(post.is_signed(SECRET))
            self.assertFalse(post.is_signed(NEW_SECRET))
            self.assertLess(abs(post.when - int(post.headers["webhook-timestamp"])), 5)

    async def test_two_secrets_during_rotation(self) -> None:
        """With two secrets a receiver that knows either finds the signature good."""
        call_id = await self.talk("1043", BUSY)
        await self.arrived("/rotating", in_order(call_id, 5))
        for post in self.receiver.posts("/rotating", call_id):
            self.assertEqual(len(post.headers["webhook-signature"].split(" ")), 2)
            self.assertTrue(post.is_signed(SECRET) and post.is_signed(NEW_SECRET))

    async def test_filtered_by_state(self) -> None:
        """Only the states that are asked for arrive."""
        talked, busy = await together([self.talk("1044"), self.talk("1045", BUSY)])
        await self.arrived("/finals", [f"{talked}-6"])
        await self.arrived("/finals", [f"{busy}-5"])
        posts = self.receiver.posts("/finals", talked) + self.receiver.posts("/finals", busy)
        self.assertEqual([one.json["data"]["state"] for one in posts], ["FINISH", "CLIENT_BUSY"])

    async def test_xml(self) -> None:
        """XML says what JSON says, one to one, and is what was signed."""
        call_id = await self.talk("1046", BUSY)
        await self.arrived("/xml", in_order(call_id, 5))
        await self.arrived("/all", in_order(call_id, 5))
        both = zip(
            self.receiver.posts("/xml", call_id), self.receiver.posts("/all", call_id), strict=True
        )
        for xml, same in both:
            self.assertEqual(xml.headers["content-type"], "application/xml; charset=utf-8")
            self.assertEqual(spelled(xml.xml), spelled(as_xml("webhook", same.json)))
            self.assertTrue(xml.is_signed(SECRET))

    async def test_operators_and_recordings(self) -> None:
        """Operators' states and recordings are told to who asks for them, and to nobody else."""
        call_id = await self.talk("1047")
        receiver = self.receiver

        def ready() -> list[Any]:
            posts = [one.json for one in receiver.posts("/recordings")]
            return [one["data"] for one in posts if one["data"]["call_id"] == call_id]

        (record,) = await self.wait_for(ready, 20, "the recording")
        self.assertEqual(record["duration"] > 1, True)
        (listed,) = [
            one for one in (await self.ask("recordList"))["data"] if one["call_id"] == call_id
        ]
        self.assertEqual({**listed, "url": record["url"]}, record)
        self.assertTrue(record["url"].endswith(f"/api/record/{call_id}.wav"))
        states = [
            one.json["data"]["state"]
            for one in receiver.posts("/everything")
            if one.json["type"] == "operator.state" and one.json["data"]["sip"] == "1047"
        ]
        self.assertEqual(states[-2:], ["inuse", "online"])
        of_call = [
            one.json["type"]
            for one in receiver.posts("/everything")
            if one.json["type"] != "operator.state" and one.json["data"]["call_id"] == call_id
        ]
        self.assertEqual(of_call, ["call.state"] * 6 + ["record.ready"])
        for path, type_ in (("/all", "call.state"), ("/recordings", "record.ready")):
            self.assertEqual({one.json["type"] for one in receiver.posts(path)}, {type_})


class Receivers(WebhookTestCase):
    """Receivers that fail in every way, and one beside them that does not."""

    tables = REDELIVERS

    hooks = {
        "/well": {},
        "/fails": {},
        "/hangs": {"timeout": 0.5},
        "/gone": {},
        "/redirects": {},
        "/endless": {"timeout": 5},
        "/endless-error": {"timeout": 5},
        "/later": {},
        "/poisoned": {},
    }

    def webhooks(self) -> list[dict[str, Any]]:
        """Those by path; and one to who speaks no TLS, one to nobody at all."""
        plain = self.receiver.url("/tls").replace("http:", "https:")
        nobody = "http://127.0.0.1:9/hook"
        more = [{"name": "tls", "url": plain}, {"name": "nobody", "url": nobody}]
        slow = {"secret": SECRET, "retry_first": 1.0, "retry_longest": 2.0}
        return [*super().webhooks(), *({**one, **slow} for one in more)]

    async def test_a_receiver_that_fails_20_times(self) -> None:
        """It gets the same state 21 times under one name, then the others, in order."""
        self.receiver.behave["/fails"] = at_first(20, always(500))
        call_id = await self.talk("1040", BUSY)
        await self.arrived("/fails", in_order(call_id, 5), 30)
        posts = self.receiver.posts("/fails", call_id)
        self.assertEqual([one.id for one in posts[:21]], [f"{call_id}-1"] * 21)
        self.assertEqual(len(posts), 25)
        self.assertEqual(len({one.body for one in posts[:21]}), 1)
        self.assertTrue(all(one.is_signed(SECRET) for one in posts))
        stamps = [int(one.headers["webhook-timestamp"]) for one in posts[:21]]
        self.assertEqual(stamps, sorted(stamps))
        self.assertGreater(stamps[-1], stamps[0])
        first, *others = await self.wait_for(
            lambda: self.delivered(call_id, "fails", 5), 10, "five deliveries"
        )
        self.assertEqual((first["attempts"], first["http_status"]), (21, 200))
        self.assertEqual({one["attempts"] for one in others}, {1})

    async def delivered(self, call_id: int, webhook: str, count: int) -> list[dict[str, Any]]:
        """A call's deliveries to a webhook, once so many have arrived."""
        rows = await self.log(call_id=call_id, webhook=webhook, status="delivered")
        return rows if len(rows) == count else []

    async def test_a_receiver_that_hangs(self) -> None:
        """After the timeout the POST is given up and tried again; nothing overtakes meanwhile."""
        self.receiver.behave["/hangs"] = at_first(3, hanging(3))
        call_id = await self.talk("1041", BUSY)
        await self.arrived("/hangs", in_order(call_id, 5), 30)
        self.assertEqual(self.receiver.ids("/hangs", call_id)[:4], [f"{call_id}-1"] * 4)

    async def test_others_are_not_held_up(self) -> None:
        """While receivers hang, are nobody or break TLS, the one beside them hears at once."""
        self.receiver.behave["/hangs"] = hanging(3)
        self.addCleanup(self.receiver.behave.pop, "/hangs")
        call_ids = await together(self.talk(f"10{n}", BUSY) for n in range(42, 46))
        for call_id in call_ids:
            await self.arrived("/well", in_order(call_id, 5), 5)
            for post in self.receiver.posts("/well", call_id):
                told = datetime.fromisoformat(post.json["data"]["date"]).timestamp()
                self.assertLess(post.when - told, 2.0)
        for webhook, error in (
            ("tls", "TLS: "),
            ("nobody", "refused"),
            ("hangs", "no answer within 0.5 s"),
        ):
            trying = partial(self.tried, call_ids[0], webhook)
            rows = await self.wait_for(trying, 10, f"a try of {webhook}")
            self.assertIn(error, rows[0]["error"])
            self.assertEqual(rows[0]["http_status"], None)
            self.assertEqual({row["status"] for row in rows}, {"waiting"})
            self.assertEqual([bool(row["next"]) for row in rows], [True] + [False] * 4)

    async def tried(self, call_id: int, webhook: str) -> list[dict[str, Any]]:
        """A call's deliveries to a webhook, once the first has been tried."""
        rows = await self.log(call_id=call_id, webhook=webhook)
        return rows if len(rows) == 5 and rows[0]["error"] else []

    async def test_other_calls_are_not_held_up(self) -> None:
        """One call that a receiver does not take holds up none of its other calls."""
        poison = await self.make_call("1046", BUSY)
        self.receiver.behave["/poisoned"] = lambda answering, post: answering.answer(
            422 if post.id.startswith(f"{poison}-") else 200
        )
        await self.finished(poison)
        call_ids = await together(self.talk(f"10{n}", BUSY) for n in range(47, 50))
        for call_id in call_ids:
            await self.arrived("/poisoned", in_order(call_id, 5), 5)
        refused = once(self.receiver.ids("/poisoned", poison))
        self.assertEqual(len(refused), 1, refused)
        self.receiver.behave.pop("/poisoned")
        first = int(refused[0].partition("-")[2])
        await self.arrived("/poisoned", in_order(poison, 5)[first - 1 :])

    async def test_410_stops(self) -> None:
        """After 410 nothing more is sent there, the log says so; redeliver begins anew."""
        self.receiver.behave["/gone"] = always(410)
        first = await self.talk("1050", BUSY)
        await self.wait_for(lambda: self.receiver.posts("/gone"), 10, "a POST")
        second = await self.talk("1051", BUSY)
        await self.arrived("/well", in_order(second, 5))
        self.assertEqual(len(self.receiver.posts("/gone")), 1)
        rows = await self.log(webhook="gone", call_id=second)
        self.assertEqual({row["status"] for row in rows}, {"stopped"})
        self.assertIn("webhook gone answered 410", self.daemon.tail(400))
        self.receiver.behave.pop("/gone")
        again = await self.ask("redeliver", call_id=first, webhook="gone")
        self.assertEqual([row["webhook_id"] for row in again], in_order(first, 5))
        await self.arrived("/gone", in_order(first, 5))
        self.assertEqual(self.receiver.ids("/gone", second), [])
        third = await self.talk("1052", BUSY)
        await self.arrived("/gone", in_order(third, 5))

    async def test_redirects_are_not_followed(self) -> None:
        """A redirect is no delivery, and nothing arrives where it leads."""
        elsewhere = self.receiver.url("/elsewhere")
        self.receiver.behave["/redirects"] = always(307, Location=elsewhere)
        call_id = await self.talk("1053", BUSY)
        rows = await self.wait_for(lambda: self.tried(call_id, "redirects"), 10, "a try")
        self.assertEqual(
            (rows[0]["http_status"], rows[0]["error"]),
            (307, "answered 307; redirects are not followed"),
        )
        self.assertEqual(self.receiver.posts("/elsewhere"), [])
        self.receiver.behave.pop("/redirects")
        await self.arrived("/redirects", in_order(call_id, 5))

    async def test_an_endless_body(self) -> None:
        """The status counts, the body is cut off; the daemon's memory stays as it is."""
        self.receiver.behave["/endless"] = endless(200)
        self.receiver.behave["/endless-error"] = endless(500)
        before = self.memory()
        call_id = await self.talk("1054", BUSY)
        await self.arrived("/endless", in_order(call_id, 5))
        self.assertEqual(len(self.receiver.posts("/endless", call_id)), 5)
        rows = await self.wait_for(lambda: self.tried(call_id, "endless-error"), 10, "a try")
        self.assertEqual(rows[0]["http_status"], 500)
        self.assertLess(self.memory() - before, 20_000)
        self.receiver.behave.pop("/endless-error")
        await self.arrived("/endless-error", in_order(call_id, 5))

    def memory(self) -> int:
        """The daemon's resident memory in kB."""
        with open(f"/proc/{self.daemon.pid}/status") as file:
            found = re.search(r"VmRSS:\s+(\d+) kB", file.read())
        assert found is not None
        return int(found[1])

    async def test_retry_after(self) -> None:
        """Who asks for two seconds gets two seconds."""
        self.receiver.behave["/later"] = at_first(1, always(503, Retry_After="2"))
        call_id = await self.talk("1055", BUSY)
        await self.arrived("/later", in_order(call_id, 5))
        first, second, *_ = self.receiver.posts("/later", call_id)
        self.assertEqual(first.id, second.id)
        self.assertGreater(second.when - first.when, 1.9)

    async def test_secrets_are_not_logged(self) -> None:
        """No secret is in the daemon's log, nor in what the API tells of webhooks."""
        await self.talk("1056", BUSY)
        shown = self.daemon.log.read_text() + str(await self.log())
        self.assertNotIn(SECRET.removeprefix("whsec_"), shown)


class Log(WebhookTestCase):
    """webhookLog, paged, by call; and redeliver."""

    tables = REDELIVERS

    hooks = {"/crm": {}, "/wall": {"states": ["CALL"]}}

    async def test_log_and_redeliver(self) -> None:
        """Pages at their edges, by call and status; one delivery again, a call again, nothing."""
        one, two = await together([self.talk("1040", BUSY), self.talk("1041", BUSY)])
        await self.wait_for(lambda: self.count(status="delivered", total=12), 15, "12 deliveries")
        await self.pages()
        rows = await self.log(call_id=one)
        self.assertEqual(
            sorted((row["webhook"], row["webhook_id"]) for row in rows),
            sorted([*(("crm", name) for name in in_order(one, 5)), ("wall", f"{one}-1")]),
        )
        for row in rows:
            self.assertEqual((row["status"], row["attempts"], row["error"]), ("delivered", 1, None))
            self.assertLessEqual(row["date"], row["first"])
            self.assertEqual((row["last"], row["next"]), (row["delivered"], None))
        root = await self.api_xml("webhookLog", call_id=one)
        self.assertEqual(len(root.findall("response/data/item")), 6)
        again = await self.ask("redeliver", delivery_id=rows[0]["delivery_id"])
        self.assertEqual([row["webhook_id"] for row in again], [rows[0]["webhook_id"]])
        await self.ask("redeliver", call_id=two, webhook="crm")
        twice = in_order(two, 5) * 2
        await self.wait_for(
            lambda: len(self.receiver.ids("/crm", two)) == 10, 10, "the call once more"
        )
        self.assertEqual(self.receiver.ids("/crm", two), twice)
        await self.refusals()

    async def count(self, total: int, **filter: object) -> bool:
        """Whether the log has so many."""
        return bool((await self.ask("webhookLog", **filter))["total"] == total)

    async def pages(self) -> None:
        """Every page size sees every row once, newest first; beyond the end there is nothing."""
        whole = [row["delivery_id"] for row in (await self.ask("webhookLog"))["data"]]
        self.assertEqual(whole, sorted(whole, reverse=True))
        for per_page, pages in ((1, 12), (5, 3), (6, 2), (12, 1), (1000, 1)):
            seen: list[int] = []
            for page in range(1, pages + 2):
                found = await self.ask("webhookLog", page=page, per_page=per_page)
                self.assertEqual((found["total"], found["pages"]), (12, pages))
                seen += [row["delivery_id"] for row in found["data"]]
            self.assertEqual(seen, whole)
        empty = await self.ask("webhookLog", status="failed,stopped")
        self.assertEqual((empty["total"], empty["pages"], empty["data"]), (0, 0, []))

    async def refusals(self) -> None:
        """What cannot be asked is refused by name."""
        for method, asked, status, code in (
            ("webhookLog", {"page": 0}, 400, "bad_parameter"),
            ("webhookLog", {"per_page": 1001}, 400, "bad_parameter"),
            ("webhookLog", {"page": 101, "per_page": 1000}, 400, "too_deep"),
            ("webhookLog", {"status": "lost"}, 400, "bad_parameter"),
            ("redeliver", {}, 400, "missing_parameter"),
            ("redeliver", {"delivery_id": 10**9}, 404, "delivery_unknown"),
        ):
            envelope = await self.api(method, **asked)
            self.assertEqual((envelope["status_code"], envelope["error"]["code"]), (status, code))
        self.assertEqual(await self.ask("redeliver", call_id=2**31 - 1), [])


class CallingIn(WebhookTestCase, CallingInTestCase):
    """A client calls in, and the CRM knows at once."""

    tables = {"routing": {"operators": ["1051"], "ring_timeout": 5}}
    hooks = {"/crm": {}}

    async def test_the_crm_knows_at_once(self) -> None:
        """Every state of an inbound call arrives, CALL while the operator's phone still rings."""
        did, caller = self.a_client()
        self.lab.clients.call(did, caller, talk=2.0)
        call_id = await self.call_of(caller)
        await self.over(call_id)
        await self.arrived("/crm", in_order(call_id, 4))
        posts = self.receiver.posts("/crm", call_id)
        self.assertEqual([one.json["data"] for one in posts], await self.states(call_id))
        self.assertEqual([one.json["data"]["state"] for one in posts], TALK_OF_A_CALLER)
        picked_up = datetime.fromisoformat(posts[2].json["data"]["date"]).timestamp()
        self.assertLess(posts[0].when, picked_up)


class Attached(WebhookTestCase):
    """An order is attached while a receiver is away."""

    tables = {
        "clients": [  # type: ignore[dict-item]
            {
                "name": "crm",
                "networks": ["127.0.0.0/8"],
                "permissions": ["call", "read", "attach", "webhooks"],
            }
        ]
    }
    hooks = {
        "/well": {},
        "/away": {"types": ["call.state", "record.ready"]},
    }

    def orders(self, path: str, call_id: int) -> list[tuple[str, str | None]]:
        """Each POST of a call: its name, and the order in it."""
        posts = [one for one in self.receiver.posts(path) if one.json["data"]["call_id"] == call_id]
        return [(one.id, one.json["data"]["order_id"]) for one in posts]

    async def test_in_a_talk(self) -> None:
        """What waits, what comes and what is sent once more is under it; and so in the stream."""
        self.receiver.behave["/away"] = always(503)
        call_id = await self.make_call("1040", TALK, order_id="old")
        names = in_order(call_id, 6)
        await self.arrived("/well", names[:5])
        await self.wait_for(lambda: self.orders("/away", call_id), 10, "an attempt")
        await self.ask("attachOrder", call_id=call_id, order_id="new", replace=1)
        await self.finished(call_id)
        await self.arrived("/well", names)
        self.assertEqual(
            self.orders("/well", call_id),
            [(name, "new" if name == names[-1] else "old") for name in names],
        )
        self.assertEqual(self.orders("/away", call_id)[0], (names[0], "old"))
        self.receiver.behave.pop("/away")

        def through() -> list[tuple[str, str | None]]:
            found = self.orders("/away", call_id)
            return found if found[-1][0].startswith("record-") else []

        got = await self.wait_for(through, 20, "the recording")
        taken = dict(got)
        self.assertEqual(list(taken)[:6], names)
        self.assertEqual(set(taken.values()), {"new"})
        await self.ask("redeliver", call_id=call_id, webhook="well")
        await self.wait_for(lambda: len(self.orders("/well", call_id)) == 12, 10, "all once more")
        self.assertEqual(self.orders("/well", call_id)[6:], [(name, "new") for name in names])

        heard = Heard()
        reader = await follow(self.daemon.port, heard, order_id="new", after=0)
        self.addCleanup(reader.cut)
        await self.wait_for(lambda: len(heard.of("call.state")) == 6, 10, "all in the stream")
        self.assertEqual(heard.of("call.state"), await self.states(call_id))
        self.assertEqual({row["order_id"] for row in heard.rows}, {"new"})
        old = await self.api("callHistory", order_id="old", after=0)
        self.assertEqual(old["response"], [])


class Documented(WebhookTestCase):
    """The receiver that the page shows."""

    page = Path(__file__).parent.parent.parent / "docs" / "webhooks.md"

    def webhooks(self) -> list[dict[str, Any]]:
        """One to the page's receiver."""
        self.port = free_port(SOCK_STREAM)
        return [{"url": f"http://127.0.0.1:{self.port}/hook", "secret": SECRET, **SOON}]

    async def test_the_receiver_of_the_page(self) -> None:
        """It finds the signatures good, and prints what the page says."""
        text = self.page.read_text()
        (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
        (printed,) = re.findall(r"^```\n(1 1 CALL\n.*?)^```$", text, re.M | re.S)
        script = self.daemon.folder / "receiver.py"
        script.write_text(program.replace("9000", str(self.port)))
        output = self.daemon.folder / "receiver.log"
        child = Child([sys.executable, str(script)], output, ledger=self.lab.ledger)
        self.addCleanup(child.kill)
        call_id = await self.talk("1040", BUSY)
        expected = re.sub(r"^1 ", f"{call_id} ", printed, flags=re.M)

        def states() -> str:
            """What it printed, without the lines that Python's server writes for each request."""
            return "".join(re.findall(r"^\d+ \d+ [A-Z_]+\n", output.read_text(), re.M))

        await self.wait_for(lambda: states() == expected, 15, "what the page says")


class Restarts(WebhookTestCase):
    """At least once, from the journal."""

    shared = False
    hooks = {"/down": {}, "/up": {}}

    async def test_killed_while_the_receiver_is_down(self) -> None:
        """kill -9 while a receiver is down: afterwards nothing is missing, each call in order."""
        self.receiver.behave["/down"] = always(503)
        before = await together(self.talk(f"10{n}", BUSY) for n in range(40, 44))
        under_way = await self.make_call("1044", TALK)
        await self.wait_for(
            lambda: f"{under_way}-5" in self.receiver.ids("/up"), 20, "the talk at the other one"
        )
        self.daemon.kill()
        self.receiver.behave.pop("/down")
        self.daemon.start()
        await self.finished(under_way)
        after = await self.talk("1045", BUSY)
        await self.complete("/down", before, under_way, after)
        await self.complete("/up", before, under_way, after)
        await self.wait_for(self.nothing_waits, 10, "an end of what waits")

    async def nothing_waits(self) -> bool:
        """Whether everything is delivered."""
        waiting = await self.ask("webhookLog", status="waiting,failed,stopped")
        return bool(waiting["total"] == 0)

    async def complete(self, path: str, before: list[int], under_way: int, after: int) -> None:
        """Everything arrives at a path, in the order of each call."""
        for call_id in [*before, after]:
            await self.arrived(path, in_order(call_id, 5))
        await self.arrived(path, in_order(under_way, 6))

    async def test_killed_over_and_over(self) -> None:
        """Killed five times in the middle of deliveries: all arrives, in the order of each call."""
        call_ids: list[int] = []
        for n in range(5):
            call_ids += await together(self.make_call(f"10{40 + n + 5 * i}", BUSY) for i in (0, 1))
            await self.wait_for(partial(self.begun, call_ids[-1]), 15, "two states")
            self.daemon.kill()
            self.daemon.start()
        for call_id in call_ids:
            count = len(await self.finished(call_id))
            for path in ("/up", "/down"):
                await self.arrived(path, in_order(call_id, count))

    def begun(self, call_id: int) -> bool:
        """Whether two states of a call have arrived."""
        return len(self.receiver.ids("/up", call_id)) >= 2

    async def test_stopped_gently(self) -> None:
        """A daemon that is stopped and started delivers what it had not; it ends in seconds."""
        self.receiver.behave["/down"] = hanging(30)
        call_id = await self.talk("1046", BUSY)
        began = time.monotonic()
        self.assertIn(self.daemon.stop(), (0, -SIGTERM))
        self.assertLess(time.monotonic() - began, 9)
        self.receiver.behave.pop("/down")
        self.daemon.start()
        await self.arrived("/down", in_order(call_id, 5))
        await self.arrived("/up", in_order(call_id, 5))
        self.assertEqual(len(self.receiver.ids("/up", call_id)), 5)
