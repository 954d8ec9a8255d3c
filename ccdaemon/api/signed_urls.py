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

    def make(self, path: str, expires: int) -> str:
        """Sign a path.

        :param expires: the second since 1970 after which it opens nothing.
        :return: the path with its query string.
        """
        query = {"expires": str(expires), "signature": self._sign(path, str(expires))}
        return f"{path}?{urlencode(query)}"

    def opens(self, path: str, query: bytes, now: float) -> bool | None:
        """Say whether a query string opens a path; None if it does not mean to.

        :param now: seconds since 1970.
        """
        given: Mapping[str, str] = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        if "signature" not in given:
            return None
        expires = given.get("expires", "")
        if self._key is None or _EXPIRES.fullmatch(expires) is None:
            return False
        # Compared as a whole: the time taken tells nothing about where they differ.
        same = hmac.compare_digest(
            self._sign(path, expires).encode(), given["signature"].encode("utf-8", "replace")
        )
        return same and now <= int(expires)

    def _sign(self, path: str, expires: str) -> str:
        assert self._key is not None
        return hmac.new(self._key, f"{path}\n{expires}".encode(), sha256).hexdigest()
