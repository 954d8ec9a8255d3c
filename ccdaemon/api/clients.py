"""Who asks: from an address and a key to a client of the configuration. Pure."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

from ccdaemon.config import Client

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Whoever asks through a local socket asks from here.
_LOCAL = ipaddress.IPv4Address("127.0.0.1")


class Permission(str, Enum):
    """What a client may do: one word for each group of methods."""

    CALL = "call"
    READ = "read"
    WEBHOOKS = "webhooks"
    HANGUP = "hangup"
    TRANSFER = "transfer"
    HOLD = "hold"
    MUTE = "mute"
    LISTEN = "listen"
    WHISPER = "whisper"
    BARGE = "barge"
    RECORD = "record"
    ATTACH = "attach"
    RESULT = "result"
    PAUSE = "pause"
    FORGET = "forget"
    AUDIT = "audit"


def address_of(host: str | None) -> Address:
    """Read the address of a peer; None (a local socket) is loopback.

    An IPv4 address that a dual-stack socket spells as IPv6 is the IPv4 address.

    :raises ValueError: if it is no IP address.
    """
    if host is None:
        return _LOCAL
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Clients:
    """The clients of the configuration, in its order.

    :ivar any_key: whether somebody has a key; where nobody has, what is shown says nothing.
    """

    def __init__(self, clients: Sequence[Client]) -> None:
        self._clients = tuple(clients)
        self.any_key = any(client.key_sha256 for client in self._clients)

    def __len__(self) -> int:
        return len(self._clients)

    def identify(self, address: Address, presented_key: str | None) -> Client | None:
        """Say which client it is; None if none.

        A key that is presented has to be somebody's, wherever it comes from; but where nobody
        has a key it says nothing.
        """
        if presented_key is None or not self.any_key:
            candidates = [client for client in self._clients if not client.key_sha256]
        else:
            candidates = self._holders(presented_key)
        return next((client for client in candidates if _is_at(client, address)), None)

    def named(self, name: str) -> Client | None:
        """Find a client by its name; None if the configuration has none of it."""
        return next((client for client in self._clients if client.name == name), None)

    def _holders(self, presented_key: str) -> list[Client]:
        # Every key is compared, and each as a whole: the time taken tells nothing about them.
        digest = sha256(presented_key.encode("utf-8", "surrogatepass")).hexdigest()
        return [
            client
            for client in self._clients
            if sum(hmac.compare_digest(known, digest) for known in client.key_sha256)
        ]


def _is_at(client: Client, address: Address) -> bool:
    return not client.networks or any(address in network for network in client.networks)
