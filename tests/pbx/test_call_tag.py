"""What stands on an operator's channel."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from ccdaemon.pbx import call_tag

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)


class LabelTests(SynchronousTestCase):
    """Written, and read again."""

    @given(st.from_regex(r"[0-9]{3,15}", fullmatch=True), PRINTABLE, PRINTABLE)
    def test_read_as_written(self, phone: str, order_id: str, external_key: str) -> None:
        """Whatever may be given to makeCall comes back, in letters that nobody minds."""
        label = call_tag.write(phone, order_id, external_key)
        self.assertRegex(label, r"\A[A-Za-z0-9_-]{1,255}\Z")
        self.assertEqual(call_tag.read(label), (phone, order_id, external_key))

    def test_too_much(self) -> None:
        """What Asterisk would cut off, or nobody may give, is not written at all."""
        for words in (("3" * 65, "o", "k"), ("38", "o\n", "k"), ("38", "ö", "k")):
            self.assertEqual(call_tag.write(*words), "")
        self.assertEqual(call_tag.write("3" * 64, "o" * 64, "k" * 64), "")

    @given(st.text(max_size=300))
    def test_anything(self, text: str) -> None:
        """Somebody else's value is none, or no more than three short words."""
        words = call_tag.read(text)
        self.assertTrue(words is None or all(len(word) <= 64 for word in words))

    def test_no_label(self) -> None:
        """Other letters, other lengths, another number of words, no text."""
        whole = call_tag.write("380639920000", "order", "key")
        for text in ("", "a", "ä", whole + "=", whole + whole, "x" * 256, "//8=", "AAAA", "_____w"):
            self.assertIsNone(call_tag.read(text), text)
