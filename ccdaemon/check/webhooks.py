"""A webhook's receiver: is somebody there, and is the certificate good? Nothing is sent."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from ccdaemon.check.findings import Finding, ok, warn
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.sender import endpoint, words
from ccdaemon.consumers.webhooks.signing import key_of

#: Bytes that Standard Webhooks wants a key to have at least.
SHORTEST_KEY = 24


class _Looking(Protocol):
    """Connects, and with TLS shakes hands; ``seen`` fires then, or fails."""

    def __init__(self) -> None:
        self.seen: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Somebody is there; that is all there is to see without TLS."""
        self._be_seen()

    def _be_seen(self) -> None:
        if not self.seen.called:
            self.seen.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say why it was no receiver."""
        if not self.seen.called:
            why = ConnectionError("the connection was closed")
            self.seen.errback(Failure(why) if reason.check(ConnectionDone) else reason)


@implementer(IHandshakeListener)
class _LookingByTls(_Looking):
    def connectionMade(self) -> None:
        """Wait for the handshake: only then the certificate has been checked."""

    def handshakeCompleted(self) -> None:
        """The certificate is good."""
        self._be_seen()


async def try_webhook(webhook: Webhook, reactor: Any) -> Finding:
    """Connect to a receiver, and close."""
    part = f"webhooks {webhook.name}"
    looking = _LookingByTls if webhook.url.startswith("https:") else _Looking
    try:
        connecting = endpoint(webhook, reactor).connect(Factory.forProtocol(looking))
        there = cast(_Looking, await connecting.addTimeout(webhook.timeout, reactor))
        await there.seen.addTimeout(webhook.timeout, reactor)
    except Exception as error:
        return warn(part, f"{webhook.shown} cannot be told of anything: {words(error)}")
    if there.transport is not None:
        there.transport.loseConnection()
    if any(len(key_of(secret)) < SHORTEST_KEY for secret in webhook.secret):
        return warn(part, f"a secret has less than {SHORTEST_KEY} bytes behind whsec_")
    return ok(part, f"{webhook.shown} is there; nothing was sent")
