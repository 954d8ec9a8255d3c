"""Live tests of how a CRM may ask, and of what deployed CRMs read, on calls really made."""

from __future__ import annotations

import json
import secrets
from http.client import HTTPConnection
from typing import Any

from lxml import etree

from tests.integration.asking import as_xml, spelled, together
from tests.integration.harness import LiveTestCase
from tests.integration.story import CHAINS, STATES, StoryTestCase

#: Operators who answer.
SIPS = ("1040", "1041", "1042", "1043", "1044")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Spellings(StoryTestCase):
    """One question in every spelling has one answer."""

    async def json(self, path: str, method: str = "GET", **options: Any) -> dict[str, Any]:
        """The envelope, which has to be JSON and to carry the status."""
        status, headers, body = await self.request(path, method, **options)
        self.assertTrue(headers["content-type"].startswith("application/json"), headers)
        envelope: dict[str, Any] = json.loads(body)
        self.assertEqual(envelope["status_code"], status)
        return envelope

    async def xml(self, path: str, method: str = "GET", **options: Any) -> bytes:
        """The envelope, which has to be XML, in its canonical spelling."""
        _, headers, body = await self.request(path, method, **options)
        self.assertIn("xml", headers["content-type"])
        return spelled(etree.fromstring(body))

    async def test_get_and_post(self) -> None:
        """GET, a posted form and a posted JSON object are answered alike."""
        story = await self.story()
        questions: dict[str, dict[str, Any]] = {
            "callHistory": {"call_id": story.calls["talk"]},
            "orderHistory": {"order_id": story.orders["one"], "group_by_call": 1},
            "orderRecords": {"order_id": story.orders["one"]},
            "recordList": {"page": 2, "per_page": 2},
            "sipList": {"status": "offline,online", "per_page": 3},
            "operatorHistory": {"sip": "1040", "per_page": 2},
        }
        for method, asked in questions.items():
            got = await self.api(method, **asked)
            self.assertEqual(got["status"], "ok", got)
            path = f"/api/{method}.json"
            form = {name: str(value) for name, value in asked.items()}
            self.assertEqual(await self.json(path, "POST", data=form), got, method)
            self.assertEqual(await self.json(path, "POST", json=asked), got, method)
            self.assertEqual(await self.json(path, "POST", json=form), got, method)

    async def test_head(self) -> None:
        """HEAD is GET without the body, length and type included."""
        await self.story()
        for path in ("/api/recordList.json", "/api/sipList.xml", "/api/nothing.json"):
            (status, headers, body), headed = self.raw("GET", path), self.raw("HEAD", path)
            self.assertEqual(int(headers["content-length"]), len(body))
            self.assertEqual((headed[0], headed[2]), (status, b""))
            for name in ("content-length", "content-type"):
                self.assertEqual(headed[1][name], headers[name], name)

    def raw(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        """The same by a client that keeps Content-Length; it waits without the reactor."""
        connection = HTTPConnection("127.0.0.1", self.daemon.port, timeout=10)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    async def test_suffixes(self) -> None:
        """The last suffix decides the format; without one Accept does, and JSON if it is silent."""
        story = await self.story()
        query = f"?call_id={story.calls['talk']}"
        expected = await self.json(f"/api/callHistory.json{query}")
        expected_xml = spelled(as_xml("result", expected))
        for suffix in (".json.json", ".xml.json", ""):
            self.assertEqual(await self.json(f"/api/callHistory{suffix}{query}"), expected)
        for suffix in (".xml", ".json.xml", ".xml.xml"):
            self.assertEqual(await self.xml(f"/api/callHistory{suffix}{query}"), expected_xml)
        accept: dict[str, Any] = {"headers": {"Accept": "application/xml"}}
        self.assertEqual(await self.xml(f"/api/callHistory{query}", **accept), expected_xml)
        self.assertEqual(await self.json(f"/api/callHistory.json{query}", **accept), expected)

    async def test_names(self) -> None:
        """Names match in any case, and the brief's heading RecordsList is recordList."""
        await self.story()
        expected = await self.api("recordList")
        self.assertEqual(expected["response"]["total"], 3)
        for name in ("recordlist", "RECORDLIST", "RecordsList", "recordslist"):
            self.assertEqual(await self.api(name), expected, name)

    async def test_parameters(self) -> None:
        """An empty parameter is absent, an unknown one ignored, a repeated one refused."""
        await self.story()
        flat = await self.json("/api/callHistory.json")
        self.assertEqual(flat["total"], STATES)
        empty = "call_id=&external_key=&after=&wait=&page=&per_page=&from=&to=&sip=&order_id="
        self.assertEqual(await self.json(f"/api/callHistory.json?{empty}&nonsense=1"), flat)
        for path in ("?page=1&page=1", "?page=1&page=2"):
            refused = await self.json(f"/api/callHistory.json{path}")
            self.check_error(refused, 400, "bad_parameter", field="page")
        twice = await self.json("/api/callHistory.json?page=1", "POST", data={"page": "1"})
        self.check_error(twice, 400, "bad_parameter", field="page")

    def check_error(self, envelope: dict[str, Any], status: int, code: str, **more: object) -> None:
        """An envelope without a response and with this error."""
        self.assertEqual(list(envelope), ["status", "status_code", "response", "error"])
        self.assertEqual(envelope["status"], "error")
        self.assertEqual((envelope["status_code"], envelope["response"]), (status, None))
        error = envelope["error"]
        self.assertTrue(error["message"])
        self.assertEqual(error, {"message": error["message"], "code": code, **more})

    async def test_what_is_not_there(self) -> None:
        """Unknown paths, methods and bodies that are too large wear the envelope as well."""
        big = {"data": b"sip=" + b"1" * 65536, "headers": FORM}
        for path, method, options, status, code in (
            ("/", "GET", {}, 404, "unknown_method"),
            ("/api/makeCoffee.json", "GET", {}, 404, "unknown_method"),
            ("/api/sipList.json/x", "GET", {}, 404, "unknown_method"),
            ("/api/sipList.json", "PUT", {}, 405, "method_not_allowed"),
            ("/api/sipList.json", "DELETE", {}, 405, "method_not_allowed"),
            ("/api/makeCall.json", "POST", big, 413, "body_too_large"),
        ):
            self.check_error(await self.json(path, method, **options), status, code)
        for path, method, options, expected in (
            ("/api/makeCoffee.xml", "GET", {}, "404"),
            ("/api/sipList.xml", "PATCH", {}, "405"),
            ("/api/makeCall.xml", "POST", big, "413"),
        ):
            root = etree.fromstring(await self.xml(path, method, **options))
            self.assertEqual([root.tag, root.findtext("status")], ["result", "error"])
            self.assertEqual(root.findtext("status_code"), expected)

    async def test_a_call_that_is_not_there(self) -> None:
        """callHistory of an unknown call is 404 call_unknown, also by key."""
        await self.story()
        for asked in ({"call_id": 2**31 - 1}, {"external_key": "nobody's"}):
            self.check_error(await self.api("callHistory", **asked), 404, "call_unknown")

    async def test_required(self) -> None:
        """Each required parameter that is missing is named."""
        whole = {"sip": "1040", "phone": "380630000000", "order_id": "1", "external_key": "1"}
        for name in whole:
            asked = {**whole, name: ""}
            refused = await self.api("makeCall", **asked)
            self.check_error(refused, 400, "missing_parameter", field=name)
        for method in ("orderHistory", "orderRecords"):
            refused = await self.api(method)
            self.check_error(refused, 400, "missing_parameter", field="order_id")


class Deployed(StoryTestCase):
    """What CRMs that are out there send and read."""

    async def test_reads(self) -> None:
        """recordList's response.data, callHistory's response[0].states, operatorHistory's state."""
        story = await self.story()
        records = (await self.api("recordList"))["response"]["data"]
        self.assertEqual(len(records), 3)
        self.assertTrue(all(isinstance(record["add_date"], int) for record in records))
        history = await self.api("callHistory", external_key=story.keys["client_busy"])
        states = history["response"][0]["states"]
        self.assertEqual([state["state"] for state in states], CHAINS["client_busy"])
        newest = await self.api("operatorHistory", sip="1041")
        self.assertEqual(newest["response"][0]["state"], "online")

    async def test_mp3_by_uniqueid(self) -> None:
        """orderRecords maps each call to a uniqueid, and /mp3/<uniqueid>.mp3 is that recording."""
        story = await self.story()
        calls = (await self.api("orderRecords", order_id=story.orders["one"]))["response"]
        uniqueids = {call["call_id"]: call["uniqueid"] for call in calls if call["uniqueid"]}
        talks = {story.calls["talk"], story.calls["second_talk"]}
        self.assertEqual(set(uniqueids), talks)
        for call_id, uniqueid in uniqueids.items():
            status, headers, body = await self.request(f"/mp3/{uniqueid}.mp3")
            self.assertEqual((status, headers["content-type"]), (200, "audio/mpeg"))
            self.assertEqual((body[0], body[1] & 0xE0), (0xFF, 0xE0), "no frame of an mp3")
            _, _, same = await self.request(f"/api/record/{call_id}.mp3")
            self.assertEqual(body, same)
        self.assertEqual((await self.request("/mp3/cc-000000-1-o.mp3"))[0], 404)

    async def test_sip_list_with_two_suffixes(self) -> None:
        """sipList.json.json and sipList.json.xml are asked for with every attribute, set or not."""
        await self.story()
        query = "?page=&per_page=2&status=&order_id="
        _, _, body = await self.request(f"/api/sipList.json.json{query}")
        envelope = json.loads(body)
        self.assertEqual([each["sip"] for each in envelope["response"]["data"]], ["1000", "1001"])
        _, _, body = await self.request(f"/api/sipList.json.xml{query}")
        self.assertEqual(spelled(etree.fromstring(body)), spelled(as_xml("result", envelope)))


class MakeCall(LiveTestCase):
    """makeCall in its spellings, and the chain that is asked for right after it."""

    tables = {"asterisk": {"operator_timeout": 5, "client_timeout": 4}}

    def asked(self, sip: str, phone: str = "380630000018") -> dict[str, str]:
        """The parameters of a call as deployed clients make them: a hash and a long number."""
        key, order = str(secrets.randbelow(10**40)), secrets.token_hex(20)
        return {"sip": sip, "phone": phone, "order_id": order, "external_key": key}

    async def test_spellings(self) -> None:
        """GET, form, JSON and XML each make a call, number and key as given; HEAD makes none."""
        path, calls = "/api/makeCall.json", []
        asked = [self.asked(sip, f"380630{n:04}18") for n, sip in enumerate(SIPS)]
        numbers = json.loads((await self.request(path, "POST", json={**asked[0], "sip": 1040}))[2])
        calls.append(numbers["response"]["call_id"])
        form = json.loads((await self.request("/api/makeCall", "POST", data=asked[1]))[2])
        calls.append(form["response"]["call_id"])
        plus = await self.ask("MAKECALL", **{**asked[2], "phone": f"+{asked[2]['phone']}"})
        calls.append(plus["call_id"])
        root = await self.api_xml("makeCall", **asked[3])
        calls.append(int(root.findtext("response/call_id") or 0))
        query = "&".join(f"{name}={value}" for name, value in asked[4].items())
        status, _, body = await self.request(f"{path}?{query}", "HEAD")
        self.assertEqual((status, body), (405, b""))
        status, _, _ = await self.request(f"/api/call?external_key={asked[4]['external_key']}")
        self.assertEqual(status, 404)
        self.assertEqual(calls, sorted(set(calls)))
        for call_id, wanted in zip(calls, asked[:4], strict=True):
            (call,) = await self.ask("callHistory", call_id=call_id)
            self.assertEqual({name: call[name] for name in wanted}, wanted)
        chains = await together(self.finished(call_id) for call_id in calls)
        self.assertEqual({chain[-1]["state"] for chain in chains}, {"FINISH"})

    async def test_chain_right_after(self) -> None:
        """Of 20 calls made at once, each chain asked for right after makeCall holds its CALL."""
        await together(self.call_and_look(f"11{number}") for number in range(40, 60))

    async def call_and_look(self, sip: str) -> None:
        """Make a call and ask at once in every way there is; CALL is in each answer."""
        asked = self.asked(sip)
        call_id = await self.make_call(**asked)
        order, key = asked["order_id"], asked["external_key"]
        answers = await together(
            [
                self.ask("orderHistory", order_id=order),
                self.ask("callHistory", order_id=order),
                self.ask("callHistory", after=0, order_id=order),
                self.ask("orderHistory", order_id=order, group_by_call=1),
                self.ask("orderRecords", order_id=order),
                self.ask("callHistory", external_key=key),
            ]
        )
        flat, newest, after, grouped, records, by_key = answers
        for rows in (flat, newest[::-1], after, grouped[0]["states"], by_key[0]["states"]):
            self.assertEqual((rows[0]["call_id"], rows[0]["state"]), (call_id, "CALL"))
        self.assertEqual([call["call_id"] for call in records], [call_id])
        await self.finished(call_id)

    async def test_the_key_is_used_once(self) -> None:
        """Of five requests with one key one makes a call; the others name it, and it rings once."""
        asked = self.asked("1040")
        before = [self.lab.operators.invites(sip) for sip in SIPS]
        answers = await together(self.api("makeCall", **{**asked, "sip": sip}) for sip in SIPS)
        made = [answer["response"]["call_id"] for answer in answers if answer["status"] == "ok"]
        self.assertEqual(len(made), 1)
        errors = [answer["error"] for answer in answers if answer["status"] == "error"]
        self.assertEqual({error["code"] for error in errors}, {"external_key_used"})
        self.assertEqual({error["call_id"] for error in errors}, set(made))
        await self.finished(made[0])
        later = await self.api("makeCall", **asked)
        self.assertEqual((later["status_code"], later["error"]["call_id"]), (409, made[0]))
        rung = [self.lab.operators.invites(sip) for sip in SIPS]
        self.assertEqual(sum(rung) - sum(before), 1)
