"""The configuration: a TOML file becomes a frozen ``Config``, or one error that names everything.

The classes are the table of keys: each attribute is a key, its rule and its default. Nothing is
opened or connected here; ``ccdaemon.check`` tries what the values name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from ccdaemon import config_rules as rules
from ccdaemon.config_read import ConfigError, Problem, Reading, key, table, tables

__all__ = [
    "Asterisk",
    "Client",
    "Config",
    "ConfigError",
    "Database",
    "Http",
    "Limits",
    "Problem",
    "load",
    "parse",
]

_PERMISSIONS = ("call", "read")
_HOST = rules.text("a host name or address", r"[A-Za-z0-9_.:%\[\]-]+")
_LOOPBACK = (rules.network("127.0.0.0/8"), rules.network("::1/128"))


@attrs.frozen(kw_only=True)
class Http:
    """Where the API is served.

    ``hosts`` are the names by which it is asked for beside ``localhost`` and IP addresses (lower
    case, no port). ``public_url`` is put before the links in answers; None: the request's host.
    """

    listen: str = attrs.field(default="tcp:8080:interface=127.0.0.1", metadata=key(rules.listen))
    hosts: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            rules.several(
                rules.text("a name", r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?"),
                "host names in lower case, without ports",
            )
        ),
    )
    public_url: str | None = attrs.field(default=None, metadata=key(rules.web_url))


def _unordered(words: Iterable[str]) -> frozenset[str]:
    return frozenset(words)


@attrs.frozen(kw_only=True)
class Client:
    """Somebody who may ask: by address, by key, or only with both.

    ``networks`` empty: from anywhere (only with a key). ``key_sha256`` is the SHA-256 of the key
    in 64 lower-case hexadecimal digits; None: the address alone is trusted.
    """

    name: str = attrs.field(
        metadata=key(rules.text("a short name", r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}"))
    )
    networks: tuple[rules.Network, ...] = attrs.field(
        default=(),
        metadata=key(rules.several(rules.network, 'networks such as ["10.0.0.0/8"]')),
    )
    key_sha256: str | None = attrs.field(
        default=None,
        repr=False,
        metadata=key(rules.sha256),
    )
    permissions: frozenset[str] = attrs.field(
        default=frozenset(_PERMISSIONS),
        converter=_unordered,
        metadata=key(rules.several(rules.one_of(*_PERMISSIONS), 'the words "call" and "read"')),
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if not self.networks and self.key_sha256 is None:
            yield "networks", "missing; a client needs networks, or key_sha256, or both"


#: Who may ask where the configuration names nobody.
LOCAL = Client(name="local", networks=_LOOPBACK)


def _or_local(clients: tuple[Client, ...]) -> tuple[Client, ...]:
    return clients or (LOCAL,)


@attrs.frozen(kw_only=True)
class Asterisk:
    """The PBX: how to log in, how to dial, where recordings and the CEL file are.

    Timeouts and ``ping_interval`` are whole seconds. ``tls_ca`` None: the system's certificates.
    ``caller_id`` is the number that clients see; empty: the trunk's own.
    """

    host: str = attrs.field(default="127.0.0.1", metadata=key(_HOST))
    port: int = attrs.field(default=5038, metadata=key(rules.whole(1, 65535)))
    tls: bool = attrs.field(default=False, metadata=key(rules.flag))
    tls_ca: Path | None = attrs.field(default=None, metadata=key(rules.absolute_path))
    auth: str = attrs.field(default="md5", metadata=key(rules.one_of("md5", "plain")))
    username: str = attrs.field(
        default="ccdaemon",
        metadata=key(rules.text("a user of manager.conf", r"[A-Za-z0-9_.@-]{1,79}")),
    )
    secret: str = attrs.field(repr=False, metadata=key(rules.secret))
    ping_interval: int = attrs.field(default=10, metadata=key(rules.whole(1, 300)))
    operator_channel: str = attrs.field(default="PJSIP/{sip}", metadata=key(rules.channel("sip")))
    client_channel: str = attrs.field(metadata=key(rules.channel("phone")))
    operator_pattern: rules.Pattern = attrs.field(
        default=rules.Pattern("[0-9]{3,6}"), metadata=key(rules.number_pattern)
    )
    phone_pattern: rules.Pattern = attrs.field(
        default=rules.Pattern("[0-9]{3,15}"), metadata=key(rules.number_pattern)
    )
    operator_timeout: int = attrs.field(default=30, metadata=key(rules.whole(1, 600)))
    client_timeout: int = attrs.field(default=60, metadata=key(rules.whole(1, 600)))
    caller_id_name: str = attrs.field(default="Order {order_id}", metadata=key(rules.caller_name))
    caller_id: str = attrs.field(
        default="", metadata=key(rules.text("digits, or nothing", r"\+?[0-9]{1,20}|"))
    )
    record: bool = attrs.field(default=True, metadata=key(rules.flag))
    recordings_dir: Path = attrs.field(
        default=Path("/var/spool/asterisk/monitor"), metadata=key(rules.asterisk_path)
    )
    recordings_mount: Path = attrs.field(metadata=key(rules.absolute_path))
    cel_file: Path = attrs.field(
        default=Path("/var/log/asterisk/cel-custom/Master.csv"),
        metadata=key(rules.absolute_path),
    )

    @recordings_mount.default
    def _same_as_asterisk(self) -> Path:
        return self.recordings_dir

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if self.tls_ca is not None and not self.tls:
            yield "tls_ca", "does nothing without tls = true"
        if self.auth == "plain" and not self.tls and not rules.is_this_machine(self.host):
            yield "auth", "would send the secret in the clear; take md5, or tls = true"


@attrs.frozen(kw_only=True)
class Limits:
    """What may be dialled, and how much at once.

    ``allowed_prefixes`` empty: every phone that matches ``asterisk.phone_pattern``; a forbidden
    prefix wins over an allowed one.
    """

    max_calls: int = attrs.field(default=100, metadata=key(rules.whole(1, 10_000)))
    allowed_prefixes: tuple[str, ...] = attrs.field(default=(), metadata=key(rules.prefixes))
    forbidden_prefixes: tuple[str, ...] = attrs.field(default=(), metadata=key(rules.prefixes))


@attrs.frozen(kw_only=True)
class Database:
    """Where the history is kept. ``url`` may hold a password: show ``shown`` instead."""

    url: str = attrs.field(repr=False, metadata=key(rules.database_url))

    @property
    def embedded(self) -> bool:
        """The daemon runs a Postgres of its own, in its ``state_dir``."""
        return self.url == "embedded"

    @property
    def shown(self) -> str:
        """The address without password and without the options that may hold one."""
        if self.embedded:
            return self.url
        parts = urlsplit(self.url)
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{user}{parts.hostname or ''}{port}{parts.path}"


@attrs.frozen(kw_only=True)
class Config:
    """Everything the daemon is told at its start. ``clients`` is never empty."""

    state_dir: Path = attrs.field(
        default=Path("/var/lib/ccdaemon"), metadata=key(rules.absolute_path)
    )
    http: Http = attrs.field(default=Http(), metadata=table(Http))
    clients: tuple[Client, ...] = attrs.field(
        default=(), converter=_or_local, metadata=tables(Client)
    )
    asterisk: Asterisk = attrs.field(metadata=table(Asterisk))
    database: Database = attrs.field(metadata=table(Database))
    limits: Limits = attrs.field(default=Limits(), metadata=table(Limits))


def load(path: Path) -> Config:
    """Read the configuration from a file.

    :raises ConfigError: with every problem of the file, also when it cannot be read at all.
    """
    try:
        content = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(str(path), None, "", f"cannot be read: {reason}")]) from error
    return parse(content, str(path))


def parse(content: str, file: str = "ccdaemon.toml") -> Config:
    """Read the configuration from a text; ``file`` is the name that problems are told under.

    :raises ConfigError: with every problem of the text.
    """
    reading = Reading(content, file)
    config = reading.table(Config, reading.raw, "")
    _refuse_strangers(reading)
    if config is None or reading.problems:
        raise ConfigError(reading.problems)
    return config


def _refuse_strangers(reading: Reading) -> None:
    """Beyond loopback somebody has to be named: the API dials for whom it trusts."""
    http = reading.raw.get("http")
    listen = http.get("listen") if isinstance(http, dict) else None
    if reading.raw.get("clients") or not isinstance(listen, str):
        return
    if not rules.is_loopback(listen):
        reading.refuse(
            "http.listen",
            "listens beyond loopback, but no [[clients]] says who may ask;"
            " add one, or interface=127.0.0.1",
        )
