"""One POST: over connections that are kept, with limits to everything that comes back.

Redirects are not followed, cookies not kept, bodies not read: what counts is the status. So this
is Twisted's ``Agent`` itself, without what ``treq`` puts around it. Knows no queue and no retry.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IConsumer,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from ccdaemon import __version__
from ccdaemon.config.webhooks import Webhook
from ccdaemon.consumers.webhooks.retry_policy import Attempt
from ccdaemon.http_client import CappedEndpoint, trust_root

#: Bytes that a receiver may send in answer to one POST, headers and body together; beyond that
#: the connection is cut, which changes nothing about a status that has come.
LARGEST_ANSWER = 64 * 1024
#: Seconds that the body of an answer may take after its status; then the connection is cut.
BODY_WITHIN = 2.0
#: Seconds that a connection is kept for the next POST. Servers close idle ones after 5 and more.
KEPT = 4
_LONGEST_WORDS = 200


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, webhook: Webhook, reactor: Any) -> None:
        self._endpoint = CappedEndpoint(endpoint(webhook, reactor), reactor, LARGEST_ANSWER)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Give the webhook's: there is no other."""
        return self._endpoint


@implementer(IBodyProducer)
class _Body:
    """A body that is there as a whole."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all is written."""

    def resumeProducing(self) -> None:
        """Do nothing: all is written."""

    def stopProducing(self) -> None:
        """Do nothing: all is written."""


class _Ignored(Protocol):
    """A response's body, thrown away; ``over`` fires at its end, whatever the end is."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred(lambda _: self._cut())

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Throw it away."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Say that it is over."""
        if not self.over.called:
            self.over.callback(None)


class Sender:
    """POSTs to one URL.

    :param agent: one with limits of its own, or one for tests: see :func:`sender`.
    :param timeout: seconds for the whole exchange.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        url: str,
        timeout: float,
        pool: HTTPConnectionPool | None = None,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._url = url.encode("ascii")
        self._timeout = timeout
        self._pool = pool

    def close(self) -> Deferred[None]:
        """Close the connections that are kept."""
        if self._pool is None:
            return succeed(None)
        closing: Deferred[None] = self._pool.closeCachedConnections()
        return closing

    async def post(self, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Send once. Whatever goes wrong becomes words in the result.

        :raises CancelledError: if it is cancelled; the request is ended then.
        """
        until = self._clock.seconds() + self._timeout
        raw = Headers({"User-Agent": [f"ccdaemon/{__version__}"]})
        for name, value in headers.items():
            raw.setRawHeaders(name, [value])
        asked = self._agent.request(b"POST", self._url, raw, _Body(body))
        limit = self._clock.callLater(self._timeout, asked.cancel)
        try:
            response = await asked
        except Exception as error:
            root = _root(error)
            if not limit.active():
                return Attempt(None, f"no answer within {self._timeout:g} s")
            if isinstance(root, CancelledError):
                raise root from error
            return Attempt(None, words(root))
        finally:
            if limit.active():
                limit.cancel()
        await self._ignore(response, min(BODY_WITHIN, max(until - self._clock.seconds(), 0.1)))
        retry_after = response.headers.getRawHeaders("Retry-After", [None])[-1]
        return Attempt(response.code, _said(response), retry_after)

    async def _ignore(self, response: IResponse, within: float) -> None:
        ignored = _Ignored()
        response.deliverBody(ignored)
        # Beyond its time it is cut off: the status has come, and is what counts.
        with suppress(TimeoutError):
            await ignored.over.addTimeout(within, self._clock)


def words(error: BaseException) -> str:
    """Say what went wrong with a connection, for an administrator."""
    if isinstance(error, ConnectTimeout):
        return "nobody answers at that address"
    if isinstance(error, DNSLookupError):
        return "the host's name cannot be looked up"
    if isinstance(error, TLSError):
        reasons = [str(part[-1]) for part in error.args[0] if part] if error.args else []
        return f"TLS: {', '.join(reasons) or 'the connection was broken off'}"
    # service_identity's VerificationError, which is no error of TLS.
    if type(error).__module__.startswith("service_identity"):
        return "TLS: the certificate is another host's"
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_LONGEST_WORDS]


def _root(error: BaseException) -> BaseException:
    """What an error of the HTTP client was about: what it says itself is that there was one."""
    reasons = getattr(error, "reasons", None)
    return _root(reasons[0].value) if reasons else error


def _said(response: IResponse) -> str | None:
    """What is wrong with an answer, None if nothing is."""
    code = response.code
    if 200 <= code < 300:
        return None
    if 300 <= code < 400:
        return f"answered {code}; redirects are not followed"
    return f"answered {code}"


def sender(webhook: Webhook, reactor: Any) -> Sender:
    """Make a webhook's sender, with connections of its own.

    :raises OSError, ValueError: as :func:`endpoint` does.
    """
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = webhook.parallel
    pool.cachedConnectionTimeout = KEPT
    agent = Agent.usingEndpointFactory(reactor, _Endpoints(webhook, reactor), pool)
    return Sender(agent, reactor, webhook.url, webhook.timeout, pool)


def endpoint(webhook: Webhook, reactor: Any) -> IStreamClientEndpoint:
    """Where a webhook leads, by TCP or TLS with the certificate checked.

    :raises OSError: if ``tls_ca`` cannot be read.
    :raises ValueError: if it holds no certificate.
    """
    uri = URI.fromBytes(webhook.url.encode("ascii"))
    tcp = HostnameEndpoint(reactor, uri.host, uri.port, timeout=webhook.timeout)
    if uri.scheme != b"https":
        return tcp
    trust = None if webhook.tls_ca is None else trust_root(webhook.tls_ca, "webhooks.tls_ca")
    options = optionsForClientTLS(uri.host.decode("ascii"), trustRoot=trust)
    tls: IStreamClientEndpoint = wrapClientTLS(options, tcp)
    return tls
