"""How long a call may stay as it is: no call is open for ever.

Every phase has an end of its own in Asterisk; this is what remains when that does not come, or
is never told. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Longest:
    """Seconds for which a call may ring or wait before anybody talks, and talk."""

    ringing: int
    talking: int


def overdue(phase: str, since: float, now: float, longest: Longest) -> str | None:
    """Say in words why a call is to be closed; None if it is not.

    :param phase: ``ringing``, ``talking`` or ``ended``.
    :param since: since when it is so, ``now`` what time it is; in seconds of one clock.
    """
    limits = {"ringing": longest.ringing, "talking": longest.talking}
    limit = limits.get(phase)
    if limit is None or now - since <= limit:
        return None
    return f"closed by the watchdog: {phase} for more than {limit} s"
