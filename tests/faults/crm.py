"""A CRM that says who takes a call, and fails when it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults.failing import Contexts, Failing, Server
from tests.faults.ways import Way
from tests.integration.receiver import Answering, Post


def _nonsense(to: Answering, post: Post) -> None:
    to.answer(200, b'{"operators": [["1000", {"x": "\xff', Content_Type="application/json")


#: It may fail so besides.
_WAYS = {"answers nonsense": Way(answers=_nonsense)}


class Crm(Failing):
    """Answers by the number that was dialled; ``answers`` are JSON objects by that number."""

    def __init__(self, contexts: Contexts | None = None) -> None:
        super().__init__(_Asked, "/route", contexts)
        self.answers: dict[str, dict[str, Any]] = {}

    @property
    def ways(self) -> Mapping[str, Way]:
        """How it can fail."""
        return {**super().ways, **_WAYS}


class _Asked(Answering):
    server: Server

    def do_GET(self) -> None:
        """Answer the CRM's way."""
        crm: Crm = self.server.owner
        way = crm.way
        if way.answers is not None:
            crm.failed += 1
            way.answers(self, Post(self.path, {}, b"", time.time(), self.client_address))
            return
        did = parse_qs(urlsplit(self.path).query).get("did", [""])[0]
        body = json.dumps(crm.answers.get(did, {})).encode()
        self.answer(200, body, Content_Type="application/json")
