"""SIP messages, as far as a phone of the lab reads and writes them: text from values and back.

Knows headers, SDP and digest authentication; opens no socket and keeps no state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5

Address = tuple[str, int]

_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "l": "content-length"}


@dataclass(frozen=True)
class SipMessage:
    """A request or an answer; ``headers`` are pairs in their order, names in lower case."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def status(self) -> int | None:
        """The status of an answer; None for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """The request's method, or that of the request that is answered."""
        if self.status is None:
            return self.start.split()[0]
        return self.get("cseq").split()[1]

    @property
    def number(self) -> str:
        """The user in the request's address: the number that was dialled."""
        found = re.match(r"\S+ sip:([^@;>\s]+)@", self.start)
        return found[1] if found else ""

    def get(self, name: str) -> str:
        """The first header of this name, or nothing."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Every header of this name."""
        return [value for key, value in self.headers if key == name]


def parse(data: bytes) -> SipMessage | None:
    """Read a datagram; None for what is no SIP."""
    head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
    start, *lines = head.split("\r\n")
    if " " not in start:
        return None
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.append((_SHORT.get(name, name), value.strip()))
    return SipMessage(start, tuple(headers), body)


def render(start: str, headers: Iterable[tuple[str, str]], body: str = "") -> bytes:
    """Spell a message; the headers that speak of its body are added."""
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    if body:
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def sdp(host: str, port: int) -> str:
    """The offer or answer of a phone that speaks µ-law and nothing else."""
    return (
        f"v=0\r\no=lab 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
    )


def audio_address(body: str) -> Address | None:
    """Where the other side wants its sound; None where it says nothing of it."""
    host = re.search(r"^c=IN IP4 (\S+)", body, re.MULTILINE)
    port = re.search(r"^m=audio (\d+) ", body, re.MULTILINE)
    return (host[1], int(port[1])) if host and port else None


def address_in(contact: str) -> str:
    """The sip: address in a Contact or To."""
    found = re.search(r"<([^>]+)>", contact)
    return found[1] if found else contact.split(";")[0]


def credentials(
    challenge: str, user: str, password: str, uri: str, method: str = "REGISTER"
) -> str:
    """The Authorization header that answers a digest challenge."""
    asked = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))

    def hashed(text: str) -> str:
        return md5(text.encode(), usedforsecurity=False).hexdigest()

    secret = hashed(f"{user}:{asked['realm']}:{password}")
    request = hashed(f"{method}:{uri}")
    if "qop" in asked:
        middle = f"{asked['nonce']}:00000001:lab:auth"
        extra = ', qop=auth, nc=00000001, cnonce="lab"'
    else:
        middle, extra = asked["nonce"], ""
    return (
        f'Digest username="{user}", realm="{asked["realm"]}", nonce="{asked["nonce"]}",'
        f' uri="{uri}", response="{hashed(f"{secret}:{middle}:{request}")}", algorithm=MD5{extra}'
    )
