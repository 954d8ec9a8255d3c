"""AMI's wire format: what Asterisk sends is read whole, in any chunks."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.ami.ami_wire import (
    Message,
    MessageKind,
    MessageParser,
    MessageTooLarge,
    NotAsterisk,
    WireLimits,
)
from tests.ami.recorded import NOISY, QUIET, recorded
from tests.ami.streams import BANNER, cut, fed, greeted


class MessageTests(SynchronousTestCase):
    """What a message says."""

    message = Message(MessageKind.EVENT, "E", (("Event", "E"), ("V", "1"), ("V", "2")))

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
        parser = MessageParser(limits=WireLimits(banner_bytes=40))
        parser.feed(b"Asterisk Call Manager/" + b"1" * 17)
        self.assertIsNone(parser.error)
        parser.feed(b"1")
        self.assertIsInstance(parser.error, NotAsterisk)

    def test_event_with_a_response_header_is_an_event(self) -> None:
        """OriginateResponse carries ``Response``, and is an event all the same."""
        (message,) = greeted().feed(
            b"Event: OriginateResponse\r\nActionID: 1\r\nResponse: Failure\r\nReason: 0\r\n\r\n"
        )
        self.assertEqual((message.kind, message.name), (MessageKind.EVENT, "OriginateResponse"))
        self.assertEqual(message.get("Response"), "Failure")

    def test_event_header_decides_wherever_it_stands(self) -> None:
        """A proxy may reorder headers: an event stays an event, a response a response."""
        event, response = greeted().feed(
            b"Response: x\r\nEvent: E\r\n\r\nActionID: 1\r\nResponse: Error\r\n\r\n"
        )
        self.assertEqual((event.kind, event.name), (MessageKind.EVENT, "E"))
        self.assertEqual((response.kind, response.name), (MessageKind.RESPONSE, "Error"))

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
        limits = WireLimits(message_bytes=len(message))
        data = b"\r\n" + message + b"\r\n\r\n"
        for size in (1, 3, len(data)):
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            parser = greeted(limits=limits)
            self.assertEqual(len(fed(parser, chunks)), 1)
            self.assertIsNone(parser.error)

    def test_message_over_its_bound(self) -> None:
        """A longer one is refused either way, after what came before it was given out."""
        message = b"Event: E\r\nA: " + b"x" * 8
        limits = WireLimits(message_bytes=len(message) - 1)
        data = b"Event: F\r\n\r\n" + message + b"\r\n\r\nEvent: G\r\n\r\n"
        for size in (1, 3, len(data)):
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            parser = greeted(limits=limits)
            self.assertEqual([m.name for m in fed(parser, chunks)], ["F"])
            self.assertIsInstance(parser.error, MessageTooLarge)

    def test_message_that_never_ends(self) -> None:
        """What has no end is refused at the bound, and nothing of it is kept."""
        parser = greeted(limits=WireLimits(message_bytes=1000))
        for _ in range(200):
            self.assertEqual(parser.feed(b"Event: xx\n"), [])
        self.assertIsInstance(parser.error, MessageTooLarge)
        self.assertEqual(parser.feed(b"\r\n\r\nEvent: E\r\n\r\n"), [])

    def test_cost_is_linear_in_the_chunks(self) -> None:
        """A megabyte in one message costs per byte what a small one costs, also byte by byte."""

        def seconds(size: int) -> float:
            parser = greeted(limits=WireLimits(message_bytes=1 << 21))
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
        limits = WireLimits(message_bytes=40)
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
