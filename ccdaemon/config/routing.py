"""The configuration's tables ``[routing]`` and ``[routing.hours]``: who takes an inbound call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import attrs

from ccdaemon.config import hours as times
from ccdaemon.config import validators
from ccdaemon.config.loader import key, table
from ccdaemon.config.validators import Expected

#: What is done with a call that is not put through, beside an extension to send it to.
FALLBACK, REJECT = "fallback", "reject"

#: How many operators one route may name, in all its rounds.
MOST_OPERATORS = 50

Rounds = tuple[tuple[str, ...], ...]


def rounds(value: object) -> Rounds:
    """Operators one after the other; those of an inner list are rung together."""
    what = 'a list of operators such as ["1000", "1001"], or ["1000", ["1001", "1002"]] to ring'
    what += " two together"
    if not isinstance(value, list):
        raise Expected(what)
    read = [element if isinstance(element, list) else [element] for element in value]
    sips = [sip for together in read for sip in together]
    if not all(read) or not all(isinstance(sip, str) for sip in sips):
        raise Expected(what)
    if len(sips) > MOST_OPERATORS:
        raise Expected(what, f"no more than {MOST_OPERATORS}")
    return tuple(tuple(dict.fromkeys(together)) for together in read)


def asked_url(value: object) -> str:
    """An http or https address, which may have a query of its own."""
    what = 'an address such as "https://crm.example/route"'
    # A query may hold a token.
    if not isinstance(value, str) or re.fullmatch(r"[!-~]+", value) is None:
        raise Expected(what, hide=True)
    try:
        parts = urlsplit(value)
        sound = parts.port != 0 and bool(parts.hostname)
    except ValueError as error:
        raise Expected(what, str(error), hide=True) from error
    if parts.scheme not in ("http", "https") or not sound:
        raise Expected(what, hide=True)
    if parts.fragment or parts.username is not None:
        raise Expected(what, "without user and fragment", hide=True)
    return value


def seconds(low: float, high: float) -> validators.Rule[float]:
    """Build the rule for seconds, with a fraction or without."""

    def rule(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Expected(f"seconds, {low:g}…{high:g}")
        if not low <= value <= high:
            raise Expected(f"seconds, {low:g}…{high:g}")
        return float(value)

    return rule


def _weekday() -> Any:
    return attrs.field(default=(), metadata=key(times.spans))


@attrs.frozen(kw_only=True)
class Hours:
    """When it is open on each day of the week; a day that is not named is closed."""

    mon: tuple[times.Span, ...] = _weekday()
    tue: tuple[times.Span, ...] = _weekday()
    wed: tuple[times.Span, ...] = _weekday()
    thu: tuple[times.Span, ...] = _weekday()
    fri: tuple[times.Span, ...] = _weekday()
    sat: tuple[times.Span, ...] = _weekday()
    sun: tuple[times.Span, ...] = _weekday()

    def of(self, weekday: int) -> tuple[times.Span, ...]:
        """The spans of a weekday; 0 is Monday."""
        spans: tuple[times.Span, ...] = attrs.astuple(self, recurse=False)[weekday]
        return spans


_NOT_PUT_THROUGH = validators.text(
    f'"{FALLBACK}", "{REJECT}", or an extension to go to', r"[0-9A-Za-z_*#-]{1,20}"
)


@attrs.frozen(kw_only=True)
class RoutingSettings:
    """Who takes an inbound call, in the order of the keys. Times are in seconds.

    ``url`` None: no CRM is asked; it may hold a token: show ``shown`` instead. ``tls_ca`` None: the
    system's certificates. ``hours`` None: always open. ``closed`` and ``blacklisted`` are
    ``fallback``, ``reject``, or an extension that matches ``redirect_pattern``.
    """

    url: str | None = attrs.field(default=None, repr=False, metadata=key(asked_url))
    # All that may be waited for stays under the 3 s within which a client reaches somebody.
    timeout: float = attrs.field(default=1.0, metadata=key(seconds(0.1, 1.5)))
    tls_ca: Path | None = attrs.field(default=None, metadata=key(validators.absolute_path))
    redirect_pattern: validators.Pattern = attrs.field(
        default=validators.Pattern("[0-9]{2,5}"), metadata=key(validators.number_pattern)
    )
    sticky: bool = attrs.field(default=False, metadata=key(validators.flag))
    operators: Rounds = attrs.field(default=(), metadata=key(rounds))
    queue: str | None = attrs.field(
        default=None,
        metadata=key(validators.text("the name of a queue of queues.conf", r"[A-Za-z0-9_-]{1,79}")),
    )
    ring_timeout: int = attrs.field(default=20, metadata=key(validators.whole(1, 600)))
    blacklist: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(
                validators.text("a number", r"\+?[0-9A-Za-z_#][0-9A-Za-z_# ().\-/]{0,39}\*?"),
                'callers such as ["380441234567", "7900*", "anonymous"]',
            )
        ),
    )
    blacklisted: str = attrs.field(default=REJECT, metadata=key(_NOT_PUT_THROUGH))
    timezone: ZoneInfo | None = attrs.field(default=None, metadata=key(times.zone))
    hours: Hours | None = attrs.field(default=None, metadata=table(Hours))
    holidays: tuple[times.Holiday, ...] = attrs.field(default=(), metadata=key(times.holidays))
    closed: str = attrs.field(default=FALLBACK, metadata=key(_NOT_PUT_THROUGH))

    @property
    def shown(self) -> str | None:
        """The CRM's address without its query."""
        return None if self.url is None else self.url.partition("?")[0]

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if self.tls_ca is not None and not (self.url or "").startswith("https:"):
            yield "tls_ca", "does nothing without an https address in url"
        if self.operators and self.queue is not None:
            yield "queue", "there is a list of operators, too; take the one or the other"
        if (self.hours is not None or self.holidays) and self.timezone is None:
            yield "timezone", "missing; whose clock are hours and holidays of?"
        for name in ("closed", "blacklisted"):
            target = getattr(self, name)
            if target not in (FALLBACK, REJECT) and not self.redirect_pattern.matches(target):
                yield name, f"{target} does not match redirect_pattern"

    def strangers(self, operator_pattern: validators.Pattern) -> list[str]:
        """The operators of the list that cannot be operators."""
        sips = [sip for together in self.operators for sip in together]
        return [sip for sip in sips if not operator_pattern.matches(sip)]
