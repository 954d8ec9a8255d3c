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

from ccdaemon.api.errors import STATUS
from ccdaemon.api.methods import METHODS
from tests.api.story import story
from tests.api.world import Reply, World

PAGE = Path(__file__).parent.parent.parent / "docs" / "api.md"
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
_FLAGS = {"-s": 0, "-d": 1, "-H": 1, "-i": 0, "-I": 0, "--json": 1, "-r": 1, "-o": 1}


def asked_and_answered(text: str) -> Iterator[tuple[str, str, str]]:
    """Find each curl line with the answer below it: the line, the answer's kind, the answer."""
    blocks = _BLOCK.findall(text)
    for (kind, line), (below, answer) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind == "sh" and line.startswith("curl ") and below in ("json", "xml", "http"):
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
        for method in METHODS:
            self.assertIn(f"## {method.name}", self.text)
            self.assertIn(f"/api/{method.name}", shown)
            for parameter in (*method.required, *method.optional):
                self.assertIn(f"`{parameter.name}`", self.text)

    def test_every_refusal_is_listed(self) -> None:
        """Each code stands in the page's table with its status."""
        for code, status in STATUS.items():
            self.assertIn(f"| `{code.value}` | {status} |", self.text)
