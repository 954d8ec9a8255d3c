"""The method that gives a recording's link to whoever has no key."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec

from ccdaemon.api import params as p
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.chains import chain_of_call
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.param_types import OneOf, Text, Whole
from ccdaemon.api.parameters import Parameter, Values
from ccdaemon.api.rendering import Answer
from ccdaemon.api.signed_urls import Links
from ccdaemon.clocks import WallClock
from ccdaemon.errors import Code, Refused
from ccdaemon.recordings.recordings import NAME
from ccdaemon.schema import by_date, iso
from ccdaemon.store.history import History


class Format(str, Enum):
    """What a recording can be had as."""

    WAV = "wav"
    MP3 = "mp3"


SECONDS = Parameter("seconds", Whole(1, 604_800), "for how long the link opens it", 3600)
FORMAT = Parameter("format", OneOf(Format), "wav or mp3", Format.WAV)
UNIQUEID = Parameter("uniqueid", Text(NAME, "a record's uniqueid"), "which recording")


class LinkObject(msgspec.Struct, frozen=True):
    """A link to a recording, and when it expires."""

    url: str
    expires: str


class LinkMethods:
    """Gives links."""

    def __init__(self, links: Links, history: History, wall: WallClock) -> None:
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
        url = f"{request.base_url}{self._links.make(path, expires)}"
        return Answer(LinkObject(url, iso(expires * 1000)))

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
                refusals=(Code.CALL_UNKNOWN, Code.RECORD_UNKNOWN, Code.HISTORY_UNAVAILABLE),
            ),
        )
