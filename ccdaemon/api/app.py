"""The HTTP API as a tree of Klein routes around the table of methods.

Every request goes the same way: is it from one of our own pages or programs, which method, who
asks, may they, with which parameters; and whatever is raised on the way becomes an envelope in
one place. Listens nowhere by itself.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence

import msgspec
from klein import Klein
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from werkzeug.exceptions import HTTPException

from ccdaemon import __version__
from ccdaemon.api.admission import FORWARDING, Admission, Proxies
from ccdaemon.api.browsers import mark_of_browser
from ccdaemon.api.clients import Clients, Permission, address_of
from ccdaemon.api.connections import Connections
from ccdaemon.api.errors import as_refused
from ccdaemon.api.long_poll import Waiters
from ccdaemon.api.methods import Family, by_name
from ccdaemon.api.methods.health import ready
from ccdaemon.api.methods.method import HTTP_METHODS, ApiRequest
from ccdaemon.api.negotiation import method_name
from ccdaemon.api.openapi import openapi
from ccdaemon.api.origin_check import Origins
from ccdaemon.api.param_types import Patterns
from ccdaemon.api.parameters import read_values, single
from ccdaemon.api.params import AFTER
from ccdaemon.api.playback import Playback
from ccdaemon.api.rendering import CONTENT_TYPE, Answer, Format
from ccdaemon.api.request_context import Exchange
from ccdaemon.api.request_params import Pairs, body_pairs, query_pairs
from ccdaemon.api.signed_urls import Links
from ccdaemon.api.site import QuietSite
from ccdaemon.api.sse import FILTERS, PARAMETERS, EventStreams, Wanted, wanted_of
from ccdaemon.api.tickets import Tickets
from ccdaemon.clocks import WallClock
from ccdaemon.config.validators import Network
from ccdaemon.errors import Code, Refused
from ccdaemon.health.health import Watch
from ccdaemon.health.metrics import CONTENT_TYPE as METRICS_TYPE
from ccdaemon.health.metrics import Metrics
from ccdaemon.recordings.recordings import NAME

#: What a route gives Klein to send: a body, or what sends a file.
Sendable = bytes | IResource

_RECORD = re.compile(
    rf"(?:(?P<call_id>[0-9]{{1,10}})|(?P<uniqueid>{NAME}))\.(?P<format>mp3|wav)",
    re.ASCII,
)
_MP3 = re.compile(r"(?P<uniqueid>[A-Za-z0-9._-]+)\.(?P<format>mp3)", re.ASCII)
_log = Logger()


class Api(Service):
    """The API.

    As a service it does one thing: when it stops, nobody who waits or follows is held any longer.

    :param families: what it can be asked.
    :param waiters: those whose requests wait for news.
    :param public_url: what links in answers begin with; None: the address that was asked.
    :param trusted_proxies: whose word is taken for where a request comes from.
    :param hosts: names by which the daemon is asked for, beside ``localhost`` and addresses.
    :param request_timeout: seconds in which a request has to come.
    """

    app = Klein()

    def __init__(
        self,
        *,
        families: Sequence[Family],
        streams: EventStreams,
        waiters: Waiters,
        connections: Connections,
        playback: Playback,
        links: Links,
        tickets: Tickets,
        watch: Watch,
        metrics: Metrics,
        clients: Clients,
        patterns: Patterns,
        clock: IReactorTime,
        wall: WallClock,
        hosts: Sequence[str] = (),
        public_url: str | None = None,
        trusted_proxies: Sequence[Network] = (),
        request_timeout: int = 60,
    ) -> None:
        self.methods = tuple(method for family in families for method in family.methods())
        self._by_name = by_name(self.methods)
        self._streams = streams
        self._waiters = waiters
        self._connections = connections
        self._playback = playback
        self._links = links
        self._tickets = tickets
        self._clients = clients
        self._watch = watch
        self._metrics = metrics
        self._admission = Admission(clients, clock)
        self._proxies = Proxies(trusted_proxies)
        self._patterns = patterns
        self._clock = clock
        self._wall = wall
        self._origins = Origins(hosts, public_url)
        self._public_url = public_url
        self._request_timeout = request_timeout

    def resource(self) -> IResource:
        """Give the tree, to be put at the root of a site."""
        return _Gate(
            self.app.resource(),
            self._clock,
            self._wall,
            self._origins,
            self._proxies,
            self._metrics,
            self._links,
        )

    def site(self) -> Site:
        """Give the site, to be put behind a listening endpoint."""
        return QuietSite(self.resource(), self._clock, self._connections, self._request_timeout)

    def stopService(self) -> None:
        """Answer everybody who waits, with what there is, and end the streams."""
        self._waiters.close()
        self._streams.close()
        Service.stopService(self)

    @app.route("/healthz")
    def healthz(self, request: IRequest) -> Deferred[Sendable]:
        """Say that the process is alive, to anybody."""
        return _answered(request, _alive(Exchange.of(request)))

    @app.route("/readyz")
    def readyz(self, request: IRequest) -> Deferred[Sendable]:
        """Say whether calls can be made and taken, to anybody."""
        return _answered(request, self._ready(Exchange.of(request)))

    @app.route("/metrics")
    def metrics(self, request: IRequest) -> Deferred[Sendable]:
        """Tell all numbers, for Prometheus: to this machine, and to whoever may read."""
        return _answered(request, self._show_numbers(Exchange.of(request)))

    @app.route("/api/openapi.json")
    def openapi(self, request: IRequest) -> Deferred[Sendable]:
        """Describe the API, as an OpenAPI document without the envelope."""
        return _answered(request, self._describe(Exchange.of(request)))

    @app.route("/api/events")
    def events(self, request: IRequest) -> Deferred[Sendable]:
        """Stream what is told, as it is told."""
        return _answered(request, self._stream(Exchange.of(request)))

    @app.route("/api/<name>")
    def method(self, request: IRequest, name: str) -> Deferred[Sendable]:
        """Answer a method of the API."""
        return _answered(request, self._run(Exchange.of(request), name))

    @app.route("/api/record/<name>")
    def record(self, request: IRequest, name: str) -> Deferred[Sendable]:
        """Send a recording, of a call or of a channel: ``<call_id>.wav``, ``<uniqueid>.mp3``."""
        return _answered(request, self._send_record(Exchange.of(request), _RECORD, name))

    @app.route("/mp3/<name>")
    def mp3(self, request: IRequest, name: str) -> Deferred[Sendable]:
        """Send the recording of a channel, ``<uniqueid>.mp3``."""
        return _answered(request, self._send_record(Exchange.of(request), _MP3, name))

    @app.handle_errors(HTTPException)
    def unknown(self, request: IRequest, failure: Failure) -> bytes:
        """Answer for a path that is nobody's."""
        return Exchange.of(request).refuse(_unknown())

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        """Answer for a file that could not be sent."""
        error = failure.value
        assert isinstance(error, Exception)
        return Exchange.of(request).refuse(as_refused(error, _log))

    async def _ready(self, exchange: Exchange) -> Sendable:
        return exchange.answer(ready(self._watch.look()))

    async def _show_numbers(self, exchange: Exchange) -> Sendable:
        exchange.label = "metrics"
        if not address_of(exchange.peer).is_loopback:
            self._admit(exchange, Permission.READ)
        return exchange.send(200, METRICS_TYPE, self._metrics.render())

    async def _describe(self, exchange: Exchange) -> Sendable:
        self._admit(exchange, Permission.READ)
        described = openapi(self.methods, self._patterns, __version__, self._base_url(exchange))
        return exchange.send(200, CONTENT_TYPE[Format.JSON], msgspec.json.encode(described))

    def _base_url(self, exchange: Exchange) -> str:
        return self._public_url or exchange.own_url

    async def _stream(self, exchange: Exchange) -> Sendable:
        exchange.label = "events"
        ticket = single(query_pairs(exchange.query), "ticket")
        if ticket is None:
            pairs = self._admit(exchange, Permission.READ)
            values = read_values(pairs, (), PARAMETERS, self._patterns)
            wanted = wanted_of(values)
        else:
            wanted = self._admit_ticket(exchange, ticket)
            values = read_values(query_pairs(exchange.query), (), (AFTER,), self._patterns)
        return await self._streams.open(
            exchange, wanted, values.get(AFTER), self._base_url(exchange)
        )

    def _admit_ticket(self, exchange: Exchange, text: str) -> Wanted:
        """Let somebody in for what a ticket opens.

        :raises Refused: with ``forbidden``; with ``bad_parameter`` for what the ticket says.
        """
        ticket = self._tickets.read(text, self._wall.seconds())
        client = self._clients.named(ticket.client)
        if client is None or Permission.READ.value not in client.permissions:
            raise Refused(Code.FORBIDDEN, "who made this ticket may read no more")
        exchange.client = client.name
        asked = query_pairs(exchange.query)
        for name in ("api_key", *(parameter.name for parameter in FILTERS)):
            if single(asked, name):
                raise Refused(
                    Code.BAD_PARAMETER, f"{name} does not go with a ticket: it says all", field=name
                )
        return Wanted(frozenset(ticket.kinds), ticket.filter)

    async def _run(self, exchange: Exchange, segment: str) -> bytes:
        name = method_name(segment)
        method = self._by_name.get(name) if name else None
        if method is None:
            raise _unknown()
        exchange.label = method.name
        exchange.check_method(method.http_methods)
        if method.acts:
            self._refuse_browsers(exchange)
        pairs = self._admit(exchange, method.permission, acts=method.acts)
        values = read_values(pairs, method.required, method.optional, self._patterns)
        request = ApiRequest(
            client=exchange.client or "",
            address=exchange.address,
            base_url=self._base_url(exchange),
            gone=exchange.gone,
        )
        return exchange.answer(await method.run(values, request))

    def _refuse_browsers(self, exchange: Exchange) -> None:
        """Refuse what any page could have had a browser send from a trusted address.

        :raises Refused: with ``forbidden``.
        """
        if _bearer(exchange.header("Authorization")) or exchange.is_json_post:
            # No page of another site sends these without asking us first, and we never answer yes.
            return
        mark = mark_of_browser(exchange.all_headers())
        hosts = exchange.headers("Host")
        if mark is None and any(
            self._origins.is_foreign(page, hosts) for page in exchange.headers("Referer")
        ):
            mark = "Referer"
        if mark is not None:
            raise Refused(
                Code.FORBIDDEN,
                f"a browser may not do this by its address alone ({mark}): send a key as"
                " Authorization: Bearer KEY, or POST application/json",
            )

    async def _send_record(
        self, exchange: Exchange, address: re.Pattern[str], name: str
    ) -> Sendable:
        exchange.label = "record"
        found = address.fullmatch(name)
        if found is None:
            raise _unknown()
        is_opened = self._links.opens(exchange.path, exchange.query, self._wall.seconds())
        if is_opened is False:
            raise Refused(Code.FORBIDDEN, "this link has expired, or was not made here")
        if is_opened:
            exchange.client = "link"
        else:
            self._admit(exchange, Permission.READ)
        named = found.groupdict()
        return await self._playback.file(
            call_id=int(named["call_id"]) if named.get("call_id") else None,
            uniqueid=named.get("uniqueid"),
            format=named["format"],
            listener=None if exchange.http_method == "HEAD" else exchange.client,
            link=self._links.link_of(exchange.query) if is_opened else None,
        )

    def _admit(self, exchange: Exchange, permission: Permission, *, acts: bool = False) -> Pairs:
        """Let a client in that may do this, and give what the request brings.

        Only then its body is read: a stranger's costs nothing.
        """
        asked = query_pairs(exchange.query)
        key = _bearer(exchange.header("Authorization")) or single(asked, "api_key")
        try:
            client = self._admission.client(exchange.peer, key)
        except Refused as refused:
            exchange.is_untold = refused.code is Code.TOO_MANY_ATTEMPTS
            raise
        exchange.client = client.name
        if permission.value not in client.permissions:
            raise Refused(
                Code.FORBIDDEN, f"client {client.name} lacks the permission {permission.value}"
            )
        if acts and not client.get and not exchange.is_deliberate_post:
            raise Refused(
                Code.FORBIDDEN,
                f"client {client.name} may do this by POST alone, with Content-Type:"
                " application/json or X-Requested-With (get = false)",
            )
        sent = body_pairs(exchange.header("Content-Type"), exchange.form())
        if single(sent, "api_key"):
            raise Refused(
                Code.BAD_PARAMETER,
                "a key in the body is not read: send it as Authorization: Bearer KEY",
                field="api_key",
            )
        return [*asked, *sent]


class _Gate(Resource):
    """What every request passes before the routes, so that they meet only what they can read."""

    isLeaf = True

    def __init__(
        self,
        routes: IResource,
        clock: IReactorTime,
        wall: WallClock,
        origins: Origins,
        proxies: Proxies,
        metrics: Metrics,
        links: Links,
    ) -> None:
        Resource.__init__(self)
        self._metrics = metrics
        self._routes = routes
        self._clock = clock
        self._wall = wall
        self._origins = origins
        self._proxies = proxies
        self._links = links

    def render(self, request: Request) -> bytes | int:
        """Answer the request, or have the routes answer it."""
        exchange = Exchange(request, self._clock, _log, self._metrics.answered)
        request.setComponent(Exchange, exchange)
        try:
            self._check(exchange)
            rendered: bytes | int = self._routes.render(request)
            return rendered
        except Exception as error:
            return exchange.refuse(as_refused(error, _log))

    def _check(self, exchange: Exchange) -> None:
        request = exchange.request
        others = [name for name in FORWARDING if exchange.headers(name)]
        exchange.peer = self._proxies.origin(
            exchange.peer, exchange.headers("X-Forwarded-For"), others
        )
        from_where = exchange.headers("Origin"), exchange.headers("Sec-Fetch-Site")
        if self._links.opens(exchange.path, exchange.query, self._wall.seconds()):
            # It asks for what it may have, whatever page it stands on.
            from_where = (), ()
        self._origins.check(exchange.headers("Host"), *from_where)
        if not exchange.headers("Host"):
            # HTTP/1.0 may leave it out; the routes need one.
            request.requestHeaders.setRawHeaders(b"Host", [b"localhost"])
        try:
            b"/".join(request.postpath or ()).decode("utf-8")
        except UnicodeDecodeError:
            raise _unknown() from None
        exchange.check_method(HTTP_METHODS)
        exchange.check_body()


def _unknown() -> Refused:
    return Refused(
        Code.UNKNOWN_METHOD,
        "there is nothing at this address; /api/openapi.json says what there is",
    )


def _bearer(authorization: str | None) -> str | None:
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


async def _alive(exchange: Exchange) -> bytes:
    return exchange.answer(Answer({"alive": True}))


def _answered(request: IRequest, work: Awaitable[Sendable]) -> Deferred[Sendable]:
    """Have the work's result sent, or its refusal.

    Klein cancels what it waits for when the client goes. The work is not cancelled with it: a
    call that is being made is made, and its outcome told to whoever asks.
    """
    exchange = Exchange.of(request)

    async def carried_out() -> Sendable:
        try:
            return await work
        except Exception as error:
            return exchange.refuse(as_refused(error, _log))

    sent: Deferred[Sendable] = Deferred(lambda _: None)
    done = Deferred.fromCoroutine(carried_out())
    done.addCallback(lambda body: None if exchange.gone.called else sent.callback(body))
    return sent
