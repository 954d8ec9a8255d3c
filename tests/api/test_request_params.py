"""What a request brings: query strings, forms and JSON become names and values."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.request_params import MOST_FIELDS, STRUCTURED, body_pairs, query_pairs
from ccdaemon.errors import Code, Refused


class Submitted(SynchronousTestCase):
    """From a query string or a body to pairs."""

    def test_a_query(self) -> None:
        """Escapes and plus signs are decoded, order and repetition kept, empty values too."""
        self.assertEqual(
            list(query_pairs(b"a=1&b=&a=%2B2+3&c&=x&%D0%B6=%D0%B6")),
            [("a", "1"), ("b", ""), ("a", "+2 3"), ("c", ""), ("", "x"), ("ж", "ж")],
        )

    def test_a_semicolon_is_part_of_a_value(self) -> None:
        """Only an ampersand separates."""
        self.assertEqual(list(query_pairs(b"order_id=a;sip=b")), [("order_id", "a;sip=b")])

    def test_bytes_that_are_no_text(self) -> None:
        """They become a character that no parameter allows."""
        for query in (b"sip=%ff1000", b"sip=\xff1000"):
            self.assertEqual(list(query_pairs(query)), [("sip", "\ufffd1000")])

    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(exclude_categories=["Cs"])),
                st.text(st.characters(exclude_categories=["Cs"])),
            )
        )
    )
    def test_every_spelling_says_the_same(self, pairs: list[tuple[str, str]]) -> None:
        """A query, a form and a JSON object with the same content give the same pairs."""
        encoded = urlencode(pairs).encode()
        self.assertEqual(list(query_pairs(encoded)), pairs)
        if pairs:
            self.assertEqual(list(body_pairs("application/x-www-form-urlencoded", encoded)), pairs)
        members = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs)
        self.assertEqual(
            list(body_pairs("application/json; charset=utf-8", f"{{{members}}}".encode())), pairs
        )

    def test_json_values(self) -> None:
        """Numbers and truth values are text, null is empty, structures are nobody's value."""
        body = b'{"a": 1, "b": true, "c": false, "d": null, "e": [1], "f": {"g": 1}, "h": 1.5}'
        self.assertEqual(
            list(body_pairs("application/json", body)),
            [
                ("a", "1"),
                ("b", "1"),
                ("c", "0"),
                ("d", ""),
                ("e", STRUCTURED),
                ("f", STRUCTURED),
                ("h", "1.5"),
            ],
        )

    def test_a_key_repeated_in_json_stays_visible(self) -> None:
        """The second value does not silently replace the first."""
        self.assertEqual(
            list(body_pairs("application/json", b'{"sip": "1", "sip": "2"}')),
            [("sip", "1"), ("sip", "2")],
        )

    def test_a_form_with_parts(self) -> None:
        """What PHP's curl sends for an array is read as well."""
        body = (
            b'--X\r\nContent-Disposition: form-data; name="sip"\r\n\r\n1000\r\n'
            b'--X\r\nContent-Disposition: form-data; name="order_id"\r\n\r\n\xd0\xb6\r\n'
            b"--X\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--X--\r\n"
        )
        self.assertEqual(
            list(body_pairs("multipart/form-data; boundary=X", body)),
            [("sip", "1000"), ("order_id", "ж")],
        )

    def test_no_body(self) -> None:
        """Nothing is nothing, whatever it is called."""
        for content_type in (None, "application/json", "text/plain"):
            self.assertEqual(list(body_pairs(content_type, b"")), [])

    def test_without_a_content_type_it_is_a_form(self) -> None:
        """A client that does not say what it sends is believed to send a form."""
        self.assertEqual(list(body_pairs(None, b"sip=1000")), [("sip", "1000")])

    def test_what_cannot_be_read(self) -> None:
        """A body that is not what it is called is refused."""
        for content_type, body in (
            ("application/json", b"{"),
            ("application/json", b"[]"),
            ("application/json", b"\xff"),
            ("application/json", b"[" * 60_000),
            ("application/json", b'{"a":' + b"9" * 60_000 + b"}"),
            ("multipart/form-data", b"x"),
            ("multipart/form-data; boundary=X", b"x"),
            ("text/plain", b"sip=1000"),
            ("application/xml", b"<sip>1000</sip>"),
        ):
            with self.assertRaises(Refused) as caught:
                body_pairs(content_type, body)
            self.assertEqual(caught.exception.code, Code.BAD_PARAMETER)

    def test_parts_nested_without_end(self) -> None:
        """A form inside a form inside a form… is refused, and takes nothing down."""
        body = b""
        for depth in range(1500):
            body += b"--%d\r\nContent-Type: multipart/mixed; boundary=%d\r\n\r\n" % (
                depth,
                depth + 1,
            )
        with self.assertRaises(Refused):
            body_pairs("multipart/form-data; boundary=0", body[: 64 * 1024] + b"--1500--")

    def test_as_many_fields_as_may_be(self) -> None:
        """One more is refused, in every spelling."""
        part = b'--X\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
        for content_type, piece, body in (
            ("application/x-www-form-urlencoded", b"a=&", b"%sa="),
            ("application/json", b'"a":0,', b'{%s"a":0}'),
            ("multipart/form-data; boundary=X", part, b"%s" + part + b"--X--"),
        ):
            most = body % (piece * (MOST_FIELDS - 1))
            self.assertEqual(len(body_pairs(content_type, most)), MOST_FIELDS)
            with self.assertRaises(Refused) as caught:
                body_pairs(content_type, body % (piece * MOST_FIELDS))
            self.assertEqual(caught.exception.code, Code.BAD_PARAMETER)

    def test_structures(self) -> None:
        """JSON may hold a few, which no parameter takes; brackets in a text are none."""
        text = "[{" * 50 + '\\"'
        body = json.dumps({"note": text, "a": [[]]}).encode()
        read = list(body_pairs("application/json", body))
        self.assertEqual(read, [("note", text), ("a", STRUCTURED)])
        for nested in (b'{"a":%s%s}' % (b"[" * 30, b"]" * 30), b'{"a":[%s0]}' % (b"{}," * 30)):
            with self.assertRaises(Refused):
                body_pairs("application/json", nested)

    def test_a_part_that_is_no_plain_value(self) -> None:
        """Parts of parts and encoded parts are refused: reading them would be without end."""
        for header in (
            b"Content-Type: multipart/mixed; boundary=Y",
            b"Content-Transfer-Encoding: base64",
        ):
            body = (
                b'--X\r\nContent-Disposition: form-data; name="a"\r\n'
                + header
                + b"\r\n\r\nMTA=\r\n--X--"
            )
            with self.assertRaises(Refused) as caught:
                body_pairs("multipart/form-data; boundary=X", body)
            self.assertEqual(caught.exception.code, Code.BAD_PARAMETER)

    def test_more_escapes_than_there_is_room_for(self) -> None:
        """A percent sign that begins none is itself, but not thousands of them."""
        self.assertEqual(list(query_pairs(b"note=100%")), [("note", "100%")])
        with self.assertRaises(Refused):
            query_pairs(b"note=" + b"%" * 1000)

    @given(
        st.sampled_from(
            [None, "application/json", "multipart/form-data; boundary=X", "text/html", "\x00;=\xff"]
        ),
        st.binary(max_size=200)
        | st.binary(max_size=50).map(lambda b: b"--X\r\n" + b + b"\r\n--X--"),
    )
    def test_any_body_is_pairs_or_refused(self, content_type: str | None, body: bytes) -> None:
        """No body makes anything else happen."""
        try:
            for name, value in body_pairs(content_type, body):
                self.assertIsInstance(name, str)
                self.assertIsInstance(value, str)
        except Refused as refused:
            self.assertEqual(refused.code, Code.BAD_PARAMETER)

    def test_quoting_survives(self) -> None:
        """A value of every character comes through a query unchanged."""
        everything = "".join(map(chr, range(1, 0x250)))
        self.assertEqual(list(query_pairs(f"x={quote(everything)}".encode())), [("x", everything)])
