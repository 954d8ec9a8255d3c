"""FastAGI's wire format: replies are read whole, commands are one line that Asterisk survives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.fastagi.agi_wire import (
    AGIHangup,
    AGILimits,
    AGIMessage,
    AGIParser,
    AGITooLarge,
    BadCommand,
    Environment,
    NotAGI,
    Reply,
    encode_command,
)
from tests.ami.streams import cut

ENVIRONMENT = (
    b"agi_network: yes\n"
    b"agi_network_script: incoming?did=12&x=%20\n"
    b"agi_request: agi://127.0.0.1:4573/incoming?did=12&x=%20\n"
    b"agi_channel: PJSIP/trunk-00000001\n"
    b"agi_callerid: 380000000000\n"
    b"agi_accountcode: \n"
    b"agi_arg_1: one\n"
    b"agi_arg_2: two words: q\n"
    b"\n"
)
USAGE = (
    b"520-Invalid command syntax.  Proper usage follows:\n"
    b"Usage: HANGUP [<channelname>]\n"
    b"HANGUP\n"
    b"\n"
    b"200 result=1\n"
    b"520 End of proper usage.\n"
)


def talking(limits: AGILimits | None = None) -> AGIParser:
    """A parser that has seen the environment."""
    parser = AGIParser(limits)
    parser.feed(ENVIRONMENT)
    return parser


def reply(line: bytes) -> Reply:
    """The one reply that ``line`` is."""
    (message,) = talking().feed(line + b"\n")
    assert isinstance(message, Reply)
    return message


def bytewise(parser: AGIParser, stream: bytes) -> list[AGIMessage]:
    """What ``parser`` makes of single bytes."""
    return [message for at in range(len(stream)) for message in parser.feed(stream[at : at + 1])]


class EnvironmentTests(SynchronousTestCase):
    """What Asterisk says first."""

    def test_environment(self) -> None:
        """The environment ends with a blank line, and has script and arguments."""
        (environment,) = AGIParser().feed(ENVIRONMENT)
        assert isinstance(environment, Environment)
        self.assertEqual(environment.script, "incoming")
        self.assertEqual(environment.arguments, ("one", "two words: q"))
        self.assertEqual(environment.get("agi_accountcode", "x"), "")
        self.assertEqual(environment.get("agi_nothing", "x"), "x")

    def test_no_script(self) -> None:
        """An address without a path has the empty script."""
        (environment,) = AGIParser().feed(b"agi_network: yes\n\n")
        assert isinstance(environment, Environment)
        self.assertEqual((environment.script, environment.arguments), ("", ()))

    def test_not_an_environment(self) -> None:
        """A line that is no variable, or an empty environment, is refused."""
        for stream in (b"GET / HTTP/1.0\n", b"\n", b"agi_x\n", b"agi_x: 1\nfoo: 2\n"):
            parser = AGIParser()
            self.assertEqual(parser.feed(stream), [])
            self.assertIsInstance(parser.error, NotAGI, stream)

    def test_names_that_stand_twice(self) -> None:
        """What a phone writes behind a line feed is no fact: such an environment is refused."""
        phone = b"agi_callerid: 380000000000"
        for forged in (
            b"\nagi_network_script: x",
            b"\nagi_channel: PJSIP/1000-00000001",
            b"\nagi_arg_1: 380000000001",
            b"\nagi_callerid: 1",
            b"\n",
            b"\nx",
            b"\nX-agi_x: 1",
            b"\nagi_X: 1",
            b"\nagi_x:1",
            b"\r",
            b"\0",
        ):
            parser = AGIParser()
            parser.feed(ENVIRONMENT.replace(phone, phone + forged))
            self.assertIsInstance(parser.error, NotAGI, forged)

    def test_begun(self) -> None:
        """Whether the peer began as Asterisk does is known in spite of what came then."""
        for stream, begun in ((b"GET / HTTP/1.0\n", False), (b"agi_x: 1\nfoo\n", True)):
            parser = AGIParser()
            parser.feed(stream)
            self.assertIs(parser.begun, begun)

    def test_bounded(self) -> None:
        """An environment at its bound is taken, one byte more is refused, in any chunks."""
        stream = b"agi_a: 1\nagi_b: 2\n\n"
        for most, messages in ((len(stream), 1), (len(stream) - 1, 0)):
            limits = AGILimits(environment_bytes=most)
            whole, parser = AGIParser(limits), AGIParser(limits)
            self.assertEqual(len(whole.feed(stream)), messages)
            self.assertEqual(len(bytewise(parser, stream)), messages)
            self.assertEqual(type(parser.error), type(whole.error))

    def test_line_that_never_ends(self) -> None:
        """A line without an end is refused at the bound, and nothing is read any more."""
        parser = AGIParser(AGILimits(environment_bytes=100))
        self.assertEqual(bytewise(parser, b"agi_a: " + b"x" * 200 + b"\n\n"), [])
        self.assertIsInstance(parser.error, AGITooLarge)


class ReplyTests(SynchronousTestCase):
    """What Asterisk answers."""

    def test_result(self) -> None:
        """A result stands alone, or with a value, or with the end's place."""
        for line, expected in (
            (b"200 result=0", ("0", None, None)),
            (b"200 result=-1", ("-1", None, None)),
            (b"200 result=1 (en)", ("1", "en", None)),
            (b"200 result=1 ()", ("1", "", None)),
            (b"200 result= (timeout)", ("", "timeout", None)),
            (b"200 result=12#", ("12#", None, None)),
            (b"200 result=-1 endpos=480", ("-1", None, 480)),
            (b"200 result=35 (dtmf) endpos=123456", ("35", "dtmf", 123456)),
            (b"200 result=0 endpos=" + b"9" * 5000, ("0", None, None)),
            (b"200 result=1 (speech) endpos=9 results=1 score0=5 ", ("1", "speech", 9)),
            (b"200 result=1 (a (b) c)", ("1", "a (b) c", None)),
            (b"200 result=1 (a) endpos=5)", ("1", "a) endpos=5", None)),
        ):
            message = reply(line)
            self.assertEqual((message.code, message.result), (200, expected[0]), line)
            self.assertEqual((message.value, message.endpos), expected[1:], line)

    def test_value_of_several_lines(self) -> None:
        """A value may hold line feeds: the lines up to its closing bracket are one reply."""
        parser = talking()
        self.assertEqual(parser.feed(b"200 result=1 (a\n"), [])
        self.assertEqual(parser.feed(b"b) c\n"), [])
        first, second = parser.feed(b"d)\n200 result=0\n")
        self.assertEqual(first, Reply(200, "1", "a\nb) c\nd", None, "result=1 (a\nb) c\nd)"))
        self.assertEqual(second, Reply(200, "0", text="result=0"))

    def test_refusals(self) -> None:
        """510, 511 and a 520 of one line are replies with their words."""
        for line, code in (
            (b"510 Invalid or unknown command", 510),
            (b"511 Command Not Permitted on a dead channel or intercept routine", 511),
            (b"520 Invalid command syntax.  Proper usage not available.", 520),
        ):
            self.assertEqual(reply(line), Reply(code, text=line[4:].decode()))

    def test_usage(self) -> None:
        """A 520 of several lines is one reply, whatever its lines look like."""
        (message,) = talking().feed(USAGE)
        assert isinstance(message, Reply)
        self.assertEqual(message.code, 520)
        self.assertEqual(
            message.text,
            "Invalid command syntax.  Proper usage follows:\n"
            "Usage: HANGUP [<channelname>]\nHANGUP\n\n200 result=1",
        )

    def test_hangup(self) -> None:
        """HANGUP on a line of its own is the channel's, between replies."""
        first, hung_up, second = talking().feed(b"200 result=0\nHANGUP\n200 result=-1\n")
        self.assertEqual((first.result, second.result), ("0", "-1"))  # type: ignore[union-attr]
        self.assertEqual(hung_up, AGIHangup())

    def test_not_a_reply(self) -> None:
        """A line that is no reply is refused, after those before it were given out."""
        for line in (b"", b"hello", b"20 result=0", b"200 hello", b"2000 result=0", b"200"):
            parser = talking()
            self.assertEqual(
                parser.feed(b"200 result=0\n" + line + b"\n")[0], reply(b"200 result=0")
            )
            self.assertIsInstance(parser.error, NotAGI, line)
            self.assertEqual(parser.feed(b"200 result=0\n"), [])

    def test_bounded(self) -> None:
        """A reply at its bound is taken, one byte more is refused, in any chunks and lines."""
        for stream in (b"200 result=1 (abc)\n", b"200 result=1 (a\n\n\n)\n", USAGE):
            for most, messages in ((len(stream), 1), (len(stream) - 1, 0)):
                limits = AGILimits(reply_bytes=most)
                whole, parser = talking(limits), talking(limits)
                self.assertEqual(len(whole.feed(stream)), messages)
                self.assertEqual(len(bytewise(parser, stream)), messages)
                self.assertEqual(type(parser.error), type(whole.error))

    def test_bound_is_for_each_reply(self) -> None:
        """A conversation may be longer than one reply."""
        parser = talking(AGILimits(reply_bytes=20))
        self.assertEqual(len(parser.feed(b"200 result=0\n" * 100)), 100)

    def test_bytes_that_are_not_utf8(self) -> None:
        """A byte that is not UTF-8 is replaced in its value and harms nothing else."""
        self.assertEqual(reply(b"200 result=1 (caf\xe9)").value, "caf�")


class ChunkTests(SynchronousTestCase):
    """The same messages in any chunks."""

    pieces = st.lists(
        st.sampled_from(
            [
                b"200 result=1 (a\nb)\n",
                b"200 result=0\n",
                b"200 result=1 (",
                b"HANGUP\n",
                b"510 no\n",
                USAGE,
                b"520-x\n",
                b"520 End\n",
                b")\n",
                b"\n",
                b"x",
                b"\xc3\xa9",
            ]
        ),
        max_size=12,
    ).map(b"".join)

    @given(pieces, st.data())
    def test_any_chunks(self, stream: bytes, data: st.DataObject) -> None:
        """Cut anywhere, a stream gives the same messages and the same verdict."""
        limits = AGILimits(environment_bytes=1000, reply_bytes=60)
        whole, parser = AGIParser(limits), AGIParser(limits)
        expected = whole.feed(ENVIRONMENT + stream)
        chunks = data.draw(cut(ENVIRONMENT + stream))
        self.assertEqual([m for chunk in chunks for m in parser.feed(chunk)], expected)
        self.assertEqual(type(parser.error), type(whole.error))

    @given(st.binary(max_size=60), st.booleans())
    def test_any_bytes(self, stream: bytes, greeted: bool) -> None:
        """Nothing raises, whatever comes."""
        parser = talking() if greeted else AGIParser()
        parser.feed(stream)
        parser.feed(b"\n")


def as_asterisk_reads(line: bytes) -> list[str]:
    """The words of a command: quotes group, a backslash takes the next letter as it is."""
    words: list[str] = []
    quoted = escaped = inside = False
    for letter in line.decode().removesuffix("\n"):
        if escaped or letter not in ' "\\':
            if not inside:
                words.append("")
                inside = True
            words[-1] += letter
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"':
            if not inside:
                words.append("")
                inside = True
            quoted = not quoted
        elif quoted:
            words[-1] += letter
        else:
            inside = False
    return words


class EncodeTests(SynchronousTestCase):
    """A command in, bytes out."""

    def test_command(self) -> None:
        """Arguments are quoted, quotes and backslashes escaped."""
        self.assertEqual(
            encode_command("SET VARIABLE", "A", 'a "b" \\c', ""),
            b'SET VARIABLE "A" "a \\"b\\" \\\\c" ""\n',
        )
        self.assertEqual(encode_command("ANSWER"), b"ANSWER\n")

    @given(
        st.lists(
            st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=20
            ),
            max_size=8,
        )
    )
    def test_round_trip(self, arguments: list[str]) -> None:
        """Whatever the arguments hold, Asterisk reads back just them."""
        line = encode_command("SET VARIABLE", *arguments)
        self.assertEqual(as_asterisk_reads(line), ["SET", "VARIABLE", *arguments])

    def test_breaks_are_refused(self) -> None:
        """CR, LF and NUL in an argument are refused; the value is not repeated."""
        for bad in ("a\rb", "a\nb", "a\0b"):
            error = self.assertRaises(BadCommand, encode_command, "SET VARIABLE", "A", bad)
            self.assertEqual(error.verb, "SET VARIABLE")
            self.assertNotIn(bad, str(error))

    def test_verbs_that_are_none(self) -> None:
        """A verb is words of capital letters."""
        for verb in ("", "answer", "ANSWER ", "ANSWER\nHANGUP", "EXEC  X", 'A"'):
            self.assertRaises(BadCommand, encode_command, verb)

    def test_what_utf8_cannot_spell(self) -> None:
        """Half a surrogate pair is refused."""
        self.assertRaises(BadCommand, encode_command, "NOOP", "\ud800")

    def test_longest_command(self) -> None:
        """2,047 bytes with the line feed are the longest command Asterisk 16 reads whole."""
        fits = "é" * ((2047 - len('NOOP ""\n') - 1) // 2) + "x"
        self.assertEqual(len(encode_command("NOOP", fits)), 2047)
        error = self.assertRaises(BadCommand, encode_command, "NOOP", fits + "x")
        self.assertIn("2048 bytes", error.problem)

    def test_most_words(self) -> None:
        """100 words are taken; of 129 Asterisk itself dies."""
        self.assertEqual(len(as_asterisk_reads(encode_command("EXEC", *["x"] * 99))), 100)
        self.assertRaises(BadCommand, encode_command, "EXEC", *["x"] * 100)
