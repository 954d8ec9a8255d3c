"""What the routing did and what went wrong: counted all of it, said once a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

#: Seconds within which the same complaint is not repeated.
QUIET = 60.0


class RoutingCounters:
    """Numbers since the start.

    :ivar routes: decisions, by (rule, kind of route); rules are ``blacklist``, ``hours``, ``crm``,
        ``sticky``, ``list``, ``queue`` and ``none``.
    :ivar crm: questions to the CRM, by what came of them: ``answered`` or a kind of failure.
    :ivar faults: values of the CRM that were not allowed, by key.
    :ivar observe: told of each question how many seconds it took, whatever came of it.
    :ivar sticky: questions for the operator who spoke last: ``found``, ``nobody``, ``failed``.
    """

    def __init__(self) -> None:
        self.routes: Counter[tuple[str, str]] = Counter()
        self.crm: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.observe: Callable[[float], None] = lambda _: None
        self.sticky: Counter[str] = Counter()


class Quiet:
    """Lets each kind of complaint through once in ``QUIET`` seconds. For kinds that are few."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def may_say(self, kind: str, now: float) -> bool:
        """Say whether it is to be said now."""
        said = self._said.get(kind)
        if said is not None and 0 <= now - said < QUIET:
            return False
        self._said[kind] = now
        return True
