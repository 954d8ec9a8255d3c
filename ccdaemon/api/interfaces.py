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
from ccdaemon.consumers.webhooks.delivery_log import DeliveryRow, LogFilter
from ccdaemon.numbers import Number
from ccdaemon.operators import OperatorView
from ccdaemon.recordings.retention import Removed
from ccdaemon.store.records import (
    STATES_ALONE,
    ActionRow,
    Chain,
    EventKind,
    EventRow,
    Filter,
    MissedRow,
    OperatorRow,
    Page,
    RecordRow,
    StateRow,
)
from ccdaemon.switchboard.call_control import Mode, Party
from ccdaemon.switchboard.call_options import CallOptions


class MakesCalls(Protocol):
    """The switchboard, as far as the API knows it."""

    async def make_call(
        self,
        *,
        sip: str,
        phone: Number,
        order_id: str,
        external_key: str,
        client: str,
        options: CallOptions,
    ) -> int:
        """Have an operator connected with a client.

        :return: the ``call_id``, once Asterisk has taken the call.
        :raises Refused: where the call cannot be made.
        """
        ...


class ControlsCalls(Protocol):
    """The hand on live calls.

    Every method returns once Asterisk has done it, and raises ``Refused`` where it cannot be
    done: with ``wrong_state`` and the state found, or ``call_unknown``.
    """

    async def hangup(self, call_id: int, client: str) -> None:
        """End it."""
        ...

    async def hold(self, call_id: int, client: str) -> None:
        """Let the client wait."""
        ...

    async def unhold(self, call_id: int, client: str) -> None:
        """Bring both together again."""
        ...

    async def transfer(
        self, call_id: int, sip: str | None, phone: Number | None, mode: Mode, client: str
    ) -> None:
        """Send the client to somebody else."""
        ...

    async def transfer_complete(self, call_id: int, client: str) -> None:
        """End an attended transfer."""
        ...

    async def transfer_cancel(self, call_id: int, client: str) -> None:
        """Take an attended transfer back."""
        ...

    async def mute(self, call_id: int, who: Party, *, on: bool, client: str) -> None:
        """Silence a party, or no longer."""
        ...

    async def spy(self, call_id: int, sip: str, method: str, client: str) -> None:
        """Let a supervisor in; ``method`` is listen, whisper or barge."""
        ...

    async def pause_recording(self, call_id: int, *, on: bool, client: str) -> None:
        """Record silence, or no longer."""
        ...


class KnowsOperators(Protocol):
    """Who the operators are and what they do just now."""

    @property
    def are_known(self) -> bool:
        """Whether Asterisk has been looked at, so that nobody is missing."""
        ...

    def operators(self) -> Sequence[OperatorView]:
        """Every operator as they stand now, sorted by sip."""
        ...


class EntersOnCalls(Protocol):
    """What is entered on calls, live and past.

    Both raise ``Refused``: with ``call_unknown``, or where it cannot be kept.
    """

    async def attach_order(
        self, *, call_id: int, order_id: str, replace: bool, client: str
    ) -> None:
        """Put a call under an order; with ``wrong_state`` where it has another."""
        ...

    async def set_result(self, *, call_id: int, result: str, note: str | None, client: str) -> None:
        """Say what came of a call."""
        ...


class ForgetsOrders(Protocol):
    """The removal of what is not to be kept."""

    async def forget_order(self, order_id: str, client: str) -> Removed:
        """Remove an order's calls with their recordings.

        :raises Refused: with ``wrong_state`` while one goes on; where it cannot be done now.
        """
        ...


class NotesListeners(Protocol):
    """The log of who listened to what."""

    def played(self, call_id: int, uniqueid: str, client: str) -> None:
        """A client was sent a recording, or a part of it."""
        ...


class PausesOperators(Protocol):
    """The pauses of operators; both answer with the operator as they stand then."""

    async def pause(self, *, sip: str, reason: str | None, client: str) -> OperatorView:
        """Keep clients' calls from the operator."""
        ...

    async def resume(self, *, sip: str, client: str) -> OperatorView:
        """Let clients reach the operator again."""
        ...


class ReadsHistory(Protocol):
    """Everything that was told, as far as it can be asked for.

    Every method raises ``Refused`` with ``history_unavailable`` where it cannot answer now.
    """

    async def call(self, call_id: int) -> Chain | None:
        """The call's whole chain; None if there is no such call."""
        ...

    async def by_recording(self, uniqueid: str) -> Chain | None:
        """The chain of the call with a recording on this channel; None if there is none."""
        ...

    async def by_key(self, external_key: str) -> Chain | None:
        """The chain of the call that has the key; None if none has."""
        ...

    async def order_chains(self, order_id: str, filter: Filter) -> Sequence[Chain]:
        """The calls of the order that the filter wants, in any order.

        :raises Refused: with ``too_deep`` where there are too many.
        """
        ...

    async def order_states(self, order_id: str, filter: Filter) -> Sequence[StateRow]:
        """The states of the order's calls that the filter wants, oldest first.

        :raises Refused: as ``order_chains`` does.
        """
        ...

    async def listened_page(self, page: int, per_page: int, filter: Filter) -> Page[ActionRow]:
        """Who listened to a call or to its recording, newest first."""
        ...

    async def missed_page(self, page: int, per_page: int, filter: Filter) -> Page[MissedRow]:
        """Inbound calls that nobody took, newest first."""
        ...

    async def states_after(
        self, cursor: str, limit: int, filter: Filter
    ) -> tuple[Sequence[StateRow], str]:
        """At most ``limit`` states that were told after ``cursor``, and the next cursor.

        :raises Refused: with ``bad_parameter`` for a cursor that is none.
        """
        ...

    async def events_after(
        self, cursor: str, limit: int, filter: Filter, kinds: frozenset[EventKind]
    ) -> tuple[Sequence[tuple[EventRow, str]], str, bool]:
        """At most ``limit`` things that were told after ``cursor``, each with the cursor after
        it; the next cursor; and whether that is all there was just now.

        :raises Refused: with ``bad_parameter`` for a cursor that is none.
        """
        ...

    async def now(self) -> str:
        """The cursor after everything told so far."""
        ...

    def changed(self, kinds: frozenset[EventKind] = STATES_ALONE) -> Deferred[None]:
        """Fires when something new of these has been told; cancelling forgets it."""
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


class Delivers(Protocol):
    """The webhooks, as far as the API knows them."""

    async def page(self, page: int, per_page: int, filter: LogFilter) -> Page[DeliveryRow]:
        """Deliveries, newest first."""
        ...

    async def redeliver(self, filter: LogFilter) -> Sequence[DeliveryRow]:
        """Send deliveries once more, so many at most; those that will be sent, oldest first."""
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
