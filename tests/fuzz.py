"""Feeds the parsers what nobody should send: ``python -m tests.fuzz SECONDS [--seed N] [TARGET…]``.

Recorded sessions, rows and requests are torn, mixed and spoiled at random. Nothing may be raised
but what a parser says it raises, nothing may depend on how a stream is cut, and no request may be
an internal error. Prints its seed; the first input that breaks a rule is printed and kept, and the
exit status is 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote_from_bytes

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogBeginner
from zope.interface import implementer

from ccdaemon.ami.ami_spelling import SPELLED, Judge
from ccdaemon.ami.ami_wire import MessageKind, MessageParser, WireLimits
from ccdaemon.fastagi.agi_server import FastAGIFactory, FastAGIProtocol
from ccdaemon.fastagi.agi_wire import AGILimits, AGIParser, Environment
from ccdaemon.pbx import cel_file, cel_signals
from ccdaemon.pbx.ami_signals import EVENTS, from_event
from ccdaemon.pbx.dialplan import HEADERS
from tests.api.world import METHODS, World
from tests.derived import derive
from tests.fastagi.server_case import Call

Dice = random.Random

TRACES = Path(__file__).parent / "traces"
WANTED = frozenset(name.encode() for name in EVENTS)
NOW = 1_795_412_687_000
#: What parsers look for, and what has broken parsers elsewhere.
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b": ", b":", b",", b'"', b'""', b"&", b"|", b"$"),
    *(b"${EVAL(1)}", b"\\", b"{", b"}", b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe", b"\xed\xa0\x80"),
    *(
        b"9" * 5000,
        b"-1",
        b"0",
        b"1e999",
        b"nan",
        b"Infinity",
        b"\xd9\xa3",
        b"\xc2\xb2",
        b" " * 900,
    ),
    *(b"Event: Newchannel\r\n", b"Response: Success\r\n", b"ActionID: 1\r\n", b"result=", b"200 "),
    *(b"520-", b"520 End", b"HANGUP\n", b"endpos=", b"agi_network: yes\n", b"%00", b"%", b"%ff"),
    *(
        b"%0d%0a",
        b"+",
        b"=",
        b";",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"x" * 9000,
    ),
)
AGI_SEEDS = (
    b"agi_network: yes\nagi_network_script: script?a=1\nagi_channel: PJSIP/1000-00000001\n"
    b"agi_uniqueid: 1795412687.1\nagi_callerid: 380000000000\nagi_arg_1: a\n\n",
    b"agi_network: yes\nagi_network_script: script\n\n200 result=1 (some value)\n"
    b"200 result=0\n511 Command Not Permitted on a dead channel\nHANGUP\n",
    b"agi_network: yes\nagi_network_script: script\n\n520-Invalid command syntax.\nUsage: GET\n"
    b"520 End of proper usage.\n200 result=0 (timeout) endpos=1234\n510 Invalid command\n",
)


class Broken(AssertionError):
    """A rule does not hold for an input."""


def spoiled(dice: Dice, seeds: Sequence[bytes]) -> bytes:
    """A piece of something recorded, and what chance makes of it."""
    seed = dice.choice(seeds)
    start = dice.randrange(len(seed)) if dice.random() < 0.4 else 0
    data = bytearray(seed[start : start + dice.randint(1, 8000)])
    for _ in range(dice.choice((0, 1, 1, 2, 4, 16))):
        place = dice.randint(0, len(data))
        end = min(len(data), place + dice.choice((1, 1, 2, 20, 500)))
        match dice.randrange(7):
            case 0:
                data[place:end] = dice.randbytes(end - place)
            case 1:
                del data[place:end]
            case 2:
                data[place:place] = data[place:end] * dice.randint(1, 20)
            case 3:
                data[place:place] = dice.choice(TOKENS)
            case 4:
                data[place:end] = dice.choice(TOKENS)
            case 5:
                other = dice.choice(seeds)
                data[place:] = other[dice.randrange(len(other)) :][:2000]
            case _ if data:
                data[place - 1] ^= 1 << dice.randrange(8)
    return bytes(data)


def pieces(dice: Dice, data: bytes) -> list[bytes]:
    """The same, cut anywhere."""
    cuts = sorted(dice.randint(0, len(data)) for _ in range(dice.choice((0, 1, 5, 50))))
    edges = zip([0, *cuts], [*cuts, len(data)], strict=True)
    return [data[start:end] for start, end in edges]


def same(whole: object, cut: object) -> None:
    """Hold one stream against the same in pieces."""
    if whole != cut:
        raise Broken(f"cut otherwise it says otherwise:\n{whole!r:.2000}\n{cut!r:.2000}")


# What is fed


def ami(dice: Dice, data: bytes) -> None:
    """The manager interface: messages, the signals they spell, the chain these tell."""
    if dice.random() < 0.9:
        data = b"Asterisk Call Manager/11.0.0\r\n" + data
    limits = WireLimits(message_bytes=dice.choice((2000, 1 << 20)))
    wanted = dice.choice((WANTED, None))
    whole, cut = MessageParser(wanted, limits), MessageParser(wanted, limits)
    messages = whole.feed(data)
    parts = [message for piece in pieces(dice, data) for message in cut.feed(piece)]
    same((messages, type(whole.error)), (parts, type(cut.error)))
    if len(whole._buffer) > limits.message_bytes + 5:
        raise Broken(f"{len(whole._buffer)} bytes are kept")
    found = (from_event(message, NOW) for message in messages)
    signals = [signal for signal in found if signal is not None]
    for channel in sorted({signal.channel for signal in signals})[:3]:
        call = derive(channel, signals)
        finals = [told.final for told in call.states]
        if True in finals[:-1]:
            raise Broken("a state after the last one")


def agi(dice: Dice, data: bytes) -> None:
    """FastAGI's messages."""
    limits = AGILimits(1000, 1000) if dice.random() < 0.5 else None
    whole, cut = AGIParser(limits), AGIParser(limits)
    messages = whole.feed(data)
    parts = [message for piece in pieces(dice, data) for message in cut.feed(piece)]
    same((messages, type(whole.error)), (parts, type(cut.error)))


def agi_server(dice: Dice, data: bytes) -> None:
    """The server of FastAGI, with a script that asks and answers."""
    clock = Clock()

    async def script(agi: FastAGIProtocol) -> None:
        await agi.answer()
        await agi.getVariable("X")
        await agi.setVariable("Y", "1")

    factory = FastAGIFactory({"script": script}, clock)
    protocol = factory.buildProtocol(None)
    assert protocol is not None
    call = Call(protocol)
    for piece in pieces(dice, data):
        protocol.dataReceived(piece)
    clock.advance(600)
    call.hang_up()
    if factory.sessions or clock.getDelayedCalls():
        raise Broken(f"left behind: {factory.sessions} {clock.getDelayedCalls()}")


def rows(dice: Dice, data: bytes) -> None:
    """The log of channel events: each line by itself."""
    lines = data.decode("utf-8", "replace").split("\n")
    told = list(cel_signals.from_rows(lines))
    same(told, [signal for line in lines for signal in cel_signals.from_rows([line])])


def log_file(dice: Dice, data: bytes) -> None:
    """The log of channel events as it is written, turned, and read meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Master.csv"
        place, turned = cel_file.end(path, NOW), 0
        read: list[str] = []
        for piece in pieces(dice, data):
            with path.open("ab") as stream:
                stream.write(piece)
            if dice.random() < 0.2:
                chunk = cel_file.read(path, place, NOW)
                read, place = [*read, *chunk.lines], chunk.place
            if dice.random() < 0.05 and not chunk_is_torn(path):
                turned += 1
                path.rename(f"{path}.{turned}")
        for _ in range(1000):
            chunk = cel_file.read(path, place, NOW)
            if not chunk.lines:
                break
            read, place = [*read, *chunk.lines], chunk.place
        else:
            raise Broken("there is no end of it")
        last = data.rfind(b"\n") + 1
        expected = data[:last].decode("utf-8", "replace").removesuffix("\n").split("\n")
        if not chunk.lost:
            same(expected if last else [], read)


def chunk_is_torn(path: Path) -> bool:
    """Whether the last line is not whole yet; such a file is not turned."""
    return not path.read_bytes().endswith(b"\n")


def http(dice: Dice, data: bytes) -> None:
    """The API: whatever is asked, nothing is an internal error and nothing hangs."""
    world = World()
    connection = world.connect()
    for piece in pieces(dice, data):
        if not connection.transport.disconnecting:
            connection.protocol.dataReceived(piece)
            world.clock.advance(0)
    if not connection.transport.disconnecting:
        world.clock.advance(61)
    connection.close()
    received = connection.received
    for sign in (b"internal_error", b"HTTP/1.1 500", b"Traceback"):
        if sign in received:
            raise Broken(f"answered with {received!r:.1000}")
    world.clock.advance(200)
    if left := world.clock.getDelayedCalls():
        raise Broken(f"left behind: {left}")


def requests() -> list[bytes]:
    """A request for every method, with every parameter it knows, by GET and by POST."""
    made = []
    for method in METHODS:
        names = [parameter.name for parameter in (*method.required, *method.optional)]
        values = {"sip": "1000", "phone": "380680000018", "call_id": "1", "per_page": "10"}
        query = "&".join(f"{name}={values.get(name, 'a')}" for name in names)
        host = "Host: localhost\r\n"
        made.append(f"GET /api/{method.name}.json?{query} HTTP/1.1\r\n{host}\r\n")
        form = "Content-Type: application/x-www-form-urlencoded\r\n"
        length = f"Content-Length: {len(query)}\r\n"
        made.append(f"POST /api/{method.name}.xml HTTP/1.1\r\n{host}{form}{length}\r\n{query}")
    return [each.encode() for each in made]


def parameters(dice: Dice, data: bytes) -> None:
    """Every method with values that nobody means."""
    method = dice.choice(METHODS)
    known = [parameter.name for parameter in (*method.required, *method.optional)]
    values = []
    for name in known:
        if dice.random() < 0.7:
            start = dice.randint(0, len(data))
            value = dice.choice((b"1", b"1000", b"380680000018", data[start : start + 40]))
            values.append(f"{name}={quote_from_bytes(value)}")
    query = "&".join(values)
    form = dice.choice(("json", "xml"))
    head = f"GET /api/{method.name}.{form}?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    http(dice, head.encode())


#: Where Asterisk puts what a phone sends: into an event, the environment, and a row.
AMI_PLACES = ("CallerIDNum", "CallerIDName", "ConnectedLineNum", "ConnectedLineName", "Exten")
AGI_PLACES = ("agi_callerid", "agi_calleridname", "agi_dnid", "agi_rdnis", "agi_extension")
CEL_PLACES = ("cidnum", "exten", "appdata")
#: A channel that no phone here has, and words that would speak of it.
VICTIM = "9.9"
FORGERIES = (
    b"Event: Hangup\r\nPrivilege: call,all\r\nUniqueid: 9.9\r\nCause: 16\r\n\r\n",
    b"Event: UserEvent\r\nUserEvent: ccdaemon-paused\r\nUniqueid: 9.9\r\n",
    b"Event: DeviceStateChange\r\nPrivilege: call,all\r\nDevice: 9.9\r\nState: INUSE\r\n",
    *(b"Uniqueid: 9.9\r\n", b"Linkedid: 9.9\r\n", b"Channel: 9.9\r\n", b"\r\n", b"\n", b"\r\n\r\n"),
    *(
        b"agi_network_script: 9.9\n",
        b"agi_channel: 9.9\n",
        b"agi_arg_1: 9.9\n",
        b"agi_arg_4: 9.9\n",
    ),
    *(b"HANGUP,1795412687.1,9.9,9.9,9.9,,,,,,,,,,\n", b'","', b'"', b'\n"HANGUP","1","9.9","9.9",'),
)


def sip(dice: Dice, data: bytes) -> None:
    """What phones say in SIP headers, as Asterisk hands it on: nothing of it is a fact."""
    parts = [*(dice.choice(FORGERIES) for _ in range(dice.randint(1, 6))), data[:40]]
    dice.shuffle(parts)
    words = b"".join(parts).replace(b"\0", b"")[: dice.choice((79, 255, 511))]
    _forged_event(dice, words)
    _forged_environment(dice, words)
    _forged_row(dice, words.decode("utf-8", "replace"))


def _forged_event(dice: Dice, words: bytes) -> None:
    name = dice.choice(("Newchannel", "Newstate", "HangupRequest", "Hangup"))
    place = dice.choice(AMI_PLACES)
    lines = [b"Event: " + name.encode()]
    for header in SPELLED[name]:
        value = words if header == place else b"1.1"
        lines.append(header.rstrip("?").encode() + b": " + value)
    stream = b"Asterisk Call Manager/11.0.0\r\n" + b"\r\n".join([*lines, b"", b""])
    judge, parser = Judge(HEADERS), MessageParser(dice.choice((WANTED, None)), strange=True)
    believed = []
    for piece in pieces(dice, stream) if dice.random() < 0.3 else [stream]:
        believed += judge.judge(parser.feed(piece)).believed
    for message in (*believed, *judge.settle().believed):
        is_response = message.kind is MessageKind.RESPONSE
        if not is_response and VICTIM in (message.get("Uniqueid"), message.get("Device")):
            raise Broken(f"{message} is believed of {words!r} in {place}")


def _forged_environment(dice: Dice, words: bytes) -> None:
    place = dice.choice(AGI_PLACES)
    names = ("agi_network", "agi_network_script", "agi_channel", "agi_uniqueid", *AGI_PLACES)
    lines = [name.encode() + b": " + (words if name == place else b"1") for name in names]
    lines += [b"agi_arg_%d: 1" % number for number in (1, 2, 3)]
    for message in AGIParser().feed(b"\n".join([*lines, b"", b""])):
        if isinstance(message, Environment):
            facts = {message.script, message.get("agi_channel"), *message.arguments[:3]}
            if VICTIM in facts and message.get("agi_arg_3"):
                raise Broken(f"{message} is believed of {words!r} in {place}")


def _forged_row(dice: Dice, words: str) -> None:
    place = dice.choice(CEL_PLACES)
    known = {"eventtype": "CHAN_START", "eventtime": "1795412687.1", "eventextra": ""}
    values = (words if name == place else known.get(name, "1.1") for name in cel_signals.COLUMNS)
    row = ",".join('"{}"'.format(value.replace('"', '""')) for value in values)
    for signal in cel_signals.from_rows(f"{row}\n".split("\n")):
        if signal.channel != "1.1":
            raise Broken(f"{signal} is believed of {words!r} in {place}")


Target = tuple[Callable[[Dice, bytes], None], Callable[[], list[bytes]]]


def _recorded(kind: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(TRACES.glob(f"*/*.{kind}"))]


TARGETS: dict[str, Target] = {
    "ami": (ami, lambda: _recorded("ami")),
    "agi": (agi, lambda: list(AGI_SEEDS)),
    "agi_server": (agi_server, lambda: list(AGI_SEEDS)),
    "cel": (rows, lambda: [each for each in _recorded("cel") if each]),
    "cel_file": (log_file, lambda: [each for each in _recorded("cel") if each]),
    "sip": (sip, lambda: list(TOKENS)),
    "http": (http, requests),
    "parameters": (parameters, lambda: list(TOKENS)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Feed until the time is over; 1 where a rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", type=float)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    asked = parser.parse_args(arguments)
    names = asked.targets or list(TARGETS)
    seeds = {name: TARGETS[name][1]() for name in names}
    errors: list[LogEvent] = []

    @implementer(ILogObserver)
    def observe(event: LogEvent) -> None:
        if event["log_level"] in (LogLevel.error, LogLevel.critical):
            errors.append(event)

    globalLogBeginner.beginLoggingTo([observe], discardBuffer=True, redirectStandardIO=False)
    print(f"seed {asked.seed}: {', '.join(names)} for {asked.seconds:g} s", flush=True)
    began = shown = time.monotonic()
    fed: Counter[str] = Counter()
    while (now := time.monotonic()) - began < asked.seconds:
        if now - shown >= 10:
            shown = now
            _show(now - began, fed)
        number = fed.total()
        name = names[number % len(names)]
        dice = Dice(f"{asked.seed} {number}")
        data = spoiled(dice, seeds[name])
        try:
            TARGETS[name][0](dice, data)
            if errors and name != "agi_server":
                raise Broken(f"logged: {errors[0]}")
        except Exception:
            traceback.print_exc()
            kept = Path(tempfile.gettempdir()) / f"fuzz-{name}-{asked.seed}-{number}"
            kept.write_bytes(data)
            print(f"{name}, seed {asked.seed}, input {number}, kept in {kept}:\n{data!r:.4000}")
            return 1
        finally:
            errors.clear()
        fed[name] += 1
    _show(time.monotonic() - began, fed)
    return 0


def _show(seconds: float, fed: Counter[str]) -> None:
    each = ", ".join(f"{name} {count}" for name, count in fed.items())
    print(f"{seconds:5.0f} s: {fed.total()} inputs: {each}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
