"""Asking for several things at once, and holding XML against JSON.

Knows the wire contract's one-to-one rule; no method and no answer.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from lxml import etree
from twisted.internet.defer import Deferred, gatherResults

T = TypeVar("T")


async def together(asked: Iterable[Coroutine[Deferred[Any], Any, T]]) -> list[T]:
    """Wait for all of them at once; their results in the order asked. The first failure wins."""
    waiting = [Deferred.fromCoroutine(one) for one in asked]
    results: list[T] = await gatherResults(waiting, consumeErrors=True)
    return results


def as_xml(name: str, value: Any) -> etree._Element:
    """A JSON value as the wire contract mirrors it: a key is an element, a list repeated items."""
    element = etree.Element(name)
    if isinstance(value, dict):
        element.extend(as_xml(key, each) for key, each in value.items())
    elif isinstance(value, list):
        element.extend(as_xml("item", each) for each in value)
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    elif value is not None:
        element.text = str(value)
    return element


def spelled(element: etree._Element) -> bytes:
    """An element's one canonical spelling, to compare."""
    return bytes(etree.tostring(element, method="c14n"))
