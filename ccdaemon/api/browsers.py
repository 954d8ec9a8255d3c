"""Whether a request has been sent by a browser, which sends what any page wants it to. Pure.

A picture, a link or a form of somebody else's page is a request from the address of whoever looks
at it, and addresses are trusted. Of the page browsers tell in ``Origin`` or ``Sec-Fetch-Site``, but
not over plain HTTP, nor of pictures and links: what all of them tell is that they are browsers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Headers that browsers alone send, as the beginning of their names, in lower case.
_OWN = ("sec-fetch-", "sec-ch-ua", "upgrade-insecure-requests")
#: What else tells of one, by header.
_SAID = {
    "user-agent": re.compile(r"\s*mozilla\b", re.IGNORECASE),
    "accept": re.compile(r"text/html|application/xhtml|image/", re.IGNORECASE),
}
#: Java's own client asks for pages and pictures, whatever it is asked for.
_PROGRAM = re.compile(r"Java/[0-9._]+\s*")


def mark_of_browser(headers: Iterable[tuple[str, str]]) -> str | None:
    """Name the header by which a request tells that a browser has sent it; None if none does.

    :param headers: every header, as often as it came.
    """
    found = [(name.lower(), value) for name, value in headers]
    agents = [value for name, value in found if name == "user-agent"]
    is_java = bool(agents) and all(_PROGRAM.fullmatch(agent) for agent in agents)
    for name, value in found:
        said = None if is_java and name == "accept" else _SAID.get(name)
        if name.startswith(_OWN) or (said is not None and said.search(value)):
            return name.title()
    return None
