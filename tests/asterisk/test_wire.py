"""AMI's wire format: what Asterisk sends is read whole, what it would misread is never sent."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.asterisk.wire import (
    BadHeader,
    Kind,
    Limits,
    Message,
    MessageParser,
    MessageTooLarge,
    NotAsterisk,
    encode_action,
)
from tests.asterisk.recorded import NOISY, QUIET, recorded

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def greeted(wanted: frozenset[bytes] | None = None, limits: Limits | None = None) -> MessageParser:
    """A parser that has seen the greeting."""
    parser = MessageParser(wanted, limits)
    parser.feed(BANNER)
    return parser


def fed(parser: MessageParser, chunks: list[bytes]) -> list[Message]:
    """What ``parser`` makes of ``chunks``, one after another."""
    return [message for chunk in chunks for message in parser.feed(chunk)]


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` in chunks, cut anywhere, also within a line break or a letter."""
    places = draw(st.lists(st.integers(0, len(data)), max_size=12))
    return [data[a:b] for a, b in pairwise(sorted({0, len(data), *places}))]


class MessageTests(SynchronousTestCase):
    """What a message says."""

    message = Message(Kind.EVENT, "E", (("Event", "E"), ("V", "1"), ("V", "2")))

    def test_get_gives_the_first_value(self) -> None:
        """Of a repeated header ``get`` gives the first value."""
        self.assertEqual(self.message.get("V"), "1")

    def test_get_gives_the_default(self) -> None:
        """A header that is not there has the default as its value."""
        self.assertEqual((self.message.get("v"), self.message.get("v", "x")), ("", "x"))

    def test_all_gives_every_value(self) -> None:
        """``all`` gives a repeated header's values in order, and none for no header."""
        self.assertEqual((self.message.all("V"), self.message.all("W")), (("1", "2"), ()))

    def test_message_is_frozen(self) -> None:
        """A message cannot be changed by one subscriber before the next one sees it."""
        with self.assertRaises(AttributeError):
            self.message.name = "other"  # type: ignore[misc]


class ParserTests(SynchronousTestCase):
    """Bytes in, messages out."""

    def test_greeting(self) -> None:
        """The greeting is no message, and tells AMI's version."""
        parser = MessageParser()
        self.assertEqual(parser.feed(BANNER), [])
        self.assertEqual(parser.version, "11.0.0")

    def test_greeting_and_message_in_one_chunk(self) -> None:
        """The greeting ends with its line, not with a blank one."""
        (message,) = MessageParser().feed(BANNER + b"Response: Success\r\nMessage: m\r\n\r\n")
        self.assertEqual(message.headers, (("Response", "Success"), ("Message", "m")))

    def test_no_greeting(self) -> None:
        """A peer that begins with anything else is refused at its first wrong byte."""
        for first in (b"SSH-2.0", b"X", b"Asterisk\r\n", b"Asterisk Call Mangler", b"\r\n"):
            parser = MessageParser()
            self.assertEqual(parser.feed(first), [])
            self.assertIsInstance(parser.error, NotAsterisk, first)

    def test_endless_greeting(self) -> None:
        """A greeting that never ends is refused at its bound."""
        parser = MessageParser(limits=Limits(banner_bytes=40))
        parser.feed(b"Asterisk Call Manager/" + b"1" * 17)
        self.assertIsNone(parser.error)
        parser.feed(b"1")
        self.assertIsInstance(parser.error, NotAsterisk)

    def test_event_with_a_response_header_is_an_event(self) -> None:
        """OriginateResponse carries ``Response``, and is an event all the same."""
        (message,) = greeted().feed(
            b"Event: OriginateResponse\r\nActionID: 1\r\nResponse: Failure\r\nReason: 0\r\n\r\n"
        )
        self.assertEqual((message.kind, message.name), (Kind.EVENT, "OriginateResponse"))
        self.assertEqual(message.get("Response"), "Failure")

    def test_event_header_decides_wherever_it_stands(self) -> None:
        """A proxy may reorder headers: an event stays an event, a response a response."""
        event, response = greeted().feed(
            b"Response: x\r\nEvent: E\r\n\r\nActionID: 1\r\nResponse: Error\r\n\r\n"
        )
        self.assertEqual((event.kind, event.name), (Kind.EVENT, "E"))
        self.assertEqual((response.kind, response.name), (Kind.RESPONSE, "Error"))

    def test_neither_event_nor_response(self) -> None:
        """A message that is neither is counted and dropped, and the next one is read."""
        parser = greeted()
        (message,) = parser.feed(b"Junk: 1\r\n\r\nEvent: E\r\n\r\n")
        self.assertEqual((message.name, parser.strange), ("E", 1))

    def test_values_are_kept_as_they_are(self) -> None:
        """Only the one blank after the colon is no part of a value."""
        (message,) = greeted().feed(
            b"Event: E\r\nA:b\r\nC:  d \r\nE: f: g\r\nH\r\nI: \r\nJ:k: l\r\nM: n\no\rp\r\n\r\n"
        )
        self.assertEqual(
            message.headers[1:],
            (
                ("A", "b"),
                ("C", " d "),
                ("E", "f: g"),
                ("H", ""),
                ("I", ""),
                ("J", "k: l"),
                ("M", "n\no\rp"),
            ),
        )

    def test_unwanted_events_are_passed_over(self) -> None:
        """An event nobody wants is counted, not parsed; responses always are."""
        parser = greeted(frozenset({b"Hangup"}))
        messages = parser.feed(
            b"Event: VarSet\r\nA: b\r\n\r\nEvent: Hangup\r\n\r\nEvent: Hangups\r\n\r\n"
            b"Event: VarSet\r\n\r\nResponse: Success\r\n\r\n"
        )
        self.assertEqual([m.name for m in messages], ["Hangup", "Success"])
        self.assertEqual(parser.skipped, 3)

    def test_unwanted_event_that_answers_an_action(self) -> None:
        """The entries of a list are parsed even though nobody subscribed to them."""
        parser = greeted(frozenset())
        (entry,) = parser.feed(b"Event: CoreShowChannel\r\nActionID: 7\r\n\r\n")
        self.assertEqual(entry.get("ActionID"), "7")

    def test_surplus_line_breaks_between_messages(self) -> None:
        """Blank lines more than one are nothing, however the stream is cut among them."""
        stream = b"Event: A\r\n\r\n\r\nEvent: B\r\n\r\n\r\n\r\n\r\nEvent: C\r\n\r\n\r\n"
        expected = greeted().feed(b"Event: A\r\n\r\nEvent: B\r\n\r\nEvent: C\r\n\r\n")
        for place in range(len(stream)):
            parser = greeted()
            self.assertEqual(fed(parser, [stream[:place], stream[place:]]), expected)
            self.assertEqual(parser.strange, 0)

    def test_message_at_its_bound(self) -> None:
        """A message as long as the bound is taken, whether it comes whole or in bytes."""
        message = b"Event: E\r\nA: " + b"x" * 8
        limits = Limits(message_bytes=len(message))
        for size in (1, 3, len(message) + 4):
            data = message + b"\r\n\r\n"
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            parser = greeted(limits=limits)
            self.assertEqual(len(fed(parser, chunks)), 1)
            self.assertIsNone(parser.error)

    def test_message_over_its_bound(self) -> None:
        """A longer one is refused either way, after what came before it was given out."""
        message = b"Event: E\r\nA: " + b"x" * 8
        limits = Limits(message_bytes=len(message) - 1)
        data = b"Event: F\r\n\r\n" + message + b"\r\n\r\nEvent: G\r\n\r\n"
        for size in (1, 3, len(data)):
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            parser = greeted(limits=limits)
            self.assertEqual([m.name for m in fed(parser, chunks)], ["F"])
            self.assertIsInstance(parser.error, MessageTooLarge)

    def test_message_that_never_ends(self) -> None:
        """What has no end is refused at the bound, and nothing of it is kept."""
        parser = greeted(limits=Limits(message_bytes=1000))
        for _ in range(200):
            self.assertEqual(parser.feed(b"Event: xx\n"), [])
        self.assertIsInstance(parser.error, MessageTooLarge)
        self.assertEqual(parser.feed(b"\r\n\r\nEvent: E\r\n\r\n"), [])

    def test_cost_is_linear_in_the_chunks(self) -> None:
        """A megabyte in one message costs per byte what a small one costs, also byte by byte."""

        def seconds(size: int) -> float:
            parser = greeted(limits=Limits(message_bytes=1 << 21))
            data = b"Event: E\r\nA: " + b"x" * size + b"\r\n\r\n"
            start = time.process_time()
            for at in range(len(data)):
                parser.feed(data[at : at + 1])
            return time.process_time() - start

        small = min(seconds(40_000) for _ in range(3))
        # Were it quadratic, ten times the bytes would cost a hundred times as much.
        self.assertLess(seconds(400_000), 40 * small)


class RecordedTests(SynchronousTestCase):
    """The streams of a real Asterisk."""

    def test_whole_sessions(self) -> None:
        """Every recorded message is read, in the order of the stream."""
        for name in (NOISY, *QUIET):
            data = recorded(name)
            parser = MessageParser()
            messages = parser.feed(data)
            blocks = data[len(BANNER) :].split(b"\r\n\r\n")
            firsts = [block.strip().split(b"\r\n")[0] for block in blocks if block.strip()]
            self.assertEqual(
                [f"{m.headers[0][0]}: {m.headers[0][1]}".encode() for m in messages], firsts
            )
            self.assertEqual((parser.error, parser.strange), (None, 0))

    def test_byte_by_byte(self) -> None:
        """Cut into single bytes, every session gives the same messages."""
        for name in (NOISY, *QUIET):
            data = recorded(name)
            single = fed(MessageParser(), [data[at : at + 1] for at in range(len(data))])
            self.assertEqual(single, MessageParser().feed(data))

    @given(st.data())
    def test_any_chunks(self, data: st.DataObject) -> None:
        """Cut anywhere, a session gives the same messages and the same count of unwanted ones."""
        stream = recorded(QUIET[0])
        wanted = frozenset({b"Hangup", b"Newstate"})
        whole, parser = MessageParser(wanted), MessageParser(wanted)
        self.assertEqual(fed(parser, data.draw(cut(stream))), whole.feed(stream))
        self.assertEqual(parser.skipped, whole.skipped)


class AnyBytesTests(SynchronousTestCase):
    """Bytes that Asterisk would never send."""

    pieces = st.lists(
        st.one_of(
            st.binary(max_size=12),
            st.sampled_from(
                [b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"Event: E", b"Response: R", b":"]
            ),
        ),
        max_size=30,
    ).map(b"".join)

    @given(pieces, st.data())
    def test_any_chunks(self, stream: bytes, data: st.DataObject) -> None:
        """Nothing raises, and the chunks change neither the messages nor the verdict."""
        limits = Limits(message_bytes=40)
        whole, parser = greeted(limits=limits), greeted(limits=limits)
        self.assertEqual(fed(parser, data.draw(cut(stream))), whole.feed(stream))
        self.assertEqual((type(parser.error), parser.strange), (type(whole.error), whole.strange))

    @given(st.binary(max_size=40))
    def test_any_greeting(self, stream: bytes) -> None:
        """A greeting that is none ends in the same verdict whole and byte by byte."""
        whole, parser = MessageParser(), MessageParser()
        whole.feed(stream)
        fed(parser, [stream[at : at + 1] for at in range(len(stream))])
        self.assertEqual(type(parser.error), type(whole.error))


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
