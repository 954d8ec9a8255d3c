"""Who is let in: from where a request comes, whose key it shows, and how often that failed.

What a client may do once they are in, is not known here.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import ceil

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ccdaemon.api.clients import Address, Clients, address_of
from ccdaemon.config import Client
from ccdaemon.config.validators import Network
from ccdaemon.errors import Code, Refused

#: Wrong keys that one address may show within ``WINDOW`` seconds, and how often one of them.
MOST_FAILURES = 10
#: Requests of one address that are refused one by one within ``WINDOW`` seconds, with a key or
#: without; those above that are told to wait, and leave no line in the log.
MOST_REFUSED = 120
WINDOW = 60.0
#: Addresses, and wrong keys, that are remembered; above that the one that failed longest ago is
#: forgotten.
MANY = 10_000
#: Headers by which proxies speak of whom they ask for, beside ``X-Forwarded-For``.
FORWARDING = ("Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Client-IP")
#: Whoever has one IPv6 address has all of such a network.
_IPV6_NETWORK = 64


class Proxies:
    """Those whose word is taken for where a request comes from."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def origin(
        self, peer: str | None, forwarded: Sequence[str], others: Sequence[str] = ()
    ) -> str | None:
        """Say which address asks.

        Whoever asks from this machine is trusted, so a proxy here that is not known as one would
        lend that to everybody: it is refused.

        :param peer: who is at the other end of the connection; None: a local socket.
        :param forwarded: the ``X-Forwarded-For`` headers, each as it came.
        :param others: the names of ``FORWARDING`` headers that came.
        :return: None for a local socket.
        :raises Refused: with ``forbidden`` if a proxy is not known, says what is no address, or
            says that somebody asks from its own machine.
        """
        at_end = address_of(peer)
        if not self._trusts(at_end):
            if at_end.is_loopback and (forwarded or others):
                named = "X-Forwarded-For" if forwarded else others[0]
                raise Refused(
                    Code.FORBIDDEN,
                    f"a proxy on this machine asks for somebody else ({named}): name it in"
                    " trusted_proxies in [http]",
                )
            return peer
        if not forwarded:
            if others:
                raise Refused(
                    Code.FORBIDDEN,
                    f"a proxy sends {others[0]}, and not X-Forwarded-For, which alone is read",
                )
            return peer
        origin = self._behind(forwarded)
        if origin.is_loopback:
            # Of whose machine, the proxy does not say.
            raise Refused(Code.FORBIDDEN, "X-Forwarded-For says loopback, which is no client")
        return str(origin)

    def _behind(self, forwarded: Sequence[str]) -> Address:
        # From our end: what stands before the first stranger anybody may have written.
        hops = [hop.strip() for header in forwarded for hop in header.split(",")]
        for hop in reversed(hops):
            try:
                address = address_of(hop)
            except ValueError as error:
                raise Refused(Code.FORBIDDEN, "X-Forwarded-For has no address in it") from error
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


class Failures:
    """How often something failed within the last while, of a bounded number of things.

    :param most: how often each may.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # How often, and until when it counts.
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, what: str, now: float) -> int:
        """Say in how many seconds it may fail again; 0: now."""
        count, until = self._failed.get(what, (0, now))
        left = until - now
        return ceil(left) if count >= self._most and 0 < left <= WINDOW else 0

    def failed(self, what: str, now: float) -> int:
        """Note that it failed; say for which time."""
        count, until = self._failed.pop(what, (0, now))
        if not 0 < until - now <= WINDOW:
            count, until = 0, now + WINDOW
        self._failed[what] = count + 1, until
        while len(self._failed) > MANY:
            self._failed.popitem(last=False)
        return count + 1

    def __len__(self) -> int:
        return len(self._failed)


class Admission:
    """Lets clients in. What it warns of the others, fail2ban reads: see conf/fail2ban.

    Whoever is a client is let in, whatever others did at the same address. Who shows no key has
    guessed none; who shows the same wrong key again has guessed once.
    """

    log = Logger()

    def __init__(self, clients: Clients, clock: IReactorTime) -> None:
        self._clients = clients
        self._clock = clock
        self._by_address = Failures(MOST_FAILURES)
        self._by_key = Failures(MOST_FAILURES)
        self._refused = Failures(MOST_REFUSED)

    def client(self, peer: str | None, key: str | None) -> Client:
        """Say which client asks.

        :param peer: the address that asks; None: a local socket.
        :param key: the key that is shown.
        :raises Refused: with ``unauthorized``; with ``too_many_attempts`` where that happened too
            often.
        """
        address = address_of(peer)
        client = self._clients.identify(address, key)
        if client is not None:
            return client
        wait = self._wait(address, key if self._clients.any_key else None)
        if wait:
            raise Refused(
                Code.TOO_MANY_ATTEMPTS,
                f"too many attempts from {address} have failed",
                retry_after=wait,
            )
        raise Refused(
            Code.UNAUTHORIZED, f"{address} is no client's address, or the key is nobody's"
        )

    def _wait(self, address: Address, key: str | None) -> int:
        """Note a refusal; say for how many seconds no more of its kind are answered one by one."""
        whose, now = _whose(address), self._clock.seconds()
        wait = self._refused.wait(whose, now)
        if wait:
            return wait
        if self._refused.failed(whose, now) == MOST_REFUSED:
            self.log.info("unauthorized from {address}: too many requests", address=address)
        if key is not None:
            return self._guessed(address, whose, key, now)
        self.log.info("unauthorized from {address}: no key", address=address)
        return 0

    def _guessed(self, address: Address, whose: str, key: str, now: float) -> int:
        # Not the key itself: what is remembered may be a client's of somebody else's.
        shown = f"{whose} {sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"
        wait = max(self._by_address.wait(whose, now), self._by_key.wait(shown, now))
        if not wait and self._by_key.failed(shown, now) == 1:
            self.log.warn("unauthorized from {address}: wrong key", address=address)
            if self._by_address.failed(whose, now) == MOST_FAILURES:
                self.log.warn("unauthorized from {address}: too many attempts", address=address)
        return wait


def _whose(address: Address) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_NETWORK), strict=False))
    return str(address)
