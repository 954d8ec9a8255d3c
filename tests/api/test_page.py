"""The API's page in ``docs/``: every curl line on it is asked, and has to answer what it says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.clients import Permission
from ccdaemon.api.errors import STATUS
from ccdaemon.calls.model import State
from ccdaemon.config import LOCAL, Client
from tests.api.parts import call_view
from tests.api.story import story
from tests.api.world import CONTROLLING, METHODS, Reply, World

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
CONTROL_PAGE = PAGE.parent / "control.md"
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_FLAGS = {"-s": 0, "-d": 1, "-H": 1, "-i": 0, "-I": 0, "--json": 1, "-N": 0, "-r": 1, "-o": 1}


def asked_and_answered(text: str) -> Iterator[tuple[str, str, str]]:
    """Find each curl line with the answer below it: the line, the answer's kind, the answer."""
    blocks = _BLOCK.findall(text)
    for (kind, line), (below, answer) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh" and line.startswith("curl ") and below in ("json", "xml", "http", "text"):
            yield line, below, answer


def run(world: World, line: str) -> Reply:
    """Ask what a curl line asks."""
    words = shlex.split(line.replace("\\\n", " "))[1:]
    method, headers, body, url = "GET", dict[str, str](), None, ""
    while words:
        word = words.pop(0)
        value = words.pop(0) if _FLAGS.get(word) else ""
        match word:
            case "-d" | "--json":
                method, body = "POST", value.encode()
                if word == "--json":
                    headers["Content-Type"] = "application/json"
            case "-H":
                name, _, content = value.partition(": ")
                headers[name] = content
            case "-I":
                method = "HEAD"
            case _ if word not in _FLAGS:
                url = word
    path = url.removeprefix("http://localhost:8080")
    return world.ask(path, method, headers, body)


def in_order(text: str) -> Any:
    """Read JSON so that the order of keys counts."""
    return json.loads(text, object_pairs_hook=list)


def unchunked(body: bytes) -> str:
    """Put a body together that came in chunks, as far as it has come."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return whole.decode()


def canonical(text: str | bytes) -> bytes:
    """Spell XML so that only what it says counts."""
    parsed = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    spelled: bytes = etree.tostring(parsed, method="c14n")
    return spelled


class Page(SynchronousTestCase):
    """The page, line by line."""

    def setUp(self) -> None:
        """Read it, and have the story it tells."""
        self.text = PAGE.read_text()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.world = story(folder)

    def test_every_answer_is_the_real_one(self) -> None:
        """Key by key in their order, value by value."""
        for line, kind, answer in asked_and_answered(self.text):
            reply = run(self.world, line)
            if kind == "xml":
                self.assertEqual(canonical(reply.body), canonical(answer.encode()), line)
            elif kind == "text":
                self.assertEqual(unchunked(reply.body), answer, line)
            elif kind == "json":
                self.assertEqual(in_order(reply.body.decode()), in_order(answer), line)
            else:
                first, *lines = answer.strip().split("\n")
                self.assertEqual(int(first.split()[1]), reply.status, line)
                for header in lines:
                    name, _, value = header.partition(": ")
                    self.assertEqual(reply.headers.get(name.lower()), value, line)

    def test_every_method_is_shown(self) -> None:
        """Each has a heading, a curl line and an answer."""
        shown = " ".join(line for line, _, _ in asked_and_answered(self.text))
        for method in (one for one in METHODS if one not in CONTROLLING):
            self.assertRegex(self.text, rf"(?m)^## .*\b{method.name}\b")
            self.assertIn(f"/api/{method.name}", shown)
            for parameter in (*method.required, *method.optional):
                self.assertIn(f"`{parameter.name}`", self.text)

    def test_every_refusal_is_listed(self) -> None:
        """Each code stands in the page's table with its status."""
        for code, status in STATUS.items():
            self.assertIn(f"| `{code.value}` | {status} |", self.text)


class ControlPage(SynchronousTestCase):
    """The page of what acts on live calls."""

    def setUp(self) -> None:
        """Read it, and let there be a call that rings and somebody who may do anything."""
        self.text = CONTROL_PAGE.read_text()
        everything = Client(
            name="crm", networks=LOCAL.networks, permissions=[each.value for each in Permission]
        )
        self.world = World([everything])
        self.world.history.add(call_view(14), [State.CALL, State.OPERATOR_CALLTO])

    def lines(self) -> list[str]:
        """Every curl line."""
        blocks = [line for kind, line in _BLOCK.findall(self.text) if kind == "sh"]
        return [line for block in blocks for line in block.strip().split("\n")]

    def test_every_line_is_answered_with_the_call(self) -> None:
        """As ``call`` answers."""
        call = self.world.ask("/api/call.json?call_id=14").json
        for line in self.lines():
            self.assertEqual(run(self.world, line).json, call, line)

    def test_every_method_is_shown(self) -> None:
        """Each in the table, under a heading, in a curl line, with its parameters."""
        shown = " ".join(self.lines())
        for method in CONTROLLING:
            self.assertRegex(
                self.text, rf"(?m)^\| .*`{method.name}`.* \| `{method.permission.value}`"
            )
            self.assertRegex(self.text, rf"(?m)^## .*\b{method.name}\b")
            self.assertIn(f"/api/{method.name}.json", shown)
            for parameter in (*method.required, *method.optional):
                self.assertIn(f"`{parameter.name}", self.text)
