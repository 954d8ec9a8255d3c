"""The configuration: a TOML file becomes a frozen ``Config``, or one error that names everything.

The classes are the table of keys: each attribute is a key, its rule and its default. Nothing is
opened or connected here; ``ccdaemon.check`` tries what the values name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from ccdaemon import numbers as number_forms
from ccdaemon.config import validators as validators
from ccdaemon.config.http import LOCAL, LOOPBACK, Client, Http, or_local
from ccdaemon.config.limits import LimitSettings
from ccdaemon.config.loader import ConfigError, Problem, Reading, key, table, tables
from ccdaemon.config.numbers import Numbers
from ccdaemon.config.observe import ObserveSettings
from ccdaemon.config.retention import LogSettings, OperatorSettings, RetentionSettings
from ccdaemon.config.routing import RoutingSettings
from ccdaemon.config.webhooks import Webhook, twins
from ccdaemon.numbers import Dial

__all__ = [
    "LOCAL",
    "Asterisk",
    "Client",
    "Config",
    "ConfigError",
    "Database",
    "FastAgi",
    "Http",
    "LimitSettings",
    "Numbers",
    "Problem",
    "RoutingSettings",
    "Webhook",
    "load",
    "parse",
]

_HOST = validators.text("a host name or address", r"[A-Za-z0-9_.:%\[\]-]+")


@attrs.frozen(kw_only=True)
class Asterisk:
    """The PBX: how to log in, how to dial, where recordings and the CEL file are.

    Timeouts and ``ping_interval`` are whole seconds. ``tls_ca`` None: the system's certificates.
    ``caller_id`` is the number that clients see; empty: the trunk's own. ``caller_ids`` are others
    that makeCall may ask for, ``announce`` a sound that a client is played before they talk.
    """

    host: str = attrs.field(default="127.0.0.1", metadata=key(_HOST))
    port: int = attrs.field(default=5038, metadata=key(validators.whole(1, 65535)))
    tls: bool = attrs.field(default=False, metadata=key(validators.flag))
    tls_ca: Path | None = attrs.field(default=None, metadata=key(validators.absolute_path))
    auth: str = attrs.field(default="md5", metadata=key(validators.one_of("md5", "plain")))
    username: str = attrs.field(
        default="ccdaemon",
        metadata=key(validators.text("a user of manager.conf", r"[A-Za-z0-9_.@-]{1,79}")),
    )
    secret: str = attrs.field(repr=False, metadata=key(validators.secret))
    ping_interval: int = attrs.field(default=10, metadata=key(validators.whole(1, 300)))
    operator_channel: str = attrs.field(
        default="PJSIP/{sip}", metadata=key(validators.channel("sip"))
    )
    operator_channels: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(
                validators.channel("sip"), 'dial strings such as ["PJSIP/{sip}", "PJSIP/{sip}-WS"]'
            )
        ),
    )
    dnd_device: str = attrs.field(
        default="Custom:DND{sip}",
        metadata=key(
            validators.text(
                'a device with {sip} in it, such as "Custom:DND{sip}", or nothing',
                r"[A-Za-z0-9_:/.@-]*\{sip\}[A-Za-z0-9_:/.@-]*|",
            )
        ),
    )
    client_channel: str = attrs.field(metadata=key(validators.channel("phone")))
    operator_pattern: validators.Pattern = attrs.field(
        default=validators.Pattern("[0-9]{3,6}"), metadata=key(validators.number_pattern)
    )
    phone_pattern: validators.Pattern = attrs.field(
        default=validators.Pattern("[0-9]{3,15}"), metadata=key(validators.number_pattern)
    )
    operator_timeout: int = attrs.field(default=30, metadata=key(validators.whole(1, 600)))
    client_timeout: int = attrs.field(default=60, metadata=key(validators.whole(1, 600)))
    caller_id_name: str = attrs.field(
        default="Order {order_id}", metadata=key(validators.caller_name)
    )
    caller_id: str = attrs.field(
        default="", metadata=key(validators.text("digits, or nothing", r"\+?[0-9]{1,20}|"))
    )
    caller_ids: tuple[str, ...] = attrs.field(
        default=(),
        metadata=key(
            validators.several(
                validators.text("digits", r"\+?[0-9]{1,20}"), 'numbers such as ["380440000000"]'
            )
        ),
    )
    announce: str = attrs.field(
        default="",
        metadata=key(
            validators.text(
                "the name of a sound without its ending", r"[A-Za-z0-9/][A-Za-z0-9_./-]{0,199}|"
            )
        ),
    )
    record: bool = attrs.field(default=True, metadata=key(validators.flag))
    stereo: bool = attrs.field(default=False, metadata=key(validators.flag))
    recordings_dir: Path = attrs.field(
        default=Path("/var/spool/asterisk/monitor"), metadata=key(validators.asterisk_path)
    )
    recordings_mount: Path = attrs.field(metadata=key(validators.absolute_path))
    cel_file: Path = attrs.field(
        default=Path("/var/log/asterisk/cel-custom/Master.csv"),
        metadata=key(validators.absolute_path),
    )

    @recordings_mount.default
    def _same_as_asterisk(self) -> Path:
        return self.recordings_dir

    @property
    def operator_templates(self) -> tuple[str, ...]:
        """How an operator is dialled: one dial string for each phone that they may have."""
        return self.operator_channels or (self.operator_channel,)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if self.tls_ca is not None and not self.tls:
            yield "tls_ca", "does nothing without tls = true"
        if len(set(self.operator_channels)) < len(self.operator_channels):
            yield "operator_channels", "has one of them twice"
        if self.operator_channels and self.operator_channel != "PJSIP/{sip}":
            yield "operator_channel", "does nothing beside operator_channels; put it in there"
        if self.auth == "plain" and not self.tls and not validators.is_this_machine(self.host):
            yield "auth", "would send the secret in the clear; take md5, or tls = true"


@attrs.frozen(kw_only=True)
class FastAgi:
    """Where Asterisk asks what to do with a call; ``networks`` are where it asks from.

    ``secret`` is what it has to know; None: whoever reaches the port may ask.
    """

    listen: str = attrs.field(
        default="tcp:4573:interface=127.0.0.1", metadata=key(validators.listen)
    )
    secret: str | None = attrs.field(default=None, repr=False, metadata=key(validators.path_secret))
    networks: tuple[validators.Network, ...] = attrs.field(
        default=(),
        metadata=key(validators.several(validators.network, 'networks such as ["10.0.0.0/8"]')),
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Name the keys that do not go together, each with what to do."""
        if not self.networks and not validators.is_loopback(self.listen):
            yield "networks", "missing; listening beyond loopback, say from where Asterisk asks"

    @property
    def port(self) -> int | None:
        """Its TCP port; None where the description does not say one plainly."""
        found = re.match(r"tcp6?:(?:port=)?([0-9]+)(?::|$)", self.listen)
        return int(found[1]) if found else None

    def admits(self, host: str) -> bool:
        """Whether Asterisk may ask from this address."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks or LOOPBACK)


@attrs.frozen(kw_only=True)
class Database:
    """Where the history is kept. ``url`` may hold a password: show ``shown`` instead."""

    url: str = attrs.field(repr=False, metadata=key(validators.database_url))

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
        default=Path("/var/lib/ccdaemon"), metadata=key(validators.absolute_path)
    )
    http: Http = attrs.field(default=Http(), metadata=table(Http))
    clients: tuple[Client, ...] = attrs.field(
        default=(), converter=or_local, metadata=tables(Client)
    )
    asterisk: Asterisk = attrs.field(metadata=table(Asterisk))
    fastagi: FastAgi = attrs.field(default=FastAgi(), metadata=table(FastAgi))
    database: Database = attrs.field(metadata=table(Database))
    limits: LimitSettings = attrs.field(default=LimitSettings(), metadata=table(LimitSettings))
    numbers: Numbers = attrs.field(default=Numbers(), metadata=table(Numbers))
    observe: ObserveSettings = attrs.field(
        default=ObserveSettings(), metadata=table(ObserveSettings)
    )
    operators: OperatorSettings = attrs.field(
        default=OperatorSettings(), metadata=table(OperatorSettings)
    )
    log: LogSettings = attrs.field(default=LogSettings(), metadata=table(LogSettings))
    retention: RetentionSettings = attrs.field(
        default=RetentionSettings(), metadata=table(RetentionSettings)
    )
    routing: RoutingSettings = attrs.field(
        default=RoutingSettings(), metadata=table(RoutingSettings)
    )
    webhooks: tuple[Webhook, ...] = attrs.field(default=(), metadata=tables(Webhook))

    @property
    def writes_recordings(self) -> tuple[str, ...]:
        """What of this has the daemon write or remove files in ``recordings_mount``."""
        forget = any("forget" in client.permissions for client in self.clients)
        reasons = {
            "asterisk.stereo": self.asterisk.stereo,
            "retention": bool(self.retention.recordings_days or self.retention.history_days),
            "the permission forget": forget,
        }
        return tuple(name for name, there in reasons.items() if there)


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
    if config is not None:
        _refuse_no_operators(reading, config)
        _refuse_no_numbers(reading, config)
        _refuse_two_plusses(reading, config)
        for number in twins(config.webhooks):
            reading.refuse(f"webhooks[{number}].name", "another webhook has it; give each its own")
    if config is None or reading.problems:
        raise ConfigError(reading.problems)
    return config


def _refuse_strangers(reading: Reading) -> None:
    """Beyond loopback somebody has to be named: the API dials for whom it trusts."""
    http = reading.raw.get("http")
    listen = http.get("listen") if isinstance(http, dict) else None
    if reading.raw.get("clients") or not isinstance(listen, str):
        return
    if not validators.is_loopback(listen):
        reading.refuse(
            "http.listen",
            "listens beyond loopback, but no [[clients]] says who may ask;"
            " add one, or interface=127.0.0.1",
        )


def _refuse_no_numbers(reading: Reading, config: Config) -> None:
    """With a home country a list has numbers, and beginnings of numbers, and nothing else."""
    numbers = number_forms.Numbers(config.numbers.country, config.numbers.internal.text)
    if numbers.country is None:
        return
    for where, entries in (
        ("limits.do_not_call", config.limits.do_not_call),
        ("routing.blacklist", config.routing.blacklist),
    ):
        for entry in entries:
            is_word = re.search("[A-Za-z_#]", entry) is not None
            if not entry.endswith("*") and not is_word and numbers.form(entry) is None:
                reading.refuse(where, f"{entry} is no number, at home in {numbers.country} neither")


def _refuse_two_plusses(reading: Reading, config: Config) -> None:
    """After a plus comes a country code, and nothing of how a country dials."""
    settings, channel = config.numbers, config.asterisk.client_channel
    ways = [("numbers.dial", settings.how, channel)]
    for number, trunk in enumerate(settings.trunks, start=1):
        ways.append(
            (f"numbers.trunks[{number}]", trunk.dial or settings.how, trunk.channel or channel)
        )
    for where, how, dialled in ways:
        if "+{phone}" in dialled and how in (Dial.NATIONAL, Dial.INTERNATIONAL):
            reading.refuse(where, f"{how.value} and the plus of {dialled} do not go together")


def _refuse_no_operators(reading: Reading, config: Config) -> None:
    pattern = config.asterisk.operator_pattern
    for sip in config.routing.strangers(pattern):
        reading.refuse(
            "routing.operators",
            f"{sip} is no operator: asterisk.operator_pattern is {pattern.text}",
        )
