"""AMI's wire format: what Asterisk would misread is never sent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_wire import (
    BadHeader,
    encode_action,
)
from tests.ami.streams import cut, fed, greeted

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,15}", fullmatch=True).filter(
    lambda name: name.lower() not in ("action", "actionid", "event", "response")
)
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=80)


class EncodeTests(SynchronousTestCase):
    """An action in, bytes out."""

    def test_action(self) -> None:
        """An action is its headers in order, a sequence a header for each of its values."""
        self.assertEqual(
            encode_action("Originate", {"Channel": "Local/1@a", "Variable": ["A=1", "B=2"]}, "x-1"),
            b"Action: Originate\r\nActionID: x-1\r\nChannel: Local/1@a\r\n"
            b"Variable: A=1\r\nVariable: B=2\r\n\r\n",
        )

    def test_no_action_id(self) -> None:
        """Without an ActionID there is no such header."""
        self.assertEqual(encode_action("Ping", {}), b"Action: Ping\r\n\r\n")

    def test_breaks_are_refused_by_field(self) -> None:
        """CR, LF and NUL are refused in every place, and the field is named, not its value."""
        for bad in ("a\rb", "a\nb", "a\r\nb", "a\0b"):
            for field, name, headers, action_id in (
                ("Action", bad, {}, "1"),
                ("ActionID", "Ping", {}, bad),
                ("Channel", "Ping", {"Channel": bad}, "1"),
                ("Variable", "Ping", {"Variable": ["fine", bad]}, "1"),
            ):
                error = self.assertRaises(BadHeader, encode_action, name, headers, action_id)
                self.assertEqual(error.field, field)
                self.assertNotIn(bad, str(error))

    def test_names_that_are_none(self) -> None:
        """A header name with a colon, a blank, a break or nothing in it is refused."""
        for name in ("", "A:", "A B", "A\r\nB", "é"):
            error = self.assertRaises(BadHeader, encode_action, "Ping", {name: "v"})
            self.assertEqual(error.field, name)

    def test_second_action_header(self) -> None:
        """No header may stand for the action itself, in whatever case."""
        for name in ("Action", "ACTION", "actionid"):
            self.assertRaises(BadHeader, encode_action, "Ping", {name: "Originate"})

    def test_longest_line(self) -> None:
        """1,024 bytes with CR LF are the longest line Asterisk reads; letters count as bytes."""
        fits = "é" * ((1024 - len("A: \r\n")) // 2) + "x"
        self.assertIn(b"\xc3\xa9x\r\n", encode_action("Ping", {"A": fits}))
        error = self.assertRaises(BadHeader, encode_action, "Ping", {"A": fits + "x"})
        self.assertIn("1025 bytes", error.problem)

    def test_most_headers(self) -> None:
        """128 headers are the most Asterisk takes, Action and ActionID among them."""
        data = encode_action("Ping", {"A": ["v"] * 126}, "1")
        self.assertEqual(data.count(b"\r\n"), 129)
        self.assertRaises(BadHeader, encode_action, "Ping", {"A": ["v"] * 127}, "1")

    def test_what_utf8_cannot_spell(self) -> None:
        """Half a surrogate pair is refused by its field."""
        error = self.assertRaises(BadHeader, encode_action, "Ping", {"A": "\ud800"})
        self.assertEqual(error.field, "A")

    @given(NAMES, st.lists(st.tuples(NAMES, VALUES), max_size=20), st.data())
    def test_round_trip(self, name: str, pairs: list[tuple[str, str]], data: st.DataObject) -> None:
        """What is encoded reads back as just itself: one message with just these headers."""
        headers: dict[str, list[str]] = {}
        for header, value in pairs:
            headers.setdefault(header, []).append(value)
        stream = encode_action(name, headers, "id").replace(b"Action: ", b"Event: ", 1)
        (message,) = fed(greeted(), data.draw(cut(stream)))
        self.assertEqual((message.name, message.get("ActionID")), (name, "id"))
        expected = [(header, value) for header, values in headers.items() for value in values]
        self.assertEqual(list(message.headers[2:]), expected)

    @given(st.text(max_size=30), st.text(max_size=30))
    def test_nothing_slips_through(self, header: str, value: str) -> None:
        """Any header and value are one line of one action, or are refused."""
        try:
            data = encode_action("Ping", {header: value}, "1")
        except BadHeader:
            return
        self.assertEqual((data.count(b"\r\n"), data.count(b"\n"), data.count(b"\r")), (4, 4, 4))
        self.assertTrue(data.endswith(b"\r\n\r\n"))
