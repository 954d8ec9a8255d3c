"""Answers as JSON and as XML: both say the same, whatever is in them."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.rendering import Answer, Format, envelope, error_envelope, render
from ccdaemon.calls.model import State
from ccdaemon.schema import state_object
from ccdaemon.store.records import StateRow
from tests.api.parts import told

ANY_TEXT = st.text(st.characters(codec=None))
NAMES = st.sampled_from(["call_id", "state", "detail", "item", "records", "status"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20
)
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SURROGATES = re.compile("[\ud800-\udfff]")


def without(pattern: re.Pattern[str], tree: Any) -> Any:
    """Drop characters from every text of a tree."""
    if isinstance(tree, str):
        return pattern.sub("", tree)
    if isinstance(tree, dict):
        return {key: without(pattern, value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without(pattern, value) for value in tree]
    return tree


def as_texts(tree: Any) -> Any:
    """Say a JSON tree as far as XML can say it: names, order and the texts between."""
    match tree:
        case dict():
            return [(key, as_texts(value)) for key, value in tree.items()]
        case list():
            return [("item", as_texts(value)) for value in tree]
        case None:
            return []
        case str():
            return FORBIDDEN.sub("", tree) or []
        case _:
            return msgspec.json.encode(tree).decode()


def element_as_texts(element: Any) -> Any:
    """Say an element the same way."""
    if len(element):
        return [(child.tag, element_as_texts(child)) for child in element]
    return element.text or []


class Rendering(SynchronousTestCase):
    """Envelopes, spelled."""

    def test_the_envelope_of_an_answer(self) -> None:
        """Status, code and response, in this order, and what stands beside."""
        tree = envelope(Answer({"call_id": 12}, {"next": "a.1"}))
        self.assertEqual(
            render(tree, Format.JSON),
            b'{"status":"ok","status_code":200,"response":{"call_id":12},"next":"a.1"}',
        )
        self.assertEqual(
            render(tree, Format.XML),
            b'<?xml version="1.0" encoding="UTF-8"?>\n'
            b"<result><status>ok</status><status_code>200</status_code>"
            b"<response><call_id>12</call_id></response><next>a.1</next></result>",
        )

    def test_the_envelope_of_a_refusal(self) -> None:
        """The response is null, the error tells."""
        tree = error_envelope(409, {"code": "external_key_used", "call_id": 12})
        self.assertEqual(
            render(tree, Format.JSON),
            b'{"status":"error","status_code":409,"response":null,'
            b'"error":{"code":"external_key_used","call_id":12}}',
        )
        self.assertEqual(
            render(tree, Format.XML).partition(b"\n")[2],
            b"<result><status>error</status><status_code>409</status_code><response/>"
            b"<error><code>external_key_used</code><call_id>12</call_id></error></result>",
        )

    def test_lists_nulls_and_truth(self) -> None:
        """A list is items, null is an empty element, truth is a word."""
        answer = Answer([{"final": True, "leg": None}, {"final": False, "leg": ""}])
        self.assertIn(
            b"<response><item><final>true</final><leg/></item>"
            b"<item><final>false</final><leg></leg></item></response>",
            render(envelope(answer), Format.XML),
        )

    def test_objects_of_the_contract(self) -> None:
        """Objects are spelled key by key in their order."""
        row = StateRow(7, told(12, 1, State.CALL, detail="486 <Busy> & gone"), "15", None)
        answer = Answer([state_object(row)])
        self.assertIn(
            b"<seq>1</seq><state>CALL</state><final>false</final><leg/><sip>1000</sip>"
            b"<date>2026-11-23T08:00:00.136Z</date><cause/>"
            b"<detail>486 &lt;Busy&gt; &amp; gone</detail><note/></item>",
            render(envelope(answer), Format.XML),
        )

    @given(TREES)
    @example(["a\r\nb\rc"])
    @example(["\ud800", "\x00\x0b\ufffe\uffff", "]]>", "<&>\"'", " \t\n "])
    @example([1e16, -0.0, 1e-7, 2**64 - 1])
    def test_xml_mirrors_json(self, tree: Any) -> None:
        """Read back, both hold the same names in the same order around the same texts."""
        wrapped = envelope(Answer(tree))
        read = json.loads(render(wrapped, Format.JSON))
        root = etree.fromstring(render(wrapped, Format.XML))
        self.assertEqual(root.tag, "result")
        self.assertEqual(element_as_texts(root), as_texts(read))

    @given(TREES)
    def test_json_says_what_it_was_given(self, tree: Any) -> None:
        """JSON read back is the answer, but for halves of surrogate pairs."""
        read = json.loads(render(envelope(Answer(tree)), Format.JSON))
        self.assertEqual(read["response"], without(SURROGATES, tree))

    @given(ANY_TEXT)
    def test_text_opens_no_element(self, text: str) -> None:
        """No text changes the shape of the document."""
        root = etree.fromstring(render(envelope(Answer([text])), Format.XML))
        (item,) = root.find("response")
        self.assertEqual(len(item), 0)
        self.assertEqual(item.text or "", FORBIDDEN.sub("", text))
