"""The place of a reader in everything that was told: the cursor of ``after=``.

Opaque to readers. In it stands, for each journal that the reader has heard from, the last event
it has seen: ``<node>.<event id>``, joined by ``~``; ``0`` is the beginning. Who began to read
while nobody could say how far other journals were has ``since.<ms>`` in front: of a journal that
is not named, what is older is not wanted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ccdaemon.errors import Code, Refused

_PLACE = re.compile(r"([0-9a-f]{6}|since)\.([1-9][0-9]{0,17})", re.ASCII)
_SINCE = "since"
_NODES = 64


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the journals of several nodes."""

    places: dict[str, int] = field(default_factory=dict)
    since: int = 0

    @classmethod
    def read(cls, text: str) -> Cursor:
        """Read a cursor.

        :raise Refused: with ``bad_parameter`` if it is none.
        """
        if text == "0":
            return cls()
        places: dict[str, int] = {}
        words = text.split("~", _NODES)
        for word in words:
            match = _PLACE.fullmatch(word)
            if match is None or match[1] in places or len(words) > _NODES:
                raise Refused(
                    Code.BAD_PARAMETER,
                    "after must be 0 or the next of an earlier answer",
                    field="after",
                )
            places[match[1]] = int(match[2])
        since = places.pop(_SINCE, 0)
        return cls(places, since)

    def __str__(self) -> str:
        words = [(_SINCE, self.since), *sorted(self.places.items())]
        return "~".join(f"{word}.{number}" for word, number in words if number) or "0"

    def of(self, node: str) -> int:
        """The last event of a node that was seen; 0 for none."""
        return self.places.get(node, 0)

    def since_of(self, node: str) -> int | None:
        """From which moment (ms) on a node is to be read; None for all after its place."""
        return None if node in self.places or not self.since else self.since

    def moved(self, node: str, event_id: int) -> Cursor:
        """The same place but for one node."""
        return Cursor({**self.places, node: event_id}, self.since)
