"""How the daemon is, for people and programs that watch it: the method ``health``."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from ccdaemon import __version__
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.health.health import Condition, Health
from ccdaemon.schema import iso


class Watches(Protocol):
    """Who looks after the parts."""

    def look(self) -> Health:
        """How everything is now."""
        ...


class Counts(Protocol):
    """The numbers that are kept of everything."""

    def answered(self, method: str, status: int, seconds: float | None) -> None:
        """A request has been answered; ``method`` is one of few words, no seconds: a stream."""
        ...

    def render(self) -> bytes:
        """Spell all numbers for Prometheus."""
        ...


class PartObject(msgspec.Struct, frozen=True):
    """One part of the daemon; ``since`` it is in this condition."""

    name: str
    status: Condition
    since: str
    detail: str | None
    backlog: int | None
    behind_seconds: float | None


class HealthObject(msgspec.Struct, frozen=True):
    """The daemon as a whole; ``ready``: calls can be made and taken."""

    status: Condition
    ready: bool
    version: str
    since: str
    parts: list[PartObject]


def health_object(health: Health) -> HealthObject:
    """Make the ``health`` object."""
    return HealthObject(
        status=health.condition,
        ready=health.ready,
        version=__version__,
        since=iso(health.since),
        parts=[
            PartObject(
                name=part.name,
                status=part.seen.condition,
                since=iso(part.since),
                detail=part.seen.detail,
                backlog=part.seen.backlog,
                behind_seconds=part.seen.behind,
            )
            for part in health.parts
        ],
    )


def ready(health: Health) -> Answer:
    """Answer whether calls can be made and taken; to anybody, so without the words.

    :raises Refused: with ``not_ready`` if they cannot.
    """
    if not health.ready:
        failing = [p.name for p in health.parts if p.seen.condition is Condition.FAILING]
        raise Refused(
            Code.NOT_READY,
            f"calls cannot be made and taken: {', '.join(failing)} failing; health says why",
            retry_after=1,
        )
    return Answer({"ready": True, "status": health.condition})


async def _health(methods: Any, values: Values, request: ApiRequest) -> Answer:
    """Tell how each part of the daemon is, since when, and how far it is behind."""
    watch: Watches = methods.watch
    return Answer(health_object(watch.look()))


HEALTH = Method("health", Permission.READ, _health, rows=(), answers=HealthObject, refusals=())
