"""Against other people's web pages: who a request says it is for, and where it says it is from.

A GET that dials is trusted by its address, so any page opened inside the network could have a
browser send it. A browser tells on such a page by ``Origin``, by ``Sec-Fetch-Site``, or, where
the page's name was made to point here, by ``Host``. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from ccdaemon.errors import Code, Refused

_HOST = re.compile(r"(?P<name>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def host_name(host: str) -> str | None:
    """Give the name in a ``Host`` header, lower case, without port, brackets and final dot."""
    found = _HOST.fullmatch(host)
    return None if found is None else found["name"].strip("[]").lower().removesuffix(".")


class Origins:
    """The names that are ours: ``localhost``, every IP address, and those configured."""

    def __init__(self, names: Iterable[str] = (), public_url: str | None = None) -> None:
        public = urlsplit(public_url).hostname if public_url else None
        self._named = frozenset(names) | ({public} if public else set())

    def check(self, hosts: Sequence[str], origins: Sequence[str], sites: Sequence[str]) -> None:
        """Check the headers ``Host``, ``Origin`` and ``Sec-Fetch-Site``, each as often as it came.

        :raises Refused: with ``forbidden`` for a request that another site's page sent.
        """
        if len(hosts) > 1 or not all(self._is_ours(host) for host in hosts):
            raise Refused(
                Code.FORBIDDEN,
                "this host name is not ours; if it should be, add it to hosts in [http]",
            )
        if not all(self._is_own(origin, hosts) for origin in origins):
            raise Refused(Code.FORBIDDEN, "a page of another site may not ask (Origin)")
        if any(site.strip().lower() == "cross-site" for site in sites):
            raise Refused(Code.FORBIDDEN, "a page of another site may not ask (Sec-Fetch-Site)")

    def is_foreign(self, address: str, hosts: Sequence[str]) -> bool:
        """Say whether a page of this address is another site's, as ``Referer`` has it."""
        scheme, _, rest = address.partition("://")
        return not self._is_own(f"{scheme}://{re.split('[/?#]', rest)[0]}", hosts)

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        # An IP address cannot be made to point here by somebody else's name server.
        return name is not None and (
            name == "localhost" or name in self._named or _is_address(name)
        )

    def _is_own(self, origin: str, hosts: Sequence[str]) -> bool:
        scheme, _, host = origin.lower().partition("://")
        if scheme not in ("http", "https"):
            return False
        return host_name(host) in self._named or host in [given.lower() for given in hosts]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
