"""Tickets for a stream of events, which a page can show where it must not show a key. Pure.

A browser's ``EventSource`` sends no headers of its own, so what lets it in stands in an address,
and addresses are kept in many places. A ticket opens streams with its filters, for some minutes.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass
from hashlib import sha256
from secrets import token_bytes

import msgspec

from ccdaemon.errors import Code, Refused
from ccdaemon.store.records import EventKind, Filter

_TICKET = re.compile(r"(?P<body>[A-Za-z0-9_-]{1,4000})\.(?P<signature>[0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket opens: for which client, until which second, what of everything."""

    client: str
    expires: int
    kinds: tuple[EventKind, ...]
    filter: Filter


class _Spelled(msgspec.Struct, frozen=True):
    """A ticket as it is signed: of the filter only what it restricts."""

    client: str
    expires: int
    kinds: tuple[EventKind, ...]
    filter: dict[str, str | int]


_decoder = msgspec.json.Decoder(_Spelled)


class Tickets:
    """Makes tickets and knows its own.

    :param secret: what they are signed with; None: with something that the next start forgets.
    """

    def __init__(self, secret: str | None) -> None:
        # Not the secret itself: what is signed with it is a link.
        self._key = sha256(b"ticket\n" + secret.encode()).digest() if secret else token_bytes(32)

    def make(self, ticket: Ticket) -> str:
        """Spell and sign a ticket."""
        filter = {name: value for name, value in asdict(ticket.filter).items() if value}
        spelled = _Spelled(ticket.client, ticket.expires, ticket.kinds, filter)
        body = urlsafe_b64encode(msgspec.json.encode(spelled)).rstrip(b"=")
        return f"{body.decode()}.{self._sign(body)}"

    def read(self, text: str, now: float) -> Ticket:
        """Read a ticket.

        :param now: seconds since 1970.
        :raises Refused: with ``forbidden`` where it has expired, or was not made here.
        """
        found = _TICKET.fullmatch(text)
        body = found["body"].encode() if found else b""
        # Compared as a whole: the time taken tells nothing about where they differ.
        if found and hmac.compare_digest(self._sign(body), found["signature"]):
            spelled = _decoder.decode(urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
            if now <= spelled.expires:
                filter = msgspec.convert(spelled.filter, Filter)
                return Ticket(spelled.client, spelled.expires, spelled.kinds, filter)
        raise Refused(Code.FORBIDDEN, "this ticket has expired, or was not made here")

    def _sign(self, body: bytes) -> str:
        return hmac.new(self._key, body, sha256).hexdigest()
