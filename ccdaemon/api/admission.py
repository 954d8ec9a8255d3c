"""Who is let in: from where a request comes, whose key it shows, and how often that failed.

What a client may do once he is in, is not known here.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from math import ceil

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.api.clients import Address, Clients, address_of
from ccdaemon.config import Client
from ccdaemon.config.rules import Network
from ccdaemon.errors import Code, Refused

#: Attempts that may fail from one address within ``WINDOW`` seconds.
MOST_FAILURES = 10
WINDOW = 60.0
#: Addresses that are remembered; above that the one is forgotten that failed longest ago.
MANY = 10_000
#: Whoever has one IPv6 address has all of such a network.
_IPV6_NETWORK = 64


class Proxies:
    """Those whose word is taken for where a request comes from."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def origin(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        """Say which address asks.

        :param peer: who is at the other end of the connection; None: a local socket.
        :param forwarded: the ``X-Forwarded-For`` headers, each as it came.
        :return: None for a local socket.
        :raises Refused: with ``forbidden`` if a proxy says what is no address.
        """
        if not self._networks or not self._trusts(address_of(peer)):
            return peer
        origin = peer
        # From our end: what stands before the first stranger anybody may have written.
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        for hop in reversed(hops):
            try:
                address = address_of(hop)
            except ValueError as error:
                raise Refused(Code.FORBIDDEN, "X-Forwarded-For has no address in it") from error
            origin = str(address)
            if not self._trusts(address):
                break
        return origin

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


class Attempts:
    """Failures by address, of a bounded number of addresses."""

    def __init__(self) -> None:
        # How often, and until when it counts.
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: Address, now: float) -> int:
        """Say how many seconds to wait until the next attempt; 0: it may be made now."""
        count, until = self._failed.get(_whose(address), (0, now))
        left = until - now
        return ceil(left) if count >= MOST_FAILURES and 0 < left <= WINDOW else 0

    def failed(self, address: Address, now: float) -> bool:
        """Note a failure; true if it was one too many."""
        whose = _whose(address)
        count, until = self._failed.pop(whose, (0, now))
        if not 0 < until - now <= WINDOW:
            count, until = 0, now + WINDOW
        self._failed[whose] = count + 1, until
        while len(self._failed) > MANY:
            self._failed.popitem(last=False)
        return count + 1 >= MOST_FAILURES

    def __len__(self) -> int:
        return len(self._failed)


class Admission:
    """Lets clients in. What it logs of the others, fail2ban reads: see conf/fail2ban."""

    log = Logger()

    def __init__(self, clients: Clients, clock: IReactorTime) -> None:
        self._clients = clients
        self._clock = clock
        self._attempts = Attempts()

    def client(self, peer: str | None, key: str | None) -> Client:
        """Say which client asks.

        :param peer: the address that asks; None: a local socket.
        :param key: the key that is shown.
        :raises Refused: with ``unauthorized``; with ``too_many_attempts`` no key is looked at.
        """
        address, now = address_of(peer), self._clock.seconds()
        wait = self._attempts.wait(address, now)
        # Who shows no key, guesses none.
        if wait and key is not None and self._clients.any_key:
            raise Refused(
                Code.TOO_MANY_ATTEMPTS,
                f"too many attempts from {address} have failed",
                retry_after=wait,
            )
        client = self._clients.identify(address, key)
        if client is not None:
            return client
        why = "no key" if key is None else "wrong key"
        if not wait:
            self.log.warn("unauthorized from {address}: {why}", address=address, why=why)
            if self._attempts.failed(address, now):
                self.log.warn("unauthorized from {address}: too many attempts", address=address)
        raise Refused(
            Code.UNAUTHORIZED, f"{address} is no client's address, or the key is nobody's"
        )


def _whose(address: Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)
