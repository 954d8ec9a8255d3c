"""What a configuration value may be: one function per kind of value.

A rule takes what TOML gave and returns the value that the daemon works with, or raises
``Expected`` with the words for the administrator. Knows no key, no file and no other value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import attrs
from twisted.internet.endpoints import serverFromString

T = TypeVar("T")
Rule = Callable[[object], T]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What an operator's or a client's number can consist of, whatever the pattern says: nothing
#: here has a meaning to AMI, to a dial string, to the dialplan or to a path.
NUMBER_ALPHABET = re.compile(r"[0-9A-Za-z_*#-]{1,20}")
#: Connections that the kernel keeps until they are accepted, if the system allows as many: more
#: than come back at once after a restart.
BACKLOG = 2048


class Expected(Exception):
    """A value is not what it should be.

    :param what: what was expected, for people.
    :param why: what is wrong with this one, where that says more.
    :param hide: the value may be a secret and is not to be shown.
    """

    def __init__(self, what: str, why: str | None = None, *, hide: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hide = hide


@attrs.frozen(repr=False)
class Pattern:
    """What a number may be; always the whole value, and always in ``NUMBER_ALPHABET``."""

    text: str

    def matches(self, value: str) -> bool:
        """Say whether the whole value is allowed."""
        if NUMBER_ALPHABET.fullmatch(value) is None:
            return False
        return re.fullmatch(self.text, value, re.ASCII) is not None

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Expected("true or false")
    return value


def whole(low: int, high: int) -> Rule[int]:
    """Build the rule for a whole number from ``low`` to ``high``."""

    def rule(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Expected(f"a whole number {low}…{high}")
        return value

    return rule


def text(what: str, pattern: str) -> Rule[str]:
    """Build the rule for a text that matches ``pattern`` as a whole."""
    compiled = re.compile(pattern)

    def rule(value: object) -> str:
        if not isinstance(value, str) or compiled.fullmatch(value) is None:
            raise Expected(what)
        return value

    return rule


def one_of(*choices: str) -> Rule[str]:
    """Build the rule for one word out of a few."""

    def rule(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise Expected(" or ".join(f'"{choice}"' for choice in choices))
        return value

    return rule


def several(rule: Rule[T], what: str) -> Rule[tuple[T, ...]]:
    """Build the rule for a list whose every element follows ``rule``."""

    def rule_of_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Expected(f"a list of {what}")
        try:
            return tuple(rule(element) for element in value)
        except Expected as wrong:
            raise Expected(f"a list of {what}", wrong.why) from wrong

    return rule_of_list


def secret(value: object) -> str:
    """A shared secret as Asterisk's manager.conf can hold it."""
    if not isinstance(value, str) or re.fullmatch(r"[!-:<-~]+", value) is None:
        raise Expected(
            "the secret of manager_ccdaemon.conf (printable ASCII without blanks and semicolons)",
            hide=True,
        )
    return value


def path_secret(value: object) -> str:
    """A shared secret that stands in an address, as a part of its path."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z0-9_-]{24,100}", value) is None:
        raise Expected(
            "24 to 100 letters, digits, - and _ that nobody can guess (openssl rand -hex 32)",
            hide=True,
        )
    return value


def sha256(value: object) -> str:
    """A SHA-256 in hexadecimal, as ``printf %s KEY | sha256sum`` prints it."""
    if not isinstance(value, str) or re.fullmatch(r"[0-9A-Fa-f]{64}", value) is None:
        raise Expected("64 hexadecimal digits (printf %s KEY | sha256sum)", hide=True)
    return value.lower()


def absolute_path(value: object) -> Path:
    """A path that means the same wherever the daemon was started."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        raise Expected("an absolute path")
    if ".." in value.split("/"):
        raise Expected("an absolute path", 'without ".."')
    return Path(value)


def asterisk_path(value: object) -> Path:
    """A path that Asterisk's dialplan takes as one word, and AMI in one line."""
    path = absolute_path(value)
    if re.fullmatch(r"[\w/.@+=~-]{1,200}", str(path)) is None:
        raise Expected(
            "an absolute path", "up to 200 letters, digits and / . _ - @ + = ~, for the dialplan"
        )
    return path


def network(value: object) -> Network:
    """An address, or a network in CIDR notation."""
    what = 'a network such as "10.0.0.0/8"'
    if not isinstance(value, str):
        raise Expected(what)
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise Expected(what, str(error)) from error


def number_pattern(value: object) -> Pattern:
    """A regular expression that a whole number has to match."""
    what = "a regular expression in ASCII such as '[0-9]{3,6}'"
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise Expected(what)
    try:
        re.compile(value, re.ASCII)
    except re.error as error:
        raise Expected(what, str(error)) from error
    return Pattern(value)


#: The beginning of a number, as somebody writes it.
PREFIX = r"\+?[0-9]{1,15}"
prefixes = several(text("digits", PREFIX), 'number prefixes such as ["380", "+7495"]')


def channel(placeholder: str) -> Rule[str]:
    """Build the rule for a dial string with one ``{placeholder}``.

    A comma or an ampersand would end the dial string or ring a second phone.
    """
    mark = f"{{{placeholder}}}"
    what = f'a dial string with {mark} in it, such as "PJSIP/{mark}", without blanks , & | $'
    shape = re.compile(r"[A-Za-z0-9_]+/[A-Za-z0-9_.:;=?@/+*#\[\]-]+")

    def rule(value: object) -> str:
        if not isinstance(value, str) or value.count(mark) != 1:
            raise Expected(what)
        if shape.fullmatch(value.replace(mark, "1")) is None:
            raise Expected(what)
        return value

    return rule


def caller_name(value: object) -> str:
    """What the operator's phone shows as a name; may hold {order_id} and {phone}."""
    what = 'up to 40 printable characters without " < > , ; and with no {…} but {order_id}, {phone}'
    if not isinstance(value, str) or len(value) > 40 or not value.isprintable():
        raise Expected(what)
    if set(value.replace("{order_id}", "").replace("{phone}", "")) & set('"<>,;{}'):
        raise Expected(what)
    return value


def listen(value: object) -> str:
    """A Twisted server endpoint description."""
    what = 'a Twisted endpoint description such as "tcp:8080:interface=127.0.0.1"'
    if not isinstance(value, str):
        raise Expected(what)
    try:
        # Only parsed: the reactor is first asked for when somebody listens.
        serverFromString(None, value)
    except Exception as error:
        raise Expected(what, str(error)) from error
    return value


def with_backlog(description: str) -> str:
    """Let the kernel keep more connections than Twisted's 50 until they are accepted.

    Whoever finds no room waits a second or more for the kernel to try again. A description that
    has a ``backlog`` keeps it, and one that takes none stays as it is.
    """
    if re.search(r"(?<!\\):backlog=", description):
        return description
    larger = f"{description}:backlog={BACKLOG}"
    try:
        serverFromString(None, larger)
    except Exception:
        return description
    return larger


def is_loopback(description: str) -> bool:
    """Say whether an endpoint description listens on this machine only."""
    kind, *arguments = description.replace(r"\:", "\0").split(":")
    if kind == "unix":
        return True
    for argument in arguments:
        name, _, value = argument.replace("\0", ":").partition("=")
        if name == "interface":
            return is_this_machine(value)
    return False


def is_this_machine(host: str) -> bool:
    """Say whether a host is surely this machine, without asking a name server."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def web_url(value: object) -> str:
    """An http or https address without a query, no slash at its end."""
    what = 'an address such as "https://calls.example"'
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise Expected(what)
    try:
        parts = urlsplit(value)
        port_is_sound = parts.port != 0
    except ValueError as error:
        raise Expected(what, str(error)) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound:
        raise Expected(what)
    if parts.query or parts.fragment or " " in value or parts.username is not None:
        raise Expected(what, "without user, query and fragment")
    return value.rstrip("/")


def database_url(value: object) -> str:
    """``embedded``, or where a Postgres is, as libpq takes it."""
    what = '"embedded" or "postgresql://user@host/database"'
    if not isinstance(value, str):
        raise Expected(what, hide=True)
    if value == "embedded":
        return value
    try:
        parts = urlsplit(value)
        host_and_port_are_sound = parts.port != 0
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise Expected(what, hide=True) from error
    if not value.startswith(("postgresql://", "postgres://")) or not value.isprintable():
        raise Expected(what, hide=True)
    if not host_and_port_are_sound or len(parts.path) < 2 or " " in value:
        raise Expected(what, "a port 1…65535 and the database's name", hide=True)
    return value
