"""The method that gives a ticket for a stream to whoever may not have a key."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.param_types import Whole
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.api.sse import FILTERS, wanted_of
from ccdaemon.api.tickets import Ticket, Tickets
from ccdaemon.clocks import WallClock
from ccdaemon.schema import iso

SECONDS = Parameter("seconds", Whole(1, 3600), "for how long streams may be opened with it", 300)


class TicketObject(msgspec.Struct, frozen=True):
    """A ticket, the address that it opens, and when it expires."""

    ticket: str
    url: str
    expires: str


class StreamMethods:
    """Gives tickets."""

    def __init__(self, tickets: Tickets, wall: WallClock) -> None:
        self._tickets = tickets
        self._wall = wall

    async def _stream_ticket(self, values: Values, request: ApiRequest) -> Answer:
        """Give a ticket that opens streams of events with these filters, and expires."""
        expires = int(self._wall.seconds()) + values[SECONDS]
        wanted = wanted_of(values)
        ticket = self._tickets.make(
            Ticket(request.client, expires, tuple(sorted(wanted.kinds)), wanted.filter)
        )
        url = f"{request.base_url}/api/events?ticket={ticket}"
        return Answer(TicketObject(ticket, url, iso(expires * 1000)))

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "streamTicket",
                Permission.READ,
                self._stream_ticket,
                rows=(),
                answers=TicketObject,
                optional=(*FILTERS, SECONDS),
                refusals=(),
            ),
        )
