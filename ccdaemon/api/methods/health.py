"""How the daemon is, for people and programs that watch it: the method ``health``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ccdaemon import __version__
from ccdaemon.api.clients import Permission
from ccdaemon.api.methods.method import ApiRequest, Method
from ccdaemon.api.parameters import Values
from ccdaemon.api.rendering import Answer
from ccdaemon.errors import Code, Refused
from ccdaemon.health.health import Condition, Health, Watch
from ccdaemon.schema import iso


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


class HealthMethods:
    """Tells how the daemon is."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def _health(self, values: Values, request: ApiRequest) -> Answer:
        """Tell how each part of the daemon is, since when, and how far it is behind."""
        return Answer(health_object(self._watch.look()))

    def methods(self) -> Sequence[Method]:
        """Give the table."""
        return (
            Method(
                "health",
                Permission.READ,
                self._health,
                rows=(),
                answers=HealthObject,
                refusals=(),
            ),
        )
