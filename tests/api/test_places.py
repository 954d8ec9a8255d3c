"""Every parameter of every method, filled with what means something elsewhere.

Through the whole of HTTP: whatever comes, it is a value or a refusal, the answer is well-formed
JSON or XML with the status that it says, and no part ever sees what may not reach it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.clients import Permission
from ccdaemon.api.errors import STATUS
from ccdaemon.config import Client
from ccdaemon.config.validators import network
from tests.api.world import METHODS, World
from tests.depth import examples

SOUND = {
    "sip": "1000",
    "phone": "+380639920000",
    "order_id": "order 15",
    "external_key": "24",
    "call_id": "12",
    "result": "no answer",
    "reason": "lunch",
    "mode": "blind",
    "who": "client",
    "delivery_id": "1",
    "status": "inuse,offline",
    "from": "2026-11-23",
    "to": "2026-11-23T08:00:00Z",
    "direction": "outbound",
    "after": "0",
    "page": "1",
}
nasty = st.text(alphabet="0189,&|$\"'\\\r\n\t\0<>{}[]()=;@/:%^`*#.- aЯé\u2028\ud800", max_size=30)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Any, dict[str, str]]:
    """A method, and a query in which most of what it needs is sound, and some of it is not."""
    method = draw(st.sampled_from(METHODS))
    names = [parameter.name for parameter in method.required]
    more = [parameter.name for parameter in method.optional]
    names += draw(st.lists(st.sampled_from(more), max_size=4)) if more else []
    query = {name: SOUND.get(name, "1") for name in names}
    for name in draw(st.lists(st.sampled_from(names), max_size=2)) if names else []:
        query[name] = draw(nasty)
    return method, query


#: What makeCall may tell the switchboard.
DIALLED = {
    "sip": r"\A[0-9]{3,6}\Z",
    "phone": r"\A[0-9]{3,15}\Z",
    "order_id": r"\A[ -~]{1,64}\Z",
    "external_key": r"\A[ -~]{1,64}\Z",
}
EVERYTHING = Client(
    name="all",
    networks=(network("127.0.0.0/8"),),
    permissions=[permission.value for permission in Permission],
)


class PlacesTests(SynchronousTestCase):
    """Any query."""

    def asked(self, method: Any, query: dict[str, str], form: str, verb: str) -> int:
        """Ask, and look at what came back; the status."""
        world = World([EVERYTHING])
        # Half a surrogate pair is bytes that are no UTF-8.
        filled = urlencode(query, errors="surrogatepass")
        path = f"/api/{method.name}.{form}"
        connection = world.connect()
        if verb == "GET":
            connection.send(f"{path}?{filled}")
        else:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.send(path, "POST", headers, filled.encode("ascii"))
        if not connection.received:
            # callHistory may be waiting for news.
            world.clock.advance(61)
        reply = connection.reply()
        self.assertIn(reply.status, {200, *STATUS.values()} - {500}, reply.body)
        if form == "json":
            self.assertEqual(msgspec.json.decode(reply.body)["status_code"], reply.status)
        else:
            root = etree.fromstring(reply.body)
            self.assertEqual(root.findtext("status_code"), str(reply.status))
        self.assertEqual(self.flushLoggedErrors(), [])
        for asked in world.calls.asked:
            for name, place in DIALLED.items():
                self.assertRegex(asked[name], place)
        return reply.status

    @settings(max_examples=examples(400))
    @given(
        requests(),
        st.sampled_from(["json", "xml"]),
        st.sampled_from(["GET", "POST"]),
    )
    def test_any_query(self, request: Any, form: str, verb: str) -> None:
        """Is answered or refused, well-formed, and never by accident."""
        method, query = request
        status = self.asked(method, query, form, verb)
        event(f"{method.name} {status}")
