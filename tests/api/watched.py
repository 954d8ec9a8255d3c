"""Health and numbers in memory, as the API shows them."""

from __future__ import annotations

from dataclasses import replace

from ccdaemon.health.health import Condition, Health, PartHealth, Seen
from tests.api.parts import MOMENT


class Watch:
    """Looks at two parts; ``health`` is what it finds."""

    def __init__(self) -> None:
        self.health = Health(
            Condition.OK,
            True,
            MOMENT,
            [
                PartHealth("asterisk", Seen(Condition.OK), MOMENT + 877),
                PartHealth("postgres", Seen(Condition.OK, None, 3, 0.2), MOMENT + 120),
            ],
        )

    def look(self) -> Health:
        """Look."""
        return self.health

    def fail(self, words: str) -> None:
        """Have no session with Asterisk."""
        down = PartHealth("asterisk", Seen(Condition.FAILING, words), MOMENT + 60_000)
        parts = [down, *self.health.parts[1:]]
        self.health = replace(self.health, condition=Condition.FAILING, ready=False, parts=parts)


class Counts:
    """Keeps what it is told of requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, bool]] = []

    def answered(self, method: str, status: int, seconds: float | None) -> None:
        """Keep it, and whether it was a stream."""
        self.seen.append((method, status, seconds is None))

    def render(self) -> bytes:
        """Show a number."""
        return b"ccdaemon_ready 1.0\n"
