"""Who calls in, as far as it can be shown: a caller may send anything as their number.

Pure. Nobody is refused for it.
"""

from __future__ import annotations

import re

from ccdaemon.numbers import NO_HOME, Numbers

#: What stands where no number was sent, or none that can be shown.
ANONYMOUS = "anonymous"

_PUNCTUATION = re.compile(r"[ ().\-]")
_NUMBER = re.compile(r"\+?([0-9]{1,40})", re.ASCII)
_DIALLED = re.compile(r"[!-~]{1,40}", re.ASCII)


def phone_of(sent: str, numbers: Numbers = NO_HOME) -> str:
    """The form of a number, its digits where it has none; ``anonymous`` for whatever is none."""
    found = _NUMBER.fullmatch(_PUNCTUATION.sub("", sent))
    return numbers.form(sent) or found[1] if found else ANONYMOUS


def did_of(sent: str) -> str | None:
    """The number that was dialled, None where it is not known or cannot be shown."""
    return sent if _DIALLED.fullmatch(sent) else None
