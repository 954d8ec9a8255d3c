"""How far Postgres is, for those who read there what has just been told.

An answer out of Postgres waits until all is there that had been told when it was asked for. Knows
neither how events get there nor what they say.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime

from ccdaemon.store.postgres import Database, DatabaseDown


class Behind(Exception):
    """Postgres does not have the event in time."""


class ReadBarrier:
    """What Postgres has, and waiting for more.

    :ivar checkpoint: the event up to which Postgres has everything; -1 until it has been asked.
    :ivar hurry: called when somebody begins to wait.
    """

    def __init__(self, clock: IReactorTime, database: Database) -> None:
        self._clock = clock
        self._database = database
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._asked: list[Deferred[None]] = []
        self._elsewhere: list[Callable[[], None]] = []
        self.hurry: Callable[[], None] = lambda: None
        self.checkpoint = -1

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    async def passed(self, event_id: int, timeout: float) -> None:
        """Wait until Postgres has everything up to an event.

        :raise DatabaseDown: if it cannot be asked now.
        :raise Behind: if that takes longer than ``timeout`` seconds.
        """
        if not self._database.up:
            raise DatabaseDown(self._database.health.last_error or "not connected yet")
        if self.checkpoint >= event_id:
            return
        waiting: Deferred[None] = Deferred()
        entry = (event_id, waiting)
        self._waiting.append(entry)
        self.hurry()
        try:
            await waiting.addTimeout(timeout, self._clock)
        except TimeoutError:
            behind = event_id - max(self.checkpoint, 0)
            raise Behind(f"Postgres is {behind} events behind") from None
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def advance(self, checkpoint: int) -> None:
        """Note that Postgres has everything up to an event."""
        self.checkpoint = checkpoint
        for event_id, waiting in tuple(self._waiting):
            if event_id <= checkpoint and not waiting.called:
                waiting.callback(None)
        while self._asked:
            self._asked.pop(0).callback(None)

    def when_asked(self) -> Deferred[None]:
        """Fires once Postgres has been asked what it has, for the first time; can be cancelled."""
        if self.checkpoint >= 0:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._asked.remove)
        self._asked.append(waiting)
        return waiting

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called when another daemon has written to the same Postgres."""
        self._elsewhere.append(listener)

    def others_wrote(self) -> None:
        """Tell that another daemon has written to the same Postgres."""
        for listener in self._elsewhere:
            listener()
