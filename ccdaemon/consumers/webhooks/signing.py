"""Signatures as Standard Webhooks has them (https://www.standardwebhooks.com). Pure.

Signed is ``<webhook-id>.<webhook-timestamp>.<body>`` with HMAC-SHA256; with two secrets, while one
takes the other's place, the header carries two signatures, and one that fits is enough.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

PREFIX = "whsec_"
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


def key_of(secret: str) -> bytes:
    """Read the key out of a secret ``whsec_<base64>``.

    :raises ValueError: if it is none; says nothing of what stands in it.
    """
    text = secret.removeprefix(PREFIX)
    if text == secret or _BASE64.fullmatch(text) is None:
        raise ValueError("no secret of Standard Webhooks")
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except binascii.Error:
        raise ValueError("no secret of Standard Webhooks") from None


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Sign one delivery.

    :param timestamp: seconds since 1970.
    :return: ``v1,<base64>``.
    """
    content = f"{webhook_id}.{timestamp}.".encode() + body
    digest = hmac.digest(key, content, sha256)
    return f"v1,{base64.b64encode(digest).decode('ascii')}"


def signed_headers(
    keys: Sequence[bytes], webhook_id: str, timestamp: int, body: bytes
) -> Mapping[str, str]:
    """Give the three headers of a delivery, with a signature for each key in their order."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, webhook_id, timestamp, body) for key in keys),
    }
