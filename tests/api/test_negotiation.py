"""Addressing: paths, suffixes, Accept, the methods of HTTP, and what is nowhere."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.methods import ALIASES
from ccdaemon.api.negotiation import method_name, wanted_format
from ccdaemon.api.rendering import Format
from ccdaemon.calls.model import State
from ccdaemon.operators import Status
from tests.api.parts import call_view
from tests.api.world import METHODS, World

FORM = "sip=1000&phone=380639920000&order_id=15&external_key=24"
LIST = "/api/sipList.json"
MAKE = f"/api/makeCall.json?{FORM}"
#: What changes something.
ACTING = {
    *("makeCall", "hangup", "transfer", "transferComplete", "transferCancel", "hold", "unhold"),
    *("mute", "unmute", "listen", "whisper", "barge", "recordPause", "recordResume"),
    *("attachOrder", "setResult", "pauseOperator", "resumeOperator", "forgetOrder", "redeliver"),
    *("claimMissed", "revokeLink", "forgetPhone"),
}


class Paths(SynchronousTestCase):
    """From a path and an Accept header to a method and a format."""

    def test_the_last_suffix_wins(self) -> None:
        """Suffixes may be doubled, as deployed clients do."""
        for path, format in {
            "/api/sipList.json": Format.JSON,
            "/api/sipList.xml": Format.XML,
            "/api/sipList.json.json": Format.JSON,
            "/api/sipList.json.xml": Format.XML,
            "/api/sipList.xml.json": Format.JSON,
            "/api/sipList.XML": Format.XML,
            "/api/sipList": Format.JSON,
        }.items():
            self.assertEqual(wanted_format(path, None), format, path)
            self.assertEqual(method_name(path.rpartition("/")[2]), "siplist")

    def test_a_suffix_outweighs_accept(self) -> None:
        """What the path says, the header does not change."""
        self.assertEqual(wanted_format("/api/sipList.json", "text/xml"), Format.JSON)
        self.assertEqual(wanted_format("/api/sipList.xml", "application/json"), Format.XML)

    def test_accept(self) -> None:
        """Without a suffix the better liked format is taken, and JSON where none is."""
        for accept, format in {
            "": Format.JSON,
            "*/*": Format.JSON,
            "application/xml": Format.XML,
            "text/xml;charset=utf-8": Format.XML,
            "application/json, application/xml": Format.JSON,
            "application/xml, */*": Format.JSON,
            "application/xml, */*;q=0.5": Format.XML,
            "application/json;q=0.5, application/xml;q=0.9": Format.XML,
            "application/json;q=0.9, application/xml;q=0.5": Format.JSON,
            "application/json;q=0.1, application/xml;q=0.5, */*;q=0.9": Format.XML,
            "APPLICATION/XML; Q=0.4 , application/*;q=0.3": Format.XML,
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": Format.XML,
            "application/xml;q=0": Format.JSON,
            "application/xml;q=x": Format.JSON,
            "application/xml;v=1;q=0.2": Format.XML,
            "image/png": Format.JSON,
            ";;,,q=": Format.JSON,
        }.items():
            self.assertEqual(wanted_format("/api/sipList", accept), format, accept)

    def test_other_suffixes_are_nobodys(self) -> None:
        """A method is not found under a suffix that is no format."""
        for segment in ("sipList.txt", "sipList.json.txt", "sipList.", "sipList..json"):
            self.assertIsNone(method_name(segment), segment)

    @given(st.text(), st.none() | st.text())
    def test_any_path_and_header_has_a_format(self, path: str, accept: str | None) -> None:
        """Whatever is sent, the answer can be spelled."""
        self.assertIsInstance(wanted_format(path, accept), Format)


class OverHttp(SynchronousTestCase):
    """The same, asked over HTTP."""

    def setUp(self) -> None:
        """Have one operator and one call."""
        self.world = World()
        self.world.history.add(call_view(12, external_key="24"), [State.CALL])
        self.world.operators.add("1000", Status.ONLINE)

    def test_names_match_without_regard_to_case(self) -> None:
        """Every method is found in lower, upper and mixed case."""
        for method in METHODS:
            answers = {
                self.world.ask(f"/api/{name}.json?{FORM}").body
                for name in (method.name, method.name.lower(), method.name.upper())
            }
            self.assertEqual(len(answers), 1)
            self.assertNotIn(b'"unknown_method"', answers.pop())

    def test_the_headings_of_the_brief(self) -> None:
        """Each heading of the customer's brief is a name of its method."""
        self.assertEqual(dict(ALIASES), {"RecordsList": "recordList"})
        for heading, method in {
            "MakeCall": "makeCall",
            "RecordsList": "recordList",
            "OrderRecords": "orderRecords",
            "OrderHistory": "orderHistory",
            "callHistory": "callHistory",
            "sipList": "sipList",
            "OperatorHistory": "operatorHistory",
        }.items():
            by_heading = self.world.ask(f"/api/{heading}?{FORM}")
            self.assertEqual(by_heading.body, self.world.ask(f"/api/{method}?{FORM}").body)
            self.assertEqual(by_heading.status, 200)

    def test_both_formats(self) -> None:
        """The content type says what the body is, and nobody may guess otherwise."""
        as_json = self.world.ask("/api/sipList.json")
        as_xml = self.world.ask("/api/sipList.json.xml")
        self.assertEqual(as_json.headers["content-type"], "application/json")
        self.assertEqual(as_xml.headers["content-type"], "application/xml; charset=utf-8")
        self.assertEqual(etree.fromstring(as_xml.body).findtext(".//sip"), "1000")
        accepted = self.world.ask("/api/sipList", headers={"Accept": "text/xml"})
        self.assertEqual(accepted.body, as_xml.body)
        for reply in (as_json, as_xml):
            self.assertEqual(reply.headers["x-content-type-options"], "nosniff")
            self.assertEqual(reply.headers["cache-control"], "no-store")
            self.assertEqual(reply.headers["server"], "ccdaemon")

    def test_get_and_post_are_equal(self) -> None:
        """A query, a form and JSON make the same call and get the same answer."""
        path = "/api/makeCall.json"
        fields = dict(pair.split("=") for pair in FORM.split("&"))
        replies = [
            self.world.ask(MAKE),
            self.world.ask(path, "POST", body=FORM.encode()),
            self.world.ask(
                path, "POST", {"Content-Type": "application/json"}, json.dumps(fields).encode()
            ),
            self.world.ask(f"{path}?{FORM[:8]}", "POST", body=FORM[9:].encode()),
        ]
        self.assertEqual({reply.body for reply in replies}, {replies[0].body})
        self.assertEqual({reply.status for reply in replies}, {200})
        self.assertEqual(len(self.world.calls.asked), 4)
        for asked in self.world.calls.asked:
            self.assertEqual(asked, self.world.calls.asked[0])

    def test_numbers_in_json(self) -> None:
        """A number is as good as its text."""
        body = b'{"page": 1, "per_page": 5, "status": null}'
        reply = self.world.ask(
            "/api/sipList.json", "POST", {"Content-Type": "application/json"}, body
        )
        self.assertEqual(reply.json["response"]["per_page"], 5)

    def test_a_body_that_cannot_be_read(self) -> None:
        """Also a broken form is refused in the envelope."""
        for content_type in ("multipart/form-data", "application/json", "text/csv"):
            reply = self.world.ask(LIST, "POST", {"Content-Type": content_type}, b"x")
            self.assertEqual((reply.status, reply.json["error"]["code"]), (400, "bad_parameter"))

    def test_a_parameter_in_query_and_body_is_repeated(self) -> None:
        """Two values are two, wherever they stand."""
        reply = self.world.ask(MAKE, "POST", body=b"sip=1000")
        self.assertEqual((reply.status, reply.json["error"]["field"]), (400, "sip"))

    def test_a_body_of_a_get_says_nothing(self) -> None:
        """Only a POST has a body that is read."""
        self.assertEqual(self.world.ask("/api/sipList.json", body=b"page=0").status, 200)

    def test_head_is_get_without_a_body(self) -> None:
        """Status and headers are those of GET, to the length."""
        get = self.world.ask("/api/sipList.json")
        head = self.world.ask("/api/sipList.json", "HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        # A second may begin between the two.
        self.assertEqual({**head.headers, "date": ""}, {**get.headers, "date": ""})
        self.assertEqual(self.world.ask("/api/nowhere", "HEAD").status, 404)

    def test_head_of_what_acts(self) -> None:
        """HEAD does nothing, whoever asks for whatever acts: a link checker dials nobody."""
        acting = {method.name for method in METHODS if method.acts}
        self.assertEqual(acting, ACTING)
        for name in acting:
            reply = self.world.ask(MAKE.replace("makeCall", name) + "&call_id=12", "HEAD")
            self.assertEqual((reply.status, reply.body), (405, b""), name)
            self.assertEqual(reply.headers["allow"], "GET, POST")
        self.assertEqual(self.world.calls.asked, [])
        self.assertEqual(self.world.control.asked, [])
        for method in METHODS:
            if not method.acts:
                self.assertNotEqual(self.world.ask(f"/api/{method.name}", "HEAD").status, 405)

    def test_other_methods_of_http(self) -> None:
        """They are refused with what is allowed, in the envelope, and do nothing."""
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"):
            for path in (MAKE, "/healthz", "/mp3/x.mp3"):
                reply = self.world.ask(path, method)
                self.assertEqual(reply.status, 405)
                self.assertEqual(reply.headers["allow"], "GET, HEAD, POST")
                self.assertEqual(reply.json["error"]["code"], "method_not_allowed")
        self.assertEqual(self.world.calls.asked, [])

    def test_nowhere(self) -> None:
        """What is at no address is told in the format that was asked for."""
        for path in (
            "/",
            "/api",
            "/api/",
            "/api/nosuch",
            "/api/nosuch.json",
            "/api/sipList.txt",
            "/api/sipList/",
            "/api/sipList/1",
            "/api/openapi.yaml",
            "/api/record/",
            "/api/record/x.ogg",
            "/mp3/x.wav",
            "/healthz/x",
            "/%ff",
            "/api/%ff%fe.json",
            "/api/%00",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/api/..%2f..%2fetc%2fpasswd",
            "//",
            "/" + "a/" * 2000,
        ):
            reply = self.world.ask(path)
            self.assertEqual(reply.status, 404, path)
            self.assertEqual(reply.json["error"]["code"], "unknown_method")
        for path in ("/nowhere.xml", "/api/nosuch.json.xml", "/api/%ff.xml"):
            root = etree.fromstring(self.world.ask(path).body)
            self.assertEqual(root.findtext("error/code"), "unknown_method")
            self.assertEqual(root.findtext("status_code"), "404")

    def test_a_request_for_the_server_as_a_whole(self) -> None:
        """A star is no address of ours."""
        self.assertEqual(self.world.ask("*").status, 404)
        self.assertEqual(self.world.ask("http://localhost/api/sipList.json").status, 404)

    def test_alive(self) -> None:
        """The process says that it lives."""
        reply = self.world.ask("/healthz")
        self.assertEqual((reply.status, reply.json["response"]), (200, {"alive": True}))

    @given(
        st.sampled_from([method.name for method in METHODS] + ["record/1.wav", "openapi", ""]),
        st.binary(max_size=60),
    )
    def test_any_request_is_answered(self, name: str, query: bytes) -> None:
        """Whatever is asked, there is an envelope, and never an internal error."""
        plain = bytes(byte for byte in query if 33 <= byte <= 126).decode()
        for path in (f"/api/{name}?{plain}", f"/api/{name}{plain}", f"/{plain}", f"/mp3/{plain}"):
            reply = self.world.ask(path)
            self.assertIn(reply.status, (200, 400, 404))
            self.assertIn(b"status_code", reply.body)
