"""Streams of AMI, and ways to cut them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from ccdaemon.ami.ami_wire import (
    Message,
    MessageParser,
    WireLimits,
)

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def greeted(
    wanted: frozenset[bytes] | None = None, limits: WireLimits | None = None
) -> MessageParser:
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
