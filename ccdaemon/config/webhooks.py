"""The configuration's tables ``[[webhooks]]``: who is told of what happens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from ccdaemon.config import validators
from ccdaemon.config.loader import key
from ccdaemon.config.routing import asked_url, seconds
from ccdaemon.config.validators import Expected

CALL_STATE, OPERATOR_STATE, RECORD_READY = "call.state", "operator.state", "record.ready"
TYPES = (CALL_STATE, OPERATOR_STATE, RECORD_READY)
#: The states of a call, as the wire contract names them. ``ccdaemon.calls`` lies above this.
STATES = (
    "CALL",
    "OPERATOR_CALLTO",
    "OPERATOR_PICKUP",
    "OPERATOR_NOANSWER",
    "OPERATOR_BUSY",
    "OPERATOR_OFFLINE",
    "CLIENT_CALLTO",
    "CLIENT_PICKUP",
    "CLIENT_NOANSWER",
    "CLIENT_BUSY",
    "CLIENT_CANCEL",
    "ERROR",
    "FINISH",
)

_SECRET = (
    'a secret such as "whsec_…" with base64 behind it, or a list of two while one takes the'
    " other's place"
)
_WHSEC = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2,4}={0,2})", re.ASCII)


def secrets(value: object) -> tuple[str, ...]:
    """One secret as Standard Webhooks has them, or two during a rotation."""
    listed = value if isinstance(value, list) else [value]
    if not 1 <= len(listed) <= 2:
        raise Expected(_SECRET, hide=True)
    if not all(isinstance(one, str) and _WHSEC.fullmatch(one) for one in listed):
        raise Expected(_SECRET, hide=True)
    return tuple(listed)


@attrs.frozen(kw_only=True)
class Webhook:
    """One address that is told. Times are in seconds.

    ``secret`` is not empty; there are two while one takes the other's place. ``states`` empty:
    every state of a call. ``parallel``: how many POSTs at once. ``retry_first`` is waited after
    the first failure, twice as long after each, ``retry_longest`` at most. ``log_days``: how long
    a delivery stands in the log. ``url`` may hold a token: show ``name`` or ``shown`` instead.
    """

    url: str = attrs.field(repr=False, metadata=key(asked_url))
    name: str = attrs.field(
        metadata=key(validators.text("a short name", r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,79}"))
    )
    secret: tuple[str, ...] = attrs.field(repr=False, metadata=key(secrets))
    types: tuple[str, ...] = attrs.field(
        default=(CALL_STATE,),
        metadata=key(
            validators.several(
                validators.one_of(*TYPES), 'the words "call.state", "operator.state" and so on'
            )
        ),
    )
    states: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(validators.one_of(*STATES), 'states such as ["CALL", "FINISH"]')
        ),
    )
    format: str = attrs.field(default="json", metadata=key(validators.one_of("json", "xml")))
    timeout: float = attrs.field(default=10.0, metadata=key(seconds(0.1, 60)))
    parallel: int = attrs.field(default=8, metadata=key(validators.whole(1, 100)))
    retry_first: float = attrs.field(default=1.0, metadata=key(seconds(0.05, 3600)))
    retry_longest: float = attrs.field(default=600.0, metadata=key(seconds(0.05, 24 * 3600)))
    log_days: int = attrs.field(default=7, metadata=key(validators.whole(1, 366)))
    tls_ca: Path | None = attrs.field(default=None, metadata=key(validators.absolute_path))

    @name.default
    def _by_url(self) -> str:
        # A path or query may hold a token, so it is not shown; but it tells webhooks apart.
        mark = sha256(self.url.encode()).hexdigest()[:6]
        return f"{urlsplit(self.url).netloc}-{mark}"[-80:].lstrip("_.:-[]")

    @property
    def shown(self) -> str:
        """Where it is, without what may be a token."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if not self.types:
            yield "types", "names nothing; leave the webhook out, or the key"
        if self.states and CALL_STATE not in self.types:
            yield "states", f"does nothing where types does not name {CALL_STATE}"
        if self.retry_longest < self.retry_first:
            yield "retry_longest", "is less than retry_first"
        if self.tls_ca is not None and not self.url.startswith("https:"):
            yield "tls_ca", "does nothing where url does not begin with https"


def twins(webhooks: Sequence[Webhook]) -> Iterator[int]:
    """Count (from 1) the webhooks whose names another one before them has."""
    names: set[str] = set()
    for number, webhook in enumerate(webhooks, start=1):
        if webhook.name in names:
            yield number
        names.add(webhook.name)
