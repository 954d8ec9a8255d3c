"""Places that are few, and how many of them one client may have. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Shares:
    """Who has how many places.

    Where several clients may ask, the last quarter of the places is never one client's: whatever
    it does, the others have room.

    :param places: how many there are.
    :param clients: how many clients may ask.
    """

    def __init__(self, places: int, clients: int = 1) -> None:
        self.places = places
        self.most = places if clients < 2 else max(places * 3 // 4, 1)
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._held.total()

    def may_take(self, client: str) -> bool:
        """Whether there is a place for one more of a client's."""
        return len(self) < self.places and self._held[client] < self.most

    def take(self, client: str) -> Callable[[], None]:
        """Take a place; what is given leaves it, once."""
        self._held[client] += 1
        held = [client]

        def leave() -> None:
            if held:
                self._held[held.pop()] -= 1
                # A Counter keeps what it counts to none.
                self._held += Counter()

        return leave
