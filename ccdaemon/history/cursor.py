"""The place of a reader in everything that was told: the cursor of ``after=``.

Opaque to readers. In it stands, for each journal that the reader has heard from, the last event
it has seen: ``<node>.<event id>``, joined by ``~``; ``0`` is the beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ccdaemon.errors import Code, Refused

_PLACE = re.compile(r"([0-9a-f]{6})\.([1-9][0-9]{0,17})", re.ASCII)
_NODES = 64


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the journals of several nodes."""

    places: dict[str, int] = field(default_factory=dict)

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
        return cls(places)

    def __str__(self) -> str:
        places = sorted(self.places.items())
        return "~".join(f"{node}.{event_id}" for node, event_id in places if event_id) or "0"

    def of(self, node: str) -> int:
        """The last event of a node that was seen; 0 for none."""
        return self.places.get(node, 0)

    def moved(self, node: str, event_id: int) -> Cursor:
        """The same place but for one node."""
        return Cursor({**self.places, node: event_id})
