"""The private names of twisted.web: they are there, mean what they did, and stand in one place."""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from textwrap import dedent
from typing import Any, cast

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

import ccdaemon
from ccdaemon.api import twisted_http
from ccdaemon.api.twisted_http import PRIVATE, OpenChannel
from tests.api.world import World


def private(tree: ast.AST) -> Iterator[str]:
    """Name everything in a source that begins with one underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As getattr has it.
            name = node.value
        else:
            continue
        if name.startswith("_") and name.isidentifier() and not name.startswith("__"):
            yield name


@cache
def private_names(of: type) -> frozenset[str]:
    """The private names in a class's own source."""
    return frozenset(private(ast.parse(dedent(inspect.getsource(of)))))


def classes() -> Iterator[type]:
    """Every class of ours that is built on one of twisted.web's."""
    for module in pkgutil.walk_packages(ccdaemon.__path__, "ccdaemon."):
        for one in vars(import_module(module.name)).values():
            if isinstance(one, type) and one.__module__ == module.name and foreign(one):
                yield one


def foreign(of: type) -> list[type]:
    """The classes of Twisted's that a class is built on, where one of them is twisted.web's."""
    bases = [base for base in of.__mro__ if base.__module__.startswith("twisted.")]
    return bases if any(base.__module__.startswith("twisted.web.") for base in bases) else []


class Names(SynchronousTestCase):
    """Where they stand."""

    def test_all_are_there(self) -> None:
        """This Twisted still has each of them, in the class that is said."""
        for owner, names in PRIVATE.items():
            self.assertEqual(set(names) - private_names(owner), set(), owner)

    def test_all_are_named(self) -> None:
        """The module uses those that its table names, and no other."""
        tree = ast.parse(inspect.getsource(twisted_http))
        named = {name for names in PRIVATE.values() for name in names}
        self.assertEqual(set(private(tree)), named)

    def test_nobody_else_uses_one(self) -> None:
        """No class of ours has a private name in common with the one of Twisted's below it."""
        found = set(classes())
        self.assertIn(OpenChannel, found)
        self.assertGreater(len(found), 4)
        for ours in found - {OpenChannel}:
            theirs = frozenset[str]().union(*map(private_names, foreign(ours)))
            self.assertEqual(private_names(ours) & theirs, set(), ours)


class Channel(SynchronousTestCase):
    """What they mean, on a connection."""

    def setUp(self) -> None:
        """Open one."""
        self.connection = World().connect()
        self.channel = cast(OpenChannel, self.connection.protocol)

    def test_the_path_of_a_body(self) -> None:
        """It is known while a body is read, and at no other time."""
        self.assertEqual(self.channel.path_so_far, b"")
        self.connection.send("/api/sipList?a=1", "POST", {"Content-Length": "5"})
        self.assertEqual(self.channel.path_so_far, b"/api/sipList?a=1")
        cast(Any, self.channel).dataReceived(b"a=123")
        self.assertEqual(self.channel.path_so_far, b"")

    def test_more_has_come(self) -> None:
        """A second request that came with the first waits to be read."""
        ask = b"GET /api/sipList HTTP/1.1\r\nHost: localhost\r\n\r\n"
        cast(Any, self.channel).dataReceived(ask * 2)
        self.assertTrue(self.channel.has_more)

    def test_reading(self) -> None:
        """It is stopped and taken up again at the transport."""
        self.channel.stop_reading()
        self.assertEqual(self.connection.transport.producerState, "paused")
        self.channel.read_on()
        self.assertEqual(self.connection.transport.producerState, "producing")

    def test_blocked(self) -> None:
        """What is not taken holds up what is to be written."""
        cast(Any, self.channel).pauseProducing()
        self.assertTrue(self.channel.is_blocked)
        cast(Any, self.channel).resumeProducing()
        self.assertFalse(self.channel.is_blocked)

    def test_no_http(self) -> None:
        """What is none is for the class above to answer."""
        asked: list[OpenChannel] = []

        class Other(OpenChannel):
            def garbled(self) -> None:
                asked.append(self)

        other = Other()
        other.makeConnection(StringTransport())
        cast(Any, other).dataReceived(b"no http\r\n")
        self.assertEqual(set(asked), {other})
