"""The methods that give a recording's link to whoever has no key, and take it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from secrets import token_hex

import msgspec

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.chains import chain_of_call
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.param_types import OneOf, Text, Whole
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.api.signed_urls import LINK_PATTERN, Links
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.recordings import NAME
from ccdaemon.schema import by_date, iso
from ccdaemon.store.history import History
from ccdaemon.switchboard.annotations import Annotations


class Format(str, Enum):
    """What a recording can be had as."""

    WAV = "wav"
    MP3 = "mp3"


SECONDS = Parameter("seconds", Whole(1, 604_800), "for how long the link opens it", 3600)
FORMAT = Parameter("format", OneOf(Format), "wav or mp3", Format.WAV)
LINK = Parameter("link", Text(LINK_PATTERN, "a link's name, as recordLink gave it"), "which link")
UNIQUEID = Parameter("uniqueid", Text(NAME, "a record's uniqueid"), "which recording")


_OF_CALL = (
    Code.CALL_UNKNOWN,
    Code.TOO_MANY_ACTIONS,
    Code.NOT_READY,
    Code.HISTORY_UNAVAILABLE,
)


class LinkObject(msgspec.Struct, frozen=True):
    """A link to a recording, and when it expires; ``link`` tells it from others."""

    url: str
    expires: str
    link: str


class LinkMethods:
    """Gives links, and takes them back.

    :param name: makes what tells a link from others.
    """

    def __init__(
        self,
        links: Links,
        annotations: Annotations,
        history: History,
        wall: WallClock,
        name: Callable[[], str] = lambda: token_hex(6),
    ) -> None:
        self._annotations = annotations
        self._name = name
        self._links = links
        self._history = history
        self._wall = wall

    async def _record_link(self, values: Values, request: ApiRequest) -> Answer:
        """Give a link to a recording that needs no key and expires."""
        if not self._links.can_be_had:
            raise Refused(Code.FORBIDDEN, "there are no signed links without link_secret in [http]")
        chain = await chain_of_call(self._history, values[p.CALL_ID])
        uniqueid = values.get(UNIQUEID)
        wanted = [one for one in by_date(chain.records) if uniqueid in (None, one.uniqueid)]
        if not wanted:
            raise Refused(Code.RECORD_UNKNOWN, "there is no such recording")
        expires = int(self._wall.seconds()) + values[SECONDS]
        path = f"/api/record/{wanted[0].uniqueid}.{values[FORMAT].value}"
        link = self._name()
        await self._annotations.link_given(
            call_id=wanted[0].call_id,
            uniqueid=wanted[0].uniqueid,
            link=link,
            client=request.client,
        )
        url = f"{request.base_url}{self._links.make(path, expires, link)}"
        return Answer(LinkObject(url, iso(expires * 1000), link))

    async def _revoke_link(self, values: Values, request: ApiRequest) -> Answer:
        """Take a link to a recording back."""
        call_id = values[p.CALL_ID]
        await self._annotations.revoke_link(
            call_id=call_id, link=values[LINK], client=request.client
        )
        return Answer({"call_id": call_id})

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "recordLink",
                Permission.READ,
                self._record_link,
                rows=(),
                answers=LinkObject,
                required=(p.CALL_ID,),
                optional=(UNIQUEID, SECONDS, FORMAT),
                refusals=(*_OF_CALL, Code.RECORD_UNKNOWN),
            ),
            Method(
                "revokeLink",
                Permission.READ,
                self._revoke_link,
                rows=(),
                acts=True,
                required=(p.CALL_ID, LINK),
                refusals=(*_OF_CALL, Code.LINK_UNKNOWN),
            ),
        )
