"""The CRM, asked by HTTP who takes a call.

However it answers, or does not, nobody waits for it longer than its time limit: connecting,
headers and body together. Knows what an answer says no better than
``crm_response`` does. A CRM that does not answer anyway is spared for a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from ccdaemon import __version__
from ccdaemon.config import RoutingSettings
from ccdaemon.http_client import CappedEndpoint, Encoded, PlainAgent, body_of, trust_root
from ccdaemon.routing.counters import Quiet, RoutingCounters
from ccdaemon.routing.crm_response import Advice, NotAnObject, Reads
from ccdaemon.routing.route import Caller


class Breaker:
    """Opens after so many failures in a row; then one attempt each pause decides.

    :param failures: how many in a row open it.
    :param pause: seconds until the next attempt while it is open.
    """

    def __init__(self, failures: int = 3, pause: float = 10.0) -> None:
        self._failures = failures
        self._pause = pause
        self._failed = 0
        self._next = 0.0

    @property
    def is_open(self) -> bool:
        """Whether most are spared the attempt just now."""
        return self._failed >= self._failures

    def may_try(self, now: float) -> bool:
        """Say whether to try; while it is open, only the first to ask in each pause may."""
        if not self.is_open:
            return True
        if now < self._next:
            return False
        self._next = now + self._pause
        return True

    def succeeded(self) -> None:
        """There was an answer in time."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """There was none."""
        self._failed += 1
        if self.is_open:
            self._next = now + self._pause


#: How large an answer may be, in bytes.
LARGEST = 64 * 1024
#: And with its headers; more than what can come at once above that, so that it is told from them.
LARGEST_IN_ALL = 4 * LARGEST
#: How many questions may be open at once; a caller above that is not kept waiting for the CRM.
MOST_AT_ONCE = 50
#: Connections that are kept for the next question, and for how many seconds.
KEPT_CONNECTIONS = 4
KEPT_FOR = 30

_HEADERS = {"Accept": ["application/json"], "User-Agent": [f"ccdaemon/{__version__}"]}


class Unusable(Exception):
    """There is no answer, or none that counts.

    :param kind: by what it is counted.
    :param slow: a caller had to wait for it, or nearly: reason to ask less often.
    """

    def __init__(self, kind: str, words: str, *, slow: bool) -> None:
        super().__init__(words)
        self.kind = kind
        self.slow = slow


class CrmLink(Service):
    """The connections to the CRM.

    :raises OSError, ValueError: if the certificates of ``tls_ca`` cannot be read.
    """

    def __init__(self, reactor: Any, settings: RoutingSettings) -> None:
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = KEPT_CONNECTIONS
        self._pool.cachedConnectionTimeout = KEPT_FOR
        self.agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor, settings), self._pool)

    def stopService(self) -> Any:
        """Close them."""
        super().stopService()  # type: ignore[no-untyped-call]
        return self._pool.closeCachedConnections()


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where the CRM is, by TCP or TLS with the certificate checked."""

    def __init__(self, reactor: Any, settings: RoutingSettings) -> None:
        self._reactor = reactor
        self._timeout = settings.timeout
        path = settings.tls_ca
        self._trust = None if path is None else trust_root(path, "routing.tls_ca")

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Give the endpoint: there is just one URI."""
        tcp = HostnameEndpoint(self._reactor, uri.host, uri.port, timeout=self._timeout)
        end: IStreamClientEndpoint = tcp
        if uri.scheme == b"https":
            options = optionsForClientTLS(uri.host.decode("ascii"), trustRoot=self._trust)
            end = wrapClientTLS(options, tcp)
        return CappedEndpoint(end, self._reactor, LARGEST_IN_ALL)


class Crm:
    """Asks.

    :param agent: how the CRM is reached.
    :param url: where; it may have a query of its own.
    :param timeout: seconds for a whole question.
    :ivar last_complaint: what was wrong last, in words; empty: nothing yet.
    """

    log = Logger()

    def __init__(
        self,
        agent: IAgent,
        url: str,
        timeout: float,
        reads: Reads,
        clock: IReactorTime,
        counters: RoutingCounters,
    ) -> None:
        self._agent = PlainAgent(agent)
        self._url = url
        self._timeout = timeout
        self._reads = reads
        self._clock = clock
        self._counters = counters
        self._breaker = Breaker()
        self._quiet = Quiet()
        self._open = 0
        self.last_complaint = ""

    async def ask(self, caller: Caller) -> Advice | None:
        """What the CRM says of a call; None if it says nothing that counts. Never raises."""
        began = self._clock.seconds()
        try:
            advice = await self._asked(caller, began)
        except Unusable as error:
            self._count(error.kind)
            self._complain(error.kind, str(error))
            return None
        self._count("answered")
        for key, shown in advice.faults:
            self._counters.faults[key] += 1
            self._complain(f"bad {key}", f"call {caller.call_id}: {key} cannot be {shown}")
        return advice

    def _count(self, kind: str) -> None:
        self._counters.crm[kind] += 1

    def _complain(self, kind: str, words: str) -> None:
        self.last_complaint = words
        if self._quiet.may_say(kind, self._clock.seconds()):
            self.log.warn("routing.url: {kind}: {words}", kind=kind, words=words)

    async def _asked(self, caller: Caller, began: float) -> Advice:
        if self._open >= MOST_AT_ONCE:
            raise Unusable("crowded", f"{self._open} questions are open already", slow=False)
        if not self._breaker.may_try(began):
            raise Unusable("not_asked", "it failed the last times, and rests", slow=False)
        self._open += 1
        try:
            advice = self._reads(await self._fetch(caller))
        except Exception as error:
            unusable = _unusable(error, self._timeout)
            if unusable.slow:
                self._breaker.failed(self._clock.seconds())
            else:
                self._breaker.succeeded()
            raise unusable from error
        finally:
            self._open -= 1
            self._counters.observe(self._clock.seconds() - began)
        self._breaker.succeeded()
        return advice

    def _fetch(self, caller: Caller) -> Deferred[bytes]:
        fetching = Deferred.fromCoroutine(self._fetch_all(caller))
        # Whatever it fails with when it is broken off: its time was over.
        return fetching.addTimeout(
            self._timeout, self._clock, lambda _, seconds: Failure(TookTooLong(seconds))
        )

    async def _fetch_all(self, caller: Caller) -> bytes:
        # A client of its own for each question: cookies of one call are nothing to the next.
        response: Any = await HTTPClient(self._agent).get(
            self._url,
            params=[
                ("phone", caller.phone),
                ("did", caller.did),
                ("call_id", str(caller.call_id)),
            ],
            headers=Headers(_HEADERS),
            allow_redirects=False,
            unbuffered=True,
            # Only timers are asked of it, and none without a timeout of treq's own.
            reactor=cast(Any, self._clock),
        )
        if response.code != 200:
            await body_of(response, 0)
            words = f"the answer was {response.code}, not 200"
            raise Unusable("status", words, slow=response.code >= 500)
        body = await body_of(response, LARGEST)
        if body is None:
            raise Unusable("too_large", f"the answer is larger than {LARGEST} bytes", slow=False)
        return body


def _unusable(error: Exception, timeout: float) -> Unusable:
    if isinstance(error, Unusable):
        return error
    if isinstance(error, Encoded):
        return Unusable("encoded", str(error), slow=False)
    if isinstance(error, NotAnObject):
        return Unusable(str(error), "the answer is no JSON object", slow=False)
    if isinstance(error, TookTooLong):
        return Unusable("timeout", f"no answer within {timeout:g} s", slow=True)
    reasons = list(_reasons(error))
    words = str(reasons[-1]) or type(reasons[-1]).__name__
    if any(isinstance(reason, SSL.Error) or _is_about_names(reason) for reason in reasons):
        return Unusable("tls", f"TLS failed: {words}", slow=True)
    if any(isinstance(reason, ConnectError) for reason in reasons):
        return Unusable("unreachable", words, slow=True)
    return Unusable("broken", words, slow=True)


def _is_about_names(error: BaseException) -> bool:
    # service_identity's VerificationError, which is no SSL.Error.
    return type(error).__module__.startswith("service_identity")


def _reasons(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it wraps."""
    yield error
    for reason in getattr(error, "reasons", ()):
        if isinstance(reason, Failure) and isinstance(reason.value, BaseException):
            yield from _reasons(reason.value)
