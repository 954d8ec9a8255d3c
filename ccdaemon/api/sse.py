"""The live stream: server-sent events of everything that is told, as it is told.

Each event's id is the place after it, so that whoever was cut off goes on with the very next one.
Nothing is kept for a reader but what the connection takes: one who reads too slowly is dropped,
and reads on from their place when they come back.
https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from ccdaemon.api import params as p
from ccdaemon.api.parameters import Values
from ccdaemon.api.request_context import Exchange
from ccdaemon.api.shares import Shares
from ccdaemon.errors import Code, Refused
from ccdaemon.event_schema import announcement
from ccdaemon.store.history import History
from ccdaemon.store.records import EVERYTHING, EventKind, EventRow, Filter

CONTENT_TYPE = "text/event-stream"
#: What restricts a stream, and all that it may be asked with.
FILTERS = (p.TYPES, p.ORDER_ID, p.CALL_ID, p.SIP, p.PHONE, p.DIRECTION)
PARAMETERS = (p.AFTER, *FILTERS)
#: Events that are written at once; the connection is asked for room after each such batch.
BATCH = 50
#: Seconds after which the history is asked again that could not be read.
AGAIN = 1.0
#: Heartbeats that a reader may leave in the connection before they are dropped.
PATIENCE = 2
#: Ms after which a browser that was cut off comes back.
_RETRY = 2000

_log = Logger()
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of everything a stream is to tell."""

    kinds: frozenset[EventKind]
    filter: Filter


def wanted_of(values: Values) -> Wanted:
    """Gather what restricts a stream."""
    return Wanted(values.get(p.TYPES) or EVERYTHING, p.filter_of(values))


class EventStreams:
    """All streams that are open.

    :param heartbeat: seconds after which a silent stream says that it is there.
    :param shares: how many there may be at once, and how many of them one client's.
    :ivar opened: how many there have been.
    :ivar dropped: how many of them read too slowly.
    """

    def __init__(
        self,
        history: History,
        clock: IReactorTime,
        shares: Shares,
        heartbeat: float = 15.0,
    ) -> None:
        self.history = history
        self.clock = clock
        self.heartbeat = heartbeat
        self._shares = shares
        self._running: set[_Stream] = set()
        self._closed = False
        self.opened = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._shares)

    async def open(
        self, exchange: Exchange, wanted: Wanted, after: str | None, base_url: str
    ) -> bytes | IResource:
        """Begin a stream, or refuse it while it can still be refused with an envelope.

        :param after: the place from which on, where the reader does not say one; None: from now.

        :raises Refused: with ``bad_parameter`` for a place that is none, ``too_many_streams``,
            or ``history_unavailable`` where the place is too far back to be read just now.
        """
        client = exchange.client or ""
        if self._closed or not self._shares.may_take(client):
            is_full = self._closed or len(self) >= self._shares.places
            whose = (
                f"{len(self)} streams" if is_full else f"{self._shares.most} streams of {client}"
            )
            raise Refused(
                Code.TOO_MANY_STREAMS, f"{whose} are open, and no more may be", retry_after=5
            )
        leave = self._shares.take(client)
        exchange.gone.addCallback(lambda _: leave())
        try:
            stream = _Stream(self, exchange, wanted, base_url)
            await stream.prepare(exchange.header("Last-Event-ID") or after)
        except BaseException:
            leave()
            raise
        if exchange.http_method == "HEAD":
            exchange.dress_stream(CONTENT_TYPE)
            return b""
        return _Begun(stream)

    def began(self, stream: _Stream) -> None:
        """Keep a stream that has begun."""
        self.opened += 1
        self._running.add(stream)

    def ended(self, stream: _Stream) -> None:
        """Forget a stream that has ended."""
        self._running.discard(stream)

    def close(self) -> None:
        """End them all, each after a whole event, and begin none any more."""
        self._closed = True
        for stream in list(self._running):
            stream.end()


class _Begun(Resource):
    """The answer to a request that has become a stream."""

    isLeaf = True

    def __init__(self, stream: _Stream) -> None:
        Resource.__init__(self)
        self._stream = stream

    def render(self, request: Request) -> int:
        """Begin to write."""
        self._stream.begin()
        return NOT_DONE_YET


@implementer(IPushProducer)
class _Stream:
    """One reader, and where they have got."""

    def __init__(
        self, streams: EventStreams, exchange: Exchange, wanted: Wanted, base_url: str
    ) -> None:
        self._streams = streams
        self._history = streams.history
        self._clock = streams.clock
        self._exchange = exchange
        self._base_url = base_url
        self._kinds, self._filter = wanted.kinds, wanted.filter
        self._cursor = ""
        # The last place that the reader was told.
        self._shown = ""
        self._rows: Sequence[tuple[EventRow, str]] = ()
        self._wrote = 0.0
        self._over = False
        self._nap: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._patience: IDelayedCall | None = None

    async def prepare(self, cursor: str | None) -> None:
        """Look for the first events; what cannot be read from there on is refused now."""
        self._cursor = self._shown = cursor or await self._history.now()
        await self._look()

    def begin(self) -> None:
        """Write what was found, and go on until one of both ends it."""
        self._streams.began(self)
        self._exchange.gone.addCallback(lambda _: self.end())
        # Longer than our own patience: the kernel gives up without a word to the other side.
        silence = 4 * PATIENCE * self._streams.heartbeat
        self._exchange.begin_stream(CONTENT_TYPE, self, silence)
        self._write(b"retry: %d\n\n" % _RETRY)
        running = Deferred.fromCoroutine(self._run())
        running.addErrback(self._failed)
        running.addBoth(lambda _: self._close())

    async def _run(self) -> None:
        while True:
            self._write_events()
            if self._room is not None:
                await self._room
            if self._over:
                return
            # Asked for before the look, so that nothing can happen unseen between the two.
            changed = self._history.changed(self._kinds)
            try:
                is_all = await self._look()
                self._write_events()
                if is_all and not changed.called:
                    changed.addBoth(lambda _: self._wake())
                    await self._rest(self._until_beat())
                    self._beat()
            except Refused as refused:
                await self._rest(AGAIN)
                self._beat(refused.code.value)
            finally:
                _forget(changed)

    async def _look(self) -> bool:
        """Find what comes next; whether that is all there is just now."""
        asked = (self._cursor, BATCH, self._filter, self._kinds)
        self._rows, self._cursor, is_all = await self._history.events_after(*asked)
        return is_all

    # Writing

    def _write_events(self) -> None:
        if self._rows:
            self._write(b"".join(self._spelled(row, place) for row, place in self._rows))
            self._shown = self._rows[-1][1]
            self._rows = ()

    def _spelled(self, row: EventRow, cursor: str) -> bytes:
        told = announcement(row, self._base_url)
        # JSON has no line feed that is not escaped.
        data = _encoder.encode(told)
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (cursor.encode(), told.type.encode(), data)

    def _until_beat(self) -> float:
        return max(self._wrote + self._streams.heartbeat - self._clock.seconds(), 0.0)

    def _beat(self, words: str = "") -> None:
        """Say that the stream is there, if it has been silent long enough."""
        if self._over or self._until_beat() > 0:
            return
        # Of what the filter left out the place is told alone: no event is made of that.
        place = b"id: %s\n" % self._cursor.encode() if self._cursor != self._shown else b""
        self._write(b": %s\n%s\n" % (words.encode(), place))
        self._shown = self._cursor

    def _write(self, data: bytes) -> None:
        if not self._over:
            self._wrote = self._clock.seconds()
            self._exchange.request.write(data)

    # Waiting

    async def _rest(self, seconds: float) -> None:
        if self._over:
            return
        self._nap = Deferred()
        timer = self._clock.callLater(seconds, self._wake)
        try:
            await self._nap
        finally:
            self._nap = None
            if timer.active():
                timer.cancel()

    def _wake(self) -> None:
        nap, self._nap = self._nap, None
        if nap is not None:
            nap.callback(None)

    # What the connection says

    def pauseProducing(self) -> None:
        """Write no more: what was written is not taken."""
        if self._room is None and not self._over:
            self._room = Deferred()
            patience = PATIENCE * self._streams.heartbeat
            self._patience = self._clock.callLater(patience, self._drop)

    def resumeProducing(self) -> None:
        """Everything that was written has been taken."""
        if self._patience is not None and self._patience.active():
            self._patience.cancel()
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """Nobody is there any more."""
        self.end()

    def _drop(self) -> None:
        _log.warn(
            "A stream of {client} is dropped: it was not read for {seconds} s",
            client=self._exchange.client,
            seconds=PATIENCE * self._streams.heartbeat,
        )
        self._streams.dropped += 1
        self._exchange.abort()

    # Ending

    def end(self) -> None:
        """Write nothing more, and close the answer if somebody is there."""
        self._over = True
        self._wake()
        self.resumeProducing()

    def _failed(self, failure: object) -> None:
        _log.failure("A stream has failed", failure)  # type: ignore[arg-type]

    def _close(self) -> None:
        self._streams.ended(self)
        self.end()
        self._exchange.end_stream()


def _forget(changed: Deferred[None]) -> None:
    changed.addErrback(lambda _: None)
    changed.cancel()
