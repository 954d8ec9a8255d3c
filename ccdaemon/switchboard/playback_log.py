"""Who was sent which recording: noted in the journal, as what is done to calls is.

Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ccdaemon.calls.model import Action
from ccdaemon.clocks import WallClock
from ccdaemon.store.facts import PLAY_RECORD, ActionFact, Fact

#: Seconds for which further requests are the same listening: a player asks for piece after piece.
SAME = 600.0
#: As many listenings are remembered to know the same ones by.
MOST = 10_000


class PlaybackLog:
    """Notes who listens.

    :param append: the journal's: fires when the facts are kept.
    """

    log = Logger()

    def __init__(
        self,
        append: Callable[[Sequence[Fact]], Deferred[list[int]]],
        clock: IReactorTime,
        wall: WallClock,
    ) -> None:
        self._append = append
        self._clock = clock
        self._wall = wall
        self._noted: dict[tuple[str, str], float] = {}

    def played(self, call_id: int, uniqueid: str, client: str, link: str | None = None) -> None:
        """A client was sent a recording, or a part of it.

        :param link: by which link, if by one.
        """
        now, key = self._clock.seconds(), (link or client, uniqueid)
        before = self._noted.pop(key, None)
        if before is not None and now - before < SAME:
            self._noted[key] = before
            return
        self._noted[key] = now
        while len(self._noted) > MOST:
            del self._noted[next(iter(self._noted))]
        date = int(self._wall.seconds() * 1000)
        action = Action(call_id, date, PLAY_RECORD, client, note=link, detail=uniqueid)
        self._append([ActionFact(action)]).addErrback(self._not_kept, call_id, client)

    def _not_kept(self, failure: Failure, call_id: int, client: str) -> None:
        self.log.error(
            "that {client} listened to call {call_id} could not be kept: {error}",
            client=client,
            call_id=call_id,
            error=failure.value,
        )
