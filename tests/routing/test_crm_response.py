"""Tests of what the CRM may say of a call."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.config.validators import Pattern
from ccdaemon.routing.crm_response import LONGEST_NAME, Advice, NotAnObject, Reads, clean_name

reads = Reads(Pattern("[0-9]{3,6}"), Pattern("7[0-9]{2}"))

#: An answer, and what it says.
SAID: list[tuple[object, Advice]] = [
    ({}, Advice()),
    ({"operators": []}, Advice()),
    ({"operators": None, "reject": None, "redirect": None}, Advice()),
    ({"operators": ["1000", "1001"]}, Advice(operators=(("1000",), ("1001",)))),
    ({"operators": [["1000", "1001"], "1002"]}, Advice(operators=(("1000", "1001"), ("1002",)))),
    ({"operators": [1000, [1001, 1001]]}, Advice(operators=(("1000",), ("1001",)))),
    ({"order_id": "15"}, Advice(order_id="15")),
    ({"order_id": 15}, Advice(order_id="15")),
    ({"order_id": "x" * 64}, Advice(order_id="x" * 64)),
    ({"caller_name": "Олена"}, Advice(caller_name="Олена")),
    ({"caller_name": "   "}, Advice()),
    ({"ring_timeout": 1}, Advice(ring_timeout=1)),
    ({"ring_timeout": 600}, Advice(ring_timeout=600)),
    ({"reject": False}, Advice()),
    ({"reject": True}, Advice(reject="the CRM refuses the call")),
    ({"reject": "a debtor"}, Advice(reject="the CRM refuses the call: a debtor")),
    ({"redirect": "700"}, Advice(redirect="700")),
    ({"redirect": 700}, Advice(redirect="700")),
    ({"anything": {"else": [1]}}, Advice()),
]

#: A key and a value that it cannot have.
NONSENSE: list[tuple[str, object]] = [
    ("operators", "1000"),
    ("operators", {"1000": 1}),
    ("operators", ["boss"]),
    ("operators", ["1000", "12"]),
    ("operators", ["1000&SIP/1001"]),
    ("operators", ["1000\n"]),
    ("operators", ["١٠٠٠"]),
    ("operators", [[]]),
    ("operators", [["1000", ["1001"]]]),
    ("operators", [True]),
    ("operators", [1000.0]),
    ("operators", [None]),
    ("operators", ["1000"] * 51),
    ("order_id", ""),
    ("order_id", "x" * 65),
    ("order_id", "заказ"),
    ("order_id", "1\n2"),
    ("order_id", True),
    ("order_id", 1.5),
    ("order_id", [1]),
    ("caller_name", 1),
    ("caller_name", ["x"]),
    ("ring_timeout", 0),
    ("ring_timeout", 601),
    ("ring_timeout", "20"),
    ("ring_timeout", True),
    ("ring_timeout", 20.5),
    ("reject", 1),
    ("reject", {}),
    ("redirect", "900"),
    ("redirect", "7000"),
    ("redirect", "700,1)"),
    ("redirect", False),
]


def body(answer: object) -> bytes:
    """An answer as it comes."""
    return json.dumps(answer).encode()


class ReadsTests(SynchronousTestCase):
    """Reading an answer."""

    def test_what_is_said(self) -> None:
        """Each allowed value is read, and nothing else is taken for one."""
        for answer, advice in SAID:
            with self.subTest(answer=answer):
                read = reads(body(answer))
                self.assertEqual(read, advice)
                self.assertEqual(read.faults, ())

    def test_nonsense(self) -> None:
        """A value that is not allowed is absent and named; the others stay what they are."""
        for key, value in NONSENSE:
            with self.subTest(key=key, value=value):
                others = {"order_id": "15", "ring_timeout": 7}
                others.pop(key, None)
                read = reads(body({**others, key: value}))
                self.assertEqual(read, Advice(**others))  # type: ignore[arg-type]
                ((named, shown),) = read.faults
                self.assertEqual(named, key)
                self.assertTrue(shown.isascii() and shown.isprintable() and len(shown) <= 63)

    def test_no_object(self) -> None:
        """What is no JSON object is none, by its kind."""
        for content, kind in [
            (b"", "not_json"),
            (b"<html>", "not_json"),
            (b'{"operators": ["1000"]', "not_json"),
            (b'{"order_id": "\xff"}', "not_json"),
            (b"[" * 60_000, "not_json"),
            (b'["1000"]', "not_object"),
            (b'"1000"', "not_object"),
            (b"null", "not_object"),
        ]:
            with self.subTest(content=content[:20]):
                error = self.assertRaises(NotAnObject, reads, content)
                self.assertEqual(str(error), kind)

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
    def test_nothing_else_gets_through(self, value: object) -> None:
        """Whatever stands at a key, what is read of it is allowed."""
        keys = ("operators", "order_id", "caller_name", "ring_timeout", "reject", "redirect")
        read = reads(body(dict.fromkeys(keys, value)))
        for sip in (sip for together in read.operators for sip in together):
            self.assertRegex(sip, r"\A[0-9]{3,6}\Z")
        self.assertRegex(read.order_id or "x", r"\A[ -~]{1,64}\Z")
        self.assertRegex(read.redirect or "700", r"\A7[0-9]{2}\Z")
        self.assertIn(read.ring_timeout or 1, range(1, 601))


class NameTests(SynchronousTestCase):
    """The caller's name."""

    def test_table(self) -> None:
        """What means something elsewhere is a space; the rest stays, up to forty letters."""
        for name, clean in [
            ("Іван Франко", "Іван Франко"),
            ('ТОВ "Ромашка"', "ТОВ Ромашка"),
            ("a,b;c&d|e", "a b c d e"),
            ("${EXEC(rm)} $[1+1]", "EXEC rm 1+1"),
            ("x\r\nAction: Originate", "x Action: Originate"),
            ("<sip:a@b>", "sip:a@b"),
            ("\x00\x1b[31m", "31m"),
            ("x" * 41, "x" * 40),
            ("", None),
            ("«»", "«»"),
            ('"', None),
        ]:
            with self.subTest(name=name):
                self.assertEqual(clean_name(name), clean)

    @given(st.text())
    def test_safe_everywhere(self, name: str) -> None:
        """Of no name anything reaches a dialplan, AMI or a SIP header that means something."""
        clean = clean_name(name)
        if clean is not None:
            self.assertTrue(clean.isprintable())
            self.assertTrue(1 <= len(clean) <= LONGEST_NAME)
            self.assertEqual(clean, clean.strip())
            self.assertFalse(set(clean) & set('"<>\\,;|&${}[]()=^%`'))
