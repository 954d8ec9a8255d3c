"""Phones that a test plays by hand, and that can tell what was heard in them.

Each has a number and a voice, a tone of its own; what Asterisk sends to it is kept, and the tones
in it tell who was heard, and when. They are slower than SIPp's and there are few of them. Knows
sockets and one thread; what the messages look like is in ``sip_messages``.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import RLock, Thread
from typing import Literal

from lab import sip_messages
from lab.audio import RATE, linear, rest_of, tone, tones_in
from lab.processes import free_port
from lab.sip_messages import Address, SipMessage

#: Seconds of sound in one packet.
_PACKET = 0.02
_SAMPLES = int(RATE * _PACKET)
_WAIT = 10.0

#: How loud what is none of the voices has to be to count, in parts of full scale.
_STRANGE = 0.05

#: What a phone does with a call: picks up by itself, rings until told, or is busy.
Manner = Literal["answers", "rings", "busy"]
_ids = itertools.count(1)


@dataclass(frozen=True)
class Softphone:
    """One number: its voice (hertz, a whole ten), and what it does when it is called."""

    number: str
    hertz: int
    manner: Manner = "answers"


@dataclass
class Line:
    """One call at a phone.

    ``invite`` is what rang it, or what it sent itself. ``state`` goes from ``ringing`` to ``up``
    to ``over``, or to ``over`` at once. ``ended_by``: who ended it, ``us`` or ``them``.
    ``heard``: packets of sound, each with the time it came. ``referred``: the status of the answer
    to the newest REFER, None while there is none.
    """

    phone: Softphone
    number: str
    call_id: str
    invite: SipMessage
    local: str
    remote: str
    target: str
    media: socket.socket
    outgoing: bool = False
    state: Literal["ringing", "up", "over"] = "ringing"
    ended_by: str | None = None
    began: float = field(default_factory=time.time)
    answered: float | None = None
    ended: float | None = None
    sound_to: Address | None = None
    heard: deque[tuple[float, bytes]] = field(default_factory=deque)
    sent: int = 0
    cseq: int = 100
    referred: int | None = None


class Softphones:
    """Phones at one address, registered or not; one thread plays them all.

    :param server: Asterisk's SIP address.
    """

    def __init__(self, host: str, server: Address, port: int = 0) -> None:
        self.host = host
        self.port = port or free_port(socket.SOCK_DGRAM, host)
        self.lines: list[Line] = []
        self._server = server
        self._phones: dict[str, Softphone] = {}
        self._voices: dict[int, bytes] = {}
        self._registered: dict[str, int] = {}
        self._lock = RLock()
        self._running = False
        self._thread: Thread | None = None

    def start(self) -> None:
        """Take calls from now on."""
        self._selector = selectors.DefaultSelector()
        self._sip = self._bound(self.port)
        self._selector.register(self._sip, selectors.EVENT_READ, None)
        self._running = True
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._running = False
        if self._thread is not None:
            self._thread.join(5.0)
            self._selector.close()
            self._sip.close()

    # What a test does with them

    def add(self, number: str, hertz: int, manner: Manner = "answers") -> Softphone:
        """Let there be a phone, or let it behave otherwise from now on."""
        phone = Softphone(number, hertz, manner)
        with self._lock:
            self._phones[number] = phone
            self._voices[hertz] = tone(hertz, 1.0)
        return phone

    def register(self, number: str, password: str, expires: int = 3600) -> None:
        """Register the phone with digest authentication; ``expires`` 0: unregister."""
        with self._lock:
            self._registered.pop(number, None)
        uri = f"sip:{self._server[0]}:{self._server[1]}"
        call_id, challenge = f"{secrets.token_hex(8)}@lab", ""
        for cseq in (1, 2):
            headers = [
                ("Via", self._via()),
                ("From", f"<sip:{number}@{self._server[0]}>;tag={secrets.token_hex(4)}"),
                ("To", f"<sip:{number}@{self._server[0]}>"),
                ("Call-ID", call_id),
                ("CSeq", f"{cseq} REGISTER"),
                ("Max-Forwards", "70"),
                ("Contact", f"<sip:{number}@{self.host}:{self.port}>"),
                ("Expires", str(expires)),
            ]
            if challenge:
                digest = sip_messages.credentials(challenge, number, password, uri)
                headers.append(("Authorization", digest))
            challenge, status = self._asked(f"REGISTER {uri} SIP/2.0", headers)
            if status == 200:
                return
        raise AssertionError(f"phone {number} could not register: {status}")

    def call(self, caller: str, number: str) -> Line:
        """Dial ``number`` as ``caller``, one of the phones here; the line rings at once."""
        phone = self._phones[caller]
        call_id, tag = f"{secrets.token_hex(8)}@lab", secrets.token_hex(4)
        media = self._bound(0)
        local = f"<sip:{caller}@{self.host}:{self.port}>;tag={tag}"
        target = f"sip:{number}@{self._server[0]}:{self._server[1]}"
        start = f"INVITE {target} SIP/2.0"
        body = sip_messages.sdp(self.host, media.getsockname()[1])
        contact = ("Contact", f"<sip:{caller}@{self.host}:{self.port}>")
        headers = self._headers(local, f"<{target}>", call_id, "1 INVITE")
        data = sip_messages.render(start, [*headers, contact], body)
        invite = sip_messages.parse(data)
        assert invite is not None
        line = Line(
            phone, number, call_id, invite, local, f"<{target}>", target, media, outgoing=True
        )
        self._begin(line)
        self._send(data)
        return line

    def answer(self, line: Line) -> None:
        """Pick up."""
        with self._lock:
            if line.state == "ringing" and not line.outgoing:
                line.sound_to = sip_messages.audio_address(line.invite.body)
                self._up(line)
                body = sip_messages.sdp(self.host, line.media.getsockname()[1])
                self._reply(line.invite, "200 OK", line, body)

    def hang_up(self, line: Line) -> None:
        """Put down, or refuse, or give up, as the line stands."""
        with self._lock:
            if line.state == "over":
                return
            if line.state == "up":
                line.cseq += 1
                headers = self._headers(line.local, line.remote, line.call_id, f"{line.cseq} BYE")
                self._send(sip_messages.render(f"BYE {line.target} SIP/2.0", headers))
            elif line.outgoing:
                # The transaction of the INVITE is told by its branch.
                headers = [("Via", line.invite.get("via")), *self._same(line.invite, "CANCEL")]
                self._send(sip_messages.render(f"CANCEL {line.target} SIP/2.0", headers))
            else:
                self._reply(line.invite, "603 Decline", line)
            self._over(line, "us")

    def refer(self, line: Line, number: str) -> None:
        """Ask Asterisk to have the other side call ``number`` instead, as a transfer key does."""
        with self._lock:
            line.cseq += 1
            headers = self._headers(line.local, line.remote, line.call_id, f"{line.cseq} REFER")
            host, port = self._server
            headers += [
                ("Contact", f"<sip:{line.phone.number}@{self.host}:{self.port}>"),
                ("Refer-To", f"<sip:{number}@{host}:{port}>"),
            ]
            self._send(sip_messages.render(f"REFER {line.target} SIP/2.0", headers))

    def hang_up_all(self) -> None:
        """Put every phone down."""
        for line in list(self.lines):
            self.hang_up(line)

    # What a test asks

    def of(self, number: str) -> list[Line]:
        """Every call of a phone so far, or of all who dialled or were dialled by the number."""
        return [line for line in self.lines if number in (line.number, line.phone.number)]

    # From here on: SIP, in the thread or under the lock

    def _run(self) -> None:
        due = time.monotonic()
        while self._running:
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                self._receive(key.fileobj, key.data)  # type: ignore[arg-type]
            now = time.monotonic()
            if now >= due:
                self._speak()
                due = max(due + _PACKET, now - 0.2)

    def _receive(self, source: socket.socket, line: Line | None) -> None:
        with contextlib.suppress(OSError):
            data = source.recv(4096)
            if line is not None:
                line.heard.append((time.time(), data[12:]))
            elif (message := sip_messages.parse(data)) is not None:
                with self._lock:
                    self._take(message)

    def _take(self, message: SipMessage) -> None:
        line = next((each for each in self.lines if each.call_id == message.get("call-id")), None)
        if message.status is not None:
            self._answered(message, line)
        elif message.method == "INVITE":
            self._invited(message, line)
        elif message.method in ("BYE", "CANCEL"):
            self._reply(message, "200 OK", line)
            if line is not None and line.state != "over":
                if message.method == "CANCEL":
                    self._reply(line.invite, "487 Request Terminated", line)
                self._over(line, "them")
        elif message.method != "ACK":
            self._reply(message, "200 OK", line)

    def _invited(self, message: SipMessage, line: Line | None) -> None:
        if line is not None:  # Again, or with other sound.
            if line.state == "up":
                line.sound_to = sip_messages.audio_address(message.body) or line.sound_to
                body = sip_messages.sdp(self.host, line.media.getsockname()[1])
                self._reply(message, "200 OK", line, body)
            return
        phone = self._phones.get(message.number)
        if phone is None:
            self._reply(message, "404 Not Found", None)
            return
        local = f"{message.get('to')};tag={secrets.token_hex(4)}"
        target = sip_messages.address_in(message.get("contact"))
        remote, call_id = message.get("from"), message.get("call-id")
        media = self._bound(0)
        line = Line(phone, message.number, call_id, message, local, remote, target, media)
        self._begin(line)
        if phone.manner == "busy":
            self._reply(message, "486 Busy Here", line)
            self._over(line, "us")
            return
        self._reply(message, "180 Ringing", line)
        if phone.manner == "answers":
            self.answer(line)

    def _answered(self, message: SipMessage, line: Line | None) -> None:
        if message.method == "REGISTER":
            self._registered[message.get("call-id") + message.get("cseq")] = message.status or 0
            self._challenge = message.get("www-authenticate")
        if line is not None and message.method == "REFER":
            line.referred = message.status
        if line is None or message.method != "INVITE" or (message.status or 0) < 200:
            return
        if message.status == 200:
            line.remote = message.get("to")
            line.target = sip_messages.address_in(message.get("contact"))
            line.sound_to = sip_messages.audio_address(message.body)
            headers = self._headers(line.local, line.remote, line.call_id, "1 ACK")
            self._send(sip_messages.render(f"ACK {line.target} SIP/2.0", headers))
            if line.state == "ringing":
                self._up(line)
            return
        same = dict(self._same(line.invite, "ACK")) | {"To": message.get("to")}
        headers = [("Via", line.invite.get("via")), *same.items()]
        self._send(sip_messages.render(f"ACK {line.target} SIP/2.0", headers))
        if line.state == "ringing":
            self._over(line, "them")

    def _begin(self, line: Line) -> None:
        with self._lock:
            self.lines.append(line)
            self._selector.register(line.media, selectors.EVENT_READ, line)

    def _up(self, line: Line) -> None:
        line.state, line.answered = "up", time.time()

    def _over(self, line: Line, by: str) -> None:
        line.state, line.ended_by, line.ended = "over", by, time.time()
        self._selector.unregister(line.media)
        line.media.close()

    def _speak(self) -> None:
        """Send every line's next packet."""
        with self._lock:
            for line in self.lines:
                if line.state != "up" or line.sound_to is None:
                    continue
                voice = self._voices[line.phone.hertz]
                start = line.sent * _SAMPLES % len(voice)
                payload = (voice + voice)[start : start + _SAMPLES]
                at = line.sent * _SAMPLES
                head = struct.pack("!BBHII", 0x80, 0, line.sent & 0xFFFF, at, id(line) & 0xFFFFFFFF)
                with contextlib.suppress(OSError):
                    line.media.sendto(head + payload, line.sound_to)
                line.sent += 1

    def _reply(self, request: SipMessage, status: str, line: Line | None, body: str = "") -> None:
        to = request.get("to")
        if "tag=" not in to and line is not None:
            to = line.local
        headers = [("Via", via) for via in request.all("via")]
        headers += [("Record-Route", route) for route in request.all("record-route")]
        headers += [("From", request.get("from")), ("To", to)]
        headers += [("Call-ID", request.get("call-id")), ("CSeq", request.get("cseq"))]
        number = line.phone.number if line is not None else request.number
        headers.append(("Contact", f"<sip:{number}@{self.host}:{self.port}>"))
        self._send(sip_messages.render(f"SIP/2.0 {status}", headers, body))

    def _asked(self, start: str, headers: list[tuple[str, str]]) -> tuple[str, int]:
        """Send a REGISTER and wait for its answer: the challenge, if any, and the status."""
        named = dict(headers)
        key, end = named["Call-ID"] + named["CSeq"], time.monotonic() + _WAIT
        data = sip_messages.render(start, headers)
        while time.monotonic() < end:
            self._send(data)
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                if key in self._registered:
                    return self._challenge, self._registered.pop(key)
                time.sleep(0.01)
        raise AssertionError(f"no answer to {start}")

    def _headers(self, local: str, remote: str, call_id: str, cseq: str) -> list[tuple[str, str]]:
        return [
            ("Via", self._via()),
            ("From", local),
            ("To", remote),
            ("Call-ID", call_id),
            ("CSeq", cseq),
            ("Max-Forwards", "70"),
        ]

    def _same(self, invite: SipMessage, method: str) -> list[tuple[str, str]]:
        cseq = invite.get("cseq").split()[0]
        return [
            ("From", invite.get("from")),
            ("To", invite.get("to")),
            ("Call-ID", invite.get("call-id")),
            ("CSeq", f"{cseq} {method}"),
            ("Max-Forwards", "70"),
        ]

    def _via(self) -> str:
        return f"SIP/2.0/UDP {self.host}:{self.port};branch=z9hG4bK{secrets.token_hex(6)}"

    def _send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._sip.sendto(data, self._server)

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((self.host, port))
        return bound


def heard(line: Line, tones: Collection[int], begin: float, end: float) -> set[int]:
    """Which of the ``tones`` were heard at a phone most of the time between two moments."""
    packets = [sound for time_, sound in list(line.heard) if begin <= time_ < end]
    blocks = tones_in(linear(b"".join(packets)), tones)
    # Silence is sent by nobody: what is missing from the time counts as nothing heard.
    wanted = max(1.0, (end - begin) * 10) / 2
    return {hertz for hertz in tones if sum(hertz in block for block in blocks) >= wanted}


def strange(line: Line, tones: Collection[int], begin: float, end: float) -> float:
    """For how many seconds on end something else than the ``tones`` was heard, at most."""
    longest = run = 0
    for time_, sound in list(line.heard):
        is_strange = begin <= time_ < end and rest_of(linear(sound), tones) > _STRANGE
        run = run + 1 if is_strange else 0
        longest = max(longest, run)
    return longest * _PACKET
