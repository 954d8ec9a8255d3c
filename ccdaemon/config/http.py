"""The configuration's tables ``[http]`` and ``[[clients]]``: where the API is, and who may ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from ccdaemon.config import validators
from ccdaemon.config.loader import key

#: What a client may do unless the configuration says so, and what else it may be let do.
_UNLESS_NAMED = ("call", "read")
_PERMISSIONS = (
    *_UNLESS_NAMED,
    "webhooks",
    *("hangup", "transfer", "hold", "mute", "listen", "whisper", "barge", "record"),
    *("attach", "result", "pause", "forget", "audit"),
)
#: Those that change nothing.
_READING = frozenset({"read", "audit"})
LOOPBACK = (validators.network("127.0.0.0/8"), validators.network("::1/128"))


def link_secret(value: object) -> str:
    """What links to recordings are signed with."""
    if not isinstance(value, str) or not 24 <= len(value) <= 200 or not value.isascii():
        raise validators.Expected("24 to 200 characters in ASCII that nobody can guess", hide=True)
    return value


@attrs.frozen(kw_only=True)
class Http:
    """Where the API is served.

    ``hosts`` are the names by which it is asked for beside ``localhost`` and IP addresses (lower
    case, no port). ``public_url`` is put before the links in answers; None: the request's host.
    ``trusted_proxies`` are those whose ``X-Forwarded-For`` says who asks.
    ``link_secret`` signs links to recordings that need no key; None: there are none.
    ``max_connections`` is how many connections may be open at once; ``request_timeout`` the seconds
    in which a request has to come, whole, and then the next one.
    ``events_heartbeat`` is the seconds after which a silent stream of events says that it is there.
    """

    listen: str = attrs.field(
        default="tcp:8080:interface=127.0.0.1", metadata=key(validators.listen)
    )
    hosts: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(
                validators.text("a name", r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"),
                "host names in lower case, without ports",
            )
        ),
    )
    trusted_proxies: tuple[validators.Network, ...] = attrs.field(
        default=(),
        metadata=key(validators.several(validators.network, 'networks such as ["127.0.0.1"]')),
    )
    public_url: str | None = attrs.field(default=None, metadata=key(validators.web_url))
    link_secret: str | None = attrs.field(
        default=None,
        repr=False,
        metadata=key(link_secret),
    )
    max_connections: int = attrs.field(default=2000, metadata=key(validators.whole(10, 60_000)))
    request_timeout: int = attrs.field(default=60, metadata=key(validators.whole(5, 600)))
    max_streams: int = attrs.field(default=100, metadata=key(validators.whole(0, 10_000)))
    events_heartbeat: int = attrs.field(default=15, metadata=key(validators.whole(1, 60)))


#: Keys that a client may have at once: the new one and the old one, while they are changed.
MOST_KEYS = 2


def hashes(value: object) -> tuple[str, ...]:
    """The SHA-256 of a key, or of both while one takes the other's place."""
    if not isinstance(value, list):
        return (validators.sha256(value),)
    if not 1 <= len(value) <= MOST_KEYS:
        raise validators.Expected(f"one or {MOST_KEYS} of 64 hexadecimal digits", hide=True)
    return tuple(validators.sha256(each) for each in value)


def _each(value: str | Iterable[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())


def _unordered(words: Iterable[str]) -> frozenset[str]:
    return frozenset(words)


@attrs.frozen(kw_only=True)
class Client:
    """Somebody who may ask: by address, by key, or only with both.

    ``networks`` empty: from anywhere (only with a key). ``key_sha256`` are the SHA-256 of keys in
    64 lower-case hexadecimal digits, each of which will do; none: the address alone is trusted.
    ``get``: whether it may do something by GET, as it may read; else it takes a POST that no page's
    form can send.
    """

    name: str = attrs.field(
        metadata=key(validators.text("a short name", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}"))
    )
    networks: tuple[validators.Network, ...] = attrs.field(
        default=(),
        metadata=key(validators.several(validators.network, 'networks such as ["10.0.0.0/8"]')),
    )
    key_sha256: tuple[str, ...] = attrs.field(
        default=(),
        repr=False,
        converter=_each,
        metadata=key(hashes),
    )
    permissions: frozenset[str] = attrs.field(
        default=frozenset(_UNLESS_NAMED),
        converter=_unordered,
        metadata=key(
            validators.several(
                validators.one_of(*_PERMISSIONS), 'permissions such as ["call", "read"]'
            )
        ),
    )

    get: bool = attrs.field(default=True, metadata=key(validators.flag))

    @property
    def acts_by_address(self) -> bool:
        """Whether a plain GET from another machine is enough to have something done."""
        beyond = any(not network.is_loopback for network in self.networks)
        return self.get and beyond and not self.key_sha256 and bool(self.permissions - _READING)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if not self.networks and not self.key_sha256:
            yield "networks", "missing; a client needs networks, or key_sha256, or both"


#: Who may ask where the configuration names nobody.
LOCAL = Client(name="local", networks=LOOPBACK)


def or_local(clients: tuple[Client, ...]) -> tuple[Client, ...]:
    return clients or (LOCAL,)
