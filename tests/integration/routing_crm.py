"""A CRM that is asked who takes a call: a real HTTP server in the tests' own process."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site


class RoutingCrm(Resource):
    """Answers by the number that was dialled.

    ``answers``: by that number, the JSON object and after how many seconds it comes. ``asked``:
    the questions, by the same number.
    """

    isLeaf = True

    def __init__(self, port: int) -> None:
        super().__init__()
        self.answers: dict[str, tuple[dict[str, Any], float]] = {}
        self.asked: dict[str, dict[str, str]] = {}
        site: Any = Site(self)
        self._port = reactor.listenTCP(port, site, interface="127.0.0.1")

    def stop(self) -> Any:
        """Listen no more; when it is so."""
        return self._port.stopListening()

    def render_GET(self, request: Request) -> Any:
        """Answer, at once or later."""
        asked = {name.decode(): values[0].decode() for name, values in request.args.items()}
        self.asked[asked.get("did", "")] = asked
        answer, seconds = self.answers.get(asked.get("did", ""), ({}, 0.0))
        request.setHeader("content-type", "application/json")
        request.setHeader("connection", "close")
        body = json.dumps(answer).encode()
        if not seconds:
            return body
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def finish(_: object) -> None:
            if not gone:
                request.write(body)
                request.finish()

        deferLater(reactor, seconds).addCallback(finish)
        return NOT_DONE_YET
