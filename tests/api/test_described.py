"""Every operation of the OpenAPI document, asked with what it allows and with what it does not.

Values come from the document alone, the same in each run. Whatever is asked, the answer has a
status, a type and a body that the document tells of the operation; what is allowed is not refused
for its spelling, and what is not is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.errors import Code, Refused
from tests.api.described import Document, Operation, allowed, forbidden
from tests.api.story import story
from tests.api.world import Reply, World

#: Requests to each operation with what is allowed, and with each parameter spoiled.
ALLOWED, SPOILED = 10, 3
#: Seconds that an answer may be held for news, and a little more.
HELD = 61.0
#: These answer with something else than the envelope.
STREAMS, FILES = "text/event-stream", ("audio/wav", "audio/mpeg")
BOUNDARY = "so-that-nobody-writes-it"


def story_document(folder: Path) -> tuple[World, Document]:
    """A world with one of everything, and what it says of itself."""
    world = story(folder)
    return world, Document(world.ask("/api/openapi.json").json)


class Asked:
    """A request: what is sent, and whether the document allows it.

    ``spoiled``: the parameter that is missing, if it is required, or is not what it may be.
    """

    def __init__(self, operation: Operation, dice: Random, spoiled: str | None = None) -> None:
        self.operation = operation
        self.values: dict[str, Any] = {}
        for name, schema in operation.schemas.items():
            if name == spoiled:
                self._spoil(name, forbidden(schema), dice)
            elif name in operation.required or dice.random() < 0.5:
                self.values[name] = dice.choice(allowed(schema))
        self.is_allowed = spoiled is None
        self.form = dice.choice(("json", "xml"))
        self.body_type = dice.choice(operation.bodies) if operation.bodies else None

    def _spoil(self, name: str, texts: Sequence[str], dice: Random) -> None:
        can_miss = name in self.operation.required and self.operation.where[name] != "path"
        if not can_miss or dice.random() < 0.7:
            self.values[name] = dice.choice(texts)

    def send(self, world: World) -> Reply:
        """Ask, and wait as long as an answer may be held."""
        where = self.operation.where
        path, headers, body = self.operation.path, {}, None
        for name, value in self.values.items():
            if where[name] == "path":
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            elif where[name] == "header":
                headers[name] = quote(str(value))
        if path.rpartition("/")[2].isidentifier() and path != "/api/events":
            path += f".{self.form}"
        else:
            headers["Accept"] = f"application/{self.form}"
        query = {name: value for name, value in self.values.items() if where[name] == "query"}
        if self.body_type is not None:
            headers["Content-Type"], body = self._body()
        path += f"?{urlencode(query)}" if query else ""
        connection = world.connect()
        connection.send(path, self.operation.verb.upper(), headers, body)
        if not connection.received:
            world.clock.advance(HELD)
        reply = connection.reply()
        connection.close()
        return reply

    def _body(self) -> tuple[str, bytes]:
        assert self.body_type is not None
        if self.body_type == "application/json":
            return self.body_type, msgspec.json.encode(self.values)
        if self.body_type == "application/x-www-form-urlencoded":
            return self.body_type, urlencode(self.values).encode()
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{{}}"\r\n\r\n{{}}\r\n'
        parts = "".join(head.format(name, value) for name, value in self.values.items())
        return f"{self.body_type}; boundary={BOUNDARY}", f"{parts}--{BOUNDARY}--\r\n".encode()

    def __repr__(self) -> str:
        return f"{self.operation} {self.body_type or ''} .{self.form} {self.values!r}"


def requests(operation: Operation, spoiled: int) -> Iterator[Asked]:
    """Requests to an operation, the same in each run."""
    dice = Random(str(operation))
    for _ in range(ALLOWED):
        yield Asked(operation, dice)
    for name, schema in operation.schemas.items():
        for _ in range(spoiled if forbidden(schema) else 0):
            yield Asked(operation, dice, name)


class Described(SynchronousTestCase):
    """One world, and its document."""

    def setUp(self) -> None:
        """Tell the story."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world, self.document = story_document(folder)

    def ask_all(self, spoiled: int) -> None:
        """Ask every operation again and again, and check each answer."""
        for operation in self.document.operations():
            for asked in requests(operation, spoiled):
                self.check(asked, asked.send(self.world))

    def test_every_answer(self) -> None:
        """Has a status, a type and a body that are described; nothing breaks."""
        self.ask_all(SPOILED)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_without_the_past(self) -> None:
        """While Postgres is away what needs it is 503, where the document says so, and no other."""
        self.world.history.away = Refused(Code.HISTORY_UNAVAILABLE, "away", retry_after=1)
        self.ask_all(0)

    def check(self, asked: Asked, reply: Reply) -> None:
        """Hold an answer against the document."""
        self.assertIn(str(reply.status), asked.operation.responses, asked)
        told = asked.operation.responses[str(reply.status)]
        self.assertNotIn(reply.status, (500, 502), asked)
        kind = reply.headers["content-type"].partition(";")[0]
        self.assertIn(kind, told["content"], asked)
        if kind == STREAMS or kind in FILES:
            self.assertEqual(reply.status // 100, 2, asked)
            return
        self.assertEqual(kind, f"application/{asked.form}", asked)
        if kind == "application/xml":
            self.check_xml(asked, reply)
            return
        faults = list(self.document.faults(reply.json, told["content"][kind]["schema"]))
        self.assertEqual(faults, [], asked)
        self.assertEqual(reply.json["status_code"], reply.status, asked)
        self.check_refusal(asked, reply.status, reply.json.get("error") or {})

    def check_xml(self, asked: Asked, reply: Reply) -> None:
        """It is well-formed, and wears the envelope."""
        root = etree.fromstring(reply.body)
        names = [child.tag for child in root]
        self.assertEqual((root.tag, names[:3]), ("result", ["status", "status_code", "response"]))
        self.assertEqual(root.findtext("status_code"), str(reply.status), asked)
        error = {child.tag: child.text for child in root.iterfind("error/*")}
        self.assertEqual("error" in names, reply.status != 200, asked)
        self.check_refusal(asked, reply.status, error)

    def check_refusal(self, asked: Asked, status: int, error: Mapping[str, Any]) -> None:
        """What is not allowed is refused; what is allowed is not, for how it is spelled."""
        if not asked.is_allowed:
            self.assertGreaterEqual(status, 400, asked)
            return
        if error.get("code") == "missing_parameter":
            self.assertNotIn(error["field"], asked.values, asked)
        must_be = f"{error.get('field')} must be "
        self.assertFalse((error.get("message") or "").startswith(must_be), f"{asked}: {error}")
