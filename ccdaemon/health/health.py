"""How the daemon is: each part's condition, since when, and how far it is behind.

Asks the parts by small functions (``ccdaemon.health.probes``), once a second and whenever
somebody wants to know, and logs a line when a condition changes. Knows no part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ccdaemon.clocks import WallClock

#: Seconds between two looks at all parts.
LOOK_EVERY = 1.0


class Condition(str, Enum):
    """How a part is: it works, it works with something missing, it does not work."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


_WORSE = list(Condition)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a part finds.

    ``detail`` says in words for an administrator what is wrong, None if nothing is. ``backlog``
    counts what waits, ``behind`` is for how many seconds the oldest of it has.
    """

    condition: Condition
    detail: str | None = None
    backlog: int | None = None
    behind: float | None = None


Probe = Callable[[], Seen]


@dataclass(frozen=True, slots=True)
class PartHealth:
    """A part as it is; ``since`` (ms) it has been in this condition."""

    name: str
    seen: Seen
    since: int


@dataclass(frozen=True, slots=True)
class Health:
    """The whole daemon as it is.

    ``ready``: calls can be made and taken. ``since`` (ms) the daemon has run.
    """

    condition: Condition
    ready: bool
    since: int
    parts: Sequence[PartHealth]


class Watch(Service):
    """Watches the parts.

    :param probes: how to look at each part, by its name, in the order in which they are told.
    :param needed: the parts without which no call can be made or taken. Where one of these fails
        the daemon fails; where any other does, it is degraded.
    """

    log = Logger()

    def __init__(
        self,
        probes: Mapping[str, Probe],
        needed: frozenset[str],
        clock: IReactorTime,
        wall: WallClock,
    ) -> None:
        self._probes = probes
        self._needed = needed
        self._wall = wall
        self._began = self._now()
        self._known: dict[str, tuple[Condition, int]] = {}
        self._looks = LoopingCall(self.look)
        self._looks.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        super().startService()  # type: ignore[no-untyped-call]
        self._began = self._now()
        self._looks.start(LOOK_EVERY, now=False).addErrback(self._failed)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looks.running:
            self._looks.stop()

    def look(self) -> Health:
        """Look at every part now."""
        parts = [self._part(name, probe) for name, probe in self._probes.items()]
        failing = {part.name for part in parts if part.seen.condition is Condition.FAILING}
        ready = not failing & self._needed
        worst = max((part.seen.condition for part in parts), key=_WORSE.index)
        if worst is Condition.FAILING and ready:
            worst = Condition.DEGRADED
        return Health(worst, ready, self._began, parts)

    def _part(self, name: str, probe: Probe) -> PartHealth:
        try:
            seen = probe()
        except Exception as error:
            self.log.failure("{name} cannot be looked at", name=name)
            seen = Seen(Condition.FAILING, f"cannot be looked at: {error!r}")
        before, since = self._known.get(name, (None, self._now()))
        if seen.condition is not before:
            since = self._now()
            self._known[name] = (seen.condition, since)
            self._say(name, seen, is_first=before is None)
        return PartHealth(name, seen, since)

    def _say(self, name: str, seen: Seen, *, is_first: bool) -> None:
        if seen.condition is Condition.OK:
            if not is_first:
                self.log.info("health: {name} is ok again", name=name)
            return
        self.log.warn(
            "health: {name} is {condition}: {detail}",
            name=name,
            condition=seen.condition.value,
            detail=seen.detail,
        )

    def _failed(self, failure: object) -> None:
        self.log.error("health is not watched any more: {failure}", failure=failure)

    def _now(self) -> int:
        return int(self._wall.seconds() * 1000)
