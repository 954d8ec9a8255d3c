"""What the dearest request costs: no 64 KiB take the reactor for long, whoever sends them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.api.request_context import LARGEST_BODY
from tests.api.test_admission import CRM
from tests.api.world import World

#: Seconds of CPU that a request may take; twice that where each line is traced for its coverage.
MOST = 0.02 * (2 if sys.gettrace() else 1)
#: The best of so many counts: a machine with much to do makes each of them dearer, never cheaper.
TRIES = 7

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PARTS = "multipart/form-data; boundary=X"
#: The method with the most parameters.
DEAREST = "/api/callHistory.json"


def filled(piece: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """As much of a piece as a body may hold."""
    room = LARGEST_BODY - len(before) - len(after)
    return before + (piece * (room // len(piece) + 1))[:room] + after


def whole(piece: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """The same, with no piece cut in two."""
    room = LARGEST_BODY - len(before) - len(after)
    return before + piece * (room // len(piece)) + after


def nested_parts() -> bytes:
    """A form in a form in a form…"""
    piece = b"--X%d\r\nContent-Type: multipart/mixed; boundary=X%d\r\n\r\n"
    return b"".join(piece % (n, n + 1) for n in range(1, 1500))[:LARGEST_BODY]


HEAD = b'Content-Disposition: form-data; name="a"'
PART = b"--X\r\n" + HEAD + b"\r\n\r\n"
END = b"\r\n--X--\r\n"


def bodies() -> Iterator[tuple[str, str, bytes]]:
    """A name, a content type and a body for every way in which a body may be dear."""
    yield "a form of many fields", FORM, filled(b"a&")
    yield "a form of many values", FORM, filled(b"a=&")
    yield "a form of one parameter", FORM, whole(b"sip=&")
    yield "a form of escapes", FORM, filled(b"%d0", b"sip=")
    yield "a form of bad escapes", FORM, filled(b"%", b"sip=")
    yield "a form of no text", FORM, filled(b"\xff", b"sip=")
    yield "a form as rich as may be", FORM, b"&".join([b"%ff=" + b"%ff" * 105] * 200)
    yield "a word list", FORM, filled(b"FINISH,", b"status=")
    yield "a long phone", FORM, filled(b"1", b"phone=")
    yield "a long number", FORM, filled(b"9", b"call_id=")
    yield "JSON, lists in lists", JSON, filled(b"[", b'{"a":')
    yield "JSON, objects in objects", JSON, filled(b'{"a":')
    yield "JSON, lists side by side", JSON, whole(b"[],", b'{"a":[', b"0]}")
    yield "JSON, objects side by side", JSON, whole(b"{},", b'{"a":[', b"0]}")
    yield "JSON of many keys", JSON, whole(b'"":0,', b"{", b'"":0}')
    yield (
        "JSON of many different keys",
        JSON,
        b"{%s}" % b",".join(b'"%d":0' % n for n in range(6500)),
    )
    yield "JSON of many numbers", JSON, whole(b"0,", b'{"a":[', b"0]}")
    yield "JSON of many fractions", JSON, whole(b"1e9,", b'{"a":[', b"0]}")
    yield "JSON of a long number", JSON, filled(b"9", b'{"a":', b"}")
    yield "JSON of a long fraction", JSON, filled(b"9", b'{"a":0.', b"}")
    yield "JSON of the longest numbers", JSON, whole(b"9" * 4300 + b",", b'{"a":[', b"0]}")
    yield "JSON of escapes", JSON, whole(b"\\u0001", b'{"sip":"', b'"}')
    yield "JSON of brackets in text", JSON, filled(b"[", b'{"sip":"', b'"}')
    yield "JSON of quotes", JSON, filled(b'"', b"[" * 30)
    yield "JSON of escaped quotes", JSON, filled(b'\\"', b"[" * 30 + b'"')
    yield "JSON of backslashes", JSON, filled(b"\\", b"[" * 30 + b'"')
    yield "JSON of a text without end", JSON, filled(b'"a', b"[" * 30)
    yield "JSON of spaces", JSON, filled(b" ", b"{", b"}")
    yield "nested parts", "multipart/form-data; boundary=X1", nested_parts()
    yield "many empty parts", PARTS, filled(b"--X\r\n\r\n\r\n")
    yield "many small parts", PARTS, whole(PART + b"\r\n", b"", b"--X--\r\n")
    yield "as many parts as may be", PARTS, (PART + b"b" * 260 + b"\r\n") * 199 + b"--X--\r\n"
    yield "no part", PARTS, filled(b"--X")
    yield "beginnings of the end", PARTS, filled(b"\r\n--", PART, END)
    yield "many headers", PARTS, filled(b"a:\r\n", b"--X\r\n" + HEAD + b"\r\n")
    yield "a long header", PARTS, filled(b"a", b"--X\r\nX: ")
    yield (
        "options of a part",
        PARTS,
        whole(b"--X\r\n" + HEAD + b';a="\\"' * 590 + b"\r\n\r\n\r\n", b"", b"--X--"),
    )
    yield (
        "quotes of a part",
        PARTS,
        whole(b"--X\r\nContent-Disposition: form-data; name=" + b'"' * 4000 + b"\r\n\r\n\r\n"),
    )
    yield (
        "types of a part",
        PARTS,
        whole(b"--X\r\n" + HEAD + b"\r\nContent-Type: a" + b';b="' * 1000 + b"\r\n\r\n\r\n"),
    )
    yield "a long boundary", "multipart/form-data; boundary=" + "-" * 8000, filled(b"-")
    yield "many options", "multipart/form-data" + ';a="\\"' * 2300, filled(b"-")
    yield "many quotes", "multipart/form-data; boundary=" + '"' * 16000, filled(b"-")


class DearestTests(SynchronousTestCase):
    """The dearest 64 KiB of every kind."""

    def dear(self, statuses: tuple[int, ...], world: World, *asked: Any) -> float:
        """Seconds of CPU that a request takes, which is answered by one of these."""
        best = MOST * 1000
        for _ in range(TRIES):
            began = time.process_time()
            reply = world.ask(*asked)
            best = min(best, time.process_time() - began)
            self.assertIn(reply.status, statuses)
            if best < MOST / 10:
                break
        return best

    def test_from_a_client(self) -> None:
        """What a client sends is read or refused at once, with all that belongs to a request."""
        world = World()
        for name, content_type, body in bodies():
            with self.subTest(name):
                self.assertLessEqual(len(body), LARGEST_BODY)
                asked = DEAREST, "POST", {"Content-Type": content_type}, body
                self.assertLess(self.dear((200, 400), world, *asked), MOST)

    def test_from_a_stranger(self) -> None:
        """What nobody sends is not even read."""
        world = World([CRM])
        for name, content_type, body in bodies():
            with self.subTest(name):
                asked = DEAREST, "POST", {"Content-Type": content_type}, body, "8.8.8.8"
                self.assertLess(self.dear((401,), world, *asked), MOST / 4)

    def test_a_query(self) -> None:
        """The address that is asked for may be as long as a line."""
        world = World()
        for piece in (b"a&", b"sip=&", b"%ff", b"&&&", b"%"):
            query = filled(piece)[:16_000].decode()
            self.assertLess(self.dear((200, 400), world, f"{DEAREST}?{query}"), MOST)
