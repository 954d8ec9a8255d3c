"""What is asked of the routing, and what it answers. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ccdaemon.calls.causes import Outcome

RouteKind = Literal["dial", "queue", "redirect", "reject", "fallback"]


@dataclass(frozen=True, slots=True)
class Caller:
    """An inbound call that somebody has to take.

    ``phone`` is whatever the trunk said of the caller (it may be anything, or empty); ``did`` the
    number that was dialled.
    """

    call_id: int
    phone: str
    did: str


class SkippedOperator(NamedTuple):
    """An operator who would have been asked, but cannot take a call; their phone does not ring."""

    sip: str
    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Route:
    """Who takes a call.

    :ivar kind: ``dial``: ring ``operators``, then ask ``queue`` if there is one, then the
        fallback. ``queue``: the Asterisk queue, then the fallback. ``redirect``: go to
        ``extension``. ``reject``: refuse the call. ``fallback``: what the administrator has for it.
    :ivar operators: rounds, one after the other; the operators of a round are rung together.
    :ivar passed: who was to be asked and cannot be, in the order in which it is told.
    :ivar ring_timeout: how long each round rings, in seconds.
    :ivar caller_name: what the CRM calls the caller: up to 40 printable characters, none of
        which has a meaning to the dialplan, to AMI or in a SIP header.
    :ivar words: why, for the log and for the chain's ``detail``.
    """

    kind: RouteKind
    operators: tuple[tuple[str, ...], ...] = ()
    passed: tuple[SkippedOperator, ...] = ()
    queue: str | None = None
    extension: str | None = None
    ring_timeout: int = 20
    order_id: str | None = None
    caller_name: str | None = None
    words: str = ""
