"""Parts in memory that fit the API's ports, and makers of what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from ccdaemon.calls.model import CallView, Direction, Record, State, StateChange
from ccdaemon.errors import Code, Refused
from ccdaemon.numbers import Number
from ccdaemon.operators import OperatorChange, OperatorView, Status
from ccdaemon.recordings.retention import Removed
from ccdaemon.store.records import (
    STATES_ALONE,
    ActionRow,
    Chain,
    Claim,
    EventKind,
    EventRow,
    Filter,
    MissedRow,
    OperatorRow,
    Page,
    RecordRow,
    Row,
    StateRow,
)
from ccdaemon.switchboard.call_control import Mode, Party

#: 2026-11-23T08:00:00.123Z.
MOMENT = 1795420800123

#: The installation that the history's cursors name.
NODE = "0a1b2c"


def call_view(call_id: int = 12, **changes: Any) -> CallView:
    """Make a call that is over."""
    view: dict[str, Any] = {
        "call_id": call_id,
        "order_id": "15",
        "external_key": f"key-{call_id}",
        "direction": Direction.OUTBOUND,
        "sip": "1000",
        "phone": "380639920000",
        "state": State.FINISH,
        "final": True,
        "date": MOMENT + call_id,
        "answered": MOMENT + 5000,
        "ended": MOMENT + 9500,
        "ring_seconds": 2.5,
        "wait_seconds": 1.25,
        "talk_seconds": 4.5,
        "hung_up_by": "operator",
        "cause": 16,
        "detail": "Normal Clearing",
        "made_by": "local",
        "made_from": "127.0.0.1",
    }
    return CallView(**(view | changes))


def told(call_id: int, seq: int, state: State, **changes: Any) -> StateChange:
    """Make a state of a call's chain."""
    fields: dict[str, Any] = {
        "call_id": call_id,
        "seq": seq,
        "state": state,
        "final": False,
        "leg": None,
        "sip": "1000",
        "date": MOMENT + call_id + seq,
        "cause": None,
        "detail": None,
    }
    return StateChange(**(fields | changes))


def record(call_id: int = 12, **changes: Any) -> Record:
    """Make a recording."""
    fields: dict[str, Any] = {
        "call_id": call_id,
        "uniqueid": f"cc-0a1b2c-{call_id}-o",
        "path": f"2026/11/23/cc-0a1b2c-{call_id}-o.wav",
        "format": "wav",
        "size": 72044,
        "duration": 4.5,
        "date": MOMENT + 10000,
    }
    return Record(**(fields | changes))


class Switchboard:
    """Makes calls by writing down that it should; ``answers`` says how the next ones end."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.answer: int | Iterator[int] | Exception | Deferred[int] = 12

    async def make_call(self, **asked: Any) -> int:
        """Answer as told to; the number is kept in its form."""
        self.asked.append(asked | {"phone": asked["phone"].form})
        answer = self.answer
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Deferred):
            return await answer
        return answer if isinstance(answer, int) else next(answer)


class Control:
    """Acts on calls by writing down what it was asked for; ``refusal``: how it is refused."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.refusal: Refused | None = None

    def _keep(self, *asked: object) -> None:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal

    async def hangup(self, call_id: int, client: str) -> None:
        """Keep it."""
        self._keep("hangup", call_id, client)

    async def hold(self, call_id: int, client: str) -> None:
        """Keep it."""
        self._keep("hold", call_id, client)

    async def unhold(self, call_id: int, client: str) -> None:
        """Keep it."""
        self._keep("unhold", call_id, client)

    async def transfer(
        self, call_id: int, sip: str | None, phone: Number | None, mode: Mode, client: str
    ) -> None:
        """Keep it."""
        self._keep("transfer", call_id, sip, phone and phone.form, mode, client)

    async def transfer_complete(self, call_id: int, client: str) -> None:
        """Keep it."""
        self._keep("transfer_complete", call_id, client)

    async def transfer_cancel(self, call_id: int, client: str) -> None:
        """Keep it."""
        self._keep("transfer_cancel", call_id, client)

    async def mute(self, call_id: int, who: Party, *, on: bool, client: str) -> None:
        """Keep it."""
        self._keep("mute", call_id, who, on, client)

    async def spy(self, call_id: int, sip: str, method: str, client: str) -> None:
        """Keep it."""
        self._keep(method, call_id, sip, client)

    async def pause_recording(self, call_id: int, *, on: bool, client: str) -> None:
        """Keep it."""
        self._keep("pause_recording", call_id, on, client)


class Entries:
    """Enters on calls by writing down what it was asked for; ``refusal``: how it is refused."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, object]] = []
        self.refusal: Refused | None = None
        self.missed: dict[int, CallView] = {}

    async def attach_order(self, **asked: object) -> None:
        """Keep it."""
        self._keep(asked)

    async def set_result(self, **asked: object) -> None:
        """Keep it."""
        self._keep(asked)

    async def link_given(self, **asked: object) -> None:
        """Keep it."""
        self._keep(asked)

    async def revoke_link(self, **asked: object) -> None:
        """Keep it."""
        self._keep(asked)

    async def claim_missed(self, **asked: object) -> MissedRow:
        """Keep it, and give the call to whom it says."""
        self._keep(asked)
        claim = Claim(str(asked["sip"]), str(asked["client"]), MOMENT, MOMENT + 900_000)
        call_id = asked["call_id"]
        assert isinstance(call_id, int)
        return MissedRow(self.missed.get(call_id) or call_view(call_id), 0, None, None, claim)

    def _keep(self, asked: Mapping[str, object]) -> None:
        self.asked.append(asked)
        if self.refusal is not None:
            raise self.refusal


class Forgetting:
    """Forgets orders in words alone; ``refusal``: how it is refused."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refusal: Refused | None = None

    async def forget_phone(self, phone: Number, client: str) -> Removed:
        """Keep it, in the number's form."""
        return await self.forget_order(phone.form, client)

    async def forget_order(self, order_id: str, client: str) -> Removed:
        """Keep it."""
        self.asked.append((order_id, client))
        if self.refusal is not None:
            raise self.refusal
        return Removed(2, 1)


class Listening:
    """Keeps who listened to what."""

    def __init__(self) -> None:
        self.noted: list[tuple[int, str, str]] = []

    def played(self, call_id: int, uniqueid: str, client: str, link: str | None = None) -> None:
        """Keep it, and by which link."""
        whose = client if link is None else f"{client} {link}"
        self.noted.append((call_id, uniqueid, whose))


class Pauses:
    """Pauses an operator in words alone."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, object]] = []

    async def pause(self, *, sip: str, reason: str | None, client: str) -> OperatorView:
        """Keep it."""
        self.asked.append({"sip": sip, "reason": reason, "client": client})
        return OperatorView(sip, Status.PAUSED, "NOT_INUSE", MOMENT, None, False, True, reason)

    async def resume(self, *, sip: str, client: str) -> OperatorView:
        """Keep it."""
        self.asked.append({"sip": sip, "client": client})
        return OperatorView(sip, Status.ONLINE, "NOT_INUSE", MOMENT, None, False)


class History:
    """A history in memory; a cursor counts the states that were told before it."""

    def __init__(self) -> None:
        self.chains: list[Chain] = []
        self.changes: list[OperatorRow] = []
        self.missed: list[MissedRow] = []
        self.listened: list[ActionRow] = []
        self.filters: list[Filter] = []
        self.listeners: set[Deferred[None]] = set()
        self.away: Exception | None = None
        self._told: list[StateRow] = []

    def add(self, call: CallView, states: Sequence[State], *records: Record) -> Chain:
        """Add a call with its chain."""
        rows = [
            StateRow(
                self.told + seq,
                told(call.call_id, seq, state, final=seq == len(states)),
                call.order_id,
                call.external_key,
            )
            for seq, state in enumerate(states, 1)
        ]
        chain = Chain(call, rows, records)
        self.add_chain(chain)
        return chain

    @property
    def told(self) -> int:
        """How many states have been told."""
        return len(self._told)

    def add_chain(self, chain: Chain) -> None:
        """Add a whole chain."""
        self._told += chain.states
        self.chains.append(chain)
        self.tell()

    def add_change(self, sip: str, status: Status, date: int) -> None:
        """Add a row to the operators' log."""
        change = OperatorChange(sip, status, status.name, None, date, None)
        self.changes.append(OperatorRow(len(self.changes) + 1, change))

    def tell(self) -> None:
        """Tell everybody who listens that something is new."""
        listeners, self.listeners = self.listeners, set()
        for listener in listeners:
            listener.callback(None)

    def _ask(self, filter: Filter | None = None) -> None:
        if filter is not None:
            self.filters.append(filter)
        if self.away is not None:
            raise self.away

    async def call(self, call_id: int) -> Chain | None:
        """Find a chain by its call's number."""
        self._ask()
        return next((chain for chain in self.chains if chain.call.call_id == call_id), None)

    async def by_key(self, external_key: str) -> Chain | None:
        """Find a chain by its call's key."""
        self._ask()
        found = (chain for chain in self.chains if chain.call.external_key == external_key)
        return next(found, None)

    async def order_chains(self, order_id: str, filter: Filter) -> Sequence[Chain]:
        """Find an order's chains."""
        self._ask(filter)
        return [chain for chain in self.chains if chain.call.order_id == order_id]

    async def order_states(self, order_id: str, filter: Filter) -> Sequence[StateRow]:
        """Find an order's states."""
        self._ask(filter)
        chains = [chain for chain in self.chains if chain.call.order_id == order_id]
        rows = [row for chain in chains for row in chain.states if filter.wants(row.state)]
        return sorted(rows, key=lambda row: (row.state.date, row.event_id))

    async def listened_page(self, page: int, per_page: int, filter: Filter) -> Page[ActionRow]:
        """Page through who listened."""
        self._ask(filter)
        return _page(self.listened[::-1], page, per_page)

    async def by_recording(self, uniqueid: str) -> Chain | None:
        """Find a chain by a recording of its call."""
        self._ask()
        named = ((record.uniqueid, chain) for chain in self.chains for record in chain.records)
        return next((chain for name, chain in named if name == uniqueid), None)

    async def missed_page(self, page: int, per_page: int, filter: Filter) -> Page[MissedRow]:
        """Page through the missed calls."""
        self._ask(filter)
        rows = [row for row in self.missed if not (filter.open and row.closed)]
        return _page(rows[::-1], page, per_page)

    async def states_after(
        self, cursor: str, limit: int, filter: Filter
    ) -> tuple[Sequence[StateRow], str]:
        """Find states by a cursor."""
        self._ask(filter)
        found = re.fullmatch(rf"0|{NODE}\.([0-9]+)", cursor)
        if found is None:
            raise Refused(Code.BAD_PARAMETER, "after is no cursor", field="after")
        begin = int(found[1] or 0)
        rows = self._told[begin:][:limit]
        return _wanted(rows, filter), f"{NODE}.{begin + len(rows)}"

    async def events_after(
        self, cursor: str, limit: int, filter: Filter, kinds: frozenset[EventKind]
    ) -> tuple[Sequence[tuple[EventRow, str]], str, bool]:
        """Find states by a cursor; there is nothing else here."""
        rows, reached = await self.states_after(cursor, limit, filter)
        is_all = reached.endswith(f".{self.told}")
        return [(row, f"{NODE}.{row.event_id}") for row in rows], reached, is_all

    async def now(self) -> str:
        """Where the next state comes."""
        return f"{NODE}.{self.told}" if self.told else "0"

    def changed(self, kinds: frozenset[EventKind] = STATES_ALONE) -> Deferred[None]:
        """Listen for news."""
        listener: Deferred[None] = Deferred(self.listeners.discard)
        self.listeners.add(listener)
        return listener

    async def states_page(self, page: int, per_page: int, filter: Filter) -> Page[StateRow]:
        """Page through the states."""
        self._ask(filter)
        return _page(_wanted(self._told[::-1], filter), page, per_page)

    async def records_page(self, page: int, per_page: int, filter: Filter) -> Page[RecordRow]:
        """Page through the recordings."""
        self._ask(filter)
        rows = [
            RecordRow(chain.states[-1].event_id, found, chain.call)
            for chain in self.chains
            for found in chain.records
        ]
        return _page(rows[::-1], page, per_page)

    async def operator_page(self, page: int, per_page: int, filter: Filter) -> Page[OperatorRow]:
        """Page through the operators' log."""
        self._ask(filter)
        rows = [row for row in self.changes if filter.sip in (None, row.change.sip)]
        return _page(rows[::-1], page, per_page)


def _wanted(rows: Sequence[StateRow], filter: Filter) -> Sequence[StateRow]:
    return [
        row
        for row in rows
        if filter.sip in (None, row.state.sip) and filter.order_id in (None, row.order_id)
    ]


def _page(rows: Sequence[Row], page: int, per_page: int) -> Page[Row]:
    return Page(rows[(page - 1) * per_page : page * per_page], len(rows))


class Operators:
    """Operators in memory."""

    def __init__(self) -> None:
        self.known: list[OperatorView] = []
        self.are_known = True

    def add(self, sip: str, status: Status, call_id: int | None = None) -> None:
        """Add an operator."""
        self.known.append(OperatorView(sip, status, status.name, MOMENT, call_id, False))

    def operators(self) -> Sequence[OperatorView]:
        """Tell them all."""
        return sorted(self.known, key=lambda operator: operator.sip)


class Recordings:
    """Recordings by their paths; what is not there is unknown."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}

    async def wav(self, record: Record) -> Path:
        """Find the file."""
        return self._find(record.path)

    async def mp3(self, record: Record) -> Path:
        """Find the file's mp3."""
        return self._find(record.path.replace(".wav", ".mp3"))

    def _find(self, path: str) -> Path:
        if path not in self.files:
            raise Refused(Code.RECORD_UNKNOWN, "the file is not there")
        return self.files[path]
