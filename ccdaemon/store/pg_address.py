"""Where Postgres is, as libpq wants to be told, and never with its password in words.

libpq would look up a host's name itself and block the reactor meanwhile, so the name is looked
up in a thread here.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import parse_dsn
from twisted.internet.defer import Deferred

#: Looks up a host's name in a thread: fires with the addresses, as text.
Resolve = Callable[[str], Deferred[list[str]]]

_NETWORK = {"keepalives_idle": "30", "tcp_user_timeout": "15000", "client_encoding": "utf8"}


class Address:
    """The address of a database.

    :param url: ``postgresql://user:password@host:port/database``, or libpq's key=value words.
    :raise ValueError: if it is neither; the message does not hold the url.
    """

    def __init__(self, url: str) -> None:
        try:
            self._words = {**_NETWORK, **parse_dsn(url)}
        except psycopg2.ProgrammingError:
            raise ValueError("database.url is not an address that Postgres knows") from None

    def __repr__(self) -> str:
        shown = ("user", "host", "port", "dbname")
        return " ".join(f"{word}={self._words[word]}" for word in shown if word in self._words)

    def scrub(self, text: str) -> str:
        """Take the password out of a text, and make one line of it."""
        password = self._words.get("password")
        if password:
            text = text.replace(password, "***")
        return " ".join(text.split())

    async def words(self, resolve: Resolve, statement_timeout: float) -> dict[str, str]:
        """What to connect with.

        :param statement_timeout: seconds after which the server ends a statement.
        :raise OSError: if the host's name is not known.
        """
        words = dict(self._words)
        limit = f"-c statement_timeout={round(statement_timeout * 1000)}"
        words["options"] = f"{words.get('options', '')} {limit}".strip()
        name = words.get("host", "")
        if "hostaddr" not in words and _needs_looking_up(name):
            found = await resolve(name)
            words["host"] = ",".join([name] * len(found))
            words["hostaddr"] = ",".join(found)
        return words


def _needs_looking_up(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or "," in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def look_up(host: str) -> list[str]:
    """The addresses of a host, each once, in the system's order. Blocks.

    :raise OSError: if there are none.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
