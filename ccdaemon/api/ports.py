"""What the API needs of the rest of the daemon: the doors it knocks at, and nothing behind them.

The switchboard, the board of operators, the history and the recordings fit these protocols;
so do the small ones that the tests put in their place. All times are whole milliseconds since
1970 in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred

from ccdaemon.calls.model import Record
from ccdaemon.history.rows import Chain, Filter, OperatorRow, Page, RecordRow, StateRow
from ccdaemon.operators import OperatorView


class MakesCalls(Protocol):
    """The switchboard, as far as the API knows it."""

    async def make_call(
        self, *, sip: str, phone: str, order_id: str, external_key: str, client: str
    ) -> int:
        """Have an operator connected with a client.

        :return: the ``call_id``, once Asterisk has taken the call.
        :raises Refused: where the call cannot be made.
        """
        ...


class KnowsOperators(Protocol):
    """Who the operators are and what they do just now."""

    def operators(self) -> Sequence[OperatorView]:
        """Every operator as he stands now, sorted by sip."""
        ...


class ReadsHistory(Protocol):
    """Everything that was told, as far as it can be asked for.

    Every method raises ``Refused`` with ``history_unavailable`` where it cannot answer now.
    """

    async def call(self, call_id: int) -> Chain | None:
        """The call's whole chain; None if there is no such call."""
        ...

    async def by_key(self, external_key: str) -> Chain | None:
        """The chain of the call that has the key; None if none has."""
        ...

    async def order_chains(self, order_id: str, filter: Filter) -> Sequence[Chain]:
        """All calls of the order, in any order."""
        ...

    async def states_after(
        self, cursor: str, limit: int, filter: Filter
    ) -> tuple[Sequence[StateRow], str]:
        """At most ``limit`` states that were told after ``cursor``, and the next cursor.

        :raises Refused: with ``bad_parameter`` for a cursor that is none.
        """
        ...

    def changed(self) -> Deferred[None]:
        """Fires when something new has been told; cancelling forgets it."""
        ...

    async def states_page(self, page: int, per_page: int, filter: Filter) -> Page[StateRow]:
        """States of all calls, newest first."""
        ...

    async def records_page(self, page: int, per_page: int, filter: Filter) -> Page[RecordRow]:
        """Recordings, newest first."""
        ...

    async def operator_page(self, page: int, per_page: int, filter: Filter) -> Page[OperatorRow]:
        """The operators' log, newest first."""
        ...


class FindsRecordings(Protocol):
    """The recordings on disk."""

    async def wav(self, record: Record) -> Path:
        """Where the file is, with no symbolic link left in the path.

        :raises Refused: with ``record_unknown`` if it is not in the recordings folder.
        """
        ...

    async def mp3(self, record: Record) -> Path:
        """The same talk as mp3; made now if it was not there yet.

        :raises Refused: as ``wav`` does, or with ``not_ready`` while too many are being made.
        """
        ...
