"""Links to recordings that carry their own permission, and expire. Pure.

Whoever has such a link may fetch what it names until then, from anywhere and without a key; it
opens nothing else.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

#: What tells a link from others.
LINK_PATTERN = "[0-9a-f]{12}"
_LINK = re.compile(LINK_PATTERN)
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


class Links:
    """Makes links and knows its own.

    :param secret: what they are signed with; None: there are none.
    """

    def __init__(self, secret: str | None) -> None:
        self._key = None if secret is None else secret.encode()

    @property
    def can_be_had(self) -> bool:
        """Whether there is a secret to sign with."""
        return self._key is not None

    def make(self, path: str, expires: int, link: str) -> str:
        """Sign a path.

        :param expires: the second since 1970 after which it opens nothing.
        :param link: by what it is told from others.
        :return: the path with its query string.
        """
        signature = self._sign(path, str(expires), link)
        query = {"expires": str(expires), "link": link, "signature": signature}
        return f"{path}?{urlencode(query)}"

    def opens(self, path: str, query: bytes, now: float) -> bool | None:
        """Say whether a query string opens a path; None if it does not mean to.

        :param now: seconds since 1970.
        """
        given = _given(query)
        if "signature" not in given:
            return None
        expires, link = given.get("expires", ""), given.get("link")
        if self._key is None or _EXPIRES.fullmatch(expires) is None:
            return False
        if link is not None and _LINK.fullmatch(link) is None:
            return False
        # Compared as a whole: the time taken tells nothing about where they differ.
        same = hmac.compare_digest(
            self._sign(path, expires, link).encode(), given["signature"].encode("utf-8", "replace")
        )
        return same and now <= int(expires)

    @staticmethod
    def link_of(query: bytes) -> str | None:
        """Which link it is; None of one that was made before they were told apart."""
        return _given(query).get("link")

    def _sign(self, path: str, expires: str, link: str | None) -> str:
        assert self._key is not None
        signed = "\n".join([path, expires] if link is None else [path, expires, link])
        return hmac.new(self._key, signed.encode(), sha256).hexdigest()


def _given(query: bytes) -> Mapping[str, str]:
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
