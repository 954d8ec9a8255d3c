"""The label on an operator's channel: what makeCall was given, for who has lost it.

Asterisk keeps it with the channel and writes it into its log with every row but the first, so a
call whose journal is gone can be told all the same. Base64, since neither AMI nor the log has a
letter then that it would read as its own. Pure; what is read may have been written by anybody.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

#: Letters that Asterisk keeps there.
MOST = 255
#: Letters of what it says, each.
_LONGEST = 64
_LABEL = re.compile(f"[A-Za-z0-9_-]{{1,{MOST}}}", re.ASCII)


def write(phone: str, order_id: str, external_key: str) -> str:
    """The label; empty where Asterisk would not keep the whole of it."""
    words = (phone, order_id, external_key)
    if not _are_words(words):
        return ""
    label = urlsafe_b64encode("\n".join(words).encode()).decode().rstrip("=")
    return label if len(label) <= MOST else ""


def read(label: str) -> tuple[str, str, str] | None:
    """Phone, order and key; None for what is no label."""
    if _LABEL.fullmatch(label) is None:
        return None
    try:
        text = urlsafe_b64decode(label + "=" * (-len(label) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    words = tuple(text.split("\n"))
    return words if len(words) == 3 and _are_words(words) else None


def _are_words(words: tuple[str, ...]) -> bool:
    return all(word.isascii() and word.isprintable() and len(word) <= _LONGEST for word in words)
