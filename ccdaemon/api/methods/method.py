"""What a method of the API is, and what it may know of its request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from ccdaemon.api.clients import Permission
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code

#: The methods of HTTP that are answered, and those by which something may be done.
HTTP_METHODS = ("GET", "HEAD", "POST")
ACTING_METHODS = ("GET", "POST")


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """What a method may know of its request beside the parameters.

    ``client`` is who asks, ``address`` from where: an IP address, or ``local`` for a socket.
    ``base_url`` is what links begin with, without a slash at its end; ``gone`` fires when
    nobody waits for the answer any more.
    """

    client: str
    address: str
    base_url: str
    gone: Deferred[None]


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its name on the wire, who may ask, with what, and what comes back.

    ``run`` is given the checked values and what is known of the request.
    ``rows`` are the types of what the answer lists, none if it is no list but the one object
    ``answers``, or nothing but a ``call_id``. With ``data`` the rows
    stand in the response's ``data`` beside the paging; without they are the response.
    ``refusals`` are the codes it may meet beside those that every method may.
    One that ``acts`` changes something: HEAD, which has to change nothing, is refused of it.
    """

    name: str
    permission: Permission
    run: Callable[[Values, ApiRequest], Awaitable[Answer]]
    rows: Sequence[type]
    data: bool = False
    required: Sequence[Parameter[Any]] = ()
    optional: Sequence[Parameter[Any]] = ()
    answers: type | None = None
    refusals: Sequence[Code] = (Code.HISTORY_UNAVAILABLE,)
    acts: bool = False

    @property
    def http_methods(self) -> Sequence[str]:
        """The methods of HTTP by which it may be asked."""
        return ACTING_METHODS if self.acts else HTTP_METHODS
